#include "config/validate.hpp"

#include "tests/unit/config/support.hpp"

using namespace lull::config;
using namespace config_test;

namespace {

/// A configuration with these sites, and clusters main and other.
std::string with_sites(std::string const& sites) {
    return "listen: {postgres: 127.0.0.1:6432, migration: 127.0.0.1:6433, http: 127.0.0.1:8080}\n"
           "clusters:\n"
           "  main: {primary: 127.0.0.1:5432, control: {user: lull}}\n"
           "  other: {primary: 127.0.0.1:5532, control: {user: lull}}\n"
           "users: {app: {password: secret}}\n"
           "sites:\n" +
           sites;
}

std::string with_password(std::string const& password) {
    return std::string(smallest.substr(0, smallest.find("users"))) + "users: {app: {password: '" + password +
           "'}}\n";
}

std::vector<warning> warnings_of(std::string const& text) {
    std::vector<warning> out;
    (void)good(text, &out);
    for (auto const& w : out) CHECK_FALSE(w.fix.empty());
    return out;
}

}  // namespace

TEST_CASE("somebody must be able to connect, to something") {
    auto const issues = bad("auth: trust\n");
    REQUIRE(issues.size() == 3);
    CHECK(issues[0].path == "listen");
    CHECK(issues[1].path == "clusters");
    CHECK(issues[2].path == "sites");
    CHECK(one("listen: {migration: 127.0.0.1:1}\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: {shop: "
              "{}}\n")
              .path == "listen");
}

TEST_CASE("a site names a cluster that exists") {
    auto const e = one(with_sites("  shop: {cluster: mian}\n"));
    CHECK(e.path == "sites.shop.cluster");
    CHECK(e.line == 7);
    CHECK(e.column == 19);
    CHECK(e.message == "no cluster is called \"mian\"");
    CHECK(e.fix == "did you mean main?");
    auto const unnamed = one(with_sites("  shop: {}\n"));
    CHECK(unnamed.path == "sites.shop.cluster");
    CHECK(unnamed.line == 7);
    CHECK(unnamed.fix == "add `cluster: main`");
}

TEST_CASE("who may use the console can log in there, and no site has its name") {
    std::string const sites = "  shop: {cluster: main, databases: [shop]}\n";
    (void)good(with_sites(sites + "console: {admins: [app]}\n"));
    auto const stranger = one(with_sites(sites + "console: {stats: [nobody]}\n"));
    CHECK(stranger.path == "console.stats[0]");
    CHECK(stranger.fix == "add `nobody: {password: ...}` under users");
    std::string asking = with_sites(sites + "console: {stats: [nobody]}\n");
    std::string const server = "primary: 127.0.0.1:5432";
    REQUIRE(asking.find(server) != std::string::npos);
    asking.replace(asking.find(server), server.size(), server + ", auth_query: {user: q}");
    CHECK(one(asking).path == "console.stats[0]");  // who may create roles there would get in
    std::string const by_rules = sites + "console: {stats: [nobody]}\nhba: [host all all all scram-sha-256, local all all ";
    CHECK(one(with_sites(by_rules + "md5]\n")).path == "console.stats[0]");
    (void)good(with_sites(by_rules + "peer]\n"));
    std::string const taken = "  lull: {cluster: main}\n";
    (void)good(with_sites(taken));  // no console, no conflict
    CHECK(one(with_sites(taken + "console: {admins: [app]}\n")).path == "sites.lull.databases[0]");
    (void)good(with_sites(taken + "console: {admins: [app], database: adm}\n"));
}

