#include "config/load.hpp"

#include "tests/unit/config/support.hpp"

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>

using namespace lull::config;
using namespace config_test;
using namespace std::chrono_literals;

namespace {

constexpr std::string_view full =
    R"(listen: {postgres: 127.0.0.1:6432, migration: 127.0.0.1:6433, http: "[::1]:8080"}
auth: trust
admin_socket: /tmp/admin.sock
state_dir: /tmp/state
workers: 2
clusters:
  main:
    primary: 127.0.0.1:5432
    replicas: [127.0.0.1:5433]
    control: {user: lull, password: "p1", database: postgres}
    auth_query: {user: lull_auth, password: "p2", database: auth, query: "SELECT 1", cache_time: 3s}
    pool_size: 7
    probe_interval: 50ms
    max_replica_lag: 5s
  other: {primary: "db.example:5432"}
sites:
  shop:
    cluster: main
    databases: [shop, shop_archive]
    hosts: [Shop.Example., www.shop.example]
    upstreams: [127.0.0.1:8000]
    migration: {users: [shop_owner]}
    writes: hold
    hold: {max_count: 10, max_bytes: 1MB, max_age: 5s}
    http_rules:
      - {methods: [POST], path: /search, action: allow}
      - {path: /export/**, action: refuse}
    freeze: off
    report_read_only: off
    drain: {timeout: 3s, on_deadline: terminate}
    seal_timeout: 4s
    retry_after: 5s
users:
  app: {password: "a", server_password: "b"}
  "o'brien.x": {}
console: {database: adm, admins: [app], stats: [app, o'brien.x], pause_timeout: 6s}
log: {format: json, level: warning, slow_query: 1s, sample: 100, statements_per_second: 7}
limits: {max_clients: 9, max_parse_bytes: 4kB, http_idle_timeout: 1min}
)";

/// A folder that goes with the test.
struct folder {
    std::filesystem::path path;
    folder() {
        std::string name = (std::filesystem::temp_directory_path() / "lull_config_XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~folder() { std::filesystem::remove_all(path); }
    std::string write(std::string const& name, std::string_view content) const {
        std::ofstream(path / name, std::ios::binary) << content;
        std::filesystem::permissions(path / name, std::filesystem::perms(0600));
        return (path / name).string();
    }
};

}  // namespace

TEST_CASE("every key fills its member") {
    auto const c = good(full);
    CHECK(c.file == "lull.yaml");
    CHECK(c.listen.postgres == endpoint{"127.0.0.1", 6432});
    CHECK(c.listen.migration == endpoint{"127.0.0.1", 6433});
    CHECK(c.listen.http == endpoint{"::1", 8080});
    CHECK(c.auth == auth_method::trust);
    CHECK(c.admin_socket == "/tmp/admin.sock");
    CHECK(c.state_dir == "/tmp/state");
    CHECK(c.workers == 2);
    auto const& main = c.clusters.at("main");
    CHECK(main.name == "main");
    CHECK(main.replicas == std::vector<endpoint>{{"127.0.0.1", 5433}});
    CHECK(main.control == login_role{"lull", "p1", "postgres"});
    CHECK(main.auth_query == auth_query{{"lull_auth", "p2", "auth"}, "SELECT 1", 3s});
    CHECK(main.pool_size == 7);
    CHECK(main.probe_interval == 50ms);
    CHECK(main.max_replica_lag == 5s);
    auto const& shop = c.sites.at("shop");
    CHECK(shop.cluster == "main");
    CHECK(shop.databases == std::vector<std::string>{"shop", "shop_archive"});
    CHECK(shop.hosts == std::vector<std::string>{"shop.example", "www.shop.example"});
    CHECK(shop.upstreams == std::vector<endpoint>{{"127.0.0.1", 8000}});
    CHECK(shop.migration_users == std::vector<std::string>{"shop_owner"});
    CHECK(shop.writes == write_policy::hold);
    CHECK(shop.hold == hold_limits{10, 1024 * 1024, 5s});
    CHECK(shop.http_rules == std::vector<http_rule>{{{"POST"}, "/search", true}, {{}, "/export/**", false}});
    CHECK(shop.freeze == freeze_policy::off);
    CHECK_FALSE(shop.report_read_only);
    CHECK(shop.drain_timeout == 3s);
    CHECK(shop.on_deadline == on_deadline::terminate);
    CHECK(shop.seal_timeout == 4s);
    CHECK(shop.retry_after == 5s);
    CHECK(c.users.at("app") == user{"app", "a", "b"});
    CHECK(c.users.at("o'brien.x") == user{"o'brien.x", "", ""});
    CHECK(c.console == console{"adm", {"app"}, {"app", "o'brien.x"}, 6s});
    CHECK(c.log == logging{log_format::json, log_level::warning, 1s, 100, 7});
    CHECK(c.limits.max_clients == 9);
    CHECK(c.limits.max_parse_bytes == 4096);
    CHECK(c.limits.http_idle_timeout == 1min);
}

TEST_CASE("ten lines are enough, and a single value is a list of one") {
    auto const c = good(
        "listen: {postgres: 127.0.0.1:6432, http: 127.0.0.1:8080}\n"
        "clusters:\n"
        "  main:\n"
        "    primary: 127.0.0.1:5432\n"
        "    replicas: 127.0.0.1:5433\n"
        "    control: {user: lull}\n"
        "sites:\n"
        "  shop: {hosts: shop.example, upstreams: 127.0.0.1:8000, http_rules: {methods: POST, path: "
        "/search}}\n"
        "users:\n"
        "  app: {password: secret}\n");
    auto const& shop = c.sites.at("shop");
    CHECK(shop.cluster == "main");
    CHECK(shop.databases == std::vector<std::string>{"shop"});
    CHECK(shop.hosts == std::vector<std::string>{"shop.example"});
    CHECK(shop.upstreams.size() == 1);
    CHECK(shop.http_rules == std::vector<http_rule>{{{"POST"}, "/search", true}});
    CHECK(c.clusters.at("main").replicas.size() == 1);
    CHECK(c.limits == limits{});
}

TEST_CASE("all mistakes are told at once, in order, each with its place") {
    auto const issues =
        bad("listen: {postgres: 127.0.0.1}\n"
            "auth: trst\n"
            "clusters:\n"
            "  main:\n"
            "    pool_size: -1\n"
            "    probe_interval: 100\n"
            "sites:\n"
            "  shop:\n"
            "    cluser: main\n"
            "    cluster: mian\n"
            "workers: 1000\n");
    std::vector<std::string> told;
    for (auto const& i : issues)
        told.push_back(std::to_string(i.line) + ":" + std::to_string(i.column) + " " + i.path);
    CHECK(told == std::vector<std::string>{"1:20 listen.postgres", "2:7 auth", "4:3 clusters.main.primary",
                                           "5:16 clusters.main.pool_size",
                                           "6:21 clusters.main.probe_interval", "9:5 sites.shop.cluser",
                                           "10:14 sites.shop.cluster", "11:10 workers"});
    CHECK(issues[0].fix == "write 127.0.0.1:6432");
    CHECK(issues[1].fix == "did you mean trust?");
    CHECK(issues[5].fix == "did you mean cluster?");
    CHECK(issues[6].fix == "did you mean main?");
    CHECK(to_string(issues[1]) ==
          "lull.yaml:2:7: error: auth: \"trst\" is not one of scram-sha-256, md5, password, cert or trust\n  "
          "  fix: did you mean "
          "trust?");
}

TEST_CASE("a key that stands in the wrong place is told its right one") {
    auto const e = one(std::string(smallest) + "max_age: 5s\n");
    CHECK(e.message == "unknown key");
    CHECK(e.fix == "it belongs under sites.*.hold (* is a name of yours)");
    CHECK(one(std::string(smallest) + "max_clients: 5\n").fix == "it belongs under limits");
    CHECK(has(one(std::string(smallest) + "zebra: 5\n").fix, "the keys here are listen, auth"));
    CHECK(has(one(std::string(smallest) + "<<: {}\n").fix, "merge keys"));
}

TEST_CASE("keys given twice are refused wherever they are") {
    auto const e = one(std::string(smallest) + "auth: trust\nauth: trust\n");
    CHECK(e.line == 6);
    CHECK(e.message == "this key is already on line 5");
    CHECK(bad(std::string(smallest) + "sites: {}\n")[0].path == "sites");
    CHECK(one(std::string(smallest) + "limits: {max_clients: 1, max_clients: 1}\n").path ==
          "limits.max_clients");
    CHECK(one("listen: {postgres: 127.0.0.1:6432}\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: "
              "{shop: {}, shop: {}}\n")
              .path == "sites.shop");
}

TEST_CASE("wrong shapes are named, not guessed") {
    auto const with = [](std::string const& line) { return one(smallest + line); };
    CHECK(has(with("limits: [1]\n").message, "found a list"));
    CHECK(has(with("limits: [1]\n").fix, "remove the dashes"));
    CHECK(has(with("limits: 5\n").message, "found a single value"));
    CHECK(has(with("workers: [1]\n").message, "found a list"));
    CHECK(has(with("workers: {a: 1}\n").message, "found a map"));
    CHECK(has(with("workers:\n").message, "found nothing"));
    CHECK(has(with("workers: two\n").message, "not a whole number"));
    CHECK(has(with("workers: 1.5\n").message, "not a whole number"));
    CHECK(has(with("workers: 257\n").fix, "from 0 to 256"));
    CHECK(has(with("workers: 18446744073709551616\n").message, "out of range"));
    CHECK(has(with("limits: {max_http_head_bytes: 2MB}\n").fix, "from 1kB to 1MB"));
    CHECK(has(with("limits: {login_timeout: 2d}\n").fix, "from 1ms to 1h"));
    CHECK(has(with("state_dir: ''\n").message, "empty"));
    CHECK(has(with("admin_socket: /" + std::string(120, 'x') + "\n").message, "longer than 107"));
    CHECK(has(with("admin_socket: \"/a\\0b\"\n").message, "NUL"));
    CHECK(has(one("- a\n- b\n").message, "found a list"));
    CHECK(has(one("text\n").message, "found a single value"));
    CHECK(has(one("").message, "empty"));
    CHECK(one("").line == 1);
    CHECK(one(std::string(smallest) + "\nworkers:\n\n").line == 6);
    CHECK(has(one("# only a comment\n").message, "empty"));
}

TEST_CASE("names that could not be written in a command are refused") {
    for (std::string const& name : std::vector<std::string>{"\"a b\"", "\"a.b\"", "\"\"", "\"a/b\"", "-a",
                                                            "\"" + std::string(64, 'a') + "\""}) {
        auto const e = bad(
            "listen: {postgres: 127.0.0.1:6432}\nclusters: {main: {primary: 127.0.0.1:5432}}\nsites: {? " +
            name + " : {}}\n");
        CHECK(has(e[0].message, "not a name"));
    }
}

TEST_CASE("bad YAML is told with its place and what to do") {
    CHECK(one("listen: {postgres: 127.0.0.1:6432\n").line >= 1);
    CHECK(has(one("a: b: c\n").fix, "quotes"));
    CHECK(has(one("listen:\n\tpostgres: 1\n").fix, "spaces"));
    CHECK(has(one("clusters:\n  main:\n    primary: [::1]:5432\n").fix, "quotes"));
    CHECK(has(one("a: \"unclosed\n").fix, "not closed"));
    auto const unclosed = one("a: b\nc: \"unclosed\nd: e\n");
    CHECK(unclosed.line == 3);
    CHECK(unclosed.column == 5);
    CHECK(has(one("a: 'unclosed").fix, "not closed"));
    CHECK(good(std::string(smallest) + "...\n").clusters.size() == 1);
    CHECK(good(smallest.substr(0, smallest.size() - 1)).clusters.size() == 1);
    CHECK(good(std::string(smallest) + "state_dir: |-\n  /tmp/x").state_dir == "/tmp/x");
    CHECK(has(one("a: *nowhere\n").message, "anchor"));
    CHECK(has(one("a: !!python/object x\n").message, "tag"));
    CHECK(has(one("? [a, b]\n: c\n").message, "key"));
    auto const second = one(std::string(smallest) + "---\na: b\n");
    CHECK(has(second.message, "second document"));
    CHECK(second.line >= 5);
}

TEST_CASE("bytes that YAML would change silently are refused") {
    auto const e = one("listen:\n  a\xFF: 1\n");
    CHECK(e.message == "not UTF-8");
    CHECK(e.line == 2);
    CHECK(e.column == 4);
    CHECK(has(one(std::string_view("a: \0b", 5)).message, "control byte"));
    CHECK(has(one("a: \x1B[1m").message, "control byte"));
    for (std::string_view text :
         {"a: \xC0\x80", "a: \xED\xA0\x80", "a: \xF4\x90\x80\x80", "a: \xE2\x82", "a: \xF0\x80\x80\x80"})
        CHECK(one(text).message == "not UTF-8");
    CHECK(good(smallest + "state_dir: /\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\n").state_dir ==
          "/\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
}

TEST_CASE("depth is bounded") {
    CHECK(has(one(std::string(100'000, '[')).message, "deep"));
    std::string nested;
    for (int i = 0; i < 1000; ++i) nested += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
    CHECK(has(one(nested).message, "deep"));
}

TEST_CASE("aliases work but cannot multiply, nest or chase their own tail") {
    auto const c = good(std::string(smallest) + "limits: {max_clients: &n 17, max_http_clients: *n}\n");
    CHECK(c.limits.max_http_clients == 17);
    std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; ++i) {
        bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
        for (int j = 0; j < 10; ++j) bomb += std::string(j > 0 ? ", " : "") + "*a" + std::to_string(i - 1);
        bomb += "]\n";
    }
    CHECK(has(one(bomb).fix, "fewer aliases"));
    std::string chain = "a0: &a0 [x]\n";
    for (int i = 1; i < 1000; ++i)
        chain +=
            "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) + "]\n";
    CHECK(has(one(chain).message, "deep"));
    CHECK(has(one("a: &a [*a]\n").message, "inside of what it stands for"));
}

TEST_CASE("not more than a hundred issues are told") {
    std::string text;
    for (int i = 0; i < 5000; ++i) text += "k" + std::to_string(i) + ": 1\n";
    CHECK(bad(text).size() == 100);
}

TEST_CASE("many users are read in little time") {
    std::string text(smallest.substr(0, smallest.find("users")));
    text += "users:\n";
    for (int i = 0; i < 20'000; ++i) text += "  user_" + std::to_string(i) + ": {password: x}\n";
    auto const start = std::chrono::steady_clock::now();
    CHECK(good(text).users.size() == 20'000);
    // Quadratic work over this many would take minutes.
    CHECK(std::chrono::steady_clock::now() - start < 20s);
}

TEST_CASE("files that cannot be read are told why") {
    folder const f;
    auto const refused = [](std::string const& path) {
        auto result = load_file(path);
        REQUIRE(std::holds_alternative<std::vector<issue>>(result));
        auto const& e = std::get<std::vector<issue>>(result).front();
        CHECK(e.file == path);
        CHECK(e.line == 0);
        CHECK_FALSE(e.fix.empty());
        return e.message;
    };
    CHECK(has(refused((f.path / "missing.yaml").string()), "No such file"));
    CHECK(has(refused(f.path.string()), "folder"));
    CHECK(has(refused("/dev/zero"), "not an ordinary file"));
    CHECK(has(refused(f.write("large.yaml", std::string(1024 * 1024 + 1, '#'))), "larger than 1MB"));
    CHECK(has(refused(""), "no file"));
    auto result = load_file(f.write("good.yaml", smallest));
    CHECK(std::holds_alternative<config>(result));
    auto const issues = bad(std::string(1024 * 1024 + 1, '#'));
    CHECK(has(issues[0].message, "larger than 1MB"));
}

TEST_CASE("a secret may come from a file beside the configuration") {
    folder const f;
    f.write("app.password", "s3cret\n");
    std::string text(smallest.substr(0, smallest.find("users")));
    auto result = load_file(f.write("lull.yaml", text + "users: {app: {password_file: app.password}}\n"));
    REQUIRE(std::holds_alternative<config>(result));
    CHECK(std::get<config>(result).users.at("app").password == "s3cret");

    auto const refused = [&](std::string const& line) {
        auto r = load_file(f.write("bad.yaml", text + line));
        REQUIRE(std::holds_alternative<std::vector<issue>>(r));
        auto const& issues = std::get<std::vector<issue>>(r);
        REQUIRE(issues.size() == 1);
        CHECK(issues[0].line == 4);
        return issues[0].message;
    };
    CHECK(has(refused("users: {app: {password_file: missing}}\n"), "No such file"));
    CHECK(has(refused("users: {app: {password_file: .}}\n"), "folder"));
    CHECK(has(refused("users: {app: {password: x, password_file: app.password}}\n"), "given beside"));
    f.write("empty", "\n");
    CHECK(has(refused("users: {app: {password_file: empty}}\n"), "empty"));
    f.write("two", "a\nb\n");
    CHECK(has(refused("users: {app: {password_file: two}}\n"), "more than one line"));
}

TEST_CASE("secrets that others can read are warned of") {
    folder const f;
    auto const path = f.write("lull.yaml", smallest);
    std::vector<warning> warnings;
    (void)load_file(path, &warnings);
    CHECK(warnings.empty());
    std::filesystem::permissions(path, std::filesystem::perms(0644));
    (void)load_file(path, &warnings);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].path == "users.app.password");
    CHECK(warnings[0].line == 4);
    CHECK(has(warnings[0].fix, "chmod"));

    warnings.clear();
    f.write("app.password", "x");
    std::filesystem::permissions(f.path / "app.password", std::filesystem::perms(0644));
    std::string text(smallest.substr(0, smallest.find("users")));
    (void)load_file(f.write("lull.yaml", text + "users: {app: {password_file: app.password}}\n"), &warnings);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings[0].path == "users.app.password_file");
}

TEST_CASE("what is wrong with a configuration is one line in the log") {
    issue const wrong{"lull.yaml", 3, 5, "bogus", "there is no such key", "remove it"};
    CHECK(in_one_line(wrong) == "lull.yaml:3:5: error: bogus: there is no such key (fix: remove it)");
}
