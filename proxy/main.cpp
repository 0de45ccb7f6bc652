// The one binary: `lull serve` is the proxy, every other verb a client of its admin socket.
#include "proxy/cli.hpp"
#include "proxy/cli_output.hpp"
#include "proxy/serve.hpp"
#include "proxy/version.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdlib>

namespace {

std::string from_environment(char const* name, char const* otherwise) {
    char const* const value = std::getenv(name);
    return value && *value ? value : otherwise;
}

void add_window_options(CLI::App& verb, lull::cli::window_options& options) {
    verb.add_option("--reason", options.reason,
                    "Why; shown to clients whose writes are refused, and on pages");
    verb.add_option("--eta", options.eta, "How long it will take (20min): clients are told until when");
    verb.add_option("--drain-timeout", options.drain_timeout,
                    "How long writes in flight may take to end (30s)");
    verb.add_option("--on-deadline", options.on_deadline,
                    "What then: wait for them, cancel their statements, terminate their sessions, or abort "
                    "and reopen")
        ->check(CLI::IsMember({"wait", "cancel", "terminate", "abort"}));
    verb.add_option("--as", options.as,
                    "The name of this reason to be closed; each is set and cleared alone, and the site opens "
                    "when none is left");
    verb.add_option("--lease", options.lease,
                    "Say again within this (60s) that the work goes on (lull maintenance renew), or "
                    "--on-lease-end happens");
    verb.add_option("--on-lease-end", options.on_lease_end,
                    "What happens when nobody did: stay closed and shout (the default), or reopen")
        ->check(CLI::IsMember({"stay", "reopen"}));
    verb.add_flag("--no-freeze", options.no_freeze,
                  "Do not pause replicas: readers follow the migration as it goes");
}

}  // namespace

