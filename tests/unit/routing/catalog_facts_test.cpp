#include "routing/catalog_facts.hpp"

#include "routing/catalog_source.hpp"
#include "routing/fact_resolver.hpp"
#include "routing/parameter_types.hpp"
#include "routing/policy.hpp"
#include "routing/sql_classifier.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace {

using namespace lull::routing;
namespace config = lull::config;
using kind = catalog_object::kind;
using nature = catalog_object::nature;
using a = lull::routing::access;

/// A catalog that is put together piece by piece.
struct catalog {
    catalog_rows rows;
    config::guard guard;
    std::uint32_t next = 16384;

    std::uint32_t add(kind what, std::string schema, std::string name, nature is = nature::harmless,
                      std::string source = {}, bool of_row = false) {
        rows.objects.push_back(
            {what, next, std::move(schema), std::move(name), is, of_row, std::move(source)});
        return next++;
    }
    std::uint32_t table(std::string name) { return add(kind::relation, "public", std::move(name)); }
    std::uint32_t writes(std::string name) {
        return add(kind::function, "public", std::move(name), nature::unknown);
    }
    std::uint32_t steady(std::string name, std::string source) {
        return add(kind::function, "public", std::move(name), nature::by_source, std::move(source));
    }
    void reaches(kind from_kind, std::uint32_t from, kind to_kind, std::uint32_t to) {
        rows.edges.push_back({from_kind, from, to_kind, to});
    }
    void calls(kind from_kind, std::uint32_t from, std::string builtin) {
        rows.builtins.push_back({from_kind, from, std::move(builtin)});
    }
    std::shared_ptr<catalog_facts const> facts() const { return catalog_facts::make(rows, guard); }
};

struct asking {
    std::shared_ptr<catalog_facts const> facts;
    sql_classifier classifier{};
    fact_resolver resolver{};

    std::shared_ptr<operation const> ask(std::string_view sql, standing how = standing::fresh) {
        return resolver.resolve(classifier.classify(sql), facts, how);
    }
    lull::routing::access of(std::string_view sql, standing how = standing::fresh) {
        return ask(sql, how)->access;
    }
};

TEST_CASE("what a sequence holds is for the primary to say, whoever reads it on the way") {
    catalog c;
    auto const numbers = c.table("numbers");
    c.rows.objects.back().sequence = true;
    auto const items = c.table("items");
    auto const view = c.table("view_of_numbers");
    auto const twice = c.table("view_of_view");
    auto const built = c.table("view_of_last");
    c.reaches(kind::relation, view, kind::relation, numbers);
    c.reaches(kind::relation, twice, kind::relation, view);
    c.calls(kind::relation, built, "pg_sequence_last_value");
    c.steady("by_source", "BEGIN RETURN (SELECT last_value FROM view_of_view); END");
    c.steady("by_function", "SELECT by_source()");
    c.steady("of_items", "SELECT count(*) FROM items");
    (void)items;
    asking const facts{c.facts()};
    asking q{facts.facts};
    for (auto text : {"SELECT last_value FROM numbers", "SELECT * FROM public.numbers", "TABLE view_of_view", "TABLE view_of_last",
                      "SELECT by_function()", "COPY (SELECT is_called FROM numbers) TO STDOUT", "SELECT pg_sequence_last_value('numbers')"}) {
        CAPTURE(text);
        CHECK(q.ask(text)->about_server);
        CHECK(q.of(text) == a::read);
    }
    CHECK(q.ask("TABLE pg_sequences")->about_server);
    for (auto text : {"SELECT * FROM items", "SELECT of_items()", "SELECT 'numbers'"}) CHECK(!q.ask(text)->about_server);
}

