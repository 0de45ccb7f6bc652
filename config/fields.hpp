// The one list of all keys: what each is called in YAML, which member it fills, its bounds and its sentence.
// The reader, the printer, the differ and the list of keys all walk it, so that none can forget a key. For
// config/*.cpp only.
//
// A visitor has: field(key, member, spec) for text, counts, times, addresses, lists and choices; flag(key,
// bool, yes, no, spec); section(key, fn); optional_section(key, optional, about, fn(element)); named(key,
// map, about, kind, fn(element)); list(key, vector, about, fn(element, visitor)).
#pragma once

#include "config/model.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lull::config {

/// What one key may hold and means.
struct spec {
    std::string_view about;
    std::uint64_t least = 0;  // of counts, bytes, milliseconds
    std::uint64_t most = UINT64_MAX;
    std::size_t longest = 4096;  // of a text, in bytes
    bool required = false;
    bool restart = false;            // a change takes effect with the next start
    bool at_login = false;           // a client has it as it was when it logged in
    bool secret = false;             // never shown
    bool bytes = false;              // a size, not a count
    bool path = false;               // of a file; a relative one begins at the folder of the configuration.
                                     // Of an address: may be /DIRECTORY:PORT
    std::string_view note = {};      // the default in words, where the value cannot say it
    std::string_view example = {};   // for fixes
    std::string_view file_key = {};  // of a secret: the key that names a file instead
};

enum class name_kind : std::uint8_t { word, role };

template <class E>
struct choice {
    std::string_view name;
    E value;
};

inline constexpr std::array<choice<auth_method>, 5> auth_methods{
    {{"scram-sha-256", auth_method::scram_sha_256},
     {"md5", auth_method::md5},
     {"password", auth_method::password},
     {"cert", auth_method::cert},
     {"trust", auth_method::trust}}};
inline constexpr std::array<choice<freeze_policy>, 2> freeze_policies{
    {{"auto", freeze_policy::automatic}, {"off", freeze_policy::off}}};
inline constexpr std::array<choice<fence_policy>, 4> fence_policies{{{"auto", fence_policy::automatic},
                                                                     {"required", fence_policy::required},
                                                                     {"wanted", fence_policy::wanted},
                                                                     {"off", fence_policy::off}}};
inline constexpr std::array<choice<prepared_policy>, 3> prepared_policies{
    {{"report", prepared_policy::report},
     {"wait", prepared_policy::wait},
     {"refuse", prepared_policy::refuse}}};
inline constexpr std::array<choice<on_deadline>, 4> deadline_choices{{{"wait", on_deadline::wait},
                                                                      {"cancel", on_deadline::cancel},
                                                                      {"terminate", on_deadline::terminate},
                                                                      {"abort", on_deadline::abort}}};
inline constexpr std::array<choice<refusal_code>, 3> refusal_codes{
    {{"25006", refusal_code::read_only},
     {"57P03", refusal_code::cannot_connect_now},
     {"55000", refusal_code::not_in_prerequisite_state}}};
inline constexpr std::array<choice<user_refusal_code>, 4> user_refusal_codes{
    {{"site", user_refusal_code::as_site},
     {"25006", user_refusal_code::read_only},
     {"57P03", user_refusal_code::cannot_connect_now},
     {"55000", user_refusal_code::not_in_prerequisite_state}}};

inline constexpr std::array<choice<pool_mode>, 3> pool_modes{
    {{"session", pool_mode::session}, {"transaction", pool_mode::transaction}, {"statement", pool_mode::statement}}};
inline constexpr std::array<choice<user_pool_mode>, 4> user_pool_modes{{{"site", user_pool_mode::as_site},
                                                                       {"session", user_pool_mode::session},
                                                                       {"transaction", user_pool_mode::transaction},
                                                                       {"statement", user_pool_mode::statement}}};

