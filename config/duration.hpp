// Times and sizes as PostgreSQL writes them in postgresql.conf (manual, 20.1.1 "Parameter Names and Values"):
// a whole number and a unit. Pure, any thread.
#pragma once

#include "config/model.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace lull::config {

/// Why a text is no time or no size, and what to write instead.
struct unit_error {
    std::string message;
    std::string fix;
};

/// "250ms", "30s", "5min", "2h", "1d". The unit is required, because 30 alone would be seconds to one reader
/// and milliseconds to PostgreSQL. At most 3650d.
[[nodiscard]] std::variant<milliseconds, unit_error> parse_duration(std::string_view text);

/// In the greatest unit that divides it: 60'000 -> "1min", 1500 -> "1500ms".
[[nodiscard]] std::string format_duration(milliseconds);

/// "512B", "16kB", "64MB", "1GB", "2TB", in steps of 1024. A number alone is bytes. At most 1024TB.
[[nodiscard]] std::variant<std::size_t, unit_error> parse_size(std::string_view text);

/// In the greatest unit that divides it: 65536 -> "64kB".
[[nodiscard]] std::string format_size(std::size_t bytes);

}  // namespace lull::config
