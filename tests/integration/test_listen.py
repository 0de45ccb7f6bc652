"""LISTEN and NOTIFY in transaction pooling: clients share one listener connection for each database, and keep no server."""
import contextlib
import threading
import urllib.request

import psycopg2
import pytest

from harness.cluster import Cluster
from harness.lull import Lull
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import bind, errors, execute, parse, query, shape, statuses, sync, tags

LISTENER = "application_name = 'lull control' AND datname = 'shop' AND query ILIKE '%%listen%%'"


def notes(messages):
    """(channel, payload) of each NotificationResponse."""
    return [tuple(part.decode() for part in m.body[4:-1].split(b"\0")) for m in messages if m.type == "A"]


def heard(client, count=1):
    return notes(client.until("A", count))


def test_many_listeners_need_no_server(make_lull, primary):
    lull = make_lull({"workers": 2, "clusters": {"main": {"pool_size": 1}}})
    clients = [lull.wire() for _ in range(20)]
    for number, client in enumerate(clients):
        assert tags(client.query("LISTEN everybody")) == ["LISTEN"]
        assert tags(client.extended(f'LISTEN "Ch {number}"')) == ["LISTEN"]
    with lull.wire() as speaker:
        speaker.query("NOTIFY everybody, 'hello'")
        for client in clients:
            assert heard(client) == [("everybody", "hello")]
        speaker.query("SELECT pg_notify('Ch 7', 'you')")
        assert heard(clients[7]) == [("Ch 7", "you")]
        assert clients[8].quiet(0.1)
    assert len(primary.backends(LISTENER)) == 1, "one connection for all workers"
    for client in clients:
        client.close()
    wait_for(lambda: not primary.backends(LISTENER), "it goes with the last who listens")


def test_no_notification_is_lost_behind_the_answer(make_lull, primary):
    lull = make_lull({"workers": 2})
    with primary.connect("shop") as outside:
        for number in range(30):
            with lull.wire() as client:
                assert tags(client.query(f"LISTEN c{number % 3}")) == ["LISTEN"]
                outside.execute(f"NOTIFY c{number % 3}, '{number}'")
                assert heard(client)[0] == (f"c{number % 3}", str(number))


def test_order_and_duplicates_are_postgresqls(lull):
    with lull.wire() as client, lull.wire() as speaker:
        client.query("LISTEN a")
        client.query("LISTEN b")
        speaker.query("BEGIN")
        for sql in ("NOTIFY a, '1'", "NOTIFY b, '2'", "NOTIFY a, '1'", "NOTIFY a, '3'"):
            speaker.query(sql)
        assert client.quiet(0.1), "nothing before COMMIT"
        speaker.query("COMMIT")
        assert heard(client, 3) == [("a", "1"), ("b", "2"), ("a", "3")]


def test_a_client_in_a_block_is_told_behind_it(lull, primary):
    with lull.wire() as client:
        client.query("LISTEN news")
        client.query("BEGIN")
        client.query("SELECT count(*) FROM items")
        primary.sql("NOTIFY news, 'now'", db="shop")
        assert client.quiet(0.3)
        assert shape(client.query("SELECT 1")) == "TDCZ"
        assert statuses(client.query("COMMIT")) == "I"
        assert heard(client) == [("news", "now")]


def test_its_own_notify_comes_too(lull):
    with lull.wire() as client:
        client.query("LISTEN news")
        answer = client.query("NOTIFY news, 'mine'")
        assert tags(answer) == ["NOTIFY"]
        assert (notes(answer) or heard(client)) == [("news", "mine")]


def test_listen_in_a_block_counts_from_its_commit(lull, primary):
    with lull.wire() as client:
        client.query("BEGIN")
        assert tags(client.query("LISTEN news")) == ["LISTEN"]
        client.query("SAVEPOINT s")
        assert tags(client.query("LISTEN other")) == ["LISTEN"]
        client.query("ROLLBACK TO s")
        client.query("COMMIT")
        primary.sql("NOTIFY other", db="shop")
        primary.sql("NOTIFY news, 'committed'", db="shop")
        assert heard(client) == [("news", "committed")]
        client.query("BEGIN")
        client.query("UNLISTEN news")
        client.query("ROLLBACK")
        primary.sql("NOTIFY news, 'still'", db="shop")
        assert heard(client) == [("news", "still")]
    with lull.wire() as client:
        client.query("BEGIN")
        client.query("LISTEN news")
        client.query("ROLLBACK")
        primary.sql("NOTIFY news, 'no'", db="shop")
        assert client.quiet(0.3)


@pytest.mark.parametrize("how", ["UNLISTEN news", "UNLISTEN *", "DISCARD ALL"])
def test_it_ends(lull, primary, how):
    with lull.wire() as client, lull.wire() as other:
        client.query("LISTEN news")
        other.query("LISTEN news")
        assert not errors(client.query(how))
        primary.sql("NOTIFY news, 'x'", db="shop")
        assert heard(other) == [("news", "x")]
        assert client.quiet(0.2)


