#include "config/validate.hpp"

#include "config/ascii.hpp"
#include "config/endpoint.hpp"
#include "config/network.hpp"
#include "config/validate_fence.hpp"
#include "config/validate_guard.hpp"
#include "config/validate_passwords.hpp"
#include "config/validate_peers.hpp"
#include "config/validate_writes.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

namespace lull::config {
namespace {

constexpr std::string_view verifier_prefix = "SCRAM-SHA-256$";

bool is_loopback(std::string const& host) {
    return host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool is_any(std::string const& host) {
    return host == "0.0.0.0" || host == "::";
}

/// Whether a connection to `target` from this machine would arrive at a listener on `listener`.
bool arrives_at(endpoint const& listener, endpoint const& target) {
    if (listener.port != target.port) return false;
    if (listener.host == target.host ||
        (is_any(listener.host) && (is_loopback(target.host) || is_any(target.host))))
        return true;
    auto const local = [](std::string const& h) { return h == "localhost" || h == "127.0.0.1"; };
    return local(listener.host) && local(target.host);
}

/// SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, as in pg_authid (manual, 53.8).
bool is_verifier(std::string_view text) {
    auto const base64 = [](std::string_view t) {
        return !t.empty() && std::all_of(t.begin(), t.end(), [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
                   c == '/' || c == '=';
        });
    };
    text.remove_prefix(verifier_prefix.size());
    auto const colon = text.find(':');
    auto const dollar = text.find('$');
    if (colon == std::string_view::npos || dollar == std::string_view::npos || colon > dollar) return false;
    auto const iterations = text.substr(0, colon);
    auto const salt = text.substr(colon + 1, dollar - colon - 1);
    auto const keys = text.substr(dollar + 1);
    auto const second = keys.find(':');
    // 32 bytes of SHA-256 are 44 of base64.
    return second == 44 && keys.size() == 89 && base64(keys.substr(0, 44)) && base64(keys.substr(45)) &&
           base64(salt) && !iterations.empty() && iterations.size() <= 9 &&
           std::all_of(iterations.begin(), iterations.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_md5_hash(std::string_view text) {
    return text.size() == 35 && text.starts_with("md5") &&
           std::all_of(text.begin() + 3, text.end(),
                       [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

class judge {
  public:
    judge(config const& c, positions const& where) : config_(c), where_(where) {}

    verdict all() && {
        listeners_are_apart();
        sockets();
        validate_peers(config_.listen, refusing());
        files();
        if (config_.clusters.empty())
            refuse("clusters", "no cluster",
                   "name the server that takes writes: `clusters: {main: {primary: 127.0.0.1:5432}}`");
        if (config_.sites.empty())
            refuse("sites", "no site", "name what is to be sealed: `sites: {shop: {databases: [shop]}}`");
        servers_are_apart();
        for (auto const& [name, cluster] : config_.clusters)
            judge_cluster(join_path("clusters", name), cluster);
        for (auto const& [name, site] : config_.sites) judge_site(join_path("sites", name), site);
        for (auto const& [name, user] : config_.users) judge_user(join_path("users", name), user);
        for (auto const& [name, database] : config_.databases)
            if (!databases_.contains(name))
                refuse(join_path("databases", name), "no site has this database",
                       "write its name as under databases of its site, or remove it");
        console_users();
        who_can_log_in();
        judge_client_tls();
        judge_rules();
        if (config_.limits.max_parse_bytes > config_.limits.max_statement_bytes)
            refuse("limits.max_parse_bytes", "greater than limits.max_statement_bytes",
                   "lower it: no statement longer than max_statement_bytes arrives to be parsed");
        return std::move(out_);
    }

  private:
    using claims = std::map<std::string, std::string>;  // what -> path of who has it

    void refuse(std::string const& path, std::string message, std::string fix) {
        auto const at = where_.find(path);
        out_.issues.push_back({where_.file, at.line, at.column, path, std::move(message), std::move(fix)});
    }

    refusal refusing() {  // the same, for those who judge a part
        return [this](auto const&... told) { refuse(told...); };
    }

    void warn(std::string const& path, std::string message, std::string fix) {
        auto const at = where_.find(path);
        out_.warnings.push_back({where_.file, at.line, at.column, path, std::move(message), std::move(fix)});
    }

    refusal warning_of() {
        return [this](auto const&... told) { warn(told...); };
    }

    /// "sites.shop.hosts (line 12)"
    std::string told(std::string const& path) const {
        auto const at = where_.find(path);
        return at.line > 0 ? path + " (line " + std::to_string(at.line) + ")" : path;
    }

    void claim(claims& taken, std::string const& what, std::string const& path, std::string const& thing,
               std::string const& fix) {
        auto const [it, fresh] = taken.emplace(what, path);
        if (!fresh) refuse(path, thing + " " + shown(what) + " is already at " + told(it->second), fix);
    }

    std::vector<std::pair<std::string, endpoint>> open_listeners() const {
        std::vector<std::pair<std::string, endpoint>> out;
        if (config_.listen.postgres) out.emplace_back("listen.postgres", *config_.listen.postgres);
        if (config_.listen.migration) out.emplace_back("listen.migration", *config_.listen.migration);
        if (config_.listen.http) out.emplace_back("listen.http", *config_.listen.http);
        if (config_.listen.metrics) out.emplace_back("listen.metrics", *config_.listen.metrics);
        return out;
    }

    void listeners_are_apart() {
        auto const open = open_listeners();
        if (!config_.listen.postgres && !config_.listen.http)
            refuse("listen", "nobody could connect: neither listen.postgres nor listen.http is set",
                   "add `listen: {postgres: 127.0.0.1:6432}`");
        for (std::size_t i = 0; i < open.size(); ++i)
            for (std::size_t j = 0; j < i; ++j)
                if (arrives_at(open[i].second, open[j].second) || arrives_at(open[j].second, open[i].second))
                    refuse(open[i].first, "the address of " + told(open[j].first), "choose another port");
    }

    void sockets() {
        auto const& l = config_.listen;
        auto const& p = l.unix_socket_permissions;
        if (p.empty() || !std::all_of(p.begin(), p.end(), [](char c) { return c >= '0' && c <= '7'; }))
            refuse("listen.unix_socket_permissions", shown(p) + " are no permissions",
                   "write them as in 0770");
        if (!l.unix_socket_directory.empty() && !l.postgres && !l.migration)
            refuse("listen.unix_socket_directory",
                   "the sockets have the numbers of ports, and there are none",
                   "add `postgres: 127.0.0.1:6432` under listen");
        for (std::size_t i = 0; i < l.proxy_protocol.size(); ++i)
            if (!parse_network(l.proxy_protocol[i]))
                refuse("listen.proxy_protocol[" + std::to_string(i) + "]",
                       shown(l.proxy_protocol[i]) + " is no network", "write it as in 10.0.0.0/8");
    }

    void files() {
        if (!config_.admin_socket.starts_with('/'))
            warn("admin_socket", "a relative path: it depends on the folder in which lull is started", "write a path that begins with /");
        if (!config_.state_dir.starts_with('/'))
            warn("state_dir",
                 "a relative path: started in another folder, lull would not know which sites are sealed",
                 "write a path that begins with /");
    }

    void not_ourselves(std::string const& path, endpoint const& target) {
        for (auto const& [name, listener] : open_listeners())
            if (arrives_at(listener, target))
                refuse(path, format_endpoint(target) + " is " + told(name) + ": lull would connect to itself",
                       "name the server's own address");
    }

    void servers_are_apart() {
        // One server in two clusters would be frozen for the one and written through the other.
        claims taken;
        std::string const fix = "name each server once; sites share a cluster by naming it";
        for (auto const& [name, cluster] : config_.clusters) {
            auto const path = join_path("clusters", name);
            if (cluster.primary.port != 0)
                claim(taken, ascii_lower(format_endpoint(cluster.primary)), path + ".primary", "the server", fix);
            for (std::size_t i = 0; i < cluster.replicas.size(); ++i)
                claim(taken, ascii_lower(format_endpoint(cluster.replicas[i])),
                      path + ".replicas[" + std::to_string(i) + "]", "the server", fix);
        }
    }

    void judge_cluster(std::string const& path, cluster const& c) {
        if (c.primary.port == 0) {
            refuse(path + ".primary", "primary is missing", "add `primary: 127.0.0.1:5432`");
        } else {
            not_ourselves(path + ".primary", c.primary);
        }
        for (std::size_t i = 0; i < c.replicas.size(); ++i)
            not_ourselves(path + ".replicas[" + std::to_string(i) + "]", c.replicas[i]);
        judge_server_tls(path + ".tls", c.tls);
        if (!c.control)
            warn(path,
                 c.replicas.empty()
                     ? "no control role: lull cannot prove that nobody writes while a site is sealed"
                     : "no control role: the replicas serve no reads and are not frozen, and lull cannot prove "
                       "that nobody writes while a site is sealed",
                 "add `control: {user: lull, password: ...}`");
    }

    void certificate_with_key(std::string const& path, std::string const& certificate,
                              std::string const& key) {
        if (certificate.empty() == key.empty()) return;
        std::string const missing = certificate.empty() ? "certificate" : "key";
        refuse(path + (certificate.empty() ? ".key" : ".certificate"), missing + " is missing beside it",
               "add `" + missing + ": ...`");
    }

    void judge_client_tls() {
        auto const& t = config_.client_tls;
        certificate_with_key("client_tls", t.certificate, t.key);
        if (t.mode != client_tls_mode::disable && t.certificate.empty())
            refuse("client_tls.mode", "TLS needs a certificate and its key",
                   "add `certificate: ...` and `key: ...`, or write `mode: disable`");
        if (t.mode >= client_tls_mode::verify_ca && t.ca.empty())
            refuse("client_tls.mode", "nobody is named who signs the certificates of clients",
                   "add `ca: ...`");
        if (t.mode == client_tls_mode::disable && !t.certificate.empty())
            warn("client_tls.certificate", "not used: TLS is off", "add `mode: allow` or `mode: require`");
    }

    void judge_server_tls(std::string const& path, server_tls const& t) {
        bool const verifies = t.mode >= server_tls_mode::verify_ca;
        certificate_with_key(path, t.certificate, t.key);
        if (verifies && t.ca.empty())
            refuse(path + ".mode", "nobody is named who signs the servers' certificates", "add `ca: ...`");
        // A CA that is configured and not heeded would look like protection.
        if (!verifies && !t.ca.empty())
            refuse(path + ".ca", "it is not heeded in this mode",
                   "write `mode: verify-full`, or verify-ca where certificates do not name their hosts");
        if (t.direct && t.mode < server_tls_mode::require)
            refuse(path + ".direct", "a server that speaks no TLS cannot be asked that way",
                   "write `mode: require`, verify-ca or verify-full");
    }

    void judge_site(std::string const& path, site const& s) {
        if (s.cluster.empty()) {
            if (!config_.clusters.empty())
                refuse(path + ".cluster", "there are several clusters and none is named",
                       "add `cluster: " + config_.clusters.begin()->first + "`");
        } else if (!config_.clusters.contains(s.cluster) && !config_.clusters.empty()) {
            std::vector<std::string_view> names;
            for (auto const& [name, cluster] : config_.clusters) names.push_back(name);
            auto const near = nearest(s.cluster, names);
            refuse(path + ".cluster", "no cluster is called " + shown(s.cluster),
                   near.empty() ? "add it under clusters, or name one of them: " + std::string(names.front())
                                : "did you mean " + std::string(near) + "?");
        }
        if (opens_console())
            for (std::size_t i = 0; i < s.databases.size(); ++i)
                if (s.databases[i] == config_.console.database)
                    refuse(path + ".databases[" + std::to_string(i) + "]",
                           shown(s.databases[i]) + " is also the name of the console",
                           "give the console another one: `console: {database: lull_console}`");
        if (s.databases.empty()) refuse(path + ".databases", "no database", "add `databases: [...]`");
        for (std::size_t i = 0; i < s.databases.size(); ++i)
            claim(databases_, s.databases[i], path + ".databases[" + std::to_string(i) + "]", "the database",
                  "keep it in one site: two sites could not be sealed apart");
        judge_hosts(path, s);
        validate_guard(config_, s, path + ".guard", refusing());
        validate_fence(config_, s, path, refusing());
        validate_writes(s, path, refusing());
        for (std::size_t i = 0; i < s.http_rules.size(); ++i)
            judge_rule(path + ".http_rules[" + std::to_string(i) + "]", s.http_rules[i]);
        warn_of_openings(config_, s, path, warning_of());
    }

    void judge_hosts(std::string const& path, site const& s) {
        for (std::size_t i = 0; i < s.hosts.size(); ++i) {
            auto const at = path + ".hosts[" + std::to_string(i) + "]";
            auto const& host = s.hosts[i];
            if (is_host_name(host)) {
                claim(hosts_, host, at, "the host", "keep it in one site");
            } else if (host.find("//") != std::string::npos || host.find('/') != std::string::npos) {
                refuse(at, shown(host) + " is a URL, not a host name",
                       "write the name alone, as in shop.example");
            } else if (host.find('*') != std::string::npos) {
                refuse(at, shown(host) + " has a wildcard", "list every host name");
            } else if (host.find(':') != std::string::npos) {
                refuse(at, shown(host) + " has a port",
                       "write the name alone, as in shop.example: every port of it is meant");
            } else {
                refuse(at, shown(host) + " is not a host name",
                       "use letters, digits, - and dots, as in shop.example (names with other letters in "
                       "their xn-- form)");
            }
        }
        for (std::size_t i = 0; i < s.upstreams.size(); ++i)
            not_ourselves(path + ".upstreams[" + std::to_string(i) + "]", s.upstreams[i]);
        if (!s.hosts.empty() && s.upstreams.empty())
            refuse(path + ".hosts", "the site has hosts but no upstreams to send their requests to",
                   "add `upstreams: [127.0.0.1:8000]`");
        if (s.hosts.empty() && !s.upstreams.empty())
            refuse(path + ".upstreams", "the site has upstreams but no hosts: no request would reach them",
                   "add `hosts: [shop.example]`");
        if (!s.hosts.empty() && !config_.listen.http)
            warn(path + ".hosts", "there is no HTTP port", "add `http: 127.0.0.1:8080` under listen");
    }

    void judge_rule(std::string const& path, http_rule const& rule) {
        for (std::size_t i = 0; i < rule.methods.size(); ++i) {
            auto const& m = rule.methods[i];
            bool const upper = !m.empty() && std::all_of(m.begin(), m.end(), [](char c) {
                return (c >= 'A' && c <= 'Z') || c == '-';
            });
            if (upper) continue;
            auto big = m;
            for (char& c : big)
                if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
            bool const only_case = !big.empty() && std::all_of(big.begin(), big.end(),
                                                               [](char c) { return c >= 'A' && c <= 'Z'; });
            refuse(path + ".methods[" + std::to_string(i) + "]", shown(m) + " is not a method",
                   only_case ? "write " + big + ": methods are in capitals"
                             : "write methods as in [POST, PUT]; leave them out for any");
        }
        if (!rule.path.empty() && rule.path.front() != '/' && rule.path.front() != '*')
            refuse(path + ".path", shown(rule.path) + " is not a path", "begin it with /, as in /search");
        if (rule.path.find_first_of("?#") != std::string::npos)
            refuse(path + ".path", shown(rule.path) + " has a query or a fragment",
                   "end it before the ? or #: rules see the path alone");
    }

    void judge_user(std::string const& path, user const& u) {
        if (u.password.starts_with(verifier_prefix) && !is_verifier(u.password))
            refuse(path + ".password", "a SCRAM-SHA-256 verifier that is cut or garbled",
                   "copy rolpassword from pg_authid whole: SCRAM-SHA-256$4096:salt$StoredKey:ServerKey");
        if (is_md5_hash(u.password) && !takes_md5())
            refuse(path + ".password", "an md5 hash",
                   "write the password itself or its SCRAM-SHA-256 verifier, or `auth: md5`");
        if (u.server_password.starts_with(verifier_prefix) || is_md5_hash(u.server_password))
            refuse(path + ".server_password", "a hash: lull cannot log in with it",
                   "write the password itself");
        if (u.password.empty() && asks_passwords() && !asks_servers())
            warn(path, "no password, and no cluster has auth_query: this user cannot log in",
                 "add `password: ...`");
    }

    bool opens_console() const { return !config_.console.admins.empty() || !config_.console.stats.empty(); }

    void console_users() {
        bool const by_password = asks_passwords() && !uses(auth_method::trust) && !uses(auth_method::cert) && !uses(auth_method::peer);
        auto each = [&](char const* key, std::vector<std::string> const& names) {
            for (std::size_t i = 0; i < names.size(); ++i) {
                auto const known = config_.users.find(names[i]);
                bool const password = known != config_.users.end() && !known->second.password.empty();
                if (by_password && !password)
                    refuse("console." + std::string(key) + "[" + std::to_string(i) + "]",
                           shown(names[i]) + " has no password here: the console asks no server for it",
                           "add `" + names[i] + ": {password: ...}` under users");
            }
        };
        each("admins", config_.console.admins);
        each("stats", config_.console.stats);
    }

    bool asks_servers() const {
        return std::any_of(config_.clusters.begin(), config_.clusters.end(),
                           [](auto const& c) { return c.second.auth_query.has_value(); });
    }

    bool uses(auth_method method) const {
        if (!config_.has_hba()) return config_.auth == method;
        return std::any_of(config_.hba_rules.begin(), config_.hba_rules.end(),
                           [&](auto const& rule) { return rule.method == method; });
    }
    bool takes_md5() const { return uses(auth_method::md5) || uses(auth_method::password); }
    bool asks_passwords() const { return uses(auth_method::scram_sha_256) || takes_md5(); }

    std::string rules_path() const { return !config_.has_hba() ? "auth" : config_.hba.empty() ? "hba_file" : "hba"; }

    void judge_rules() {
        std::string const path = rules_path();
        auto const& rules = config_.hba_rules;
        bool const wants_tls = std::any_of(rules.begin(), rules.end(), [](auto const& rule) {
            return rule.connection == hba_connection::hostssl && rule.method != auth_method::reject;
        });
        bool const certificates =
            uses(auth_method::cert) || std::any_of(rules.begin(), rules.end(), [](auto const& rule) {
                return rule.certificate != client_certificate::not_asked;
            });
        if (certificates && config_.client_tls.ca.empty())
            refuse(path, "certificates of clients are asked for, and no CA is named",
                   "add `ca: ...` under client_tls");
        else if ((wants_tls || certificates) && config_.client_tls.mode == client_tls_mode::disable)
            warn(path, "what is only for TLS never matches: it is off", "add `mode: allow` under client_tls");
        if (config_.has_hba() && where_.at.contains("auth"))
            warn("auth", "not heeded: the rules of " + path + " decide", "remove it");
    }

    void who_can_log_in() {
        bool const postgres = config_.listen.postgres || config_.listen.migration;
        if (asks_passwords() && postgres && config_.users.empty() && !asks_servers())
            warn("auth", "nobody can log in: there are no users and no auth_query",
                 "add `users: {app: {password: ...}}`");
        bool const trusts = !config_.has_hba() && config_.auth == auth_method::trust;
        bool reached = false;  // from other machines
        for (auto const& [name, listener] : open_listeners()) {
            if (name == "listen.http" || name == "listen.metrics" || is_loopback(listener.host)) continue;
            reached = true;
            if (trusts)
                warn(name, "with auth: trust everyone who reaches this address is whoever they say",
                     "use auth: scram-sha-256, or listen on 127.0.0.1");
        }
        if (reached) warn_of_plain_passwords(config_, rules_path(), warning_of());
    }

    config const& config_;
    positions const& where_;
    verdict out_;
    claims databases_;
    claims hosts_;
};

}  // namespace

verdict validate(config const& c, positions const& where) {
    return judge(c, where).all();
}

void fill_defaults(config& c) {
    for (std::string const& network : c.listen.proxy_protocol)
        if (auto const parsed = parse_network(network)) c.listen.proxy_networks.push_back(*parsed);
    for (auto& [name, site] : c.sites) {
        if (site.cluster.empty() && c.clusters.size() == 1) site.cluster = c.clusters.begin()->first;
        if (site.databases.empty()) site.databases.push_back(name);
        for (auto& host : site.hosts) {
            host = ascii_lower(host);
            if (host.size() > 1 && host.back() == '.') host.pop_back();
        }
    }
}

}  // namespace lull::config