TEST_CASE("peers have numbers and addresses of their own") {
    auto const with = [](std::string const& listen) {
        std::string text = with_sites("  shop: {cluster: main}\n");
        return text.insert(text.find("postgres:"), listen + ", ");
    };
    (void)good(with("peer_id: 1, peers: [{id: 2, address: /run/lull-2:6432}, {id: 3, address: 127.0.0.1:6433}]"));
    CHECK(one(with("peers: [{id: 2, address: 127.0.0.1:6433}]")).path == "listen.peers");
    CHECK(one(with("peer_id: 2, peers: [{id: 2, address: 127.0.0.1:6433}]")).path == "listen.peers[0].id");
    CHECK(one(with("peer_id: 1, peers: [{id: 2, address: 127.0.0.1:6433}, {id: 2, address: 127.0.0.1:6434}]")).path ==
          "listen.peers[1].id");
    CHECK(one(with("peer_id: 1, peers: [{id: 2, address: other.example:6433}]")).path == "listen.peers[0].address");
    CHECK(one(with("peer_id: 32")).path == "listen.peer_id");
}

TEST_CASE("a database and a host belong to one site") {
    auto const e = one(
        with_sites("  a: {cluster: main, databases: [x, y]}\n  b: {cluster: other, databases: [z, y]}\n"));
    CHECK(e.path == "sites.b.databases[1]");
    CHECK(e.message == "the database \"y\" is already at sites.a.databases[1] (line 7)");
    CHECK(e.line == 8);
    CHECK(e.column == 38);
    // By default a site's database is called like the site.
    CHECK(has(one(with_sites("  a: {cluster: main, databases: b}\n  b: {cluster: other}\n")).message,
              "the database \"b\""));
    auto const host =
        one(with_sites("  a: {cluster: main, hosts: a.example, upstreams: 127.0.0.1:1}\n"
                       "  b: {cluster: main, hosts: A.EXAMPLE., upstreams: 127.0.0.1:2}\n"));
    CHECK(host.message == "the host \"a.example\" is already at sites.a.hosts[0] (line 7)");
}

TEST_CASE("hosts are names, and requests reach something") {
    auto const host = [](std::string const& h) {
        return one(with_sites("  a: {cluster: main, upstreams: 127.0.0.1:1, hosts: ['" + h + "']}\n"));
    };
    CHECK(has(host("http://a.example").message, "URL"));
    CHECK(has(host("a.example:80").message, "port"));
    CHECK(has(host("*.example").message, "wildcard"));
    CHECK(has(host("a b").message, "not a host name"));
    CHECK(has(host("a..b").message, "not a host name"));
    CHECK(has(one(with_sites("  a: {cluster: main, hosts: a.example}\n")).message, "no upstreams"));
    CHECK(has(one(with_sites("  a: {cluster: main, upstreams: 127.0.0.1:1}\n")).message, "no hosts"));
}

TEST_CASE("Lull does not connect to itself and listens once on each address") {
    auto const self = one(
        "listen: {postgres: 0.0.0.0:5432}\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: {shop: {}}\n");
    CHECK(self.path == "clusters.main.primary");
    CHECK(has(self.message, "connect to itself"));
    CHECK(has(one(with_sites("  a: {cluster: main, hosts: a, upstreams: localhost:8080}\n")).message,
              "connect to itself"));
    CHECK(has(one("listen: {postgres: 127.0.0.1:1, http: 127.0.0.1:1}\nclusters: {main: {primary: "
                  "127.0.0.1:5432}}\nsites: {shop: {}}\n")
                  .message,
              "the address of listen.postgres"));
}

TEST_CASE("a server stands in one place only") {
    std::string const rest = "listen: {postgres: 127.0.0.1:6432}\nsites: {shop: {cluster: a}}\n";
    CHECK(one(rest + "clusters: {a: {primary: 127.0.0.1:1, replicas: [127.0.0.1:1]}}\n").path ==
          "clusters.a.replicas[0]");
    CHECK(one(rest + "clusters: {a: {primary: 127.0.0.1:1}, b: {primary: 127.0.0.1:1}}\n").path ==
          "clusters.b.primary");
}

