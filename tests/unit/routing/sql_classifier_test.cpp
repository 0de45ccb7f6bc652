// A table of statements and what each is; then the texts that try to be taken for something else.
#include "routing/about_server.hpp"
#include "routing/function_list.hpp"
#include "routing/sql_classifier.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

using namespace lull::routing;

namespace {

using k = statement_kind;
using a = lull::routing::access;

struct row {
    char const* sql;
    k kind;
    a access;
    char const* command;
    char const* name = "";
    bool pins = false;
};

constexpr row table[] = {
    // Reads.
    {"select 1", k::select, a::read, "SELECT"},
    {"table t", k::select, a::read, "SELECT"},
    {"values (1), (2)", k::select, a::read, "SELECT"},
    {"select count(*), max(x) from t where lower(y) = 'a' group by z having sum(x) > 1 order by 1 limit 3",
     k::select, a::read, "SELECT"},
    {"select pg_catalog.now(), current_timestamp, extract(year from now()), 'x'::regclass", k::select,
     a::read, "SELECT"},
    {"with recursive r as (select 1 union all select n + 1 from r) search depth first by n set o select * "
     "from r",
     k::select, a::read, "SELECT"},
    {"select xmlelement(name a, xmlattributes(1 as b)), xmlserialize(content x as text) from t", k::select,
     a::read, "SELECT"},
    {"select * from xmltable('/a' passing d columns e int path 'f' default 1) x, lateral generate_series(1, "
     "2) g",
     k::select, a::read, "SELECT"},
    {"select (r).a, x[1:2], row(1, 2), array[1], case when a then b end, a is null, b is true, not c from t",
     k::select, a::read, "SELECT"},
    {"select pg_sleep(1), random(), clock_timestamp(), gen_random_uuid(), pg_is_in_recovery()", k::select,
     a::read, "SELECT"},
    {"select * from t tablesample system (1) where a = any($1) and b in (select 1)", k::select, a::read,
     "SELECT"},
    {"show search_path", k::show, a::read, "SHOW", "search_path"},
    {"show all", k::show, a::read, "SHOW", "all"},
    {"explain select 1", k::explain, a::read, "EXPLAIN"},
    {"explain analyze select 1", k::explain, a::read, "EXPLAIN"},
    {"copy t to stdout", k::copy_out, a::read, "COPY TO"},
    {"copy (select 1) to stdout with (format csv)", k::copy_out, a::read, "COPY TO"},
    {"", k::empty, a::read, ""},
    {" ; -- nothing", k::empty, a::read, ""},
    // Functions that are not on the list.
    {"select f(1)", k::select, a::unknown, "SELECT"},
    {"select other.lower('x')", k::select, a::unknown, "SELECT"},
    {"select 1 operator(other.+) 2", k::select, a::unknown, "SELECT"},
    {"select 1 operator(pg_catalog.+) 2", k::select, a::read, "SELECT"},
    {"select \"LOWER\"('x')", k::select, a::unknown, "SELECT"},
    {"copy (select f()) to stdout", k::copy_out, a::unknown, "SELECT"},
    {"explain select f(1)", k::explain, a::unknown, "EXPLAIN"},
    {"explain analyze select f(1)", k::explain, a::unknown, "SELECT"},
    // Functions that change state.
    {"select nextval('s')", k::select, a::write, "nextval()"},
    {"select pg_catalog.setval('s', 1)", k::select, a::write, "setval()"},
    {"select * from t where a in (select lo_unlink(1))", k::select, a::write, "lo_unlink()"},
    {"select dblink_exec('...', '...')", k::select, a::write, "dblink_exec()"},
    {"select public.dblink('...')", k::select, a::write, "dblink()"},
    {"select query_to_xml('delete from t', true, true, '')", k::select, a::write, "query_to_xml()"},
    {"select pg_notify('a', 'b')", k::select, a::write, "pg_notify()"},
    {"select txid_current()", k::select, a::write, "txid_current()"},
    {"explain select nextval('s')", k::explain, a::unknown, "EXPLAIN"},
    {"explain analyze select nextval('s')", k::explain, a::write, "nextval()"},
    {"select pg_current_wal_lsn()", k::select, a::unknown, "SELECT"},  // a standby refuses it
    // Functions of the session.
    {"select currval('s')", k::select, a::session, "SELECT"},
    {"select pg_advisory_lock(1)", k::select, a::session, "SELECT", "", true},
    {"select pg_try_advisory_lock(1)", k::select, a::session, "SELECT", "", true},
    {"select pg_advisory_xact_lock(1)", k::select, a::session, "SELECT"},
    {"explain select pg_advisory_lock(1)", k::explain, a::unknown, "EXPLAIN"},
    // Writes.
    {"insert into t values (1) on conflict (a) do update set b = 2 returning *", k::dml, a::write, "INSERT"},
    {"insert into t select pg_advisory_lock(1)", k::dml, a::write, "INSERT", "", true},
    {"update t set (a, b) = (select 1, 2)", k::dml, a::write, "UPDATE"},
    {"delete from t using s where t.a = s.a", k::dml, a::write, "DELETE"},
    {"merge into t using s on t.a = s.a when matched then update set b = 1 when not matched then insert "
     "values (1)",
     k::dml, a::write, "MERGE"},
    {"with x as (select 1) delete from t", k::dml, a::write, "DELETE"},
    {"with x as (insert into t values (1) returning a) select * from x", k::dml, a::write, "SELECT"},
    {"select * from (with x as (delete from t returning 1) select * from x) y", k::dml, a::write, "SELECT"},
    {"select 1 into x", k::dml, a::write, "SELECT INTO"},
    {"select 1 into temp x union select 2", k::dml, a::write, "SELECT INTO", "", true},
    {"select 1 into pg_temp.x", k::dml, a::write, "SELECT INTO", "", true},
    {"select * from t for update", k::dml, a::write, "SELECT FOR UPDATE"},
    {"select * from t for no key update of t nowait", k::dml, a::write, "SELECT FOR NO KEY UPDATE"},
    {"select * from t for share skip locked", k::dml, a::write, "SELECT FOR SHARE"},
    {"select * from t for key share", k::dml, a::write, "SELECT FOR KEY SHARE"},
    {"select * from (select * from t for update) x", k::dml, a::write, "SELECT FOR UPDATE"},
    {"select 1 where exists (select 1 from t for share)", k::dml, a::write, "SELECT FOR SHARE"},
    {"explain analyze delete from t", k::dml, a::write, "DELETE"},
    {"explain (analyze off) delete from t", k::explain, a::unknown, "EXPLAIN"},
    {"explain insert into t values ('{x}')", k::explain, a::unknown, "EXPLAIN"},
    {"explain (analyze false, analyze) delete from t", k::dml, a::write, "DELETE"},
    {"explain (analyze 1) create table x as select 1", k::ddl, a::write, "CREATE TABLE AS"},
    {"explain analyze execute p", k::explain, a::write, "EXECUTE", "p"},
    {"explain execute p", k::explain, a::write, "EXPLAIN", "p"},
    {"copy t from stdin", k::copy_in, a::write, "COPY FROM"},
    {"copy t from '/tmp/x'", k::utility, a::write, "COPY FROM"},
    {"copy t from program 'x'", k::utility, a::write, "COPY FROM"},
    {"copy t to '/tmp/x'", k::utility, a::write, "COPY TO"},
    {"copy (delete from t returning 1) to stdout", k::copy_out, a::write, "DELETE"},
    {"create table t (a int)", k::ddl, a::write, "CREATE TABLE"},
    {"create temp table t (a int)", k::ddl, a::write, "CREATE TABLE", "", true},
    {"create table pg_temp.t (a int)", k::ddl, a::write, "CREATE TABLE", "", true},
    {"create temp table t as select 1", k::ddl, a::write, "CREATE TABLE AS", "", true},
    {"create materialized view v as select 1", k::ddl, a::write, "CREATE MATERIALIZED VIEW"},
    {"create temp sequence s", k::ddl, a::write, "CREATE SEQUENCE", "", true},
    {"create function pg_temp.f() returns int language sql as ''", k::ddl, a::write, "CREATE FUNCTION", "",
     true},
    {"create domain pg_temp.d as int", k::ddl, a::write, "CREATE DOMAIN", "", true},
    {"create domain d as int", k::ddl, a::write, "CREATE DOMAIN"},
    {"create type pg_temp_3.e as enum ('a')", k::ddl, a::write, "CREATE TYPE", "", true},
    {"create type pg_temp.r as range (subtype = int)", k::ddl, a::write, "CREATE TYPE", "", true},
    {"create operator pg_temp.+ (function = f, leftarg = int)", k::ddl, a::write, "CREATE OPERATOR", "", true},
    {"create aggregate pg_temp.a (int) (sfunc = f, stype = int)", k::ddl, a::write, "CREATE AGGREGATE", "", true},
    {"create statistics pg_temp.s on a, b from t", k::ddl, a::write, "CREATE STATISTICS", "", true},
    {"set search_path = public, pg_temp", k::set, a::session, "SET", "search_path", true},
    {"set search_path = 'pg_temp'", k::set, a::session, "SET", "search_path", true},
    {"select set_config('search_path', 'pg_temp, public', false)", k::set, a::session, "SELECT", "search_path", true},
    {"alter table t rename a to b", k::ddl, a::write, "ALTER TABLE"},
    {"alter view v rename a to b", k::ddl, a::write, "ALTER VIEW"},
    {"alter table t rename constraint a to b", k::ddl, a::write, "ALTER TABLE"},
    {"alter system set work_mem = '1MB'", k::ddl, a::write, "ALTER SYSTEM"},
    {"alter role r set default_transaction_read_only = off", k::ddl, a::write, "ALTER ROLE"},
    {"grant select on t to r", k::ddl, a::write, "GRANT"},
    {"revoke a from b", k::ddl, a::write, "REVOKE ROLE"},
    {"truncate t", k::utility, a::write, "TRUNCATE TABLE"},
    {"vacuum", k::utility, a::write, "VACUUM"},
    {"lock table t", k::utility, a::write, "LOCK TABLE"},
    {"do $$ begin commit; end $$", k::utility, a::write, "DO"},
    {"call p()", k::utility, a::write, "CALL"},
    {"load 'x'", k::utility, a::write, "LOAD", "", true},
    {"notify n, 'x'", k::notify, a::write, "NOTIFY", "n"},
    {"prepare transaction 'g'", k::prepare_transaction, a::write, "PREPARE TRANSACTION", "g"},
    {"commit prepared 'g'", k::prepare_transaction, a::write, "COMMIT PREPARED", "g"},
    {"rollback prepared 'g'", k::prepare_transaction, a::write, "ROLLBACK PREPARED", "g"},
    // The session's own.
    {"begin", k::begin, a::session, "BEGIN"},
    {"start transaction", k::begin, a::session, "START TRANSACTION"},
    {"end", k::commit, a::session, "COMMIT"},
    {"abort", k::rollback, a::session, "ROLLBACK"},
    {"savepoint A", k::savepoint, a::session, "SAVEPOINT", "a"},
    {"release savepoint \"A\"", k::release, a::session, "RELEASE", "A"},
    {"rollback to a", k::rollback_to, a::session, "ROLLBACK", "a"},
    {"set constraints all deferred", k::utility, a::session, "SET CONSTRAINTS"},
    {"listen l", k::listen, a::session, "LISTEN", "l", true},
    {"unlisten l", k::unlisten, a::session, "UNLISTEN", "l"},
    {"unlisten *", k::unlisten, a::session, "UNLISTEN"},
    {"discard all", k::discard, a::session, "DISCARD ALL", "ALL"},
    {"deallocate p", k::deallocate, a::session, "DEALLOCATE", "p"},
    {"deallocate all", k::deallocate, a::session, "DEALLOCATE ALL"},
    {"prepare p as select 1", k::prepare, a::session, "PREPARE", "p"},
    {"prepare p as delete from t", k::prepare, a::write, "DELETE", "p"},
    {"prepare p(int) as select f($1)", k::prepare, a::unknown, "SELECT", "p"},
    {"execute p(1)", k::execute, a::write, "EXECUTE", "p"},
    {"execute p(nextval('s'))", k::execute, a::write, "nextval()", "p"},
    {"declare c cursor for select 1", k::declare_cursor, a::read, "DECLARE CURSOR", "c"},
    {"declare c cursor with hold for select 1", k::declare_cursor, a::read, "DECLARE CURSOR", "c", true},
    {"declare c cursor for select 1 from t for update", k::declare_cursor, a::write, "SELECT FOR UPDATE",
     "c"},
    {"fetch 1 from c", k::fetch, a::session, "FETCH", "c"},
    {"move c", k::fetch, a::session, "MOVE", "c"},
    {"close c", k::close_cursor, a::session, "CLOSE CURSOR", "c"},
    {"close all", k::close_cursor, a::session, "CLOSE CURSOR ALL"},
    // Texts that dress up.
    {"/* select 1 */ delete from t", k::dml, a::write, "DELETE"},
    {"/* /* */ select 1; */ delete from t", k::dml, a::write, "DELETE"},
    {"select 1 -- ; delete from t", k::select, a::read, "SELECT"},
    {"select '; delete from t', $$; drop table t$$, $x$ $$ $x$, \"; drop\" from t", k::select, a::read,
     "SELECT"},
    {"select 'a\\', nextval('s') --'", k::select, a::write, "nextval()"},
    {"select e'a\\', nextval(\\'s\\') --'", k::select, a::read, "SELECT"},
    {"select U&\"n\\0065xtval\"('s')", k::select, a::write, "nextval()"},
    {"select U&\"n!0065xtval\" uescape '!' ('s')", k::select, a::write, "nextval()"},
    {"((((select 1))))", k::select, a::read, "SELECT"},
    {"(select 1 for update)", k::dml, a::write, "SELECT FOR UPDATE"},
    {"select nextval 's'", k::select, a::read, "SELECT"},  // a type named nextval: a cast, no call
};

statement const& only(operation const& op) {
    REQUIRE(op.statements.size() == 1);
    return op.statements[0];
}

}  // namespace