constexpr auto const& choices_of(pool_mode) {
    return pool_modes;
}
constexpr auto const& choices_of(user_pool_mode) {
    return user_pool_modes;
}
constexpr auto const& choices_of(auth_method) {
    return auth_methods;
}
constexpr auto const& choices_of(freeze_policy) {
    return freeze_policies;
}
constexpr auto const& choices_of(fence_policy) {
    return fence_policies;
}
constexpr auto const& choices_of(prepared_policy) {
    return prepared_policies;
}
constexpr auto const& choices_of(on_deadline) {
    return deadline_choices;
}
constexpr auto const& choices_of(refusal_code) {
    return refusal_codes;
}
constexpr auto const& choices_of(user_refusal_code) {
    return user_refusal_codes;
}

inline constexpr std::uint64_t second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
inline constexpr std::uint64_t kilobyte = 1024, megabyte = 1024 * kilobyte, gigabyte = 1024 * megabyte;
inline constexpr std::size_t longest_name = 63;  // NAMEDATALEN - 1, in bytes

}  // namespace lull::config

#include "config/access_fields.hpp"
#include "config/guard_fields.hpp"
#include "config/limits_fields.hpp"
#include "config/observe_fields.hpp"
#include "config/write_fields.hpp"

namespace lull::config {

template <class Role, class V>
void visit_role(Role& role, V& v) {
    v.field("user", role.user,
            spec{.about = "The role that Lull logs in with.",
                 .longest = longest_name,
                 .required = true,
                 .restart = true});
    v.field("password", role.password,
            spec{.about = "Its password.",
                 .longest = 1024,
                 .restart = true,
                 .secret = true,
                 .note = "none",
                 .file_key = "password_file"});
    v.field("database", role.database,
            spec{.about = "The database it connects to.", .longest = longest_name, .restart = true});
}

template <class Cluster, class V>
void visit_cluster(Cluster& c, V& v) {
    v.field("primary", c.primary,
            spec{.about = "Where the server that takes writes listens.",
                 .required = true,
                 .restart = true,
                 .path = true,
                 .example = "127.0.0.1:5432"});
    v.field(
        "replicas", c.replicas,
        spec{.about =
                 "Streaming replicas: they serve reads, and one of them is frozen while a site is sealed.",
             .restart = true,
             .path = true,
             .example = "127.0.0.1:5433"});
    v.optional_section("control", c.control,
                       "The role for probes, the proof of sealing and the pausing of replay; without it "
                       "replicas serve no reads.",
                       [&](auto& role) { visit_role(role, v); });
    v.optional_section("fence", c.fence,
                       "The role that keeps those who go past Lull from writing while a site is sealed; without it they are "
                       "seen and not stopped.",
                       [&](auto& role) { visit_role(role, v); });
    v.optional_section(
        "auth_query", c.auth_query,
        "Asks the server for the passwords of users that are not listed under users.", [&](auto& q) {
            visit_role(q.role, v);
            v.field("query", q.query,
                    spec{.about = "Returns one row, name and password verifier, for the user name $1.",
                         .longest = 8192,
                         .restart = true});
            v.field("cache_time", q.cache_time,
                    spec{.about = "How long an answer is taken for true; 0: each login asks.", .most = hour, .restart = true});
        });
    v.section("tls", [&] { visit_server_tls(c.tls, v); });
    v.field("pool_size", c.pool_size,
            spec{.about = "Server connections for each server, database and user, all workers together.",
                 .least = 1,
                 .most = 10'000});
    v.field(
        "max_db_connections", c.max_db_connections,
        spec{.about = "Connections to each server for one database, all its users together; 0 is no limit.",
             .most = 100'000});
    v.field(
        "max_user_connections", c.max_user_connections,
        spec{.about = "Connections to each server for one user, all its databases together; 0 is no limit.",
             .most = 100'000});
    v.field("reserve_pool_size", c.reserve_pool_size,
            spec{.about = "So many more, for as long as a client has waited for reserve_pool_timeout.", .most = 10'000});
    v.field("reserve_pool_timeout", c.reserve_pool_timeout,
            spec{.about = "How long a client waits before the reserve is used.", .least = 1, .most = hour});
    v.field("server_idle_timeout", c.server_idle_timeout,
            spec{.about = "A server connection that nobody has used for so long is closed.", .least = second, .most = 7 * day});
    v.field("server_lifetime", c.server_lifetime,
            spec{.about = "A server connection older than this is closed when it is free.", .least = second, .most = 30 * day});
    v.field(
        "probe_interval", c.probe_interval,
        spec{.about = "How often each server is asked whether it lives, what it is and how far it has come. "
                      "A primary without replicas, while it answers, once a second at most.",
             .least = 10,
             .most = minute,
             .restart = true});
    v.field(
        "max_replica_lag", c.max_replica_lag,
        spec{.about = "A replica further behind than this serves no reads.", .least = 1, .most = 7 * day});
    v.field("catalog_interval", c.catalog_interval,
            spec{.about = "How often the primary is asked whether functions, views or the like have changed.",
                 .least = 100,
                 .most = hour,
                 .restart = true});
}

template <class Rule, class V>
void visit_http_rule(Rule& r, V& v) {
    v.field("methods", r.methods,
            spec{.about = "The request methods that the rule is for.",
                 .longest = 32,
                 .note = "any method",
                 .example = "POST"});
    v.field("path", r.path,
            spec{.about = "The path, where * stands for anything within a segment and ** for anything.",
                 .longest = 2048,
                 .required = true,
                 .example = "/search"});
    v.flag(
        "action", r.allow, "allow", "refuse",
        spec{
            .about =
                "Whether such a request passes while the site is sealed; the first rule that fits decides."});
}

template <class Hooks, class V>
void visit_hooks(Hooks& h, V& v) {
    v.field("on_enter", h.on_enter,
            spec{.about = "The program, and its arguments, that is run when the site begins to close: quiet "
                          "job schedulers here.",
                 .example = "/usr/local/bin/quiet-jobs"});
    v.field("on_sealed", h.on_sealed,
            spec{.about = "Is run when the site is sealed.", .example = "/usr/local/bin/tell"});
    v.field("on_exit", h.on_exit,
            spec{.about = "Is run when the site is open again.", .example = "/usr/local/bin/start-jobs"});
    v.field("on_overdue", h.on_overdue,
            spec{.about = "Is run when a window is overdue, or its lease has ended.",
                 .example = "/usr/local/bin/page-somebody"});
    v.field("timeout", h.timeout,
            spec{.about = "How long each of them may take before it is killed.", .least = 1, .most = day});
}

template <class Site, class V>
void visit_site(Site& s, V& v) {
    v.field("cluster", s.cluster,
            spec{.about = "The cluster that holds the site's databases.",
                 .longest = longest_name,
                 .restart = true,
                 .note = "the only cluster"});
    v.field("databases", s.databases,
            spec{.about = "The databases of the site; a database belongs to one site only.",
                 .longest = longest_name,
                 .note = "the site's name"});
    v.field("hosts", s.hosts,
            spec{.about = "Host names of the website, without ports; a host belongs to one site only.",
                 .longest = 253,
                 .example = "shop.example"});
    v.field("upstreams", s.upstreams,
            spec{.about = "Where the website's application servers listen.", .example = "127.0.0.1:8000"});
    v.section("migration", [&] {
        v.field("users", s.migration_users,
                spec{.about = "Who may use the migration port.",
                     .longest = longest_name,
                     .note = "everyone who can log in"});
    });
    v.field("pool_mode", s.pool_mode,
            spec{.about = "How long a client keeps its server connection: to its own end, for a transaction, or for "
                          "a statement, without transaction blocks.",
                 .at_login = true});
    visit_writes(s, v);
    v.section("guard", [&] { visit_guard(s.guard, v); });
    v.field("refusal_sqlstate", s.refusal_sqlstate, spec{.about = "The SQLSTATE of refusals."});
    v.list("http_rules", s.http_rules,
           "Requests that pass or are refused while sealed whatever their method says.",
           [](auto& rule, auto& visitor) { visit_http_rule(rule, visitor); });
    v.field("freeze", s.freeze,
            spec{.about = "Whether a replica is frozen while the site is sealed, so that reads go on beside "
                          "a migration."});
    v.flag(
        "report_read_only", s.report_read_only, "true", "false",
        spec{.about = "Whether clients see default_transaction_read_only change when the site is sealed."});
    v.section("drain", [&] {
        v.field("timeout", s.drain_timeout,
                spec{.about = "How long may take to end what was under way when sealing began: transactions that have written, and "
                              "whatever runs on the primary.",
                     .most = day});
        v.field("on_deadline", s.on_deadline,
                spec{.about = "What happens to those that have not ended by then: wait on, cancel the "
                              "statement, terminate the "
                              "session, or abort the sealing."});
    });
    v.field("seal_timeout", s.seal_timeout,
            spec{.about = "How long proof, replicas and freezing may take once no writer is left.",
                 .least = 100,
                 .most = hour});
    v.field("fence", s.fence,
            spec{.about = "Whether the server itself keeps those from writing who go past Lull: without it the site "
                          "is not sealed, it is wanted, or it is off; auto is required where the cluster has a role "
                          "for it."});
    v.field("prepared_transactions", s.prepared,
            spec{.about = "What becomes of sealing where prepared transactions are open: they are reported, "
                          "waited for, or the site is not sealed."});
    v.field("overdue_again", s.overdue_again,
            spec{.about = "How often a window that is overdue, or whose lease has ended, is told of again.",
                 .least = second,
                 .most = day});
    v.section("hooks", [&] { visit_hooks(s.hooks, v); });
    v.field("retry_after", s.retry_after,
            spec{.about = "What refused requests are told in Retry-After where no end is announced.",
                 .least = second,
                 .most = day});
}

template <class User, class V>
void visit_user(User& u, V& v) {
    v.field("password", u.password,
            spec{.about = "The password, or its SCRAM-SHA-256 verifier as pg_authid has it.",
                 .longest = 1024,
                 .secret = true,
                 .note = "by auth_query",
                 .file_key = "password_file"});
    v.field("server_password", u.server_password,
            spec{.about = "The password for the server, where it is another one.",
                 .longest = 1024,
                 .secret = true,
                 .note = "password, or the client's own SCRAM keys",
                 .file_key = "server_password_file"});
    v.field("refusal_sqlstate", u.refusal_sqlstate,
            spec{.about = "The SQLSTATE of refusals for this user, where it is not the site's."});
    v.field("pool_mode", u.pool_mode,
            spec{.about = "The pool mode of this user, where it is not the database's or the site's.", .at_login = true});
    visit_overrides(u.own, v);
}

template <class Database, class V>
void visit_database(Database& d, V& v) {
    v.field("pool_mode", d.pool_mode,
            spec{.about = "The pool mode of this database, where it is not the site's.", .at_login = true});
    visit_overrides(d.own, v);
}

template <class Peer, class V>
void visit_peer(Peer& p, V& v) {
    v.field("id", p.id, spec{.about = "Its peer_id.", .least = 1, .most = most_peer_id, .required = true, .restart = true});
    v.field("address", p.address,
            spec{.about = "Where it listens besides: an address of its own, or its Unix socket. No host name.",
                 .required = true,
                 .restart = true,
                 .path = true,
                 .example = "/run/lull-2:6432"});
}

template <class Config, class V>
void visit(Config& c, V& v) {
    v.section("listen", [&] {
        v.field("postgres", c.listen.postgres,
                spec{.about = "Where applications connect with the PostgreSQL protocol.",
                     .restart = true,
                     .example = "127.0.0.1:6432"});
        v.field("migration", c.listen.migration,
                spec{.about = "Where the migration connects: writes pass here while a site is sealed.",
                     .restart = true,
                     .example = "127.0.0.1:6433"});
        v.field("unix_socket_directory", c.listen.unix_socket_directory,
                spec{.about = "Where Unix sockets are made beside the ports of postgres and migration.",
                     .longest = 90,
                     .restart = true,
                     .path = true,
                     .note = "none"});
        v.field("unix_socket_permissions", c.listen.unix_socket_permissions,
                spec{.about = "Who may connect to them, as for chmod.", .longest = 4, .restart = true});
        v.field("proxy_protocol", c.listen.proxy_protocol,
                spec{.about =
                         "Networks of load balancers whose PostgreSQL connections begin with a PROXY header, "
                         "version 1 or 2.",
                     .restart = true,
                     .example = "10.0.0.0/8"});
        v.field("http", c.listen.http,
                spec{.about = "Where browsers, or the web server in front, connect.",
                     .restart = true,
                     .example = "127.0.0.1:8080"});
        v.field("metrics", c.listen.metrics,
                spec{.about = "Where Prometheus asks: /metrics, and /healthz and /readyz for supervisors.",
                     .restart = true,
                     .example = "127.0.0.1:9127"});
        v.flag("reuse_port", c.listen.reuse_port, "true", "false",
               spec{.about = "Whether other processes may listen on the same ports (SO_REUSEPORT): the system spreads "
                             "connections over them.",
                    .restart = true});
        v.field("peer_id", c.listen.peer_id,
                spec{.about = "The number of this process among those that share a port or a load balancer; 0: there are no others.",
                     .most = most_peer_id,
                     .restart = true});
        v.list("peers", c.listen.peers,
               "The others, each with its own peer_id: a CancelRequest that belongs to one of them is handed on to it.",
               [](auto& peer, auto& visitor) { visit_peer(peer, visitor); });
    });
    v.field("auth", c.auth,
            spec{.about = "How PostgreSQL clients prove who they are; trust believes everyone."});
    v.field(
        "hba_file", c.hba_file,
        spec{.about = "Rules in the form of pg_hba.conf in place of auth.", .path = true, .note = "none"});
    v.field("hba", c.hba,
            spec{.about = "The same rules, one a line, in place of a file.",
                 .note = "none",
                 .example = "hostssl all all 10.0.0.0/8 scram-sha-256"});
    v.section("client_tls", [&] { visit_client_tls(c.client_tls, v); });
    v.field(
        "admin_socket", c.admin_socket,
        spec{.about = "The Unix socket of status, maintenance and reload.", .longest = 107, .restart = true});
    v.field("state_dir", c.state_dir,
            spec{.about = "The folder that remembers which sites are sealed, over restarts and crashes.",
                 .restart = true});
    v.field(
        "workers", c.workers,
        spec{.about = "Threads that serve clients; 0 is one for each core.", .most = 256, .restart = true});
    v.named("clusters", c.clusters, "PostgreSQL primaries, each with its replicas.", name_kind::word,
            [&](auto& cluster) { visit_cluster(cluster, v); });
    v.named("sites", c.sites, "What is sealed and reopened as one: databases and the website on them.",
            name_kind::word, [&](auto& site) { visit_site(site, v); });
    v.named("users", c.users, "Roles that may log in at Lull.", name_kind::role,
            [&](auto& user) { visit_user(user, v); });
    v.named("databases", c.databases, "What holds for single databases of the sites.", name_kind::role,
            [&](auto& database) { visit_database(database, v); });
    v.section("console", [&] { visit_console(c.console, v); });
    v.section("log", [&] { visit_log(c.log, v); });
    v.section("limits", [&] { visit_limits(c.limits, v); });
}

}  // namespace lull::config
