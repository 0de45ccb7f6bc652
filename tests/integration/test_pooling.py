"""Transaction pooling: many clients on few servers, whose settings and prepared statements follow them from server to
server and are never seen by anybody else."""
import threading
import time

import pytest

from harness import bench
from harness.cluster import APP_PASSWORD
from harness.lull import ONE
from harness.wait import wait_for
from harness.wire import Wire, bind, close, describe, errors, execute, parse, query, rows, shape, statuses, sync, tags


def pid(client, lock=False):
    """The backend that serves this client now, on the primary."""
    return client.one("SELECT pg_backend_pid() FROM items WHERE id = 1 FOR SHARE")


# -- sharing --------------------------------------------------------------------------------------------------------------

def test_more_clients_than_servers(make_lull, primary):
    lull = make_lull({"clusters": {"main": {"pool_size": 3}}})
    problems, done = [], []
    highest = []

    def client(number):
        try:
            with lull.connect(autocommit=False) as connection:
                for i in range(5):
                    connection.execute("INSERT INTO log (who, what) VALUES (%s, %s)", (str(number), str(i)))
                    connection.execute("SELECT pg_sleep(0.002)")
                    connection.commit()
            done.append(number)
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    threads = [threading.Thread(target=client, args=(i,)) for i in range(50)]
    [t.start() for t in threads]
    while any(t.is_alive() for t in threads):
        highest.append(len(primary.backends("datname = 'shop' AND usename = 'app'")))
        time.sleep(0.01)
    [t.join() for t in threads]
    assert not problems and len(done) == 50
    assert primary.one("SELECT count(*) FROM log", db="shop") == 250
    assert max(highest) <= 3, "no more server connections than the pool has"


def test_idle_clients_hold_no_server(make_lull, primary):
    lull = make_lull({"clusters": {"main": {"pool_size": 2}}})
    clients = [lull.wire() for _ in range(40)]
    for number, client in enumerate(clients):
        assert not errors(client.query(f"UPDATE items SET n = {number} WHERE id = {number + 1}"))
    assert len(primary.backends("datname = 'shop' AND usename = 'app'")) <= 2


def test_the_hottest_server_is_used_again(make_lull):
    """LIFO: one client after the other uses one server, although the pool has made several."""
    lull = make_lull({"workers": 1})
    clients = [lull.wire() for _ in range(5)]
    for client in clients:
        client.query("BEGIN")
        pid(client)
    for client in clients:
        client.query("COMMIT")
    assert len({pid(clients[i % 5]) for i in range(20)}) == 1


def test_waiting_in_line_and_in_order(make_lull):
    lull = make_lull(ONE)
    with lull.wire() as holder:
        holder.query("BEGIN")
        pid(holder)
        waiting = []
        for number in range(5):
            client = lull.wire()
            client.send(query(f"INSERT INTO log (who) VALUES ('{number}')"))
            assert client.quiet(0.05)
            waiting.append(client)
        holder.query("COMMIT")
        for client in waiting:
            assert tags(client.until("Z")) == ["INSERT 0 1"]
        assert rows(holder.query("SELECT who FROM log ORDER BY id")) == [(str(i),) for i in range(5)]


def test_the_line_is_bounded(make_lull):
    lull = make_lull(dict(ONE, limits={"max_waiting_clients": 2}))
    with lull.wire() as holder, lull.wire() as a, lull.wire() as b, lull.wire() as c:
        holder.query("BEGIN")
        pid(holder)
        for client in (a, b):
            client.send(query("UPDATE items SET n = 1 WHERE id = 5"))
            assert client.quiet(0.05)
        answer = c.query("UPDATE items SET n = 2 WHERE id = 6")
        assert shape(answer) == "EZ" and errors(answer)[0]["C"] == "53300", answer
        holder.query("COMMIT")
        assert tags(a.until("Z")) == tags(b.until("Z")) == ["UPDATE 1"]
        assert tags(c.query("UPDATE items SET n = 2 WHERE id = 6")) == ["UPDATE 1"], "the client that was refused lives on"


