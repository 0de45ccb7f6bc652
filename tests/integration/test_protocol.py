"""The protocol as clients speak it. Most tests are differential: one script of bytes is played to PostgreSQL and to Lull in
front of it, and every message that comes back must be the same."""
import io
import struct
import threading
import time

import psycopg
import psycopg2
import psycopg2.errors
import pytest
from psycopg import pq

from harness import wire as w
from harness.cluster import APP_PASSWORD
from harness.wait import wait_for
from harness.wire import Wire, bind, close, copy_data, copy_done, copy_fail, describe, errors, execute, flush, parse, query
from harness.wire import rows, shape, statuses, sync, tags


def columns(body):
    """A RowDescription without the oid of the table, which was made anew between the two plays."""
    count, at, seen = struct.unpack_from("!h", body)[0], 2, []
    for _ in range(count):
        end = body.index(b"\0", at)
        name, facts = body[at:end], struct.unpack_from("!IhIhih", body, end + 1)
        seen.append((name, facts[0] != 0, *facts[1:]))
        at = end + 19
    return seen


def visible(messages):
    """Messages with what must be equal. An error's file, line and routine are the server's own business."""
    seen = []
    for one in messages:
        if one.type in "EN":
            fields = w.error_fields(one.body)
            seen.append((one.type, {k: v for k, v in fields.items() if k not in "FLR"}))
        elif one.type == "A":
            seen.append((one.type, one.body[4:]))
        elif one.type == "T":
            seen.append((one.type, columns(one.body)))
        else:
            seen.append((one.type, one.body))
    return seen


# Each script is a list of steps; a step is what is sent in one write and how many ReadyForQuery it is owed.
def Q(sql):
    return (query(sql), 1)


def X(*parts, ready=1):
    return (b"".join(parts), ready)


