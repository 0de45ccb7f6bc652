#include "routing/source_leavings.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

using namespace lull::routing;

namespace {

/// As letters in the order of `leaving`: t(emporary), c(ursor), l(ock), L(ISTEN), p(repared), s(etting), b
/// (library).
std::string leaves(std::string_view source) {
    leavings const found = source_leaves(source, [](std::string_view) {});
    std::string out;
    for (auto const& [what, letter] : {std::pair{leaving::temporary, 't'},
                                       {leaving::cursor, 'c'},
                                       {leaving::lock, 'l'},
                                       {leaving::listen, 'L'},
                                       {leaving::prepared, 'p'},
                                       {leaving::setting, 's'},
                                       {leaving::library, 'b'}})
        if (found.has(what)) out += letter;
    return out;
}

}  // namespace

TEST_CASE("temporary things") {
    for (char const* const source :
         {"create temp table m (a int)",
          "BEGIN CREATE TEMPORARY TABLE IF NOT EXISTS m (a int) ON COMMIT PRESERVE ROWS; END",
          "begin if true then create local temp table m (a int); end if; end", "select 1 into temp m",
          "create or replace temp view v as select 1", "create temp sequence s",
          "create temp table a (a int) on commit drop; create temp table b (b int)",
          "begin execute 'create temp table m (a int)'; end",
          "begin execute format('CREATE TEMP TABLE %I (a int)', n); end",
          "begin sql := 'create temp table m (a int)'; execute sql; end",
          "create function pg_temp.f() returns int language sql as 'select 1'",
          "begin drop table if exists m; end", "discard temp",
          "create temp table m (a int) on commit delete rows",
          "begin execute $q$create temp table m (a int)$q$; end",
          "create /* on commit drop */ temp table m (a int)"})
        CHECK_MESSAGE(leaves(source) == "t", source);
    for (char const* const source :
         {"create temp table m (a int) on commit drop",
          "begin create temp table m (a int) on commit drop; insert into m values (1); end",
          "begin execute 'create temp table ' || n || ' (a int) on commit drop'; end",
          "select temp, temporary from weather", "-- create temp table m\nselect 1",
          "/* create temp table m /* */ */ select 1", "alter table t drop column temp",
          "select 1 as \"temp table\"", "select * from temperature", "insert into t (temp) values (1)"})
        CHECK_MESSAGE(leaves(source) == "", source);
}

TEST_CASE("advisory locks, of the session and not of the transaction") {
    for (char const* const source :
         {"select pg_advisory_lock($1)", "begin perform pg_catalog.pg_try_advisory_lock (1); end",
          "select pg_advisory_lock_shared(1, 2)", "select PG_ADVISORY_UNLOCK(1)",
          "select pg_advisory_unlock_all()",
          "begin if not pg_try_advisory_lock_shared(1) then return; end if; end",
          "begin execute 'select pg_advisory_lock(1)'; end", "select \"pg_advisory_lock\"(1)"})
        CHECK_MESSAGE(leaves(source) == "l", source);
    for (char const* const source :
         {"select pg_advisory_xact_lock(1)", "select pg_try_advisory_xact_lock_shared(1)",
          "select 'pg_advisory_lock'", "select my_pg_advisory_lock(1)", "-- pg_advisory_lock(1)"})
        CHECK_MESSAGE(leaves(source) == "", source);
}

TEST_CASE("settings") {
    for (char const* const source : {"select set_config('a.b', $1, false)",
                                     "select set_config('a.b', $1, is_local)",
                                     "begin perform set_config('a.b', f(x, y), x = 1); end",
                                     "SELECT pg_catalog.set_config('a.b', 'c, true)', 'f')",
                                     "set a.b = 1",
                                     "begin set a.b to 'x'; end",
                                     "begin x := 1; set role other; end",
                                     "begin set session authorization other; end",
                                     "begin if x then reset a.b; else set search_path = y; end if; end",
                                     "reset all",
                                     "begin loop set a.b = 1; end loop; end",
                                     "begin execute 'SET a.b = ' || x; end",
                                     "begin execute format('set role %I', r); end",
                                     "begin execute e'set a.b = \\'x\\''; end",
                                     "update pg_settings set setting = 'x' where name = 'a.b'",
                                     "update pg_catalog.pg_settings set setting = 'x'",
                                     "select set_config(name, value, false) from t",
                                     "select set_config('a', 'b', true), set_config('a', 'b', false)",
                                     "begin set session characteristics as transaction read only; end",
                                     "select set_config('a', 'b'",
                                     "set \"a\".b = 1"})
        CHECK_MESSAGE(leaves(source) == "s", source);
    for (char const* const source :
         {"select set_config('a.b', $1, true)",
          "begin perform set_config('a.b', coalesce(x, 'y'), TRUE ); end",
          "select set_config('a', ',false)', 't')",
          "select set_config(setting_name => 'a', new_value => 'b', is_local => true)",
          "begin set local a.b = 1; end",
          "set constraints all deferred",
          "set transaction read only",
          "reset transaction_read_only",
          "set transaction_isolation = serializable",
          "update t set a = 1",
          "insert into t values (1) on conflict (a) do update set a = 2",
          "merge into t using s on true when matched then update set a = 1",
          "begin set := 1; end",
          "select reset from t",
          "begin reset := true; end",
          "alter function f() set search_path = x",
          "select current_setting('a.b')",
          "select * from pg_settings",
          "select case when a then reset end",
          "begin raise notice 'set a.b = 1; set c.d = 2'; end",
          "update t set a = (select setting from pg_catalog.pg_settings limit 1)"})
        CHECK_MESSAGE(leaves(source) == "", source);
}

