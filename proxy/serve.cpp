#include "proxy/serve.hpp"

#include "config/endpoint.hpp"
#include "proxy/admin.hpp"
#include "proxy/configured.hpp"
#include "proxy/console_desk.hpp"
#include "proxy/control.hpp"
#include "proxy/descriptors.hpp"
#include "proxy/listener.hpp"
#include "proxy/log.hpp"
#include "proxy/metrics_server.hpp"
#include "proxy/overview.hpp"
#include "proxy/state_file.hpp"
#include "routing/sql_classifier.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <optional>
#include <thread>
#include <unistd.h>

namespace lull {

namespace {

/// Nothing: it has been said what is wrong.
std::optional<configured> load(std::string const& file) {
    std::vector<config::warning> warnings;
    auto loaded = load_configured(file, warnings);
    for (config::warning const& w : warnings) log::warning("{}", config::in_one_line(w));
    if (auto* found = std::get_if<configured>(&loaded)) return std::move(*found);
    for (config::issue const& i : std::get<std::vector<config::issue>>(loaded)) fmt::print(stderr, "{}\n", config::to_string(i));
    return std::nullopt;
}

std::size_t worker_count(config::config const& config) {
    constexpr std::size_t most = 255;  // a cancel key names its worker in 8 bits
    return std::clamp<std::size_t>(config.workers ? config.workers : std::thread::hardware_concurrency(), 1,
                                   most);
}

/// It is better read at the start than found out at night.
void compare_with_descriptors(config::config const& config) {
    std::size_t const room = descriptors_below(descriptor_use::client, descriptor_limit());
    std::size_t const web = config.listen.http ? config.limits.max_http_clients : 0;
    if (config.limits.max_clients + web <= room) return;
    log::warning("the limit of open files is {}: {} of them are for clients, fewer than limits.max_clients ({}){} let in; raise it "
                 "(LimitNOFILE= of the unit, ulimit -Hn)",
                 descriptor_limit(), room, config.limits.max_clients,
                 web ? fmt::format(" and limits.max_http_clients ({})", web) : std::string());
}

/// Everything that runs, in the order in which it may go away again.
int run(configured const& with) {
    auto const& config = with.config;
    compare_with_descriptors(*config);
    state_file state(config->state_dir);
    boost::asio::io_context io;
    std::size_t const count = worker_count(*config);
    control commands(io, config, with.keyring, count, state);

    std::vector<std::unique_ptr<worker_port>> workers;
    struct door {
        listener_kind kind;
        int fd;
        socket_family family;
    };
    std::vector<door> doors;
    std::vector<std::string> socket_files;
    std::string where;
    auto listen = [&](listener_kind kind, std::optional<config::endpoint> const& endpoint, char const* key, char const* name) {
        if (!endpoint) return;
        doors.push_back({kind, listen_tcp(key, *endpoint, config->limits, config->listen.reuse_port), socket_family::tcp});
        where += fmt::format(", {} on {}", name, config::format_endpoint(*endpoint));
        std::string const& directory = config->listen.unix_socket_directory;
        if (directory.empty() || kind == listener_kind::http) return;
        std::string const path = config::unix_socket_path(directory, endpoint->port);
        auto const permissions =
            static_cast<unsigned>(std::stoul(config->listen.unix_socket_permissions, nullptr, 8));
        doors.push_back({kind, listen_unix("listen.unix_socket_directory", path, permissions), socket_family::local});
        socket_files.push_back(path);
        where += fmt::format(" and {}", path);
    };
    listen(listener_kind::postgres, config->listen.postgres, "listen.postgres", "PostgreSQL");
    listen(listener_kind::migration, config->listen.migration, "listen.migration", "migrations");
    listen(listener_kind::http, config->listen.http, "listen.http", "HTTP");
    admin socket(io, config->admin_socket, commands);
    surveyor questions(io);
    pause_book paused;
    observer all(questions, commands, paused,
                 [&] { return control_facts{commands.current(), commands.tls(), commands.answers_of_auth_query()}; });
    std::optional<metrics_server> metrics;
    if (config->listen.metrics) {
        metrics.emplace(io, *config->listen.metrics, all);
        where += fmt::format(", metrics on {}", config::format_endpoint(*config->listen.metrics));
    }

    auto const first = commands.first_snapshot();
    for (std::size_t i = 0; i < count; ++i)
        workers.push_back(start_worker(static_cast<worker_id>(i), count, first, commands));
    commands.start(workers);
    questions.start(workers);
    console_desk console(io, all, paused, workers);
    commands.set_console(console);
    for (std::size_t i = 0; i < doors.size(); ++i)
        workers[i % count]->listen(doors[i].kind, doors[i].fd, doors[i].family, workers);

    bool graceful = true;
    boost::asio::signal_set ends(io, SIGTERM, SIGINT);
    ends.async_wait([&](boost::system::error_code const& error, int signal) {
        if (error) return;
        graceful = signal == SIGTERM;
        log::notice("lull: stopping{}", graceful ? "; sessions end as their transactions do" : "");
        io.stop();
    });
    boost::asio::signal_set hangup(io, SIGHUP);
    std::function<void()> wait_for_hangup = [&] {
        hangup.async_wait([&](boost::system::error_code const& error, int) {
            if (error) return;
            commands.reload();  // what came of it is in the log
            wait_for_hangup();
        });
    };
    wait_for_hangup();
    log::notice("lull: ready{}", where);
    io.run();

    for (std::string const& path : socket_files) ::unlink(path.c_str());
    if (metrics) metrics->stopping();
    for (auto const& w : workers) w->stop(graceful);
    // Sessions may take their time: meanwhile operators are answered, and a second signal ends the patience.
    io.restart();
    ends.async_wait([&](boost::system::error_code const& error, int) {
        if (error) return;
        for (auto const& w : workers) w->stop(false);
    });
    std::thread waiting([&] {
        for (auto const& w : workers) w->join();
        io.stop();
    });
    io.run();
    waiting.join();
    commands.stop();
    return 0;
}

}  // namespace

int serve(std::string const& config_file) {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a file at its limit is a full disk: an error, and no end
    raise_descriptor_limit();
    log::open(log::level::info);
    std::string failed;
    if (!routing::sql_self_test(failed)) {
        log::fatal(
            "the SQL parser does not answer as it must: {}. It was built against another libpg_query; "
            "rebuild lull.",
            failed);
        return 1;
    }
    try {
        auto const found = load(config_file);
        if (!found) return 1;
        log::configure(found->config->log);
        return run(*found);
    } catch (std::exception const& e) {
        log::fatal("{}", e.what());
        return 1;
    }
}

}  // namespace lull
