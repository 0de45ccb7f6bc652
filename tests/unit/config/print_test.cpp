#include "config/print.hpp"

#include "tests/unit/config/support.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

using namespace lull::config;
using namespace config_test;

namespace {

config without_secrets(config c) {
    for (auto& [name, cluster] : c.clusters) {
        if (cluster.control) cluster.control->password.clear();
        if (cluster.fence) cluster.fence->password.clear();
        if (cluster.auth_query) cluster.auth_query->role.password.clear();
    }
    for (auto& [name, user] : c.users) user.password = user.server_password = "";
    return c;
}

std::string read(std::filesystem::path const& path) {
    std::ifstream in(path, std::ios::binary);
    REQUIRE(in);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::filesystem::path example() {
    return std::filesystem::path(LULL_SOURCE_DIR) / "deploy/lull.yaml";
}

/// The keys of the example, also those behind "#", with their values; by indentation, since the example is
/// written in block style. Names under clusters, sites, users and databases become `*`.
std::map<std::string, std::vector<std::string>> keys_of_example(std::string const& text) {
    std::map<std::string, std::vector<std::string>> out;
    std::vector<std::pair<std::size_t, std::string>> open;
    for (std::size_t at = 0; at < text.size();) {
        auto const end = std::min(text.find('\n', at), text.size());
        auto line = text.substr(at, end - at);
        at = end + 1;
        auto indent = line.find_first_not_of(' ');
        if (indent == std::string::npos) continue;
        line = line.substr(indent);
        if (line[0] == '#') {
            if (line.size() < 2 || line[1] == ' ') continue;
            line = line.substr(1);
        }
        bool const item = line.starts_with("- ");
        if (item) {
            line = line.substr(2);
            indent += 2;
        }
        auto const colon = line.find(':');
        if (colon == std::string::npos) continue;
        while (!open.empty() && open.back().first >= indent) open.pop_back();
        if (item) open.back().second += "[]";
        auto const parent = open.empty() ? std::string{} : open.back().second;
        bool const named =
            parent == "clusters" || parent == "sites" || parent == "users" || parent == "databases";
        auto const path = (parent.empty() ? "" : parent + ".") + (named ? "*" : line.substr(0, colon));
        out[path].push_back(line.size() > colon + 2 ? line.substr(colon + 2) : "");
        open.emplace_back(indent, path);
    }
    return out;
}

}  // namespace

TEST_CASE("what is printed loads as the same configuration, except for the secrets") {
    for (auto const& text : {std::string(smallest), read(example())}) {
        auto const c = good(text);
        auto const printed = print_effective(c);
        CHECK(without_secrets(good(printed)) == without_secrets(c));
        CHECK(print_effective(good(printed)) == printed);
    }
}

TEST_CASE("texts that YAML would read otherwise survive") {
    auto c = good(smallest);
    for (std::string name : {"null", "~",        "true", "a: b", "- a", "a #b", "#",  "\"", "\\",
                             "a\nb", "\t",       "{a}",  "[a]",  "&a",  "*a",   "!a", "|",  ">",
                             "'",    "%",        "@",    "`",    " a ", "a:",   ":",  "?",  "0x10",
                             "1e3",  "\xC3\xA4", "\x01", "---",  "...", "=",    "a,b"})
        c.users[name] = user{name, "x", ""};
    c.state_dir = "/var/a b: c # d";
    c.sites["shop"].databases = {"null", "a, b", "[x]", "~", "c:"};
    CHECK(without_secrets(good(print_effective(c))) == without_secrets(c));
}

TEST_CASE("secrets are not printed") {
    auto const printed =
        print_effective(good("listen: {postgres: 127.0.0.1:6432}\n"
                             "clusters: {main: {primary: 127.0.0.1:5432, control: {user: lull, password: "
                             "sekret1}, auth_query: {user: q, password: sekret2}}}\n"
                             "sites: {shop: {}}\n"
                             "users: {app: {password: sekret3, server_password: sekret4}, empty: {}}\n"));
    CHECK_FALSE(has(printed, "sekret"));
    std::size_t count = 0;
    for (auto at = printed.find(redacted); at != std::string::npos; at = printed.find(redacted, at + 1))
        ++count;
    CHECK(count == 4);
    CHECK(has(printed, "  empty:\n    refusal_sqlstate: site\n"));
}

TEST_CASE("every key is described, once") {
    std::set<std::string> paths;
    for (auto const& k : describe_keys()) {
        CHECK_MESSAGE(paths.insert(k.path).second, k.path);
        CHECK_FALSE(k.type.empty());
        CHECK_FALSE(k.default_value.empty());
        CHECK_MESSAGE(k.about.ends_with("."), k.path);
    }
    for (auto path : {"listen.postgres", "clusters.*.control.password_file", "sites.*.hold.max_age",
                      "sites.*.http_rules[].path", "users.*.server_password", "limits.http_idle_timeout"})
        CHECK_MESSAGE(paths.contains(path), path);
    auto const keys = describe_keys();
    auto const of = [&](std::string_view path) {
        return *std::find_if(keys.begin(), keys.end(), [&](auto const& k) { return k.path == path; });
    };
    CHECK(of("sites.*.hold.max_age").default_value == "1min");
    CHECK(of("sites.*.hold.max_age").type == "duration");
    CHECK(of("sites.*.hold.max_age").reloadable);
    CHECK(of("sites.*.databases").default_value == "the site's name");
    CHECK(of("clusters.*.primary").default_value == "required");
    CHECK_FALSE(of("clusters.*.primary").reloadable);
}

TEST_CASE("the example has every key with its default, and no other") {
    auto const text = read(example());
    (void)good(text);
    auto const written = keys_of_example(text);
    std::set<std::string> described{"clusters.*", "sites.*", "users.*"};
    std::set<std::string> sections;
    for (auto const& k : describe_keys()) {
        described.insert(k.path);
        for (auto dot = k.path.find('.'); dot != std::string::npos; dot = k.path.find('.', dot + 1))
            sections.insert(k.path.substr(0, dot));
        auto const it = written.find(k.path);
        REQUIRE_MESSAGE(it != written.end(), k.path);
        // Where the default is a value that could be written, the example writes it, or says in words that
        // there is none.
        bool const in_words = k.default_value == "none" || k.default_value == "required" ||
                              k.default_value == "[]" || k.default_value.find(' ') != std::string::npos ||
                              k.default_value.find('\'') != std::string::npos;
        if (!in_words) CHECK_MESSAGE(it->second.front() == k.default_value, k.path);
        if (k.path == "clusters.*.auth_query.query") CHECK(it->second.front() == k.default_value);
    }
    for (auto const& entry : written)
        CHECK_MESSAGE((described.contains(entry.first) || sections.contains(entry.first)), entry.first);
}
