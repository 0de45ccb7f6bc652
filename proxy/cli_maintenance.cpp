// `lull maintenance on|off` and the waiting of `lull upgrade`: ask, then watch the status and show it.
#include "config/duration.hpp"
#include "protocol/http/percent.hpp"
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"
#include "proxy/cli_progress.hpp"

#include <fmt/format.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <pwd.h>
#include <thread>
#include <unistd.h>

namespace lull::cli {

namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds poll_interval{150};

volatile std::sig_atomic_t interrupt_seen = 0;
int guards = 0;

std::string owner() {
    passwd const* who = ::getpwuid(::getuid());
    char host[256] = "";
    ::gethostname(host, sizeof host - 1);
    return fmt::format("{}@{} (pid {})", who ? who->pw_name : std::to_string(::getuid()), host, ::getpid());
}

/// That reason's holder, or nothing.
std::string holder_of(json const& site, std::string const& as) {
    auto const reasons = site.find("reasons");
    if (reasons == site.end() || !reasons->is_array()) return {};
    for (json const& r : *reasons)
        if (r.value("as", "") == as) return r.value("owner", "");
    return {};
}

int not_known(std::string const& site) {
    complain("lull: interrupted before the server has answered: what it has begun it goes on with, what it has not it does not begin; "
             "see `lull status {}`.\n",
             site);
    return interrupted;
}

int cancel_entering(admin_client const& admin, std::string const& site, std::string const& as) {
    auto const not_cancelled = [&] {
        complain(
            "lull: interrupted, but entering maintenance of {} was NOT cancelled; to do that: lull "
            "maintenance off "
            "{} --as {}\n",
            site, site, as);
    };
    try {
        admin_reply const left = admin.call("DELETE", site_path(site) + "/maintenance?as=" + http::percent_encode(as));
        if (left.ok()) {
            bool const others = !left.body.value("reasons", json::array()).empty();
            complain("lull: interrupted; entering maintenance of {} was cancelled, {}.\n", site,
                     others ? "it stays closed for other reasons" : "writes go on");
            return interrupted;
        }
        not_cancelled();
        print_problem(left);
    } catch (admin_unreachable const& error) {
        not_cancelled();
        complain("lull: {}\n  to do: {}\n", error.what(), error.fix);
    }
    return interrupted;
}

json last_replay(json const& site) {
    return site.value("journal", json::object()).value("last", json());
}

/// Clients were told that these writes had run. Returns the exit status: only what this window has left
/// counts.
int complain_of_not_done(std::string const& site, json const& status, json const& replayed_before) {
    json const last = last_replay(status);
    int result = 0;
    if (last.is_object() && last != replayed_before) {
        auto const n = [&](char const* key) { return last.value(key, 0LL); };
        if (long long const not_done = n("failed") + n("unknown") + n("left"); not_done > 0) {
            complain(
                "lull: {} that clients were told had run {} NOT DONE: {} failed, {} unknown, {} not run.\n",
                counted(not_done, "journaled write"), not_done == 1 ? "was" : "were", n("failed"),
                n("unknown"), n("left"));
            result = writes_not_done;
        }
        if (n("differs") > 0)
            complain("lull: {} ran with another number of rows than clients were told.\n",
                     counted(n("differs"), "journaled write"));
    }
    auto const kept = status.value("journal", json::object()).value("kept", 0LL);
    if (kept > 0)
        complain(
            "  look:       lull journal {}   ({} with writes that were not done)\n"
            "  run again:  lull journal {} --run\n",
            site, counted(kept, "file"), site);
    return result;
}

void print_last_error(json const& site) {
    auto const error = site.find("error");
    if (error == site.end() || error->is_null()) return;
    if (error->is_string()) {
        complain("  {}\n", error->get<std::string>());
        return;
    }
    complain("  {}\n", error->value("text", ""));
    if (auto const fix = error->value("fix", ""); !fix.empty()) complain("  to do: {}\n", fix);
}

}  // namespace

bool request_body(window_options const& options, json& body) {
    body = {{"owner", owner()}};
    if (!options.reason.empty()) body["reason"] = options.reason;
    if (!options.eta.empty()) {
        auto const eta = milliseconds_of("--eta", options.eta);
        if (!eta) return false;
        body["eta_seconds"] = (*eta + 999) / 1000;
    }
    if (!options.drain_timeout.empty()) {
        auto const drain = milliseconds_of("--drain-timeout", options.drain_timeout);
        if (!drain) return false;
        body["drain_timeout_ms"] = *drain;
    }
    if (!options.on_deadline.empty()) body["on_deadline"] = options.on_deadline;
    if (options.no_freeze) body["freeze"] = false;
    if (!options.as.empty()) body["as"] = options.as;
    if (!options.on_lease_end.empty()) body["on_lease_end"] = options.on_lease_end;
    if (!options.lease.empty()) {
        auto const lease = milliseconds_of("--lease", options.lease);
        if (!lease) return false;
        body["lease_ms"] = *lease;
    }
    return true;
}

interrupt_guard::interrupt_guard() {
    if (guards++ == 0) interrupt_seen = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupt_seen = 1; };
    // A call of the admin socket that is under way is to end by itself, and be followed by the cancel.
    action.sa_flags = SA_RESTART;
    for (std::size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &action, &before_[i]);
}