TEST_CASE("rules are made of methods and paths") {
    auto const rule = [](std::string const& r) {
        return one(with_sites("  a: {cluster: main, http_rules: [{" + r + "}]}\n"));
    };
    CHECK(has(rule("methods: [post], path: /a").fix, "write POST"));
    CHECK(has(rule("methods: ['P T'], path: /a").message, "not a method"));
    CHECK(has(rule("methods: [POST]").message, "path is missing"));
    CHECK(has(rule("path: search").fix, "begin it with /"));
    CHECK(has(rule("path: '/a?b'").fix, "before the ?"));
    CHECK(has(rule("path: /a, action: deny").message, "not one of allow or refuse"));
}

TEST_CASE("passwords that cannot work are refused") {
    std::string const keys = std::string(43, 'A') + "=:" + std::string(43, 'B') + "=";
    CHECK(good(with_password("SCRAM-SHA-256$4096:c2FsdA==$" + keys)).users.at("app").password.size() > 90);
    for (std::string const& garbled :
         {"SCRAM-SHA-256$" + keys, "SCRAM-SHA-256$4096:c2FsdA==$" + keys.substr(1),
          "SCRAM-SHA-256$x:c2FsdA==$" + keys, std::string("SCRAM-SHA-256$"), "SCRAM-SHA-256$4096:$" + keys,
          "SCRAM-SHA-256$4096:c2FsdA==$" + keys + "A"})
        CHECK(has(one(with_password(garbled)).message, "cut or garbled"));
    CHECK(has(one(with_password("md5" + std::string(32, 'a'))).message, "md5"));
    CHECK_FALSE(has(to_string(one(with_password("SCRAM-SHA-256$sekret"))), "sekret"));
}

TEST_CASE("limits fit each other") {
    CHECK(one(std::string(smallest) + "limits: {max_statement_bytes: 1kB}\n").path ==
          "limits.max_parse_bytes");
}

TEST_CASE("what follows from a key that could not be read is not told again") {
    auto const e =
        one("listen: {postgres: nowhere}\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: {shop: {}}\n");
    CHECK(e.path == "listen.postgres");
    CHECK(one("listen: {postgres: 127.0.0.1:1}\nclusters: {main: {}}\nsites: {shop: {}}\n").path ==
          "clusters.main.primary");
}

TEST_CASE("what is probably not meant is warned of") {
    CHECK(warnings_of(std::string(smallest)).empty());
    std::string const base = "clusters: {main: {primary: 127.0.0.1:5432, control: {user: lull}}}\n";
    std::string const local = "listen: {postgres: 127.0.0.1:6432}\n";
    auto const first = [](std::string const& text) {
        auto const w = warnings_of(text);
        REQUIRE(w.size() == 1);
        return w[0].path;
    };
    CHECK(first(local + base + "sites: {shop: {}}\n") == "auth");
    CHECK(first("listen: {postgres: 0.0.0.0:6432}\nauth: trust\nsites: {shop: {}}\n" + base) ==
          "listen.postgres");
    CHECK(first(local + base + "sites: {shop: {}}\nusers: {app: {}}\n") == "users.app");
    CHECK(first(local + base + "auth: trust\nsites: {shop: {migration: {users: [a]}}}\n") ==
          "sites.shop.migration.users");
    CHECK(first(local + base + "auth: trust\nsites: {shop: {hosts: a, upstreams: 127.0.0.1:8000}}\n") ==
          "sites.shop.hosts");
    CHECK(first(local + base + "auth: trust\nstate_dir: state\nsites: {shop: {}}\n") == "state_dir");
    CHECK(first(local + "auth: trust\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: {shop: {}}\n") ==
          "clusters.main");
    CHECK(first(std::string(smallest.substr(0, smallest.find("users"))) +
                "users: {app: {password: (redacted)}}\n") == "users.app.password");
    std::string const port = "listen: {postgres: 127.0.0.1:6432, migration: 127.0.0.1:6433}\n";
    CHECK(first(port + base + "auth: trust\nsites: {shop: {}}\n") == "sites.shop.migration.users");
    CHECK(warnings_of(port + base + "auth: trust\nsites: {shop: {migration: {users: [a]}}}\n").empty());
    CHECK(first(local + base + "auth: trust\nsites: {shop: {guard: {allow_functions: [api.price, 'reports.*', price]}}}\n") ==
          "sites.shop.guard.allow_functions[2]");
}

