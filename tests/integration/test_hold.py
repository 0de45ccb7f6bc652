"""Sites whose policy is to hold: a write waits for the end of the window and then runs, once and in order."""
import threading
import time

import psycopg
import pytest

from harness.wait import wait_for
from harness.wire import bind, error_fields, errors, execute, parse, query, rows, statuses, sync, tags


def insert(what):
    return f"INSERT INTO log (who) VALUES ('{what}')"


def held(lull, count):
    """Waits until so many writes are held."""
    wait_for(lambda: lull.site("held")["held"]["count"] == count, f"{count} writes are held")


def is_told(client):
    """A NOTICE says that the write is held; and then nothing comes."""
    notice = client.until("NEZ")[-1]
    assert notice.type == "N" and "held" in error_fields(notice.body)["M"], notice
    assert client.quiet(0.2)


@pytest.fixture
def waiting(lull):
    """A sealed site that holds, and a client of it."""
    with lull.wire("held") as client:
        lull.on("held", reason="held up")
        yield lull, client


def log(primary):
    return [who for who, in primary.sql("SELECT who FROM log ORDER BY id", db="held")]


def test_a_write_waits_and_then_runs_once(waiting, primary):
    lull, client = waiting
    client.send(query(insert("waited")))
    held(lull, 1)
    is_told(client)
    assert log(primary) == []
    assert lull.site("held")["held"]["bytes"] > 0
    with lull.wire("held") as other:
        assert other.one("SELECT count(*) FROM log") == "0", "reads are not held"
    lull.off("held")
    answer = client.until("Z")
    assert tags(answer) == ["INSERT 0 1"] and statuses(answer) == "I"
    assert log(primary) == ["waited"]
    assert client.one("SELECT count(*) FROM log") == "1"
    assert lull.site("held")["held"]["count"] == 0


def test_extended_protocol_and_prepared_statements(waiting, primary):
    lull, client = waiting
    lull.off("held")
    client.ask(parse("s", "INSERT INTO log (who) VALUES ($1) RETURNING who"), sync())
    lull.on("held")
    client.send(bind("", "s", ["named"]), execute(), sync())
    with lull.wire("held") as other:
        other.send(parse("", "INSERT INTO log (who) VALUES ($1)"), bind("", "", ["unnamed"]), execute(), sync())
        held(lull, 2)
        lull.off("held")
        assert rows(client.until("Z")) == [("named",)]
        assert tags(other.until("Z")) == ["INSERT 0 1"]
    assert sorted(log(primary)) == ["named", "unnamed"]


def test_in_order_for_each_client(waiting, primary):
    lull, client = waiting
    client.send(*(query(insert(f"{i}")) for i in range(20)))
    held(lull, 1)  # the first; the others stand behind it
    is_told(client)
    lull.off("held")
    assert tags(client.until("Z", 20)) == ["INSERT 0 1"] * 20
    assert log(primary) == [str(i) for i in range(20)]


def test_what_stands_behind_a_held_write_waits_too(waiting):
    """Answers come in order, and a read behind a write must see it."""
    lull, client = waiting
    client.send(query("SELECT 1"), query(insert("a")), query("SELECT count(*) FROM log"))
    assert rows(client.until("Z")) == [("1",)]
    held(lull, 1)
    is_told(client)
    lull.off("held")
    answer = client.until("Z", 2)
    assert tags(answer) == ["INSERT 0 1", "SELECT 1"] and rows(answer) == [("1",)]


def test_through_the_driver(waiting, primary):
    lull, _ = waiting
    done = []

    def write(number):
        with lull.connect("held") as connection:
            done.append(connection.execute("INSERT INTO log (who) VALUES (%s) RETURNING who", (str(number),)).fetchone())

    threads = [threading.Thread(target=write, args=(i,)) for i in range(10)]
    [t.start() for t in threads]
    held(lull, 10)
    lull.off("held")
    [t.join(15) for t in threads]
    assert sorted(done) == sorted((str(i),) for i in range(10))
    assert sorted(log(primary)) == sorted(str(i) for i in range(10))


def test_a_transaction_whose_first_statement_writes_is_held(waiting, primary):
    """Not one byte of it has reached a server."""
    lull, client = waiting
    client.query("BEGIN")
    client.send(query(insert("in a block")))
    held(lull, 1)
    lull.off("held")
    answer = client.until("Z")
    assert tags(answer) == ["INSERT 0 1"] and statuses(answer) == "T"
    assert tags(client.query("COMMIT")) == ["COMMIT"]
    assert log(primary) == ["in a block"]


def test_never_inside_a_transaction_that_has_begun(waiting):
    lull, client = waiting
    client.query("BEGIN")
    assert client.one("SELECT count(*) FROM log") == "0"
    answer = client.query(insert("x"))
    assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
    assert tags(client.query("COMMIT")) == ["ROLLBACK"]


def test_cancel_of_a_held_client(waiting, primary):
    lull, client = waiting
    client.send(query(insert("cancelled")))
    held(lull, 1)
    started = time.monotonic()
    client.cancel()
    answer = client.until("Z")
    assert time.monotonic() - started < 2
    assert errors(answer)[0]["C"] == "57014" and statuses(answer) == "I"
    assert errors(answer)[0]["M"] == "canceling statement due to user request"
    held(lull, 0)
    lull.off("held")
    assert client.one("SELECT count(*) FROM log") == "0" and log(primary) == []


def test_cancel_of_a_held_segment_skips_to_its_sync(waiting, primary):
    lull, client = waiting
    client.send(parse("", insert("a")), bind(), execute(), parse("", insert("b")), bind(), execute(), sync())
    held(lull, 1)
    client.cancel()
    answer = client.until("Z")
    assert [e["C"] for e in errors(answer)] == ["57014"] and statuses(answer) == "I"
    assert client.one("SELECT 7") == "7"
    lull.off("held")
    assert log(primary) == []


