#include "proxy/metrics.hpp"

#include "config/endpoint.hpp"
#include "proxy/process_facts.hpp"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sstream>

namespace lull {

namespace {

using nlohmann::json;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

constexpr char const* access_names[access_kinds] = {"read", "session", "unknown", "write"};
constexpr char const* role_names[role_kinds] = {"primary", "replica"};

/// A family is written when it goes out of scope, unless it has nothing.
class family {
  public:
    family(std::vector<MetricFamily>& out, MetricType type, char const* name, char const* help) : out_(out) {
        made_.name = name;
        made_.help = help;
        made_.type = type;
    }
    family(family const&) = delete;
    family& operator=(family const&) = delete;
    ~family() {
        if (!made_.metric.empty()) out_.push_back(std::move(made_));
    }

    template <class Number>
    family& add(labels where, Number value) {
        ClientMetric m;
        m.label = std::move(where);
        (made_.type == MetricType::Counter ? m.counter.value : m.gauge.value) = static_cast<double>(value);
        made_.metric.push_back(std::move(m));
        return *this;
    }
    family& add(labels where, duration_histogram const& h) {
        ClientMetric m;
        m.label = std::move(where);
        for (std::size_t i = 0; i < duration_histogram::finite; ++i) {
            m.histogram.sample_count += h.in(i);
            m.histogram.bucket.push_back(
                {m.histogram.sample_count, static_cast<double>(duration_histogram::bound_us(i)) / 1e6});
        }
        m.histogram.sample_count += h.in(duration_histogram::finite);
        m.histogram.bucket.push_back({m.histogram.sample_count, std::numeric_limits<double>::infinity()});
        m.histogram.sample_sum = static_cast<double>(h.sum_us()) / 1e6;
        made_.metric.push_back(std::move(m));
        return *this;
    }

  private:
    std::vector<MetricFamily>& out_;
    MetricFamily made_;
};

class writer_of_metrics {
  public:
    explicit writer_of_metrics(overview const& all) : all_(all) {}

    std::string write() {
        process();
        traffic();
        statements();
        connections();
        listeners();
        backends();
        sites();
        web();
        std::ostringstream text;
        prometheus::TextSerializer().Serialize(text, out_);
        return text.str();
    }

  private:
    family counter(char const* name, char const* help) { return {out_, MetricType::Counter, name, help}; }
    family gauge(char const* name, char const* help) { return {out_, MetricType::Gauge, name, help}; }
    family histogram(char const* name, char const* help) { return {out_, MetricType::Histogram, name, help}; }

    template <class Number>
    Number sum(Number (*of)(worker_survey const&)) const {
        Number all{};
        for (worker_survey const& w : all_.workers.workers) all += of(w);
        return all;
    }

    void process() {
        process_facts const p = read_process_facts();
        gauge("lull_info", "1, with the version of Lull.").add({{"version", p.version}}, 1);
        gauge("lull_workers", "Threads that serve clients.").add({}, all_.workers.workers.size());
        gauge("lull_workers_silent",
              "Workers that did not answer when they were asked for these figures: stuck.")
            .add({}, all_.workers.silent.size());
        gauge("process_resident_memory_bytes", "Resident memory.").add({}, p.resident_bytes);
        counter("process_cpu_seconds_total", "User and system time.").add({}, p.cpu_seconds);
        gauge("process_open_fds", "Open file descriptors.").add({}, p.open_files);
        gauge("process_max_fds", "How many may be open.").add({}, p.most_files);
        gauge("process_start_time_seconds", "When Lull started, since the epoch.").add({}, p.started);
    }