TEST_CASE("passwords that cross the network in plain text are warned of") {
    std::string const rest = "clusters: {main: {primary: 127.0.0.1:5432, control: {user: lull}}}\nsites: {shop: {}}\nusers: {app: {password: x}}\n";
    std::string const tls = "client_tls: {certificate: c, key: k, mode: ";
    auto const warned = [&](std::string const& auth, std::string const& host = "0.0.0.0") {
        auto const w = warnings_of("listen: {postgres: " + host + ":6432}\n" + auth + "\n" + rest);
        CHECK(w.size() < 2);
        if (!w.empty()) {
            CHECK(has(w[0].message, "without TLS cross the network"));
            CHECK(w[0].line == 2);
        }
        return w.empty() ? std::string() : w[0].path;
    };
    CHECK(warned("auth: password") == "auth");
    CHECK(warned("auth: password\n" + tls + "allow}") == "auth");
    CHECK(warned("auth: password\n" + tls + "require}").empty());
    CHECK(warned("auth: password", "127.0.0.1").empty());
    CHECK(warned("auth: password", "db.example") == "auth");
    CHECK(warned("auth: md5").empty());
    auto const rules = [&](std::string const& lines) { return warned("hba: [" + lines + "]\n" + tls + "allow}"); };
    CHECK(rules("host all all all password") == "hba");
    CHECK(rules("hostnossl all all 10.0.0.0/8 password") == "hba");
    CHECK(rules("host all all samenet password") == "hba");
    CHECK(rules("host all all 127.0.0.0/7 password") == "hba");
    CHECK(rules("hostssl all all all password, local all all password").empty());
    CHECK(rules("host all all 127.0.0.1/32 password, 'host all all ::1/128 password', host all all samehost password").empty());
    CHECK(rules("hostnossl all all all reject, host all all all password").empty());
    CHECK(rules("hostnossl all all all reject, 'host all,replication all all password'") == "hba");
    CHECK(rules("hostnossl all all 10.0.0.0/8 reject, host all all all password") == "hba");
    CHECK(rules("hostnossl shop all all reject, host all all all password") == "hba");
}

TEST_CASE("a configuration made in code is judged too") {
    config c;
    c.listen.postgres = endpoint{"127.0.0.1", 6432};
    c.clusters["main"].primary = endpoint{"127.0.0.1", 5432};
    c.sites["shop"];
    fill_defaults(c);
    CHECK(c.sites["shop"].cluster == "main");
    CHECK(c.sites["shop"].databases == std::vector<std::string>{"shop"});
    CHECK(validate(c).issues.empty());
    c.sites["shop"].cluster = "gone";
    REQUIRE(validate(c).issues.size() == 1);
    CHECK(validate(c).issues[0].line == 0);
}

TEST_CASE("a guard that nobody could serve, and lists of functions") {
    auto const path_of = [](std::string const& guard, bool control = true) {
        std::string text = with_sites("  shop: {cluster: main, guard: {" + guard + "}}\n");
        if (!control) text.replace(text.find(", control: {user: lull}"), 23, "");
        auto const issues = bad(text);
        REQUIRE(issues.size() == 1);
        CHECK_FALSE(issues[0].fix.empty());
        return issues[0].path;
    };
    CHECK(path_of("functions: refuse", false) == "sites.shop.guard.functions");
    CHECK(path_of("functions: maybe") == "sites.shop.guard.functions");
    CHECK(path_of("allow_functions: ['*']") == "sites.shop.guard.allow_functions[0]");
    CHECK(path_of("allow_functions: [f, 'a.b.c']") == "sites.shop.guard.allow_functions[1]");
    CHECK(path_of("deny_functions: ['api.*']") == "sites.shop.guard.deny_functions[0]");
    CHECK(path_of("deny_functions: ['.f']") == "sites.shop.guard.deny_functions[0]");
    auto const c =
        good(with_sites("  shop: {cluster: main, guard: {functions: refuse, allow_functions: [f, 'api.*'], "
                        "deny_functions: [a.f]}}\n"));
    CHECK(c.sites.at("shop").guard.functions == function_policy::refuse);
    CHECK(c.sites.at("shop").guard.allow_functions == std::vector<std::string>{"f", "api.*"});
}

