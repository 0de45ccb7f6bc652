"""What a client may take: how many there may be, how long statements, blocks and sessions may last, how long server connections live,
and the pool modes."""
import contextlib
import signal
import socket
import time
import urllib.request

import psycopg
import pytest

from harness import cluster as c
from harness import wire as w
from harness.gate import Gate
from harness.lull import Lull
from harness.ports import free_port
from harness.process import stopped
from harness.wait import wait_for


@pytest.fixture
def started(cluster, tables):
    made = []

    def start(change, **kwargs):
        made.append(Lull(cluster, change, **kwargs).start())
        return made[-1]

    yield start
    for one in made:
        one.remove()


def metrics(lull):
    return urllib.request.urlopen(f"http://{lull.config['listen']['metrics']}/metrics", timeout=5).read().decode()


def refused(call):
    with pytest.raises(psycopg.OperationalError) as error:
        call()
    return str(error.value)


def test_clients_of_a_user_a_database_and_an_address_are_bounded(started):
    lull = started({"limits": {"max_clients_per_user": 2}})
    first, second = lull.connect(), lull.connect()
    assert 'too many connections for role "app"' in refused(lull.connect)
    lull.connect(user="other").close()
    first.close()
    wait_for(lambda: lull.connect().close() or True, "the place of the one that left is free")
    second.close()
    lull = started({"limits": {"max_clients_per_database": 1}})
    with lull.connect():
        assert 'too many connections for database "shop"' in refused(lambda: lull.connect(user="other"))
        lull.connect(dbname="held").close()
    lull = started({"limits": {"max_clients_per_address": 1}})
    with lull.connect():
        assert 'too many connections from address "127.0.0.1"' in refused(lull.connect)


def test_server_connections_of_a_database_and_of_a_user_are_bounded(started, primary):
    """All pools together, and nobody starves behind what others keep idle."""

    def most_at_once(lull, clients, of):
        """So many connections the server had at one time while all of these ran something."""
        opened = [lull.wire(dbname, user) for dbname, user in clients]
        for one in opened:
            one.send(w.query("SELECT pg_sleep(0.2) FROM items WHERE id = 1 FOR UPDATE SKIP LOCKED"))
        most = 0
        waiting = list(opened)
        while waiting:
            most = max(most, len(primary.backends(f"client_addr IS NOT NULL AND usename <> 'lull' AND {of}")))
            waiting = [one for one in waiting if not one.readable(0)]
        for one in opened:
            assert not w.errors(one.until("Z"))
            one.close()
        return most

    primary.sql("GRANT ALL ON items TO other", db="shop")
    mixed = [("shop", "app"), ("shop", "app"), ("shop", "other"), ("shop", "other"), ("shop", "app"), ("shop", "other")]
    lull = started({"clusters": {"main": {"max_db_connections": 2}}}, replicas=False)
    assert most_at_once(lull, mixed, "datname = 'shop'") == 2
    lull.connect(dbname="held").close()
    with lull.migration() as migration:  # counts nowhere
        migration.execute("SELECT 1")
    lull.stop()
    lull = started({"clusters": {"main": {"max_user_connections": 2}}}, replicas=False)
    assert most_at_once(lull, [("shop", "app"), ("held", "app"), ("shop", "app"), ("held", "app")], "usename = 'app'") == 2
    lull.connect(user="other").close()


@pytest.mark.parametrize("path", [("clusters", "main", "pool_size"), ("clusters", "main", "max_db_connections"),
                                  ("clusters", "main", "max_user_connections"), ("users", "app", "pool_size"),
                                  ("databases", "shop", "max_connections")], ids=".".join)
def test_what_exceeds_a_limit_that_is_less_now_is_closed(started, primary, path):
    """What is idle at once, what is in use when it is given back; the transaction in it goes on."""
    lull = started({"workers": 1, "databases": {"shop": {"pool_mode": "transaction"}}}, replicas=False)
    open_now = lambda: len(primary.backends("client_addr IS NOT NULL AND usename = 'app'"))  # noqa: E731
    clients = [lull.wire() for _ in range(6)]
    for client in clients:
        client.query("BEGIN")
        client.query("UPDATE items SET n = 1 WHERE id = 1") if client is clients[0] else client.query("SELECT 1 FROM items FOR KEY SHARE")
    for client in clients[3:]:
        client.query("ROLLBACK")
    assert open_now() == 6
    at = lull.config
    for key in path[:-1]:
        at = at.setdefault(key, {})
    at[path[-1]] = 2
    lull.write_config()
    lull.cli("reload")
    wait_for(lambda: open_now() == 3, "those that nobody has are closed")
    assert w.tags(clients[0].query("COMMIT")) == ["COMMIT"]
    wait_for(lambda: open_now() == 2, "so is the one that was given back")
    for client in clients[1:3]:
        assert client.one("SELECT count(*) FROM items WHERE id = 1") == "1"
        client.query("ROLLBACK")
    for client in clients:
        assert client.one("SELECT 1") == "1"
        client.close()
    assert open_now() == 2


