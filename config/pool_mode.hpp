// Which pool mode a user has on a site. Pure; any thread.
#pragma once

#include "config/model.hpp"

#include <string_view>

namespace lull::config {

/// The user's own, else the site's.
[[nodiscard]] pool_mode pool_mode_of(config const& all, site const& where, std::string const& user);
/// As in the configuration: session, transaction, statement.
[[nodiscard]] std::string_view name_of(pool_mode mode);

}  // namespace lull::config