def test_a_held_client_that_leaves_is_dropped(waiting, primary):
    lull, client = waiting
    with lull.wire("held") as gone:
        gone.send(query(insert("gone")))
        held(lull, 1)
    held(lull, 0)
    lull.off("held")
    client.query(insert("after"))
    assert log(primary) == ["after"]


def test_draining_holds_newcomers(lull, primary):
    with lull.wire("held") as first, lull.wire("held") as second:
        first.query("BEGIN")
        first.query(insert("first"))
        lull.begin("held")
        lull.wait_mode("draining", "held")
        second.send(query(insert("second")))
        held(lull, 1)
        assert not errors(first.query(insert("first again")))
        first.query("COMMIT")
        lull.wait_mode("sealed", "held")
        assert log(primary) == ["first", "first again"]
        lull.off("held")
        assert tags(second.until("Z")) == ["INSERT 0 1"]
        assert log(primary) == ["first", "first again", "second"]


@pytest.mark.parametrize("limits, why", [({"max_count": 3}, "count"), ({"max_bytes": "3kB"}, "bytes")])
def test_limits_of_count_and_bytes(make_lull, primary, limits, why):
    lull = make_lull({"sites": {"held": {"hold": limits}}})
    lull.on("held", reason="full")
    clients = [lull.wire("held") for _ in range(6)]
    padding = " " * 900
    for client in clients:
        client.send(query(insert("x") + padding))
    first = {client: client.receive() for client in clients}  # NOTICE: held; ERROR: one too many
    refused = [client for client in clients if first[client].type == "E"]
    assert len(refused) == 3, first.values()
    held(lull, 3)
    for client in refused:
        assert error_fields(first[client].body)["C"] == "25006"
        assert statuses(client.until("Z")) == "I"
    lull.off("held")
    for client in clients:
        if client not in refused:
            assert tags(client.until("Z")) == ["INSERT 0 1"]
    assert log(primary) == ["x"] * 3


def test_limit_of_age(make_lull, primary):
    lull = make_lull({"sites": {"held": {"hold": {"max_age": "300ms"}}}})
    lull.on("held", reason="too long")
    with lull.wire("held") as client:
        answer = client.query(insert("old"))
        assert errors(answer)[0]["C"] == "25006" and "too long" in errors(answer)[0]["H"]
        assert statuses(answer) == "I"
        held(lull, 0)
        assert client.one("SELECT count(*) FROM log") == "0"
        # A block that was held too long is a failed block.
        client.query("BEGIN")
        answer = client.query(insert("old"))
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "E"
        assert errors(client.query("SELECT 1"))[0]["C"] == "25P02"
        client.query("ROLLBACK")
    lull.off("held")
    assert log(primary) == []


def test_a_text_larger_than_may_be_parsed_or_held(make_lull, primary):
    lull = make_lull({"sites": {"held": {"hold": {"max_bytes": "64kB"}}}})
    lull.on("held")
    with lull.wire("held") as client:
        client.send(query(insert("y" * 200_000)))
        answer = client.until("Z")
        assert errors(answer)[0]["C"] == "25006"
        assert client.one("SELECT 1") == "1"
    lull.off("held")
    assert log(primary) == []


def test_copy_is_held_before_its_data(waiting, primary):
    lull, client = waiting
    client.send(query("COPY log (who) FROM STDIN"))
    held(lull, 1)
    is_told(client)
    lull.off("held")
    assert not errors(client.until("GE"))
    from harness.wire import copy_data, copy_done
    client.send(copy_data(b"c\n"), copy_done())
    assert tags(client.until("Z")) == ["COPY 1"]
    assert log(primary) == ["c"]


def test_what_can_never_be_allowed_is_refused_by_the_server_after_the_window(waiting):
    """A held statement that fails, fails when it runs, as it would have."""
    lull, client = waiting
    client.send(query("INSERT INTO nowhere VALUES (1)"))
    held(lull, 1)
    lull.off("held")
    assert errors(client.until("Z"))[0]["C"] == "42P01"


def test_pgbench_notices_nothing_but_the_wait(make_lull, primary):
    from harness import bench
    from harness.cluster import APP_PASSWORD
    done = bench.run(primary.port, APP_PASSWORD, "-i", "-s", "1", "-q", dbname="held")
    assert done.status == 0, done.text
    lull = make_lull()
    running = bench.start(lull.port, APP_PASSWORD, "-M", "prepared", "-c", "4", "-j", "2", "-t", "150", dbname="held")
    count = "SELECT count(*) FROM pgbench_history"
    wait_for(lambda: primary.one(count, db="held") > 20, "it writes")
    for _ in range(2):
        lull.on("held")
        frozen = primary.one(count, db="held")
        wait_for(lambda: lull.site("held")["held"]["count"] > 0 or running.poll() is not None, "its writes are held")
        assert primary.one(count, db="held") == frozen
        lull.off("held")
    result = bench.finish(running)
    assert result.clean and result.done == 600, result.text
    assert primary.one(count, db="held") == 600
    primary.sql("DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers", db="held")


def test_psycopg_without_autocommit(waiting, primary):
    lull, _ = waiting
    done = []

    def write():
        with psycopg.connect(**lull.dsn("held")) as connection:
            connection.execute("INSERT INTO log (who) VALUES ('driver')")
        done.append(True)

    thread = threading.Thread(target=write)
    thread.start()
    held(lull, 1)
    lull.off("held")
    thread.join(15)
    assert done and log(primary) == ["driver"]