    void traffic() {
        auto const databases = all_.workers.databases();
        auto each = [&](family&& f, auto&& value) {
            for (auto const& [name, stats] : databases) f.add({{"database", name}}, value(stats));
        };
        each(counter("lull_queries_total", "Queries answered, by Lull or a server."), [](database_stats const& d) { return d.queries; });
        each(counter("lull_transactions_total", "Transactions ended."), [](database_stats const& d) { return d.transactions; });
        each(counter("lull_transaction_seconds_total", "Time spent in transactions."),
             [](database_stats const& d) { return static_cast<double>(d.transaction_us) / 1e6; });
        each(counter("lull_client_received_bytes_total", "Bytes from clients."), [](database_stats const& d) { return d.bytes_received; });
        each(counter("lull_client_sent_bytes_total", "Bytes to clients."), [](database_stats const& d) { return d.bytes_sent; });
        each(histogram("lull_query_duration_seconds",
                       "From a query, or the server that it waited for, to its ReadyForQuery."),
             [](database_stats const& d) { return d.query; });
        each(histogram("lull_wait_duration_seconds", "How long queries waited for a server connection."),
             [](database_stats const& d) { return d.wait; });
        each(counter("lull_server_errors_total", "Errors of servers that were passed on."), [](database_stats const& d) { return d.errors; });
        each(counter("lull_refused_writes_total", "Statements refused by Lull because of the site's mode."),
             [](database_stats const& d) { return d.writes.refused; });
        each(counter("lull_slow_queries_total", "Queries that took log.slow_query or longer."), [](database_stats const& d) { return d.slow; });
        each(counter("lull_notifications_total", "Notifications told to clients that listen through the shared listener."),
             [](database_stats const& d) { return d.notifications; });
        each(counter("lull_held_writes_total", "Writes that were made to wait for the end of a maintenance."),
             [](database_stats const& d) { return d.writes.held; });
        each(counter("lull_discarded_writes_total", "Writes that were answered and dropped, as a rule says."),
             [](database_stats const& d) { return d.writes.discarded; });
        each(counter("lull_journaled_writes_total", "Writes that were answered and kept to be run afterwards."),
             [](database_stats const& d) { return d.writes.journaled; });
        each(counter("lull_passed_writes_total", "NOTIFY and LISTEN that a rule let through."),
             [](database_stats const& d) { return d.writes.passed; });
        each(counter("lull_over_limit_writes_total",
                     "Writes refused because there was no room to hold or journal them, or held for too long."),
             [](database_stats const& d) { return d.writes.over_limit; });
        each(counter("lull_unknown_writes_total",
                     "Writes that may come to be run or not: the disk of the journal failed."),
             [](database_stats const& d) { return d.writes.unknown; });
    }

    void statements() {
        auto const databases = all_.workers.databases();
        {
            static constexpr std::array<char const*, time_limit_kinds> names{
                "query_wait", "statement", "transaction", "idle_in_transaction", "idle_session"};
            auto f = counter("lull_timeouts_total", "What a time-out has ended, by database and by which.");
            for (auto const& [name, stats] : databases)
                for (std::size_t t = 0; t < time_limit_kinds; ++t)
                    f.add({{"database", name}, {"limit", names[t]}}, stats.timeouts[t]);
        }
        {
            auto f = counter("lull_statements_total",
                             "Statements given to servers, by what the classifier said of them and by the server's role.");
            for (auto const& [name, stats] : databases)
                for (std::size_t r = 0; r < role_kinds; ++r)
                    for (std::size_t a = 0; a < access_kinds; ++a)
                        f.add({{"database", name}, {"access", access_names[a]}, {"role", role_names[r]}},
                              stats.executed[r][a]);
        }
        {
            auto f = counter("lull_classifier_refuted_total",
                             "Statements that a server refused with 25006, by what the classifier had said: "
                             "access=\"read\" is its live error.");
            for (auto const& [name, stats] : databases)
                for (std::size_t a = 0; a < access_kinds; ++a)
                    f.add({{"database", name}, {"access", access_names[a]}}, stats.refused_by_server[a]);
        }
        routing::classifier_stats c;
        for (worker_survey const& w : all_.workers.workers) {
            c.exact_hits += w.classifier.exact_hits;
            c.normalised_hits += w.classifier.normalised_hits;
            c.parses += w.classifier.parses;
            c.syntax_errors += w.classifier.syntax_errors;
            c.guard_trips += w.classifier.guard_trips;
            c.too_long += w.classifier.too_long;
            c.too_deep += w.classifier.too_deep;
            c.unsafe_text += w.classifier.unsafe_text;
            c.parsed_bytes += w.classifier.parsed_bytes;
        }
        counter("lull_classifications_total",
                "Texts classified: found in the cache as they are, found without their constants, or parsed.")
            .add({{"by", "exact"}}, c.exact_hits)
            .add({{"by", "normalised"}}, c.normalised_hits)
            .add({{"by", "parse"}}, c.parses);
        counter("lull_classifier_not_understood_total",
                "Texts that count as writes because they were not parsed.")
            .add({{"why", "syntax"}}, c.syntax_errors)
            .add({{"why", "guard"}}, c.guard_trips)
            .add({{"why", "too_long"}}, c.too_long)
            .add({{"why", "too_deep"}}, c.too_deep)
            .add({{"why", "encoding"}}, c.unsafe_text);
        counter("lull_classifier_parsed_bytes_total", "Bytes of SQL parsed.").add({}, c.parsed_bytes);
        gauge("lull_classifier_cached", "Verdicts in the caches of the workers.")
            .add({}, sum<std::size_t>([](worker_survey const& w) { return w.cached_verdicts; }));
        gauge("lull_prepared_statements", "Texts of prepared statements that the workers know.")
            .add({}, sum<std::size_t>([](worker_survey const& w) { return w.prepared_statements; }));
    }

