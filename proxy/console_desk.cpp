#include "proxy/console_desk.hpp"

#include "config/duration.hpp"
#include "protocol/pg/backend.hpp"
#include "protocol/pg/sqlstate.hpp"
#include "protocol/utf8.hpp"
#include "proxy/console_job.hpp"
#include "proxy/console_session_core.hpp"
#include "proxy/log.hpp"

#include <algorithm>
#include <csignal>
#include <unistd.h>

namespace lull {

namespace {

namespace sqlstate = pg::sqlstate;

constexpr std::chrono::seconds sample_interval{15};
constexpr std::size_t most_samples = 5;

std::string in_quotes(std::string const& name) {
    return "\"" + name + "\"";
}

}  // namespace

console_desk::console_desk(boost::asio::io_context& io, observer& all, pause_book& paused,
                           std::vector<std::unique_ptr<worker_port>>& workers)
    : io_(io), all_(all), workers_(workers), paused_(paused), sampling_(io) {
    take_sample();
}

console_desk::~console_desk() = default;

void console_desk::ask(worker_id worker, std::uint64_t request, console_command const& what,
                       std::string const& user) {
    auto const j = std::make_shared<job>(io_, worker, request, what, user);
    jobs_[{worker, request}] = j;
    start(j);
}

void console_desk::cancel(worker_id worker, std::uint64_t request) {
    auto const at = jobs_.find({worker, request});
    if (at == jobs_.end()) return;
    std::shared_ptr<job> const j = at->second;
    jobs_.erase(at);
    j->over = true;
    j->timer.cancel();
    if (j->what.verb == console_verb::pause) {
        log::notice("console: the PAUSE of {} is undone: nobody waits for it any more", j->user);
        undo_pause(*j);
    }
}

void console_desk::start(std::shared_ptr<job> const& j) {
    auto note = [&](std::string const& what) { log::notice("console: {}, by {}", what, j->user); };
    std::string const where = j->what.name.empty() ? "" : " " + j->what.name;
    switch (j->what.verb) {
        case console_verb::nothing:  // answered by the session, as the next
        case console_verb::set:
            return complete(*j, "");
        case console_verb::show:
            return show(j);
        case console_verb::pause:
            note("PAUSE" + where);
            return pause(j);
        case console_verb::resume:
            note("RESUME" + where);
            return resume(*j);
        case console_verb::reconnect:
            note("RECONNECT" + where);
            return reconnect(*j);
        case console_verb::kill:
            note("KILL" + where);
            return kill(*j);
        case console_verb::reload:
            note("RELOAD");
            return reload(*j);
        case console_verb::shutdown:
            note("SHUTDOWN");
            return shut_down(*j);
        case console_verb::maintenance_on:
            note("MAINTENANCE ON" + where);
            return maintain(j);
        case console_verb::maintenance_off:
            note("MAINTENANCE OFF" + where);
            return maintain(j);
    }
}

void console_desk::show(std::shared_ptr<job> const& j) {
    if (j->what.topic == console_topic::help) {
        say(*j, "NOTICE", "Console usage", console_help());
        return complete(*j, "SHOW");
    }
    all_.look(wish_for(j->what.topic), [this, j](overview all) {
        if (j->over) return;
        console_facts facts;
        facts.now = std::chrono::system_clock::now();
        facts.whole_statements = console_right_of(all.now->config->console, j->user) == console_right::all;
        if (!samples_.empty()) {
            facts.before = samples_.front().databases;
            facts.before_age = std::chrono::steady_clock::now() - samples_.front().at;
        }
        std::string out;
        std::size_t left_out = 0;
        for (worker_survey const& w : all.workers.workers) left_out += w.not_shown;
        if (left_out > 0) say(*j, "NOTICE", std::to_string(left_out) + " more rows are not shown");
        for (std::size_t worker : all.workers.silent)
            say(*j, "WARNING",
                "worker " + std::to_string(worker) + " does not answer: its figures are missing");
        write_table(out, lull::show(j->what, all, facts), "SHOW");
        answer(*j, std::move(out), true);
    });
}

void console_desk::resume(job& j) {
    if (j.what.name.empty()) {
        if (!paused_.resume({}))
            return fail(j, sqlstate::object_not_in_prerequisite_state, "nothing is paused");
    } else {
        if (!known(j)) return;
        if (!paused_.resume(j.what.name))
            return fail(j, sqlstate::object_not_in_prerequisite_state,
                        "database " + in_quotes(j.what.name) + " is not paused",
                        paused_.all() ? "All are: RESUME without a name ends that." : "");
    }
    tell_workers(pool_order::resume, j.what.name);
    end_pauses(j);
    complete(j, "RESUME");
}

void console_desk::kill(job& j) {
    if (!known(j)) return;
    paused_.keep(j.what.name);
    tell_workers(pool_order::pause, j.what.name);
    tell_workers(pool_order::kill, j.what.name);
    say(j, "NOTICE", "database " + in_quotes(j.what.name) + " is paused until RESUME " + j.what.name);
    complete(j, "KILL");
}

void console_desk::reconnect(job& j) {
    if (!j.what.name.empty() && !known(j)) return;
    tell_workers(pool_order::reconnect, j.what.name);
    complete(j, "RECONNECT");
}

void console_desk::reload(job& j) {
    admin_answer const done = all_.desk().reload();
    if (done.status >= 400) return fail(j, done);
    if (auto const at = done.body.find("changes"); at != done.body.end() && at->is_array()) {
        for (auto const& change : *at) {
            if (!change.value("reloadable", true))
                say(j, "WARNING", change.value("what", "") + " is not applied: " + change.value("note", ""));
            else if (change.value("new_connections_only", false))
                say(j, "NOTICE", change.value("what", "") + " is in force for new connections");
        }
    }
    complete(j, "RELOAD");
}

void console_desk::shut_down(job& j) {
    complete(j, "SHUTDOWN");
    ::kill(::getpid(), j.what.graceful ? SIGTERM : SIGINT);  // as an operator at a terminal would
}

void console_desk::tell_workers(pool_order order, std::string const& database) {
    for (auto const& w : workers_) w->rule_pools(order, database);
}

/// False: there is no such database, and the operator has been told.
bool console_desk::known(job& j) {
    if (all_.snapshot()->by_database.contains(j.what.name)) return true;
    std::string names;
    for (auto const& [name, site] : all_.snapshot()->by_database) names += (names.empty() ? "" : ", ") + name;
    fail(j, sqlstate::invalid_catalog_name, "no such database: " + j.what.name, "There are: " + names + ".");
    return false;
}

void console_desk::say(job& j, std::string_view severity, std::string_view message, std::string_view detail) {
    std::string out;
    pg::write_notice_response(
        out, {.severity = severity,
              .sqlstate = severity == "NOTICE" ? sqlstate::successful_completion : sqlstate::warning,
              .message = message,
              .detail = as_utf8(detail)});
    answer(j, std::move(out), false);
}

void console_desk::complete(job& j, std::string_view tag) {
    std::string out;
    pg::write_command_complete(out, tag);
    answer(j, std::move(out), true);
}

void console_desk::fail(job& j, std::string_view sqlstate, std::string_view message, std::string_view hint,
                        std::string_view detail) {
    std::string out;
    pg::write_error_response(
        out, {.sqlstate = sqlstate, .message = message, .detail = as_utf8(detail), .hint = hint});
    answer(j, std::move(out), true);
}

void console_desk::fail(job& j, admin_answer const& problem) {
    std::string message = problem.body.value("detail", "");
    if (message.empty()) message = problem.body.value("title", "that did not work");
    fail(j, sqlstate::object_not_in_prerequisite_state, message, problem.body.value("fix", ""));
}

void console_desk::answer(job& j, std::string messages, bool last) {
    if (j.over) return;
    auto const index = static_cast<std::size_t>(j.worker);
    if (index < workers_.size()) workers_[index]->answer_console(j.request, std::move(messages), last);
    if (!last) return;
    j.over = true;
    j.timer.cancel();
    jobs_.erase({j.worker, j.request});
}

/// Averages are those of about the last minute.
void console_desk::take_sample() {
    config::console const& c = all_.snapshot()->config->console;
    if (!c.admins.empty() || !c.stats.empty())
        all_.look({}, [this](overview all) {
            if (!all.workers.silent.empty()) return;
            samples_.push_back({std::chrono::steady_clock::now(), all.workers.databases()});
            if (samples_.size() > most_samples) samples_.pop_front();
        });
    sampling_.expires_after(sample_interval);
    sampling_.async_wait([this](boost::system::error_code const& error) {
        if (!error) take_sample();
    });
}

}  // namespace lull
