"""What an operator sees: metrics, health, the console with psql and drivers, beside a real PgBouncer's console."""
import http.client
import json
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import psycopg
import psycopg2
import pytest
from harness.pgbouncer import PgBouncer
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import Wire, query, tags

OPS, EXPORTER = "ops-secret", "exporter-secret"


def observed(**more):
    change = {"listen": {"metrics": f"127.0.0.1:{free_port()}"},
              "console": {"admins": ["ops"], "stats": ["exporter"]},
              "sites": {"shop": {"guard": {"allow_functions": ["trusted"]}}},
              "users": {"ops": {"password": OPS}, "exporter": {"password": EXPORTER}}}
    change.update(more)
    return change


@pytest.fixture(scope="module")
def watched(cluster):
    from harness import lull as lull_module
    one = lull_module.Lull(cluster, observed())
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.fixture
def seen(watched, tables):
    watched.open_all()
    yield watched
    assert watched.alive, watched.log()[-5000:]
    with console(watched) as c:
        try:
            run(c, "RESUME")
        except psycopg2.Error:
            pass
    watched.open_all()


def get(lull, path, method="GET"):
    port = int(lull.config["listen"]["metrics"].rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), response
    finally:
        connection.close()


def metric(lull, name, **labels):
    """The sum of the samples that have these labels."""
    status, text, _ = get(lull, "/metrics")
    assert status == 200
    total = None
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match is None or match[1] != name:
            continue
        have = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
        if all(have.get(key) == value for key, value in labels.items()):
            total = (total or 0) + float(match[3])
    return total


def console(lull, user="ops", password=None):
    password = password or {"ops": OPS, "exporter": EXPORTER}.get(user) or lull.PASSWORDS.get(user)
    connection = psycopg2.connect(host="127.0.0.1", port=lull.port, dbname="lull", user=user, password=password,
                                  connect_timeout=10)
    connection.autocommit = True

    class Closing:
        def __enter__(self):
            return connection

        def __exit__(self, *_):
            connection.close()

    return Closing()


def run(connection, command):
    """Rows as dictionaries, or None."""
    with connection.cursor() as cursor:
        cursor.execute(command)
        if cursor.description is None:
            return None
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]