def test_a_pipeline_of_listens(lull, primary):
    with lull.wire() as client:
        answer = client.ask(parse("", "LISTEN a"), bind(), execute(), parse("", "LISTEN b"), bind(), execute(), sync(),
                            query("SELECT 1"), query("LISTEN c"), ready=3)
        assert tags(answer) == ["LISTEN", "LISTEN", "SELECT 1", "LISTEN"]
        for channel in "abc":
            primary.sql(f"NOTIFY {channel}", db="shop")
        assert heard(client, 3) == [("a", ""), ("b", ""), ("c", "")]
        # One that fails behind it takes it back.
        answer = client.ask(parse("", "LISTEN d"), bind(), execute(), parse("", "SELECT 1/0"), bind(), execute(), sync())
        assert errors(answer)[0]["C"] == "22012"
        primary.sql("NOTIFY d", db="shop")
        assert client.quiet(0.2)


def test_drivers(lull, primary):
    with lull.connect() as three, contextlib.closing(lull.connect2()) as two:
        three.execute("LISTEN news")
        cursor = two.cursor()
        cursor.execute("LISTEN news")
        primary.sql("NOTIFY news, 'both'", db="shop")
        assert next(three.notifies()).payload == "both"

        def polled():
            two.poll()
            return [n.payload for n in two.notifies]

        assert wait_for(polled, "psycopg2 hears it") == ["both"]
    with lull.connect(autocommit=False) as block:
        block.execute("LISTEN news")
        block.commit()
        primary.sql("NOTIFY news, 'after commit'", db="shop")
        assert next(block.notifies()).payload == "after commit"


def test_a_lost_listener_ends_those_who_listen(make_lull, primary):
    lull = make_lull({"workers": 1})
    with lull.wire() as idle, lull.wire() as busy, lull.wire() as other:
        idle.query("LISTEN news")
        busy.query("LISTEN news")
        busy.query("BEGIN")
        busy.query("INSERT INTO log (who) VALUES ('busy')")
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE " + LISTENER.replace("%%", "%"))
        ended = idle.until_closed()
        assert errors(ended)[0]["C"] == "57P01" and "missed" in errors(ended)[0]["D"], ended
        assert not errors(busy.query("SELECT 1")), "its transaction may end"
        assert tags(busy.query("COMMIT")) == ["COMMIT"]
        assert errors(busy.until_closed())[0]["C"] == "57P01"
        assert other.one("/* lull: primary */ SELECT count(*) FROM log WHERE who = 'busy'") == "1"
        assert tags(other.query("LISTEN news")) == ["LISTEN"]
        primary.sql("NOTIFY news, 'again'", db="shop")
        assert heard(other) == [("news", "again")]


@pytest.fixture
def own_primary():
    cluster = Cluster(alone=True)
    cluster.start()
    cluster.reset("shop")
    yield cluster
    cluster.remove()


def test_a_restart_of_postgresql_makes_nobody_keep_a_server(own_primary):
    """All who listen are ended and come again at once, while it does not accept connections yet."""
    lull = Lull(own_primary, {"workers": 1, "clusters": {"main": {"pool_size": 2}}}, replicas=False).start()
    try:
        for client in [lull.wire() for _ in range(6)]:
            client.query("LISTEN news")
        own_primary.primary.stop()
        clients = [lull.wire() for _ in range(6)]
        for client in clients:
            client.send(query("LISTEN news"))
        assert all(client.quiet(0.1) for client in clients), "they wait"
        own_primary.primary.start()
        for client in clients:
            assert tags(client.until("Z")) == ["LISTEN"]
        own_primary.primary.sql("NOTIFY news, 'up again'", db="shop")
        for client in clients:
            assert heard(client) == [("news", "up again")]
        with lull.wire() as writer:
            assert not errors(writer.query("INSERT INTO log (who) VALUES ('writer')"))
    finally:
        lull.remove()

def test_a_listen_behind_what_ends_it(lull, primary):
    """In one packet: it is one of its own, and heard."""
    for number, how in enumerate(["UNLISTEN {}", "UNLISTEN *", "DISCARD ALL", "ROLLBACK"]):
        with lull.wire() as client:
            if how == "ROLLBACK":
                client.query("BEGIN")
                client.query("SELECT 1")
            client.query(f"LISTEN c{number}")
            answer = client.ask(query(how.format(f"c{number}")), query(f"LISTEN c{number}"), ready=2)
            assert not errors(answer)
            primary.sql(f"NOTIFY c{number}, 'x'", db="shop")
            assert heard(client) == [(f"c{number}", "x")]


def test_too_many_channels(make_lull):
    lull = make_lull({"limits": {"max_listen_channels": 2}})
    with lull.wire() as a, lull.wire() as b:
        a.query("LISTEN one")
        b.query("LISTEN two")
        failed = errors(a.query("LISTEN three"))[0]
        assert failed["C"] == "54000" and "limits.max_listen_channels" in failed["H"]
        assert tags(a.query("LISTEN two")) == ["LISTEN"], "that one is heard already"
        b.query("BEGIN")
        assert errors(b.query("LISTEN three"))[0]["C"] == "54000"
        assert errors(b.query("SELECT 1"))[0]["C"] == "25P02"
        b.query("ROLLBACK")
        a.query("UNLISTEN *")
        wait_for(lambda: not errors(b.query("LISTEN three")), "there is room again")