TEST_CASE("every kind of statement is what the table says, parsed and from the cache") {
    sql_classifier classifier;
    for (int round = 0; round < 2; ++round) {
        for (row const& r : table) {
            CAPTURE(std::string(r.sql));
            auto const op = classifier.classify(r.sql);
            statement const& s = only(*op);
            CHECK(static_cast<int>(s.kind) == static_cast<int>(r.kind));
            CHECK(static_cast<int>(s.access) == static_cast<int>(r.access));
            CHECK(op->access == s.access);
            CHECK(s.command == r.command);
            CHECK(s.name == r.name);
            CHECK(s.pins == r.pins);
        }
    }
    CHECK(classifier.stats().parses <= std::size(table));
}

TEST_CASE("settings: name, value, default and scope") {
    sql_classifier classifier;
    struct {
        char const* sql;
        k kind;
        char const* name;
        char const* value;
        bool local = false, to_default = false;
    } const settings[] = {
        {"set work_mem = '1MB'", k::set, "work_mem", "1MB"},
        {"set WORK_MEM to 64", k::set, "work_mem", "64"},
        {"set \"Work_Mem\" to 64", k::set, "work_mem", "64"},
        {"set sort_mem = 64", k::set, "work_mem", "64"},
        {"set session a.b = 1.5", k::set, "a.b", "1.5"},
        {"set local search_path = a", k::set, "search_path", "a", true},
        {"set search_path = a, b", k::set, "search_path", "a, b"},
        {"set search_path = 'A', \"b c\", \"select\", '', 'd''e'", k::set, "search_path",
         "\"A\", \"b c\", \"select\", \"\", \"d'e\""},
        {"set search_path = 'a, b'", k::set, "search_path", "\"a, b\""},
        {"set datestyle = ISO, 'DMY'", k::set, "datestyle", "iso, DMY"},
        {"set a.b = 'it''s', 2, 1.5", k::set, "a.b", "it's, 2, 1.5"},
        {"set geqo = true", k::set, "geqo", "true"},
        {"set x.y = -3", k::set, "x.y", "-3"},
        {"set work_mem to default", k::set, "work_mem", "", false, true},
        {"set time zone 'UTC'", k::set, "timezone", "UTC"},
        {"set time zone local", k::set, "timezone", "", false, true},
        {"set names 'SJIS'", k::set, "client_encoding", "SJIS"},
        {"set role r", k::set, "role", "r"},
        {"set role none", k::set, "role", "none"},
        {"set session authorization r", k::set, "session_authorization", "r"},
        {"set session characteristics as transaction read write", k::set, "default_transaction_read_only",
         "off"},
        {"set session characteristics as transaction isolation level serializable", k::set,
         "default_transaction_isolation", "serializable"},
        {"set session characteristics as transaction isolation level serializable, read write", k::set,
         "default_transaction_read_only", "off"},
        {"set transaction read write", k::set_transaction, "", ""},
        {"set transaction snapshot '1-2'", k::set_transaction, "transaction_snapshot", "1-2"},
        {"set transaction_read_only = off", k::set_transaction, "transaction_read_only", "off"},
        {"reset Transaction_Read_Only", k::set_transaction, "transaction_read_only", "", false, true},
        {"set transaction_read_only to default", k::set_transaction, "transaction_read_only", "", false,
         true},
        {"select set_config('transaction_read_only', null, false)", k::set_transaction,
         "transaction_read_only", "", false, true},
        {"select pg_catalog.set_config('Search_Path', '', 'on')", k::set, "search_path", "", true},
        {"select set_config('a.b'::text, 'c', true) as x", k::set, "a.b", "c", true},
        {"reset work_mem", k::reset, "work_mem", "", false, true},
        {"reset all", k::reset, "", ""},
        {"reset session authorization", k::reset, "session_authorization", "", false, true},
        {"reset time zone", k::reset, "timezone", "", false, true},
    };
    for (auto const& want : settings) {
        CAPTURE(std::string(want.sql));
        auto const op = classifier.classify(want.sql);
        statement const& s = only(*op);
        CHECK(static_cast<int>(s.kind) == static_cast<int>(want.kind));
        CHECK(op->access == a::session);
        CHECK(s.name == want.name);
        CHECK(s.value == want.value);
        CHECK(s.local == want.local);
        CHECK(s.to_default == want.to_default);
        CHECK_FALSE(s.pins);
        CHECK_FALSE(s.may_set);
    }
}

