// A regular expression of pg_hba.conf, for the names of databases and users. PostgreSQL's and RE2's agree on what is taken
// here, byte by byte as PostgreSQL matches names before it knows a database; the rest of PostgreSQL's is refused. Any thread.
#pragma once

#include "config/access.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace lull::config {

inline constexpr std::size_t most_pattern_bytes = 1'000;
inline constexpr std::size_t most_pattern_repeats = 255;  // in {}, as in PostgreSQL

struct pattern_error {
    std::string message;
    std::string fix;
};

using pattern_result = std::variant<std::shared_ptr<name_pattern const>, pattern_error>;

[[nodiscard]] pattern_result compile_pattern(std::string_view text);

}  // namespace lull::config
