// Lines of pg_hba.conf -> rules (manual, "The pg_hba.conf File"). What means something to a PostgreSQL server
// and nothing here (groups, host names, other methods) is refused with its place: a rule that was skipped would
// let in whom it was to keep out. Any thread; only read_hba() reads files.
#pragma once

#include "config/hba_lines.hpp"
#include "config/issue.hpp"
#include "config/model.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace lull::config {

inline constexpr std::size_t most_hba_rules = 10'000;

struct hba_text {
    std::vector<hba_rule> rules;
    std::vector<hba_problem> problems;
};

/// `name` is what problems call it; what it includes is looked for in its folder.
[[nodiscard]] hba_text parse_hba(std::string_view text, std::string name, hba_splitter& splitter);

/// Fills hba_rules from hba_file or hba; what is wrong is appended, of a file with its own lines.
void read_hba(config& c, positions const& where, std::vector<issue>& issues);

}  // namespace lull::config