TEST_CASE("an interval with its unit cannot be told as text: it stays where it is") {
    sql_classifier classifier;
    auto const op = classifier.classify("set time zone interval '1' hour");
    CHECK(only(*op).kind == k::set);
    CHECK(only(*op).opaque);
    CHECK(only(*op).pins);
    CHECK(only(*op).value.empty());
}

TEST_CASE("a SET that is a SELECT names what search_path may hide") {
    sql_classifier classifier;
    auto const names = [&](char const* sql) {
        auto const op = classifier.classify(sql);
        CHECK(only(*op).kind == k::set);
        CHECK(only(*op).by_query);
        CHECK(op->has_names);
        return only(*op).names;
    };
    auto const bare = names("select set_config('a', 'b'::text, false)");
    REQUIRE(bare.size() == 2);
    CHECK(bare[0].what == named::function);
    CHECK(bare[0].exact == 0);
    CHECK(bare[1].what == named::type);
    CHECK(bare[1].exact == 0);
    for (name_use const& use : names("select pg_catalog.set_config('a', 'b', true)")) CHECK(use.exact != 0);
    CHECK_FALSE(only(*classifier.classify("set a.b = 'c'")).by_query);
}

TEST_CASE("set_config() that is no plain SET says so") {
    sql_classifier classifier;
    auto check = [&](char const* sql, bool pins, a strictest) {
        CAPTURE(std::string(sql));
        auto const op = classifier.classify(sql);
        CHECK(only(*op).may_set);
        CHECK(only(*op).pins == pins);
        CHECK(op->access == strictest);
    };
    check("select set_config($1, $2, true)", false, a::session);
    check("select set_config($1, $2, false)", true, a::session);
    check("select set_config('a', 'b', false), set_config('c', 'd', false)", true, a::session);
    check("select set_config('a', 'b', true), f()", false, a::unknown);
    check("select set_config('a', b, c) from t", true, a::session);
    check("select set_config('a', 'b'::evil.text, false)", true, a::session);
    check("select set_config('a'::evil.text, 'b', false)", true, a::session);
    check("select set_config('a', 'b', 'true'::evil.bool)", true, a::session);
    check("select set_config('a', 'bcd'::varchar(2), false)", true, a::session);
    check("select set_config('a', 'b'::text[], false)", true, a::session);
    check("select set_config('a', 'b'::name, false)", true, a::session);
    check("select 1 where set_config('a', 'b', $1) = ''", true, a::session);
    check("select set_config(is_local => true, setting_name => 'a', new_value => 'b')", true, a::session);
    check("insert into t select set_config('a', 'b', false)", true, a::write);
    check("explain analyze select set_config('a', 'b', false)", true, a::session);
    check("update pg_catalog.pg_settings set setting = 'off' where name = 'transaction_read_only'", true,
          a::write);
    check("prepare p as select set_config('a', 'b', false)", true, a::session);
    check("create table t as select set_config('a', 'b', false)", true, a::write);
}

