// SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS.
#include "proxy/console_show.hpp"

#include <array>

namespace lull {

namespace {

using column_type::numeric;

/// In PgBouncer's order: transactions, queries, received, sent, transaction, query and wait time.
std::array<std::uint64_t, 7> totals_of(database_stats const& d) {
    return {d.transactions, d.queries, d.bytes_received, d.bytes_sent, d.transaction_us, d.query.sum_us(),
            d.wait.sum_us()};
}

/// Per second, but times of transactions and queries: per one of them.
std::array<std::uint64_t, 7> averages_of(database_stats const& now, std::string const& name,
                                         console_facts const& facts) {
    if (facts.before_age.count() <= 0) return {};
    auto const at = facts.before.find(name);
    auto const then = totals_of(at == facts.before.end() ? database_stats{} : at->second);
    auto grown = totals_of(now);
    for (std::size_t i = 0; i < grown.size(); ++i) grown[i] -= then[i];
    std::array<std::uint64_t, 7> out{};
    for (std::size_t i : {0, 1, 2, 3, 6})
        out[i] = static_cast<std::uint64_t>(static_cast<double>(grown[i]) / facts.before_age.count());
    if (grown[0] > 0) out[4] = grown[4] / grown[0];
    if (grown[1] > 0) out[5] = grown[5] / grown[1];
    return out;
}

}  // namespace

console_table show_stats(overview const& all, console_facts const& facts, stats_part part) {
    static constexpr std::string_view total_names[] = {
        "total_xact_count", "total_query_count", "total_received", "total_sent",
        "total_xact_time",  "total_query_time",  "total_wait_time"};
    static constexpr std::string_view average_names[] = {
        "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent",
        "avg_xact_time",  "avg_query_time",  "avg_wait_time"};
    static constexpr std::string_view plain_names[] = {
        "xact_count", "query_count", "bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time"};
    console_table t;
    t.columns.push_back({"database"});
    if (part == stats_part::both) {
        for (auto name : total_names) t.columns.push_back({name, numeric});
        for (auto name : average_names) t.columns.push_back({name, numeric});
    } else {
        for (auto name : plain_names) t.columns.push_back({name, numeric});
    }
    for (auto const& [name, d] : all.workers.databases()) {
        std::vector<console_table::value> r{name};
        if (part != stats_part::averages)
            for (std::uint64_t v : totals_of(d)) r.push_back(std::to_string(v));
        if (part != stats_part::totals)
            for (std::uint64_t v : averages_of(d, name, facts)) r.push_back(std::to_string(v));
        t.rows.push_back(std::move(r));
    }
    return t;
}

console_table show_totals(overview const& all, console_facts const& facts) {
    static constexpr std::string_view names[] = {"xact_count", "query_count", "client_bytes", "server_bytes",
                                                 "xact_time",  "query_time",  "wait_time"};
    console_table t;
    t.columns = {{"name"}, {"value", numeric}};
    std::array<std::uint64_t, 7> total{}, average{};
    for (auto const& [name, d] : all.workers.databases()) {
        auto const a = totals_of(d);
        auto const b = averages_of(d, name, facts);
        for (std::size_t i = 0; i < a.size(); ++i) total[i] += a[i], average[i] += b[i];
    }
    for (std::size_t i = 0; i < total.size(); ++i)
        t.rows.push_back({"total_" + std::string(names[i]), std::to_string(total[i])});
    for (std::size_t i = 0; i < average.size(); ++i)
        t.rows.push_back({"avg_" + std::string(names[i]), std::to_string(average[i])});
    return t;
}

}  // namespace lull
