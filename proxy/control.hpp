// The control thread's half of Lull: it owns the maintenance machines, the servers' health, the configuration
// in force and the snapshot that workers decide from. One thread, one io_context; worker_port and
// control_port are the only ways across. Owned by serve().
//
//   probes ──looks──►┐                         ┌──snapshot──► workers
//   workers ─reports►┤ machine per site, health├──records──► state file (before the snapshot)
//   admin ───orders─►┘                         └──orders───► probes: pause, resume, positions
#pragma once

#include "proxy/admin.hpp"
#include "proxy/catalog_watch.hpp"
#include "proxy/channel_watch.hpp"
#include "proxy/fence.hpp"
#include "proxy/hooks.hpp"
#include "proxy/journal_replay.hpp"
#include "proxy/journal_rights.hpp"
#include "proxy/journal_show.hpp"
#include "proxy/journals.hpp"
#include "proxy/login_book_core.hpp"
#include "proxy/ports.hpp"
#include "proxy/probes.hpp"
#include "proxy/secret_finder.hpp"
#include "proxy/state_file.hpp"
#include "proxy/tls_context.hpp"
#include "routing/backends.hpp"
#include "routing/maintenance.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <nlohmann/json.hpp>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lull {

class console_desk;

class control final : public control_port, public admin_desk, private channel_audience {
  public:
    /// Starts probing and takes up the windows that `state` tells of. `io` and `state` outlive it.
    control(boost::asio::io_context& io, std::shared_ptr<config::config const> config,
            std::shared_ptr<tls_keyring const> keyring, std::size_t workers, state_file& state);
    ~control();

    /// What the workers are to start with.
    std::shared_ptr<routing::snapshot const> first_snapshot();
    /// From here on changes are posted to them. They outlive stop().
    void start(std::vector<std::unique_ptr<worker_port>>& workers);
    /// What the workers decide from now.
    std::shared_ptr<routing::snapshot const> current() const { return snapshot_; }
    /// Ends the probes; nothing is decided any more. Windows stay as they are on the disk.
    void stop();

    // control_port: any thread
    void report(worker_report r) override;
    void find_secret(worker_id worker, std::uint64_t request, std::string cluster, std::string user) override;
    void doubt_secret(std::string cluster, std::string user) override;
    /// By cluster. Control thread.
    std::map<std::string, secret_answers> answers_of_auth_query() const;
    void suspect(routing::backend_id backend) override;
    std::shared_ptr<tls_keyring const> tls() override { return tls_.get(); }
    void ask_console(worker_id worker, std::uint64_t request, console_command what, std::string user) override;
    void cancel_console(worker_id worker, std::uint64_t request) override;
    void log_statements(std::vector<finished_query> queries, std::size_t more) override;
    /// It outlives the running of the io_context.
    void set_console(console_desk& desk) { console_ = &desk; }
    void keep(routing::site_id site, journal_entry entry, server_credentials const& credentials,
              std::function<void(journal_outcome)> then) override;
    void logged_in(routing::site_id site, std::string const& user,
                   server_credentials const& credentials) override;
    void listen(worker_id worker, std::string const& cluster, channel_wish const& wish) override;
    void unlisten(worker_id worker, std::string const& cluster, std::string const& database,
                  std::string const& channel) override;

    // admin_desk: control thread
    admin_answer status() override;
    admin_answer sites() override;
    admin_answer site(std::string const& name) override;
    admin_answer migration(std::string const& site) override;
    admin_answer journal(std::string const& site, bool all) override;
    admin_answer run_journal(std::string const& site) override;
    admin_answer effective_config() override;
    admin_answer begin(std::string const& site, nlohmann::json const& request) override;
    admin_answer finish(std::string const& site, std::string const& as, bool all) override;
    admin_answer renew(std::string const& site, nlohmann::json const& request) override;
    void verify(std::string const& site, std::function<void(admin_answer)> then) override;
    admin_answer reload() override;