@contextlib.contextmanager
def turned_away(primary, connections=0):
    """The server lets the role have so many connections from now, and none that it has; yields how often it has turned others away."""
    primary.sql(f"ALTER ROLE other CONNECTION LIMIT {connections}")
    primary.sql("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'other'")
    begun = len(primary.log_text())
    try:
        yield lambda: primary.log_text()[begun:].count("too many connections for role")
    finally:
        primary.sql("ALTER ROLE other CONNECTION LIMIT -1")


def test_a_server_that_turns_logins_away_is_not_asked_for_each_query(started, primary):
    """Whoever comes meanwhile is told what it said, and the log is told once."""
    lull = started({"workers": 1, "limits": {"server_login_retry": "2s"}}, replicas=False)
    with lull.wire(user="other") as client, turned_away(primary) as asked:
        end = time.monotonic() + 3
        queries = 0
        while time.monotonic() < end:
            failed = w.errors(client.query("SELECT 1"))[0]
            assert (failed["C"], failed["M"]) == ("53300", 'too many connections for role "other"'), failed
            queries += 1
        assert queries > 20 and asked() == 2, (queries, asked())
        assert lull.log().count("no connection to") == 1
        primary.sql("ALTER ROLE other CONNECTION LIMIT -1")
        wait_for(lambda: not w.errors(client.query("SELECT 1")), "it is asked again", timeout=4)
        assert client.one("SELECT 1") == "1"


def test_who_waits_while_a_server_turns_logins_away_gets_what_the_pool_has(started, primary):
    primary.sql("GRANT ALL ON items TO other", db="shop")
    lull = started({"workers": 1}, replicas=False)
    with lull.wire(user="other") as one, lull.wire(user="other") as two, turned_away(primary, 1) as asked:
        one.query("BEGIN")
        one.query("UPDATE items SET n = 1 WHERE id = 1")
        two.send(w.query("UPDATE items SET n = 1 WHERE id = 2"))
        assert two.quiet(1.5)
        assert 1 <= asked() <= 3, "not with each tick"
        one.query("COMMIT")
        assert w.tags(two.until("Z")) == ["UPDATE 1"]
        # It is lost while somebody waits: nobody waits for what is not there.
        one.query("BEGIN")
        one.query("UPDATE items SET n = 1 WHERE id = 1")
        two.send(w.query("UPDATE items SET n = 1 WHERE id = 2"))
        primary.sql("ALTER ROLE other CONNECTION LIMIT 0")
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'other'")
        assert two.readable(3) and w.errors(two.until("Z"))[0]["C"] == "53300"


def test_a_login_that_has_changed_and_the_migration_are_tried_at_once(started, primary):
    lull = started({"workers": 1, "limits": {"server_login_retry": "1min"}, "users": {"other": {"server_password": "wrong"}},
                    "sites": {"shop": {"migration": {"users": ["other", "app"]}}}}, replicas=False)
    with pytest.raises(RuntimeError, match="28P01"):
        lull.wire(user="other")
    begun = len(primary.log_text())
    with pytest.raises(RuntimeError, match="28P01"):
        lull.wire(user="other")
    assert "password authentication failed" not in primary.log_text()[begun:], "it is told what the server said last"
    lull.config["users"]["other"].pop("server_password")
    lull.write_config()
    lull.cli("reload")
    with lull.wire(user="other") as another:
        assert another.one("SELECT 1") == "1"
    with turned_away(primary) as asked:
        for times in (1, 2):
            with pytest.raises(psycopg.OperationalError), lull.migration(user="other") as migration:
                migration.execute("SELECT 1")
            assert asked() == times


