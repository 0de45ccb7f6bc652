// Whether passwords of clients would cross a network for everybody on the way to read.
#pragma once

#include "config/validate_guard.hpp"

namespace lull::config {

/// With the method `password`, where other machines reach Lull and may log in without TLS. `path`: of the rules, or of the one
/// method.
void warn_of_plain_passwords(config const& all, std::string const& path, refusal const& warn);

}  // namespace lull::config