    void connections() {
        using count = std::uint64_t;
        counter("lull_client_connections_total", "PostgreSQL connections accepted.")
            .add({}, sum<count>([](worker_survey const& w) { return w.pg.accepted; }));
        {
            static constexpr std::array<char const*, turned_away_kinds> names{"stopping", "clients", "user",
                                                                              "database", "address", "open_files"};
            auto f = counter("lull_client_connections_turned_away_total",
                             "Of these, over a limit of clients, by which, or while stopping.");
            for (std::size_t t = 0; t < turned_away_kinds; ++t) {
                count all = 0;
                for (worker_survey const& w : all_.workers.workers) all += w.pg.turned_away[t];
                f.add({{"limit", names[t]}}, all);
            }
        }
        counter("lull_login_timeouts_total",
                "Of these, ended because logging in took longer than limits.login_timeout.")
            .add({}, sum<count>([](worker_survey const& w) { return w.pg.login_timeouts; }));
        counter("lull_failed_passwords_total", "Of these, ended by a wrong password, or one of a user who does not exist.")
            .add({}, sum<count>([](worker_survey const& w) { return w.pg.failed_passwords; }));
        counter("lull_client_sessions_total", "Of these, logged in.")
            .add({}, sum<count>([](worker_survey const& w) { return w.pg.sessions; }));
        counter("lull_client_connections_without_session_total",
                "Of these, ended without a session: failed logins, cancel requests, health checks.")
            .add({}, sum<count>([](worker_survey const& w) { return w.pg.without_session; }));
        gauge("lull_clients_logging_in", "Clients that have not logged in yet.")
            .add({}, sum<std::size_t>([](worker_survey const& w) { return w.logging_in; }));
        auto const pools = all_.workers.pools();
        auto where = [](pool_row const& p, char const* state) {
            return labels{{"database", p.database}, {"user", p.user}, {"state", state}};
        };
        {
            auto f = gauge("lull_pool_clients",
                           "Clients of a database and user; held and pinned ones count under active, too.");
            for (pool_row const& p : pools)
                f.add(where(p, "active"), p.clients_active)
                    .add(where(p, "waiting"), p.clients_waiting)
                    .add(where(p, "held"), p.clients_held)
                    .add(where(p, "pinned"), p.clients_pinned);
        }
        {
            auto f = gauge("lull_pool_servers", "Server connections of a database and user.");
            for (pool_row const& p : pools)
                f.add(where(p, "active"), p.servers_active)
                    .add(where(p, "idle"), p.servers_idle)
                    .add(where(p, "login"), p.servers_login)
                    .add(where(p, "cancelling"), p.servers_cancelling);
        }
        auto f =
            gauge("lull_pool_longest_wait_seconds", "How long the client that waits longest has waited.");
        for (pool_row const& p : pools)
            f.add({{"database", p.database}, {"user", p.user}},
                  static_cast<double>(p.longest_wait.count()) / 1e6);
    }

