// The audit file: a line for each turn of a window, for whoever asks later what happened.
#include "proxy/control.hpp"
#include "proxy/log.hpp"

namespace lull {

nlohmann::json control::audit_line(managed_site& s, routing::effect::say const& what) {
    auto const& record = s.machine->record();
    nlohmann::json line{{"time", rfc3339(now().wall)},
                        {"site", s.name},
                        {"event", what.event},
                        {"text", what.text},
                        {"epoch", static_cast<std::uint64_t>(s.machine->view().epoch)},
                        {"as", record.request.as},
                        {"owner", record.request.owner},
                        {"reason", record.request.reason}};
    if (record.sealed_lsn) line["sealed_lsn"] = routing::format_lsn(*record.sealed_lsn);
    std::uint64_t const refused = fates_of(s).refused;
    if (what.event == "draining") s.counts = {refused, 0, 0};
    if (what.event == "sealed") {
        line["waited_for"] = record.waited_for;
        line["snapshot"] = record.at_sealing.snapshot;
        line["outsiders"] = s.machine->outsiders();
        line["bypassing"] = s.machine->bypassing();
        line["prepared"] = s.machine->prepared();
        line["fenced"] = s.machine->fence() == routing::fence_state::up;
        line["ended"] = s.machine->fence_ended();
        if (auto const end = routing::expected_end(record)) line["until"] = rfc3339(*end);
    }
    if (what.event == "reopened" && record.last_window) {
        // The record is that of the next window already.
        routing::past_window const& w = *record.last_window;
        line.erase("as");
        line["owner"] = w.owner;
        line["reason"] = w.reason;
        line["sealed_at"] = rfc3339(w.sealed_at);
        line["waited_for"] = w.waited_for;
        if (w.sealed_lsn) line["sealed_lsn"] = routing::format_lsn(*w.sealed_lsn);
        if (w.finish_lsn) line["finish_lsn"] = routing::format_lsn(*w.finish_lsn);
        line["sealed_snapshot"] = w.at_sealing.snapshot;
        line["snapshot"] = w.at_end.snapshot;
        nlohmann::json past_lull = nlohmann::json::array();
        for (routing::xid_mark const& m : w.marks)
            if (!m.migration && !m.through_lull) past_lull.push_back({{"xid", m.xid}, {"who", m.who}});
        line["wrote_past_lull"] = std::move(past_lull);
        line["refused"] = refused - s.counts.refused_before;
        line["most_held"] = s.counts.most_held;
        line["writes_through_lull_while_sealed"] = s.counts.writers_while_sealed;
    }
    return line;
}

void control::audit(nlohmann::json line) {
    auto const write = [&](nlohmann::json const& one) {
        auto const done = state_.audit(one.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
        if (!done.error.empty()) log::warning("audit: {}", done.error);
        return done.rotated;
    };
    if (!write(line)) return;
    // A window may outlive both files: what each begins with says again which are open, and what is known of them.
    for (auto const& s : sites_) {
        if (s->machine->view().phase == routing::phase::read_write) continue;
        auto const& record = s->machine->record();
        nlohmann::json again = audit_line(
            *s, {routing::effect::loudness::info, "continues", "closed since before this file; what is known of the window"});
        again["since"] = rfc3339(record.since);
        again["claimed_at"] = rfc3339(record.request.since);
        again["waited_for"] = record.waited_for;
        if (record.sealed_at) {
            again["sealed_at"] = rfc3339(*record.sealed_at);
            again["sealed_epoch"] = static_cast<std::uint64_t>(record.sealed_epoch);
            again["snapshot"] = record.at_sealing.snapshot;
        }
        write(again);
    }
}

}  // namespace lull
