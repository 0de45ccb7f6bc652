// What differs between two configurations, and whether a running process can take it over. Pure, any thread.
#pragma once

#include "config/model.hpp"

#include <string>
#include <vector>

namespace lull::config {

struct change {
    std::string what;         // path: sites.shop.hold.max_age
    bool reloadable = false;  // false: takes effect with the next start
    std::string
        note;  // "60s -> 30s", "added", "removed", "changed" for a secret; and why a restart is needed
    bool at_login = false;  // who is connected keeps what he has
    friend bool operator==(change const&, change const&) = default;
};

/// Sorted by path; empty: the same. Secrets are compared but never shown. Where a whole cluster, site or user
/// came or went, that is one change.
[[nodiscard]] std::vector<change> diff(config const& old_config, config const& new_config);

}  // namespace lull::config
