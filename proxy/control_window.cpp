// Windows begin, are held and end: what operators and tools ask for, and who else is told.
#include "config/endpoint.hpp"
#include "proxy/control.hpp"
#include "proxy/log.hpp"

#include <algorithm>
#include <set>

namespace lull {

namespace {

using nlohmann::json;

constexpr long long one_week_seconds = 7 * 24 * 3600;
constexpr long long shortest_lease_ms = 1000;
constexpr std::size_t longest_name = 63;

/// A request's members, each of its type and within bounds; the first that is not is `wrong`.
struct request_reader {
    json const& in;
    std::string wrong;
    std::set<std::string> known;

    json const* find(char const* key) {
        known.insert(key);
        auto const at = in.find(key);
        return at == in.end() || at->is_null() ? nullptr : &*at;
    }
    void text(char const* key, std::string& to) {
        if (json const* v = find(key)) {
            if (!v->is_string() || v->get_ref<std::string const&>().size() > 1000)
                wrong = std::string(key) + " must be a text of at most 1000 bytes";
            else
                to = v->get<std::string>();
        }
    }
    std::optional<long long> number(char const* key, long long most) {
        json const* v = find(key);
        if (!v) return std::nullopt;
        if (!v->is_number_integer() || v->get<long long>() < 0 || v->get<long long>() > most) {
            wrong = std::string(key) + " must be a whole number from 0 to " + std::to_string(most);
            return std::nullopt;
        }
        return v->get<long long>();
    }
};

bool is_name(std::string const& text) {
    return !text.empty() && text.size() <= longest_name && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-' || c == '.';
    });
}

/// What is wrong with it, or nothing.
std::string read_request(json const& in, routing::window_request& request) {
    request_reader reader{in, {}, {}};
    reader.text("as", request.as);
    if (!is_name(request.as)) reader.wrong = "as must be a name: letters, digits, _, - and ., at most 63";
    reader.text("reason", request.reason);
    reader.text("owner", request.owner);
    if (auto const eta = reader.number("eta_seconds", one_week_seconds))
        request.until = std::chrono::system_clock::now() + std::chrono::seconds(*eta);
    if (auto const drain = reader.number("drain_timeout_ms", one_week_seconds * 1000))
        request.drain_timeout = config::milliseconds(*drain);
    if (auto const lease = reader.number("lease_ms", one_week_seconds * 1000)) {
        request.lease = config::milliseconds(*lease);
        if (*lease != 0 && *lease < shortest_lease_ms) reader.wrong = "lease_ms must be 0 or at least 1000";
    }
    std::string lease_end;
    reader.text("on_lease_end", lease_end);
    if (lease_end == "reopen")
        request.on_lease_end = routing::lease_end::reopen;
    else if (!lease_end.empty() && lease_end != "stay")
        reader.wrong = "on_lease_end must be stay or reopen";
    std::string deadline;
    reader.text("on_deadline", deadline);
    if (deadline == "wait")
        request.on_deadline = config::on_deadline::wait;
    else if (deadline == "cancel")
        request.on_deadline = config::on_deadline::cancel;
    else if (deadline == "terminate")
        request.on_deadline = config::on_deadline::terminate;
    else if (deadline == "abort")
        request.on_deadline = config::on_deadline::abort;
    else if (!deadline.empty())
        reader.wrong = "on_deadline must be wait, cancel, terminate or abort";
    if (json const* freeze = reader.find("freeze")) {
        if (!freeze->is_boolean())
            reader.wrong = "freeze must be true or false";
        else
            request.freeze = freeze->get<bool>();
    }
    for (auto const& [key, value] : in.items())
        if (!reader.known.contains(key)) reader.wrong = "\"" + key + "\" is not known";
    return reader.wrong;
}

std::string held_by(routing::claim_view const& c) {
    return c.claim.as + " is held by " + (c.claim.owner.empty() ? "somebody" : c.claim.owner) +
           "; its lease has " + std::to_string(c.lease_left->count() / 1000) + " s left";
}

}  // namespace

