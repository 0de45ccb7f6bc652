// Tree -> config, key by key as fields.hpp lists them. Collects what is wrong instead of stopping. For
// load.cpp.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"
#include "config/tree.hpp"

#include <string>
#include <vector>

namespace lull::config {

/// Further issues are not told: whoever has made a hundred wants to hear of the first ones.
inline constexpr std::size_t most_issues = 100;

struct read_result {
    config value;
    lull::config::positions positions;
    std::vector<issue> issues;  // at most most_issues
    std::vector<warning> warnings;
    std::string inline_secret;  // path of the first secret that stands in the file itself
};

/// `folder`: where a relative password_file is looked for.
[[nodiscard]] read_result read_tree(node const& root, std::string const& file, std::string const& folder);

}  // namespace lull::config
