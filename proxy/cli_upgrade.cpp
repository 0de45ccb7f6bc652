// `lull upgrade SITE -- COMMAND`: enter, run the migration against the migration port, leave if it succeeded.
#include "protocol/http/percent.hpp"
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace lull::cli {

namespace {

pid_t child = 0;

/// So that a shell reads it as it is.
std::string shell_quoted(std::string const& word) {
    static constexpr char const* plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%_+=:,./-";
    if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
    std::string out = "'";
    for (char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

/// What libpq and the frameworks read. Without a configured password the caller's own stays.
void set_environment(nlohmann::json const& target) {
    auto get = [&](char const* key) { return target.contains(key) ? text_of(target[key]) : std::string(); };
    std::string const host = get("host"), port = get("port"), database = get("database");
    std::string user = get("user"), password = get("password");
    // These would lead libpq past what is set here.
    for (char const* other : {"PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR"}) ::unsetenv(other);
    if (char const* set = std::getenv("PGUSER"); set && user.empty()) user = set;
    ::setenv("PGHOST", host.c_str(), 1);
    ::setenv("PGPORT", port.c_str(), 1);
    ::setenv("PGDATABASE", database.c_str(), 1);
    if (!user.empty()) ::setenv("PGUSER", user.c_str(), 1);
    if (!password.empty()) ::setenv("PGPASSWORD", password.c_str(), 1);  // of that user, so not the caller's
    std::string url = "postgresql://";
    if (!user.empty()) {
        url += http::percent_encode(user);
        if (char const* secret = std::getenv("PGPASSWORD")) url += ":" + http::percent_encode(secret);
        url += "@";
    }
    bool const v6 = host.find(':') != std::string::npos;
    url += (v6 ? "[" + host + "]" : host) + ":" + port + "/" + http::percent_encode(database);
    ::setenv("DATABASE_URL", url.c_str(), 1);
}

using clock = std::chrono::steady_clock;

/// What is known of the lease: until when it lasts at least, and that it is gone.
struct held_lease {
    std::chrono::milliseconds length{0};
    clock::time_point ends;
    bool lost = false;
};

std::string in_words(admin_reply const& reply) {
    std::string const title = reply.body.value("title", ""), detail = reply.body.value("detail", "");
    return title + (title.empty() || detail.empty() ? "" : ": ") + detail;
}

/// Says again and again that the command still runs, until it has ended. A lull that is away, as in a
/// restart, is asked again: the window that it comes back with is this one.
int wait_and_renew(admin_client const& admin, window_options const& options, held_lease& lease) {
    constexpr std::chrono::milliseconds look_again{50};
    auto renew_at = clock::now() + lease.length / 3;
    int status = 0;
    for (;;) {
        pid_t const gone = ::waitpid(child, &status, WNOHANG);
        if (gone == child || (gone < 0 && errno != EINTR)) return status;
        if (lease.length.count() > 0 && !lease.lost && clock::now() >= renew_at) {
            auto const asked = clock::now();
            renew_at = asked + lease.length / 3;
            try {
                admin_reply const reply =
                    admin.call("PUT", site_path(options.site) + "/lease", {{"as", options.as}});
                if (reply.ok()) {
                    lease.ends = asked + lease.length;
                } else if (reply.status == 404 || reply.status == 409) {
                    lease.lost = true;
                    complain(
                        "lull: {} is no longer closed on this command's lease ({}). The command still runs, "
                        "and writes may be open: lull status {}\n",
                        options.site, in_words(reply), options.site);
                }
            } catch (admin_unreachable const&) {
            }
        }
        std::this_thread::sleep_for(look_again);
    }
}

/// Empty once the window has no lease any more and stays until somebody opens it; else why not.
std::string give_up_lease(admin_client const& admin, window_options const& options, bool& gone) {
    window_options kept = options;
    kept.lease = "0ms";
    nlohmann::json body;
    if (!request_body(kept, body)) return "the request is not valid";
    try {
        // It would enter anew where it has been opened.
        admin_reply const site = admin.call("GET", site_path(options.site));
        if (!site.ok()) return in_words(site);
        gone = true;
        for (auto const& r : site.body.value("reasons", nlohmann::json::array()))
            if (r.value("as", "") == options.as && r.value("owner", "") == body["owner"]) gone = false;
        if (gone)
            return site.body.value("state", "") == "read_write" ? "it is OPEN" : "others keep it closed";
        admin_reply const reply = admin.call("PUT", site_path(options.site) + "/maintenance", body);
        return reply.ok() ? std::string() : in_words(reply);
    } catch (admin_unreachable const& e) {
        return e.what();
    }
}

std::string what_becomes_of_it(admin_client const& admin, window_options const& options,
                               held_lease const& lease) {
    constexpr std::chrono::milliseconds try_again{500};
    bool const may_open = options.on_lease_end == "reopen" && lease.length.count() > 0;
    bool said = false;
    for (;;) {
        bool gone = false;
        std::string const why = give_up_lease(admin, options, gone);
        if (why.empty()) return "STAYS SEALED: reads go on, writes do not";
        if (gone) return "is NOT HELD CLOSED by this upgrade any more: " + why;
        if (!may_open)
            return "STAYS SEALED: reads go on, writes do not (its lease will be missed: " + why + ")";
        auto const left = std::chrono::duration_cast<std::chrono::seconds>(lease.ends - clock::now());
        if (left.count() <= 0)
            return "MAY BE OPEN: its lease is over, as --on-lease-end reopen says, and it could not be given "
                   "up (" +
                   why + ")";
        if (!said)
            complain(
                "lull: the command failed; {} MAY REOPEN in {} s: its lease could not be given up ({}). "
                "Trying again.\n",
                options.site, left.count(), why);
        said = true;
        std::this_thread::sleep_for(try_again);
    }
}

/// The command's exit status, 128 + N where signal N ended it, 127 where it could not be started.
int run(admin_client const& admin, window_options const& options, std::vector<std::string> const& command,
        nlohmann::json const& target, held_lease& lease) {
    std::vector<char*> arguments;
    for (std::string const& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
    arguments.push_back(nullptr);
    std::fflush(stdout);  // before anything that the command says, and not twice
    child = ::fork();
    if (child < 0) {
        complain("lull: cannot fork: {}\n", std::strerror(errno));
        return 127;
    }
    if (child == 0) {
        set_environment(target);
        ::execvp(arguments[0], arguments.data());
        complain("lull: cannot run {}: {}\n", command[0], std::strerror(errno));
        std::_Exit(127);
    }
    // A Ctrl-C at the terminal reaches the command by itself; others' signals are handed on. We stay to the
    // end.
    struct sigaction ignore {
    }, hand_on{}, old_int, old_term;
    ignore.sa_handler = SIG_IGN;
    hand_on.sa_handler = [](int signal) { ::kill(child, signal); };
    ::sigaction(SIGINT, &ignore, &old_int);
    ::sigaction(SIGTERM, &hand_on, &old_term);
    int const status = wait_and_renew(admin, options, lease);
    ::sigaction(SIGINT, &old_int, nullptr);
    ::sigaction(SIGTERM, &old_term, nullptr);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int upgrade(admin_client const& admin, window_options const& options,
            std::vector<std::string> const& command) {
    admin_reply const target = admin.call("GET", site_path(options.site) + "/migration");
    if (!target.ok()) return print_problem(target);
    // A reason of its own: two at once would open the site under each other's migration, and are refused.
    interrupt_guard const guard;
    if (int const entered = maintenance_on(admin, options); entered != 0) return entered;
    if (interrupt_guard::interrupted()) {
        interrupt_guard::forget();
        maintenance_off(admin, {.site = options.site, .as = options.as});
        return interrupted;
    }
    // Not on stdout: that belongs to the command.
    std::string shown;
    for (std::string const& word : command) shown += (shown.empty() ? "" : " ") + shell_quoted(word);
    put(stderr, "running: " + shown + "\n");  // what the caller has written may have lines
    held_lease lease;
    lease.length = std::chrono::milliseconds(milliseconds_of("--lease", options.lease).value_or(0));
    lease.ends = clock::now() + lease.length;
    int const status = run(admin, options, command, target.body, lease);
    if (status == 0) return maintenance_off(admin, {.site = options.site, .as = options.as});
    // Whoever repairs it holds no lease: from now on it is closed until somebody opens it.
    std::string const becomes = what_becomes_of_it(admin, options, lease);
    complain(
        "lull: the command failed with status {}; {} {}.\n"
        "  look:       lull status {}\n",
        status, options.site, becomes, options.site);
    put(stderr, fmt::format("  try again:  lull upgrade {} -- {}\n", options.site, shown));
    complain(
        "  give up:    lull maintenance off {}   (only when the database is as the site's code expects it)\n",
        options.site);
    return status;
}

}  // namespace lull::cli