std::vector<std::string> control::healthy_replicas(managed_site const& s) const {
    std::vector<std::string> out;
    for (auto const& server : servers_)
        if (server->value.cluster == s.settings->cluster && server->value.role == routing::role::replica &&
            server->value.healthy)
            out.push_back(config::format_endpoint(server->value.address));
    return out;
}

/// Empty: the site has no replicas.
std::string control::why_not_freezable(managed_site const& s) const {
    std::string why;
    for (auto const& server : servers_) {
        if (server->value.cluster != s.settings->cluster || server->value.role != routing::role::replica)
            continue;
        std::string reason = server->trouble.empty() ? "it has not been reached yet" : server->trouble;
        if (server->value.healthy) reason = "another site's window has it";
        why += (why.empty() ? "" : "; ") + config::format_endpoint(server->value.address) + ": " + reason;
    }
    return why;
}

/// The primary; or a replica, where none of those that are to be frozen can be.
control::server const* control::who_lacks_rights(managed_site const& s, std::vector<std::string> const& to_freeze) {
    if (!provable(s)) return nullptr;
    server const& primary = primary_of(s);
    if (primary.look.reached && !primary.look.in_recovery && !primary.look.lacks.empty()) return &primary;
    server const* lacking = nullptr;
    for (std::string const& address : to_freeze) {
        server const* const replica = find_server(address);
        if (!replica || replica->look.lacks.empty()) return nullptr;
        lacking = replica;
    }
    return lacking;
}

admin_answer control::begin(std::string const& name, json const& in) {
    managed_site* const s = find_site(name);
    if (!s) return unknown_site(name);
    routing::event::begin event;
    routing::window_request& request = event.request;
    request.drain_timeout = s->settings->drain_timeout;
    request.on_deadline = s->settings->on_deadline;
    request.freeze = s->settings->freeze != config::freeze_policy::off;
    if (std::string const wrong = read_request(in, request); !wrong.empty())
        return problem(400, "Bad request", wrong,
                       "known: as, reason, owner, eta_seconds, lease_ms, on_lease_end, drain_timeout_ms, "
                       "on_deadline, freeze, wait_ms");
    if (s->settings->freeze == config::freeze_policy::off) request.freeze = false;
    event.provable = provable(*s);
    event.fence = fence_of(*s);
    event.prepared = s->settings->prepared;
    // Clients of what is served as another's would write on behind a site that says it is sealed.
    for (std::string const& database : s->settings->databases)
        if (auto const served = snapshot_->by_database.find(database);
            served != snapshot_->by_database.end() && served->second != s->id)
            return problem(409, "Maintenance was not entered",
                           "database \"" + database + "\" is served as a part of site " +
                               sites_[static_cast<std::size_t>(served->second)]->name,
                           "give it to one of the two in " + config_->file + " and restart lull");
    if (s->settings->databases.empty())
        return problem(409, "Maintenance was not entered", "site " + name + " has no database",
                       "give it one in sites." + name + ".databases and restart lull");
    if (closed_by_replay(*s))
        return problem(409, "Maintenance was not entered",
                       "the journal of the last window is being replayed, which writes",
                       "wait until it is done: `lull journal " + name + "` shows how far it is");
    if (request.freeze) event.replicas = freezable(*s);
    bool const open = s->machine->view().phase == routing::phase::read_write;
    if (request.freeze && event.replicas.empty() && open) {
        // Readers would wait for the migration's locks: that is for the operator to choose, and before
        // anything is drained.
        if (std::string const why = why_not_freezable(*s); !why.empty())
            return problem(
                409, "Maintenance was not entered", "no replica can be frozen now: " + why,
                "repair that; or go without: `lull maintenance on " + name +
                    " --no-freeze`, or `freeze: off` for the site (reads then go to the primary and "
                    "wait for the migration's locks)");
    }
    // It would come out in the middle of entering, with writes refused meanwhile.
    if (server const* const lacking = open ? who_lacks_rights(*s, event.replicas) : nullptr)
        return problem(409, "Maintenance was not entered",
                       "on " + config::format_endpoint(lacking->value.address) + " the control role \"" +
                           config_->clusters.at(s->settings->cluster).control->user + "\" may not " + lacking->look.lacks,
                       "as a superuser on the primary, in database " +
                           config_->clusters.at(s->settings->cluster).control->database + ": " + lacking->look.grant +
                           (lacking->value.role == routing::role::replica
                                ? "; or go without: `lull maintenance on " + name + " --no-freeze`"
                                : ""));
    for (routing::claim_view const& c : s->machine->claims(std::chrono::steady_clock::now()))
        if (c.claim.as == request.as && c.lease_left && !c.lapsed && c.claim.owner != request.owner)
            return problem(
                409, name + " is in maintenance already", held_by(c),
                "wait until that has ended; or close the site for a reason of your own: --as NAME");
    std::uint64_t const errors = s->machine->error() ? s->machine->error()->number : 0;
    std::string const as = request.as;
    routing::window_request const wanted = request;
    feed(*s, std::move(event));
    auto const phase = s->machine->view().phase;
    auto const& error = s->machine->error();
    bool const fresh = error && error->number != errors;
    if (phase == routing::phase::read_write || phase == routing::phase::reopening)
        return problem(503, "Maintenance was not entered", fresh ? error->text : "the site is reopening",
                       fresh ? error->fix : "wait until it is open, then ask again");
    // Of the same name, and yet another's, or with another lease: while the state file is busy nothing is
    // taken over.
    auto const* const got = routing::find_claim(s->machine->record(), as);
    bool const leased = got && (wanted.lease.count() != 0 || got->lease.count() != 0);
    if (!got || (leased && (got->owner != wanted.owner || got->lease != wanted.lease)))
        return problem(503, "The reason was not recorded", fresh ? error->text : "the state file is busy",
                       fresh ? error->fix : "ask again");
    return answer_for(*s, phase == routing::phase::sealed);
}

