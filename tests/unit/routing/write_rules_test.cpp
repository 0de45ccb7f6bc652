// Rules for writes while a site is sealed: which one fits, and what may be answered without running it.
#include "routing/write_rules.hpp"

#include "routing/policy.hpp"
#include "routing/sql_classifier.hpp"

#include <doctest/doctest.h>

using namespace lull;
using namespace lull::routing;
using config::write_policy;

namespace {

struct asked {
    sql_classifier classifier;
    config::site site;
    write_source from{"app", "web"};

    refused_write write(std::string_view sql) { return {*classifier.classify(sql), sql, from}; }
    write_policy action(std::string_view sql) { return choose_action(site, write(sql)); }
    std::string tag(std::string_view sql) { return answer_of(write(sql)).value_or("-"); }
};

}  // namespace

TEST_CASE("without rules the site's choice counts") {
    asked a;
    CHECK(a.action("INSERT INTO t VALUES (1)") == write_policy::refuse);
    a.site.writes = write_policy::hold;
    CHECK(a.action("INSERT INTO t VALUES (1)") == write_policy::hold);
}

TEST_CASE("the first rule that fits decides") {
    asked a;
    a.site.write_rules = {
        {.users = {"rep*"}, .action = write_policy::discard},
        {.applications = {"cron"}, .action = write_policy::hold},
        {.statements = {"insert"}, .tables = {"views", "audit.*"}, .action = write_policy::journal},
        {.statements = {"ddl"}, .action = write_policy::hold}};
    CHECK(a.action("INSERT INTO views VALUES (1)") == write_policy::journal);
    CHECK(a.action("INSERT INTO public.views VALUES (1)") == write_policy::journal);
    CHECK(a.action("INSERT INTO audit.log VALUES (1)") == write_policy::journal);
    CHECK(a.action("INSERT INTO log VALUES (1)") == write_policy::refuse);
    CHECK(a.action("UPDATE views SET a = 1") == write_policy::refuse);
    CHECK(a.action("CREATE TABLE views (a int)") == write_policy::hold);
    a.from = {"reporting", "web"};
    CHECK(a.action("DROP TABLE x") == write_policy::discard);
    a.from = {"app", "cron"};
    CHECK(a.action("INSERT INTO views VALUES (1)") == write_policy::hold);
}

TEST_CASE("what is refused and says of no statement that it writes counts as unknown") {
    asked a;
    a.site.write_rules = {{.statements = {"unknown"}, .action = write_policy::hold}};
    operation op;
    CHECK(choose_action(a.site, {op, "", a.from}) == write_policy::hold);
    CHECK(a.action("this is no SQL") == write_policy::hold);
    CHECK(a.action("INSERT INTO t VALUES (1)") == write_policy::refuse);
}

TEST_CASE("a rule for tables fits only what writes to nothing else") {
    asked a;
    a.site.write_rules = {{.tables = {"views"}, .action = write_policy::hold}};
    CHECK(a.action("INSERT INTO views SELECT * FROM other") == write_policy::hold);
    CHECK(a.action("WITH d AS (DELETE FROM other RETURNING 1) INSERT INTO views SELECT * FROM d") ==
          write_policy::refuse);
    CHECK(a.action("INSERT INTO views VALUES (1); DELETE FROM other") == write_policy::refuse);
    CHECK(a.action("INSERT INTO views VALUES (1); DELETE FROM views") == write_policy::hold);
    CHECK(a.action("SELECT nextval('views')") == write_policy::refuse);
    CHECK(a.action("TRUNCATE views") == write_policy::hold);
    CHECK(a.action("TRUNCATE views, other") == write_policy::refuse);
    CHECK(a.action("COPY views FROM STDIN") == write_policy::hold);
    CHECK(a.action("INSERT INTO views VALUES (") == write_policy::refuse);
    CHECK(a.action("CALL views()") == write_policy::refuse);
}

TEST_CASE("every statement of a text must be of the rule's kinds") {
    asked a;
    a.site.write_rules = {{.statements = {"insert"}, .action = write_policy::hold}};
    CHECK(a.action("SELECT 1; INSERT INTO t VALUES (1)") == write_policy::hold);
    CHECK(a.action("INSERT INTO t VALUES (1); DROP TABLE t") == write_policy::refuse);
    CHECK(a.action("nonsense") == write_policy::refuse);
}

TEST_CASE("what may be answered without running it, and with which tag") {
    asked a;
    CHECK(a.tag("INSERT INTO t VALUES (1)") == "INSERT 0 1");
    CHECK(a.tag("INSERT INTO t VALUES ($1, now()), ($2, 2), (3, 4)") == "INSERT 0 3");
    CHECK(a.tag("INSERT INTO t DEFAULT VALUES") == "INSERT 0 1");
    CHECK(a.tag("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING") == "INSERT 0 1");
    CHECK(a.tag("UPDATE t SET a = 1 WHERE b = $1") == "UPDATE 1");
    CHECK(a.tag("DELETE FROM t") == "DELETE 1");
    for (auto sql : {"INSERT INTO t VALUES (1) RETURNING id",
                     "UPDATE t SET a = 1 RETURNING a",
                     "DELETE FROM t RETURNING *",
                     "INSERT INTO t SELECT * FROM u",
                     "INSERT INTO t VALUES (1) LIMIT 1",
                     "WITH x AS (SELECT 1) DELETE FROM t",
                     "UPDATE t SET a = 1 WHERE CURRENT OF c",
                     "INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)",
                     "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
                     "TRUNCATE t",
                     "CALL p()",
                     "COPY t FROM STDIN",
                     "CREATE TABLE t (a int)",
                     "NOTIFY x",
                     "UPDATE pg_settings SET setting = 1",
                     "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
                     "INSERT INTO t VALUES (pg_advisory_lock(1))",
                     "PREPARE p AS INSERT INTO t VALUES (1)",
                     "nonsense",
                     ""})
        CHECK_MESSAGE(a.tag(sql) == "-", sql);
}

TEST_CASE("a verdict that is shared by texts with other constants does not share their rows") {
    asked a;
    CHECK(a.tag("INSERT INTO t VALUES (1), (2)") == "INSERT 0 2");
    CHECK(a.tag("INSERT INTO t VALUES (7), (8), (9)") == "INSERT 0 3");
}

TEST_CASE("only NOTIFY and LISTEN store nothing") {
    asked a;
    auto stores = [&](std::string_view sql) { return !stores_nothing(*a.classifier.classify(sql)); };
    CHECK_FALSE(stores("NOTIFY x, 'payload'"));
    CHECK_FALSE(stores("LISTEN x"));
    for (auto sql : {"SELECT pg_notify('x', 'y')", "NOTIFY x; INSERT INTO t VALUES (1)",
                     "INSERT INTO pg_temp.t VALUES (1)", "LISTEN x; NOTIFY x", "SELECT 1", ""})
        CHECK_MESSAGE(stores(sql), sql);
}

TEST_CASE("globs") {
    CHECK(wildcard_matches("", ""));
    CHECK(wildcard_matches("*", ""));
    CHECK(wildcard_matches("a*c", "abc"));
    CHECK(wildcard_matches("*a*b*", "xxaxxbxx"));
    CHECK(wildcard_matches("a/b", "a/b"));
    CHECK_FALSE(wildcard_matches("a*c", "abd"));
    CHECK_FALSE(wildcard_matches("", "a"));
    CHECK_FALSE(wildcard_matches("a", ""));
}
