// Judges a configuration as a whole: what one key alone cannot show. Pure, any thread.
#pragma once

#include "config/issue.hpp"
#include "config/model.hpp"

#include <vector>

namespace lull::config {

struct verdict {
    std::vector<issue> issues;  // empty: the configuration may be used
    std::vector<warning> warnings;
};

/// Every name resolves, nothing is claimed twice, nothing points back at Lull itself, everything can be
/// reached. `where` gives places for the messages.
[[nodiscard]] verdict validate(config const&, positions const& where = {});

/// What is left out and follows from the rest: a site's databases (its name), its cluster (the only one);
/// host names in lower case, without a dot at the end. load_file and load_text have done it.
void fill_defaults(config&);

}  // namespace lull::config
