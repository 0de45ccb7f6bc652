#include "config/diff.hpp"

#include "config/rows.hpp"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

namespace lull::config {
namespace {

using row_map = std::map<std::vector<std::string>, row>;

row_map by_segments(config const& c) {
    row_map out;
    for (auto& r : rows_of(c)) {
        auto key = r.segments;
        out.emplace(std::move(key), std::move(r));
    }
    return out;
}

/// The cluster, site, user or database that a row belongs to; empty: none.
std::vector<std::string> element_of(std::vector<std::string> const& segments) {
    bool const in_element = segments.size() >= 2 && (segments[0] == "clusters" || segments[0] == "sites" ||
                                                     segments[0] == "users" || segments[0] == "databases");
    if (!in_element) return {};
    return {segments[0], segments[1]};
}

change of_element(row const& r, bool added, config const& old_config, config const& new_config) {
    change c{path_of(r), true, added ? "added" : "removed"};
    auto const& kind = r.segments[0];
    if (kind == "clusters") {
        c.reloadable = false;
        c.note += "; the servers are set at the start";
    } else if (kind == "sites" && !added) {
        c.reloadable = false;
        c.note += "; a site that may be sealed does not go away under its clients";
    } else if (kind == "sites" && !old_config.clusters.contains(new_config.sites.at(r.segments[1]).cluster)) {
        c.reloadable = false;
        c.note += "; its cluster is new, and the servers are set at the start";
    } else if (kind == "users" && !added) {
        c.note += "; sessions of that user go on until they end";
    }
    return c;
}

/// A user, or a database, whose clients may be there before it is.
bool has_pool_mode(config const& c, row const& element) {
    auto const of = [&](auto const& all) {
        auto const at = all.find(element.segments[1]);
        return at != all.end() && at->second.pool_mode != user_pool_mode::as_site;
    };
    return (element.segments[0] == "users" && of(c.users)) || (element.segments[0] == "databases" && of(c.databases));
}

bool loses_a_database(config const& old_config, config const& new_config, std::string const& site) {
    auto const& before = old_config.sites.at(site).databases;
    auto const& after = new_config.sites.at(site).databases;
    return std::any_of(before.begin(), before.end(), [&](auto const& name) {
        return std::find(after.begin(), after.end(), name) == after.end();
    });
}

std::string told(row const* r) {
    return r == nullptr || r->value.empty() ? "not set" : r->value;
}

}  // namespace

std::vector<change> diff(config const& old_config, config const& new_config) {
    auto const before = by_segments(old_config);
    auto const after = by_segments(new_config);
    std::map<std::vector<std::string>, std::pair<row const*, row const*>> all;
    for (auto const& [key, r] : before) all[key].first = &r;
    for (auto const& [key, r] : after) all[key].second = &r;

    std::vector<change> out;
    for (auto const& [key, pair] : all) {
        auto const [was, is] = pair;
        auto const& r = is ? *is : *was;
        if (r.element) {
            if (was && is) continue;
            out.push_back(of_element(r, is != nullptr, old_config, new_config));
            out.back().at_login = has_pool_mode(is ? new_config : old_config, r);
            continue;
        }
        // Told by its element already, if that came or went.
        if (auto const element = element_of(key);
            !element.empty() && before.contains(element) != after.contains(element))
            continue;
        std::string_view const old_value = was ? std::string_view(was->value) : std::string_view{};
        std::string_view const new_value = is ? std::string_view(is->value) : std::string_view{};
        if (old_value == new_value) continue;
        change c{path_of(r), !r.restart, r.secret ? "changed" : told(was) + " -> " + told(is)};
        if (r.restart) c.note += "; takes effect with the next start";
        c.at_login = r.at_login;
        // Whoever uses it now would find it nowhere, or under a site that is not sealed.
        if (key.size() == 3 && key[0] == "sites" && key[2] == "databases" &&
            loses_a_database(old_config, new_config, key[1])) {
            c.reloadable = false;
            c.note += "; a database leaves its site only with the next start";
        }
        out.push_back(std::move(c));
    }
    // Rules come from files whose names need not have changed.
    if (old_config.hba_rules != new_config.hba_rules && old_config.hba == new_config.hba &&
        old_config.hba_file == new_config.hba_file)
        out.push_back({new_config.hba.empty() ? "hba_file" : "hba", true,
                       std::to_string(old_config.hba_rules.size()) + " rules -> " +
                           std::to_string(new_config.hba_rules.size()) + " rules"});
    std::sort(out.begin(), out.end(), [](change const& a, change const& b) { return a.what < b.what; });
    return out;
}

}  // namespace lull::config
