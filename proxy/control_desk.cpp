// What the admin socket asks: statuses as JSON, beginning and ending windows.
#include "config/endpoint.hpp"
#include "config/print.hpp"
#include "proxy/control.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/version.hpp"

#include <algorithm>

namespace lull {

namespace {

using nlohmann::json;

json time_or_null(std::optional<routing::wall_time> const& t) {
    return t ? json(rfc3339(*t)) : json(nullptr);
}
json lsn_or_null(std::optional<routing::lsn> const& l) {
    return l ? json(routing::format_lsn(*l)) : json(nullptr);
}

char const* name_of(routing::mode m) {
    switch (m) {
        case routing::mode::read_write:
            return "read_write";
        case routing::mode::draining:
            return "draining";
        case routing::mode::sealed:
            return "sealed";
        case routing::mode::reopening:
            return "reopening";
    }
    return "?";
}

char const* name_of(routing::phase p, bool frozen) {
    switch (p) {
        case routing::phase::read_write:
            return "read_write";
        case routing::phase::draining:
            return "draining";
        case routing::phase::sealing:
            return "sealing";
        case routing::phase::sealed:
            return frozen ? "frozen" : "sealed";
        case routing::phase::reopening:
            return "reopening";
        case routing::phase::recovering:
            return "recovering";
    }
    return "?";
}

char const* name_of(routing::fence_state f) {
    switch (f) {
        case routing::fence_state::none:
            return "none";
        case routing::fence_state::raising:
            return "raising";
        case routing::fence_state::up:
            return "up";
        case routing::fence_state::missing:
            return "missing";
        case routing::fence_state::lowering:
            return "lowering";
        case routing::fence_state::owed:
            return "owed";
    }
    return "?";
}

json describe(writer const& w) {
    return {{"protocol", w.protocol},
            {"client", w.client},
            {"pid", w.server_pid ? json(w.server_pid) : json(nullptr)},
            {"user", w.user},
            {"database", w.database},
            {"application_name", w.application_name},
            {"address", w.address},
            {"state", w.state},
            {"statement", w.statement},
            {"since", rfc3339(w.since)}};
}

json describe(routing::claim_view const& c) {
    return {{"as", c.claim.as},
            {"reason", c.claim.reason},
            {"owner", c.claim.owner},
            {"since", rfc3339(c.claim.since)},
            {"until", time_or_null(c.claim.until)},
            {"lease_ms", c.lease_left ? json(c.claim.lease.count()) : json(nullptr)},
            {"lease_left_ms", c.lease_left ? json(c.lease_left->count()) : json(nullptr)},
            {"on_lease_end", c.claim.on_lease_end == routing::lease_end::stay ? "stay" : "reopen"},
            {"lapsed", c.lapsed}};
}

}  // namespace

std::string rfc3339(routing::wall_time t) {
    auto const ms = std::chrono::duration_cast<std::chrono::milliseconds>(t.time_since_epoch()).count();
    std::time_t const seconds = static_cast<std::time_t>(ms / 1000);
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    char text[40];
    std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    n += static_cast<std::size_t>(
        std::snprintf(text + n, sizeof text - n, ".%03dZ", static_cast<int>(ms % 1000)));
    return {text, n};
}

control::managed_site* control::find_site(std::string const& name) {
    for (auto const& s : sites_)
        if (s->name == name) return s.get();
    return nullptr;
}

admin_answer control::unknown_site(std::string const& name) {
    std::string names;
    for (auto const& s : sites_) names += (names.empty() ? "" : ", ") + s->name;
    return problem(404, "Unknown site", "there is no site \"" + name + "\"; there are: " + names);
}

json control::describe(managed_site& s) {
    routing::maintenance_view const view = s.machine->view();
    routing::maintenance_record const& record = s.machine->record();
    bool const open = view.phase == routing::phase::read_write;
    json out{{"site", s.name},
             {"mode", name_of(view.mode)},
             {"state", name_of(view.phase, view.frozen)},
             {"epoch", static_cast<std::uint64_t>(view.epoch)},
             {"since", rfc3339(record.since)},
             {"seconds", std::chrono::duration<double>(std::chrono::system_clock::now() - record.since).count()},
             {"reason", open ? "" : record.request.reason},
             {"owner", open ? "" : record.request.owner},
             {"until", open ? json(nullptr) : time_or_null(routing::expected_end(record))},
             {"overdue", s.machine->overdue(std::chrono::system_clock::now())},
             {"reasons", json::array()},
             {"hooks", json::array()},
             {"sealed_lsn", open ? json(nullptr) : lsn_or_null(record.sealed_lsn)},
             {"sealed_at", open ? json(nullptr) : time_or_null(record.sealed_at)},
             {"waited_for", record.waited_for},
             {"waiting_for", s.machine->waiting_for()},
             {"outsiders", s.machine->outsiders()},
             {"bypassing", s.machine->bypassing()},
             {"suspects", s.machine->suspects()},
             {"prepared", s.machine->prepared()},
             {"fence",
              {{"state", name_of(s.machine->fence())},
               {"configured", fence_of(s) != config::fence_policy::off},
               {"note", s.machine->fence_note()},
               {"ended", open ? std::vector<std::string>{} : s.machine->fence_ended()}}},
             {"error", nullptr},
             {"last_window", nullptr}};
    for (routing::claim_view const& c : s.machine->claims(std::chrono::steady_clock::now()))
        out["reasons"].push_back(lull::describe(c));
    for (auto const& [name, h] : s.hooked)
        out["hooks"].push_back({{"hook", name},
                                {"program", h.program},
                                {"ok", h.ok},
                                {"text", h.text},
                                {"output", h.output},
                                {"at", rfc3339(h.at)}});
    if (closed_by_replay(s) && view.phase == routing::phase::read_write) {
        out["mode"] = name_of(routing::mode::reopening);
        out["state"] = "replaying";
    }
    std::size_t clients = 0, writers = 0, held = 0, held_bytes = 0;
    out["writers"] = json::array();
    for (site_load const& load : s.loads) {
        clients += load.clients;
        writers += load.writers;
        held += load.held;
        held_bytes += load.held_bytes;
        for (writer const& w : load.longest) out["writers"].push_back(lull::describe(w));
    }
    out["clients"] = clients;
    out["writing"] = writers;
    write_fates const fates = fates_of(s);
    config::hold_limits const& hold = s.settings->hold;
    out["held"] = {{"count", held},
                   {"bytes", held_bytes},
                   {"total", fates.held},
                   {"max_count", hold.max_count},
                   {"max_bytes", hold.max_bytes},
                   {"max_age_ms", hold.max_age.count()}};
    out["refused"] = fates.refused;
    out["discarded"] = fates.discarded;
    out["journaled"] = fates.journaled;
    out["passed"] = fates.passed;
    out["over_limit"] = fates.over_limit;
    out["unknown"] = fates.unknown;
    out["journal"] = describe_journal(s);
    if (auto const& error = s.machine->error()) out["error"] = {{"text", error->text}, {"fix", error->fix}};
    if (auto const& w = record.last_window)
        out["last_window"] = {{"epoch", static_cast<std::uint64_t>(w->epoch)},
                              {"reason", w->reason},
                              {"owner", w->owner},
                              {"sealed_lsn", lsn_or_null(w->sealed_lsn)},
                              {"sealed_at", rfc3339(w->sealed_at)},
                              {"finish_lsn", lsn_or_null(w->finish_lsn)},
                              {"reopened_at", rfc3339(w->reopened_at)},
                              {"proof", s.proof},
                              {"waited_for", w->waited_for}};
    out["catalogs"] = describe_catalogs(s);
    out["backends"] = json::array();
    auto const now = std::chrono::steady_clock::now();
    for (auto const& server : servers_) {
        if (server->value.cluster != s.settings->cluster) continue;
        bool const replica = server->value.role == routing::role::replica;
        std::string const address = config::format_endpoint(server->value.address);
        json b{{"address", address},
               {"role", replica ? "replica" : "primary"},
               {"healthy", server->value.healthy},
               {"trouble", server->trouble},
               {"frozen", false},
               {"lag_ms", nullptr},
               {"replay_lsn", nullptr},
               {"note", ""}};
        if (replica) {
            if (server->value.fresh_through != routing::instant{})
                b["lag_ms"] =
                    std::chrono::duration_cast<std::chrono::milliseconds>(now - server->value.fresh_through)
                        .count();
            if (server->look.replayed != routing::lsn{})
                b["replay_lsn"] = routing::format_lsn(server->look.replayed);
        } else if (server->look.inserted != routing::lsn{}) {
            b["insert_lsn"] = routing::format_lsn(server->look.inserted);
        }
        for (routing::replica_view const& r : view.replicas)
            if (r.address == address) {
                b["frozen"] = r.readable;
                b["note"] = r.note;
            }
        out["backends"].push_back(std::move(b));
    }
    return out;
}

admin_answer control::status() {
    json sites = json::array();
    for (auto const& s : sites_) sites.push_back(describe(*s));
    json strays = json::array();
    for (journals::stray const& one : stray_journals())
        strays.push_back({{"site", one.site}, {"file", one.file}, {"writes", one.writes}});
    auto const without = since_no_room();
    std::size_t const most = descriptor_limit();
    json const files{{"max", most},
                     {"max_for_clients", descriptors_below(descriptor_use::client, most)},
                     {"seconds_since_refusal", without ? json(without->count()) : json(nullptr)}};
    return {200,
            {{"version", version},
             {"workers", workers_count_},
             {"open_files", files},
             {"sites", sites},
             {"stray_journals", strays}}};
}

admin_answer control::sites() {
    json names = json::array();
    for (auto const& s : sites_)
        names.push_back({{"site", s->name}, {"mode", name_of(s->machine->view().mode)}});
    return {200, {{"sites", names}}};
}

admin_answer control::site(std::string const& name) {
    managed_site* const s = find_site(name);
    return s ? admin_answer{200, describe(*s)} : unknown_site(name);
}

admin_answer control::effective_config() {
    return {200, {{"yaml", config::print_effective(*config_)}}};
}

admin_answer control::migration(std::string const& name) {
    managed_site* const s = find_site(name);
    if (!s) return unknown_site(name);
    if (!config_->listen.migration)
        return problem(409, "No migration port", "the configuration has no migration listener",
                       "add listen.migration, for instance 127.0.0.1:6433, and restart lull");
    config::endpoint where = *config_->listen.migration;
    if (where.host == "0.0.0.0" || where.host == "*") where.host = "127.0.0.1";
    if (where.host == "::") where.host = "::1";
    if (s->settings->databases.empty())
        return problem(409, "No database", "site " + name + " has no database", "give it one in sites." + name + ".databases");
    json out{{"host", where.host},
             {"port", where.port},
             {"database", s->settings->databases.front()},
             {"user", ""}};
    if (!s->settings->migration_users.empty()) {
        std::string const& user = s->settings->migration_users.front();
        out["user"] = user;
        auto const known = config_->users.find(user);
        // Whoever may use this socket may read the configuration file.
        if (known != config_->users.end() && !known->second.password.starts_with("SCRAM-SHA-256$"))
            out["password"] = known->second.password;
    }
    return {200, std::move(out)};
}

admin_answer control::answer_for(managed_site& s, bool over) {
    return {over ? 200 : 202, describe(s)};
}

}  // namespace lull