def test_a_statement_that_takes_too_long_is_canceled_and_the_session_lives_on(started):
    lull = started({"limits": {"statement_timeout": "500ms"}})
    with lull.wire() as client:
        failed = w.errors(client.query("SELECT pg_sleep(30)"))[0]
        assert (failed["S"], failed["C"], failed["M"]) == ("ERROR", "57014", "canceling statement due to statement timeout")
        assert "limits.statement_timeout" in failed["H"]
        failed = w.errors(client.extended("SELECT pg_sleep(30)"))[0]
        assert failed["M"] == "canceling statement due to statement timeout"
        client.query("BEGIN")
        assert w.errors(client.query("UPDATE items SET n = 1 WHERE pg_sleep(30) IS NOT NULL"))
        assert w.statuses(client.query("ROLLBACK")) == "I"
        assert client.one("SELECT 1") == "1"


def test_a_statement_timeout_does_not_hit_the_statement_behind_it(started, primary):
    """The cancel is kept on its way for so long that what it is meant for ends by itself."""
    gate = Gate(primary.port)
    lull = started({"limits": {"statement_timeout": "800ms"}, "clusters": {"main": {"primary": f"127.0.0.1:{gate.port}"}}}, replicas=False)
    try:
        with lull.wire() as client:
            client.query("BEGIN")
            client.query("UPDATE items SET n = 7 WHERE id = 1")
            gate.delay = 1.5
            assert not w.errors(client.query("SELECT pg_sleep(2)"))
            for _ in range(5):
                assert not w.errors(client.query("SELECT pg_sleep(0.4)"))
            gate.delay = 0
            assert w.tags(client.query("COMMIT")) == ["COMMIT"]
            assert client.one("SELECT n FROM items WHERE id = 1") == "7"
    finally:
        gate.close()


def test_blocks_that_last_or_idle_too_long_are_rolled_back(started, primary):
    lull = started({"limits": {"idle_in_transaction_timeout": "500ms"}})
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("UPDATE items SET n = 7 WHERE id = 1")
        wait_for(lambda: not primary.backends("state LIKE 'idle in transaction%%'"), "the block is rolled back")
        failed = w.errors(client.query("SELECT 1"))[0]
        assert (failed["S"], failed["C"]) == ("ERROR", "25P03")
        assert w.errors(client.query("SELECT 1"))[0]["C"] == "25P02"
        assert w.tags(client.query("ROLLBACK")) == ["ROLLBACK"]
        assert client.one("SELECT n FROM items WHERE id = 1") == "0"
        client.query("BEGIN")  # of which no server knows yet
        time.sleep(2)
        assert w.errors(client.query("COMMIT"))[0]["C"] == "25P03"
        assert client.one("SELECT 1") == "1"
    lull = started({"limits": {"transaction_timeout": "700ms"}})
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("UPDATE items SET n = 7 WHERE id = 1")
        failed = []

        def asked():
            failed[:] = w.errors(client.query("SELECT pg_sleep(0.1)"))
            return failed

        wait_for(asked, "the block is rolled back although its client is busy")
        assert failed[0]["C"] == "25P04" and "limits.transaction_timeout" in failed[0]["H"]
        client.query("ROLLBACK")
        assert client.one("SELECT n FROM items WHERE id = 1") == "0"


def test_a_transaction_that_is_one_statement_or_one_text_has_its_time_as_well(started):
    """Also where nothing has said yet that a block is open. The error that ends it says why."""
    lull = started({"limits": {"transaction_timeout": "700ms"}})
    write, wait = "UPDATE items SET n = 7 WHERE id = 1", "SELECT pg_sleep(20)"
    with lull.wire() as client:
        for ask, status in ((lambda: client.query(wait), "I"),
                            (lambda: client.query(f"{write}; {wait}"), "I"),
                            (lambda: client.query(f"BEGIN; {write}; {wait}"), "E"),
                            (lambda: client.ask(*(m for text in ("BEGIN", write, wait) for m in (w.parse("", text), w.bind(), w.execute())), w.sync()), "E")):
            answer = ask()
            failed = w.errors(answer)[0]
            assert failed["C"] == "25P04" and "limits.transaction_timeout" in failed["H"] and w.statuses(answer) == status
            if status == "E":
                assert w.errors(client.query("SELECT 1"))[0]["C"] == "25P02", "it has been told already"
                assert client.query("COMMIT")[0].body == b"ROLLBACK\0"
            assert client.one("SELECT n FROM items WHERE id = 1") == "0"


