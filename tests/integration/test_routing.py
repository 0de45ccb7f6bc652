"""Which server a statement reaches. Only a standby says that it is in_hot_standby, and current_setting() is asked anywhere."""
import threading
import time

import pytest

from harness.wait import stays, wait_for
from harness.wire import bind, errors, execute, parse, query, rows, statuses, sync, tags

WHERE = "SELECT current_setting('in_hot_standby')::bool"


@pytest.fixture
def client(lull):
    with lull.wire() as one:
        yield one


def fresh(client):
    """Reads of this client go to the standby again: it has replayed what the client wrote."""
    wait_for(lambda: client.one(WHERE) == "t", "reads go to the standby")


def on_standby(client, sql):
    return client.one(sql) == "t"


# -- reads --------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sql", [
    "SELECT current_setting('in_hot_standby')::bool",
    "SELECT current_setting('in_hot_standby')::bool FROM items WHERE id = 1",
    "/* why not */ SELECT current_setting('in_hot_standby')::bool -- a comment",
    "WITH x AS (SELECT 1) SELECT current_setting('in_hot_standby')::bool FROM x",
    "VALUES (current_setting('in_hot_standby')::bool)",
    "SELECT current_setting('in_hot_standby')::bool UNION SELECT current_setting('in_hot_standby')::bool",
    "SELECT (SELECT current_setting('in_hot_standby')::bool), count(*), now(), random() FROM items",
])
def test_reads_go_to_the_replica(client, sql):
    wait_for(lambda: rows(client.query(sql))[0][0] == "t", "the catalog knows the table, which is a new one")
    assert rows(client.extended(sql))[0][0] == "t"


def test_reads_of_a_multi_statement_text(client):
    assert rows(client.query(f"{WHERE}; {WHERE}")) == [("t",), ("t",)]
    assert rows(client.query(f"{WHERE}; {WHERE} FROM items WHERE id = 1 FOR SHARE")) == \
        [("f",), ("f",)], "one statement that belongs to the primary takes all of the text there"


def test_reads_by_prepared_statements(client, standby):
    client.ask(parse("s", "SELECT current_setting('in_hot_standby')::bool, current_setting('port')"), sync())
    for _ in range(3):
        assert rows(client.ask(bind("", "s"), execute(), sync())) == [("t", str(standby.port))]


def test_copy_out_of_a_read(client):
    data = client.query("COPY (SELECT current_setting('in_hot_standby')::bool) TO STDOUT")
    assert [m.body for m in data if m.type == "d"] == [b"t\n"]


def test_show_answers_as_ever(client):
    assert client.one("SHOW server_version_num").startswith("15")


def test_drivers_read_from_the_replica(lull):
    with lull.connect() as three:
        assert three.execute("SELECT current_setting('in_hot_standby')::bool, %s::int", (5,)).fetchone() == (True, 5)
    two = lull.connect2()
    with two.cursor() as cursor:
        cursor.execute("SELECT current_setting('in_hot_standby')::bool")
        assert cursor.fetchone() == (True,)
    two.close()


def test_many_replicas_share_nothing_but_work(make_lull, standby):
    """A replica named twice is two servers to Lull: both are used."""
    lull = make_lull({"clusters": {"main": {"replicas": [f"127.0.0.1:{standby.port}", f"localhost:{standby.port}"]}}})
    clients = [lull.wire() for _ in range(10)]
    assert all(c.one(WHERE) == "t" for c in clients)


