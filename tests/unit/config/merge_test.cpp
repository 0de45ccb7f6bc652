#include "config/merge.hpp"

#include "config/diff.hpp"
#include "config/fields.hpp"
#include "config/rows.hpp"
#include "tests/unit/config/support.hpp"

#include <map>
#include <set>

using namespace lull::config;
using namespace config_test;

namespace {

/// Gives every key another value than it has, in the one list of all keys.
struct change_all {
    template <class E>
    requires std::is_enum_v<E>
    void field(std::string_view, E& value, spec const&) {
        for (auto const& c : choices_of(value))
            if (c.value != value) {
                value = c.value;
                return;
            }
    }
    void flag(std::string_view, bool& value, std::string_view, std::string_view, spec const&) { value = !value; }
    void field(std::string_view, std::string& value, spec const&) { value += "x"; }
    void field(std::string_view, std::size_t& value, spec const&) { ++value; }
    void field(std::string_view, milliseconds& value, spec const&) { ++value; }
    void field(std::string_view, endpoint& value, spec const&) {
        value.host = "10.0.0.9";
        ++value.port;
    }
    template <class T>
    void field(std::string_view key, std::optional<T>& value, spec const& s) {
        if (!value) value.emplace();
        field(key, *value, s);
    }
    template <class T>
    void field(std::string_view key, std::vector<T>& value, spec const& s) {
        field(key, value.emplace_back(), s);
    }
    template <class Fn>
    void section(std::string_view, Fn fn) {
        fn();
    }
    template <class T, class Fn>
    void optional_section(std::string_view, std::optional<T>& value, std::string_view, Fn fn) {
        fn(*value);
    }
    template <class T, class Fn>
    void named(std::string_view, std::map<std::string, T>& elements, std::string_view, name_kind, Fn fn) {
        for (auto& [name, element] : elements) fn(element);
    }
    template <class T, class Fn>
    void list(std::string_view, std::vector<T>& elements, std::string_view, Fn fn) {
        fn(elements.emplace_back(), *this);
    }
};

/// With every section that there may be.
config full() {
    return good(
        "listen: {postgres: 127.0.0.1:6432}\n"
        "clusters: {main: {primary: 127.0.0.1:5432, control: {user: a}, fence: {user: b, password: c}, auth_query: {user: d}}}\n"
        "sites: {shop: {}}\n"
        "users: {app: {password: secret}}\n"
        "databases: {shop: {pool_size: 3}}\n");
}

std::set<std::string> paths(std::vector<change> const& changes, bool reloadable) {
    std::set<std::string> out;
    for (change const& c : changes)
        if (c.reloadable == reloadable) out.insert(c.what);
    return out;
}

}  // namespace

TEST_CASE("each key that is said to change by a reload does, and each other does not") {
    config const now = full();
    config wanted = now;
    change_all all;
    visit(wanted, all);
    auto const told = diff(now, wanted);
    std::set<std::string> every;
    for (row const& r : rows_of(wanted))
        if (!r.element) every.insert(path_of(r));
    auto changing = paths(told, true);
    changing.merge(paths(told, false));
    CHECK(changing == every);

    config const merged = merge(now, wanted);
    auto const done = diff(now, merged);
    CHECK(paths(done, false) == std::set<std::string>{});
    CHECK(paths(done, true) == paths(told, true));
    auto const left = diff(merged, wanted);
    CHECK(paths(left, true) == std::set<std::string>{});
    CHECK(paths(left, false) == paths(told, false));
}

TEST_CASE("what comes or goes by a reload is there, or is not, as it is said") {
    config const now = full();
    config wanted = now;
    wanted.clusters["two"].primary.port = 3;
    wanted.sites["with_it"].cluster = "two";
    wanted.sites["here"].cluster = "main";
    wanted.sites.erase("shop");
    wanted.users.erase("app");
    config const merged = merge(now, wanted);
    CHECK(paths(diff(now, merged), true) == paths(diff(now, wanted), true));
    CHECK(paths(diff(merged, wanted), false) == std::set<std::string>{"clusters.two", "sites.shop", "sites.with_it"});
}
