// limits.server_check_query runs on connections that nobody has judged it for: also just before a flip, and in sessions
// whose settings and functions are their last client's. So it may only be what reads, whoever's session it is in.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"

#include <optional>

namespace lull {

/// What is wrong with it; nothing: it may run.
[[nodiscard]] std::optional<config::issue> judge_check_query(config::config const& config, config::positions const& where);

}  // namespace lull
