// HTTP.
#include "proxy/metrics_of.hpp"

namespace lull {

void write_web(metric_page& out, overview const& all) {
    using count = std::uint64_t;
    using of = count (*)(worker_survey const&);
    out.counter("lull_http_connections_total", "HTTP connections accepted.")
        .add({}, sum(all, of([](worker_survey const& w) { return w.http.accepted; })));
    out.counter("lull_http_connections_turned_away_total", "Of these, over limits.max_http_clients, or without a file descriptor.")
        .add({}, sum(all, of([](worker_survey const& w) { return w.http.turned_away; })));
    out.counter("lull_http_requests_total", "Requests.").add({}, sum(all, of([](worker_survey const& w) {
                                                             return w.http.requests;
                                                         })));
    out.counter("lull_http_rejected_total", "Requests that Lull answered with an error of the client's.")
        .add({{"why", "malformed"}}, sum(all, of([](worker_survey const& w) { return w.http.malformed; })))
        .add({{"why", "misdirected"}}, sum(all, of([](worker_survey const& w) { return w.http.misdirected; })))
        .add({{"why", "timeout"}},
             sum(all, of([](worker_survey const& w) { return w.http.client_timeouts; })));
    out.counter("lull_http_upstream_connections_total", "Connections to upstreams, made and used again.")
        .add({{"how", "new"}}, sum(all, of([](worker_survey const& w) { return w.http.upstream_connects; })))
        .add({{"how", "kept"}}, sum(all, of([](worker_survey const& w) { return w.http.upstream_reuses; })));
    out.counter("lull_http_upstream_failures_total", "Requests that an upstream did not answer as it should.")
        .add({{"why", "error"}}, sum(all, of([](worker_survey const& w) { return w.http.upstream_errors; })))
        .add({{"why", "timeout"}},
             sum(all, of([](worker_survey const& w) { return w.http.upstream_timeouts; })));
    out.counter("lull_http_retries_total", "Requests sent again over a new connection.")
        .add({}, sum(all, of([](worker_survey const& w) { return w.http.retries; })));
    using size = std::size_t (*)(worker_survey const&);
    out.gauge("lull_http_clients", "HTTP clients connected.").add({}, sum(all, size([](worker_survey const& w) {
                                                                  return w.http.open_clients;
                                                              })));
    out.gauge("lull_http_tunnels", "Of these, upgraded.").add({}, sum(all, size([](worker_survey const& w) {
                                                              return w.http.open_tunnels;
                                                          })));
    auto f = out.counter("lull_http_refused_total", "Requests refused because of the site's mode.");
    for (routing::site const& s : all.now->sites) {
        count refused = 0;
        for (worker_survey const& w : all.workers.workers) {
            auto const i = static_cast<std::size_t>(s.id);
            if (i < w.http.refused.size()) refused += w.http.refused[i];
        }
        f.add({{"site", s.settings->name}}, refused);
    }
}

}  // namespace lull
