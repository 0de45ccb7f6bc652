"""PREPARE, EXECUTE and DEALLOCATE in transaction pooling: what a client has prepared in SQL follows it from server to server."""
import pytest

from harness.lull import ONE
from harness.wait import wait_for
from harness.wire import bind, close, errors, execute, parse, query, rows, statuses, sync, tags

from test_pooling import pid

# On the primary, so that all clients meet on one server.
LOOK = "SELECT n FROM items WHERE id = $1 FOR SHARE"


def code(answer):
    return errors(answer)[0]["C"]


def test_it_keeps_no_server_and_is_nobody_elses(one):
    with one.wire() as a, one.wire() as b, one.wire() as stranger:
        assert tags(a.query(f"PREPARE p (int) AS {LOOK}")) == ["PREPARE"]
        assert tags(b.query("PREPARE p AS SELECT name FROM items WHERE id = $1 FOR SHARE")) == ["PREPARE"]
        for _ in range(3):
            assert a.one("EXECUTE p(1)") == "0"
            assert b.one("EXECUTE p(1)") == "item 1"
            failed = errors(stranger.query("EXECUTE p(1)"))[0]
            assert failed["C"] == "26000" and failed["M"] == 'prepared statement "p" does not exist'
        assert tags(a.query("DEALLOCATE p")) == ["DEALLOCATE"]
        assert code(a.query("EXECUTE p(1)")) == "26000"
        assert code(a.query("DEALLOCATE p")) == "26000"
        assert b.one("EXECUTE p(2)") == "item 2"


def test_it_survives_its_server(one):
    with one.wire() as a:
        a.query(f"PREPARE p AS {LOOK}")
        first = pid(a)
        one.cluster.primary.end_clients()
        wait_for(lambda: not errors(a.query("UPDATE items SET n = 5 WHERE id = 1")), "the pool has a server again")
        assert a.one("EXECUTE p(1)") == "5"
        assert pid(a) != first


def test_reads_go_to_the_standby(make_lull):
    lull = make_lull()
    with lull.wire() as a:
        a.query("PREPARE p AS SELECT current_setting('in_hot_standby')::bool FROM items WHERE id = $1")
        assert a.one("EXECUTE p(1)") == "t"
        assert a.one("EXECUTE p(1 + 0)") == "f", "what is computed may call anything"
        a.query("PREPARE w AS UPDATE items SET n = $1 RETURNING current_setting('in_hot_standby')::bool")
        assert set(rows(a.query("EXECUTE w(7)"))) == {("f",)}


def test_what_the_protocol_has_prepared_is_read_while_the_site_is_sealed(make_lull):
    lull = make_lull()
    with lull.wire() as a:
        a.ask(parse("r", "SELECT current_setting('in_hot_standby')::bool, n + $1 FROM items WHERE id = $2", [23, 0]), sync())
        a.ask(parse("w", "UPDATE items SET n = $1", [23]), sync())
        wait_for(lambda: rows(a.query("EXECUTE r(5, '1')")) == [("t", "5")], "the catalog knows the table, and the standby is fresh")
        lull.on()
        for _ in range(2):
            assert rows(a.query("EXECUTE r(5, '2')")) == [("t", "5")]
        assert code(a.query("EXECUTE w(1)")) == "25006"
        assert code(a.query("EXECUTE r(5, 1 + 1)")) == "25006"
        lull.off()
        assert tags(a.query("EXECUTE w(1)")) == ["UPDATE 100"]