TEST_CASE("transaction options, chains, and the strictest of several statements") {
    sql_classifier classifier;
    auto begin =
        only(*classifier.classify("begin isolation level repeatable read, read only, deferrable")).begin;
    CHECK(begin == begin_options{isolation::repeatable_read, true, true});
    begin = only(*classifier.classify("start transaction read write, not deferrable")).begin;
    CHECK(begin == begin_options{isolation::unspecified, false, false});
    begin = only(*classifier.classify("set transaction isolation level read uncommitted")).begin;
    CHECK(begin.isolation == isolation::read_uncommitted);
    begin = only(*classifier.classify("set local transaction_read_only = 'Fal'")).begin;
    CHECK(begin.read_only == false);
    begin = only(*classifier.classify("set transaction_isolation = serializable")).begin;
    CHECK(begin.isolation == isolation::serializable);
    CHECK(only(*classifier.classify("commit and chain")).chain);
    CHECK(only(*classifier.classify("rollback and chain")).chain);
    CHECK_FALSE(only(*classifier.classify("commit and no chain")).chain);

    std::string const text = "begin; select 1;\n set a.b = 'c';insert into t values (1); commit";
    auto const op = classifier.classify(text);
    REQUIRE(op->statements.size() == 5);
    CHECK(op->access == a::write);
    CHECK(op->transaction_control);
    auto part = [&](std::size_t i) {
        auto const& s = op->statements[i];
        return text.substr(s.offset, s.length == 0 ? std::string::npos : s.length);
    };
    CHECK(part(0) == "begin");
    CHECK(part(2) == "\n set a.b = 'c'");
    CHECK(part(3) == "insert into t values (1)");
    CHECK(part(4) == " commit");
    CHECK_FALSE(classifier.classify("select 1; savepoint a; select 2")->transaction_control);
    CHECK(classifier.classify("select 1; prepare transaction 'x'")->transaction_control);
    CHECK(classifier.classify("select 1; select nextval('s')")->access == a::write);
    CHECK(classifier.classify("select f(); set a.b = 1")->access == a::unknown);
}

