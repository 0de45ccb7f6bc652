// A worker's surroundings without a worker: one site with a primary and a replica, and a clock that only
// moves when told. One thread.
#pragma once

#include "proxy/pg_session_core.hpp"
#include "routing/maintenance.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

namespace lull::wire {

inline constexpr routing::backend_id the_primary{0};
inline constexpr routing::backend_id the_replica{1};

class pg_world {
  public:
    pg_world() {
        config_.clusters["main"] = {.name = "main", .primary = {"db1", 5432}, .replicas = {{"db2", 5432}}};
        site_.name = "shop";
        site_.cluster = "main";
        site_.databases = {"shop"};
        flip(routing::mode::read_write);
    }

    config::config& configured() { return config_; }
    config::site& site() { return site_; }
    session_context& context() { return context_; }
    /// A rule by which something passes while the site is closed.
    bool lets_pass() const {
        return std::ranges::any_of(site_.write_rules, [](config::write_rule const& r) {
            return r.action == config::write_policy::pass;
        });
    }
    routing::mode mode() const { return mode_; }
    bool read_write() const { return mode_ == routing::mode::read_write; }
    routing::site const& current() const { return context_.snapshot->sites.front(); }

    /// Also makes what was changed in configured() and site() count. Whoever has sessions tells them.
    void flip(routing::mode to) {
        if (to != mode_) ++generation_;
        mode_ = to;
        publish();
    }
    /// As a worker that is handed a snapshot with this in it. Whoever has sessions tells them.
    void adopt(routing::maintenance_view const& view) {
        view_ = view;
        mode_ = view.mode;
        generation_ = view.generation;
        publish();
    }
    void set_replica_healthy(bool healthy) {
        replica_healthy_ = healthy;
        publish();
    }
    /// How far the replica is behind.
    void set_lag(std::chrono::milliseconds lag) {
        lag_ = lag;
        publish();
    }
    void pass(std::chrono::milliseconds time) {
        context_.now += time;
        publish();  // the replica keeps up
    }

    session_identity identity(bool migration = false) {
        session_identity who;
        who.database = "shop";
        who.user = "app";
        who.migration = migration;
        who.key_pid = ++keys_;
        who.key_secret = "abcd";
        return who;
    }

  private:
    void publish() {
        auto made = std::make_shared<routing::snapshot>();
        made->number = ++number_;
        made->config = std::make_shared<config::config const>(config_);
        routing::site s;
        s.settings = std::make_shared<config::site const>(site_);
        s.mode = mode_;
        s.generation = generation_;
        s.reason = "tests";
        s.primary = the_primary;
        s.replicas = {the_replica};
        made->sites.push_back(s);
        made->backends.resize(2);
        made->backends[0] = {
            .id = the_primary, .cluster = "main", .role = routing::role::primary, .healthy = true};
        made->backends[1] = {.id = the_replica,
                             .cluster = "main",
                             .role = routing::role::replica,
                             .healthy = replica_healthy_,
                             .fresh_through = context_.now - lag_};
        if (view_) {
            made->sites[0].epoch = view_->epoch;
            made->sites[0].frozen = view_->frozen;
            made->sites[0].fresh_floor = view_->fresh_floor;
            for (routing::replica_view const& r : view_->replicas) {
                if (!r.held) continue;
                made->backends[1].frozen_for = routing::site_id{0};
                if (!r.readable) made->backends[1].healthy = false;
            }
        }
        made->by_database["shop"] = routing::site_id{0};
        made->catalogs["shop"] = {.facts = facts_, .fresh = true};
        context_.snapshot = std::move(made);
    }

    /// One table, t, and functions that leave in their session what their names say.
    static std::shared_ptr<routing::catalog_facts const> make_facts() {
        routing::catalog_rows rows;
        routing::catalog_object t;
        t.oid = 16384;
        t.schema = "public";
        t.name = "t";
        t.is = routing::catalog_object::nature::harmless;
        rows.objects.push_back(t);
        for (auto const& [name, source] :
             {std::pair{"leaves_table", "begin create temp table m (a int); end"}, {"leaves_lock", "select pg_advisory_lock(1)"},
              {"leaves_cursor", "declare c cursor with hold for select 1"}, {"leaves_listen", "begin listen c; end"},
              {"leaves_prepared", "prepare p as select 1"}, {"leaves_setting", "select set_config('a.b', $1, false)"},
              {"leaves_library", "load 'x'"}, {"leaves_nothing", "select set_config('a.b', $1, true)"},
              {"leaves_two", "select leaves_lock(), leaves_table()"}}) {
            routing::catalog_object& f = rows.objects.emplace_back(t);
            f.what = routing::catalog_object::kind::function;
            f.oid = static_cast<std::uint32_t>(16384 + rows.objects.size());
            f.name = name;
            f.is = routing::catalog_object::nature::unknown;
            f.source = source;
        }
        return routing::catalog_facts::make(rows, {});
    }

    std::shared_ptr<routing::catalog_facts const> facts_ = make_facts();
    config::config config_;
    config::site site_;
    routing::mode mode_ = routing::mode::read_write;
    std::optional<routing::maintenance_view> view_;
    std::uint64_t number_ = 0;
    std::uint64_t generation_ = 0;
    bool replica_healthy_ = true;
    std::chrono::milliseconds lag_{0};
    std::int32_t keys_ = 0;
    routing::sql_classifier classifier_{{.cache_seed = 1}};
    prepared_store statements_;
    setting_interner settings_;
    hold_ledger holds_;
    greeting_book greetings_;
    session_context context_{.now = routing::instant{} + std::chrono::hours(1),
                             .classifier = classifier_,
                             .statements = statements_,
                             .settings = settings_,
                             .holds = holds_,
                             .greetings = greetings_};
};

}  // namespace lull::wire