  private:
    struct server {
        routing::backend value;  // as snapshots have it, but for what windows hold of it
        server_look look;        // the last
        bool looked = false;
        std::string trouble;  // why it is not healthy
        routing::freshness fresh;
        std::unique_ptr<probe> watch;
    };
    enum class journal_state : std::uint8_t {
        found,   // as a process before us left it
        open,    // takes entries
        closed,  // what it had is run
    };
    struct managed_site {
        routing::site_id id{};
        std::string name;
        std::shared_ptr<config::site const> settings;
        std::unique_ptr<routing::maintenance> machine;
        std::vector<site_load> loads;  // by worker
        std::vector<std::uint64_t> reported;  // by worker: the snapshot that its load is of
        bool closed = false;
        write_fates before;  // as the window began
        std::optional<std::uint64_t> opened_by;  // the snapshot: its counts are still to be told
        std::deque<routing::maintenance_event> events;
        bool feeding = false;
        std::map<std::string, std::shared_ptr<routing::catalog_facts const>> frozen_catalogs;  // by database
        struct {  // since the window began, or since this process did
            std::uint64_t refused_before = 0;
            std::size_t most_held = 0;
            std::size_t writers_while_sealed = 0;  // of a worker, at most: there must be none
        } counts;
        std::string verified;                        // the verdict that the audit file has last
        std::string proof;                           // of the last window; empty: not asked for since we started
        std::map<std::string, hook_outcome> hooked;  // by name: how the last call ended
        std::unique_ptr<hook_runner> hooks;
        struct {
            journal_state what = journal_state::found;
            std::unique_ptr<journal_replay> replay;
            bool beside = false;      // the replay is of a kept file, and the site is open meanwhile
            routing::instant ended;   // the last replay: reads must have seen what it wrote
            std::uint64_t replays = 0;
            std::optional<replay_report> last;
            std::string last_file;  // what of it is kept
            routing::wall_time last_ended;
            std::string problem;  // of the file
        } journal;
    };
    struct known_catalog {
        catalog_look look;  // the last that found facts, with the trouble of the last
        std::optional<routing::instant> wanted_since;  // facts from before are stale
    };

