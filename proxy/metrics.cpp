#include "proxy/metrics.hpp"

#include "proxy/metrics_of.hpp"
#include "proxy/process_facts.hpp"

#include <map>

namespace lull {

namespace {

void write_process(metric_page& out, overview const& all) {
    process_facts const p = read_process_facts();
    out.gauge("lull_info", "1, with the version of Lull.").add({{"version", p.version}}, 1);
    out.gauge("lull_workers", "Threads that serve clients.").add({}, all.workers.workers.size());
    out.gauge("lull_workers_silent",
          "Workers that did not answer when they were asked for these figures: stuck.")
        .add({}, all.workers.silent.size());
    out.gauge("process_resident_memory_bytes", "Resident memory.").add({}, p.resident_bytes);
    out.counter("process_cpu_seconds_total", "User and system time.").add({}, p.cpu_seconds);
    out.gauge("process_open_fds", "Open file descriptors.").add({}, p.open_files);
    out.gauge("process_max_fds", "How many may be open.").add({}, p.most_files);
    out.gauge("process_start_time_seconds", "When Lull started, since the epoch.").add({}, p.started);
}

}  // namespace

std::string render_metrics(overview const& all) {
    metric_page page;
    for (auto const write : {&write_process, &write_traffic, &write_statements, &write_clients, &write_secrets, &write_pools,
                             &write_limits, &write_listeners, &write_backends, &write_sites, &write_web})
        write(page, all);
    return page.text();
}

readiness judge_readiness(overview const& all, bool stopping) {
    std::string why;
    auto add = [&](std::string const& line) { why += (why.empty() ? "" : "\n") + line; };
    if (stopping) add("lull is stopping");
    for (std::size_t worker : all.workers.silent)
        add("worker " + std::to_string(worker) + " does not answer");
    auto const now = std::chrono::steady_clock::now();
    std::map<std::string, bool> clusters;
    for (routing::backend const& b : all.now->backends) {
        bool& readable = clusters.try_emplace(b.cluster, false).first->second;
        bool const lags = b.role == routing::role::replica && !b.frozen_for && now - b.fresh_through > b.max_lag;
        readable = readable || (b.healthy && !lags);
    }
    for (auto const& [name, readable] : clusters)
        if (!readable) add("cluster " + name + ": no server is healthy and up to date; see `lull status`");
    return {why.empty(), why.empty() ? "ready" : why};
}

}  // namespace lull