TEST_CASE("what tells of the server itself is marked, wherever in the text it stands") {
    sql_classifier c;
    for (char const* sql :
         {"select pg_is_in_recovery()", "select pg_catalog.pg_is_in_recovery()", "SELECT PG_BACKEND_PID()",
          "select 1 from t where a = (select inet_server_port())", "select * from pg_stat_activity",
          "table pg_locks", "select 1 from pg_catalog.pg_stat_user_tables s join t on true",
          "select * from pg_lock_status()", "select 1; select pg_postmaster_start_time()",
          "explain select pg_conf_load_time()", "copy (select * from pg_stat_replication) to stdout",
          "copy pg_settings to stdout", "declare c cursor for table pg_locks",
          "prepare p as select pg_stat_get_numscans(1)", "show in_hot_standby", "show transaction_read_only",
          "show all", "select 1; show port",
          "with pg_locks as (select 1) select * from pg_locks, pg_stat_wal"}) {
        CHECK_MESSAGE(c.classify(sql)->about_server, sql);
        CHECK_MESSAGE(c.classify(sql)->about_server, sql);  // from the cache
    }
    for (char const* sql :
         {"select 1", "select * from pg_class", "select * from pg_stats", "select * from pg_statistic",
          "select other.pg_is_in_recovery()", "select * from other.pg_locks", "select 'pg_is_in_recovery()'",
          "select pg_is_in_recovery from t", "with pg_locks as (select 1) select * from pg_locks",
          "show search_path", "show transaction_isolation", "show server_version",
          "select current_setting('port')", "select \"PG_LOCKS\" from t", "select pg_relation_size('t')"})
        CHECK_MESSAGE(!c.classify(sql)->about_server, sql);
}

