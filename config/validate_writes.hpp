// What of a site's `writes` and `write_rules` cannot be meant; apart from validate.cpp only for its length.
#pragma once

#include "config/validate_guard.hpp"

namespace lull::config {

/// `path`: of the site.
void validate_writes(site const& s, std::string const& path, refusal const& refuse);

}  // namespace lull::config