TEST_CASE("what a view reaches is what it is") {
    catalog c;
    auto const items = c.table("items");
    auto const bump = c.writes("bump");
    auto const plain = c.table("plain");
    auto const sly = c.table("sly");
    auto const over = c.table("over");
    auto const counted = c.table("counted");
    auto const looped = c.table("looped");
    c.reaches(kind::relation, plain, kind::relation, items);
    c.reaches(kind::relation, sly, kind::function, bump);
    c.reaches(kind::relation, over, kind::relation, sly);
    c.reaches(kind::relation, looped, kind::relation, looped);
    c.calls(kind::relation, counted, "nextval");
    c.calls(kind::relation, plain, "lower");
    c.add(kind::relation, "public", "foreign_one", nature::unknown);
    asking q{c.facts()};
    CHECK(q.of("SELECT * FROM items JOIN plain USING (id)") == a::read);
    CHECK(q.of("SELECT * FROM looped") == a::read);
    CHECK(q.of("SELECT * FROM sly") == a::unknown);
    CHECK(q.of("SELECT * FROM public.over WHERE a = 1") == a::unknown);
    CHECK(q.ask("TABLE over")->function == "bump");
    CHECK(q.ask("TABLE over")->why == why::relation);
    CHECK(q.of("SELECT (SELECT count(*) FROM sly) FROM items") == a::unknown);
    CHECK(q.of("COPY sly TO STDOUT") == a::unknown);
    CHECK(q.of("EXPLAIN SELECT * FROM sly") == a::unknown);
    CHECK(q.of("DECLARE c CURSOR FOR TABLE sly") == a::unknown);
    CHECK(q.of("SELECT * FROM foreign_one") == a::unknown);
    CHECK(q.of("SELECT * FROM counted") == a::write);
    CHECK(q.ask("SELECT * FROM counted")->statements[0].command == "nextval()");
    CHECK(q.of("SELECT 1; SELECT * FROM sly; SELECT 2") == a::unknown);
    CHECK(q.of("UPDATE items SET a = 1") == a::write);
}

TEST_CASE("a cast may be written as a call or as an attribute") {
    catalog c;
    auto const bump = c.writes("bump");
    c.table("items");
    for (char const* name : {"lower", "plain"})
        c.reaches(kind::type, c.add(kind::type, "public", name), kind::function, bump);
    c.add(kind::type, "public", "mood");
    asking q{c.facts()};
    CHECK(q.of("SELECT lower('x')") == a::unknown);
    CHECK(q.of("SELECT public.lower('x')") == a::unknown);
    CHECK(q.of("SELECT pg_catalog.lower('x')") == a::read);
    CHECK(q.of("SELECT upper('x')") == a::read);
    CHECK(q.of("SELECT plain('x')") == a::unknown);
    CHECK(q.of("SELECT (name).plain FROM items") == a::unknown);
    CHECK(q.of("SELECT items.plain FROM items") == a::unknown);
    CHECK(q.of("SELECT items.lower FROM items") == a::unknown);
    CHECK(q.of("SELECT items.mood FROM items") == a::read);
    CHECK(q.of("SELECT mood('x')") == a::unknown);  // the type is harmless, a function of that name may not be
}