def psql(lull, *commands, user="ops", password=OPS):
    arguments = [word for command in commands for word in ("-c", command)]
    return subprocess.run(["psql", "-X", "-A", "-h", "127.0.0.1", "-p", str(lull.port), "-U", user, "-d", "lull", *arguments],
                          env={"PGPASSWORD": password, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL)


# -- metrics and health ---------------------------------------------------------------------------------------------------

def test_metrics_count_what_clients_do(seen):
    names = ["lull_queries_total", "lull_transactions_total", "lull_query_duration_seconds_count",
             "lull_wait_duration_seconds_count"]
    before = {name: metric(seen, name, database="shop") or 0 for name in names}
    writes = metric(seen, "lull_statements_total", database="shop", access="write", role="primary") or 0
    with seen.connect() as db:
        for i in range(5):
            db.execute("SELECT name FROM items WHERE id = %s", (i + 1,))
        with db.transaction():
            db.execute("UPDATE items SET n = n + 1 WHERE id = 1")
            db.execute("UPDATE items SET n = n + 1 WHERE id = 2")
    grown = {name: metric(seen, name, database="shop") - before[name] for name in names}
    assert grown["lull_queries_total"] == 9  # BEGIN and COMMIT, too
    assert grown["lull_transactions_total"] == 6
    assert grown["lull_query_duration_seconds_count"] == 9
    assert 1 <= grown["lull_wait_duration_seconds_count"] <= 10
    assert metric(seen, "lull_statements_total", database="shop", access="write", role="primary") - writes == 2
    assert metric(seen, "lull_client_received_bytes_total", database="shop") > 0
    assert metric(seen, "lull_client_sent_bytes_total", database="shop") > 0
    assert metric(seen, "lull_backend_healthy") == 2
    assert metric(seen, "lull_backend_connect_duration_seconds_count", role="primary") >= 1
    assert metric(seen, "lull_workers") == 2 and metric(seen, "lull_workers_silent") == 0
    assert metric(seen, "process_open_fds") > 10
    assert metric(seen, "lull_site_mode", site="shop", mode="read_write") == 1


def test_what_may_be_stands_beside_what_is(make_lull):
    """Whoever is to be told that a pool is full has its size there, and that a database is paused."""
    lull = make_lull(observed(clusters={"main": {"pool_size": 3, "max_db_connections": 9, "max_user_connections": 8}},
                              databases={"shop": {"max_clients": 70}}, limits={"max_clients": 100, "max_clients_per_user": 60}))
    with lull.connect() as db:
        db.execute("SELECT 1")
        assert metric(lull, "lull_pool_size", database="shop", user="app") == 3
        assert metric(lull, "lull_database_pool_size", database="shop") == 3
        assert metric(lull, "lull_database_max_connections", database="shop") == 9
        assert metric(lull, "lull_user_max_connections", cluster="main", user="app") == 8
        assert metric(lull, "lull_database_max_clients", database="shop") == 70
        assert metric(lull, "lull_user_max_clients", user="app") == 60
        assert metric(lull, "lull_max_clients") == 100
    assert metric(lull, "lull_database_paused", database="shop") == 0
    with console(lull) as ops:
        run(ops, "PAUSE shop")
        assert metric(lull, "lull_database_paused", database="shop") == 1
        assert metric(lull, "lull_database_paused", database="held") == 0
        run(ops, "RESUME shop")
        assert metric(lull, "lull_database_paused", database="shop") == 0


def test_caches_tell_how_often_they_knew(make_lull):
    lull = make_lull(observed(clusters={"main": {"pool_size": 1}}, workers=1), replicas=False)
    uses = {by: metric(lull, "lull_prepared_uses_total", database="shop", by=by) or 0 for by in ("known", "parse")}
    with lull.connect(prepare_threshold=5) as db:
        for i in range(5):
            db.execute("SELECT name FROM items WHERE id = %s", (i,), prepare=True)
    grown = {by: metric(lull, "lull_prepared_uses_total", database="shop", by=by) - uses[by] for by in uses}
    assert grown["parse"] == 1 and grown["known"] >= 4, grown
    with lull.wire() as client:
        client.query("PREPARE mine AS SELECT name FROM items WHERE id = 1")
        before = metric(lull, "lull_prepared_uses_total", database="shop", by="known")
        client.query("EXECUTE mine")
        client.query("EXECUTE mine")
        assert metric(lull, "lull_prepared_uses_total", database="shop", by="known") - before == 2
    for _ in range(3):
        lull.connect(user="query_user").close()
    assert metric(lull, "lull_auth_query_answers_total", cluster="main", by="server") == 1
    assert metric(lull, "lull_auth_query_answers_total", cluster="main", by="cache") == 2


def test_no_counter_goes_back_while_lull_stops(make_lull):
    lull = make_lull(observed())
    clients = []
    # Some on either worker, and then on one of them only.
    for _ in range(6):
        clients.append(lull.wire())
        clients[-1].query("SELECT 1")
    counters = ["lull_queries_total", "lull_client_connections_total", "lull_client_sessions_total"]
    clients[0].query("BEGIN")
    clients[0].query("UPDATE items SET n = n + 1 WHERE id = 1")
    before = {name: metric(lull, name) for name in counters}
    assert before["lull_client_sessions_total"] == 6
    lull.process.send_signal(signal.SIGTERM)
    for client in clients[1:]:
        client.until_closed()
        client.close()
    time.sleep(1)  # a worker without clients ends
    now = {name: metric(lull, name) for name in counters}
    assert all(now[name] >= before[name] for name in counters), (before, now)
    assert metric(lull, "lull_workers") == 2 and metric(lull, "lull_workers_silent") == 0
    status, text, _ = get(lull, "/readyz")
    assert (status, text) == (503, "lull is stopping\n")
    clients[0].query("COMMIT")
    clients[0].close()
    assert lull.process.wait(10) == 0
    lull.process = None


def test_slow_queries_fall_into_slow_buckets(seen):
    before = metric(seen, "lull_query_duration_seconds_bucket", database="shop", le="0.131072") or 0
    total = metric(seen, "lull_query_duration_seconds_count", database="shop") or 0
    with seen.connect() as db:
        db.execute("SELECT pg_sleep(0.2)")
    assert metric(seen, "lull_query_duration_seconds_count", database="shop") - total == 1
    assert metric(seen, "lull_query_duration_seconds_bucket", database="shop", le="0.131072") == before


def test_the_classifier_is_refuted_by_the_server(seen, primary):
    """A function of which the configuration says that it only reads, and which writes: the standby says 25006, and that is counted.
    It writes on the primary then, and who has called it sees that at once."""
    primary.sql("SET ROLE app; CREATE FUNCTION trusted() RETURNS int LANGUAGE sql VOLATILE AS "
                "'UPDATE items SET n = 1 WHERE id = 1 RETURNING n'", db="shop")
    seen.cluster.catch_up()
    before = metric(seen, "lull_classifier_refuted_total", database="shop", access="read") or 0
    with seen.connect() as db:
        assert db.execute("SELECT trusted()").fetchone() == (1,)
        assert db.execute("SELECT n, current_setting('in_hot_standby') FROM items WHERE id = 1").fetchone() == (1, "off")
        wait_for(lambda: db.execute("SELECT current_setting('in_hot_standby')").fetchone() == ("on",), "it reads on the standby again")
        assert db.execute("SELECT trusted() WHERE 1 = %s", (1,), prepare=True).fetchone() == (1,)
    assert metric(seen, "lull_classifier_refuted_total", database="shop", access="read") - before == 2


def test_a_sealed_site_shows_in_the_metrics(seen):
    refused = metric(seen, "lull_refused_writes_total", database="shop") or 0
    epoch = metric(seen, "lull_site_epoch", site="shop")
    with seen.connect() as db:
        db.execute("SELECT 1")
        seen.on()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            db.execute("UPDATE items SET n = 1")
        assert metric(seen, "lull_site_mode", site="shop", mode="sealed") == 1
        assert metric(seen, "lull_site_epoch", site="shop") > epoch
        assert metric(seen, "lull_site_mode_seconds", site="shop") < 30
        assert metric(seen, "lull_refused_writes_total", database="shop") - refused == 1
        assert get(seen, "/readyz")[0] == 200  # reads are served
        seen.off()


def test_health(seen, make_lull):
    status, text, response = get(seen, "/healthz")
    assert (status, text) == (200, "ok\n")
    assert get(seen, "/readyz")[:2] == (200, "ready\n")
    status, _, response = get(seen, "/metrics", "HEAD")
    assert status == 200 and int(response.getheader("Content-Length")) > 1000
    assert "version=0.0.4" in response.getheader("Content-Type")
    assert get(seen, "/nothing")[0] == 404
    assert get(seen, "/metrics", "POST")[0] == 405
    nowhere = make_lull(observed(clusters={"main": {"primary": f"127.0.0.1:{free_port()}"}}), replicas=False)
    wait_for(lambda: get(nowhere, "/readyz")[0] == 503, "lull is not ready without a server")
    assert "cluster main: no server is healthy" in get(nowhere, "/readyz")[1]
    assert get(nowhere, "/healthz")[0] == 200


def test_whoever_only_connects_keeps_no_question_out(make_lull):
    lull = make_lull(observed(), replicas=False)
    address = ("127.0.0.1", int(lull.config["listen"]["metrics"].rsplit(":", 1)[1]))
    silent = [socket.create_connection(address) for _ in range(200)]
    try:
        for _ in range(3):
            assert get(lull, "/healthz")[:2] == (200, "ok\n")
            assert get(lull, "/readyz")[0] == 200
    finally:
        for one in silent:
            one.close()


# -- the console ----------------------------------------------------------------------------------------------------------

TOPICS = ["CLIENTS", "SERVERS", "POOLS", "DATABASES", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "LISTS", "CONFIG",
          "VERSION", "USERS"]


def test_columns_are_those_of_pgbouncer(seen):
    """Names, order and types, as far as PgBouncer has them; ours follow."""
    bouncer = PgBouncer()
    try:
        theirs = bouncer.start().console()
        with console(seen) as ours, theirs.cursor() as a, ours.cursor() as b:
            for topic in TOPICS:
                a.execute(f"SHOW {topic}")
                b.execute(f"SHOW {topic}")
                expected = [(column.name, column.type_code) for column in a.description]
                assert [(c.name, c.type_code) for c in b.description][:len(expected)] == expected, topic
            a.execute("SHOW TOTALS"), b.execute("SHOW TOTALS")
            assert [row[0] for row in b.fetchall()] == [row[0] for row in a.fetchall()]
            a.execute("SHOW LISTS"), b.execute("SHOW LISTS")
            rows = {row[0] for row in b.fetchall()}
            assert {row[0] for row in a.fetchall()} - rows == {"dns_names", "dns_zones", "dns_queries", "dns_pending"}
        theirs.close()
    finally:
        bouncer.remove()


def test_psql_opens_it(seen):
    done = psql(seen, "SHOW VERSION", "SHOW SITES;", "show help")
    assert done.returncode == 0, done.stderr
    assert "Lull " in done.stdout and "shop|read_write" in done.stdout
    assert "MAINTENANCE ON <site>" in done.stderr
    wrong = psql(seen, "SELECT 1")
    assert wrong.returncode == 1 and "invalid command 'SELECT 1'" in wrong.stderr and "SHOW HELP" in wrong.stderr


def test_who_may(seen):
    for user, message in (("app", 'user "app" may not use the console'), ("other", "may not use the console")):
        with pytest.raises(psycopg2.OperationalError, match=message):
            with console(seen, user):
                pass
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        with console(seen, "ops", "wrong"):
            pass
    with console(seen, "exporter") as c:
        assert run(c, "SHOW POOLS") is not None
        for command in ("PAUSE", "RESUME", "KILL shop", "RELOAD", "SHUTDOWN", "RECONNECT", "MAINTENANCE ON shop"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                run(c, command)
    assert seen.site()["mode"] == "read_write"


def test_drivers_that_use_the_extended_protocol_are_told(seen):
    with psycopg.connect(host="127.0.0.1", port=seen.port, dbname="lull", user="ops", password=OPS, autocommit=True) as db:
        assert db.execute("SHOW VERSION").fetchone()[0].startswith("Lull ")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            db.execute("SHOW POOLS", prepare=True)
        assert db.execute("SHOW VERSION").fetchone()  # the session lives on


def test_clients_servers_pools_and_locks(seen):
    with seen.connect(application_name="the writer") as db, console(seen) as c:
        pid = db.execute("SELECT pg_backend_pid()").fetchone()[0]
        db.execute("BEGIN")
        db.execute("UPDATE items SET n = 1 WHERE id = 1")
        pid = db.execute("SELECT pg_backend_pid()").fetchone()[0]
        client = next(row for row in run(c, "SHOW CLIENTS") if row["application_name"] == "the writer")
        assert (client["type"], client["user"], client["database"], client["state"]) == ("C", "app", "shop", "active")
        assert (client["transaction"], client["writes"], client["server_pid"], client["addr"]) == ("block", 1, pid, "127.0.0.1")
        server = next(row for row in run(c, "SHOW SERVERS") if row["remote_pid"] == pid)
        assert (server["state"], server["role"], server["link"], server["ptr"]) == ("active", "primary", client["ptr"], client["link"])
        assert server["port"] == seen.cluster.primary.port
        pool = next(row for row in run(c, "SHOW POOLS") if row["database"] == "shop" and row["user"] == "app")
        assert pool["cl_active"] >= 1 and pool["sv_active"] == 1
        lock = next(row for row in run(c, "SHOW LOCKS") if row["server_pid"] == pid)
        assert lock["why"] == "transaction, may write" and "pg_backend_pid" in lock["statement"]
        db.execute("ROLLBACK")
        backends = {row["role"]: row for row in run(c, "SHOW BACKENDS")}
        assert backends["primary"]["healthy"] == 1 and backends["replica"]["lag_ms"] is not None
        db.execute("SELECT 1 + %s", (1,), prepare=True)
        assert any("SELECT 1 + $1" in row["statement"] for row in run(c, "SHOW PREPARED"))
        config = {row["key"]: row for row in run(c, "SHOW CONFIG")}
        assert config["users.ops.password"]["value"] == '"(redacted)"' and config["workers"]["changeable"] == "no"
        stats = next(row for row in run(c, "SHOW STATS") if row["database"] == "shop")
        assert stats["total_query_count"] > 0 and stats["total_query_time"] > 0


def test_pause_holds_queries_until_resume(seen):
    with seen.connect() as db, console(seen) as c:
        db.execute("SELECT 1")
        run(c, "PAUSE shop")
        assert not [row for row in run(c, "SHOW SERVERS") if row["database"] == "shop"]
        assert next(row for row in run(c, "SHOW DATABASES") if row["name"] == "shop")["paused"] == 1
        answers = []
        asking = threading.Thread(target=lambda: answers.append(db.execute("SELECT 42").fetchone()[0]))
        asking.start()
        wait_for(lambda: [row for row in run(c, "SHOW CLIENTS") if row["state"] == "waiting"], "the client waits")
        time.sleep(0.3)
        assert answers == []
        with seen.connect("held") as other:  # another database goes on
            assert other.execute("SELECT 1").fetchone() == (1,)
        run(c, "RESUME shop")
        asking.join(10)
        assert answers == [42]
        with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="is not paused"):
            run(c, "RESUME shop")
        with pytest.raises(psycopg2.errors.InvalidCatalogName, match="no such database: nix"):
            run(c, "PAUSE nix")


def test_pause_gives_up_names_who_blocks_and_undoes_itself(seen):
    with seen.connect(application_name="long one") as db, console(seen) as c:
        db.execute("BEGIN")
        db.execute("UPDATE items SET n = 7 WHERE id = 7")
        with pytest.raises(psycopg2.errors.LockNotAvailable) as raised:
            run(c, "PAUSE shop TIMEOUT '1500ms'")
        assert "given up after 1500ms" in str(raised.value)
        assert "app@shop" in raised.value.diag.message_detail and "(long one)" in raised.value.diag.message_detail
        assert "in a transaction: UPDATE items SET n = 7" in raised.value.diag.message_detail
        assert any("waiting for 1 server connection" in notice for notice in c.notices)
        with seen.connect() as other:  # nothing is paused any more
            assert other.execute("SELECT 1").fetchone() == (1,)
        db.execute("COMMIT")
        assert db.execute("SELECT n FROM items WHERE id = 7").fetchone() == (7,)


def test_pause_waits_for_a_transaction_and_lets_it_end(seen):
    with seen.connect() as db, console(seen) as c:
        db.execute("BEGIN")
        db.execute("UPDATE items SET n = 8 WHERE id = 8")
        pausing = threading.Thread(target=lambda: run(c, "PAUSE"))
        pausing.start()
        time.sleep(0.3)
        assert pausing.is_alive()
        db.execute("COMMIT")
        pausing.join(10)
        assert not pausing.is_alive()
        run(c, "RESUME")
        assert db.execute("SELECT n FROM items WHERE id = 8").fetchone() == (8,)


def test_a_pause_that_nobody_waits_for_is_undone(seen):
    with seen.connect() as db, console(seen) as c:
        db.execute("BEGIN")
        db.execute("UPDATE items SET n = 9 WHERE id = 9")
        wire = Wire("127.0.0.1", seen.port).login("ops", OPS, "lull")
        wire.send(query("PAUSE shop TIMEOUT '1min'"))
        wait_for(lambda: next(row for row in run(c, "SHOW DATABASES") if row["name"] == "shop")["paused"] == 1, "it is paused")
        wire.close()
        wait_for(lambda: next(row for row in run(c, "SHOW DATABASES") if row["name"] == "shop")["paused"] == 0, "it is undone")
        db.execute("COMMIT")
        assert db.execute("SELECT n FROM items WHERE id = 9").fetchone() == (9,)


def test_cancelling_a_pause_undoes_it(seen):
    with seen.connect() as db, console(seen) as c:
        db.execute("BEGIN")
        db.execute("UPDATE items SET n = 9 WHERE id = 9")
        threading.Timer(0.5, c.cancel).start()
        with pytest.raises(psycopg2.errors.QueryCanceled):
            run(c, "PAUSE shop TIMEOUT '1min'")
        assert next(row for row in run(c, "SHOW DATABASES") if row["name"] == "shop")["paused"] == 0
        db.execute("COMMIT")


def test_kill_ends_sessions_and_what_they_run(seen, primary):
    with console(seen) as c:
        db = seen.connect(application_name="victim")
        failure = []

        def sleep():
            try:
                db.execute("UPDATE items SET n = (SELECT 1 FROM pg_sleep(30)) WHERE id = 3")
            except psycopg.Error as error:
                failure.append(error)

        running = threading.Thread(target=sleep)
        running.start()
        wait_for(lambda: primary.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'UPDATE items SET n = (SEL%'"), "it runs")
        run(c, "KILL shop")
        running.join(10)
        assert failure and db.closed
        wait_for(lambda: not primary.sql("SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'UPDATE items SET n = (SEL%'"),
                 "the server has stopped it", 5)
        run(c, "RESUME shop")
        with seen.connect() as again:
            assert again.execute("SELECT n FROM items WHERE id = 3").fetchone() == (0,)


def test_kill_ends_who_does_not_read(make_lull):
    lull = make_lull(observed(workers=1, clusters={"main": {"pool_size": 1}}))
    with console(lull) as c, lull.wire() as deaf:
        deaf.send(query("SELECT repeat('x', 1000000), id FROM items, generate_series(1, 200) FOR SHARE OF items"))
        wait_for(lambda: run(c, "SHOW CLIENTS")[0]["state"] == "active", "it runs")
        time.sleep(0.5)  # until nothing fits anywhere any more
        run(c, "KILL shop")
        run(c, "RESUME shop")
        with lull.wire() as other:
            assert tags(other.query("UPDATE items SET n = 0 WHERE id = 1")) == ["UPDATE 1"], "the only server is free again"


def test_reconnect_replaces_server_connections(seen):
    with seen.connect() as db, console(seen) as c:
        db.execute("UPDATE items SET n = 1 WHERE id = 1")
        before = {row["remote_pid"] for row in run(c, "SHOW SERVERS")}
        assert before
        run(c, "RECONNECT")
        db.execute("UPDATE items SET n = 1 WHERE id = 1")
        assert not before & {row["remote_pid"] for row in run(c, "SHOW SERVERS")}


def test_maintenance_from_the_console(seen):
    with console(seen) as c, seen.connect() as db:
        run(c, "MAINTENANCE ON shop REASON 'New shelves'")
        assert any("site shop is frozen at" in notice for notice in c.notices), c.notices
        site = next(row for row in run(c, "SHOW SITES") if row["site"] == "shop")
        assert (site["state"], site["reason"], site["owner"]) == ("frozen", "New shelves", "ops")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            db.execute("UPDATE items SET n = 1")
        run(c, "MAINTENANCE OFF shop")
        db.execute("UPDATE items SET n = 1 WHERE id = 1")
        with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState, match="there is no site"):
            run(c, "MAINTENANCE ON nothing")


def test_reload_and_shutdown(make_lull):
    lull = make_lull(observed())
    with console(lull) as c:
        lull.config["limits"] = {"max_clients": 1234}
        lull.config["workers"] = 3
        lull.write_config()
        run(c, "RELOAD")
        assert any("workers is not applied" in notice for notice in c.notices)
        assert {row["key"]: row["value"] for row in run(c, "SHOW CONFIG")}["limits.max_clients"] == "1234"
        lull.write_config("nonsense: [")
        with pytest.raises(psycopg2.errors.ObjectNotInPrerequisiteState):
            run(c, "RELOAD")
        try:
            run(c, "SHUTDOWN")
        except psycopg2.OperationalError:
            pass  # it was quicker than its answer
    assert lull.process.wait(10) == 0
    lull.process = None


def test_without_console_users_there_is_no_console(make_lull):
    lull = make_lull({"users": {"ops": {"password": OPS}}})
    with pytest.raises(psycopg2.OperationalError, match='database "lull" does not exist'):
        with console(lull):
            pass


def test_the_configuration_says_what_the_console_needs(make_lull):
    lull = make_lull({"console": {"admins": ["nobody"]}}, start=False)
    lull.write_config()
    said = lull.cli("check", "--config", lull.config_file, check=False)
    assert said.returncode != 0 and "nobody" in said.stdout + said.stderr and "under users" in said.stdout + said.stderr


# -- logs -----------------------------------------------------------------------------------------------------------------

def test_slow_and_sampled_queries_are_logged_without_their_constants(make_lull):
    lull = make_lull(observed(log={"format": "json", "slow_query": "150ms", "sample": 3}))
    with lull.connect() as db:
        db.execute("SELECT pg_sleep(0.2), 'a secret', 4711")
        for i in range(6):
            db.execute("SELECT name FROM items WHERE id = %s AND name <> %s", (i, "a secret"))
    wait_for(lambda: '"sampled_query"' in lull.log() and '"slow_query"' in lull.log(), "both are logged")
    lines = [json.loads(line) for line in lull.log().splitlines() if line.startswith("{")]
    slow = next(line for line in lines if line.get("event") == "slow_query")
    assert slow["statement"] == "SELECT pg_sleep(?), ?, ?" and 200 <= slow["duration_ms"] < 5000
    assert (slow["user"], slow["database"], slow["level"]) == ("app", "shop", "warning")
    assert slow["server"].startswith("127.0.0.1:") and slow["server_pid"] > 0
    sampled = [line for line in lines if line.get("event") == "sampled_query"]
    assert 1 <= len(sampled) <= 4
    assert all(line["statement"].startswith("SELECT name FROM items WHERE id = $1") for line in sampled)
    assert "secret" not in lull.log() and "4711" not in lull.log()
    assert any(line["message"].startswith("lull: ready") for line in lines)
    assert metric(lull, "lull_slow_queries_total", database="shop") == 1
    # As text, and off, without a restart.
    lull.config["log"] = {"format": "text", "slow_query": "100ms"}
    lull.reload()
    wait_for(lambda: "NOTICE [lull] reload:" in lull.log(), "it is reloaded")
    with lull.connect() as db:
        db.execute("SELECT pg_sleep(0.2)")
    wait_for(lambda: "WARNING [lull] slow query event=slow_query" in lull.log(), "it is logged as text")
    assert 'statement="SELECT pg_sleep(?)"' in lull.log()


def test_logging_statements_is_bounded(make_lull):
    lull = make_lull({"workers": 1, "log": {"format": "json", "sample": 1, "statements_per_second": 5}})
    with lull.connect() as db:
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            db.execute("SELECT 1")
    wait_for(lambda: "queries_not_logged" in lull.log(), "the rest is counted")
    time.sleep(0.3)
    lines = [json.loads(line) for line in lull.log().splitlines() if line.startswith("{")]
    assert sum(line.get("event") == "sampled_query" for line in lines) <= 5 * 4
    assert sum(line["count"] for line in lines if line.get("event") == "queries_not_logged") > 50


@pytest.mark.parametrize("form", ["text", "json"])
def test_names_that_clients_make_up_are_told_on_one_line_that_can_be_read(make_lull, form):
    lull = make_lull(observed(log={"format": form}), replicas=False)
    for name in (b"a\nFATAL fake", b"\x1b[31mred", b"\xff\xfe", b'x" to "shop" is fine', b"\x7f\x01"):
        with lull.raw() as client:
            body = struct.pack("!i", 196608) + b"user\0" + name + b"\0database\0sh\xff\0\0"
            client.send(struct.pack("!i", len(body) + 4) + body)
            with pytest.raises(RuntimeError):
                client.authenticate("nobody", "guess")
    with open(lull.log_file, "rb") as file:
        text = file.read()
    lines = [line for line in text.decode().split("\n") if "refused:" in line]
    assert len(lines) == 5, lines
    if form == "json":
        assert all("refused" in json.loads(line)["message"] for line in lines)
    else:
        assert all(line.isprintable() for line in lines), lines
        assert r'as "x\" to \"shop\" is fine" to "sh' in lines[3], lines[3]
