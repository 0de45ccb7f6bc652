// What of a site's `guard` cannot be meant; apart from validate.cpp only for its length.
#pragma once

#include "config/model.hpp"

#include <functional>
#include <string>

namespace lull::config {

/// Path, what is wrong, and how to mend it.
using refusal = std::function<void(std::string, std::string, std::string)>;

/// `path`: of the guard.
void validate_guard(config const& all, site const& s, std::string const& path, refusal const& refuse);
/// What lets more write, or be called, while the site is sealed than is probably meant. `path`: of the site.
void warn_of_openings(config const& all, site const& s, std::string const& path, refusal const& warn);

}  // namespace lull::config
