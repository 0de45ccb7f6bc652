#include "config/validate_passwords.hpp"

#include "config/network.hpp"

#include <algorithm>

namespace lull::config {

namespace {

bool is_loopback(ip_network const& n) {
    if (!n.base.v6) return n.base.bytes[0] == 127 && n.mask.bytes[0] == 0xFF;
    return n == *parse_network("::1/128");
}

bool names_all(std::vector<hba_name> const& names) {
    return std::ranges::any_of(names, [](hba_name const& n) { return !n.quoted && n.text == "all"; });
}

bool names_replication(hba_rule const& rule) {
    return std::ranges::any_of(rule.databases, [](hba_name const& n) { return !n.quoted && n.text == "replication"; });
}

bool in_the_open(hba_rule const& rule) {
    return rule.connection == hba_connection::host || rule.connection == hba_connection::hostnossl;
}

bool from_anywhere(hba_rule const& rule) {
    return !rule.network && rule.near == hba_near::anywhere;
}

/// Whether one has a password come in plain text from another machine.
bool any_asks(std::vector<hba_rule> const& rules) {
    bool turned_away = false;  // whoever has no TLS; but for replication, which `all` does not mean
    for (hba_rule const& rule : rules) {
        if (!in_the_open(rule) || rule.near == hba_near::same_host || (rule.network && is_loopback(*rule.network))) continue;
        if (rule.method == auth_method::password && (!turned_away || names_replication(rule))) return true;
        turned_away |= rule.method == auth_method::reject && from_anywhere(rule) && names_all(rule.databases) && names_all(rule.users);
    }
    return false;
}

}  // namespace

void warn_of_plain_passwords(config const& all, std::string const& path, refusal const& warn) {
    if (all.client_tls.mode >= client_tls_mode::require) return;
    if (all.has_hba() ? !any_asks(all.hba_rules) : all.auth != auth_method::password) return;
    warn(path, "passwords of clients without TLS cross the network as they are, for everybody on the way to read",
         "write `mode: require` under client_tls, or " +
             std::string(all.has_hba() ? "hostssl in place of host, or scram-sha-256 in place of password" : "`auth: scram-sha-256`"));
}

}  // namespace lull::config