TEST_CASE("types and operators that did not come with the server count only where the catalog is known to have them") {
    catalog c;
    c.table("items");
    c.add(kind::type, "public", "mood");
    c.add(kind::op, "public", "===");
    asking q{c.facts()};
    for (char const* reads : {"SELECT 'x'::mood", "SELECT 'x'::public.mood", "SELECT 'x'::text", "SELECT '{1}'::int[]", "SELECT 1::bigint",
                              "SELECT 'x'::varchar(10)", "SELECT '1'::double precision", "SELECT now()::timestamp with time zone",
                              "SELECT 'x'::pg_catalog.regclass", "SELECT 'x'::information_schema.sql_identifier", "SELECT interval '1' day",
                              "SELECT 'a' === 'b'", "SELECT 'a' LIKE 'b'", "SELECT 1 BETWEEN 0 AND 2", "SELECT a FROM items WHERE a IN (1, 2)"})
        CHECK_MESSAGE(q.of(reads) == a::read, reads);
    for (char const* unknown : {"SELECT 'x'::fresh", "SELECT fresh 'x'", "SELECT CAST('x' AS fresh[])", "SELECT 'x'::public.text",
                                "SELECT 'a' ==== 'b'", "SELECT * FROM json_to_record('{}') AS x(a fresh)"})
        CHECK_MESSAGE(q.of(unknown) == a::unknown, unknown);
    CHECK(q.ask("SELECT 'x'::fresh")->why == why::catalog);
    auto const with_oid = [&](std::uint32_t oid) {
        std::string wire;
        for (int shift = 24; shift >= 0; shift -= 8) wire += static_cast<char>(oid >> shift & 0xff);
        return q.resolver.resolve(with_parameter_types(q.classifier.classify("SELECT $1"), wire), q.facts, standing::fresh)->access;
    };
    CHECK(with_oid(25) == a::read);
    CHECK(with_oid(16385) == a::read);
    CHECK(with_oid(99999) == a::unknown);
}

TEST_CASE("comparisons that no operator is written for") {
    catalog c;
    auto const same = c.writes("same");
    c.reaches(kind::op, c.add(kind::op, "public", "="), kind::function, same);
    asking q{c.facts()};
    for (char const* sql : {"SELECT CASE 'a' WHEN 'b' THEN 1 END", "SELECT 'a' IN (SELECT 'b')", "SELECT NULLIF('a', 'b')",
                            "SELECT * FROM (VALUES (1)) a(x) JOIN (VALUES (1)) b(x) USING (x)",
                            "SELECT * FROM (VALUES (1)) a(x) NATURAL JOIN (VALUES (1)) b(x)", "SELECT 'a' IS DISTINCT FROM 'b'"})
        CHECK_MESSAGE(q.of(sql) == a::unknown, sql);
    CHECK(q.of("SELECT CASE WHEN true THEN 1 END") == a::read);
}

TEST_CASE("functions that run code of a type, a table or a function that an argument names") {
    asking q{catalog().facts()};
    for (char const* sql :
         {"SELECT domain_in('x', 1, -1)", "SELECT array_in('{}', 1, -1)", "SELECT record_in('()', 1, -1)", "SELECT range_in('[]', 1, -1)",
          "SELECT multirange_in('{}', 1, -1)", "SELECT satisfies_hash_partition(1, 2, 0, 'x')", "SELECT fmgr_sql_validator(1)",
          "SELECT plpgsql_validator(1)", "SELECT (1::oid).fmgr_sql_validator", "SELECT ('f'::regproc).plpgsql_validator",
          "SELECT pg_input_is_valid('x', 'evil.dom')", "SELECT pg_input_error_info('x', 'evil.dom')"})
        CHECK_MESSAGE(q.of(sql) == a::unknown, sql);
}

TEST_CASE("while the catalog may have changed any name may be another's") {
    asking q{catalog().facts()};
    for (char const* sql : {"SELECT lower('x')", "SELECT 1 + 1", "SELECT 'x'::text"}) {
        CHECK_MESSAGE(q.of(sql, standing::stale) == a::unknown, sql);
        CHECK_MESSAGE(q.ask(sql, standing::stale)->statements[0].access == a::read, sql);
        CHECK_MESSAGE(q.of(sql) == a::read, sql);
    }
    CHECK(q.of("SELECT 1", standing::stale) == a::read);
}

