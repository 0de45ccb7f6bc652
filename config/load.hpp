// YAML -> config. Reports every mistake at once, each with its place and its repair. Any thread; blocks on
// the file system, therefore only at start-up and on the control thread.
//
// Bounds: 1 MiB of text, nesting of 32, 200,000 nodes once aliases are followed, 100 issues. YAML 1.2
// (yaml.org) as far as one document of maps, lists and text goes: no tags, no merge keys, no key twice.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace lull::config {

/// A configuration with defaults filled in and judged by validate(), or all that is wrong with it, by line.
using load_result = std::variant<config, std::vector<issue>>;

/// Warnings are appended to `warnings` where one is given, also if there are issues. `places`: where its keys stand, for
/// who finds more that is wrong.
[[nodiscard]] load_result load_file(std::string const& path, std::vector<warning>* warnings = nullptr,
                                    positions* places = nullptr);

/// `name` stands for the file in messages; a relative `password_file` is looked for in its folder.
[[nodiscard]] load_result load_text(std::string_view name, std::string_view text,
                                    std::vector<warning>* warnings = nullptr);

}  // namespace lull::config