def test_an_idle_session_is_ended_as_postgresql_ends_it(started):
    lull = started({"limits": {"idle_session_timeout": "500ms"}})
    with lull.wire() as client:
        assert client.one("SELECT 1") == "1"
        failed = w.errors(client.until_closed())[0]
        assert (failed["S"], failed["C"]) == ("FATAL", "57P05")
        assert failed["M"] == "terminating connection due to idle-session timeout"
        assert failed["H"] == "The limit of the proxy is limits.idle_session_timeout."
    with lull.wire() as client:  # that has never asked for anything
        assert w.errors(client.until_closed())[0]["C"] == "57P05"


def test_server_connections_are_closed_when_they_are_old_or_unused(started, primary):
    lull = started({"clusters": {"main": {"server_lifetime": "1s"}}}, replicas=False)
    with lull.connect() as client:
        first = client.execute("SELECT pg_backend_pid()").fetchone()[0]
        wait_for(lambda: client.execute("SELECT pg_backend_pid()").fetchone()[0] != first, "another connection")
    lull = started({"clusters": {"main": {"server_idle_timeout": "1s"}}}, replicas=False)
    lull.connect().execute("SELECT 1")
    wait_for(lambda: not primary.backends("usename = 'app'"), "the unused connection is closed")


def test_the_reserve_helps_when_clients_have_waited(started):
    lull = started({"clusters": {"main": {"pool_size": 1, "reserve_pool_size": 1, "reserve_pool_timeout": "300ms"}}}, replicas=False)
    with lull.connect() as busy, lull.connect() as other:
        with busy.transaction():
            busy.execute("UPDATE items SET n = 1 WHERE id = 1")
            began = time.monotonic()
            assert other.execute("SELECT n FROM items WHERE id = 2").fetchone()[0] == 0
            assert time.monotonic() - began > 0.25


def test_session_mode_keeps_the_server_and_leaves_it_clean(started, primary):
    lull = started({"sites": {"shop": {"pool_mode": "session"}}, "console": {"admins": ["app"]}})
    with lull.connect() as client:
        pids = {client.execute("SELECT pg_backend_pid()").fetchone()[0] for _ in range(5)}
        assert len(pids) == 1
        client.execute("CREATE TEMP TABLE mine (x int)")
        client.execute("SET search_path = other_schema")
        assert client.execute("SELECT pg_try_advisory_lock(4711)").fetchone()[0]
        client.execute("INSERT INTO mine VALUES (1)")
        assert client.execute("SELECT count(*) FROM mine").fetchone()[0] == 1
        with lull.connect(dbname="lull") as console:
            modes = {row[0]: row for row in console.execute("SHOW POOLS").fetchall()}
            assert "session" in [str(value) for value in modes["shop"]]
    wait_for(lambda: primary.backends(f"pid = {min(pids)} AND state = 'idle' AND query LIKE 'DISCARD%'"), "it is reset")
    with lull.connect() as next_one:
        assert next_one.execute("SELECT pg_backend_pid()").fetchone()[0] in pids, "the connection is used again"
        assert next_one.execute("SHOW search_path").fetchone()[0] == '"$user", public'
        assert next_one.execute("SELECT to_regclass('pg_temp.mine')").fetchone()[0] is None
        assert next_one.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()[0] == 0


def test_session_mode_obeys_a_window(started):
    lull = started({"sites": {"shop": {"pool_mode": "session"}}})
    with lull.connect() as client:
        client.execute("UPDATE items SET n = 1 WHERE id = 1")
        lull.on()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            client.execute("UPDATE items SET n = 2 WHERE id = 1")
        assert client.execute("SELECT n FROM items WHERE id = 1").fetchone()[0] == 1
        lull.off()
        client.execute("UPDATE items SET n = 3 WHERE id = 1")
        assert client.execute("SELECT n FROM items WHERE id = 1").fetchone()[0] == 3


def test_statement_mode_refuses_blocks_in_both_protocols(started, primary):
    lull = started({"users": {"app": {"password": c.APP_PASSWORD, "pool_mode": "statement"}}})
    with lull.wire() as client:
        for answer in (client.query("BEGIN"), client.query("BEGIN; UPDATE items SET n = 1 WHERE id = 1"), client.extended("BEGIN")):
            failed = w.errors(answer)[0]
            assert (failed["C"], failed["M"]) == ("0A000", "transaction blocks are not allowed in statement pooling mode")
            assert w.statuses(answer) == "I"
        assert client.one("SELECT n FROM items WHERE id = 1") == "0"
        client.query("UPDATE items SET n = 5 WHERE id = 1")
        assert client.one("SELECT n FROM items WHERE id = 1") == "5"
    assert not primary.backends("state LIKE 'idle in transaction%%'")
    with lull.wire(user="other") as client:  # the site's mode
        assert not w.errors(client.query("BEGIN"))