TEST_CASE("types that only a number names, as those of parameters") {
    catalog c;
    auto const bump = c.writes("bump");
    auto const counting = c.add(kind::type, "public", "counting");
    auto const plain = c.add(kind::type, "public", "plain");
    c.reaches(kind::type, counting, kind::function, bump);
    asking q{c.facts()};
    auto const of = [&](std::string_view sql, std::vector<std::uint32_t> const& types) {
        std::string wire;
        for (std::uint32_t oid : types)
            for (int shift = 24; shift >= 0; shift -= 8) wire += static_cast<char>(oid >> shift & 0xff);
        auto const op = q.classifier.classify(sql);
        auto const with = with_parameter_types(op, wire);
        if (std::ranges::all_of(types, [](auto oid) { return oid < 16384; })) CHECK(with == op);
        return q.resolver.resolve(with, q.facts, standing::fresh)->access;
    };
    CHECK(of("SELECT $1", {}) == a::read);
    CHECK(of("SELECT $1, $2", {23, plain}) == a::read);
    CHECK(of("SELECT $1, $2", {23, counting}) == a::unknown);
    CHECK(of("SELECT $1, $2", {counting, counting}) == a::unknown);
    CHECK(of("SELECT $1", {99999}) == a::unknown);  // none that anybody knows: it may have been made since
    CHECK(of("INSERT INTO t VALUES ($1)", {counting}) == a::write);
    CHECK(q.of("PREPARE p(plain) AS SELECT $1") == q.of("PREPARE p(int) AS SELECT $1"));
    CHECK(q.of("PREPARE p(int, counting[]) AS SELECT $1") == a::unknown);
}

TEST_CASE("a relation that nobody knows is unknown, and a WITH clause defines some") {
    catalog c;
    auto const bump = c.writes("bump");
    auto const sly = c.table("sly");
    c.table("items");
    c.reaches(kind::relation, sly, kind::function, bump);
    asking q{c.facts()};
    CHECK(q.of("SELECT * FROM nowhere") == a::unknown);
    CHECK(q.ask("SELECT * FROM nowhere")->why == why::catalog);
    CHECK(q.of("SELECT * FROM pg_temp.items") == a::unknown);
    CHECK(q.of("WITH x AS (SELECT * FROM items) SELECT * FROM x") == a::read);
    CHECK(q.of("WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x WHERE n < 3) SELECT * FROM "
               "x") == a::read);
    CHECK(q.of("WITH x AS (SELECT 1), y AS (SELECT * FROM x) SELECT * FROM y") == a::read);
    CHECK(q.of("WITH y AS (SELECT * FROM x), x AS (SELECT 1) SELECT * FROM y") == a::unknown);
    // A name that a WITH clause defines elsewhere, or that means the table within its own definition.
    CHECK(q.of("SELECT * FROM sly, (WITH sly AS (SELECT 1) SELECT * FROM sly) s") == a::unknown);
    CHECK(q.of("WITH sly AS (SELECT * FROM sly) SELECT * FROM sly") == a::unknown);
    CHECK(q.of("WITH sly AS (SELECT 1) SELECT * FROM sly") == a::read);
    CHECK(q.of("WITH sly AS (SELECT 1) SELECT * FROM public.sly") == a::unknown);
    CHECK(q.of("(WITH sly AS (SELECT 1) SELECT * FROM sly) UNION SELECT * FROM sly") == a::unknown);
}

