// Servers, and sites on them.
#include "proxy/metrics_of.hpp"

#include "config/endpoint.hpp"

namespace lull {

namespace {

using nlohmann::json;

constexpr char const* role_names[role_kinds] = {"primary", "replica"};

}  // namespace

void write_backends(metric_page& out, overview const& all) {
    metric_family healthy = out.gauge("lull_backend_healthy",
                   "1: reads and writes may go to this server.");
    metric_family lag = out.gauge("lull_backend_lag_seconds",
               "How old the newest data of a replica is at most.");
    metric_family frozen = out.gauge("lull_backend_frozen", "1: its replay is paused for a sealed site.");
    metric_family failures = out.counter("lull_backend_connect_failures_total",
                    "Connections to this server that were not made.");
    metric_family checks = out.counter("lull_server_check_failures_total",
                  "Free connections to this server that have failed their check.");
    metric_family connects = out.histogram("lull_backend_connect_duration_seconds",
                    "How long making a connection took, login included.");
    metric_family open = out.gauge("lull_backend_connections",
                "Connections of clients' pools to this server.");
    auto const moment = std::chrono::steady_clock::now();
    for (routing::backend const& b : all.now->backends) {
        auto const i = static_cast<std::size_t>(b.id);
        bool const replica = b.role == routing::role::replica;
        metric_labels const where{{"backend", config::format_endpoint(b.address)},
                           {"cluster", b.cluster},
                           {"role", role_names[replica]}};
        healthy.add(where, b.healthy);
        if (replica && b.fresh_through != routing::instant{})
            lag.add(where, std::chrono::duration<double>(moment - b.fresh_through).count());
        if (replica) frozen.add(where, b.frozen_for.has_value());
        backend_stats stats;
        backend_load load;
        for (worker_survey const& w : all.workers.workers) {
            if (i < w.pg.backends.size()) {
                stats.failures += w.pg.backends[i].failures;
                stats.failed_checks += w.pg.backends[i].failed_checks;
                stats.connect.add(w.pg.backends[i].connect);
            }
            if (i < w.backends.size()) {
                load.active += w.backends[i].active;
                load.idle += w.backends[i].idle;
                load.login += w.backends[i].login;
            }
        }
        failures.add(where, stats.failures);
        checks.add(where, stats.failed_checks);
        connects.add(where, stats.connect);
        auto in = [&](char const* state) {
            metric_labels l = where;
            l.push_back({"state", state});
            return l;
        };
        open.add(in("active"), load.active).add(in("idle"), load.idle).add(in("login"), load.login);
    }
}

void write_sites(metric_page& out, overview const& all) {
    metric_family mode = out.gauge("lull_site_mode", "1 for the mode that the site is in.");
    metric_family epoch = out.gauge("lull_site_epoch", "Grows with every change of the mode.");
    metric_family seconds = out.gauge("lull_site_mode_seconds",
                   "How long the site has been in its mode.");
    metric_family writing = out.gauge("lull_site_writers",
                   "Transactions and requests that may write now.");
    metric_family held = out.gauge("lull_site_held_writes",
                "Writes that wait for the end of the maintenance.");
    metric_family bytes = out.gauge("lull_site_held_bytes", "Their size.");
    metric_family fence = out.gauge("lull_site_fence",
                 "1 for the state of the fence that keeps those from writing who go past Lull.");
    metric_family prepared = out.gauge("lull_site_prepared_transactions",
                    "Prepared transactions that were open when the primary was last asked, at most 50.");
    metric_family kept = out.gauge("lull_site_journal_writes",
                "Journaled writes that are to be run when the maintenance is over.");
    metric_family size = out.gauge("lull_site_journal_bytes", "Size of the journal on the disk.");
    metric_family files = out.gauge("lull_site_journal_files",
                 "Files with journaled writes that failed or were not run; see `lull journal`.");
    metric_family broken = out.gauge("lull_site_journal_problem",
                  "1: the journal cannot be written, read or run; see `lull status`.");
    metric_family limit = out.gauge("lull_site_limit",
                 "What the held and the journaled writes may come to.");
    metric_family overdue = out.gauge("lull_site_overdue", "1: past the expected end of its window.");
    metric_family lapsed = out.gauge("lull_site_leases_ended",
                  "Reasons to be closed whose lease nobody has renewed.");
    metric_family error = out.gauge("lull_site_error",
                 "1: the last change of the mode failed; see `lull status`.");
    for (json const& s : all.sites) {
        metric_labels const where{{"site", s.value("site", "")}};
        std::string const now = s.value("mode", "");
        for (char const* name : {"read_write", "draining", "sealed", "reopening"})
            mode.add({where.front(), {"mode", name}}, now == name);
        epoch.add(where, s.value("epoch", std::uint64_t{}));
        seconds.add(where, s.value("seconds", 0.0));
        writing.add(where, s.value("writing", std::uint64_t{}));
        json const waiting = s.value("held", json::object());
        held.add(where, waiting.value("count", std::uint64_t{}));
        bytes.add(where, waiting.value("bytes", std::uint64_t{}));
        std::string const fenced = s.value("fence", json::object()).value("state", "");
        for (char const* name : {"none", "raising", "up", "missing", "lowering", "owed"})
            fence.add({where.front(), {"state", name}}, fenced == name);
        prepared.add(where, s.value("prepared", json::array()).size());
        json const journal = s.value("journal", json::object());
        kept.add(where, journal.value("pending", std::uint64_t{}));
        size.add(where, journal.value("bytes", std::uint64_t{}));
        files.add(where, journal.value("kept", std::uint64_t{}));
        broken.add(where, !journal.value("problem", "").empty());
        auto const most = [&](char const* what, json const& of, char const* key) {
            limit.add({where.front(), {"of", what}}, of.value(key, std::uint64_t{}));
        };
        most("held_writes", waiting, "max_count");
        most("held_bytes", waiting, "max_bytes");
        most("journal_writes", journal, "max_count");
        most("journal_bytes", journal, "max_bytes");
        overdue.add(where, s.value("overdue", false));
        std::size_t ended = 0;
        for (json const& reason : s.value("reasons", json::array())) ended += reason.value("lapsed", false);
        lapsed.add(where, ended);
        error.add(where, s.contains("error") && !s["error"].is_null());
    }
}

}  // namespace lull