def test_names_are_shared_with_the_protocol(one):
    with one.wire() as a:
        a.query(f"PREPARE p AS {LOOK}")
        assert code(a.ask(parse("p", "SELECT 1"), sync())) == "42P05"
        assert rows(a.ask(bind("", "p", [1]), execute(), sync())) == [("0",)]
        a.ask(parse("q", LOOK), sync())
        assert code(a.query("PREPARE q AS SELECT 1")) == "42P05"
        assert code(a.extended("PREPARE q AS SELECT 1")) == "42P05"
        assert a.one("EXECUTE q(1)") == "0"
        assert rows(a.ask(bind("", "q", [1]), execute(), sync())) == [("0",)]
        a.ask(parse("typed", "SELECT $1 FROM items WHERE id = 1 FOR SHARE", [23]), sync())
        assert a.one("EXECUTE typed(41)") == "41"
        a.ask(close("S", "p"), sync())
        assert code(a.query("EXECUTE p(1)")) == "26000"
        assert tags(a.query("DEALLOCATE q")) == ["DEALLOCATE"]
        assert code(a.ask(bind("", "q", [1]), execute(), sync())) == "26000"


@pytest.mark.parametrize("forget", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_all_are_forgotten(one, forget):
    with one.wire() as a, one.wire() as b:
        a.query(f"PREPARE p AS {LOOK}")
        b.query(f"PREPARE p AS {LOOK}")
        assert not errors(a.query(forget))
        assert code(a.query("EXECUTE p(1)")) == "26000"
        assert b.one("EXECUTE p(1)") == "0"
        assert tags(a.query("PREPARE p AS SELECT 1")) == ["PREPARE"]


def test_explain_and_create_table_as(one):
    with one.wire() as a, one.wire() as b:
        a.query(f"PREPARE p AS {LOOK.replace(' FOR SHARE', '')}")
        b.query("PREPARE p AS SELECT 'wrong' FOR SHARE")
        assert "items" in str(rows(a.query("EXPLAIN EXECUTE p(1)")))
        b.query("EXECUTE p")
        assert "items" in str(rows(a.query("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE p(1)")))
        b.query("EXECUTE p")
        assert not errors(a.query("CREATE TEMP TABLE made AS EXECUTE p(1)"))
        assert a.one("SELECT n FROM made") == "0"
        a.query("DISCARD ALL")
        assert code(b.query("EXPLAIN EXECUTE nobody")) == "26000"


def test_blocks_and_errors_are_postgresqls(one):
    with one.wire() as a, one.wire() as b:
        a.query("BEGIN")
        a.query(f"PREPARE p AS {LOOK}")
        a.query("ROLLBACK")
        assert a.one("EXECUTE p(1)") == "0", "PREPARE is no part of a transaction"
        b.query("EXECUTE nothing")
        a.query("BEGIN")
        assert code(a.query("EXECUTE p('x')")) == "22P02"
        assert code(a.query("PREPARE q AS SELECT 1")) == "25P02"
        assert code(a.query("EXECUTE p(1)")) == "25P02"
        a.query("ROLLBACK")
        assert code(a.query("EXECUTE q")) == "26000"
        assert code(a.query("PREPARE bad AS SELECT nowhere FROM items")) == "42703"
        assert code(a.query("EXECUTE bad")) == "26000"
        assert code(a.extended("PREPARE bad AS SELECT nowhere FROM items")) == "42703"
        assert tags(a.query("PREPARE bad AS SELECT 1")) == ["PREPARE"]
        assert code(a.query("PREPARE bad AS SELECT 2")) == "42P05"


def test_what_can_no_longer_be_prepared_says_so(one, primary):
    with one.wire() as a, one.wire() as b:
        b.query("CREATE TABLE gone (x int)")
        a.query("PREPARE p AS SELECT x FROM gone FOR SHARE")
        b.query("DROP TABLE gone")
        primary.end_clients()
        wait_for(lambda: not errors(b.query("UPDATE items SET n = 0 WHERE id = 1")), "the pool has a server again")
        answer = a.query("EXECUTE p")
        assert code(answer) == "42P01" and len(errors(answer)) == 1 and statuses(answer) == "I"
        a.query("BEGIN")
        answer = a.query("EXECUTE p")
        assert code(answer) == "42P01" and statuses(answer) == "E"
        a.query("ROLLBACK")


def test_texts_of_several(one):
    with one.wire() as a, one.wire() as b:
        b.query("PREPARE p AS SELECT 'wrong' FOR SHARE")
        answer = a.query("PREPARE p AS SELECT 8 AS n; EXECUTE p; DEALLOCATE p")
        assert rows(answer) == [("8",)] and tags(answer) == ["PREPARE", "SELECT 1", "DEALLOCATE"]
        assert code(a.query("EXECUTE p")) == "26000"
        a.query("DISCARD ALL")
        assert b.one("EXECUTE p") == "wrong"
        assert tags(b.query("EXECUTE p; DEALLOCATE p")) == ["SELECT 1", "DEALLOCATE"]
        assert code(b.query("EXECUTE p")) == "26000"


def test_in_the_extended_protocol(one):
    with one.wire() as a, one.wire() as b:
        for client, value in ((a, "1"), (b, "2")):
            assert tags(client.extended(f"PREPARE p AS SELECT {value} FROM items WHERE id = 1 FOR SHARE")) == ["PREPARE"]
        for _ in range(2):
            assert rows(a.extended("EXECUTE p")) == [("1",)]
            assert rows(b.extended("EXECUTE p")) == [("2",)]
            assert code(a.extended("EXECUTE q")) == "26000"
        # Prepared and executed in one pipeline, and again where it fails.
        answer = a.ask(parse("", "PREPARE r AS SELECT 3"), bind(), execute(), parse("", "EXECUTE r"), bind(), execute(), sync())
        assert rows(answer) == [("3",)], answer
        answer = a.ask(parse("", "SELECT 1/0"), bind(), execute(), parse("", "PREPARE s AS SELECT 4"), bind(), execute(), sync())
        assert code(answer) == "22012"
        assert code(a.query("EXECUTE s")) == "26000"
        assert tags(a.query("PREPARE s AS SELECT 4")) == ["PREPARE"]


def test_limits(make_lull):
    lull = make_lull(dict(ONE, limits={"max_prepared_statements": 3, "max_server_prepared_statements": 2}))
    with lull.wire() as a:
        for number in range(3):
            a.query(f"PREPARE p{number} AS SELECT {number} FROM items WHERE id = 1 FOR SHARE")
        failed = errors(a.query("PREPARE p3 AS SELECT 3"))[0]
        assert failed["C"] == "54000" and "max_prepared_statements" in failed["H"]
        for turn in range(6):
            assert a.one(f"EXECUTE p{turn % 3}") == str(turn % 3), "more than the server may have"


def test_a_result_of_another_type_is_postgresqls_error_until_it_is_prepared_again(one, primary):
    """Also where the same text is prepared again, as drivers do then."""
    primary.sql("CREATE TABLE widened (x int); GRANT ALL ON widened TO app", db="shop")
    try:
        with one.wire() as a:
            text = "SELECT * FROM widened FOR SHARE"
            a.query(f"PREPARE p AS {text}")
            a.ask(parse("s", text), bind("", "s"), execute(), sync())
            assert not errors(a.query("EXECUTE p"))
            primary.sql("ALTER TABLE widened ADD COLUMN y int", db="shop")
            assert code(a.query("EXECUTE p")) == "0A000"
            assert code(a.ask(bind("", "s"), execute(), sync())) == "0A000"
            a.query("DEALLOCATE p")
            a.query(f"PREPARE p AS {text}")
            assert not errors(a.query("EXECUTE p"))
            assert not errors(a.ask(close("S", "s"), parse("s", text), bind("", "s"), execute(), sync()))
    finally:
        primary.sql("DROP TABLE widened", db="shop")


def test_while_sealed(make_lull):
    """EXECUTE is what was prepared: a read is answered, also where unknown functions are refused; a write is not."""
    lull = make_lull({"sites": {"shop": {"guard": {"functions": "refuse"}}}})
    with lull.wire() as a, lull.wire() as b:
        a.query("PREPARE look AS SELECT n FROM items WHERE id = $1")
        a.query("PREPARE put AS UPDATE items SET n = n + 1 WHERE id = $1")
        a.query("PREPARE sly AS SELECT nextval('counter')")
        lull.on()
        assert a.one("EXECUTE look(1)") == "0"
        for sql in ("EXECUTE put(1)", "EXECUTE put(1 + 0)", "EXECUTE sly", "EXECUTE look(1); EXECUTE put(1)",
                    "EXPLAIN ANALYZE EXECUTE put(1)"):
            assert code(a.query(sql)) == "25006", sql
            assert code(a.extended(sql)) in ("25006", "42601"), sql
        assert code(a.ask(bind("", "put", [1]), execute(), sync())) == "25006"
        assert tags(b.query("PREPARE look AS SELECT 'b'")) == ["PREPARE"]
        assert b.one("EXECUTE look") == "b"
        assert a.one("EXECUTE look(1)") == "0"
        assert code(b.query("PREPARE put AS DELETE FROM items")) == "25006"
        lull.off()
        assert tags(a.query("EXECUTE put(1)")) == ["UPDATE 1"]


@pytest.mark.parametrize("where", ["replica", "primary"])
def test_what_a_function_has_put_under_its_name_is_not_run_while_sealed(make_lull, primary, where):
    """Also on a standby, from which it could reach the primary. Seen from outside, nothing tells that the function does that."""
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 1}}, "sites": {"shop": {"guard": {"functions": "refuse"}}}})
    primary.sql("CREATE FUNCTION swap() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE p';"
                " EXECUTE 'PREPARE p AS SELECT 666 AS n'; RETURN 1; END $$", db="shop")
    try:
        with lull.wire() as a:
            a.query("PREPARE p AS SELECT n FROM items WHERE id = 1")
            if where == "primary":
                a.query("SELECT pg_advisory_lock(5)")  # stays there
            assert a.one("EXECUTE p") == "0"
            wait_for(lambda: not errors(a.query(f"/* lull: {where} */ SELECT swap()")), "it is on the standby, too")
            assert a.one("EXECUTE p") == "666"
            lull.on()
            assert a.one("EXECUTE p") == "0"
            assert errors(a.query("SELECT swap()"))[0]["C"] == "25006"
    finally:
        primary.sql("DROP FUNCTION swap()", db="shop")