INT4, TEXT = 23, 25
SCRIPTS = {
    "simple select": [Q("SELECT 1, 'two', NULL, 3.5::float8")],
    "rows of a table": [Q("SELECT * FROM items ORDER BY id")],
    "empty query": [Q(""), Q(" "), Q("-- only a comment"), Q(";"), Q("/* a */;/* b */")],
    "several statements in one text": [Q("SELECT 1; SELECT 2; SELECT 3")],
    "several statements with writes": [Q("INSERT INTO log (who) VALUES ('a'); SELECT who FROM log; DELETE FROM log; SELECT 4")],
    "an error in the middle of a text undoes all of it": [
        Q("INSERT INTO log (who) VALUES ('a'); SELECT 1/0; INSERT INTO log (who) VALUES ('b')"), Q("SELECT count(*) FROM log")],
    "transaction control inside a text": [
        Q("BEGIN; INSERT INTO log (who) VALUES ('a'); COMMIT; SELECT count(*) FROM log; BEGIN; DELETE FROM log"),
        Q("ROLLBACK"), Q("SELECT count(*) FROM log")],
    "commit in the middle of an implicit block": [
        Q("INSERT INTO log (who) VALUES ('a'); COMMIT; SELECT 1/0"), Q("SELECT count(*) FROM log")],
    "errors": [Q("SELECT nothing FROM items"), Q("SELEC 1"), Q("SELECT * FROM nowhere"), Q("SELECT 1/0"),
               Q("INSERT INTO items VALUES (1, 'again')"), Q("SELECT 'a'::int"), Q("SELECT 1")],
    "notices": [Q("DO $$BEGIN RAISE NOTICE 'hello %', 1; RAISE WARNING 'careful'; END$$"), Q("DROP TABLE IF EXISTS nowhere"),
                Q("COMMIT"), Q("ROLLBACK"), Q("BEGIN"), Q("BEGIN"), Q("COMMIT")],
    "transactions": [Q("BEGIN"), Q("SELECT count(*) FROM items"), Q("UPDATE items SET n = 5 WHERE id = 1"), Q("COMMIT"),
                     Q("BEGIN"), Q("UPDATE items SET n = 6 WHERE id = 1"), Q("ROLLBACK"), Q("SELECT n FROM items WHERE id = 1")],
    "an empty transaction": [Q("BEGIN"), Q("COMMIT"), Q("START TRANSACTION"), Q("ROLLBACK"), Q("BEGIN"), Q("END"),
                             Q("BEGIN"), Q("ABORT")],
    "a failed transaction": [Q("BEGIN"), Q("SELECT 1/0"), Q("SELECT 1"), Q("SAVEPOINT a"), Q("COMMIT"), Q("SELECT 1")],
    "an error as the first statement of a transaction": [Q("BEGIN"), Q("SELEC"), Q("SELECT 1"), Q("ROLLBACK")],
    "savepoints": [Q("BEGIN"), Q("SAVEPOINT a"), Q("INSERT INTO log (who) VALUES ('a')"), Q("SAVEPOINT b"), Q("SELECT 1/0"),
                   Q("SELECT 1"), Q("ROLLBACK TO b"), Q("SELECT count(*) FROM log"), Q("RELEASE a"), Q("COMMIT"),
                   Q("SELECT who FROM log")],
    "chains": [Q("BEGIN"), Q("INSERT INTO log (who) VALUES ('a')"), Q("COMMIT AND CHAIN"), Q("INSERT INTO log (who) VALUES ('b')"),
               Q("ROLLBACK AND CHAIN"), Q("SELECT who FROM log"), Q("COMMIT"), Q("COMMIT AND CHAIN")],
    "kinds of transactions": [
        Q("BEGIN ISOLATION LEVEL SERIALIZABLE"), Q("SHOW transaction_isolation"), Q("COMMIT"),
        Q("BEGIN READ ONLY"), Q("SHOW transaction_read_only"), Q("UPDATE items SET n = 1"), Q("SELECT 1"), Q("COMMIT"),
        Q("BEGIN"), Q("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"), Q("SHOW transaction_isolation"), Q("COMMIT"),
        Q("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), Q("SELECT count(*) FROM items"), Q("COMMIT")],
    "settings": [Q("SET work_mem = '3MB'"), Q("SHOW work_mem"), Q("SET TimeZone = 'Asia/Tokyo'"), Q("SHOW timezone"),
                 Q("SET application_name = 'new'"), Q("SET no_such_setting = 1"), Q("SET work_mem = 'bananas'"),
                 Q("SHOW work_mem"), Q("RESET work_mem"), Q("SET client_encoding = 'LATIN1'"), Q("SELECT chr(233)"),
                 Q("RESET ALL"), Q("SELECT chr(233)"), Q("SET datestyle = 'German'"), Q("SELECT '2026-02-01'::date")],
    "extended": [X(parse("", "SELECT $1::int + 1", ()), bind("", "", [41]), describe("P"), execute(), sync())],
    "extended without describe": [X(parse("", "SELECT 1"), bind(), execute(), sync())],
    "describe a statement": [X(parse("s", "SELECT $1::int, $2::text", (INT4, TEXT)), describe("S", "s"), sync()),
                             X(bind("", "s", [1, "x"]), execute(), sync()), X(close("S", "s"), sync()),
                             X(bind("", "s", [1, "x"]), execute(), sync())],
    "named statement used again": [X(parse("s", "SELECT n FROM items WHERE id = $1"), sync())]
    + [X(bind("", "s", [i]), execute(), sync()) for i in range(1, 6)],
    "statement that was never made": [X(bind("", "none"), execute(), sync()), X(describe("S", "none"), sync()),
                                      X(close("S", "none"), sync()), Q("SELECT 1")],
    "portal that was never made": [X(execute("none"), sync()), X(describe("P", "none"), sync()), X(close("P", "none"), sync())],
    "named statement made twice": [X(parse("s", "SELECT 1"), sync()), X(parse("s", "SELECT 2"), sync()),
                                   X(bind("", "s"), execute(), sync())],
    "unnamed statement made twice": [X(parse("", "SELECT 1"), parse("", "SELECT 2"), bind(), execute(), sync())],
    "an error skips to sync": [X(parse("", "SELECT 1/0"), bind(), execute(), parse("", "SELECT 2"), bind(), execute(), sync()),
                               X(parse("", "SELEC"), bind(), describe("P"), execute(), sync()), Q("SELECT 1")],
    "wrong number of parameters": [X(parse("", "SELECT $1::int"), bind("", "", []), execute(), sync()),
                                   X(parse("", "SELECT $1::int"), bind("", "", ["x"]), execute(), sync()), Q("SELECT 1")],
    "row limits": [X(parse("", "SELECT id FROM items ORDER BY id"), bind("p"), execute("p", 3), execute("p", 3),
                     describe("P", "p"), execute("p", 0), execute("p", 2), sync()),
                   X(execute("p", 1), sync())],
    "a portal over several round trips": [
        Q("BEGIN"), X(parse("", "SELECT id FROM items ORDER BY id"), bind("p"), execute("p", 2), sync()),
        X(execute("p", 2), sync()), X(execute("p", 2), close("P", "p"), sync()), X(execute("p", 2), sync()), Q("ROLLBACK")],
    "a pipeline of one sync": [X(*(part for i in range(20) for part in (parse("", "SELECT $1::int"), bind("", "", [i]), execute())),
                                 sync())],
    "a pipeline of many syncs": [
        X(*(part for i in range(20) for part in (parse("", "SELECT $1::int"), bind("", "", [i]), execute(), sync())), ready=20)],
    "a pipeline with writes and an error": [
        X(parse("", "INSERT INTO log (who) VALUES ('1')"), bind(), execute(), sync(),
          parse("", "INSERT INTO log (who) VALUES ('2')"), bind(), execute(),
          parse("", "SELECT 1/0"), bind(), execute(),
          parse("", "INSERT INTO log (who) VALUES ('3')"), bind(), execute(), sync(),
          parse("", "INSERT INTO log (who) VALUES ('4')"), bind(), execute(), sync(), ready=3),
        Q("SELECT who FROM log ORDER BY id")],
    "a pipeline with a transaction in it": [
        X(parse("", "BEGIN"), bind(), execute(), parse("", "INSERT INTO log (who) VALUES ('1')"), bind(), execute(),
          parse("", "COMMIT"), bind(), execute(), parse("", "SELECT who FROM log"), bind(), describe("P"), execute(), sync())],
    "begin and the rest in pieces": [
        X(parse("", "BEGIN"), bind(), execute(), sync()), X(parse("", "SELECT count(*) FROM log"), bind(), execute(), sync()),
        X(parse("", "INSERT INTO log (who) VALUES ('1')"), bind(), execute(), sync()),
        X(parse("", "COMMIT"), bind(), execute(), sync())],
    "simple queries in a pipeline": [X(query("SELECT 1"), query("SELECT 2"), query("INSERT INTO log (who) VALUES ('1')"),
                                       query("SELECT 1/0"), query("SELECT 3"), ready=5)],
    "simple and extended mixed": [X(parse("", "SELECT 1"), bind(), execute(), sync(), query("SELECT 2"), parse("", "SELECT 3"),
                                    bind(), execute(), sync(), ready=3)],
    "empty query extended": [X(parse("", ""), bind(), describe("P"), execute(), sync()),
                             X(parse("e", ""), describe("S", "e"), sync())],
    "two statements in one parse": [X(parse("", "SELECT 1; SELECT 2"), bind(), execute(), sync()), Q("SELECT 1")],
    "statement prepared in SQL": [Q("PREPARE p AS SELECT $1::int + 1"), Q("EXECUTE p(41)"), Q("EXECUTE p(1)"),
                                  Q("DEALLOCATE p"), Q("EXECUTE p(41)")],
    "cursors": [Q("BEGIN"), Q("DECLARE c CURSOR FOR SELECT id FROM items ORDER BY id"), Q("FETCH 2 FROM c"), Q("MOVE 3 IN c"),
                Q("FETCH 2 FROM c"), Q("CLOSE c"), Q("FETCH c"), Q("ROLLBACK"), Q("DECLARE c CURSOR FOR SELECT 1")],
    "copy out": [Q("COPY items TO STDOUT"), Q("COPY (SELECT id FROM items WHERE id < 4 ORDER BY id) TO STDOUT WITH CSV"),
                 Q("COPY (SELECT 1/(id - 50) FROM items ORDER BY id) TO STDOUT"), Q("COPY nowhere TO STDOUT")],
    "copy in": [X(query("COPY log (who, what) FROM STDIN"), copy_data(b"a\tb\nc\td"), copy_data(b"\n"), copy_done()),
                Q("SELECT who, what FROM log ORDER BY id")],
    "copy in fails": [X(query("COPY log (who) FROM STDIN"), copy_data(b"a\n"), copy_fail("no more")),
                      X(query("COPY items FROM STDIN"), copy_data(b"not a number\tx\t1\n"), copy_done()),
                      X(query("COPY nowhere FROM STDIN")), Q("SELECT count(*) FROM log")],
    "copy in, extended": [X(parse("", "COPY log (who) FROM STDIN"), bind(), execute(), copy_data(b"x\ny\n"), copy_done(), sync()),
                          Q("SELECT who FROM log ORDER BY id")],
    "copy in a transaction": [Q("BEGIN"), X(query("COPY log (who) FROM STDIN"), copy_data(b"x\n"), copy_done()), Q("ROLLBACK"),
                              Q("SELECT count(*) FROM log")],
    "copy data that nobody asked for": [X(copy_data(b"lost\n"), copy_done(), query("SELECT 1"))],
    "functions that write": [Q("SELECT bump()"), Q("SELECT nextval('counter')"), Q("SELECT currval('counter')"),
                             Q("SELECT n FROM items WHERE id = 1"), Q("CALL commits_inside()"), Q("SELECT who, what FROM log"),
                             X(parse("", "CALL commits_inside()"), bind(), execute(), sync()),
                             Q("DO $$BEGIN PERFORM bump(); COMMIT; PERFORM bump(); ROLLBACK; END$$"),
                             Q("SELECT n FROM items WHERE id = 1")],
    "explain": [Q("EXPLAIN (COSTS OFF) SELECT * FROM items WHERE id = 1"),
                Q("EXPLAIN (COSTS OFF) UPDATE items SET n = 1 WHERE id = 1"),
                Q("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) UPDATE items SET n = 7 WHERE id = 1"),
                Q("SELECT n FROM items WHERE id = 1")],
    "ddl": [Q("CREATE TABLE t (a int)"), Q("INSERT INTO t VALUES (1)"), Q("SELECT * FROM t"), Q("ALTER TABLE t ADD b text"),
            Q("SELECT * FROM t"), Q("DROP TABLE t"), Q("SELECT * FROM t")],
    "a cached plan whose result changed": [
        Q("CREATE TABLE t (a int)"), X(parse("s", "SELECT * FROM t"), bind("", "s"), execute(), sync()),
        Q("ALTER TABLE t ADD b text"), X(parse("", "SELECT * FROM t"), bind(), execute(), sync())],
    "long text": [Q("SELECT '" + "x" * 200_000 + "'"), Q("SELECT length('" + "y" * 200_000 + "')"),
                  X(parse("", "SELECT length($1)"), bind("", "", ["z" * 300_000]), execute(), sync())],
    "many columns": [Q("SELECT " + ", ".join(f"{i} AS c{i}" for i in range(1600)))],
    "flush": [X(parse("", "SELECT 1"), bind(), execute(), flush(), sync())],
    "nothing but syncs": [X(sync()), X(sync(), sync(), sync(), ready=3)],
    "an unknown encoding of text": [Q("SELECT 'ä', '漢字', '😀'"), Q("SELECT E'\\xff'")],
}


@pytest.mark.parametrize("name", list(SCRIPTS), ids=lambda n: n.replace(" ", "-"))
def test_same_as_postgresql(name, lull, cluster):
    def play(client):
        return [visible(client.send(data).until("Z", ready)) for data, ready in SCRIPTS[name]]

    with Wire("127.0.0.1", cluster.primary.port).login("app", APP_PASSWORD, "shop") as direct:
        wanted = play(direct)
    cluster.reset("shop")
    with lull.wire() as through:
        got = play(through)
    for step, (want, have) in enumerate(zip(wanted, got)):
        assert have == want, f"step {step}: {SCRIPTS[name][step][0][:200]!r}"


@pytest.mark.parametrize("name", ["transactions", "row limits", "a pipeline with writes and an error", "copy in", "copy out"],
                         ids=lambda n: n.replace(" ", "-"))
def test_same_when_every_byte_comes_alone(name, lull, cluster):
    with Wire("127.0.0.1", cluster.primary.port).login("app", APP_PASSWORD, "shop") as direct:
        wanted = [visible(direct.send(data).until("Z", ready)) for data, ready in SCRIPTS[name]]
    cluster.reset("shop")
    with lull.wire() as through:
        for (data, ready), want in zip(SCRIPTS[name], wanted):
            for at in range(len(data)):
                through.send(data[at:at + 1])
            assert visible(through.until("Z", ready)) == want


def test_flush_brings_the_answer_before_the_sync(lull):
    with lull.wire() as client:
        client.send(parse("", "SELECT 7"), bind(), execute(), flush())
        assert shape(client.until("C")) == "12DC"
        assert client.quiet()
        assert shape(client.ask(sync())) == "Z"


def test_answers_come_in_order_through_a_deep_pipeline(lull):
    count = 2000
    with lull.wire() as client:
        sender = threading.Thread(target=lambda: client.send(*(
            part for i in range(count)
            for part in (parse("", "SELECT $1::int" if i % 3 else "INSERT INTO log (who) VALUES ($1) RETURNING who"),
                         bind("", "", [i]), execute(), sync()))))
        sender.start()
        answer = client.until("Z", count)
        sender.join()
        assert [int(value) for value, in rows(answer)] == list(range(count))
        assert not errors(answer)


def test_unread_results_do_not_fill_memory(lull):
    """A client that does not read: the server is slowed down, not Lull's memory filled."""

    def resident():
        with open(f"/proc/{lull.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

    before = resident()
    clients = [lull.wire() for _ in range(4)]
    for client in clients:
        client.send(query("SELECT repeat('x', 10000) FROM generate_series(1, 20000)"))  # 200 MB each
    with lull.wire() as bystander:
        for _ in range(20):
            assert bystander.one("SELECT 1") == "1"
            time.sleep(0.02)
    assert resident() - before < 60, "results are kept in memory for clients that do not read"
    assert sum(m.type == "D" for m in clients[0].until("Z")) == 20000
    for client in clients:
        client.close()


def test_large_result(lull):
    with lull.connect() as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT i, repeat(md5(i::text), 30) FROM generate_series(1, 100000) i")
            total, last = 0, None
            for number, text in cursor:
                assert len(text) == 960
                total += 1
                last = number
            assert (total, last) == (100000, 100000)


def test_one_huge_value_each_way(lull):
    big = "ä" * 15_000_000
    with lull.connect() as connection:
        assert connection.execute("SELECT length(%s::text)", (big,)).fetchone() == (15_000_000,)
        assert connection.execute("SELECT repeat('ä', 15000000)").fetchone()[0] == big


# -- COPY ---------------------------------------------------------------------------------------------------------------

def test_large_copy_both_ways(lull):
    with lull.connect() as connection:
        connection.execute("CREATE TABLE big (id int, text text)")
        lines = b"".join(b"%d\t%s\n" % (i, b"x" * 200) for i in range(100_000))
        with connection.cursor() as cursor:
            with cursor.copy("COPY big FROM STDIN") as copy:
                for at in range(0, len(lines), 1_000_000):
                    copy.write(lines[at:at + 1_000_000])
            assert cursor.rowcount == 100_000
            with cursor.copy("COPY (SELECT * FROM big ORDER BY id) TO STDOUT") as copy:
                back = b"".join(bytes(data) for data in copy)
            assert back == lines
        assert connection.execute("SELECT count(*) FROM big").fetchone() == (100_000,)


def test_copy_with_psycopg2(lull):
    connection = lull.connect2()
    with connection.cursor() as cursor:
        cursor.copy_expert("COPY log (who) FROM STDIN", io.StringIO("".join(f"w{i}\n" for i in range(5000))))
        out = io.StringIO()
        cursor.copy_expert("COPY (SELECT who FROM log ORDER BY id) TO STDOUT", out)
        assert out.getvalue().split() == [f"w{i}" for i in range(5000)]
    connection.close()


def test_copy_that_the_client_gives_up(lull):
    with lull.connect() as connection:
        with pytest.raises(psycopg.errors.QueryCanceled, match="changed my mind"):
            with connection.cursor() as cursor, cursor.copy("COPY log (who) FROM STDIN") as copy:
                copy.write(b"a\n")
                raise RuntimeError("changed my mind")
        assert connection.execute("SELECT count(*) FROM log").fetchone() == (0,)


def test_client_goes_in_the_middle_of_a_copy(lull, primary):
    client = lull.wire()
    client.send(query("COPY log (who) FROM STDIN"))
    assert client.receive().type == "G"
    client.send(copy_data(b"half of it\n" * 1000))
    client.close()
    wait_for(lambda: not primary.backends("datname = 'shop' AND query LIKE 'COPY log%%' AND state = 'active'"),
             "the COPY has ended on the server")
    assert lull.wire().one("SELECT count(*) FROM log") == "0"


# -- drivers --------------------------------------------------------------------------------------------------------------

def test_psycopg2_transactions(lull):
    connection = lull.connect2(autocommit=False)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM items")
        cursor.execute("UPDATE items SET n = 11 WHERE id = 1")
    with pytest.raises(psycopg2.errors.DivisionByZero):
        with connection, connection.cursor() as cursor:
            cursor.execute("UPDATE items SET n = 12 WHERE id = 1")
            cursor.execute("SELECT 1/0")
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT n FROM items WHERE id = 1")
        assert cursor.fetchone() == (11,)
    with connection.cursor("named") as cursor:
        cursor.itersize = 7
        cursor.execute("SELECT id FROM items ORDER BY id")
        assert [i for i, in cursor] == list(range(1, 101))
    connection.rollback()
    connection.close()


def test_psycopg3_prepares_and_transactions(lull):
    with lull.connect(autocommit=False, prepare_threshold=0) as connection:
        for i in range(1, 30):
            connection.execute("UPDATE items SET n = %s WHERE id = %s", (i * 10, i))
            with connection.transaction():
                connection.execute("INSERT INTO log (who) VALUES (%s)", (str(i),))
            connection.commit()
        assert connection.execute("SELECT sum(n) FROM items").fetchone() == (sum(i * 10 for i in range(1, 30)),)


def test_psycopg3_server_side_and_binary_cursors(lull):
    with lull.connect(autocommit=False) as connection:
        with connection.cursor("named", binary=True) as cursor:
            cursor.execute("SELECT id, name FROM items ORDER BY id")
            assert cursor.fetchmany(3) == [(i, f"item {i}") for i in (1, 2, 3)]
            assert len(cursor.fetchall()) == 97
        with connection.cursor(binary=True) as cursor:
            cursor.execute("SELECT %b::int8, %b::bytea, %b::timestamptz", (1 << 40, b"\0\xff", "2026-01-01 00:00:00+00"))
            number, data, _ = cursor.fetchone()
            assert (number, bytes(data)) == (1 << 40, b"\0\xff")
        with connection.cursor() as cursor:
            assert [r[0] for r in cursor.stream("SELECT generate_series(1, 1000)")] == list(range(1, 1001))


def test_psycopg3_executemany_uses_a_pipeline(lull):
    with lull.connect(prepare_threshold=3) as connection:
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO log (who) VALUES (%s) RETURNING who", [(str(i),) for i in range(500)], returning=True)
            back = [cursor.fetchone()[0]]
            while cursor.nextset():
                back.append(cursor.fetchone()[0])
            assert back == [str(i) for i in range(500)]


def test_psycopg3_pipeline_mode(lull):
    with lull.connect(prepare_threshold=0) as connection:
        with connection.pipeline() as pipeline:
            reads = [connection.execute("SELECT %s::int + 1", (i,)) for i in range(200)]
            write = connection.execute("UPDATE items SET n = n + 1 WHERE id <= %s RETURNING id", (5,))
            pipeline.sync()
            later = connection.execute("SELECT sum(n) FROM items")
            assert [c.fetchone()[0] for c in reads] == [i + 1 for i in range(200)]
            assert len(write.fetchall()) == 5
            assert later.fetchone() == (5,)


def test_psycopg3_pipeline_mode_with_an_error(lull):
    with lull.connect() as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            with connection.pipeline() as pipeline:
                connection.execute("INSERT INTO log (who) VALUES ('kept')")
                pipeline.sync()
                connection.execute("INSERT INTO log (who) VALUES ('undone')")
                connection.execute("SELECT 1/0")
                connection.execute("INSERT INTO log (who) VALUES ('skipped')")
                pipeline.sync()
        assert connection.execute("SELECT who FROM log").fetchall() == [("kept",)]


def libpq(lull):
    info = " ".join(f"{k}={v}" for k, v in lull.dsn().items())
    connection = pq.PGconn.connect(info.encode())
    assert connection.status == pq.ConnStatus.OK, connection.error_message
    return connection


def libpq_drain(connection, syncs):
    """The results of a pipeline: status and first value of each."""
    seen = []
    while syncs:
        result = connection.get_result()
        if result is None:
            continue
        if result.status == pq.ExecStatus.PIPELINE_SYNC:
            syncs -= 1
            seen.append("sync")
        elif result.status == pq.ExecStatus.TUPLES_OK:
            seen.append(int(result.get_value(0, 0)))
        else:
            seen.append(pq.ExecStatus(result.status).name)
    return seen


def test_libpq_pipeline(lull):
    connection = libpq(lull)
    connection.enter_pipeline_mode()
    connection.send_prepare(b"add", b"SELECT $1::int + 1")
    for i in range(100):
        connection.send_query_prepared(b"add", [str(i).encode()])
    connection.pipeline_sync()
    connection.send_query_params(b"UPDATE items SET n = 3 WHERE id = 1 RETURNING n", [])
    connection.send_query_params(b"SELECT 1/0", [])
    connection.send_query_params(b"SELECT 5", [])
    connection.pipeline_sync()
    connection.send_describe_prepared(b"add")
    connection.send_query_prepared(b"add", [b"7"])
    connection.pipeline_sync()
    seen = libpq_drain(connection, 3)
    assert seen == ["COMMAND_OK", *range(1, 101), "sync", 3, "FATAL_ERROR", "PIPELINE_ABORTED", "sync", "COMMAND_OK", 8, "sync"]
    connection.exit_pipeline_mode()
    assert connection.exec_(b"SELECT n FROM items WHERE id = 1").get_value(0, 0) == b"0", "the error undid the UPDATE"
    connection.finish()


def test_libpq_pipeline_with_flush_requests(lull):
    connection = libpq(lull)
    connection.enter_pipeline_mode()
    for i in range(5):
        connection.send_query_params(b"SELECT $1::int", [str(i).encode()])
        connection.send_flush_request()
        connection.flush()
        assert connection.get_result().get_value(0, 0) == str(i).encode()  # before any sync
        assert connection.get_result() is None
    connection.pipeline_sync()
    assert libpq_drain(connection, 1) == ["sync"]
    connection.finish()


def test_libpq_single_row_mode(lull):
    connection = libpq(lull)
    connection.send_query(b"SELECT generate_series(1, 5000)")
    connection.set_single_row_mode()
    count = 0
    while (result := connection.get_result()) is not None:
        if result.status == pq.ExecStatus.SINGLE_TUPLE:
            count += 1
            assert int(result.get_value(0, 0)) == count
    assert count == 5000
    connection.finish()


# -- notifications ----------------------------------------------------------------------------------------------------------

def test_notifications_reach_an_idle_listener(lull, primary):
    with lull.connect() as listener:
        listener.execute("LISTEN news")
        primary.sql("NOTIFY news, 'first'", db="shop")
        got = next(listener.notifies())
        assert (got.channel, got.payload) == ("news", "first")
        with lull.connect() as speaker:
            for i in range(20):
                speaker.execute("SELECT pg_notify('news', %s)", (str(i),))
        listening = listener.notifies()
        assert [next(listening).payload for _ in range(20)] == [str(i) for i in range(20)]
        listener.execute("UNLISTEN news")
        assert listener.execute("SELECT count(*) FROM items").fetchone() == (100,)


# -- cancel -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sql", ["SELECT pg_sleep(60)", "UPDATE items SET n = 1 WHERE pg_sleep(60) IS NULL"],
                         ids=["on the standby", "on the primary"])
def test_cancel_a_running_statement(lull, sql):
    with lull.wire() as client:
        client.send(query(sql))
        wait_for(lambda: any(server.backends("query = %s AND state = 'active'", (sql,))
                             for server in (lull.cluster.primary, lull.cluster.standby)), "the statement runs")
        client.cancel()
        answer = client.until("Z")
        assert errors(answer)[0]["C"] == "57014"
        assert errors(answer)[0]["M"] == "canceling statement due to user request"
        assert client.one("SELECT 1") == "1"


def test_cancel_through_the_drivers(lull):
    with lull.connect() as connection:
        timer = threading.Thread(target=lambda: (wait_for(lambda: any(
            s.backends("query LIKE 'SELECT pg_sleep(61)%%' AND state = 'active'")
            for s in (lull.cluster.primary, lull.cluster.standby)), "it runs"), connection.cancel()))
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(61)")
        timer.join()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_cancel_with_a_wrong_key_does_nothing(lull):
    with lull.wire() as client:
        client.send(query("SELECT pg_sleep(0.4)"))
        with lull.raw() as stranger:
            stranger.send(w.cancel_request(client.pid, b"\0\0\0\0"))
            assert stranger.until_closed() == []
        with lull.raw() as stranger:
            stranger.send(w.cancel_request(client.pid + 1, client.secret))
            assert stranger.until_closed() == []
        assert not errors(client.until("Z"))


def test_cancel_of_an_idle_client_hits_nobody(lull):
    with lull.wire() as idle, lull.wire() as busy:
        idle.query("SELECT 1")
        busy.send(query("SELECT pg_sleep(0.4)"))
        for _ in range(5):
            idle.cancel()
        assert not errors(busy.until("Z"))
        assert idle.one("SELECT 1") == "1"


def test_cancel_while_waiting_for_a_server(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 1}}})
    with lull.wire() as holder, lull.wire() as waiting, lull.wire() as behind:
        holder.query("BEGIN")
        holder.query("UPDATE items SET n = 1 WHERE id = 1")
        waiting.send(query("UPDATE items SET n = 2 WHERE id = 2"))
        assert waiting.quiet(0.1)
        behind.send(query("UPDATE items SET n = 3 WHERE id = 3"))
        waiting.cancel()
        answer = waiting.until("Z")
        assert errors(answer)[0]["C"] == "57014" and statuses(answer) == "I"
        holder.query("COMMIT")
        assert tags(behind.until("Z")) == ["UPDATE 1"]
        assert waiting.one("SELECT sum(n) FROM items WHERE id IN (1, 2, 3)") == "4"


