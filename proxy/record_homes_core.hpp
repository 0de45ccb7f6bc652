// To whom records of closed sites belong once the configuration has changed. A record is found by its site's name, but
// what is closed are databases: wherever the configuration has put them, they must not come up open. Pure.
#pragma once

#include "config/model.hpp"
#include "proxy/state_file.hpp"

#include <map>
#include <string>
#include <vector>

namespace lull {

struct record_homes {
    maintenance_records records;                // each under the site that has its databases now
    std::map<std::string, std::string> adopted;  // by the site's name: what it was called when it was closed
    std::vector<std::string> notes;             // a sentence each
    /// Not empty: the databases of a closed site are spread over others, or went to one with a state of its own. No
    /// site may be opened.
    std::string problem;
    std::string fix;
};

record_homes find_homes(maintenance_records records, std::map<std::string, config::site> const& sites);

/// What a site's record is to list: the databases that it has, and those it was closed with that are no other site's now.
std::vector<std::string> databases_to_keep(config::site const& site, std::vector<std::string> const& before,
                                           std::map<std::string, config::site> const& sites);

}  // namespace lull
