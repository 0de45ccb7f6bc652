// The one place that says which version this is.
#pragma once

#include <string_view>

namespace lull {

inline constexpr std::string_view version = "0.1.0";

}  // namespace lull
