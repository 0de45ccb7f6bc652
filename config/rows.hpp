// A configuration as a flat list, one row a key, in the order of fields.hpp: what printing, comparing and
// describing have in common. For config/*.cpp only.
#pragma once

#include "config/model.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace lull::config {

struct row {
    std::vector<std::string> segments;  // sites, shop, hold, max_age
    bool element = false;               // a cluster, site or user itself: no value, it is there
    bool in_list = false;               // describes a key of a list's elements; never a value of its own
    std::string value;                  // as YAML on one line; a secret's true value; empty: not set
    std::string type;
    std::string_view about;
    std::string_view note;
    bool required = false;
    bool restart = false;
    bool at_login = false;
    bool secret = false;
};

/// `describing`: with the keys of list elements and of what is not set.
[[nodiscard]] std::vector<row> rows_of(config const&, bool describing = false);

/// sites.shop.hold.max_age
[[nodiscard]] std::string path_of(row const&);

/// A text as YAML: plain where it reads back as the same text, in double quotes otherwise.
[[nodiscard]] std::string yaml_text(std::string_view text);

}  // namespace lull::config