    void listeners() {
        std::map<std::string, std::size_t> all;
        for (worker_survey const& w : all_.workers.workers)
            for (auto const& [database, listening] : w.listening) all[database] += listening;
        auto f = gauge("lull_listening", "LISTENs of clients that the shared listener serves.");
        for (auto const& [database, listening] : all) f.add({{"database", database}}, listening);
    }

    void backends() {
        family healthy(out_, MetricType::Gauge, "lull_backend_healthy",
                       "1: reads and writes may go to this server.");
        family lag(out_, MetricType::Gauge, "lull_backend_lag_seconds",
                   "How old the newest data of a replica is at most.");
        family frozen(out_, MetricType::Gauge, "lull_backend_frozen", "1: its replay is paused for a sealed site.");
        family failures(out_, MetricType::Counter, "lull_backend_connect_failures_total",
                        "Connections to this server that were not made.");
        family checks(out_, MetricType::Counter, "lull_server_check_failures_total",
                      "Free connections to this server that have failed their check.");
        family connects(out_, MetricType::Histogram, "lull_backend_connect_duration_seconds",
                        "How long making a connection took, login included.");
        family open(out_, MetricType::Gauge, "lull_backend_connections",
                    "Connections of clients' pools to this server.");
        auto const moment = std::chrono::steady_clock::now();
        for (routing::backend const& b : all_.now->backends) {
            auto const i = static_cast<std::size_t>(b.id);
            bool const replica = b.role == routing::role::replica;
            labels const where{{"backend", config::format_endpoint(b.address)},
                               {"cluster", b.cluster},
                               {"role", role_names[replica]}};
            healthy.add(where, b.healthy);
            if (replica && b.fresh_through != routing::instant{})
                lag.add(where, std::chrono::duration<double>(moment - b.fresh_through).count());
            if (replica) frozen.add(where, b.frozen_for.has_value());
            backend_stats stats;
            backend_load load;
            for (worker_survey const& w : all_.workers.workers) {
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
                labels l = where;
                l.push_back({"state", state});
                return l;
            };
            open.add(in("active"), load.active).add(in("idle"), load.idle).add(in("login"), load.login);
        }
    }

