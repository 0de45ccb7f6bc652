#include "routing/admission.hpp"

#include <algorithm>

namespace lull::routing {
namespace {

/// What is near is asked only where a rule asks.
bool fits_near(config::hba_near near, newcomer const& who) {
    auto const any = [&](auto const& fits) { return std::any_of(who.own.begin(), who.own.end(), fits); };
    switch (near) {
        case config::hba_near::anywhere:
            return true;
        case config::hba_near::same_host:
            return any([&](config::ip_network const& one) { return one.base == *who.address; });
        case config::hba_near::same_net:
            return any([&](config::ip_network const& one) { return one.contains(*who.address); });
    }
    return false;
}

bool fits_connection(config::hba_rule const& rule, newcomer const& who) {
    switch (rule.connection) {
        case config::hba_connection::local:
            return who.local;
        case config::hba_connection::host:
            break;
        case config::hba_connection::hostssl:
            if (!who.tls) return false;
            break;
        case config::hba_connection::hostnossl:
            if (who.tls) return false;
            break;
    }
    return !who.local && who.address && (!rule.network || rule.network->contains(*who.address)) &&
           fits_near(rule.near, who);
}

bool fits_text(config::hba_name const& name, std::string_view text) {
    return name.pattern ? name.pattern->matches(text) : name.text == text;
}

bool fits_database(config::hba_name const& name, newcomer const& who) {
    bool const keyword = !name.quoted;
    if (keyword && name.text == "replication") return who.replication;
    // `all` and names do not mean physical replication, which sees every database.
    if (who.replication) return false;
    if (keyword && name.text == "all") return true;
    if (keyword && name.text == "sameuser") return who.user == who.database;
    return fits_text(name, who.database);
}

bool fits_user(config::hba_name const& name, newcomer const& who) {
    return (!name.quoted && name.text == "all") || fits_text(name, who.user);
}

}  // namespace

config::hba_rule const* admit(std::span<config::hba_rule const> rules, newcomer const& who) {
    auto const fits = [&](config::hba_rule const& rule) {
        return fits_connection(rule, who) &&
               std::any_of(rule.databases.begin(), rule.databases.end(),
                           [&](auto const& name) { return fits_database(name, who); }) &&
               std::any_of(rule.users.begin(), rule.users.end(),
                           [&](auto const& name) { return fits_user(name, who); });
    };
    auto const found = std::find_if(rules.begin(), rules.end(), fits);
    return found == rules.end() ? nullptr : &*found;
}

}  // namespace lull::routing
