// Reading the configuration again. What can change without a restart does, at once and for all; the rest
// stays as it is, and is said.
#include "config/diff.hpp"
#include "config/load.hpp"
#include "config/merge.hpp"
#include "proxy/check_query_core.hpp"
#include "proxy/control.hpp"
#include "proxy/log.hpp"
#include "proxy/record_homes_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <optional>

namespace lull {

namespace {

struct reload_obstacle {
    std::string path;  // of the new configuration
    std::string what;
    std::string fix;
};

/// What of it would leave a database or a host with two sites, or with another than that which may be sealed now; a host
/// may leave an `open` one. Nothing of such a file is taken over: in part it would be two sites for what is one.
std::optional<reload_obstacle> obstacle(config::config const& now, config::config const& wanted, config::config const& merged,
                                        std::function<bool(std::string const&)> const& open) {
    for (auto const& [name, site] : now.sites) {
        auto const& left = merged.sites.at(name).hosts;
        auto const stays = [&](std::string const& host) { return std::ranges::find(left, host) != left.end(); };
        auto const gone = std::ranges::find_if_not(site.hosts, stays);
        if (gone == site.hosts.end() || open(name)) continue;
        return reload_obstacle{config::join_path("sites", name) + ".hosts", fmt::format("host {} would leave site {}, which is closed", *gone, name),
                               fmt::format("put \"{}\" back to sites.{}.hosts; or open the site first (`lull maintenance off {}`)", *gone,
                                           name, name)};
    }
    for (auto const& [name, site] : wanted.sites)
        for (auto const& [owner, kept] : now.sites) {
            if (owner == name) continue;
            auto const has = [&](std::string const& d) { return std::ranges::find(kept.databases, d) != kept.databases.end(); };
            auto const moved = std::ranges::find_if(site.databases, has);
            if (moved == site.databases.end()) continue;
            bool const renamed = !wanted.sites.contains(owner);
            return reload_obstacle{
                config::join_path("sites", name) + ".databases", fmt::format("database \"{}\" is of site {} now", *moved, owner),
                fmt::format("a database changes its site only with a restart: open site {} (`lull maintenance off {}`) and restart "
                            "lull; or {}",
                            owner, owner,
                            renamed ? "call the site " + owner + " again in the file"
                                    : fmt::format("put \"{}\" back to sites.{}.databases", *moved, owner))};
        }
    std::map<std::string, std::string> hosts;
    for (auto const& [name, site] : merged.sites)
        for (std::string const& host : site.hosts)
            if (auto const [at, first] = hosts.emplace(host, name); !first)
                return reload_obstacle{config::join_path("sites", name) + ".hosts",
                                       fmt::format("host {} would be of the sites {} and {}, for a site goes away only with a restart", host,
                                                   at->second, name),
                                       "restart lull; or leave the host with its site"};
    return std::nullopt;
}

}  // namespace

admin_answer control::reload() {
    auto const refuse_all = [](std::vector<config::issue> const& issues, std::string const& fix) {
        nlohmann::json list = nlohmann::json::array();
        std::string all;
        for (config::issue const& i : issues) {
            log::error("reload: {}", config::in_one_line(i));
            list.push_back(config::to_string(i));
            all += (all.empty() ? "" : "\n") + config::to_string(i);
        }
        admin_answer answer = problem(422, "The configuration was not reloaded", all, fix);
        answer.body["errors"] = std::move(list);
        return answer;
    };
    config::positions places;
    std::vector<config::warning> warnings;
    config::load_result loaded = config::load_file(config_->file, &warnings, &places);
    if (auto const* issues = std::get_if<std::vector<config::issue>>(&loaded))
        return refuse_all(*issues, "mend " + config_->file + "; until then the old configuration holds");
    config::config const& wanted = std::get<config::config>(loaded);
    if (auto const issue = judge_check_query(wanted, places))
        return refuse_all({*issue}, "mend " + config_->file + "; until then the old configuration holds");
    config::config merged = config::merge(*config_, wanted);
    auto const refuse = [](std::string const& what, std::string const& fix) {
        log::error("reload: {}; {}", what, fix);
        return problem(422, "The configuration was not reloaded", what, fix + "; until then the old configuration holds");
    };
    auto const open = [this](std::string const& name) {
        managed_site const* const site = find_site(name);
        return !site || site->machine->view().phase == routing::phase::read_write;
    };
    if (auto const in_the_way = obstacle(*config_, wanted, merged, open)) {
        config::position const at = places.find(in_the_way->path);
        config::issue const told{places.file, at.line, at.column, in_the_way->path, in_the_way->what, {}};
        return refuse(config::to_string(told), in_the_way->fix);
    }
    record_homes homes = find_homes(records_, merged.sites);
    for (auto const& [site, before] : homes.adopted)
        if (find_site(site) && homes.problem.empty()) {
            homes.problem = "databases that site " + site + " would get were closed as those of site " + before;
            homes.fix = "restart lull: it starts site " + site + " closed";
        }
    if (!homes.problem.empty()) return refuse(homes.problem, homes.fix);
    // The files anew, whether or not their names have changed: that is how certificates are renewed.
    std::vector<config::issue> of_files;
    auto keyring = load_keyring(merged, places, of_files, warnings);
    if (!keyring) return refuse_all(of_files, "mend the files; until then the old configuration and certificates hold");
    std::vector<config::change> differences = config::diff(*config_, wanted);
    for (auto const& [file, digest] : keyring->files)
        if (auto const before = tls_.get()->files.find(file);
            before != tls_.get()->files.end() && before->second != digest)
            differences.push_back({"the content of " + file, true, "changed", true});
    tls_.put(std::move(keyring));
    nlohmann::json changes = nlohmann::json::array();
    for (config::change const& c : differences) {
        if (c.reloadable)
            log::notice("reload: {}: {}{}", c.what, c.note, c.at_login ? "; in force for new connections" : "");
        else
            log::warning("reload: {} is NOT applied: {}", c.what, c.note);
        changes.push_back({{"what", c.what}, {"reloadable", c.reloadable}, {"note", c.note}, {"new_connections_only", c.at_login}});
    }
    nlohmann::json doubts = nlohmann::json::array();
    for (config::warning const& w : warnings) {
        log::warning("reload: {}", config::in_one_line(w));
        doubts.push_back(config::to_string(w));
    }
    for (std::string const& note : homes.notes) log::warning("{}", note);
    records_ = std::move(homes.records);
    config_ = std::make_shared<config::config const>(std::move(merged));
    log::configure(config_->log);
    for (auto const& s : servers_) s->value.max_lag = config_->clusters.at(s->value.cluster).max_replica_lag;
    for (auto const& [name, settings] : config_->sites) {
        if (managed_site* const known = find_site(name)) {
            reload_broken_journal(*known);
            known->settings = std::make_shared<config::site const>(settings);
            known->machine->set_timing(timing_of(settings));
            continue;
        }
        state_file::loaded none;  // nothing is wrong with it
        none.records = records_;
        restart_site(add_site(settings), none);
    }
    note_databases();
    shout_about_strays();
    watch_catalogs();
    for (auto const& [name, listener] : listeners_) listener->set_most(config_->limits.max_listen_channels);
    share_settings();
    publish();
    log::notice("reload: {} change{}", changes.size(), changes.size() == 1 ? "" : "s");
    return {200, {{"changes", std::move(changes)}, {"warnings", std::move(doubts)}}};
}

}  // namespace lull
