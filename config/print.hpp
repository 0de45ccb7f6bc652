// The configuration as YAML, and the list of all keys. Pure, any thread.
#pragma once

#include "config/model.hpp"

#include <string>
#include <vector>

namespace lull::config {

/// Everything, with defaults filled in; secrets that are set appear as "(redacted)". Loading the text gives
/// the same configuration except for the secrets and `file`.
[[nodiscard]] std::string print_effective(config const&);

/// What a redacted secret is printed as.
inline constexpr char redacted[] = "(redacted)";

struct key_description {
    std::string path;  // sites.*.hold.max_age, sites.*.http_rules[].path; `*` is a name that you choose
    std::string type;  // "duration", "one of refuse, hold", ...
    std::string default_value;  // as one would write it, or in words: "required", "none", "the site's name"
    std::string about;          // one sentence
    bool reloadable = true;     // false: a change takes effect with the next start
};

/// Every key that may be written, in the order in which print_effective writes them.
[[nodiscard]] std::vector<key_description> describe_keys();

struct effective_key {
    std::string path;
    std::string value;          // as YAML; of a secret: that there is one
    std::string default_value;  // likewise; empty: none
    bool reloadable = true;
};

/// Every key that has a value, in the order of deploy/lull.yaml.
[[nodiscard]] std::vector<effective_key> effective_keys(config const&);

}  // namespace lull::config
