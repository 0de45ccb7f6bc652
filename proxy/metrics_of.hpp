// The metrics of each part of Lull. For metrics.cpp.
#pragma once

#include "proxy/metric_page.hpp"
#include "proxy/overview.hpp"

namespace lull {

void write_traffic(metric_page& out, overview const& all);     // queries of databases, and what became of them
void write_statements(metric_page& out, overview const& all);  // what they were, and what is remembered of them
void write_clients(metric_page& out, overview const& all);
void write_pools(metric_page& out, overview const& all);
void write_secrets(metric_page& out, overview const& all);
void write_listeners(metric_page& out, overview const& all);
void write_limits(metric_page& out, overview const& all);  // what clients and pools may come to, and until when certificates count
void write_backends(metric_page& out, overview const& all);
void write_sites(metric_page& out, overview const& all);
void write_web(metric_page& out, overview const& all);

/// Over all workers.
template <class Number>
Number sum(overview const& all, Number (*of)(worker_survey const&)) {
    Number made{};
    for (worker_survey const& w : all.workers.workers) made += of(w);
    return made;
}

}  // namespace lull
