// The lines that workers do not write themselves.
#include "config/endpoint.hpp"
#include "proxy/control.hpp"
#include "proxy/log.hpp"
#include "routing/sql_redact.hpp"

#include <boost/asio/post.hpp>

namespace lull {

namespace {

char const* name_of(routing::access a) {
    switch (a) {
        case routing::access::read:
            return "read";
        case routing::access::session:
            return "session";
        case routing::access::unknown:
            return "unknown";
        case routing::access::write:
            return "write";
    }
    return "";
}

double milliseconds(std::chrono::microseconds us) {
    return static_cast<double>(us.count()) / 1000;
}

}  // namespace

void control::log_statements(std::vector<finished_query> queries, std::size_t more) {
    boost::asio::post(io_, [this, queries = std::move(queries), more] {
        for (finished_query const& q : queries) {
            std::string const server =
                q.backend && static_cast<std::size_t>(*q.backend) < servers_.size()
                    ? config::format_endpoint(servers_[static_cast<std::size_t>(*q.backend)]->value.address)
                    : "";
            log::event(q.slow ? log::level::warning : log::level::info, q.slow ? "slow query" : "query",
                       {{"event", q.slow ? "slow_query" : "sampled_query"},
                        {"duration_ms", milliseconds(q.took)},
                        {"wait_ms", milliseconds(q.waited)},
                        {"user", q.user},
                        {"database", q.database},
                        {"client", q.client},
                        {"server", server},
                        {"server_pid", q.server_pid},
                        {"access", q.said ? name_of(*q.said) : ""},
                        {"statement", routing::redact_sql(q.statement)}});
        }
        if (more > 0)
            log::event(log::level::notice, "more queries than log.statements_per_second allows",
                       {{"event", "queries_not_logged"}, {"count", more}});
    });
}

}  // namespace lull