def test_the_line_has_a_time_limit(make_lull):
    lull = make_lull(dict(ONE, limits={"query_wait_timeout": "300ms"}))
    with lull.wire() as holder, lull.wire() as client:
        holder.query("BEGIN")
        pid(holder)
        answer = client.query("UPDATE items SET n = 1 WHERE id = 5")
        assert errors(answer)[0]["C"] in ("53300", "57014", "08006"), answer
        holder.query("COMMIT")
        assert tags(client.query("UPDATE items SET n = 1 WHERE id = 5")) == ["UPDATE 1"]


def test_a_waiting_client_that_leaves_is_forgotten(make_lull, primary):
    lull = make_lull(ONE)
    with lull.wire() as holder:
        holder.query("BEGIN")
        pid(holder)
        gone = lull.wire()
        gone.send(query("INSERT INTO log (who) VALUES ('gone')"))
        assert gone.quiet(0.05)
        gone.close()
        with lull.wire() as other:
            other.send(query("INSERT INTO log (who) VALUES ('other')"))
            assert other.quiet(0.1)
            holder.query("COMMIT")
            other.until("Z")
            assert other.one("SELECT string_agg(who, ',') FROM log") == "other"


def test_clients_of_different_users_do_not_share(make_lull, primary):
    lull = make_lull({"workers": 1})
    primary.sql("GRANT ALL ON ALL TABLES IN SCHEMA public TO other", db="shop")
    with lull.wire() as app, lull.wire(user="other") as other:
        for _ in range(3):
            for client, name in ((app, "app"), (other, "other")):
                assert rows(client.query("SELECT current_user, session_user FROM items WHERE id = 1 FOR SHARE")) == [(name, name)]


# -- settings -----------------------------------------------------------------------------------------------------------------

SETTINGS = {
    "search_path": ("other_schema, public", "public, other_schema"),
    "application_name": ("it's \"quoted\" \\ $x$", "b"),
    "TimeZone": ("Asia/Tokyo", "America/New_York"),
    "statement_timeout": ("1234ms", "4321ms"),
    "lock_timeout": ("11ms", "22ms"),
    "work_mem": ("3MB", "5MB"),
    "DateStyle": ("German, DMY", "SQL, MDY"),
    "IntervalStyle": ("iso_8601", "sql_standard"),
    "extra_float_digits": ("0", "3"),
    "enable_seqscan": ("off", "on"),
    "client_min_messages": ("error", "debug1"),
    "bytea_output": ("escape", "hex"),
    "default_transaction_isolation": ("serializable", "repeatable read"),
    "role": ("helper_role", "none"),
    "my.own_setting": ("a 'value'", "another"),
    "synchronous_commit": ("local", "off"),
    "plan_cache_mode": ("force_custom_plan", "force_generic_plan"),
    "standard_conforming_strings": ("on", "on"),
    "xmloption": ("document", "content"),
}


def literal(value):
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def set_sql(name, value):
    if name == "search_path":
        return f"SET search_path = {value}"
    return f"SET {name} = {literal(value)}"


@pytest.mark.parametrize("name", list(SETTINGS))
def test_settings_follow_and_never_leak(shared_one, name):
    """Two clients with different values take turns on one server, on the primary and on the standby."""
    lull = shared_one
    first, second = SETTINGS[name]
    with lull.wire() as a, lull.wire() as b, lull.wire() as stranger:
        untouched = stranger.one("SHOW search_path" if name == "my.own_setting" else f"SHOW {name}")
        assert not errors(a.query(set_sql(name, first)))
        assert not errors(b.query(set_sql(name, second)))
        ask = f"SELECT current_setting('{name}')"
        for _ in range(2):
            for client, value in ((a, first), (b, second)):
                assert client.one(ask) == value  # a read
                assert client.one(f"{ask} FROM items WHERE id = 1 FOR SHARE") == value  # on the primary
            if name == "my.own_setting":
                assert stranger.one("SELECT coalesce(current_setting('my.own_setting', true), '')") == ""
            else:
                assert stranger.one(f"SELECT current_setting('{name}')") == untouched
                assert stranger.one(f"SELECT current_setting('{name}') FROM items WHERE id = 1 FOR SHARE") == untouched
        # RESET brings back the default, for the one who says it.
        a.query(f"RESET {name}")
        assert b.one(ask) == second
        if name != "my.own_setting":
            assert a.one(ask) == untouched


