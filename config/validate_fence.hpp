// What of a site's `fence` and `prepared_transactions` cannot be carried out by its cluster.
#pragma once

#include "config/validate_guard.hpp"

namespace lull::config {

/// `path`: of the site.
void validate_fence(config const& all, site const& s, std::string const& path, refusal const& refuse);

}  // namespace lull::config