admin_answer control::finish(std::string const& name, std::string const& as, bool all) {
    managed_site* const s = find_site(name);
    if (!s) return unknown_site(name);
    routing::event::finish event{healthy_replicas(*s), as};
    auto const claims = s->machine->claims(std::chrono::steady_clock::now());
    std::string names;
    for (routing::claim_view const& c : claims) names += (names.empty() ? "" : ", ") + c.claim.as;
    auto const among = [&](std::string const& wanted) {
        return std::any_of(claims.begin(), claims.end(), [&](auto const& c) { return c.claim.as == wanted; });
    };
    if (all) {
        event.as.clear();
    } else if (!as.empty() && !claims.empty() && !among(as)) {
        return problem(404, "No such reason", "\"" + as + "\" is no reason for " + name + " to be closed",
                       "the reasons are: " + names);
    } else if (as.empty() && claims.size() == 1) {
        routing::claim_view const& c = claims.front();
        if (c.lease_left && !c.lapsed)
            return problem(409, name + " is being worked on", held_by(c),
                           "wait until that has ended; or end it all the same: lull maintenance off " + name +
                               " --as " + c.claim.as);
        event.as = c.claim.as;
    } else if (as.empty() && claims.size() > 1) {
        if (!among(routing::default_claim))
            return problem(409, "Which reason?", name + " is closed for several reasons: " + names,
                           "lull maintenance off " + name + " --as NAME, or --all");
        event.as = routing::default_claim;
    }
    std::uint64_t const errors = s->machine->error() ? s->machine->error()->number : 0;
    bool const last = event.as.empty() || claims.size() <= 1;
    std::string const cleared = event.as;
    feed(*s, std::move(event));
    auto const phase = s->machine->view().phase;
    auto const& error = s->machine->error();
    if (phase != routing::phase::read_write && phase != routing::phase::reopening && error &&
        error->number != errors)
        return problem(503, "Maintenance goes on", error->text, error->fix);
    bool const stays = !last && !routing::find_claim(s->machine->record(), cleared);
    return answer_for(*s, phase == routing::phase::read_write || stays);
}

