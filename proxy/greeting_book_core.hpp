// What servers report to a session that begins, by who it is and what it sets: the next one is told without a server.
#pragma once

#include "proxy/pg_settings_core.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace lull {

/// What a server reports to sessions of a kind, and the messages that say so: where they may write, and where not.
struct greeting {
    session_settings reported;
    std::string messages;
    std::string read_only;
};

/// Owned by a worker, used on its thread only.
class greeting_book {
  public:
    /// Whom it is for. `settings`: interned, what the session begins with.
    struct guest {
        std::string_view cluster;
        std::string_view database;
        std::string_view user;
        session_settings const& settings;
    };

    /// Good until the next keep(); null: none is known.
    greeting const* find(guest const& who) const {
        auto const at = known_.find(who);
        return at == known_.end() ? nullptr : &at->second;
    }
    greeting const& keep(guest const& who, greeting made) {
        if (known_.size() >= most) known_.clear();
        key mine{who.settings, std::string(who.cluster), std::string(who.database), std::string(who.user)};
        return known_.insert_or_assign(std::move(mine), std::move(made)).first->second;
    }
    std::size_t size() const { return known_.size(); }

    static constexpr std::size_t most = 1000;

  private:
    struct key {
        session_settings settings;  // kept, so that its address is nobody else's
        std::string cluster, database, user;
    };
    struct by_address_first {
        using is_transparent = void;
        bool operator()(auto const& a, auto const& b) const {
            if (a.settings != b.settings) return a.settings < b.settings;
            if (int const order = std::string_view(a.user).compare(b.user)) return order < 0;
            if (int const order = std::string_view(a.database).compare(b.database)) return order < 0;
            return std::string_view(a.cluster) < std::string_view(b.cluster);
        }
    };
    std::map<key, greeting, by_address_first> known_;
};

}  // namespace lull