@pytest.fixture(scope="module")
def module_one(cluster):
    from harness.lull import Lull
    one = Lull(cluster, ONE)
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.fixture
def shared_one(module_one, tables):
    return module_one


def now_timeout(client):
    return client.one("SELECT current_setting('statement_timeout') FROM items WHERE id = 1 FOR SHARE")


def test_set_in_a_transaction_that_is_rolled_back(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("SET statement_timeout = '1s'")
        a.query("BEGIN")
        a.query("UPDATE items SET n = 1 WHERE id = 2")
        a.query("SET statement_timeout = '2s'")
        assert a.one("SHOW statement_timeout") == "2s"
        a.query("ROLLBACK")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "1s"
        # The same through an error, and with COMMIT of the failed block.
        a.query("BEGIN")
        a.query("SET statement_timeout = '3s'")
        a.query("SELECT 1/0")
        assert tags(a.query("COMMIT")) == ["ROLLBACK"]
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "1s"
        # And with one that is committed.
        a.query("BEGIN")
        a.query("SET statement_timeout = '4s'")
        a.query("COMMIT")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "4s"


def test_set_before_the_first_statement_of_a_transaction(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("BEGIN")
        a.query("SET statement_timeout = '5s'")
        a.query("ROLLBACK")
        assert now_timeout(a) == "0"
        a.query("BEGIN")
        a.query("SET statement_timeout = '6s'")
        a.query("SELECT count(*) FROM items")
        a.query("COMMIT")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "6s"


def test_set_local(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("BEGIN")
        a.query("SET LOCAL statement_timeout = '2s'")
        assert now_timeout(a) == "2s"
        a.query("COMMIT")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "0"
        a.query("BEGIN")
        a.query("SET statement_timeout = '7s'")
        a.query("SET LOCAL statement_timeout = '8s'")
        assert now_timeout(a) == "8s"
        a.query("COMMIT")
        assert now_timeout(a) == "7s"
        assert now_timeout(b) == "0"


def test_set_and_savepoints(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("BEGIN")
        a.query("SET statement_timeout = '1s'")
        a.query("SAVEPOINT s")
        a.query("SET statement_timeout = '2s'")
        a.query("SET lock_timeout = '2s'")
        a.query("SELECT 1/0")
        a.query("ROLLBACK TO s")
        assert now_timeout(a) == "1s"
        a.query("SAVEPOINT t")
        a.query("SET work_mem = '9MB'")
        a.query("RELEASE t")
        a.query("COMMIT")
        now_timeout(b)
        assert rows(a.query("SELECT current_setting('statement_timeout'), current_setting('lock_timeout'), "
                            "current_setting('work_mem') FROM items WHERE id = 1 FOR SHARE")) == [("1s", "0", "9MB")]


def test_reset_all_and_discard_all(shared_one):
    for forget in ("RESET ALL", "DISCARD ALL"):
        with shared_one.wire(options="-c lock_timeout=77ms") as a, shared_one.wire() as b:
            b.query("SET statement_timeout = '9s'")
            a.query("SET statement_timeout = '1s'")
            a.query("SET lock_timeout = '2s'")
            answer = a.query(forget)
            assert tags(answer) == [forget.replace("RESET ALL", "RESET")], answer
            assert rows(a.query("SELECT current_setting('statement_timeout'), current_setting('lock_timeout') "
                                "FROM items WHERE id = 1 FOR SHARE")) == [("0", "77ms")], "back to the startup message"
            assert now_timeout(b) == "9s"


@pytest.mark.parametrize("behind", ["SELECT 1/0", "SELECT 1"])
@pytest.mark.parametrize("how", ["a segment", "segments", "queries"])
def test_discard_all_is_done_whatever_fails_behind_it(shared_one, cluster, how, behind):
    def run(sql):
        return parse("", sql), bind("", "", []), execute()

    sent, ready = {"a segment": ([*run("DISCARD ALL"), *run(behind), sync()], 1),
                   "segments": ([*run("DISCARD ALL"), sync(), *run(behind), sync()], 2),
                   "queries": ([query("DISCARD ALL"), query(behind)], 2)}[how]
    told = []
    with Wire("127.0.0.1", cluster.primary.port).login("app", APP_PASSWORD, "shop") as direct, shared_one.wire() as through, \
            shared_one.wire() as another:
        for client in (direct, through):
            client.query("SET statement_timeout = '7s'")
            client.query("SET lock_timeout = '8s'")
            client.ask(parse("kept", "SELECT 1"), sync())
            answer = client.ask(*sent, ready=ready)
            assert bool(errors(answer)) == (behind == "SELECT 1/0")
            told.append([shape(answer), client.one("SHOW statement_timeout"), client.one("SHOW lock_timeout"),
                         errors(client.ask(bind("", "kept", []), execute(), sync()))[0]["C"]])
        assert told[1] == told[0]
        assert now_timeout(another) == "0"
        through.query("SET lock_timeout = '9s'")
        assert (now_timeout(another), now_timeout(through), through.one("SHOW lock_timeout")) == ("0", "0", "9s")


def test_discard_all_in_a_transaction_is_refused(shared_one):
    with shared_one.wire() as a:
        a.query("SET statement_timeout = '1s'")
        a.query("BEGIN")
        assert errors(a.query("DISCARD ALL"))[0]["C"] == "25001"
        a.query("ROLLBACK")
        assert now_timeout(a) == "1s"


def test_set_config(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        assert a.one("SELECT set_config('statement_timeout', '1s', false)") == "1s"
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "1s"
        a.query("BEGIN")
        a.query("SELECT set_config('statement_timeout', '2s', true)")
        assert now_timeout(a) == "2s"
        a.query("COMMIT")
        assert now_timeout(a) == "1s"
        assert a.one("SELECT current_setting('statement_timeout')") == "1s"


def test_set_config_with_arguments_that_nobody_knows(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}})
    with lull.wire() as a, lull.wire() as b:
        answer = a.extended("SELECT set_config($1, $2, false)", ["statement_timeout", "3s"])
        assert rows(answer) == [("3s",)]
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "3s"
        a.query("SELECT set_config('lock_timeout', (1 + 1)::text || 's', false)")
        assert b.one("SELECT current_setting('lock_timeout') FROM items WHERE id = 1 FOR SHARE") == "0"
        assert a.one("SELECT current_setting('lock_timeout') FROM items WHERE id = 1 FOR SHARE") == "2s"


def test_set_in_extended_protocol_and_in_multi_statement_texts(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        assert not errors(a.extended("SET statement_timeout = '1s'"))
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "1s"
        a.query("SELECT 1; SET statement_timeout = '2s'; SELECT 2")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "2s"
        # An error undoes what the text set.
        a.query("SET statement_timeout = '3s'; SELECT 1/0")
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "2s"
        # A whole pipeline that fails undoes it too; one Sync earlier it stays.
        a.ask(parse("", "SET statement_timeout = '4s'"), bind(), execute(), sync(),
              parse("", "SET statement_timeout = '5s'"), bind(), execute(), parse("", "SELECT 1/0"), bind(), execute(), sync(),
              ready=2)
        assert now_timeout(b) == "0"
        assert now_timeout(a) == "4s"


def test_failed_set_changes_nothing(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("SET work_mem = '3MB'")
        assert errors(a.query("SET work_mem = 'bananas'"))[0]["C"] == "22023"
        b.query("SELECT count(*) FROM items")
        assert a.one("SELECT current_setting('work_mem') FROM items WHERE id = 1 FOR SHARE") == "3MB"


def test_role_follows_and_is_checked_by_the_server(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("SET ROLE helper_role")
        assert rows(b.query("SELECT current_user FROM items WHERE id = 1 FOR SHARE")) == [("app",)]
        assert errors(a.query("INSERT INTO log (who) VALUES ('no right')"))[0]["C"] == "42501"
        assert a.one("SELECT current_user") == "helper_role"
        a.query("RESET ROLE")
        assert not errors(a.query("INSERT INTO log (who) VALUES ('right')"))
        assert errors(a.query("SET ROLE postgres"))[0]["C"] == "42501"


def test_reported_parameters_follow(shared_one):
    """A ParameterStatus comes for what a client changed, and none for what another one did."""
    with shared_one.wire() as a, shared_one.wire() as b:
        answer = a.query("SET TimeZone = 'Asia/Tokyo'")
        assert a.parameters["TimeZone"] == "Asia/Tokyo"
        assert "S" in shape(answer)
        for _ in range(3):
            assert b.parameters["TimeZone"] != "Asia/Tokyo"
            b.query("UPDATE items SET n = 1 WHERE id = 1")
            a.query("UPDATE items SET n = 1 WHERE id = 1")
        assert a.parameters["TimeZone"] == "Asia/Tokyo" and b.parameters["TimeZone"] != "Asia/Tokyo"


# -- prepared statements ----------------------------------------------------------------------------------------------------------

def test_named_statements_across_servers(make_lull):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 3}}})
    client = lull.wire()
    client.ask(parse("up", "UPDATE items SET n = n + $1 WHERE id = $2 RETURNING pg_backend_pid()", (23, 23)), sync())
    seen = set()
    others = [lull.wire() for _ in range(2)]
    for busy in range(3):
        for other in others[:busy]:
            other.query("BEGIN")
            pid(other)
        for _ in range(3):
            answer = client.ask(bind("", "up", [1, 50]), execute(), sync())
            assert shape(answer) == "2DCZ", (answer, busy)
            seen.add(rows(answer)[0][0])
        for other in others[:busy]:
            other.query("COMMIT")
    assert client.one("SELECT n FROM items WHERE id = 50") == "9"
    assert len(seen) >= 2, "it ran on several servers"


def test_statements_of_two_clients_with_one_name(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.ask(parse("s", "SELECT 'a'"), sync())
        b.ask(parse("s", "SELECT 'b'"), sync())
        for _ in range(3):
            assert rows(a.ask(bind("", "s"), execute(), sync())) == [("a",)]
            assert rows(b.ask(bind("", "s"), execute(), sync())) == [("b",)]
        a.ask(close("S", "s"), sync())
        assert errors(a.ask(bind("", "s"), execute(), sync()))[0]["C"] == "26000"
        assert rows(b.ask(bind("", "s"), execute(), sync())) == [("b",)]


def test_redefinition(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.ask(parse("s", "SELECT 1"), sync())
        b.query("SELECT 1")
        assert errors(a.ask(parse("s", "SELECT 2"), sync()))[0]["C"] == "42P05"
        assert rows(a.ask(bind("", "s"), execute(), sync())) == [("1",)]
        a.ask(close("S", "s"), sync())
        a.ask(parse("s", "SELECT 2, 3"), sync())
        assert rows(a.ask(bind("", "s"), execute(), sync())) == [("2", "3")]
        # The unnamed one may be redefined at will.
        for i in range(5):
            assert rows(a.ask(parse("", f"SELECT {i}"), bind(), execute(), sync())) == [(str(i),)]


def test_a_statement_that_failed_to_parse_does_not_exist(shared_one):
    with shared_one.wire() as a:
        assert errors(a.ask(parse("s", "SELECT * FROM nowhere"), sync()))[0]["C"] == "42P01"
        assert errors(a.ask(bind("", "s"), execute(), sync()))[0]["C"] == "26000"
        a.ask(parse("s", "SELECT 1"), sync())
        assert rows(a.ask(bind("", "s"), execute(), sync())) == [("1",)]


def test_deallocate(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        for name in ("one", "two", "three"):
            a.ask(parse(name, f"SELECT '{name}'"), sync())
        b.ask(parse("one", "SELECT 'of b'"), sync())
        assert tags(a.query("DEALLOCATE one")) == ["DEALLOCATE"]
        assert errors(a.ask(bind("", "one"), execute(), sync()))[0]["C"] == "26000"
        assert rows(a.ask(bind("", "two"), execute(), sync())) == [("two",)]
        assert tags(a.query("DEALLOCATE ALL")) == ["DEALLOCATE ALL"]
        assert errors(a.ask(bind("", "two"), execute(), sync()))[0]["C"] == "26000"
        assert rows(b.ask(bind("", "one"), execute(), sync())) == [("of b",)]
        a.ask(parse("two", "SELECT 'again'"), sync())
        assert rows(a.ask(bind("", "two"), execute(), sync())) == [("again",)]
        a.query("DISCARD ALL")
        assert errors(a.ask(bind("", "two"), execute(), sync()))[0]["C"] == "26000"
        assert rows(b.ask(bind("", "one"), execute(), sync())) == [("of b",)]


def test_more_statements_than_a_server_keeps(make_lull, primary):
    lull = make_lull(dict(ONE, limits={"max_server_prepared_statements": 10}))
    with lull.wire() as a, lull.wire() as b:
        for i in range(40):
            for client in (a, b):
                assert not errors(client.ask(parse(f"s{i}", f"UPDATE items SET n = {i} WHERE id = $1 RETURNING {i}"), sync()))
        for _ in range(2):
            for i in range(40):
                for client in (a, b):
                    assert rows(client.ask(bind("", f"s{i}", [7]), execute(), sync())) == [(str(i),)]
        kept = int(a.one("SELECT count(*) FROM pg_prepared_statements, items WHERE id = 1 AND bump() > 0"))
        assert kept <= 10


def test_limit_of_statements_of_a_client(make_lull):
    lull = make_lull({"limits": {"max_prepared_statements": 5}})
    with lull.wire() as client:
        for i in range(5):
            assert not errors(client.ask(parse(f"s{i}", "SELECT 1"), sync()))
        assert errors(client.ask(parse("s5", "SELECT 1"), sync()))[0]["C"] in ("53200", "53400", "54000", "53000")
        client.ask(close("S", "s0"), sync())
        assert not errors(client.ask(parse("s5", "SELECT 1"), sync()))


def test_limit_of_bytes_of_the_statements_of_a_client(make_lull):
    lull = make_lull({"limits": {"max_prepared_bytes": "4kB"}})
    text = f"SELECT '{'x' * 1500}'"
    with lull.wire() as client, lull.wire() as another:
        for name in ("a", "b"):
            assert not errors(client.ask(parse(name, text), sync()))
        for refused in (client.ask(parse("c", text), sync()), client.query(f"PREPARE c AS {text}")):
            assert errors(refused)[0]["C"] == "54000" and "limits.max_prepared_bytes" in errors(refused)[0]["H"]
        assert not errors(another.ask(parse("c", text), sync())), "each client has its own"
        client.ask(close("S", "a"), sync())
        assert not errors(client.ask(parse("c", text), sync()))


def test_a_moment_is_that_of_the_clients_own_parse(one):
    """'now' is read when the statement is prepared: a client is not told when another has prepared it."""
    sql = "SELECT 'now'::timestamptz, 'a word'"

    def ask(client, name="s"):
        return rows(client.ask(bind("", name, []), execute(), sync()))[0][0]

    with one.wire() as a, one.wire() as b:
        a.ask(parse("s", sql), sync())
        a.query("PREPARE q AS SELECT date_trunc('second', timestamptz $$now$$)")
        first, first_sql = ask(a), a.one("EXECUTE q")
        time.sleep(1.1)
        b.ask(parse("s", sql), sync())
        b.query("PREPARE q AS SELECT date_trunc('second', timestamptz $$now$$)")
        second, second_sql = ask(b), b.one("EXECUTE q")
        assert second > first and second_sql > first_sql
        time.sleep(1.1)
        assert (ask(a), ask(b), b.one("EXECUTE q")) == (first, second, second_sql), "as they have prepared it"
        a.ask(close("S", "s"), parse("s", sql), sync())
        assert ask(a) > second


def test_prepared_statement_sees_the_clients_search_path(shared_one):
    """One text, two clients, two search paths: two different tables."""
    with shared_one.wire() as a, shared_one.wire() as b:
        a.query("CREATE TABLE other_schema.items (id int, name text)")
        a.query("INSERT INTO other_schema.items VALUES (1, 'the other one')")
        b.query("SET search_path = other_schema")
        sql = "SELECT name FROM items WHERE id = $1 FOR SHARE"
        a.ask(parse("s", sql), sync())
        b.ask(parse("s", sql), sync())
        for _ in range(3):
            assert rows(a.ask(bind("", "s", [1]), execute(), sync())) == [("item 1",)]
            assert rows(b.ask(bind("", "s", [1]), execute(), sync())) == [("the other one",)]


def test_describe_of_a_statement_made_on_another_server(shared_one):
    with shared_one.wire() as a, shared_one.wire() as b:
        a.ask(parse("s", "SELECT n FROM items WHERE id = $1"), sync())
        first = a.ask(describe("S", "s"), sync())
        for server in (shared_one.cluster.primary, shared_one.cluster.standby):
            server.end_clients()
        wait_for(lambda: not errors(b.query("UPDATE items SET n = 1 WHERE id = 1")), "the pool has a server again")
        wait_for(lambda: a.ask(describe("S", "s"), sync()) == first, "described as before")


def test_psycopg_prepares_on_many_clients(make_lull):
    lull = make_lull({"clusters": {"main": {"pool_size": 2}}})
    connections = [lull.connect(prepare_threshold=0) for _ in range(8)]
    for turn in range(15):
        for number, connection in enumerate(connections):
            assert connection.execute("SELECT %s::int + %s::int", (turn, number)).fetchone() == (turn + number,)
            connection.execute("UPDATE items SET n = n + 1 WHERE id = %s", (number + 1,))
    assert connections[0].execute("SELECT sum(n) FROM items").fetchone() == (120,)
    for connection in connections:
        connection.close()


def test_sequence_state_of_a_session(lull):
    """currval belongs to a server session; a client that asks for its own must get its own, or PostgreSQL's error."""
    with lull.wire() as a, lull.wire() as b:
        a.query("BEGIN")
        value = a.one("SELECT nextval('counter')")
        assert a.one("SELECT currval('counter')") == value
        a.query("COMMIT")
        b.query("SELECT nextval('counter')")
        answer = b.query("INSERT INTO log (who) VALUES ('x') RETURNING id")
        assert not errors(answer)


# -- pgbench ------------------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def bench_tables(primary):
    done = bench.run(primary.port, APP_PASSWORD, "-i", "-s", "1", "-q")
    assert done.status == 0, done.text


PIPELINE = """\
\\set id random(1, 100000)
\\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
\\endpipeline
"""
TRANSACTION_PIPELINE = """\
\\set id random(1, 100000)
\\startpipeline
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :id, 1, CURRENT_TIMESTAMP);
END;
\\endpipeline
"""


@pytest.mark.parametrize("mode", ["extended", "prepared"])
@pytest.mark.parametrize("script", [PIPELINE, TRANSACTION_PIPELINE], ids=["statements", "transaction"])
def test_pgbench_pipelines(make_lull, bench_tables, tmp_path, mode, script):
    lull = make_lull({"clusters": {"main": {"pool_size": 3}}, "sites": {"bench": {"cluster": "main", "databases": ["bench"]}}})
    file = tmp_path / "script.sql"
    file.write_text(script)
    result = bench.run(lull.port, APP_PASSWORD, "-M", mode, "-f", str(file), "-c", "10", "-j", "2", "-t", "40")
    assert result.clean and result.done == 400, result.text


def test_pgbench_reconnects(make_lull, bench_tables):
    lull = make_lull({"sites": {"bench": {"cluster": "main", "databases": ["bench"]}}})
    result = bench.run(lull.port, APP_PASSWORD, "-C", "-S", "-c", "4", "-j", "2", "-t", "25")
    assert result.clean and result.done == 100, result.text
