// The configuration as plain values with their defaults. No parsing here: load.hpp fills it,
// validate.hpp judges it. Read-only once loaded; shared by all threads as shared_ptr<config const>.
#pragma once

#include "config/access.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lull::config {

using milliseconds = std::chrono::milliseconds;

struct endpoint {
    std::string host;  // name, IPv4 or IPv6 without brackets; of a server also /DIRECTORY of a Unix socket
    std::uint16_t port = 0;
    friend bool operator==(endpoint const&, endpoint const&) = default;
};

/// What happens to a write while its site is sealed.
///   discard  answered as if it had run, and dropped
///   journal  answered as if it had run, kept on disk, and run when the window is over
///   pass     run all the same: only what stores nothing
enum class write_policy : std::uint8_t { refuse, hold, discard, journal, pass };

/// What happens to transactions that still write when the drain timeout passes.
enum class on_deadline : std::uint8_t { wait, cancel, terminate, abort };

/// `auto` freezes where the cluster has a replica; `off` never does.
enum class freeze_policy : std::uint8_t { automatic, off };

/// What a call may become of while the site is sealed when nobody knows that the function only reads.
/// `server`: it runs where the server refuses to write, and is rolled back; `refuse`: it is refused.
enum class function_policy : std::uint8_t { server, refuse };

/// `discard` answers NOTIFY as PostgreSQL would, and delivers it to nobody.
enum class notify_policy : std::uint8_t { refuse, discard };

/// Temporary tables that a session had before the site was closed. `write`: it may go on writing to them, and that
/// is committed.
enum class temporary_policy : std::uint8_t { refuse, write };

/// Roles whose rights reach past what a READ ONLY transaction stops: superusers and their like.
enum class privileged_policy : std::uint8_t { serve, refuse };

/// The SQLSTATE of a refusal.
enum class refusal_code : std::uint8_t { read_only, cannot_connect_now, not_in_prerequisite_state };
/// The same for one user.
enum class user_refusal_code : std::uint8_t { as_site, read_only, cannot_connect_now, not_in_prerequisite_state };

/// How long a client keeps its server: to its end, for a transaction, or for a statement, without transaction blocks.
enum class pool_mode : std::uint8_t { session, transaction, statement };
/// The same for one user.
enum class user_pool_mode : std::uint8_t { as_site, session, transaction, statement };

/// Whether those who go past Lull are kept from writing by the server itself. `required`: without it a site is not
/// sealed; `wanted`: it is, and that is said. `automatic`: required where the cluster has a login for it, else off.
enum class fence_policy : std::uint8_t { automatic, required, wanted, off };

/// What becomes of sealing where prepared transactions are open, which nobody can end but who commits them or
/// rolls them back.
enum class prepared_policy : std::uint8_t { report, wait, refuse };

inline constexpr std::size_t most_peer_id = 31;  // a cancel key names the process in 5 bits

/// Another Lull on this host that has the same port: the kernel may give it a CancelRequest that is meant for us.
struct peer {
    std::size_t id = 0;
    endpoint address;
    friend bool operator==(peer const&, peer const&) = default;
};

struct listeners {
    std::optional<endpoint> postgres;
    std::optional<endpoint> migration;
    std::optional<endpoint> http;
    std::string unix_socket_directory;  // empty: none. .s.PGSQL.PORT in it, beside each PostgreSQL port
    std::string unix_socket_permissions = "0777";
    std::vector<std::string> proxy_protocol;  // networks whose connections begin with a PROXY header
    std::vector<ip_network> proxy_networks;   // the same; fill_defaults() makes them
    std::optional<endpoint> metrics;
    bool reuse_port = false;
    std::size_t peer_id = 0;  // among the peers; 0: none
    std::vector<peer> peers;  // without this process
    friend bool operator==(listeners const&, listeners const&) = default;
};

/// A role that Lull itself logs in with, over libpq.
struct login_role {
    std::string user;
    std::string password;  // secret
    std::string database = "postgres";
    friend bool operator==(login_role const&, login_role const&) = default;
};

