// Lines of pg_hba.conf -> rules (manual, "The pg_hba.conf File"). What means something to a PostgreSQL server
// and nothing here (groups, regular expressions, host names, other methods, includes) is refused with its
// line: a rule that was skipped would let in whom it was to keep out. Any thread; only read_hba() reads a
// file.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lull::config {

inline constexpr std::size_t most_hba_bytes = 1024 * 1024;
inline constexpr std::size_t most_hba_rules = 10'000;
inline constexpr std::size_t most_hba_names = 1'000;  // in one list
inline constexpr std::size_t most_hba_problems = 100;

struct hba_problem {
    int line;  // of the text, from 1
    std::string message;
    std::string fix;
};

struct hba_text {
    std::vector<hba_rule> rules;
    std::vector<hba_problem> problems;
};

[[nodiscard]] hba_text parse_hba(std::string_view text);

/// Fills hba_rules from hba_file or hba; what is wrong is appended, of a file with its own lines.
void read_hba(config& c, positions const& where, std::vector<issue>& issues);

}  // namespace lull::config
