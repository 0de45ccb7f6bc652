"""The protocol as clients and drivers speak it: what test_differential.py cannot tell, because it is about memory, time, order and
sessions that meet each other."""
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
from harness.gate import Gate
from harness.wait import wait_for
from harness.wire import Wire, bind, close, copy_data, copy_done, copy_fail, describe, errors, execute, flush, parse, query
from harness.wire import rows, shape, statuses, sync, tags


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


@pytest.fixture
def gate(primary):
    one = Gate(primary.port)
    yield one
    one.close()


def gated(make_lull, gate):
    return make_lull({"clusters": {"main": {"primary": f"127.0.0.1:{gate.port}", "pool_size": 1}}}, replicas=False)


def test_a_cancel_request_is_answered_when_the_signal_has_been_sent(make_lull, gate, primary):
    """What PQcancel's caller asks next is not what is canceled."""
    lull = gated(make_lull, gate)
    with lull.wire() as client:
        client.send(query("SELECT pg_sleep(60)"))
        wait_for(lambda: primary.backends("wait_event = 'PgSleep'"), "it runs")
        gate.delay = 0.7
        began = time.monotonic()
        client.cancel()
        assert 0.7 <= time.monotonic() - began < 4
        gate.delay = 0
        assert errors(client.until("Z"))[0]["C"] == "57014"
        assert client.one("SELECT 1") == "1"


def test_a_cancel_request_that_comes_very_late_hits_nobody(make_lull, gate, primary):
    lull = gated(make_lull, gate)
    with lull.wire() as client, lull.wire() as next_one:
        client.send(query("SELECT pg_sleep(1)"))
        wait_for(lambda: primary.backends("wait_event = 'PgSleep'"), "it runs")
        gate.delay = 7  # longer than Lull waits for an end
        client.cancel()
        gate.delay = 0
        assert not errors(client.until("Z"))
        assert not errors(next_one.query("SELECT pg_sleep(4)"))


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
        assert waiting.one("/* lull: primary */ SELECT sum(n) FROM items WHERE id IN (1, 2, 3)") == "4"  # others have written: a replica may be behind


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