struct auth_query {
    login_role role;
    std::string query = "SELECT rolname, rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1 AND rolcanlogin "
                        "AND (rolvaliduntil IS NULL OR rolvaliduntil > now())";
    milliseconds cache_time{10'000};  // 0: asked at each login
    friend bool operator==(auth_query const&, auth_query const&) = default;
};

struct cluster {
    std::string name;
    endpoint primary;
    std::vector<endpoint> replicas;
    std::optional<login_role> control;  // probes, proof of sealing, pause and resume of replay
    std::optional<login_role> fence;    // may set default_transaction_read_only and end sessions
    std::optional<lull::config::auth_query> auth_query;
    server_tls tls;
    milliseconds probe_interval{100};
    milliseconds max_replica_lag{10'000};  // further behind: no reads from it
    milliseconds catalog_interval{1000};   // how often it is asked whether a catalog has changed
    std::size_t pool_size = 20;            // server connections per (server, database, user), all workers together
    std::size_t max_db_connections = 0;    // to a server for a database, of all users; 0: no limit of its own
    std::size_t max_user_connections = 0;  // to a server for a user, in all databases; 0: likewise
    std::size_t reserve_pool_size = 0;     // so many more, when a client has waited for reserve_pool_timeout
    milliseconds reserve_pool_timeout{5'000};
    milliseconds server_idle_timeout{600'000};   // unused connections are closed after it
    milliseconds server_lifetime{3'600'000};     // older ones are closed when they are free
    friend bool operator==(cluster const&, cluster const&) = default;
};

/// A request that may pass while the site is sealed although its method is unsafe: it only reads.
struct http_rule {
    std::vector<std::string> methods;  // empty: any
    std::string path;                  // glob: `*` within a segment, `**` across
    bool allow = true;                 // false: refuse it, although safe
    friend bool operator==(http_rule const&, http_rule const&) = default;
};

/// What happens to the writes that it fits; an empty matcher fits all. Of several the first that fits decides.
struct write_rule {
    std::vector<std::string> users;         // globs: `*` for anything
    std::vector<std::string> applications;  // globs, of application_name
    std::vector<std::string> statements;    // names of routing::statement_class
    std::vector<std::string> tables;        // globs, of all tables that are written: "name" or "schema.name"
    write_policy action = write_policy::refuse;
    friend bool operator==(write_rule const&, write_rule const&) = default;
};

struct hold_limits {
    std::size_t max_count = 1000;
    std::size_t max_bytes = 64 * 1024 * 1024;
    milliseconds max_age{60'000};
    std::size_t release_per_second = 200;  // when the window is over
    friend bool operator==(hold_limits const&, hold_limits const&) = default;
};

/// How a sealed site is guarded beyond what READ ONLY refuses.
struct guard {
    function_policy functions = function_policy::server;
    std::vector<std::string> allow_functions;  // "name", "schema.name" or "schema.*": they change nothing
    std::vector<std::string> deny_functions;   // beside those that are always refused
    notify_policy notify = notify_policy::refuse;
    temporary_policy temporary_tables = temporary_policy::refuse;
    privileged_policy privileged = privileged_policy::serve;
    friend bool operator==(guard const&, guard const&) = default;
};

/// Commands for the turns of a window: a program and its arguments, no shell. Empty: none.
struct window_hooks {
    std::vector<std::string> on_enter;    // no new writes any more; writes in flight may go on
    std::vector<std::string> on_sealed;
    std::vector<std::string> on_exit;     // writes are open again, also where entering came to nothing
    std::vector<std::string> on_overdue;  // past its expected end, or its lease has ended; again and again
    milliseconds timeout{30'000};
    friend bool operator==(window_hooks const&, window_hooks const&) = default;
};

struct journal_limits {
    std::size_t max_count = 10'000;
    std::size_t max_bytes = 64 * 1024 * 1024;  // of the file
    milliseconds replay_timeout{300'000};      // then the site opens without the rest
    friend bool operator==(journal_limits const&, journal_limits const&) = default;
};

struct site {
    std::string name;
    std::string cluster;
    std::vector<std::string> databases;
    std::vector<std::string> hosts;
    std::vector<endpoint> upstreams;
    std::vector<std::string> migration_users;  // who may use the migration port; empty: everyone who can log in
    lull::config::pool_mode pool_mode = lull::config::pool_mode::transaction;
    write_policy writes = write_policy::refuse;
    std::vector<write_rule> write_rules;
    hold_limits hold;
    lull::config::guard guard;
    lull::config::refusal_code refusal_sqlstate = refusal_code::read_only;
    journal_limits journal;
    std::vector<http_rule> http_rules;
    freeze_policy freeze = freeze_policy::automatic;
    bool report_read_only = true;  // ParameterStatus default_transaction_read_only follows the mode
    milliseconds drain_timeout{30'000};
    lull::config::on_deadline on_deadline = lull::config::on_deadline::wait;
    milliseconds seal_timeout{60'000};  // from drained to sealed: proof, replicas, freeze
    fence_policy fence = fence_policy::automatic;
    prepared_policy prepared = prepared_policy::report;
    milliseconds overdue_again{60'000};  // how often an overdue window is told of
    window_hooks hooks;
    milliseconds retry_after{30'000};   // HTTP Retry-After where no end is announced
    friend bool operator==(site const&, site const&) = default;
};

/// What holds for one database or one user in place of what `limits` and its cluster say; nothing: as those.
struct overrides {
    std::optional<milliseconds> query_wait_timeout;
    std::optional<milliseconds> statement_timeout;
    std::optional<milliseconds> transaction_timeout;
    std::optional<milliseconds> idle_in_transaction_timeout;
    std::optional<milliseconds> idle_session_timeout;
    std::optional<std::size_t> max_clients;
    std::optional<std::size_t> max_connections;  // to each server, all its pools together
    std::optional<std::size_t> pool_size;
    friend bool operator==(overrides const&, overrides const&) = default;
};

struct database {
    std::string name;
    user_pool_mode pool_mode = user_pool_mode::as_site;
    overrides own;
    friend bool operator==(database const&, database const&) = default;
};

struct user {
    std::string name;
    std::string password;         // secret: plain text, or a SCRAM-SHA-256$... verifier; empty: by auth_query
    std::string server_password;  // secret; empty: `password`, or the client's own SCRAM keys
    user_refusal_code refusal_sqlstate = user_refusal_code::as_site;
    user_pool_mode pool_mode = user_pool_mode::as_site;
    overrides own;
    friend bool operator==(user const&, user const&) = default;
};

struct limits {
    std::size_t max_clients = 5000;               // PostgreSQL sessions
    std::size_t max_clients_per_user = 0;         // 0: no limit of its own, here and in the next two
    std::size_t max_clients_per_database = 0;
    std::size_t max_clients_per_address = 0;
    std::size_t max_http_clients = 5000;
    std::size_t max_waiting_clients = 5000;       // for a server connection, all pools together
    milliseconds query_wait_timeout{120'000};
    milliseconds login_timeout{60'000};
    milliseconds statement_timeout{0};            // 0: none, here and in the next three
    milliseconds transaction_timeout{0};
    milliseconds shutdown_timeout{30'000};  // from SIGTERM to the end of sessions that are still there
    milliseconds cancel_timeout{30'000};  // from a time-out's cancel to the end of the server connection
    milliseconds idle_in_transaction_timeout{0};
    milliseconds idle_session_timeout{0};
    std::size_t max_failed_logins = 30;           // by address and user, in the window; 0: no limit
    milliseconds failed_login_window{60'000};
    std::size_t max_failed_login_entries = 10'000;
    milliseconds connect_timeout{10'000};         // to a server or an upstream
    milliseconds server_login_retry{1'000};       // none is begun for so long behind a login that a server refused; 0: at once
    milliseconds server_check_delay{30'000};      // a server connection unheard of for so long is checked; 0: before each lending
    std::string server_check_query = ";";         // with this; "off": none is
    milliseconds server_check_timeout{5'000};
    milliseconds dns_max_ttl{15'000};             // names of servers and upstreams are looked up again after it
    milliseconds tcp_keepalives_idle{60'000};     // of PostgreSQL clients and servers, here and in the next three
    milliseconds tcp_keepalives_interval{10'000};
    std::size_t tcp_keepalives_count = 6;
    milliseconds tcp_user_timeout{0};             // 0: the system's
    std::size_t max_statement_bytes = 1024 * 1024;  // Parse; a Query past max_parse_bytes is streamed
    std::size_t max_parse_bytes = 16 * 1024;      // longer text is not parsed: unknown, therefore a write
    std::size_t max_prepared_statements = 1000;   // per client
    std::size_t max_prepared_bytes = 16 * 1024 * 1024;  // of their texts, likewise; and per server connection
    std::size_t max_server_prepared_statements = 200;  // per server connection
    std::size_t max_catalog_objects = 50'000;  // functions and relations of a database: with more, its catalog is not read
    std::size_t max_listen_channels = 1000;       // that the clients of one database listen to, all together
    std::size_t max_notification_bytes = 1024 * 1024;  // that wait for one client
    std::size_t max_pipeline = 4096;              // messages that a client may have unanswered
    std::size_t max_http_head_bytes = 32 * 1024;
    std::size_t max_http_headers = 100;
    milliseconds http_head_timeout{30'000};
    milliseconds http_idle_timeout{75'000};
    friend bool operator==(limits const&, limits const&) = default;
};

/// Who may open the database that answers SHOW, PAUSE and MAINTENANCE; nobody: it does not exist.
struct console {
    std::string database = "lull";
    std::vector<std::string> admins;
    std::vector<std::string> stats;  // SHOW only
    milliseconds pause_timeout{30'000};
    friend bool operator==(console const&, console const&) = default;
};

enum class log_format : std::uint8_t { text, json };
enum class log_level : std::uint8_t { debug, info, notice, warning, error };

struct logging {
    log_format format = log_format::text;
    log_level level = log_level::info;
    milliseconds slow_query{0};         // 0: none is logged for being slow
    std::size_t sample = 0;             // one of so many statements; 0: none
    std::size_t statements_per_second = 50;  // slow and sampled ones together, all workers together
    friend bool operator==(logging const&, logging const&) = default;
};

struct config {
    std::string file;  // where it came from
    listeners listen;
    auth_method auth = auth_method::scram_sha_256;  // of all clients, where there are no rules
    std::string hba_file;
    std::vector<std::string> hba;     // the lines in place of a file
    std::vector<hba_rule> hba_rules;  // of one or the other; read_hba() makes them
    lull::config::client_tls client_tls;
    std::string admin_socket = "/run/lull/admin.sock";
    std::string state_dir = "/var/lib/lull";
    std::size_t workers = 0;  // 0: one a core
    std::map<std::string, cluster> clusters;
    std::map<std::string, site> sites;
    std::map<std::string, user> users;
    std::map<std::string, database> databases;  // those with something of their own
    lull::config::limits limits;
    lull::config::console console;
    logging log;
    /// Whether rules decide; if so and there are none, nobody comes in.
    bool has_hba() const { return !hba_file.empty() || !hba.empty(); }
    friend bool operator==(config const&, config const&) = default;
};

}  // namespace lull::config