def test_what_waits_for_a_client_is_bounded(make_lull, primary):
    lull = make_lull({"limits": {"max_notification_bytes": "64kB"}})
    with lull.wire() as stuck, lull.wire() as other:
        stuck.query("LISTEN news")
        other.query("LISTEN news")
        stuck.query("BEGIN")
        for number in range(20):
            primary.sql(f"NOTIFY news, '{number:07000}'", db="shop")
        assert len(heard(other, 20)) == 20
        stuck.query("ROLLBACK")
        ended = stuck.until_closed()
        assert "max_notification_bytes" in errors(ended)[0]["H"], ended


def test_without_a_control_role_listen_keeps_a_server(make_lull, primary):
    lull = make_lull(start=False)
    lull.config["clusters"]["main"].pop("control")
    lull.config["workers"] = 1
    lull.start(wait=False)
    wait_for(lambda: lull.alive and not _refused(lull), "it answers")
    with lull.wire() as client:
        client.query("LISTEN news")
        primary.sql("NOTIFY news, 'x'", db="shop")
        assert heard(client) == [("news", "x")]
        assert primary.backends("usename = 'app' AND query = 'LISTEN news'"), "its own server listens"


def _refused(lull):
    try:
        lull.wire().close()
        return False
    except OSError:
        return True


def test_other_encodings_keep_a_server(lull, primary):
    """A payload comes in the client's encoding, which the listener does not know."""
    with lull.wire(client_encoding="LATIN1") as client:
        client.query("LISTEN news")
        primary.sql("NOTIFY news, 'ä'", db="shop")
        assert client.until("A")[-1].body[4:] == b"news\0\xe4\0"


def test_utf8_payloads(lull, primary):
    with lull.wire() as client:
        client.query('LISTEN "Überraschung"')
        primary.sql("SELECT pg_notify('Überraschung', 'ä ☃')", db="shop")
        assert heard(client) == [("Überraschung", "ä ☃")]


def test_listen_while_sealed(lull, primary):
    """What listened goes on hearing; a new LISTEN is refused where no rule lets it pass."""
    with lull.wire() as client:
        client.query("LISTEN news")
        lull.on()
        with lull.migration() as migration:
            migration.execute("NOTIFY news, 'from the migration'")
        assert heard(client) == [("news", "from the migration")]
        assert errors(client.query("LISTEN more"))[0]["C"] == "25006"
        assert errors(client.extended("LISTEN more"))[0]["C"] == "25006"
        lull.off()
        assert tags(client.query("LISTEN more")) == ["LISTEN"]


def test_a_busy_hour(make_lull, primary):
    """Listeners come and go while others speak: whoever is told that he listens hears what comes then."""
    lull = make_lull({"workers": 2, "clusters": {"main": {"pool_size": 3}}})
    problems = []

    def listener(number):
        try:
            with lull.wire() as client, lull.wire() as speaker:
                for turn in range(15):
                    channel = f"c{(number + turn) % 3}"
                    assert tags(client.query(f"LISTEN {channel}")) == ["LISTEN"]
                    speaker.query(f"NOTIFY {channel}, '{number}.{turn}'")
                    while (channel, f"{number}.{turn}") not in heard(client):
                        pass
                    client.query("UNLISTEN *")
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    threads = [threading.Thread(target=listener, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not problems


def test_operators_see_it(make_lull, primary):
    metrics = free_port()
    lull = make_lull({"workers": 2, "listen": {"metrics": f"127.0.0.1:{metrics}"}, "console": {"admins": ["ops"]},
                      "users": {"ops": {"password": "ops-secret"}}})
    clients = [lull.wire() for _ in range(4)]
    for client in clients:
        client.query("LISTEN news")
    clients[0].query("LISTEN more")
    clients[0].query("NOTIFY news")
    for client in clients:
        heard(client)
    with contextlib.closing(psycopg2.connect(**lull.dsn("lull", "ops", "ops-secret"))) as console:
        console.autocommit = True
        cursor = console.cursor()

        def show(what):
            cursor.execute(f"SHOW {what}")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

        app = [c for c in show("CLIENTS") if c["user"] == "app"]
        assert sorted(c["listens"] for c in app) == [1, 1, 1, 2] and {c["pinned"] for c in app} == {0}
        listeners = [s for s in show("SERVERS") if s["use"] == "listener"]
        assert [(s["database"], s["user"], s["role"]) for s in listeners] == [("shop", "lull", "primary")]
        assert primary.backends(f"pid = {listeners[0]['remote_pid']}")
    with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics") as answer:
        text = answer.read().decode()
    assert 'lull_listening{database="shop"} 5' in text
    assert 'lull_notifications_total{database="shop"} 4' in text