TEST_CASE("functions by the catalog") {
    catalog c;
    c.table("items");
    c.writes("bump");
    c.steady("price", "SELECT count(*) FROM items WHERE lower(name) = $1");
    c.steady("liar", "BEGIN RETURN nextval('counter'); END");
    c.steady("calls_liar", "SELECT liar ( )");
    c.steady("calls_price", "SELECT price('x')");
    c.steady("makes_sql", "BEGIN EXECUTE 'SELECT ' || $1; END");
    c.steady("comment", "SELECT bump /* no ( */ /* (nested /* ! */) */ ()");
    c.steady("quoted", "SELECT \"bump\"()");
    c.steady("odd", "SELECT U&\"b\\0075mp\"()");
    c.steady("reads_view", "SELECT * FROM sly");
    c.add(kind::function, "ext", "similarity");
    auto const sly = c.table("sly");
    c.calls(kind::relation, sly, "set_config");
    c.add(kind::function, "pg_temp_7", "sneaks", nature::unknown, "SELECT dblink_exec('', 'DELETE FROM items')");
    c.add(kind::function, "pg_temp_8", "sneaks", nature::unknown, "SELECT 1");
    auto const sneaking = c.add(kind::relation, "pg_temp_7", "sneaking");
    c.calls(kind::relation, sneaking, "nextval");
    asking q{c.facts()};
    CHECK(q.of("SELECT price('x'), public.price('y') FROM items") == a::read);
    CHECK(q.of("SELECT calls_price()") == a::read);
    CHECK(q.of("SELECT similarity('a', 'b')") == a::read);
    for (std::string name :
         {"bump", "liar", "calls_liar", "makes_sql", "comment", "quoted", "odd", "reads_view"})
        CHECK_MESSAGE(q.of("SELECT " + name + "()") == a::unknown, name);
    CHECK(q.of("SELECT price('x'), bump()") == a::unknown);
    CHECK(q.ask("SELECT price('x'), bump()")->function == "bump");
    CHECK(q.of("SELECT not_made_yet()") == a::unknown);
    CHECK(q.of("SELECT pg_temp.price('x')") == a::unknown);
    CHECK(q.of("SELECT pg_temp.sneaks()") == a::write);
    CHECK(q.of("SELECT * FROM pg_temp.sneaking") == a::write);
    CHECK(q.of("PREPARE p AS SELECT price('x')") == a::session);
    CHECK(q.of("SELECT nextval('counter')") == a::write);
}

TEST_CASE("volatile functions that show how they would get around READ ONLY") {
    catalog c;
    auto const volatile_one = [&](std::string name, std::string source) {
        return c.add(kind::function, "public", std::move(name), nature::unknown, std::move(source));
    };
    volatile_one("resets", "BEGIN RESET transaction_read_only; PERFORM nextval('counter'); END");
    volatile_one("files", "BEGIN COPY (SELECT 1) TO '/tmp/x'; END");
    volatile_one("far", "SELECT public.dblink_exec('', 'DELETE FROM items')");
    volatile_one("slot", "SELECT pg_create_physical_replication_slot('x')");
    volatile_one("draws", "BEGIN IF false THEN PERFORM nextval('counter'); END IF; RETURN 1; END");
    volatile_one("indirect", "BEGIN RETURN public.resets() > 0; END");
    c.steady("steady_indirect", "SELECT indirect()");
    volatile_one("writes", "UPDATE items SET n = n + 1");
    auto const view = c.table("hidden");
    c.reaches(kind::relation, view, kind::function,
              volatile_one("hidden_reset", "RESET transaction_read_only"));
    asking q{c.facts()};
    for (std::string name : {"resets", "files", "far", "slot"})
        CHECK_MESSAGE(q.of("SELECT " + name + "()") == a::write, name);
    for (std::string name : {"draws", "writes"})
        CHECK_MESSAGE(q.of("SELECT " + name + "()") == a::unknown, name);
    CHECK(q.of("SELECT * FROM hidden") == a::write);
    CHECK(q.of("SELECT indirect()") == a::write);
    CHECK(q.of("SELECT steady_indirect()") == a::write);
    CHECK(q.ask("SELECT steady_indirect()")->function == "resets");
}

TEST_CASE("names that shadow a built-in, and calls that look like something else") {
    catalog c;
    c.table("items");
    c.add(kind::function, "app", "lower", nature::unknown);
    auto const checks = c.writes("checks");
    auto const op = c.add(kind::op, "public", "@@@");
    auto const domain = c.add(kind::type, "public", "positive");
    c.reaches(kind::op, op, kind::function, checks);
    c.reaches(kind::type, domain, kind::function, checks);
    c.add(kind::function, "public", "secret", nature::unknown, {}, true);
    asking q{c.facts()};
    CHECK(q.of("SELECT lower('X')") == a::unknown);
    CHECK(q.of("SELECT pg_catalog.lower('X')") == a::read);
    CHECK(q.of("SELECT upper('X')") == a::read);
    CHECK(q.of("SELECT id @@@ 1 FROM items") == a::unknown);
    CHECK(q.of("SELECT id FROM items ORDER BY id USING @@@") == a::unknown);
    CHECK(q.of("SELECT id + 1 FROM items") == a::read);
    CHECK(q.of("SELECT '5'::positive") == a::unknown);
    CHECK(q.of("SELECT '{5}'::public.positive[]") == a::unknown);
    CHECK(q.of("SELECT items.secret FROM items") == a::unknown);
    CHECK(q.of("SELECT (i).secret FROM items i") == a::unknown);
    CHECK(q.of("SELECT items.id FROM items") == a::read);
}