TEST_CASE("what asks what nextval() has said is marked") {
    sql_classifier c;
    for (char const* sql : {"select lastval()", "SELECT CURRVAL('s')", "select pg_catalog.lastval() as id", "insert into t values (currval('s'))",
                            "insert into t values (1); select lastval()", "prepare p as select lastval()", "copy (select lastval()) to stdout",
                            "with w as (insert into t values (1) returning 1) select lastval() from w", "select * from lastval()"})
        CHECK_MESSAGE(c.classify(sql)->asks_sequences, sql);
    for (char const* sql : {"select 1", "select nextval('s')", "select setval('s', 1)", "select other.lastval()", "select 'lastval()'", "select lastval from t"})
        CHECK_MESSAGE(!c.classify(sql)->asks_sequences, sql);
}

TEST_CASE("what tells of the server itself is spelled as PostgreSQL spells it") {
    // One that is on no list of functions would go to the primary anyhow.
    for (char const* name : {"inet_server_addr",
                             "inet_server_port",
                             "pg_backend_pid",
                             "pg_blocking_pids",
                             "pg_conf_load_time",
                             "pg_control_checkpoint",
                             "pg_get_replication_slots",
                             "pg_get_shmem_allocations",
                             "pg_get_wal_replay_pause_state",
                             "pg_is_in_recovery",
                             "pg_is_wal_replay_paused",
                             "pg_last_xact_replay_timestamp",
                             "pg_lock_status",
                             "pg_notification_queue_usage",
                             "pg_postmaster_start_time",
                             "pg_prepared_xact",
                             "pg_safe_snapshot_blocking_pids",
                             "pg_show_all_settings",
                             "pg_show_replication_origin_status",
                             "pg_stat_get_activity",
                             "pg_stat_have_stats"}) {
        CHECK_MESSAGE(class_of_builtin(name) == function_class::read, name);
        CHECK_MESSAGE(is_function_about_server(name), name);
    }
}

