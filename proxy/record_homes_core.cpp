#include "proxy/record_homes_core.hpp"

#include <algorithm>
#include <set>

namespace lull {

namespace {

using site_map = std::map<std::string, config::site>;

std::string owner_of(std::string const& database, site_map const& sites) {
    for (auto const& [name, site] : sites)
        if (std::ranges::find(site.databases, database) != site.databases.end()) return name;
    return {};
}

std::string listed(std::vector<std::string> const& names) {
    std::string out;
    for (std::string const& name : names) out += (out.empty() ? "" : ", ") + name;
    return out;
}

/// Replicas are named by address: whoever reads this may have nothing else left.
std::string nobodys(std::string const& name, routing::maintenance_record const& record) {
    std::string out = "site " + name + " is closed and no longer configured: its databases (" +
                      (record.databases.empty() ? "not known" : listed(record.databases)) +
                      ") come up closed under whichever site has them next";
    std::string paused;
    for (routing::paused_replica const& r : record.replicas) paused += (paused.empty() ? "" : ", ") + r.address;
    if (!paused.empty())
        out += "; replay may still be paused on " + paused +
               ": configure the site again and open it, or run there SELECT pg_wal_replay_resume()";
    return out;
}

/// Whether another record can stand in the place of the one that a site has: nothing is owed by that.
bool replaceable(maintenance_records const& records, std::string const& site) {
    auto const at = records.find(site);
    if (at == records.end()) return true;
    routing::maintenance_record const& r = at->second;
    return r.phase == routing::phase::read_write && r.replicas.empty() && r.fence.empty() && !r.untold;
}

}  // namespace

record_homes find_homes(maintenance_records records, site_map const& sites) {
    record_homes out;
    auto const refuse = [&](std::string const& closed, std::string const& database, std::string const& to) {
        out.problem = "site " + closed + " is closed, and the configuration has its database \"" + database + "\" in site " + to;
        out.fix = "put \"" + database + "\" back to sites." + closed + ".databases and start lull; open it with `lull maintenance off " +
                  closed + "`; then change the configuration";
    };
    std::vector<std::string> closed;
    for (auto const& [name, record] : records)
        if (record.phase != routing::phase::read_write) closed.push_back(name);
    for (std::string const& name : closed) {
        routing::maintenance_record const& record = records.at(name);
        bool const configured = sites.contains(name);
        std::set<std::string> homes;
        for (std::string const& database : record.databases) {
            std::string const owner = owner_of(database, sites);
            if (owner.empty() || owner == name) continue;
            homes.insert(owner);
            if (!configured && homes.size() == 1 && replaceable(records, owner)) continue;
            refuse(name, database, owner);
            return out;
        }
        if (configured) continue;
        // Written by a lull that did not note the databases: it may be any site of which nothing is known.
        if (record.databases.empty())
            for (auto const& [site, settings] : sites)
                if (!records.contains(site)) homes.insert(site);
        if (homes.empty()) {
            out.notes.push_back(nobodys(name, record));
            continue;
        }
        if (homes.size() > 1) {
            out.problem = "site " + name + " is closed and no longer configured, and nobody knows which of " +
                          listed({homes.begin(), homes.end()}) + " has its databases";
            out.fix = "call it " + name + " again and start lull; open it with `lull maintenance off " + name +
                      "`; then change the configuration";
            return out;
        }
        std::string const& home = *homes.begin();
        out.notes.push_back("site " + name + " was closed and is no longer configured; its databases are those of site " + home +
                            ", which is closed in its place: `lull maintenance off " + home + "` opens it");
        out.adopted[home] = name;
        routing::maintenance_record moved = record;
        if (auto const open = records.find(home); open != records.end()) moved.epoch = std::max(moved.epoch, open->second.epoch);
        records.erase(name);
        records[home] = std::move(moved);
    }
    out.records = std::move(records);
    return out;
}

std::vector<std::string> databases_to_keep(config::site const& site, std::vector<std::string> const& before, site_map const& sites) {
    std::vector<std::string> out = site.databases;
    for (std::string const& database : before)
        if (owner_of(database, sites).empty() && std::ranges::find(out, database) == out.end()) out.push_back(database);
    return out;
}

}  // namespace lull
