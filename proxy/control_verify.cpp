// `lull verify`: a window held against what the server says of its transactions.
#include "proxy/control.hpp"
#include "proxy/log.hpp"

#include <utility>

namespace lull {

namespace {

using nlohmann::json;

char const* name_of(routing::proof p) {
    switch (p) {
        case routing::proof::proved:
            return "proved";
        case routing::proof::violated:
            return "violated";
        case routing::proof::not_proved:
            return "not_proved";
    }
    return "?";
}

}  // namespace

/// The window that is open, or the last one.
void control::verify(std::string const& name, std::function<void(admin_answer)> then) {
    managed_site* const s = find_site(name);
    if (!s) return then(unknown_site(name));
    routing::maintenance_record const& record = s->machine->record();
    bool const open = record.phase == routing::phase::sealed || record.phase == routing::phase::reopening;
    if (!open && !record.last_window)
        return then(problem(404, "No window", name + " has not been sealed yet",
                            "lull maintenance on " + name + ", or lull upgrade " + name + " -- COMMAND"));
    routing::window_facts facts;
    json window;
    if (open) {
        facts = {.over = false,
                 .sealed_lsn = record.sealed_lsn,
                 .finish_lsn = std::nullopt,
                 .at_sealing = record.at_sealing,
                 .at_end = {},
                 .marks = record.marks};
        window = {{"epoch", static_cast<std::uint64_t>(record.sealed_epoch)},
                  {"sealed_at", record.sealed_at ? json(rfc3339(*record.sealed_at)) : json(nullptr)},
                  {"reopened_at", nullptr}};
    } else {
        routing::past_window const& w = *record.last_window;
        facts = {.over = true,
                 .sealed_lsn = w.sealed_lsn,
                 .finish_lsn = w.finish_lsn,
                 .at_sealing = w.at_sealing,
                 .at_end = w.at_end,
                 .marks = w.marks};
        window = {{"epoch", static_cast<std::uint64_t>(w.epoch)},
                  {"sealed_at", rfc3339(w.sealed_at)},
                  {"reopened_at", rfc3339(w.reopened_at)}};
    }
    window["sealed_lsn"] = facts.sealed_lsn ? json(routing::format_lsn(*facts.sealed_lsn)) : json(nullptr);
    window["finish_lsn"] = facts.finish_lsn ? json(routing::format_lsn(*facts.finish_lsn)) : json(nullptr);
    auto answer = [this, name, facts, window, then](routing::window_evidence const& evidence) {
        routing::window_verdict const v = routing::judge(facts, evidence);
        json out{{"site", name},
                 {"verdict", name_of(v.proof)},
                 {"window", window},
                 {"shown", v.shown},
                 {"not_shown", v.not_shown}};
        // Asked for again and again it must not push the window's own lines out of the file.
        std::string const told = window.dump() + name_of(v.proof);
        managed_site* const site = find_site(name);
        bool const news = site && std::exchange(site->verified, told) != told;
        if (site && facts.over) site->proof = name_of(v.proof);
        if (news)
            audit({{"time", rfc3339(now().wall)},
                   {"site", name},
                   {"event", "verified"},
                   {"verdict", name_of(v.proof)},
                   {"window", window},
                   {"shown", v.shown},
                   {"not_shown", v.not_shown}});
        then({200, std::move(out)});
    };
    if (facts.at_sealing.snapshot.empty() || (facts.over && facts.at_end.snapshot.empty())) return answer({});
    primary_of(*s).watch->ask_window(s->settings->databases, facts, std::move(answer));
}

/// So that the audit file says it of each window, asked or not, and while the server still knows.
void control::prove(std::string const& name) {
    managed_site* const s = find_site(name);
    if (!s || stopping_ || !s->machine->record().last_window) return;
    s->proof.clear();
    verify(name, [this, name](admin_answer const&) {
        managed_site const* const site = find_site(name);
        if (site && site->proof == name_of(routing::proof::violated))
            log::error("site {}: somebody but the migration committed in the window that has just ended; see `lull verify {}`",
                       name, name);
        else if (site && site->proof == name_of(routing::proof::not_proved))
            log::notice("site {}: it is not proved that nobody but the migration committed in the window; see `lull verify {}`",
                        name, name);
    });
}

}  // namespace lull
