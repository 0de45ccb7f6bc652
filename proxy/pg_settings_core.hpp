// Session settings that follow a client from server to server. A set of settings is an immutable value,
// shared by all who have the same: whether a server is as a client left it is one comparison of pointers.
// Owned by a worker, used on its thread only.
#pragma once

#include "protocol/pg/startup.hpp"

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lull {

/// Sorted by name. What the second is depends on the use: for settings that a client made, the SQL that makes
/// them again; for those that a server reported (ParameterStatus), the value.
using setting_map = std::vector<std::pair<std::string, std::string>>;
/// Never null. From one interner, equal contents are the same pointer.
using session_settings = std::shared_ptr<setting_map const>;

class setting_interner {
  public:
    setting_interner();

    session_settings const& none() const { return none_; }
    session_settings intern(setting_map map);
    session_settings with(session_settings const& from, std::string_view name, std::string_view text);
    session_settings without(session_settings const& from, std::string_view name);

  private:
    std::map<setting_map, std::weak_ptr<setting_map const>> known_;
    std::size_t prune_at_ = 256;
    std::size_t key_bytes_ = 0;  // of known_
    std::size_t prune_at_bytes_ = least_prune_bytes;
    static constexpr std::size_t least_prune_bytes = 16 * 1024 * 1024;
    session_settings none_;
};

/// The value, or nothing.
std::string const* find_setting(session_settings const& in, std::string_view name);

std::string ascii_lower(std::string_view text);

/// Whether a setting decides what literals mean when a statement is parsed (manual, "Client Connection
/// Defaults", "Date/Time Types").
bool decides_literals(std::string_view name);

/// A name as SQL: each part of "app.user" quoted.
std::string quote_setting_name(std::string_view name);
/// A string constant that means the same whatever standard_conforming_strings says.
std::string quote_constant(std::string_view value);

/// SQL that does what the startup parameter does. Through set_config(), because SET would take
/// `search_path=a,b` for one name.
std::string startup_setting_sql(std::string_view name, std::string_view value);

/// SQL that turns a session with the settings `from` into one with `to`; empty where they are equal.
/// `allowed(name)`: settings that may be made; others are left at the server's default.
template <class Allowed>
std::string setting_difference(setting_map const& from, setting_map const& to, Allowed&& allowed) {
    std::string undo;
    std::string make;
    auto old = from.begin();
    auto wanted = to.begin();
    auto reset = [&](std::string const& name) { undo += "RESET " + quote_setting_name(name) + ";"; };
    while (old != from.end() || wanted != to.end()) {
        if (wanted == to.end() || (old != from.end() && old->first < wanted->first)) {
            reset(old->first);
            ++old;
            continue;
        }
        bool const both = old != from.end() && old->first == wanted->first;
        if (!both || old->second != wanted->second) {
            if (allowed(wanted->first))
                make += wanted->second + ";";
            else if (both)
                reset(old->first);
        }
        if (both) ++old;
        ++wanted;
    }
    return undo + make;
}

}  // namespace lull
