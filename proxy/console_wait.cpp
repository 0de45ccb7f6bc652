// The commands of the console that take time: PAUSE and MAINTENANCE.
#include "config/duration.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "proxy/console_desk.hpp"
#include "proxy/console_job.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lull {

namespace {

using clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds look_again{50};
constexpr std::chrono::seconds word_interval{5};
constexpr std::size_t most_named = 20;

struct open_servers {
    open_servers(overview const& all, std::string const& database) {
        for (pool_row const& p : all.workers.pools()) {
            if (!database.empty() && p.database != database) continue;
            active += p.servers_active;
            idle += p.servers_idle;
            login += p.servers_login;
            cancelling += p.servers_cancelling;
        }
    }
    std::size_t sum() const { return active + idle + login + cancelling; }

    std::size_t active = 0, idle = 0, login = 0, cancelling = 0;
};

/// Who keeps servers of what is to be paused, longest first.
std::string blockers(overview const& all, std::string const& database) {
    std::vector<client_row const*> found;
    for (worker_survey const& w : all.workers.workers)
        for (client_row const& c : w.clients)
            if (c.server != 0 && (database.empty() || c.database == database)) found.push_back(&c);
    std::sort(found.begin(), found.end(),
              [](client_row const* a, client_row const* b) { return a->has_server > b->has_server; });
    std::string out;
    for (std::size_t i = 0; i < found.size() && i < most_named; ++i) {
        client_row const& c = *found[i];
        out += fmt::format("{}{}@{} from {}{}, server pid {}, for {:.1f} s, {}: {}", out.empty() ? "" : "\n",
                           c.user, c.database, c.address,
                           c.application_name.empty() ? "" : " (" + c.application_name + ")", c.server_pid,
                           static_cast<double>(c.has_server.count()) / 1e6,
                           c.pinned                  ? "pinned to its session"
                           : c.transaction == "idle" ? "running"
                                                     : "in a transaction",
                           c.statement);
    }
    if (found.size() > most_named) out += fmt::format("\nand {} more", found.size() - most_named);
    auto const more = [&](std::size_t count, std::string_view what) {
        if (count > 0) out += fmt::format("{}{} {}", out.empty() ? "" : "\n", count, what);
    };
    open_servers const open(all, database);
    more(open.login, "being opened");
    more(open.cancelling, "being cancelled");
    more(open.idle, "without a client: being closed, or kept until their site is open");
    for (std::size_t worker : all.workers.silent)
        out += fmt::format("{}worker {} does not answer", out.empty() ? "" : "\n", worker);
    return out;
}

}  // namespace

void console_desk::pause(std::shared_ptr<job> const& j) {
    std::string const& database = j->what.name;
    if (!database.empty() && !known(*j)) return;
    j->patience = j->what.timeout.value_or(all_.snapshot()->config->console.pause_timeout);
    paused_.ask(database);
    tell_workers(pool_order::pause, database);
    watch_pause(j);
}

void console_desk::watch_pause(std::shared_ptr<job> const& j) {
    survey_wish wish;
    auto const now = clock::now();
    wish.clients = now >= j->next_word || now - j->since >= j->patience;
    all_.look(wish, [this, j](overview all) {
        if (!j->over) look_at_pause(j, all);
    });
}

void console_desk::look_at_pause(std::shared_ptr<job> const& j, overview const& all) {
    std::string const& database = j->what.name;
    std::size_t const open = open_servers(all, database).sum();
    if (open == 0 && all.workers.silent.empty()) {
        paused_.settle(database);
        return complete(*j, "PAUSE");
    }
    auto const now = clock::now();
    bool const listed =
        std::ranges::any_of(all.workers.workers, [](worker_survey const& w) { return !w.clients.empty(); });
    if (now - j->since >= j->patience && (listed || open == 0)) {
        undo_pause(*j);
        return fail(*j, pg::sqlstate::lock_not_available,
                    fmt::format("PAUSE was given up after {}: {} server connection{} still open",
                                config::format_duration(j->patience), open, open == 1 ? " is" : "s are"),
                    "End these sessions, or wait longer: PAUSE " + database + (database.empty() ? "" : " ") +
                        "TIMEOUT '5min'.",
                    blockers(all, database));
    }
    if (now >= j->next_word && listed) {
        say(*j, "NOTICE", fmt::format("waiting for {} server connection{}", open, open == 1 ? "" : "s"),
            blockers(all, database));
        j->next_word = now + word_interval;
    }
    j->timer.expires_after(look_again);
    j->timer.async_wait([this, j](boost::system::error_code const& error) {
        if (!error && !j->over) watch_pause(j);
    });
}

