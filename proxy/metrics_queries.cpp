// Queries, and what the classifier and the books of statements did for them.
#include "proxy/metrics_of.hpp"

#include <array>

namespace lull {

namespace {

constexpr char const* access_names[access_kinds] = {"read", "session", "unknown", "write"};
constexpr char const* role_names[role_kinds] = {"primary", "replica"};

}  // namespace

void write_traffic(metric_page& out, overview const& all) {
    auto const databases = all.workers.databases();
    auto each = [&](metric_family&& f, auto&& value) {
        for (auto const& [name, stats] : databases) f.add({{"database", name}}, value(stats));
    };
    each(out.counter("lull_queries_total", "Queries answered, by Lull or a server."), [](database_stats const& d) { return d.queries; });
    each(out.counter("lull_transactions_total", "Transactions ended."), [](database_stats const& d) { return d.transactions; });
    each(out.counter("lull_transaction_seconds_total", "Time spent in transactions."),
         [](database_stats const& d) { return static_cast<double>(d.transaction_us) / 1e6; });
    each(out.counter("lull_client_received_bytes_total", "Bytes from clients."), [](database_stats const& d) { return d.bytes_received; });
    each(out.counter("lull_client_sent_bytes_total", "Bytes to clients."), [](database_stats const& d) { return d.bytes_sent; });
    each(out.histogram("lull_query_duration_seconds",
                   "From a query, or the server that it waited for, to its ReadyForQuery."),
         [](database_stats const& d) { return d.query; });
    each(out.histogram("lull_wait_duration_seconds", "How long queries waited for a server connection."),
         [](database_stats const& d) { return d.wait; });
    each(out.counter("lull_server_errors_total", "Errors of servers that were passed on."), [](database_stats const& d) { return d.errors; });
    each(out.counter("lull_refused_writes_total", "Statements refused by Lull because of the site's mode."),
         [](database_stats const& d) { return d.writes.refused; });
    each(out.counter("lull_slow_queries_total", "Queries that took log.slow_query or longer."), [](database_stats const& d) { return d.slow; });
    each(out.counter("lull_notifications_total", "Notifications told to clients that listen through the shared listener."),
         [](database_stats const& d) { return d.notifications; });
    each(out.counter("lull_held_writes_total", "Writes that were made to wait for the end of a maintenance."),
         [](database_stats const& d) { return d.writes.held; });
    each(out.counter("lull_discarded_writes_total", "Writes that were answered and dropped, as a rule says."),
         [](database_stats const& d) { return d.writes.discarded; });
    each(out.counter("lull_journaled_writes_total", "Writes that were answered and kept to be run afterwards."),
         [](database_stats const& d) { return d.writes.journaled; });
    each(out.counter("lull_passed_writes_total", "NOTIFY and LISTEN that a rule let through."),
         [](database_stats const& d) { return d.writes.passed; });
    each(out.counter("lull_over_limit_writes_total",
                 "Writes refused because there was no room to hold or journal them, or held for too long."),
         [](database_stats const& d) { return d.writes.over_limit; });
    each(out.counter("lull_unknown_writes_total",
                 "Writes that may come to be run or not: the disk of the journal failed."),
         [](database_stats const& d) { return d.writes.unknown; });
}

void write_statements(metric_page& out, overview const& all) {
    auto const databases = all.workers.databases();
    {
        static constexpr std::array<char const*, time_limit_kinds> names{
            "query_wait", "statement", "transaction", "idle_in_transaction", "idle_session", "cancel"};
        auto f = out.counter("lull_timeouts_total", "What a time-out has ended, by database and by which; cancel: the server "
                         "did not end in time what another had canceled, and was left.");
        for (auto const& [name, stats] : databases)
            for (std::size_t t = 0; t < time_limit_kinds; ++t)
                f.add({{"database", name}, {"limit", names[t]}}, stats.timeouts[t]);
    }
    {
        static constexpr std::array<char const*, session_limit_kinds> names{"max_waiting_clients", "max_notification_bytes"};
        auto f = out.counter("lull_over_limit_total", "Queries refused, and clients ended, by a limit of sessions.");
        for (auto const& [name, stats] : databases)
            for (std::size_t l = 0; l < session_limit_kinds; ++l)
                f.add({{"database", name}, {"limit", names[l]}}, stats.over_limit[l]);
    }
    {
        auto f = out.counter("lull_prepared_uses_total",
                             "Prepared statements that were needed on a server, by whether it knew them or they were parsed there.");
        for (auto const& [name, stats] : databases)
            f.add({{"database", name}, {"by", "known"}}, stats.prepared_known)
                .add({{"database", name}, {"by", "parse"}}, stats.prepared_parsed);
    }
    {
        auto f = out.counter("lull_statements_total",
                         "Statements given to servers, by what the classifier said of them and by the server's role.");
        for (auto const& [name, stats] : databases)
            for (std::size_t r = 0; r < role_kinds; ++r)
                for (std::size_t a = 0; a < access_kinds; ++a)
                    f.add({{"database", name}, {"access", access_names[a]}, {"role", role_names[r]}},
                          stats.executed[r][a]);
    }
    {
        auto f = out.counter("lull_classifier_refuted_total",
                         "Statements that a server refused with 25006, by what the classifier had said: "
                         "access=\"read\" is its live error.");
        for (auto const& [name, stats] : databases)
            for (std::size_t a = 0; a < access_kinds; ++a)
                f.add({{"database", name}, {"access", access_names[a]}}, stats.refused_by_server[a]);
    }
    routing::classifier_stats c;
    for (worker_survey const& w : all.workers.workers) {
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
    out.counter("lull_classifications_total",
            "Texts classified: found in the cache as they are, found without their constants, or parsed.")
        .add({{"by", "exact"}}, c.exact_hits)
        .add({{"by", "normalised"}}, c.normalised_hits)
        .add({{"by", "parse"}}, c.parses);
    out.counter("lull_classifier_not_understood_total",
            "Texts that count as writes because they were not parsed.")
        .add({{"why", "syntax"}}, c.syntax_errors)
        .add({{"why", "guard"}}, c.guard_trips)
        .add({{"why", "too_long"}}, c.too_long)
        .add({{"why", "too_deep"}}, c.too_deep)
        .add({{"why", "encoding"}}, c.unsafe_text);
    out.counter("lull_classifier_parsed_bytes_total", "Bytes of SQL parsed.").add({}, c.parsed_bytes);
    out.gauge("lull_classifier_cached", "Verdicts in the caches of the workers.")
        .add({}, sum<std::size_t>(all, [](worker_survey const& w) { return w.cached_verdicts; }));
    out.gauge("lull_prepared_statements", "Texts of prepared statements that the workers know.")
        .add({}, sum<std::size_t>(all, [](worker_survey const& w) { return w.prepared_statements; }));
}

}  // namespace lull