int main(int argc, char** argv) {
    using namespace lull;
    CLI::App app{
        "Lull keeps a database-backed site readable, and its data unchanged, while it is being upgraded.\n\n"
        "  lull serve --config lull.yaml                 run the proxy\n"
        "  lull upgrade shop -- psql -v ON_ERROR_STOP=1 -f migration.sql    seal, migrate, reopen\n"
        "  lull maintenance on shop --reason 'new disks' seal by hand; `off` reopens\n"
        "  lull status                                   where things stand\n"};
    app.require_subcommand(1);
    app.set_version_flag("--version", "lull " + std::string(lull::version));
    app.footer(
        "Exit status: 0 done, 1 refused or failed, 2 bad usage, 3 no lull answers, 4 not proved,\n"
        "5 verify has no verdict, 6 open, but journaled writes were not done, 130 interrupted.");

    // Not CLI11's envname(): it would be applied for the verbs that were not given, too, and win.
    std::string socket = from_environment("LULL_SOCKET", "/run/lull/admin.sock");
    std::string config = from_environment("LULL_CONFIG", "/etc/lull/lull.yaml");
    auto add_socket = [&](CLI::App* verb) {
        verb->add_option("--socket", socket, "Admin socket of the running lull; else $LULL_SOCKET")
            ->capture_default_str();
    };
    auto add_config = [&](CLI::App* verb) {
        verb->add_option("--config", config, "Configuration file; else $LULL_CONFIG")->capture_default_str();
    };

    auto* serve =
        app.add_subcommand("serve", "Run the proxy in the foreground; logs go to stderr, SIGHUP reloads");
    add_config(serve);

    bool explain = false;
    auto* check =
        app.add_subcommand("check", "Check a configuration and print what it amounts to, without secrets");
    add_config(check);
    check->add_flag("--explain", explain, "Describe every key instead");

    std::string site;
    bool json = false;
    bool run = false;
    auto* status = app.add_subcommand("status", "Show the state of all sites, or of one");
    status->add_option("SITE", site);
    status->add_flag("--json", json, "As the admin socket gives it");
    add_socket(status);

    auto* journal = app.add_subcommand(
        "journal", "Show what is in a site's journal of writes, how its replay goes, and which were not done");
    journal->add_option("SITE", site)->required();
    journal->add_flag("--json", json, "All of it, as the admin socket gives it");
    journal->add_flag("--run", run, "Run what failed or was not run, of the oldest file that is kept");
    add_socket(journal);

    cli::window_options window;
    auto* maintenance = app.add_subcommand("maintenance", "Take a site into maintenance, or out of it");
    maintenance->require_subcommand(1);
    auto* on = maintenance->add_subcommand(
        "on",
        "Let writes in flight end, then seal. Returns when the site is sealed; Ctrl-C before that cancels.\n"
        "Asked again, it does nothing new.");
    on->add_option("SITE", window.site)->required();
    add_window_options(*on, window);
    on->add_flag("--no-wait,!--wait", window.no_wait,
                 "Return at once; --wait, the default, returns when it is sealed");
    add_socket(on);
    auto* off = maintenance->add_subcommand("off",
                                            "Reopen: replicas go on and catch up, then writes open.\n"
                                            "Exit status: 0 open, 6 open, but journaled writes that clients "
                                            "were told had run were not done: lull journal SITE");
    cli::end_options ending;
    off->add_option("SITE", ending.site)->required();
    off->add_option("--as", ending.as, "Which reason to clear; else the only one, or the operator's");
    off->add_flag("--all", ending.all, "Whatever the reasons are");
    off->add_flag("--no-wait,!--wait", ending.no_wait,
                  "Return at once; --wait, the default, returns when writes are open");
    add_socket(off);
    auto* renew = maintenance->add_subcommand("renew", "Say that the work goes on: the lease begins anew");
    renew->add_option("SITE", window.site)->required();
    renew->add_option("--as", window.as, "Whose lease; else the operator's");
    add_socket(renew);

    // The command is not for the parser, which would take its brackets and options for its own.
    auto const dashes =
        std::find_if(argv, argv + argc, [](char const* a) { return std::string_view(a) == "--"; });
    bool const has_command = dashes != argv + argc;
    std::vector<std::string> const command(has_command ? dashes + 1 : dashes, argv + argc);
    argc = static_cast<int>(dashes - argv);
    auto* upgrade = app.add_subcommand(
        "upgrade",
        "Seal, run a command against the migration port, reopen if it succeeds.\n"
        "The command finds PGHOST, PGPORT, PGDATABASE, PGUSER and DATABASE_URL set; on "
        "failure the site stays sealed,\n"
        "and the exit status is the command's.\n"
        "  lull upgrade shop --reason 'v2' --eta 10min -- psql -v ON_ERROR_STOP=1 -f migration.sql");
    cli::window_options work;
    work.as = "upgrade";
    work.lease = "60s";
    upgrade->add_option("SITE", work.site)->required();
    add_window_options(*upgrade, work);
    add_socket(upgrade);
    upgrade->footer("Behind -- stands the command, with its arguments.");

    auto* verify = app.add_subcommand(
        "verify",
        "Hold the window that is open, or the last one, against the server's transactions: what committed in "
        "it?\n"
        "Exit status: 0 nobody but the migration, 1 somebody else, 4 the server cannot tell,\n"
        "5 no verdict: no such site, no window yet");
    verify->add_option("SITE", site)->required();
    verify->add_flag("--json", json, "As the admin socket gives it");
    add_socket(verify);

    auto* reload = app.add_subcommand("reload", "Read the configuration again; no connection is dropped");
    add_socket(reload);

    try {
        app.parse(argc, argv);
        if (upgrade->parsed() == command.empty())
            throw CLI::ValidationError("--", upgrade->parsed() ? "upgrade needs a command behind --"
                                                               : "only upgrade takes a command behind --");
    } catch (CLI::ParseError const& error) {
        // The parser only says that a command is missing where it does not know the one that was given.
        bool const none = app.get_subcommands().empty() ||
                          (maintenance->parsed() && maintenance->get_subcommands().empty());
        if (error.get_name() == "RequiredError" && none && !app.remaining(true).empty()) {
            cli::complain(
                "lull: there is no command or option \"{}\" here; `{} --help` says which there are\n",
                app.remaining(true).front(), maintenance->parsed() ? "lull maintenance" : "lull");
            return 2;
        }
        int const code = app.exit(error);
        return cli::ended(code == 0 ? 0 : 2, cli::failed);
    }

    admin_client const admin(socket);
    auto const perform = [&]() -> int {
        if (serve->parsed()) return lull::serve(config);
        if (check->parsed()) return cli::check(config, explain);
        if (status->parsed()) return cli::status(admin, site, json);
        if (journal->parsed()) return run ? cli::run_journal(admin, site) : cli::journal(admin, site, json);
        if (on->parsed()) return cli::maintenance_on(admin, window);
        if (off->parsed()) return cli::maintenance_off(admin, ending);
        if (renew->parsed()) return cli::maintenance_renew(admin, window.site, window.as);
        if (upgrade->parsed()) return cli::upgrade(admin, work, command);
        if (verify->parsed()) return cli::verify(admin, site, json);
        if (reload->parsed()) return cli::reload(admin);
        return 2;
    };
    int const unwritten = verify->parsed() ? cli::no_verdict : cli::failed;
    try {
        return cli::ended(perform(), unwritten);
    } catch (admin_unreachable const& error) {
        cli::complain("lull: {}\n  to do: {}\n", error.what(), error.fix);
        return cli::ended(cli::unreachable, unwritten);
    }
}