TEST_CASE("calls that nothing names") {
    catalog c;
    c.table("items");
    c.rows.nameless = {c.writes("cast_of_mine")};
    c.add(kind::type, "public", "boxed");
    asking q{c.facts()};
    CHECK(q.of("SELECT * FROM items") == a::unknown);
    CHECK(q.of("SELECT 1") == a::read);
    CHECK(q.of("SELECT ROW(1)::boxed::int") == a::unknown);
    CHECK(q.of("SELECT '1'::int") == a::read);
}

TEST_CASE("the site's own lists") {
    catalog c;
    c.table("items");
    auto const view = c.table("priced");
    auto const bump = c.writes("bump");
    auto const hidden = c.add(kind::function, "api", "log_read", nature::unknown);
    c.reaches(kind::relation, view, kind::function, hidden);
    c.add(kind::function, "public", "rest", nature::by_source, "SELECT api.log_read()");
    auto const audit = c.table("audit");
    c.reaches(kind::relation, audit, kind::function, bump);
    c.guard.allow_functions = {"api.*", "planned"};
    c.guard.deny_functions = {"bump", "pg_sleep"};
    asking q{c.facts()};
    CHECK(q.of("SELECT * FROM priced") == a::read);
    CHECK(q.of("SELECT rest()") == a::read);
    CHECK(q.of("SELECT api.log_read()") == a::read);
    CHECK(q.of("SELECT planned()") == a::read);
    CHECK(q.of("SELECT bump()") == a::write);
    CHECK(q.of("SELECT * FROM audit") == a::write);
    CHECK(q.of("SELECT pg_sleep(1)") == a::write);
    CHECK(q.of("SELECT pg_catalog.pg_sleep(1)") == a::write);
    CHECK(q.ask("SELECT pg_sleep(1)")->statements[0].command == "pg_sleep()");
}

TEST_CASE("how far facts are relied upon") {
    catalog c;
    c.table("items");
    asking q{c.facts()};
    CHECK(q.of("SELECT * FROM items", standing::stale) == a::unknown);
    CHECK(q.ask("SELECT * FROM items", standing::stale)->statements[0].access == a::read);
    CHECK(q.of("SELECT 1", standing::stale) == a::read);
    asking nothing{nullptr};
    CHECK(nothing.of("SELECT * FROM items", standing::open) == a::read);
    CHECK(nothing.of("SELECT * FROM items", standing::fresh) == a::unknown);
    CHECK(nothing.ask("SELECT * FROM items", standing::stale)->statements[0].access == a::unknown);
    CHECK(nothing.of("SELECT 1 + 1", standing::fresh) == a::read);
}