def test_a_user_and_a_database_have_limits_of_their_own(started, primary):
    """The user's before the database's, and those before what holds for all. A hint names the one that was met."""
    own = {"limits": {"statement_timeout": "30s", "max_clients_per_user": 1},
           "databases": {"shop": {"statement_timeout": "400ms", "max_clients": 3, "max_connections": 2}},
           "users": {"other": {"statement_timeout": "20s", "max_clients": 2, "pool_mode": "session"}},
           "console": {"stats": ["app"]}}
    lull = started(own, replicas=False)
    with lull.wire() as app:
        answer = w.errors(app.query("SELECT pg_sleep(5)"))
        assert [(error["C"], error["H"]) for error in answer] == [("57014", "The limit of the proxy is databases.shop.statement_timeout.")]
        assert app.one("SELECT 1") == "1"
        assert "limits.max_clients_per_user" in refused(lull.connect)
        with lull.wire("shop", "other") as other, lull.wire("shop", "other") as another:
            assert not w.errors(other.query("SELECT pg_sleep(0.8)")) and another.one("SELECT 1") == "1"
            assert "users.other.max_clients" in refused(lambda: lull.connect(user="other"))
            assert "databases.shop.max_clients" in refused(lambda: lull.connect(user="verifier_user"))
            # Both connections of the database are theirs: the pool mode is session, of this user.
            app.send(w.query("SELECT 1"))
            assert not app.readable(0.5)
        app.until("Z")
        wait_for(lambda: lull.connect(dbname="held", user="other").execute("SELECT pg_sleep(0.5)"), "the places of those who left are free")
        lull.config["databases"]["shop"]["statement_timeout"] = "20s"
        lull.write_config()
        assert lull.cli("reload").returncode == 0
        wait_for(lambda: not w.errors(app.query("SELECT pg_sleep(1)")), "the reload is in force")


def test_who_waits_too_long_for_a_server_is_told_which_limit_it_was(started):
    lull = started({"clusters": {"main": {"pool_size": 1}}, "databases": {"shop": {"query_wait_timeout": "300ms"}},
                    "listen": {"metrics": f"127.0.0.1:{free_port()}"}}, replicas=False)
    with lull.wire() as one, lull.wire() as two:
        one.query("BEGIN")
        one.query("SELECT 1 FROM items FOR UPDATE LIMIT 1")
        error = w.errors(two.query("SELECT 1"))[0]
        assert (error["S"], error["C"]) == ("ERROR", "53300") and "databases.shop.query_wait_timeout" in error["H"]
        one.query("ROLLBACK")
        assert two.one("SELECT 1") == "1"
    text = metrics(lull)
    assert 'lull_timeouts_total{database="shop",limit="query_wait"} 1' in text, text


def test_a_server_that_does_not_obey_its_cancel_is_left(started, primary):
    """Its client and its place in the pool are free; what it may yet do is waited for before the site is sealed."""
    lull = started({"limits": {"statement_timeout": "500ms", "cancel_timeout": "1s"}, "clusters": {"main": {"pool_size": 1}},
                    "listen": {"metrics": f"127.0.0.1:{free_port()}"}}, replicas=False)
    with lull.wire() as client:
        client.send(w.query("UPDATE items SET n = 77 WHERE id = 1 AND pg_sleep(5) IS NOT NULL"))
        pid = wait_for(lambda: primary.backends("query LIKE 'UPDATE items SET n = 77%%' AND state = 'active'"), "it runs")[0][0]
        with stopped(pid):
            failed = w.errors(client.until("Z"))[0]
            assert (failed["S"], failed["C"]) == ("ERROR", "08006")
            assert "may yet be done" in failed["D"] and "limits.statement_timeout" in failed["H"] and "limits.cancel_timeout" in failed["H"]
            assert client.one("SELECT n FROM items WHERE id = 2") == "0"
            lull.begin()
            time.sleep(2)
            assert lull.site("shop")["mode"] == "draining"
        lull.wait_mode("sealed")
    lull.off()
    text = metrics(lull)
    for limit in ("statement", "cancel"):
        assert f'lull_timeouts_total{{database="shop",limit="{limit}"}} 1' in text, text