# -- everything else ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sql", [
    "INSERT INTO log (who) VALUES ('x') RETURNING current_setting('in_hot_standby')::bool",
    "UPDATE items SET n = 1 WHERE id = 1 RETURNING current_setting('in_hot_standby')::bool",
    "DELETE FROM items WHERE id = 1 RETURNING current_setting('in_hot_standby')::bool",
    "WITH w AS (INSERT INTO log (who) VALUES ('x') RETURNING 1) SELECT current_setting('in_hot_standby')::bool FROM w",
    "SELECT current_setting('in_hot_standby')::bool FROM items WHERE id = 1 FOR UPDATE",
    "SELECT current_setting('in_hot_standby')::bool FROM items WHERE id = 1 FOR KEY SHARE",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT bump()) x",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT nextval('counter')) x",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT public.bump()) x",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT lo_creat(-1)) x",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT txid_current()) x",
    "SELECT current_setting('in_hot_standby')::bool FROM (SELECT pg_notify('a', 'b')) x",
])
def test_everything_else_goes_to_the_primary(client, sql):
    for answer in (client.query(sql), client.extended(sql)):
        assert not errors(answer), errors(answer)
        if rows(answer):
            assert rows(answer)[0][0] == "f"


def test_blocks_go_to_the_primary(client):
    for begin in ("BEGIN", "START TRANSACTION", "BEGIN READ WRITE", "BEGIN ISOLATION LEVEL REPEATABLE READ"):
        client.query(begin)
        assert client.one(WHERE) == "f"
        client.query("COMMIT")


def test_a_block_stays_where_it_began(client):
    client.query("BEGIN")
    first = client.one("SELECT pg_backend_pid()")
    client.query("UPDATE items SET n = 4 WHERE id = 4")
    assert rows(client.query("SELECT pg_backend_pid(), current_setting('in_hot_standby')::bool, n FROM items WHERE id = 4")) == [(first, "f", "4")]
    client.query("ROLLBACK")


def test_read_only_blocks_go_to_the_replica(client):
    for begin in ("BEGIN READ ONLY", "START TRANSACTION READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"):
        client.query(begin)
        assert client.one(WHERE) == "t"
        assert client.one("SELECT count(*) FROM items") == "100"
        answer = client.query("UPDATE items SET n = 1")
        assert errors(answer)[0]["C"] == "25006"
        assert errors(answer)[0]["M"] == "cannot execute UPDATE in a read-only transaction"
        assert statuses(answer) == "E"
        client.query("ROLLBACK")
        assert client.one("SELECT 1") == "1"


def test_read_only_blocks_of_the_drivers(lull):
    connection = lull.connect(autocommit=False)
    connection.read_only = True
    assert connection.execute(WHERE).fetchone() == (True,)
    connection.commit()
    connection.read_only = False
    assert connection.execute(WHERE).fetchone() == (False,)
    connection.close()


def test_a_read_only_block_goes_on_on_the_primary_where_it_must(client, primary):
    """An advisory lock of a replica would hold nobody off."""
    lock = "SELECT pg_advisory_lock(7)"
    for unit in (query(lock), parse("", lock) + bind() + execute() + sync(), query("LOCK TABLE items IN ACCESS SHARE MODE"),
                 query("NOTIFY channel")):
        fresh(client)
        client.query("BEGIN READ ONLY")
        assert client.one(WHERE) == "t"
        answer = client.ask(unit)
        assert not errors(answer) and statuses(answer) == "T", (unit, answer)
        assert client.one(WHERE) == "f" and client.one("SELECT count(*) FROM items") == "100"
        assert client.one("SHOW transaction_read_only") == "on"
        held = primary.one("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7")
        client.query("SELECT pg_advisory_unlock_all()")
        client.query("COMMIT")
        assert held == (1 if b"advisory" in unit else 0)
    fresh(client)
    client.query("BEGIN READ ONLY")
    client.query("SELECT 1")
    assert errors(client.query("SET TRANSACTION READ WRITE"))[0]["C"] == "25001", "as on the primary"
    client.query("ROLLBACK")
    client.query("BEGIN READ ONLY")
    client.query("SELECT 1")
    assert tags(client.query("COMMIT; UPDATE items SET n = 1 WHERE id = 1")) == ["COMMIT", "UPDATE 1"]


