// What the control thread makes of servers and workers: health, freshness, snapshots, reports.
#include "config/ascii.hpp"
#include "config/endpoint.hpp"
#include "proxy/console_desk.hpp"
#include "proxy/control.hpp"
#include "proxy/log.hpp"
#include "routing/sql_redact.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>

namespace lull {

namespace {

// Several wal_writer_delay (200 ms): by then asynchronous commits have been flushed.
constexpr std::chrono::milliseconds log_settles{1000};

/// For files that are kept. What a request over HTTP is has no constants that SQL's rules would find.
std::string one_line(writer const& w) {
    std::string const statement = w.protocol == "postgres" ? routing::redact_sql(w.statement) : w.statement;
    return w.protocol + " pid " + std::to_string(w.server_pid) + " " + w.user + "@" + w.database + " " +
           w.application_name + ", " + w.state + ": " + statement;
}

}  // namespace

void control::looked(server& s, server_look const& look) {
    s.looked = true;
    s.look = look;
    if (look.reached && s.value.role == routing::role::primary && !look.in_recovery &&
        look.inserted != routing::lsn{}) {
        for (auto const& other : servers_)
            if (other->value.cluster == s.value.cluster && other->value.role == routing::role::replica)
                other->fresh.sampled(look.asked, look.inserted, look.flushed, log_settles);
    }
    if (look.reached && s.value.role == routing::role::replica && look.in_recovery)
        s.fresh.replayed(look.replayed);
    judge(s);
}

void control::judge(server& s) {
    if (!s.looked) return;
    routing::backend const before = s.value;
    std::string trouble;
    bool const replica = s.value.role == routing::role::replica;
    bool const asked = config_->clusters.at(s.value.cluster).control.has_value();
    if (!s.look.reached)
        trouble = s.look.error.empty() ? "it cannot be reached" : s.look.error;
    else if (asked && replica && !s.look.in_recovery)
        trouble = "it is configured as a replica and is not in recovery: no reads go there";
    else if (asked && !replica && s.look.in_recovery)
        trouble = "it is configured as the primary and is in recovery: a standby";
    else if (!asked && replica)
        trouble =
            "no control role is configured for its cluster, so nobody can tell how fresh it is: no reads go "
            "there";
    s.value.healthy = trouble.empty();
    s.value.fresh_through = s.fresh.through();
    if (trouble != s.trouble) {
        std::string const address = config::format_endpoint(s.value.address);
        if (!trouble.empty())
            log::error("server {}: {}", address, trouble);
        else
            log::notice("server {}: healthy again", address);
        s.trouble = trouble;
    }
    if (before.healthy != s.value.healthy || before.fresh_through != s.value.fresh_through) publish_soon();
}

std::shared_ptr<routing::snapshot const> control::build() {
    auto made = std::make_shared<routing::snapshot>();
    made->number = ++snapshot_number_;
    made->config = config_;
    for (auto const& s : servers_) {
        made->backends.push_back(s->value);
        made->backends.back().frozen_for.reset();
    }
    for (auto const& s : sites_) {
        routing::maintenance_view view = s->machine->view();
        bool const replaying = closed_by_replay(*s) && view.mode == routing::mode::read_write;
        if (replaying) view.mode = routing::mode::reopening;
        routing::maintenance_record const& record = s->machine->record();
        routing::site site;
        site.id = s->id;
        site.settings = s->settings;
        site.mode = view.mode;
        site.epoch = view.epoch;
        site.generation = view.generation;
        site.frozen = view.frozen;
        site.fresh_floor = std::max(view.fresh_floor, s->journal.ended);
        site.fence = record.fence;
        if (replaying) {
            site.reason = "the maintenance is over, and writes that were put off are being made";
        } else if (view.mode != routing::mode::read_write) {
            site.reason = record.request.reason;
            site.until = routing::expected_end(record);
        }
        for (auto const& server : servers_) {
            if (server->value.cluster != s->settings->cluster) continue;
            if (server->value.role == routing::role::primary)
                site.primary = server->value.id;
            else
                site.replicas.push_back(server->value.id);
        }
        for (routing::replica_view const& r : view.replicas) {
            server const* const held = r.held ? find_server(r.address) : nullptr;
            if (!held) continue;
            routing::backend& backend = made->backends[static_cast<std::size_t>(held->value.id)];
            backend.frozen_for = s->id;
            if (!r.readable) backend.healthy = false;
        }
        for (std::string const& database : s->settings->databases) made->by_database[database] = s->id;
        for (std::string const& host : s->settings->hosts) made->by_host[ascii_lower(host)] = s->id;
        add_catalogs(*s, view, *made);
        made->sites.push_back(std::move(site));
    }
    return made;
}

std::uint64_t control::publish() {
    publish_due_ = false;
    settle_journals();
    snapshot_ = build();
    if (workers_)
        for (auto const& w : *workers_) w->publish(snapshot_);
    return snapshot_->number;
}

/// Several changes at once are one snapshot.
void control::publish_soon() {
    if (publish_due_ || stopping_) return;
    publish_due_ = true;
    boost::asio::post(io_, [this] {
        if (publish_due_ && !stopping_) publish();
    });
}

void control::report(worker_report r) {
    boost::asio::post(io_, [this, r = std::move(r)] { take_report(r); });
}

void control::take_report(worker_report const& r) {
    auto const worker = static_cast<std::size_t>(r.worker);
    for (site_load const& load : r.sites) {
        auto const index = static_cast<std::size_t>(load.site);
        if (index >= sites_.size() || worker >= workers_count_) continue;
        managed_site& s = *sites_[index];
        s.loads[worker] = load;
        std::size_t held = 0;
        for (site_load const& each : s.loads) held += each.held;
        s.counts.most_held = std::max(s.counts.most_held, held);
        if (s.machine->view().phase == routing::phase::sealed)
            s.counts.writers_while_sealed = std::max(s.counts.writers_while_sealed, load.writers);
        s.reported[worker] = r.snapshot_number;
        tell_fates(s);
        if (s.machine->view().phase == routing::phase::read_write && load.broken.empty()) continue;
        routing::event::worker_said said{worker, r.snapshot_number, load.writers, {}, load.broken};
        for (writer const& w : load.longest) said.who.push_back(one_line(w));
        feed(s, std::move(said));
    }
}

void control::find_secret(worker_id worker, std::uint64_t request, std::string cluster, std::string user) {
    boost::asio::post(io_, [this, worker, request, cluster = std::move(cluster), user = std::move(user)] {
        auto const index = static_cast<std::size_t>(worker);
        if (!workers_ || index >= workers_->size() || stopping_) return;
        worker_port& to = *(*workers_)[index];
        auto const at = finders_.find(cluster);
        if (at == finders_.end()) return to.secret_found(request, std::nullopt, "");
        at->second->find(user, [&to, request](std::optional<std::string> secret, std::string error) {
            to.secret_found(request, std::move(secret), std::move(error));
        });
    });
}

std::map<std::string, secret_answers> control::answers_of_auth_query() const {
    std::map<std::string, secret_answers> all;
    for (auto const& [cluster, finder] : finders_) all[cluster] = finder->answers();
    return all;
}

void control::doubt_secret(std::string cluster, std::string user) {
    boost::asio::post(io_, [this, cluster = std::move(cluster), user = std::move(user)] {
        if (auto const at = finders_.find(cluster); at != finders_.end()) at->second->doubt(user);
    });
}

void control::ask_console(worker_id worker, std::uint64_t request, console_command what, std::string user) {
    boost::asio::post(io_, [this, worker, request, what = std::move(what), user = std::move(user)] {
        if (console_) console_->ask(worker, request, what, user);
    });
}

void control::cancel_console(worker_id worker, std::uint64_t request) {
    boost::asio::post(io_, [this, worker, request] {
        if (console_) console_->cancel(worker, request);
    });
}

void control::suspect(routing::backend_id backend) {
    boost::asio::post(io_, [this, backend] {
        auto const index = static_cast<std::size_t>(backend);
        if (index < servers_.size() && servers_[index]->watch) servers_[index]->watch->hurry();
    });
}

}  // namespace lull