    // control.cpp: machines and what they want
    void add_server(std::string const& cluster, config::endpoint const& where, routing::role role);
    managed_site& add_site(config::site const& settings);
    static routing::maintenance::timing timing_of(config::site const& settings);
    void restart_site(managed_site& s, state_file::loaded const& stored);
    routing::moment now() const;
    void tick();
    void arm_tick();
    void feed(managed_site& s, routing::maintenance_event event);
    void carry_out(managed_site& s, routing::maintenance_effect const& effect);
    void persist(managed_site& s, routing::maintenance_record const& record);
    void note_databases();
    void say(managed_site& s, routing::effect::say const& what);
    // control_audit.cpp: the record for later
    nlohmann::json audit_line(managed_site& s, routing::effect::say const& what);
    void audit(nlohmann::json line);
    void call_hook(managed_site& s, routing::effect::turn turn);
    void hook_ended(managed_site& s, hook_outcome const& outcome);
    void ask_primary(managed_site& s, routing::effect::ask_primary const& what);
    void ask_fence(managed_site& s, routing::effect::ask_fence const& what);
    config::fence_policy fence_of(managed_site const& s) const;
    void ask_replica(managed_site& s, routing::effect::ask_replica const& what);
    server* find_server(std::string const& address);
    server& primary_of(managed_site const& s);
    server const* who_lacks_rights(managed_site const& s, std::vector<std::string> const& to_freeze);
    bool provable(managed_site const& s) const;
    std::vector<std::string> freezable(managed_site const& s) const;
    std::vector<std::string> healthy_replicas(managed_site const& s) const;
    // control_watch.cpp: servers, snapshots, workers
    void looked(server& s, server_look const& look);
    void judge(server& s);
    std::shared_ptr<routing::snapshot const> build();
    std::uint64_t publish();
    void publish_soon();
    void take_report(worker_report const& r);
    // control_catalog.cpp
    void watch_catalogs();
    void catalog_looked(catalog_look const& look);
    void add_catalogs(managed_site& s, routing::maintenance_view const& view, routing::snapshot& made);
    nlohmann::json describe_catalogs(managed_site const& s) const;
    // control_channels.cpp; the audience: the listener's thread
    void start_listeners();
    void channel_answered(std::size_t worker, channel_answer answer) override;
    void notified(std::size_t worker, std::string const& database, std::vector<notification> what) override;
    void channels_lost(std::size_t worker, std::string const& database) override;
    // control_window.cpp: windows begin, go on and end
    std::string why_not_freezable(managed_site const& s) const;
    // control_journal.cpp: when journals take entries, and their replay
    void load_journal(managed_site& s);
    void refuse_to_leave_journals(std::map<std::string, std::string> const& adopted);
    void share_settings();
    replay_server replays_to(managed_site const& s);
    void ask_for_rights(managed_site& s);
    void settle_journals();
    void start_replay(managed_site& s, journal_contents contents);
    void replayed(managed_site& s, replay_report const& report);
    void end_replay(managed_site& s);
    void reload_broken_journal(managed_site& s);
    std::vector<journals::stray> stray_journals() const;
    void shout_about_strays() const;
    admin_answer stray_journal(std::string const& name, shown_most most);
    /// The window is over but for its journal.
    static bool closed_by_replay(managed_site const& s) { return s.journal.replay && !s.journal.beside; }
    std::optional<server_credentials> credentials_of(routing::site_id site, std::string const& user);
    nlohmann::json describe_journal(managed_site& s);
    write_fates fates_of(managed_site const& s) const;
    void watch_window(managed_site& s);
    void prove(std::string const& site);
    void tell_fates(managed_site& s);
    // control_desk.cpp: what operators ask
    managed_site* find_site(std::string const& name);
    admin_answer unknown_site(std::string const& name);
    nlohmann::json describe(managed_site& s);
    admin_answer answer_for(managed_site& s, bool over);

    boost::asio::io_context& io_;
    std::shared_ptr<config::config const> config_;
    std::size_t const workers_count_;
    state_file& state_;
    boost::asio::steady_timer timer_;
    bool resting_ = false;  // no site needs a tick soon
    tls_shelf tls_;
    maintenance_records records_;                       // as on the disk; also of sites no longer configured
    std::vector<std::unique_ptr<server>> servers_;      // indexed by backend_id
    std::vector<std::unique_ptr<managed_site>> sites_;  // indexed by site_id
    std::map<std::string, std::unique_ptr<secret_finder>> finders_;  // by cluster
    std::map<std::string, std::unique_ptr<fence_keeper>> fences_;    // likewise
    std::map<std::string, std::unique_ptr<catalog_watch>> catalog_watches_;  // by cluster
    std::map<std::string, std::unique_ptr<channel_watch>> listeners_;  // by cluster; those with a control role
    std::map<std::string, known_catalog> catalogs_;                          // by database
    std::vector<std::unique_ptr<worker_port>>* workers_ = nullptr;
    std::shared_ptr<routing::snapshot const> snapshot_;
    std::uint64_t snapshot_number_ = 0;
    console_desk* console_ = nullptr;
    bool publish_due_ = false;
    bool stopping_ = false;
    // Shared with workers and replays.
    std::mutex shared_;
    std::vector<std::string> site_names_;  // indexed by site_id
    std::vector<std::shared_ptr<config::site const>> site_settings_;
    std::vector<replay_server> primaries_;
    login_book logins_{10'000};
    std::map<std::string, server_credentials> configured_;  // by user
    std::atomic<bool> said_no_more_logins_ = false;
    journals journals_;      // the last two: nothing of the above may be gone when they call back
    journal_rights rights_;
};

/// RFC 3339, UTC, with milliseconds.
std::string rfc3339(routing::wall_time t);

}  // namespace lull