TEST_CASE("one text of two databases is judged for each") {
    catalog one;
    one.table("t");
    catalog two;
    two.reaches(kind::relation, two.table("t"), kind::function, two.writes("f"));
    auto const first = one.facts();
    auto const second = two.facts();
    sql_classifier classifier;
    fact_resolver resolver;
    for (int i = 0; i < 3; ++i) {
        CHECK(resolver.resolve(classifier.classify("SELECT * FROM t"), first, standing::fresh)->access ==
              a::read);
        CHECK(resolver.resolve(classifier.classify("SELECT * FROM t"), second, standing::fresh)->access ==
              a::unknown);
    }
    CHECK(resolver.remembered() == 2);
    for (int i = 0; i < 10'000; ++i)
        resolver.resolve(classifier.classify("SELECT * FROM t" + std::to_string(i)), first, standing::fresh);
    CHECK(resolver.remembered() <= 4096);
}

TEST_CASE("a statement that names too much is unknown") {
    catalog c;
    c.table("items");
    asking q{c.facts()};
    std::string sql = "SELECT items.a0";
    for (int i = 1; i < 300; ++i) sql += ", items.a" + std::to_string(i);
    CHECK(q.of(sql + " FROM items") == a::unknown);
}

TEST_CASE("functions: refuse") {
    catalog c;
    c.table("items");
    c.writes("bump");
    asking q{c.facts()};
    auto settings = std::make_shared<config::site>();
    settings->guard.functions = config::function_policy::refuse;
    site s;
    s.settings = settings;
    s.mode = mode::sealed;
    auto const verdict = [&](std::string_view sql, standing how = standing::fresh) {
        return decide(*q.ask(sql, how), {}, s).verdict;
    };
    CHECK(verdict("SELECT * FROM items") == verdict::to_reader);
    CHECK(verdict("SELECT * FROM items", standing::stale) == verdict::to_reader);
    CHECK(verdict("SELECT bump()") == verdict::refuse);
    CHECK(verdict("SELECT * FROM unheard_of") == verdict::refuse);
    CHECK(verdict("EXECUTE p") == verdict::refuse);
    settings->guard.functions = config::function_policy::server;
    CHECK(verdict("SELECT bump()") == verdict::to_reader);
    CHECK(verdict("EXECUTE p") == verdict::refuse);
    q.facts = nullptr;
    settings->guard.functions = config::function_policy::refuse;
    CHECK(verdict("SELECT * FROM items") == verdict::refuse);
    CHECK(verdict("SELECT 1") == verdict::to_reader);
}

TEST_CASE("words of a source") {
    std::string culprit;
    auto const has = [&](std::string_view source, std::string_view word, bool only_called) {
        return source_reaches(
            source,
            [&](std::string_view name, bool called) { return name == word && (called || !only_called); },
            culprit);
    };
    CHECK(has("select F (1)", "f", true));
    CHECK(has("select f\n--x\n/* a /* b */ c */(1)", "f", true));
    CHECK_FALSE(has("select f -- (\n from t", "f", true));
    CHECK(has("select \"F\"(1)", "F", true));
    CHECK_FALSE(has("select \"F\"(1)", "g", true));
    CHECK(has("it's \"a\"\"b\"", "a\"b", false));
    CHECK(has("x", "x", false));
    CHECK_FALSE(has("", "x", false));
    CHECK_FALSE(has("\"", "x", false));
    CHECK(has("U&\"x\"", "nothing", false));
}

}  // namespace

TEST_CASE("of a write, what it is beside its target") {
    catalog c;
    c.table("items");
    auto const sly = c.table("sly");
    c.reaches(kind::relation, sly, kind::function, c.writes("bump"));
    asking q{c.facts()};
    auto const beside = [&](char const* sql) { return q.ask(sql)->statements.front().beside; };
    using a = lull::routing::access;
    for (char const* sql :
         {"insert into mine values (1, lower('x')) returning *", "insert into mine select id from items",
          "update mine set a = a + 1 where b in (select id from items)", "delete from mine using items where id = a",
          "insert into mine values (1) on conflict (a) do update set a = excluded.a", "copy mine from stdin"})
        CHECK_MESSAGE(beside(sql) == a::read, sql);
    CHECK(beside("insert into mine values (pg_try_advisory_xact_lock(1))") == a::session);
    for (char const* sql :
         {"insert into mine values (bump())", "insert into mine values (nobody_knows())",
          "insert into mine select x from sly", "insert into mine select a from not_known",
          "copy mine from stdin where bump() > 0"})
        CHECK_MESSAGE(beside(sql) >= a::unknown, sql);
    for (char const* sql :
         {"insert into mine values (nextval('s'))", "insert into mine select lo_create(0)",
          "with w as (delete from items returning id) insert into mine select id from w",
          "insert into mine select id from items for update", "copy mine from program 'x'", "truncate mine",
          "insert into mine select set_config('transaction_read_only', null, true)", "select 1 into mine",
          "update pg_settings set setting = 'off'", "select 1"})
        CHECK_MESSAGE(beside(sql) == a::write, sql);
    CHECK(beside("copy mine from stdin where lower(a) = 'x'") == a::write);  // not looked into
    asking without{nullptr};
    CHECK(without.ask("insert into mine values (1)")->statements.front().beside == a::write);
}

