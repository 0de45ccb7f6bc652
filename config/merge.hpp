// What a running process takes over of a configuration that it reads again: what diff.hpp calls reloadable. Pure, any thread.
#pragma once

#include "config/model.hpp"

namespace lull::config {

/// The new configuration, with what needs a restart as it is now.
[[nodiscard]] config merge(config const& now, config next);

}  // namespace lull::config