# -- endings ----------------------------------------------------------------------------------------------------------------

def test_client_goes_in_a_transaction_that_wrote(lull, primary):
    client = lull.wire()
    client.query("BEGIN")
    client.query("UPDATE items SET n = 99 WHERE id = 1")
    client.close()
    with lull.wire() as other:
        assert tags(other.query("UPDATE items SET n = n + 1 WHERE id = 1")) == ["UPDATE 1"]
        assert other.one("SELECT n FROM items WHERE id = 1") == "1", "the transaction of the client that left was rolled back"


def test_terminate_message(lull):
    client = lull.wire()
    client.send(w.terminate())
    assert client.until_closed() == []


def test_server_dies_in_a_transaction(lull, primary):
    with lull.wire() as client:
        client.query("BEGIN")
        pid = client.one("SELECT pg_backend_pid() FROM items WHERE id = 1 FOR UPDATE")
        primary.sql("SELECT pg_terminate_backend(%s::int, 5000)", (int(pid),))
        client.send(query("SELECT 1"))
        seen = client.until("E")
        # PostgreSQL would close the connection; a pool may keep its client. Only the truth about the transaction counts.
        assert errors(seen)[0]["C"] in ("57P01", "08006", "57P02"), seen
        if errors(seen)[0]["S"] == "ERROR":
            assert statuses(client.until("Z")) in "EI"
            assert tags(client.query("COMMIT")) != ["COMMIT"]
            assert client.one("SELECT n FROM items WHERE id = 1") == "0"
    with lull.wire() as other:
        assert other.one("SELECT 1") == "1"


def test_server_that_died_idle_is_not_noticed(lull, primary, standby):
    with lull.wire() as client:
        client.query("UPDATE items SET n = 1 WHERE id = 1")
        client.query("SELECT 1")
        for server in (primary, standby):
            server.end_clients()
        wait_for(lambda: not errors(client.query("UPDATE items SET n = 2 WHERE id = 1")), "a new server connection is made")
        assert client.one("SELECT n FROM items WHERE id = 1") == "2"


def test_pgbench_of_every_mode(lull, primary):
    from harness import bench
    primary.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION app", db="shop")
    done = bench.run(primary.port, APP_PASSWORD, "-i", "-s", "1", "-q", dbname="shop")
    assert done.status == 0, done.text
    primary.sql("ALTER TABLE pgbench_accounts SET (autovacuum_enabled = off)", db="shop")
    for mode in ("simple", "extended", "prepared"):
        for extra in (["-S"], [], ["-N"]):
            result = bench.run(lull.port, APP_PASSWORD, "-M", mode, "-c", "4", "-j", "2", "-t", "50", *extra, dbname="shop")
            assert result.clean and result.done == 200, f"-M {mode} {extra}: {result.text}"