def test_names_that_servers_may_cut_otherwise(one):
    with one.wire() as a, one.wire() as b:
        a.query('PREPARE "früh" AS SELECT 1 FOR SHARE')
        assert a.one('EXECUTE "früh"') == "1"
        b.send(query("UPDATE items SET n = 1 WHERE id = 1"))
        assert b.quiet(0.1), "the only server is kept for what is prepared there"
        a.query("DISCARD ALL")
        assert tags(b.until("Z")) == ["UPDATE 1"]


def test_names_of_lulls_own_are_nobodys(one):
    with one.wire() as a, one.wire() as b:
        b.ask(parse("s", "SELECT 'of b' FOR SHARE"), bind("", "s"), execute(), sync())
        name = a.one("/* lull: primary */ SELECT name FROM pg_prepared_statements WHERE statement LIKE '%of b%'")
        assert name.startswith("lull_")
        for sql in (f"EXECUTE {name}", f"EXPLAIN EXECUTE {name}", f"SELECT 1; EXECUTE {name}"):
            assert code(a.query(sql)) == "42939", sql
        assert rows(b.ask(bind("", "s"), execute(), sync())) == [("of b",)]


def test_a_write_that_is_executed_is_held(lull):
    with lull.wire("held") as a:
        a.query("PREPARE put AS INSERT INTO log (who) VALUES ($1)")
        lull.on("held")
        a.send(query("EXECUTE put('held')"))
        wait_for(lambda: lull.site("held")["held"]["count"] == 1, "it is held")
        lull.off("held")
        assert tags(a.until("Z")) == ["INSERT 0 1"]