TEST_CASE("LISTEN, PREPARE, LOAD and cursors WITH HOLD") {
    CHECK(leaves("begin listen news; end") == "L");
    CHECK(leaves("begin execute 'listen ' || quote_ident(c); end") == "L");
    CHECK(leaves("begin execute format('listen %I', c); end") == "L");
    CHECK(leaves("listen \"News\"") == "L");
    CHECK(leaves("begin perform pg_notify('listen', 'x'); end") == "");
    CHECK(leaves("begin unlisten news; end") == "");
    CHECK(leaves("prepare p as select 1") == "p");
    CHECK(leaves("begin execute 'prepare p as select 1'; end") == "p");
    CHECK(leaves("select prepare(1)") == "");
    CHECK(leaves("load 'auto_explain'") == "b");
    CHECK(leaves("select load from t") == "");
    CHECK(leaves("begin load := 1; end") == "");
    CHECK(leaves("declare c cursor with hold for select 1") == "c");
    CHECK(leaves("begin execute 'declare c cursor with hold for select 1'; end") == "c");
    CHECK(leaves("declare c cursor without hold for select 1") == "");
    CHECK(leaves("begin set a.b = 1; listen c; create temp table m (a int); end") == "tLs");
    CHECK(leaves("") == "");
}

TEST_CASE("a DO, which is a text that runs") {
    CHECK(leaves("do $$begin set a.b = 1; perform pg_advisory_lock(1); end$$") == "ls");
    CHECK(leaves("DO LANGUAGE plpgsql $x$ begin set a.b = 1; end $x$") == "s");
    CHECK(leaves("do 'begin set a.b = ''x''; listen c; end'") == "Ls");
    CHECK(leaves("do $$begin execute 'set a.b = 1'; execute $q$listen c$q$; end$$ language plpgsql") == "Ls");
    CHECK(leaves("do $$begin null; end$$") == "");
}

TEST_CASE("what is called") {
    auto const called = [](std::string_view source) {
        std::vector<std::string> names;
        source_leaves(source, [&](std::string_view name) { names.emplace_back(name); });
        std::ranges::sort(names);
        return names;
    };
    using names = std::vector<std::string>;
    CHECK(called("select F(1), public.g (2), \"H\"(3), i") == names{"H", "f", "g"});
    CHECK(called("begin perform f(g(1)); call p(); execute 'select h()'; x := 'select k()'; end") ==
          names{"f", "g", "h", "p"});
    CHECK(called("select a in (1), coalesce(b), f /* ( */ (1) -- g()") == names{"f"});
}

TEST_CASE("hostile sources cost no more than they are long") {
    std::string many = "begin ";
    for (int i = 0; i < 3000; ++i) many += "set_config(";
    std::string quotes(32768, '\'');
    std::string dollars;
    for (int i = 0; i < 8000; ++i) dollars += "$a" + std::to_string(i % 10) + "$";
    std::string comments;
    for (int i = 0; i < 16000; ++i) comments += "/*";
    std::string nested = "select 1";
    for (int i = 0; i < 10; ++i) {
        std::string twice;
        for (char c : nested) twice += c == '\'' ? "''" : std::string(1, c);
        nested = "execute '" + twice + "'";
    }
    auto const began = std::chrono::steady_clock::now();
    for (std::string const& source : {many, quotes, dollars, comments, "x " + comments, nested,
                                      std::string(32768, '$'), std::string(32768, 'e')})
        source_leaves(source, [](std::string_view) {});
    CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(1));
}

TEST_CASE("functions of the server") {
    CHECK(builtin_leaves("pg_advisory_lock").has(leaving::lock));
    CHECK_FALSE(builtin_leaves("pg_advisory_xact_lock"));
    CHECK(builtin_leaves("set_config").has(leaving::setting));
    CHECK_FALSE(builtin_leaves("lower"));
}