TEST_CASE("what a function leaves in its session, whoever reaches it leaves, too") {
    catalog c;
    c.table("items");
    auto const volatile_one = [&](char const* name, char const* source) {
        return c.add(kind::function, "public", name, nature::unknown, source);
    };
    auto const take = volatile_one("take", "begin perform pg_advisory_lock(1); end");
    volatile_one("outer_one", "begin perform middle(); end");
    volatile_one("middle", "select Public.Take() from items");
    volatile_one("loops", "select loops(), make()");
    volatile_one("make", "create temp table m (a int)");
    volatile_one("setter", "select set_config('a.b', $1, false)");
    volatile_one("local_one", "begin set local a.b = 1; perform pg_advisory_xact_lock(1); perform set_config('a.b', 'x', true); end");
    volatile_one("says_take", "select 'take()'");
    c.reaches(kind::relation, c.table("taking"), kind::function, take);
    c.calls(kind::relation, c.table("locking"), "pg_try_advisory_lock");
    c.steady("calm", "select lower('x')");
    asking q{c.facts()};
    auto const leaves = [&](char const* sql) {
        statement const& s = q.ask(sql, standing::open)->statements.front();
        CHECK_MESSAGE(s.pins == static_cast<bool>(s.leaves), sql);
        return s.leaves;
    };
    for (char const* const sql :
         {"select take()", "select public.take()", "select outer_one()", "select * from items where outer_one() is null", "call middle()",
          "insert into items values (take())", "update items set a = take()", "table taking", "table locking",
          "select take() for update", "select 1 into x from take()", "create table x as select take()", "copy (select take()) to stdout",
          "declare c cursor for select take()", "with w as (delete from items returning take()) select * from w",
          "explain analyze select take()", "call p(take())"})
        CHECK_MESSAGE(leaves(sql) == leavings(leaving::lock), sql);
    CHECK(leaves("select loops()") == leavings(leaving::temporary));
    CHECK(leaves("select setter('x')") == leavings(leaving::setting));
    leavings both(leaving::lock);
    both.add(leaving::setting);
    CHECK(leaves("select setter('x'), take()") == both);
    for (char const* const sql : {"select calm()", "select local_one()", "select says_take()", "select nobody_knows()", "table items", "prepare p as select take()",
                                  "insert into items values (1)", "call nobody_knows()", "select 'take()'", "select take from items"})
        CHECK_MESSAGE(!leaves(sql), sql);
    leavings written = q.ask("select pg_advisory_lock(1), setter('x')", standing::open)->statements.front().leaves;
    CHECK(written.has(leaving::as_written));
    // It changes nothing of what they may write.
    CHECK(q.of("select take()") == a::unknown);
    CHECK(q.of("select calm()") == a::read);
    CHECK(q.ask("insert into items values (take())")->statements.front().beside == a::unknown);
    // What a function may do in the operator's eyes it may, and its session has it all the same.
    c.guard.allow_functions = {"public.setter"};
    q.facts = c.facts();
    CHECK(q.of("select setter('x')") == a::read);
    CHECK(leaves("select setter('x')") == leavings(leaving::setting));
}
