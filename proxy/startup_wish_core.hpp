// What a client asks for in its startup packet, as far as it stands in the packet alone, and a book of those that were read
// lately: the clients of an application all send the same bytes. Owned by a worker, used on its thread only.
#pragma once

#include "protocol/pg/bytes.hpp"
#include "protocol/pg/startup.hpp"
#include "proxy/pg_settings_core.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace lull {

/// What the client asks for with the startup parameter `replication`.
enum class replication_kind : std::uint8_t { none, physical, of_database };

struct startup_wish {
    /// Why PostgreSQL would refuse it whoever sends it.
    struct fault {
        std::string_view sqlstate;
        std::string message;
        std::string_view hint;
    };

    std::string user;
    std::string database;       // the user's name where none is told
    session_settings settings;  // interned; null where there is none
    replication_kind replication = replication_kind::none;
    pg::parameter_list parameters;  // for replication: as the client has set them
    std::uint32_t protocol = pg::protocol_3_0;  // the newest that both speak
    std::string negotiation;                    // NegotiateProtocolVersion, where the client has to be told
    std::optional<fault> wrong;
    std::size_t packet_bytes = 0;
};

startup_wish read_startup_wish(pg::startup_message const& startup, setting_interner& settings);

class startup_book {
  public:
    explicit startup_book(setting_interner& settings) : settings_(settings) {}

    /// Null: `in` does not begin with a whole packet that was kept.
    std::shared_ptr<startup_wish const> find(pg::bytes in) const;
    /// `startup`: what was read at the beginning of `in`.
    std::shared_ptr<startup_wish const> keep(pg::bytes in, pg::startup_message const& startup);
    std::size_t size() const { return known_.size(); }

    /// Nobody has shown yet who sends them: not many are kept, and no long ones.
    static constexpr std::size_t most = 256;
    static constexpr std::size_t longest = 1024;

  private:
    struct by_text {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
    };
    setting_interner& settings_;
    std::unordered_map<std::string, std::shared_ptr<startup_wish const>, by_text, std::equal_to<>> known_;
};

}  // namespace lull
