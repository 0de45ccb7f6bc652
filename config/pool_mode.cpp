#include "config/pool_mode.hpp"

#include "config/fields.hpp"

namespace lull::config {

pool_mode pool_mode_of(config const& all, site const& where, std::string const& user) {
    auto const known = all.users.find(user);
    switch (known == all.users.end() ? user_pool_mode::as_site : known->second.pool_mode) {
        case user_pool_mode::as_site:
            break;
        case user_pool_mode::session:
            return pool_mode::session;
        case user_pool_mode::transaction:
            return pool_mode::transaction;
        case user_pool_mode::statement:
            return pool_mode::statement;
    }
    return where.pool_mode;
}

std::string_view name_of(pool_mode mode) {
    for (auto const& choice : pool_modes)
        if (choice.value == mode) return choice.name;
    return {};
}

}  // namespace lull::config