def test_serializable_never_meets_the_replica(client):
    """A hot standby cannot do it; PostgreSQL would answer 0A000."""
    for begin in ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "BEGIN ISOLATION LEVEL SERIALIZABLE"):
        client.query(begin)
        assert client.one("SELECT count(*) FROM items") == "100"
        assert tags(client.query("COMMIT")) == ["COMMIT"]
    client.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY")
    assert client.one(WHERE) == "f" and client.one("SHOW transaction_isolation") == "serializable"
    client.query("COMMIT")
    client.query("BEGIN READ ONLY")
    client.query("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert client.one(WHERE) == "f" and client.one("SHOW transaction_isolation") == "serializable"
    client.query("COMMIT")
    client.query("SET default_transaction_isolation = 'serializable'")
    assert client.one("SELECT count(*) FROM items") == "100"
    client.query("BEGIN READ ONLY")
    assert client.one("SELECT count(*) FROM items") == "100"
    assert client.one("SHOW transaction_isolation") == "serializable"
    client.query("COMMIT")


def test_a_pinned_client_stays_on_the_primary(client):
    client.query("CREATE TEMP TABLE mine (x int)")
    assert client.one("SELECT current_setting('in_hot_standby')::bool FROM (SELECT count(*) FROM mine) c") == "f"


# -- what tells of the server itself ---------------------------------------------------------------------------------------------

def test_who_asks_for_the_server_is_told_of_the_primary(client, primary):
    """Lull seems to be one server, and a standby would tell of itself."""
    fresh(client)
    for sql, expected in (("SELECT pg_is_in_recovery()", "f"), ("SELECT inet_server_port()", str(primary.port)),
                          ("VALUES (inet_server_port())", str(primary.port)),
                          ("SELECT pg_current_wal_lsn() > '0/0'", "t"), ("SELECT pg_last_wal_replay_lsn() IS NULL", "t"),
                          ("SELECT count(*) FROM pg_stat_replication", "1"), ("SELECT count(*) FROM pg_stat_wal_receiver", "0"),
                          ("SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()", "1"),
                          ("SELECT setting FROM pg_settings WHERE name = 'port'", str(primary.port)),
                          ("SELECT pg_postmaster_start_time()", primary.one("SELECT pg_postmaster_start_time()::text")),
                          ("SHOW port", str(primary.port)), ("SHOW in_hot_standby", "off"), ("SHOW transaction_read_only", "off")):
        assert client.one(sql) == expected, sql
        assert rows(client.extended(sql)) == [(expected,)], sql
        fresh(client)
    client.query("PREPARE here AS SELECT pg_is_in_recovery()")
    assert client.one("EXECUTE here") == "f"
    client.query("BEGIN READ ONLY")
    assert rows(client.query("SELECT pg_is_in_recovery(), n FROM items WHERE id = 1")) == [("f", "0")]
    client.query("COMMIT")
    fresh(client)  # nothing else goes there for that (EXECUTE on the primary counts as a write)
    assert client.one("/* lull: replica */ SELECT pg_is_in_recovery()") == "t", "unless that is asked for"


def test_what_a_sequence_holds_is_asked_of_the_primary(client, primary, cluster):
    """A standby shows what has been logged of it, up to 32 numbers ahead."""
    primary.sql("""CREATE TABLE orders (id serial PRIMARY KEY); GRANT ALL ON orders, orders_id_seq TO app;
        CREATE VIEW last_order AS SELECT last_value FROM orders_id_seq; GRANT SELECT ON last_order TO app;
        CREATE FUNCTION order_number() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT last_value FROM last_order';
        INSERT INTO orders DEFAULT VALUES""", db="shop")
    cluster.catch_up()
    wait_for(lambda: client.one("SELECT current_setting('in_hot_standby')::bool FROM orders LIMIT 1") == "t", "the catalog knows the table")
    for sql in ("SELECT last_value FROM orders_id_seq", "SELECT last_value FROM public.orders_id_seq", "TABLE last_order", "SELECT order_number()",
                "SELECT last_value FROM pg_sequences WHERE sequencename = 'orders_id_seq'", "SELECT pg_sequence_last_value('orders_id_seq')"):
        assert client.one(sql) == "1", sql
        assert rows(client.extended(sql)) == [("1",)], sql
    fresh(client)  # nothing else goes there for that


def test_while_sealed_the_server_that_is_read_tells_of_itself(lull, client):
    lull.on()
    for sql in ("SELECT pg_is_in_recovery()", "SHOW in_hot_standby", "SELECT count(*) > 0 FROM pg_stat_activity"):
        assert not errors(client.query(sql)), sql
    assert client.one("SELECT pg_is_in_recovery()") == "t"
    lull.off()
    wait_for(lambda: client.one("SELECT pg_is_in_recovery()") == "f", "the site is open")


# -- read your writes -----------------------------------------------------------------------------------------------------------

def test_a_client_reads_what_it_wrote(client, standby):
    """Replay stands still, so that only the primary knows of the write."""
    fresh(client)
    standby.pause()
    try:
        client.query("UPDATE items SET n = 77 WHERE id = 7")
        for _ in range(5):
            assert rows(client.query("SELECT n, current_setting('in_hot_standby')::bool FROM items WHERE id = 7")) == [("77", "f")]
        assert rows(client.extended("SELECT n FROM items WHERE id = $1", [7])) == [("77",)]
        client.query("BEGIN READ ONLY")
        assert client.one("SELECT n FROM items WHERE id = 7") == "77"
        client.query("COMMIT")
    finally:
        standby.resume()
    fresh(client)
    assert client.one("SELECT n FROM items WHERE id = 7") == "77"


@pytest.mark.parametrize("write", ["INSERT INTO log (who) VALUES ('w')", "SELECT bump() AS who",
                                   "BEGIN; INSERT INTO log (who) VALUES ('w'); COMMIT", "DO $$BEGIN PERFORM bump(); END$$",
                                   "CALL commits_inside()"])
def test_every_kind_of_write_is_read_again(client, standby, write):
    fresh(client)
    standby.pause()
    try:
        assert not errors(client.query(write))
        assert client.one("SELECT (SELECT count(*) FROM log) + (SELECT n FROM items WHERE id = 1)") == "1"
    finally:
        standby.resume()


def test_a_pipelined_read_behind_a_write(client, standby):
    fresh(client)
    standby.pause()
    try:
        answer = client.ask(parse("", "UPDATE items SET n = 5 WHERE id = 5"), bind(), execute(), sync(),
                            parse("", "SELECT n FROM items WHERE id = 5"), bind(), execute(), sync(), ready=2)
        assert rows(answer) == [("5",)]
        answer = client.ask(query("UPDATE items SET n = 6 WHERE id = 5"), query("SELECT n FROM items WHERE id = 5"), ready=2)
        assert rows(answer) == [("6",)]
    finally:
        standby.resume()


def test_reads_after_writes_under_load(lull):
    """Eight clients write and read what they wrote, as fast as they can, for a while."""
    problems = []
    stop = time.monotonic() + 1.5

    def one(number):
        with lull.connect() as connection:
            value = 0
            while time.monotonic() < stop:
                value += 1
                connection.execute("UPDATE items SET n = %s WHERE id = %s", (value, number))
                got = connection.execute("SELECT n FROM items WHERE id = %s", (number,)).fetchone()[0]
                if got != value:
                    problems.append((number, value, got))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(1, 9)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not problems


# -- a replica that lags, is away, comes back ------------------------------------------------------------------------------------

def test_a_replica_too_far_behind_gets_no_reads(make_lull, standby, primary):
    lull = make_lull({"clusters": {"main": {"max_replica_lag": "300ms"}}})
    with lull.wire() as client:
        fresh(client)
        standby.pause()
        try:
            with lull.wire() as writer:
                writer.query("UPDATE items SET n = 3 WHERE id = 3")
            wait_for(lambda: client.one(WHERE) == "f", "reads go to the primary")
            assert client.one("SELECT n FROM items WHERE id = 3") == "3"
            stays(lambda: client.one(WHERE) == "f", 0.3, "a replica that lags must not be read")
        finally:
            standby.resume()
        fresh(client)


def test_an_idle_primary_does_not_make_a_replica_look_late(make_lull):
    lull = make_lull({"clusters": {"main": {"max_replica_lag": "3s"}}})  # a busy machine may look at it a second late
    with lull.wire() as client:
        fresh(client)
        stays(lambda: client.one(WHERE) == "t", 5.0, "nothing is written, so nothing is late")


def test_replica_down_and_back(lull, client, standby):
    fresh(client)
    standby.stop()
    try:
        wait_for(lambda: client.one(WHERE) == "f", "reads go to the primary", 10)
        assert client.one("SELECT count(*) FROM items") == "100"
        health = {b["address"]: b["healthy"] for b in lull.site()["backends"]}
        wait_for(lambda: {b["address"]: b["healthy"] for b in lull.site()["backends"]}[f"127.0.0.1:{standby.port}"] is False,
                 f"the status says so ({health})")
    finally:
        standby.start()
    wait_for(lambda: client.one(WHERE) == "t", "reads go to the replica again", 15)


def test_replica_stops_and_starts_under_load(lull, standby):
    """No read fails, except one that ran on the replica when it went; and such a one may only say that."""
    stop = threading.Event()
    failures, counts = [], [0] * 8
    places = set()

    def reader(number):
        with lull.connect() as connection:
            while not stop.is_set():
                try:
                    got = connection.execute("SELECT count(*), current_setting('in_hot_standby')::bool FROM items").fetchone()
                    if got[0] != 100:
                        failures.append(("wrong", got))
                    places.add(got[1])
                    counts[number] += 1
                except Exception as error:  # noqa: BLE001
                    failures.append((getattr(error, "sqlstate", None), str(error).strip()))
                    if connection.closed:
                        failures.append(("closed", str(error)))
                        return

    threads = [threading.Thread(target=reader, args=(i,)) for i in range(8)]
    [t.start() for t in threads]
    try:
        for _ in range(2):
            wait_for(lambda: True in places, "reads on the replica")
            standby.stop()
            before = sum(counts)
            wait_for(lambda: sum(counts) > before + 200, "reads go on on the primary")
            standby.start()
            places.clear()
        wait_for(lambda: True in places, "reads on the replica again")
    finally:
        stop.set()
        [t.join(20) for t in threads]
        if not standby.running:
            standby.start()
    assert not [t for t in threads if t.is_alive()], "a reader never got an answer"
    running_on_it = [f for f in failures if f[0] in ("57P01", "57P02", "57P03", "08006")]
    assert failures == running_on_it, failures[:5]
    assert len(running_on_it) <= 16, "more than one read a client and stop failed"


def test_replica_that_is_no_replica_is_not_read(make_lull, primary, standby):
    """The configuration calls the primary a replica: it is said, and nothing breaks."""
    lull = make_lull({"clusters": {"main": {"replicas": [f"127.0.0.1:{standby.port}"]}}})
    with lull.wire() as client:
        fresh(client)
    lull.config["clusters"]["main"]["replicas"] = [f"localhost:{primary.port}"]
    lull.stop()
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it serves")
    with lull.wire() as client:
        assert client.one(WHERE) == "f"
    wait_for(lambda: "recovery" in lull.log() or "replica" in lull.log(), "the log says it")


def test_without_replicas_everything_goes_to_the_primary(make_lull):
    lull = make_lull(replicas=False)
    with lull.wire() as client:
        assert client.one(WHERE) == "f"
        client.query("BEGIN READ ONLY")
        assert client.one(WHERE) == "f"
        client.query("COMMIT")
        assert tags(client.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_without_a_control_role_the_replica_is_not_read(make_lull):
    """Nobody can tell how fresh it is, so nobody reads there; and everything works."""
    lull = make_lull({"clusters": {"main": {"control": None}}}, start=False)
    lull.start(wait=False)
    wait_for(lambda: lull.admin("GET", "/status")[0] == 200, "it serves")
    with lull.wire() as client:
        assert client.one(WHERE) == "f"
        assert tags(client.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]
        assert client.one("SELECT n FROM items WHERE id = 1") == "1"


# -- what the client asks for ------------------------------------------------------------------------------------------------------

def test_a_comment_sends_a_statement_to_the_primary(client):
    fresh(client)
    hinted = "/* lull: primary */ " + WHERE
    assert client.one(hinted) == "f" and rows(client.extended(hinted)) == [("f",)]
    client.ask(parse("s", hinted), sync())
    assert rows(client.ask(bind("", "s"), execute(), sync())) == [("f",)]
    assert client.one(WHERE) == "t", "and counts for that statement only"
    client.query("/* lull: primary */ BEGIN READ ONLY")
    assert client.one(WHERE) == "f"
    client.query("COMMIT")
    assert client.one(WHERE) == "t"


def test_a_setting_sends_a_session_to_the_primary(client):
    fresh(client)
    client.query("SET lull.route TO 'primary'")
    for _ in range(3):
        assert client.one(WHERE) == "f" and rows(client.extended(WHERE)) == [("f",)]
    assert client.one("SHOW lull.route") == "primary"
    client.query("BEGIN READ ONLY")
    assert client.one(WHERE) == "f"
    client.query("COMMIT")
    client.query("RESET lull.route")
    assert client.one(WHERE) == "t"


def test_a_hint_for_the_replica_is_for_queries(client):
    """The standby runs what nobody knows, and refuses what writes; what is a write by its text stays on the primary."""
    client.query("CREATE FUNCTION harmless_of_ours() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'")
    fresh(client)
    assert client.one("SELECT current_setting('in_hot_standby')::bool FROM (SELECT harmless_of_ours()) x") == "f"
    fresh(client)
    assert client.one("/* lull: replica */ SELECT current_setting('in_hot_standby')::bool FROM (SELECT harmless_of_ours()) x") == "t"
    assert errors(client.query("/* lull: replica */ SELECT bump()"))[0]["C"] == "25006"
    assert tags(client.query("/* lull: replica */ UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_explain_analyze_runs_what_it_explains(client):
    fresh(client)
    answer = client.query("EXPLAIN (ANALYZE, COSTS off, TIMING off) SELECT 1 WHERE current_setting('in_hot_standby')::bool")
    assert not errors(answer)
    for sql in ("EXPLAIN ANALYZE UPDATE items SET n = n + 1 WHERE id = 9", "EXPLAIN (ANALYZE true) UPDATE items SET n = n + 1 WHERE id = 9",
                "EXPLAIN ANALYZE SELECT bump()", "EXPLAIN ANALYZE SELECT * FROM items WHERE id = 9 FOR UPDATE"):
        for answer in (client.query(sql), client.extended(sql)):
            assert not errors(answer), (sql, errors(answer))
    assert client.one("SELECT n FROM items WHERE id = 9") == "4"


def test_views_with_rules_are_written_on_the_primary(client, primary, cluster):
    primary.sql("SET ROLE app; CREATE VIEW ruled AS SELECT id, n FROM items; CREATE VIEW over_it AS SELECT * FROM ruled; "
                "CREATE RULE r AS ON UPDATE TO ruled DO INSTEAD INSERT INTO log (who) VALUES ('rule'); "
                "CREATE RULE s AS ON INSERT TO ruled DO INSTEAD SELECT bump(); RESET ROLE", db="shop")
    cluster.catch_up()
    try:
        fresh(client)
        assert client.one("SELECT current_setting('in_hot_standby')::bool FROM (SELECT count(*) FROM over_it) x") in ("t", "f")
        for sql in ("UPDATE ruled SET n = 1 WHERE id = 1", "INSERT INTO ruled VALUES (1, 1)", "UPDATE over_it SET n = 1 WHERE id = 2"):
            for answer in (client.query(sql), client.extended(sql)):
                assert not errors(answer), (sql, errors(answer))
        assert client.one("SELECT count(*) > 2 AND (SELECT n FROM items WHERE id = 1) = 2 FROM log") == "t"
    finally:
        primary.sql("DROP VIEW ruled CASCADE", db="shop")