interrupt_guard::~interrupt_guard() {
    for (std::size_t i = 0; i < signals.size(); ++i) ::sigaction(signals[i], &before_[i], nullptr);
    --guards;
}

void interrupt_guard::forget() {
    interrupt_seen = 0;
}

bool interrupt_guard::interrupted() {
    return interrupt_seen != 0;
}

std::optional<long long> milliseconds_of(std::string const& option, std::string const& duration) {
    auto const parsed = config::parse_duration(duration);
    if (auto const* value = std::get_if<config::milliseconds>(&parsed)) return value->count();
    complain("lull: {}: \"{}\" is not a duration; write 30s, 5min, 250ms or 2h\n", option, duration);
    return std::nullopt;
}

int maintenance_on(admin_client const& admin, window_options const& options) {
    json body;
    if (!request_body(options, body)) return 2;
    interrupt_guard const guard;
    std::string const target = site_path(options.site);
    progress shown;
    std::optional<admin_reply> const begun = shown.ask(admin, "PUT", target + "/maintenance", body);
    if (!begun) return not_known(options.site);
    admin_reply reply = *begun;
    if (!reply.ok()) return print_problem(reply);
    std::string const as = options.as.empty() ? "operator" : options.as;
    std::string const holder = holder_of(reply.body, as);
    bool const ours = holder == body["owner"].get<std::string>();
    if (options.no_wait) {
        say("{}: {}; watch it with `lull status {}`\n", options.site, reply.body.value("state", ""),
            options.site);
        return 0;
    }
    for (;;) {
        std::string const state = reply.body.value("state", "");
        if (interrupt_guard::interrupted()) {
            shown.end();
            if (ours) return cancel_entering(admin, options.site, as);
            complain("lull: no longer waiting; {} goes on entering maintenance for {}.\n", options.site,
                     holder);
            return interrupted;
        }
        if (state == "sealed" || state == "frozen") {
            shown.end();
            say("{} is sealed at {}{}: nobody but the migration can write. `lull maintenance off {}{}` ends "
                "it.\n",
                options.site, reply.body.contains("sealed_lsn") ? text_of(reply.body["sealed_lsn"]) : "?",
                state == "frozen" ? ", its replica is frozen there" : "", options.site,
                options.as.empty() ? "" : " --as " + options.as);
            return 0;
        }
        if (state == "read_write") {
            shown.end();
            complain("lull: {} was not sealed and is open again.\n", options.site);
            print_last_error(reply.body);
            return failed;
        }
        shown.show(options.site, reply.body);
        std::this_thread::sleep_for(poll_interval);
        std::optional<admin_reply> const next = shown.ask(admin, "GET", target);
        if (!next) continue;  // interrupted
        reply = *next;
        if (!reply.ok()) return print_problem(reply);
    }
}

int maintenance_off(admin_client const& admin, end_options const& options) {
    interrupt_guard const guard;
    std::string const& site = options.site;
    std::string const target = site_path(site);
    progress shown;
    std::optional<admin_reply> const begun = shown.ask(admin, "DELETE",
                                                       target + "/maintenance" +
                                                           (options.all          ? "?all=1"
                                                            : options.as.empty() ? ""
                                                                                 : "?as=" + http::percent_encode(options.as)));
    if (!begun) return not_known(site);
    admin_reply reply = *begun;
    if (!reply.ok()) return print_problem(reply);
    json const replayed_before = last_replay(reply.body);
    if (reply.status == 200 && reply.body.value("state", "") != "read_write") {
        say("{} stays closed, for other reasons:\n", site);
        for (json const& r : reply.body.value("reasons", json::array()))
            say("  {}  {} {}\n", text_of(r["as"]), text_of(r["owner"]), text_of(r["reason"]));
        return 0;
    }
    while (!options.no_wait && reply.body.value("state", "") != "read_write") {
        if (interrupt_guard::interrupted()) {
            shown.end();
            complain("lull: no longer waiting; {} goes on reopening, see `lull status {}`.\n", site, site);
            return interrupted;
        }
        shown.show(site, reply.body);
        std::this_thread::sleep_for(poll_interval);
        std::optional<admin_reply> const next = shown.ask(admin, "GET", target);
        if (!next) continue;  // interrupted
        reply = *next;
        if (!reply.ok()) return print_problem(reply);
        std::string const state = reply.body.value("state", "");
        if (state == "sealed" || state == "frozen") {
            shown.end();
            complain("lull: {} could not be reopened and stays sealed.\n", site);
            print_last_error(reply.body);
            return failed;
        }
    }
    shown.end();
    if (options.no_wait) {
        say("{}: {}\n", site, reply.body.value("state", ""));
        return 0;
    }
    say("{}: open, writes go on\n", site);
    return complain_of_not_done(site, reply.body, replayed_before);
}

int maintenance_renew(admin_client const& admin, std::string const& site, std::string const& as) {
    json body = json::object();
    if (!as.empty()) body["as"] = as;
    admin_reply const reply = admin.call("PUT", site_path(site) + "/lease", body);
    if (!reply.ok()) return print_problem(reply);
    for (json const& r : reply.body.value("reasons", json::array()))
        if (r.value("as", "") == (as.empty() ? "operator" : as))
            say("{}: {} ms more for {}\n", site, text_of(r["lease_left_ms"]), text_of(r["as"]));
    return 0;
}

}  // namespace lull::cli
