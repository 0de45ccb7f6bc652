// The control thread's half of Lull: it owns the maintenance machines, the servers' health, the configuration
// in force and the snapshot that workers decide from. One thread, one io_context; worker_port and
// control_port are the only ways across. Owned by serve().
//
//   probes ──looks──►┐                         ┌──snapshot──► workers
//   workers ─reports►┤ machine per site, health├──records──► state file (before the snapshot)
//   admin ───orders─►┘                         └──orders───► probes: pause, resume, positions
#pragma once

#include "proxy/admin.hpp"
#include "proxy/ports.hpp"
#include "proxy/probes.hpp"
#include "proxy/secrets.hpp"
#include "proxy/state_file.hpp"
#include "routing/backends.hpp"
#include "routing/maintenance.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lull {

class control final : public control_port, public admin_desk {
  public:
    using worker_list = std::vector<std::unique_ptr<worker_port>>;

    /// Takes up the windows that `state` tells of. `io` and `state` outlive it.
    control(boost::asio::io_context& io, std::shared_ptr<config::config const> configuration,
            state_file& state, std::size_t workers);
    ~control();

    /// Runs `io` until each server was looked at, or `patience` is over: the first snapshot should know who
    /// is there.
    void look_around(std::chrono::milliseconds patience);
    [[nodiscard]] std::shared_ptr<routing::snapshot const> snapshot() const { return published_; }
    /// The workers decide from snapshot() already. From here on changes are posted to them.
    void start(worker_list& workers);

    // control_port: any thread
    void report(worker_report) override;
    void find_secret(worker_id, std::uint64_t request, std::string cluster, std::string user) override;
    void suspect(routing::backend_id) override;

    // admin_desk: control thread
    admin_answer status() override;
    admin_answer sites() override;
    admin_answer site(std::string const& name) override;
    admin_answer migration(std::string const& site) override;
    admin_answer effective_config() override;
    admin_answer begin(std::string const& site, nlohmann::json const& request) override;
    admin_answer finish(std::string const& site) override;
    admin_answer reload() override;

  private:
    struct server {
        routing::backend_id id{};
        std::string cluster;
        config::endpoint address;
        routing::role role = routing::role::primary;
        std::unique_ptr<lull::probe> probe;
        bool looked_at = false;
        bool healthy = false;
        std::string problem;  // why not
        routing::lsn position{};
        routing::freshness fresh;  // replicas
    };
    struct site_entry {
        site_entry(std::shared_ptr<config::site const> s, std::size_t workers);
        std::shared_ptr<config::site const> settings;
        routing::maintenance machine;
        std::vector<site_load> loads;  // by worker
    };

    // control.cpp
    void add_servers(config::cluster const&);
    site_entry& add_site(std::string const& name);
    void restart_machine(site_entry&, routing::maintenance_record, bool adopt_paused);
    void take_report(worker_report const&);
    void tick();
    void arm_tick();
    // control_machine.cpp
    void feed(site_entry&, routing::maintenance_event const&);
    void carry_out(site_entry&, routing::effect::ask_primary const&);
    void carry_out(site_entry&, routing::effect::ask_replica const&);
    std::string persist(std::string const& site, routing::maintenance_record const&);
    void tell(site_entry&, routing::effect::say const&);
    void audit(nlohmann::json line);
    // control_servers.cpp
    void looked(std::size_t server, server_look const&);
    void set_health(server&, bool healthy, std::string problem);
    void publish();
    server* find_server(std::string const& cluster, std::string const& address);
    server& primary_of(site_entry const&);
    std::vector<server*> replicas_of(site_entry const&);
    std::vector<std::string> healthy_replicas(site_entry const&, bool free_only);
    // control_desk.cpp, control_status.cpp
    site_entry* find_site(std::string const& name);
    nlohmann::json describe(site_entry&);
    nlohmann::json describe(server const&);
    admin_answer answer(site_entry&, int while_under_way);

    boost::asio::io_context& io_;
    state_file& state_;
    std::shared_ptr<config::config const> config_;
    std::size_t const worker_count_;
    std::vector<std::unique_ptr<server>> servers_;             // indexed by backend_id
    std::vector<std::unique_ptr<site_entry>> sites_;           // indexed by site_id
    std::map<std::string, std::unique_ptr<secrets>> secrets_;  // by cluster
    maintenance_records records_;  // as on the disk; also of sites no longer configured
    std::shared_ptr<routing::snapshot const> published_;
    std::uint64_t snapshots_ = 0;
    bool stale_ = false;  // something moved that the next tick should publish
    bool audit_broken_ = false;
    worker_list* workers_ = nullptr;
    boost::asio::steady_timer timer_;
    routing::wall_time const started_ = std::chrono::system_clock::now();
    std::chrono::steady_clock::time_point const started_at_ = std::chrono::steady_clock::now();
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// "127.0.0.1:5432", "[::1]:5432": how servers are named to people and in the state file.
std::string name_of(config::endpoint const&);
/// RFC 3339, UTC, with milliseconds.
std::string rfc3339(routing::wall_time);

}  // namespace lull