void console_desk::undo_pause(job& j) {
    if (!paused_.give_up(j.what.name)) return;
    tell_workers(j.what.name.empty() ? pool_order::resume_rest : pool_order::resume, j.what.name);
}

/// Those that still wait for what a RESUME has just ended.
void console_desk::end_pauses(job const& resume) {
    std::vector<std::shared_ptr<job>> ended;
    for (auto const& [key, j] : jobs_)
        if (j->what.verb == console_verb::pause && (resume.what.name.empty() || j->what.name == resume.what.name))
            ended.push_back(j);
    for (auto const& j : ended)
        fail(*j, pg::sqlstate::object_not_in_prerequisite_state, "PAUSE was ended by a RESUME of " + resume.user,
             "What it has paused is open again, unless another PAUSE holds it.");
}

void console_desk::maintain(std::shared_ptr<job> const& j) {
    bool const on = j->what.verb == console_verb::maintenance_on;
    admin_answer const begun =
        on ? all_.desk().begin(j->what.name, {{"reason", j->what.reason}, {"owner", j->user}})
           : all_.desk().finish(j->what.name, {}, false);
    if (begun.status >= 400) return fail(*j, begun);
    if (!on && begun.status == 200 && begun.body.value("mode", "") != "read_write") {
        say(*j, "NOTICE", "site " + j->what.name + " stays closed, for other reasons",
            begun.body.value("reasons", nlohmann::json::array()).dump());
        return complete(*j, "MAINTENANCE");
    }
    watch_site(j);
}

void console_desk::watch_site(std::shared_ptr<job> const& j) {
    bool const on = j->what.verb == console_verb::maintenance_on;
    admin_answer const now = all_.desk().site(j->what.name);
    if (now.status >= 400) return fail(*j, now);
    std::string const state = now.body.value("state", "");
    std::string const mode = now.body.value("mode", "");
    if (mode == "read_write") {
        if (!on) {
            say(*j, "NOTICE", "site " + j->what.name + " is open");
            return complete(*j, "MAINTENANCE");
        }
        nlohmann::json const error = now.body.value("error", nlohmann::json());
        std::string const why = error.is_object() ? error.value("text", "") : "entering was cancelled";
        return fail(*j, pg::sqlstate::object_not_in_prerequisite_state, "maintenance was not entered: " + why,
                    error.is_object() ? error.value("fix", "") : "");
    }
    if (on && (state == "sealed" || state == "frozen")) {
        nlohmann::json const lsn = now.body.value("sealed_lsn", nlohmann::json());
        say(*j, "NOTICE",
            "site " + j->what.name + " is " + state +
                (lsn.is_string() ? " at " + lsn.get<std::string>() : std::string()));
        return complete(*j, "MAINTENANCE");
    }
    if (clock::now() >= j->next_word) {
        nlohmann::json const waiting = now.body.value("waiting_for", nlohmann::json());
        say(*j, "NOTICE", "site " + j->what.name + " is " + state,
            waiting.is_string() ? waiting.get<std::string>()
            : waiting.empty()   ? ""
                                : "waiting for " + waiting.dump());
        j->next_word = clock::now() + word_interval;
    }
    j->timer.expires_after(look_again);
    j->timer.async_wait([this, j](boost::system::error_code const& error) {
        if (!error && !j->over) watch_site(j);
    });
}

}  // namespace lull
