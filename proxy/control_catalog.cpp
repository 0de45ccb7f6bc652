// What the control thread knows of the sites' catalogs, and which of it snapshots have.
#include "proxy/control.hpp"
#include "proxy/log.hpp"

#include <algorithm>

namespace lull {

namespace {

// Without an answer for so long, what was known counts as not known.
constexpr std::chrono::seconds forget_after{10};

}  // namespace

/// Starts what is missing and tells the rest of changes.
void control::watch_catalogs() {
    for (auto const& s : sites_) {
        config::cluster const& c = config_->clusters.at(s->settings->cluster);
        if (!c.control) continue;
        auto& watch = catalog_watches_[c.name];
        if (!watch)
            watch =
                std::make_unique<catalog_watch>(io_, c.primary, *c.control, c.tls, c.catalog_interval,
                                                [this](catalog_look const& look) { catalog_looked(look); });
        for (std::string const& database : s->settings->databases)
            watch->watch(database, s->settings->guard, config_->limits.max_catalog_objects);
    }
}

void control::catalog_looked(catalog_look const& look) {
    known_catalog& known = catalogs_[look.database];
    if (look.trouble != known.look.trouble) {
        if (!look.trouble.empty())
            log::warning(
                "database {}: its catalog cannot be read, so nobody knows what its views and functions call: "
                "{}",
                look.database, look.trouble);
        else
            log::notice("database {}: its catalog can be read again", look.database);
    }
    // One that cannot be asked for a moment has not changed by that, but may have meanwhile.
    routing::instant const asked = std::max(look.asked, known.look.asked);
    bool const recent = std::chrono::steady_clock::now() - asked < forget_after;
    std::shared_ptr<routing::catalog_facts const> const facts =
        look.facts || !recent ? look.facts : known.look.facts;
    bool const changed = facts != known.look.facts;
    bool const becomes_fresh =
        known.wanted_since && known.look.asked < *known.wanted_since && asked >= *known.wanted_since;
    known.look = look;
    known.look.facts = facts;
    known.look.asked = asked;
    if (changed || becomes_fresh) publish_soon();
}

/// For a snapshot: what is known of this site's catalogs. While a frozen replica answers, that is what was
/// known when it was frozen, for its schema is the old one.
void control::add_catalogs(managed_site& s, routing::maintenance_view const& view, routing::snapshot& made) {
    bool const closed = view.mode == routing::mode::sealed || view.mode == routing::mode::reopening;
    if (!view.frozen) s.frozen_catalogs.clear();
    for (std::string const& database : s.settings->databases) {
        known_catalog& known = catalogs_[database];
        if (!closed) {
            known.wanted_since.reset();
        } else if (!known.wanted_since) {
            // Until now a writer could still change what the facts were read from.
            known.wanted_since = std::chrono::steady_clock::now();
            auto const at = catalog_watches_.find(s.settings->cluster);
            if (at != catalog_watches_.end()) at->second->hurry();
        }
        routing::catalog_state& state = made.catalogs[database];
        state.facts = known.look.facts;
        state.fresh = closed && known.look.asked >= *known.wanted_since;
        if (!view.frozen || !state.facts) continue;
        auto const [kept, first] = s.frozen_catalogs.try_emplace(database, state.facts);
        if (kept->second != state.facts) state = {kept->second, false};
    }
}

nlohmann::json control::describe_catalogs(managed_site const& s) const {
    nlohmann::json out = nlohmann::json::array();
    for (std::string const& database : s.settings->databases) {
        auto const at = catalogs_.find(database);
        routing::catalog_facts const* facts = at == catalogs_.end() ? nullptr : at->second.look.facts.get();
        nlohmann::json one{{"database", database},
                           {"known", facts != nullptr},
                           {"fresh", facts && at->second.wanted_since &&
                                         at->second.look.asked >= *at->second.wanted_since},
                           {"trouble", at == catalogs_.end() ? "" : at->second.look.trouble}};
        if (facts) {
            one["unlisted_functions"] = facts->unknown_functions();
            one["unlisted_relations"] = facts->unknown_relations();
            one["examples"] = facts->examples();
            one["extensions"] = facts->extensions();
        }
        out.push_back(std::move(one));
    }
    return out;
}

}  // namespace lull