TEST_CASE("the function that decided is named") {
    sql_classifier classifier;
    CHECK(classifier.classify("select f(), g()")->function == "f");
    CHECK(classifier.classify("select f(), nextval('s')")->function == "nextval");
    CHECK(classifier.classify("select f()")->why == why::function);
    CHECK(classifier.classify("select lower('x')")->function.empty());
    CHECK(classifier.classify("select app.other()")->function == "other");
    CHECK(classifier.classify("select lib.dblink()")->access == a::write);
}

TEST_CASE("what cannot be understood is unknown, with the reason") {
    sql_classifier classifier({.max_parse_bytes = 4096, .max_depth = 100});
    auto check = [&](std::string const& sql, why reason, text_facts facts = {}) {
        CAPTURE(sql.substr(0, 60));
        auto const op = classifier.classify(sql, facts);
        CHECK(op->access == a::unknown);
        CHECK(static_cast<int>(op->why) == static_cast<int>(reason));
        CHECK(only(*op).kind == k::unknown);
    };
    auto repeated = [](char const* s, int n) {
        std::string out;
        while (n-- > 0) out += s;
        return out;
    };
    check("selec 1", why::syntax_error);
    check("select 1; delete frm t", why::syntax_error);
    check("select 'x", why::syntax_error);
    check("/* never ends", why::syntax_error);
    check("select 0x1F::int", why::syntax_error);  // newer grammar: the server shall say
    check(std::string("select 1\0; delete from t", 24), why::syntax_error);
    check("select '" + std::string(4096, 'x') + "'", why::too_long);
    check("select " + repeated("f(", 200) + repeated(")", 200), why::too_deep);
    check(repeated("/*", 9) + repeated("*/", 9) + " select 1", why::guard);
    check("select 1 " + repeated("+-", 33) + "1", why::guard);
    check("select 1 " + repeated("+/**/", 33) + "1", why::guard);
    check("select 'a\\'; delete from t; --'", why::encoding, {.standard_conforming_strings = false});
    check("select '\x83\x5c'", why::encoding, {.unsafe_encoding = true});
    // The same facts do not touch texts without such bytes.
    CHECK(classifier.classify("select 'a'", {.standard_conforming_strings = false})->access == a::read);
    CHECK(classifier.classify("select '\\'", {.unsafe_encoding = true})->access == a::read);
    // Long chains are not deep, and eight comments are no danger.
    CHECK(classifier.classify("select 1" + repeated("+1", 1500))->access == a::read);
    CHECK(classifier.classify("select 1" + repeated(" union select 1", 200))->access == a::read);
    CHECK(classifier.classify(repeated("/*", 8) + repeated("*/", 8) + " select 1")->access == a::read);
    CHECK(classifier.classify("/" + std::string(100, '*') + "/ select 1 " + std::string(100, '-'))->access ==
          a::read);
    CHECK(classifier.classify("select '" + repeated("/*", 20) + repeated("+-", 60) + "'")->access == a::read);
    // One statement too deep does not hide its neighbours.
    auto const op =
        classifier.classify("begin; select " + repeated("f(", 200) + repeated(")", 200) + "; commit");
    CHECK(op->statements.size() == 3);
    CHECK(op->transaction_control);
    CHECK(op->access == a::unknown);

    auto const& stats = classifier.stats();
    CHECK(stats.too_long == 1);
    CHECK(stats.guard_trips == 3);
    CHECK(stats.unsafe_text == 2);
    CHECK(stats.too_deep == 2);
    CHECK(stats.syntax_errors == 6);
    CHECK(stats.longest_parse <= 4096);
}

TEST_CASE("four workers classify at the same time and agree") {
    std::vector<std::string> wrong(4);
    std::vector<std::thread> workers;
    for (auto& result : wrong) {
        workers.emplace_back([&result] {
            sql_classifier classifier({.cache_entries = 16});
            for (int i = 0; i < 200; ++i) {
                for (row const& r : table) {
                    auto const& op = classifier.classify(r.sql);
                    if (op->access != r.access || op->statements[0].command != r.command) result = r.sql;
                }
            }
        });
    }
    for (auto& w : workers) w.join();
    for (auto const& result : wrong) CHECK(result == "");
}