def test_who_is_one_too_many_to_wait_is_counted(started):
    lull = started({"limits": {"max_waiting_clients": 1}, "clusters": {"main": {"pool_size": 1}}, "workers": 1,
                    "listen": {"metrics": f"127.0.0.1:{free_port()}"}}, replicas=False)
    with lull.wire() as one, lull.wire() as two, lull.wire() as three:
        one.query("BEGIN")
        one.query("SELECT 1 FROM items FOR UPDATE LIMIT 1")
        two.send(w.query("SELECT 1"))
        time.sleep(0.2)
        error = w.errors(three.query("SELECT 1"))[0]
        assert error["C"] == "53300" and "limits.max_waiting_clients" in error["H"]
        one.query("ROLLBACK")
        two.until("Z")
    assert 'lull_over_limit_total{database="shop",limit="max_waiting_clients"} 1' in metrics(lull)


def test_who_only_stops_sending_gets_its_answers(started, primary):
    """As from PostgreSQL itself, which ends when it has answered what came before."""
    lull = started({})
    for port, password in ((lull.port, c.APP_PASSWORD), (primary.port, c.APP_PASSWORD)):
        with w.Wire("127.0.0.1", port).login("app", password, "shop") as client:
            client.query("SELECT 1 FROM items WHERE id = 1 FOR UPDATE")  # the connection to the server is there
            client.send(w.query("SELECT pg_sleep(0.3), n FROM items WHERE id = 1 FOR UPDATE"), w.query("SELECT 'next' FROM items LIMIT 1"))
            time.sleep(0.1)
            client.socket.shutdown(socket.SHUT_WR)
            assert [row[-1] for row in w.rows(client.until_closed())] == ["0", "next"]


def test_sigterm_says_whom_it_waits_for_and_how_long(started):
    lull = started({"limits": {"shutdown_timeout": "2s"}})
    with lull.wire() as kept, lull.wire() as idle:
        kept.query("CREATE TEMP TABLE mine (n int)")
        idle.query("SELECT 1")
        began = time.monotonic()
        lull.process.send_signal(signal.SIGTERM)
        assert w.errors(idle.until_closed())[0]["C"] == "57P01" and time.monotonic() - began < 1.5
        assert w.errors(kept.until_closed())[0]["C"] == "57P01" and 1.5 < time.monotonic() - began < 5
        lull.process.wait(5)
        lull.process = None
    log = lull.log()
    assert "waiting at most 2000 ms (limits.shutdown_timeout) for 1 session: app@shop (127.0.0.1" in log and "temporary" in log, log
    assert "ending 1 session: app@shop" in log, log


def test_who_waits_too_long_for_its_login_is_told_with_a_fatal(started):
    """Of the pool nothing is said where there has been no connection yet."""
    silent = socket.create_server(("127.0.0.1", 0))
    lull = started({"limits": {"query_wait_timeout": "700ms"}, "clusters": {"main": {"primary": f"127.0.0.1:{silent.getsockname()[1]}"}}},
                   replicas=False)
    with lull.raw() as client:
        with pytest.raises(RuntimeError) as error:
            client.login("app", c.APP_PASSWORD, "shop")
        failed = error.value.args[0]
        assert (failed["S"], failed["C"]) == ("FATAL", "57P03"), failed
        assert "pool_size" not in failed["H"] and "limits.query_wait_timeout" in failed["H"]
    silent.close()


def test_who_takes_too_long_to_log_in_is_told_which_limit_it_was(started):
    lull = started({"limits": {"login_timeout": "1s"}}, replicas=False)
    with lull.raw() as client:
        client.send(w.startup({"user": "app", "database": "shop"}))
        failed = w.errors(client.until_closed())[0]
        assert (failed["C"], failed["H"]) == ("57014", "The limit of the proxy is limits.login_timeout.")


def test_a_scram_client_that_contradicts_itself_is_told_as_by_postgresql(started, primary):
    lull = started({})

    class Contradicts(w.Scram):
        def final(self, server_first):
            return super().final(server_first).replace(b"c=biws", b"c=eSws")

    def told(port):
        with w.Wire("127.0.0.1", port) as client:
            client.send(w.startup({"user": "app", "database": "shop"}))
            client.receive()
            scram = Contradicts(c.APP_PASSWORD)
            first = scram.first()
            client.send(w.message("p", w.cstr("SCRAM-SHA-256") + len(first).to_bytes(4, "big") + first))
            client.send(w.message("p", scram.final(client.receive().body[4:])))
            failed = w.errors(client.until_closed())[0]
            return failed["S"], failed["C"]

    assert told(lull.port) == told(primary.port) == ("FATAL", "08P01")
