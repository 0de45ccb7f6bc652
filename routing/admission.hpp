// Who may come in: the first rule of pg_hba.conf that fits decides. Pure, any thread.
#pragma once

#include "config/model.hpp"

#include <optional>
#include <span>
#include <string_view>

namespace lull::routing {

/// What a client has said and shown before it has proved anything.
struct newcomer {
    bool local = false;  // over a Unix socket
    bool tls = false;
    bool replication = false;  // physical; one of a database (replication=database) is like other connections
    std::optional<config::ip_address> address;  // nothing: local, or not an IP address: no host rule fits
    std::span<config::ip_network const> own;    // the addresses of this machine, each with its network's mask
    std::string_view user;
    std::string_view database;
};

/// The rule, which lives as long as `rules`; null: none fits, and nobody who has no rule comes in.
[[nodiscard]] config::hba_rule const* admit(std::span<config::hba_rule const> rules, newcomer const& who);

}  // namespace lull::routing
