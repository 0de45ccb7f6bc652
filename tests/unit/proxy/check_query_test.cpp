#include "proxy/check_query_core.hpp"

#include <doctest/doctest.h>

using namespace lull;

namespace {

std::optional<config::issue> judged(std::string const& query) {
    config::config c;
    c.limits.server_check_query = query;
    config::positions where;
    where.file = "lull.yaml";
    where.at["limits"] = {7, 1};
    where.at["limits.server_check_query"] = {9, 23};
    return judge_check_query(c, where);
}

}  // namespace

TEST_CASE("a check query may be what only reads in whoever's session, and the default is one") {
    CHECK(!judge_check_query({}, {}));
    for (char const* query : {"off", ";", "SELECT 1", "/* here? */ select 1, 2", "VALUES (1)", "SHOW server_version", "SELECT current_timestamp"})
        CHECK_MESSAGE(!judged(query), query);
}

TEST_CASE("a check query that may write, or mean something else in another session, is refused by line and column") {
    for (char const* query : {"INSERT INTO t VALUES (1)", "SELECT nextval('s')", "SELECT now()", "SELECT 1 + 1", "SELECT * FROM t", "SELECT f()",
                              "SELECT 1; DELETE FROM t", "BEGIN", "SET x = 1", "SELECT pg_advisory_lock(1)", "LISTEN a", "COPY (SELECT 1) TO STDOUT",
                              "SELECT 'a'::my_domain", "DISCARD ALL", "EXPLAIN SELECT 1", "what is this", "SELECT '\\', ' ; DELETE FROM t; --'", "SELECT set_config('a', 'b', false)"}) {
        auto const issue = judged(query);
        REQUIRE_MESSAGE(issue, query);
        CHECK(issue->file == "lull.yaml");
        CHECK(issue->line == 9);
        CHECK(issue->column == 23);
        CHECK(issue->path == "limits.server_check_query");
        CHECK(!issue->fix.empty());
    }
}
