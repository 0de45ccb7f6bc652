// SHOW CLIENTS, SERVERS, LOCKS and PREPARED: a row for each connection or statement that is open.
#include "proxy/console_cells.hpp"
#include "proxy/console_show.hpp"
#include "routing/sql_redact.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>

namespace lull {

namespace {

using column_type::int4;
using column_type::int8;

std::string time(routing::wall_time t) {
    return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC", fmt::gmtime(std::chrono::system_clock::to_time_t(t)));
}

/// "1.2.3.4:5" and "[::1]:5": address and port.
std::pair<std::string, std::string> split(std::string const& address) {
    std::size_t const colon = address.rfind(':');
    if (colon == std::string::npos) return {address, "0"};
    std::string host = address.substr(0, colon);
    if (host.size() > 1 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
    return {host, address.substr(colon + 1)};
}

/// PgBouncer's columns of a connection, whosever it is, and those behind them.
std::vector<console_column> with_connection(std::initializer_list<console_column> more) {
    std::vector<console_column> all{{"type"},
                                    {"user"},
                                    {"database"},
                                    {"state"},
                                    {"addr"},
                                    {"port", int4},
                                    {"local_addr"},
                                    {"local_port", int4},
                                    {"connect_time"},
                                    {"request_time"},
                                    {"wait", int4},
                                    {"wait_us", int4},
                                    {"close_needed", int4},
                                    {"ptr"},
                                    {"link"},
                                    {"remote_pid", int4},
                                    {"tls"},
                                    {"application_name"}};
    all.insert(all.end(), more);
    return all;
}

/// Constants are for those who could read them in the database, too.
std::string shown(std::string const& statement, console_facts const& facts) {
    return facts.whole_statements ? statement : routing::redact_sql(statement);
}

}  // namespace

console_table show_clients(overview const& all, console_facts const& facts) {
    console_table t;
    t.columns = with_connection({{"site"},
                                 {"transaction"},
                                 {"pinned", int4},
                                 {"writes", int4},
                                 {"server_pid", int4},
                                 {"statement"},
                                 {"listens", int4},
                                 {"pinned_by"}});
    for (worker_survey const& w : all.workers.workers)
        for (client_row const& c : w.clients) {
            auto const [address, port] = split(c.address);
            auto const [local, local_port] = split(c.local);
            t.rows.push_back({"C",
                              c.user,
                              c.database,
                              c.state,
                              address,
                              port,
                              local,
                              local_port,
                              time(c.connected),
                              time(c.asked),
                              number(c.waiting.count() / 1'000'000),
                              number(c.waiting.count() % 1'000'000),
                              "0",
                              fmt::format("{:#x}", c.id),
                              c.server ? fmt::format("{:#x}", c.server) : "",
                              "0",
                              c.tls ? "TLS" : "",
                              c.application_name,
                              c.site,
                              c.transaction,
                              flag(c.pinned),
                              flag(c.writes),
                              number(c.server_pid),
                              shown(c.statement, facts),
                              number(c.channels), c.pinned_by});
        }
    return t;
}

console_table show_servers(overview const& all) {
    console_table t;
    t.columns = with_connection({{"role"}, {"use"}, {"prepared_statements", int4}});
    std::set<std::pair<routing::backend_id, std::uint32_t>> listeners;
    for (worker_survey const& w : all.workers.workers)
        for (server_row const& s : w.servers) {
            // One of these is shared by all workers.
            if (s.use == "listener" && !listeners.emplace(s.backend, s.pid).second) continue;
            routing::backend const& b = all.now->of(s.backend);
            auto const [local, local_port] = split(s.local);
            t.rows.push_back({"S",
                              s.user,
                              s.database,
                              s.state,
                              b.address.host,
                              number(b.address.port),
                              local,
                              local_port,
                              time(s.connected),
                              time(s.asked),
                              "0",
                              "0",
                              flag(s.outdated),
                              fmt::format("{:#x}", s.id),
                              s.client ? fmt::format("{:#x}", s.client) : "",
                              number(s.pid),
                              s.tls ? "TLS" : "",
                              s.application_name,
                              b.role == routing::role::replica ? "replica" : "primary",
                              s.use,
                              number(s.prepared)});
        }
    return t;
}

/// Who keeps a server connection: what PAUSE and sealing would have to wait for, longest first.
console_table show_locks(overview const& all, console_facts const& facts) {
    console_table t;
    t.columns = {{"database"},         {"user"},          {"client"}, {"addr"},     {"application_name"},
                 {"server_pid", int4}, {"seconds", int8}, {"why"},    {"statement"}};
    std::vector<client_row const*> holders;
    for (worker_survey const& w : all.workers.workers)
        for (client_row const& c : w.clients)
            if (c.server != 0) holders.push_back(&c);
    std::sort(holders.begin(), holders.end(),
              [](client_row const* a, client_row const* b) { return a->has_server > b->has_server; });
    for (client_row const* c : holders) {
        std::string why = c->migration               ? "migration"
                          : c->pinned                ? c->pinned_by
                          : c->transaction == "idle" ? "query"
                                                     : "transaction";
        if (c->writes) why += ", may write";
        t.rows.push_back({c->database, c->user, fmt::format("{:#x}", c->id), c->address, c->application_name,
                          number(c->server_pid), number(c->has_server.count() / 1'000'000), why,
                          shown(c->statement, facts)});
    }
    return t;
}

console_table show_prepared(overview const& all, console_facts const& facts) {
    console_table t;
    t.columns = {{"name"}, {"worker", int4}, {"uses", int4}, {"statement"}};
    for (worker_survey const& w : all.workers.workers)
        for (prepared_row const& p : w.prepared)
            t.rows.push_back({p.name, number(w.worker), number(p.uses), shown(p.statement, facts)});
    return t;
}

}  // namespace lull