TEST_CASE("a fence that nobody could put up, and prepared transactions that nobody sees") {
    auto const path_of = [](std::string const& site, bool control = true) {
        std::string text = with_sites("  shop: {cluster: main, " + site + "}\n");
        if (!control) text.replace(text.find(", control: {user: lull}"), 23, "");
        auto const issues = bad(text);
        REQUIRE(issues.size() == 1);
        CHECK_FALSE(issues[0].fix.empty());
        return issues[0].path;
    };
    CHECK(path_of("fence: required") == "sites.shop.fence");
    CHECK(path_of("fence: wanted") == "sites.shop.fence");
    CHECK(path_of("fence: perhaps") == "sites.shop.fence");
    CHECK(path_of("prepared_transactions: wait", false) == "sites.shop.prepared_transactions");
    CHECK(path_of("prepared_transactions: refuse", false) == "sites.shop.prepared_transactions");
    std::string text = with_sites("  shop: {cluster: main, fence: wanted, prepared_transactions: wait}\n");
    text.replace(text.find("control: {user: lull}"), 21, "control: {user: lull}, fence: {user: lull_fence}");
    auto const c = good(text);
    CHECK(c.sites.at("shop").fence == fence_policy::wanted);
    CHECK(c.sites.at("shop").prepared == prepared_policy::wait);
    CHECK(c.clusters.at("main").fence == login_role{"lull_fence", "", "postgres"});
    CHECK(good(with_sites("  shop: {cluster: main}\n")).sites.at("shop").fence == fence_policy::automatic);
}

TEST_CASE("rules for writes: what passes can store nothing, and only what can be made up is answered") {
    auto const path_of = [](std::string const& site) {
        auto const issues = bad(with_sites("  shop: {cluster: main, " + site + "}\n"));
        REQUIRE(issues.size() == 1);
        CHECK_FALSE(issues[0].fix.empty());
        return issues[0].path;
    };
    CHECK(path_of("writes: pass") == "sites.shop.writes");
    CHECK(path_of("writes: forget") == "sites.shop.writes");
    CHECK(path_of("write_rules: [{action: pass}]") == "sites.shop.write_rules[0].action");
    CHECK(path_of("write_rules: [{users: [app]}]") == "sites.shop.write_rules[0].action");
    CHECK(path_of("write_rules: [{statements: [notify, insert], action: pass}]") ==
          "sites.shop.write_rules[0].statements[1]");
    CHECK(path_of("write_rules: [{action: hold}, {statements: [ddl], action: discard}]") ==
          "sites.shop.write_rules[1].statements[0]");
    CHECK(path_of("write_rules: [{statements: [copy], action: journal}]") ==
          "sites.shop.write_rules[0].statements[0]");
    CHECK(path_of("guard: {notify: discard}, write_rules: [{action: hold}, {statements: [notify], action: pass}]") ==
          "sites.shop.write_rules[1].statements");
    CHECK(path_of("write_rules: [{statements: [inserts], action: hold}]") ==
          "sites.shop.write_rules[0].statements[0]");
    CHECK(path_of("hold: {release_per_second: 0}") == "sites.shop.hold.release_per_second");
    CHECK(path_of("journal: {max_count: 0}") == "sites.shop.journal.max_count");
    auto const c = good(with_sites("  shop: {cluster: main, writes: journal, write_rules: [{statements: [notify, listen], "
                                   "action: pass}, {applications: ['w*'], tables: [a.b], action: hold}]}\n"));
    auto const& rules = c.sites.at("shop").write_rules;
    REQUIRE(rules.size() == 2);
    CHECK(rules[0].action == write_policy::pass);
    CHECK(rules[1].tables == std::vector<std::string>{"a.b"});
}