admin_answer control::renew(std::string const& name, json const& in) {
    managed_site* const s = find_site(name);
    if (!s) return unknown_site(name);
    std::string as = routing::default_claim;
    request_reader reader{in, {}, {}};
    reader.text("as", as);
    if (!reader.wrong.empty()) return problem(400, "Bad request", reader.wrong, "known: as");
    auto const claims = s->machine->claims(std::chrono::steady_clock::now());
    auto const known =
        std::find_if(claims.begin(), claims.end(), [&](auto const& c) { return c.claim.as == as; });
    if (known == claims.end())
        return problem(404, "No such reason", "\"" + as + "\" is no reason for " + name + " to be closed",
                       "see lull status " + name);
    if (!known->lease_left)
        return problem(409, "No lease", as + " has no lease: it needs no renewal",
                       "lull maintenance on " + name + " --as " + as + " --lease 60s gives it one");
    feed(*s, routing::event::renew{as});
    return {200, describe(*s)};
}

void control::call_hook(managed_site& s, routing::effect::turn turn) {
    config::window_hooks const& all = s.settings->hooks;
    hook_call call;
    switch (turn) {
        case routing::effect::turn::entering:
            call.name = "on_enter";
            call.command = all.on_enter;
            break;
        case routing::effect::turn::sealed:
            call.name = "on_sealed";
            call.command = all.on_sealed;
            break;
        case routing::effect::turn::opened:
            call.name = "on_exit";
            call.command = all.on_exit;
            break;
        case routing::effect::turn::overdue:
            call.name = "on_overdue";
            call.command = all.on_overdue;
            break;
    }
    bool const end = turn == routing::effect::turn::opened;
    if (call.command.empty() && end) return feed(s, routing::event::end_told{});
    if (call.command.empty() || !s.hooks) return;
    routing::maintenance_record const& record = s.machine->record();
    bool const open = record.phase == routing::phase::read_write;
    routing::untold_end const of =
        end && record.untold
            ? *record.untold
            : routing::untold_end{record.request.reason, record.request.owner, record.sealed_lsn};
    auto const until = routing::expected_end(record);
    call.environment = {
        {"LULL_SITE", s.name},
        {"LULL_EVENT", call.name.substr(3)},
        {"LULL_EPOCH", std::to_string(static_cast<std::uint64_t>(s.machine->view().epoch))},
        {"LULL_MODE", open                                      ? "read_write"
                      : turn == routing::effect::turn::entering ? "draining"
                                                                : "sealed"},
        {"LULL_REASON", of.reason},
        {"LULL_OWNER", of.owner},
        {"LULL_UNTIL", until ? rfc3339(*until) : ""},
        {"LULL_SEALED_LSN", of.sealed_lsn ? routing::format_lsn(*of.sealed_lsn) : ""},
    };
    call.timeout = all.timeout;
    s.hooks->call(std::move(call));
}

void control::hook_ended(managed_site& s, hook_outcome const& outcome) {
    s.hooked[outcome.name] = outcome;
    if (outcome.ok)
        log::info("site {}: hook {}: {} {}", s.name, outcome.name, outcome.program, outcome.text);
    else
        log::error("site {}: hook {}: {} {}{}{}", s.name, outcome.name, outcome.program, outcome.text,
                   outcome.output.empty() ? "" : "; it said: ", outcome.output);
    if (outcome.name == "on_exit" && outcome.called && s.machine->view().phase == routing::phase::read_write)
        feed(s, routing::event::end_told{});
    audit({{"time", rfc3339(outcome.at)},
           {"site", s.name},
           {"event", "hook"},
           {"hook", outcome.name},
           {"program", outcome.program},
           {"ok", outcome.ok},
           {"text", outcome.text}});
}

}  // namespace lull