    void sites() {
        family mode(out_, MetricType::Gauge, "lull_site_mode", "1 for the mode that the site is in.");
        family epoch(out_, MetricType::Gauge, "lull_site_epoch", "Grows with every change of the mode.");
        family seconds(out_, MetricType::Gauge, "lull_site_mode_seconds",
                       "How long the site has been in its mode.");
        family writing(out_, MetricType::Gauge, "lull_site_writers",
                       "Transactions and requests that may write now.");
        family held(out_, MetricType::Gauge, "lull_site_held_writes",
                    "Writes that wait for the end of the maintenance.");
        family bytes(out_, MetricType::Gauge, "lull_site_held_bytes", "Their size.");
        family fence(out_, MetricType::Gauge, "lull_site_fence",
                     "1 for the state of the fence that keeps those from writing who go past Lull.");
        family prepared(out_, MetricType::Gauge, "lull_site_prepared_transactions",
                        "Prepared transactions that were open when the primary was last asked, at most 50.");
        family kept(out_, MetricType::Gauge, "lull_site_journal_writes",
                    "Journaled writes that are to be run when the maintenance is over.");
        family size(out_, MetricType::Gauge, "lull_site_journal_bytes", "Size of the journal on the disk.");
        family files(out_, MetricType::Gauge, "lull_site_journal_files",
                     "Files with journaled writes that failed or were not run; see `lull journal`.");
        family broken(out_, MetricType::Gauge, "lull_site_journal_problem",
                      "1: the journal cannot be written, read or run; see `lull status`.");
        family limit(out_, MetricType::Gauge, "lull_site_limit",
                     "What the held and the journaled writes may come to.");
        family overdue(out_, MetricType::Gauge, "lull_site_overdue", "1: past the expected end of its window.");
        family lapsed(out_, MetricType::Gauge, "lull_site_leases_ended",
                      "Reasons to be closed whose lease nobody has renewed.");
        family error(out_, MetricType::Gauge, "lull_site_error",
                     "1: the last change of the mode failed; see `lull status`.");
        for (json const& s : all_.sites) {
            labels const where{{"site", s.value("site", "")}};
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

    void web() {
        using count = std::uint64_t;
        using of = count (*)(worker_survey const&);
        counter("lull_http_connections_total", "HTTP connections accepted.")
            .add({}, sum(of([](worker_survey const& w) { return w.http.accepted; })));
        counter("lull_http_connections_turned_away_total", "Of these, over limits.max_http_clients, or without a file descriptor.")
            .add({}, sum(of([](worker_survey const& w) { return w.http.turned_away; })));
        counter("lull_http_requests_total", "Requests.").add({}, sum(of([](worker_survey const& w) {
                                                                 return w.http.requests;
                                                             })));
        counter("lull_http_rejected_total", "Requests that Lull answered with an error of the client's.")
            .add({{"why", "malformed"}}, sum(of([](worker_survey const& w) { return w.http.malformed; })))
            .add({{"why", "misdirected"}}, sum(of([](worker_survey const& w) { return w.http.misdirected; })))
            .add({{"why", "timeout"}},
                 sum(of([](worker_survey const& w) { return w.http.client_timeouts; })));
        counter("lull_http_upstream_connections_total", "Connections to upstreams, made and used again.")
            .add({{"how", "new"}}, sum(of([](worker_survey const& w) { return w.http.upstream_connects; })))
            .add({{"how", "kept"}}, sum(of([](worker_survey const& w) { return w.http.upstream_reuses; })));
        counter("lull_http_upstream_failures_total", "Requests that an upstream did not answer as it should.")
            .add({{"why", "error"}}, sum(of([](worker_survey const& w) { return w.http.upstream_errors; })))
            .add({{"why", "timeout"}},
                 sum(of([](worker_survey const& w) { return w.http.upstream_timeouts; })));
        counter("lull_http_retries_total", "Requests sent again over a new connection.")
            .add({}, sum(of([](worker_survey const& w) { return w.http.retries; })));
        using size = std::size_t (*)(worker_survey const&);
        gauge("lull_http_clients", "HTTP clients connected.").add({}, sum(size([](worker_survey const& w) {
                                                                      return w.http.open_clients;
                                                                  })));
        gauge("lull_http_tunnels", "Of these, upgraded.").add({}, sum(size([](worker_survey const& w) {
                                                                  return w.http.open_tunnels;
                                                              })));
        auto f = counter("lull_http_refused_total", "Requests refused because of the site's mode.");
        for (routing::site const& s : all_.now->sites) {
            count refused = 0;
            for (worker_survey const& w : all_.workers.workers) {
                auto const i = static_cast<std::size_t>(s.id);
                if (i < w.http.refused.size()) refused += w.http.refused[i];
            }
            f.add({{"site", s.settings->name}}, refused);
        }
    }

    overview const& all_;
    std::vector<MetricFamily> out_;
};

}  // namespace

std::string render_metrics(overview const& all) {
    return writer_of_metrics(all).write();
}

readiness judge_readiness(overview const& all, bool stopping) {
    std::string why;
    auto add = [&](std::string const& line) { why += (why.empty() ? "" : "\n") + line; };
    if (stopping) add("lull is stopping");
    for (std::size_t worker : all.workers.silent)
        add("worker " + std::to_string(worker) + " does not answer");
    std::map<std::string, bool> clusters;
    for (routing::backend const& b : all.now->backends) {
        bool& readable = clusters.try_emplace(b.cluster, false).first->second;
        readable = readable || b.healthy;
    }
    for (auto const& [name, readable] : clusters)
        if (!readable) add("cluster " + name + ": no server is healthy; see `lull status`");
    return {why.empty(), why.empty() ? "ready" : why};
}

}  // namespace lull
