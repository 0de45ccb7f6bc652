// When journals take entries, and what happens to these when a window is over: the site stays closed to
// clients until they have run, so that no later write is overtaken by an earlier one; then held writes go on.
#include "protocol/pg/md5.hpp"
#include "protocol/pg/scram.hpp"
#include "proxy/control.hpp"
#include "proxy/journal_show.hpp"
#include "proxy/log.hpp"
#include "proxy/pg_settings_core.hpp"
#include "routing/write_rules.hpp"

#include <boost/asio/post.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <stdexcept>

namespace lull {

namespace {

/// Of what its session has made, all that might make it another role.
std::vector<std::string> made_roles(journal_entry const& entry) {
    std::vector<std::string> out;
    for (std::string const& sql : entry.settings)
        if (std::ranges::any_of(identity_settings, [&](std::string_view name) { return sql.find(name) != std::string::npos; }))
            out.push_back(sql);
    return out;
}

}  // namespace

/// Before anything is decided about it: what a process before us left.
/// A closed site that is called otherwise now would open past the writes that wait under its old name.
void control::refuse_to_leave_journals(std::map<std::string, std::string> const& adopted) {
    for (auto const& [site, before] : adopted) {
        journals_.load(before);
        if (std::size_t const pending = journals_.count(before).pending)
            throw std::runtime_error(fmt::format(
                "site {} was closed as site {}, and {} journaled writes wait under that name; call it {} again, open it "
                "(`lull maintenance off {}`) and rename it then",
                site, before, pending, before, before));
    }
}

void control::load_journal(managed_site& s) {
    {
        std::lock_guard const lock(shared_);
        site_names_.push_back(s.name);
        site_settings_.push_back(s.settings);
    }
    journals::loaded const found = journals_.load(s.name);
    s.journal.problem = found.problem;
    if (!found.problem.empty()) log::error("site {}: {}", s.name, found.problem);
    if (!found.notice.empty()) log::notice("site {}: {}", s.name, found.notice);
}

/// What workers and replays may know of a configuration that is new.
void control::share_settings() {
    std::lock_guard const lock(shared_);
    primaries_.clear();
    for (auto const& s : sites_) {
        site_settings_[static_cast<std::size_t>(s->id)] = s->settings;
        primaries_.push_back(replays_to(*s));
    }
    configured_.clear();
    for (auto const& [name, user] : config_->users) {
        server_credentials c;
        if (!user.server_password.empty())
            c.password = user.server_password;
        else if (pg::is_md5_hash(user.password))
            c.md5_hash = user.password;
        else if (!pg::is_scram_verifier(user.password))
            c.password = user.password;
        bool const enough =
            !c.password.empty() || !c.md5_hash.empty() || config_->auth == config::auth_method::trust;
        if (enough) configured_[name] = c;
    }
}

void control::keep(routing::site_id site, journal_entry entry, server_credentials const& credentials,
                   std::function<void(journal_outcome)> then) {
    config::journal_limits limits;
    journal_rights::question question{
        .site = site,
        .site_name = {},
        .primary = {},
        .database = entry.database,
        .user = entry.user,
        .credentials = credentials,
        .roles = made_roles(entry)};
    bool can_be_run = false;
    {
        std::lock_guard const lock(shared_);
        auto const index = static_cast<std::size_t>(site);
        question.site_name = site_names_[index];
        question.primary = primaries_[index];
        limits = site_settings_[index]->journal;
        can_be_run = logins_.keep(site, entry.user, credentials, true) || configured_.contains(entry.user);
    }
    std::string name = question.site_name;
    if (!can_be_run) {
        if (!said_no_more_logins_.exchange(true))
            log::warning("site {}: writes of {} are refused, not journaled: Lull remembers of {} users how they log in, and has that many; "
                         "who has a password under users needs no such place",
                         name, entry.user, logins_.most());
        return then(journal_outcome::full);
    }
    rights_.ask(std::move(question), [this, name = std::move(name), limits, entry = std::move(entry),
                                      then = std::move(then)](std::string const& why_not) {
        if (!why_not.empty()) return then(journal_outcome::failed);
        journals_.append(name, limits, entry, then);
    });
}

/// Of those who have been seen on the site, and whose writes may come to be journaled.
void control::ask_for_rights(managed_site& s) {
    rights_.forget(s.id);
    config::site const& settings = *s.settings;
    auto const may_journal = [&](std::string const& user) {
        if (settings.writes == config::write_policy::journal) return true;
        return std::ranges::any_of(settings.write_rules, [&](config::write_rule const& rule) {
            return rule.action == config::write_policy::journal &&
                   (rule.users.empty() || std::ranges::any_of(rule.users, [&](std::string const& pattern) {
                        return routing::wildcard_matches(pattern, user);
                    }));
        });
    };
    std::lock_guard const lock(shared_);
    logins_.each([&](routing::site_id site, std::string const& user, server_credentials const& credentials) {
        if (site == s.id && may_journal(user))
            for (std::string const& database : settings.databases)
                rights_.expect({s.id, s.name, primaries_[static_cast<std::size_t>(s.id)], database, user, credentials, {}});
    });
}

void control::logged_in(routing::site_id site, std::string const& user,
                        server_credentials const& credentials) {
    std::lock_guard const lock(shared_);
    logins_.keep(site, user, credentials);
}

/// Nothing: neither the configuration nor a login has told.
std::optional<server_credentials> control::credentials_of(routing::site_id site, std::string const& user) {
    std::lock_guard const lock(shared_);
    if (auto const at = configured_.find(user); at != configured_.end()) return at->second;
    if (server_credentials const* const seen = logins_.find(site, user)) return *seen;
    return std::nullopt;
}

/// Before each snapshot: entries are taken from before the first worker hears that the site is closed, and no
/// more from before the first hears that it is open.
void control::settle_journals() {
    for (auto const& s : sites_) {
        bool const open = s->machine->view().mode == routing::mode::read_write;
        if (!open && s->journal.replay) {
            // Nobody writes in a window, our own replay included; what is not done stays where it is.
            end_replay(*s);
            s->journal.beside = false;
            s->journal.problem = journals_.load(s->name).problem;
        }
        if (!open && s->journal.what != journal_state::open) {
            reload_broken_journal(*s);
            journals_.open(s->name);
            s->journal.what = journal_state::open;
            ask_for_rights(*s);
        } else if (open && s->journal.what != journal_state::closed && !s->journal.replay) {
            s->journal.what = journal_state::closed;
            journal_contents contents = journals_.close(s->name);
            if (!contents.entries.empty()) start_replay(*s, std::move(contents));
        }
        watch_window(*s);
    }
}

/// What it has left running on the server is waited for, like the sessions of clients whose connections broke.
void control::end_replay(managed_site& s) {
    std::vector<routing::broken_session> left = s.journal.replay->stop();
    s.journal.replay.reset();
    if (!left.empty()) feed(s, routing::event::worker_said{0, 0, 0, {}, std::move(left)});
}

/// Somebody may have mended what was wrong with it.
void control::reload_broken_journal(managed_site& s) {
    if (s.journal.replay || !journals_.broken(s.name)) return;
    s.journal.problem = journals_.load(s.name).problem;
}

replay_server control::replays_to(managed_site const& s) {
    replay_server to;
    auto const cluster = config_->clusters.find(s.settings->cluster);
    auto const keyring = tls_.get();
    auto const tls = keyring->servers.find(s.settings->cluster);
    to.where = primary_of(s).value.address;
    if (cluster != config_->clusters.end()) to.tls_settings = cluster->second.tls;
    if (tls != keyring->servers.end()) to.tls = tls->second;
    return to;
}

void control::start_replay(managed_site& s, journal_contents contents) {
    journal_replay::job job;
    job.site = s.name;
    job.primary = replays_to(s);
    job.timeout = s.settings->journal.replay_timeout;
    job.credentials = [this, id = s.id](std::string const& user) { return credentials_of(id, user); };
    log::notice("site {}: {} journaled writes are run{}", s.name, contents.pending(),
                s.journal.beside ? "" : " before writes open");
    audit({{"time", rfc3339(now().wall)},
           {"site", s.name},
           {"event", "replay_begins"},
           {"entries", contents.pending()}});
    job.contents = std::move(contents);
    std::uint64_t const number = ++s.journal.replays;
    s.journal.replay = std::make_unique<journal_replay>(
        journals_, std::move(job), [this, &s, number](replay_report const& report) {
            boost::asio::post(io_, [this, &s, number, report] {
                // Of one that was stopped meanwhile the journal goes on.
                if (!stopping_ && s.journal.replay && s.journal.replays == number) replayed(s, report);
            });
        });
}

void control::replayed(managed_site& s, replay_report const& report) {
    end_replay(s);
    s.journal.beside = false;
    s.journal.ended = now().now;
    bool const clean = report.differs + report.failed + report.unknown + report.left == 0;
    s.journal.last = report;
    s.journal.last_ended = now().wall;
    s.journal.last_file = journals_.retire(s.name, !clean);
    std::string const text =
        std::to_string(report.done) + " journaled writes were run (" + std::to_string(report.differs) +
        " with another number of rows than was answered), " + std::to_string(report.failed) + " failed, " +
        std::to_string(report.unknown) + " may or may not have been committed, " +
        std::to_string(report.left) + " were not run";
    if (clean)
        log::notice("site {}: {}", s.name, text);
    else
        log::error("site {}: {}{}. They are kept in {}; `lull journal {}` shows them", s.name, text,
                   report.problem.empty() ? "" : " (" + report.problem + ")", s.journal.last_file, s.name);
    audit({{"time", rfc3339(now().wall)},
           {"site", s.name},
           {"event", "journal_replayed"},
           {"text", text},
           {"done", report.done},
           {"differs", report.differs},
           {"failed", report.failed},
           {"unknown", report.unknown},
           {"left", report.left},
           {"problem", report.problem},
           {"file", s.journal.last_file}});
    publish();
}

write_fates control::fates_of(managed_site const& s) const {
    write_fates sum;
    for (site_load const& load : s.loads) sum += load.fates;
    return sum;
}

/// Before each snapshot: what was counted before a window and after it.
void control::watch_window(managed_site& s) {
    bool const open = s.machine->view().mode == routing::mode::read_write && !closed_by_replay(s);
    if (open != s.closed) return;
    s.closed = !open;
    if (open)
        s.opened_by = snapshot_number_ + 1;
    else
        s.before = fates_of(s);
}

/// Once every worker has counted all of a window: refused and so on in it, by this process.
void control::tell_fates(managed_site& s) {
    if (!s.opened_by) return;
    for (std::uint64_t const number : s.reported)
        if (number < *s.opened_by) return;
    s.opened_by.reset();
    write_fates const in_it = fates_of(s) - s.before;
    audit({{"time", rfc3339(now().wall)},
           {"site", s.name},
           {"event", "writes"},
           {"text", "what became of the writes that the window kept from running"},
           {"refused", in_it.refused},
           {"held", in_it.held},
           {"discarded", in_it.discarded},
           {"journaled", in_it.journaled},
           {"passed", in_it.passed},
           {"over_limit", in_it.over_limit},
           {"unknown", in_it.unknown}});
}

/// What a site that is no longer configured has left: answered writes that nobody will run.
std::vector<journals::stray> control::stray_journals() const {
    std::set<std::string> names;
    for (auto const& s : sites_) names.insert(s->name);
    return journals_.strays(names);
}

void control::shout_about_strays() const {
    for (journals::stray const& one : stray_journals())
        log::error(
            "{} has {} journaled writes of site \"{}\", which is not configured: nobody runs them. Configure the site "
            "again, then `lull journal {} --run`; or put them right by hand (`lull journal {}`) and delete the file",
            one.file, one.writes, one.site, one.site, one.site);
}

/// The short form, for the status.
nlohmann::json control::describe_journal(managed_site& s) {
    journals::counts const c = journals_.count(s.name);
    std::size_t pending = c.pending;
    std::string problem = !c.problem.empty() ? c.problem : s.journal.problem;
    if (s.journal.replay) {
        replay_report const r = s.journal.replay->progress();
        pending = r.left;
        problem = r.problem;
    }
    nlohmann::json out{{"pending", pending},
                       {"bytes", c.bytes},
                       {"max_count", s.settings->journal.max_count},
                       {"max_bytes", s.settings->journal.max_bytes},
                       {"replaying", s.journal.replay != nullptr},
                       {"problem", problem},
                       {"refused", rights_.problems(s.id)},
                       {"kept", journals_.kept_files(s.name).size()},
                       {"cut", journals_.cut_files(s.name)},
                       {"last", nullptr}};
    if (auto const& r = s.journal.last)
        out["last"] = {{"done", r->done},
                       {"differs", r->differs},
                       {"failed", r->failed},
                       {"unknown", r->unknown},
                       {"left", r->left},
                       {"problem", r->problem},
                       {"file", s.journal.last_file},
                       {"ended", rfc3339(s.journal.last_ended)}};
    return out;
}

admin_answer control::stray_journal(std::string const& name, shown_most most) {
    nlohmann::json out{{"site", name}, {"problem", "this site is not configured: nobody runs its writes"},
                       {"entries", nlohmann::json::array()}, {"not_done", nlohmann::json::array()},
                       {"cut", nlohmann::json::array()}, {"last", nullptr}};
    std::size_t writes = 0;
    for (journals::stray const& one : stray_journals()) {
        if (one.site != name) continue;
        writes += one.writes;
        nlohmann::json& kept = out["not_done"].emplace_back(nlohmann::json{{"file", one.file}});
        show_journal(kept, one.file, shown_entries::not_done, most);
    }
    if (out["not_done"].empty()) return unknown_site(name);
    out["pending"] = writes;
    return {200, std::move(out)};
}

admin_answer control::journal(std::string const& name, bool all) {
    shown_most const most = all ? shown_most::all : shown_most::some;
    managed_site* const s = find_site(name);
    if (!s) return stray_journal(name, most);
    nlohmann::json out = describe_journal(*s);
    out["site"] = name;
    out["file"] = journals_.path_of(name);
    show_journal(out, journals_.path_of(name), shown_entries::all, most);
    out["not_done"] = nlohmann::json::array();
    for (std::string const& file : journals_.kept_files(name)) {
        nlohmann::json& kept = out["not_done"].emplace_back(nlohmann::json{{"file", file}});
        show_journal(kept, file, shown_entries::not_done, most);
    }
    return {200, std::move(out)};
}

admin_answer control::run_journal(std::string const& name) {
    managed_site* const s = find_site(name);
    if (!s) return unknown_site(name);
    std::string const what = "Nothing was run";
    if (s->journal.replay)
        return problem(409, what, "journaled writes are being run already",
                       "`lull journal " + name + "` shows how far it is");
    if (s->machine->view().mode != routing::mode::read_write)
        return problem(409, what, name + " is in maintenance", "end that first: lull maintenance off " + name);
    reload_broken_journal(*s);
    if (journals_.broken(name))
        return problem(409, what, journals_.count(name).problem, "see `lull journal " + name + "`");
    journal_contents contents = journals_.close(name);
    std::string file = journals_.path_of(name);  // of a window whose file could not be put aside
    if (contents.pending() == 0) {
        std::string trouble;
        file = journals_.take_back(name, trouble);
        if (file.empty())
            return problem(trouble.empty() ? 404 : 409, what,
                           trouble.empty() ? "no file has writes that failed or were not run" : trouble,
                           "see `lull journal " + name + "`");
        journals::loaded found = journals_.load(name);
        s->journal.problem = found.problem;
        if (!found.problem.empty())
            return problem(503, what, found.problem, "see `lull journal " + name + "`");
        contents = std::move(found.contents);
    }
    std::size_t const pending = contents.pending();
    s->journal.beside = true;
    start_replay(*s, std::move(contents));
    return {202, {{"site", name}, {"file", file}, {"pending", pending}}};
}

}  // namespace lull
