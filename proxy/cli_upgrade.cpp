// `lull upgrade SITE -- COMMAND`: enter, run the migration against the migration port, leave if it succeeded.
#include "proxy/cli.hpp"
#include "proxy/cli_progress.hpp"

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

std::string percent_encode(std::string const& text) {
    std::string out;
    for (unsigned char c : text) {
        if (std::isalnum(c) || std::strchr("-._~", c))
            out += static_cast<char>(c);
        else
            out += fmt::format("%{:02X}", c);
    }
    return out;
}

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
        url += percent_encode(user);
        if (char const* secret = std::getenv("PGPASSWORD")) url += ":" + percent_encode(secret);
        url += "@";
    }
    bool const v6 = host.find(':') != std::string::npos;
    url += (v6 ? "[" + host + "]" : host) + ":" + port + "/" + percent_encode(database);
    ::setenv("DATABASE_URL", url.c_str(), 1);
}

/// Says again and again that the command still runs, until it has ended. A lull that is away, as in a
/// restart, is asked again: the window that it comes back with is this one.
int wait_and_renew(admin_client const& admin, window_options const& options,
                   std::chrono::milliseconds lease) {
    constexpr std::chrono::milliseconds look_again{50};
    auto renew_at = std::chrono::steady_clock::now() + lease / 3;
    int status = 0;
    for (;;) {
        pid_t const gone = ::waitpid(child, &status, WNOHANG);
        if (gone == child || (gone < 0 && errno != EINTR)) return status;
        if (lease.count() > 0 && std::chrono::steady_clock::now() >= renew_at) {
            renew_at = std::chrono::steady_clock::now() + lease / 3;
            try {
                admin.call("PUT", "/sites/" + options.site + "/lease", {{"as", options.as}});
            } catch (admin_unreachable const&) {
            }
        }
        std::this_thread::sleep_for(look_again);
    }
}

/// The command's exit status, 128 + N where signal N ended it, 127 where it could not be started.
int run(admin_client const& admin, window_options const& options, std::vector<std::string> const& command,
        nlohmann::json const& target) {
    std::vector<char*> arguments;
    for (std::string const& a : command) arguments.push_back(const_cast<char*>(a.c_str()));
    arguments.push_back(nullptr);
    child = ::fork();
    if (child < 0) {
        fmt::print(stderr, "lull: cannot fork: {}\n", std::strerror(errno));
        return 127;
    }
    if (child == 0) {
        set_environment(target);
        ::execvp(arguments[0], arguments.data());
        fmt::print(stderr, "lull: cannot run {}: {}\n", command[0], std::strerror(errno));
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
    int const status = wait_and_renew(
        admin, options, std::chrono::milliseconds(milliseconds_of("--lease", options.lease).value_or(0)));
    ::sigaction(SIGINT, &old_int, nullptr);
    ::sigaction(SIGTERM, &old_term, nullptr);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int upgrade(admin_client const& admin, window_options const& options,
            std::vector<std::string> const& command) {
    admin_reply const target = admin.call("GET", "/sites/" + options.site + "/migration");
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
    fmt::print(stderr, "running: {}\n", shown);
    int const status = run(admin, options, command, target.body);
    if (status == 0) return maintenance_off(admin, {.site = options.site, .as = options.as});
    // Whoever repairs it holds no lease: from now on it is closed until somebody opens it.
    window_options kept = options;
    kept.lease = "0ms";
    try {
        if (nlohmann::json body; request_body(kept, body))
            admin.call("PUT", "/sites/" + options.site + "/maintenance", body);
    } catch (admin_unreachable const&) {  // the lease ends, and what happened is said below all the same
    }
    fmt::print(
        stderr,
        "lull: the command failed with status {}; {} STAYS SEALED: reads go on, writes do not.\n"
        "  look:       lull status {}\n"
        "  try again:  lull upgrade {} -- {}\n"
        "  give up:    lull maintenance off {}   (only when the database is as the site's code expects it)\n",
        status, options.site, options.site, options.site, shown, options.site);
    return status;
}

}  // namespace lull::cli
