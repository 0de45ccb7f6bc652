"""What a site's `guard` adds to what READ ONLY refuses, and the SQLSTATE that refused clients see."""
import pytest

from harness.cluster import APP_PASSWORD
from harness.fingerprint import changes, fingerprint
from harness.lull import Lull
from harness.wire import Wire, bind, errors, execute, message, parse, query, rows, shape, statuses, sync, tags

UPDATE = "UPDATE items SET n = n + 1 WHERE id = 1"


def sealed(make_lull, replicas=True, **site):
    lull = make_lull({"sites": {"shop": site}, "users": {"other": {"refusal_sqlstate": "55000"},
                                                         "postgres": {"password": "superuser-secret"}}}, replicas=replicas)
    lull.on(reason="the big move", eta_seconds=600)
    return lull


# -- SQLSTATE -----------------------------------------------------------------------------------------------------------------------

def every_refusal(client):
    """The errors of a write in each place where it can stand, with the states of the transaction that follow."""
    seen = []

    def note(answer):
        seen.append(([e["C"] for e in errors(answer)], statuses(answer)))

    note(client.query(UPDATE))
    note(client.extended(UPDATE))
    note(client.query("SELECT 1; " + UPDATE + "; SELECT 2"))
    note(client.ask(parse("", "SELECT 1"), bind(), execute(), parse("", UPDATE), bind(), execute(), sync()))
    note(client.ask(query("SELECT 1"), query(UPDATE), query("SELECT 2"), ready=3))
    for how in (client.query, client.extended):
        for first in (None, "SELECT count(*) FROM items"):
            client.query("BEGIN")
            if first:
                note(client.query(first))
            note(how(UPDATE))
            note(client.query("SELECT 1"))
            note(client.query("COMMIT"))
    client.query("BEGIN")
    client.query("SAVEPOINT a")
    note(client.query("SELECT 1; " + UPDATE))
    note(client.query("ROLLBACK TO a"))
    note(client.query("COMMIT"))
    note(client.query("BEGIN READ WRITE; SELECT 1"))
    client.query("ROLLBACK")
    return seen


@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_as_a_read_only_transaction_of_postgresql(make_lull, primary, replicas):
    """Errors and transaction states, place by place, are those of a server whose transactions are all READ ONLY."""
    lull = sealed(make_lull, replicas)
    with Wire("127.0.0.1", primary.port).login("app", APP_PASSWORD, "shop") as direct:
        direct.query("SET default_transaction_read_only = on")
        wanted = every_refusal(direct)
    wanted[-1] = (["25006"], "I")  # PostgreSQL has no transaction whose beginning is refused
    with lull.wire() as client:
        assert every_refusal(client) == wanted


@pytest.mark.parametrize("code", ["57P03", "55000"])
def test_another_sqlstate_for_the_site(make_lull, code):
    lull = sealed(make_lull, refusal_sqlstate=code)
    with lull.wire() as client:
        assert {e["C"] for e in errors(client.query(UPDATE))} == {code}
        assert {c for codes, _ in every_refusal(client) for c in codes} == {code, "25P02"}
        found = errors(client.query(UPDATE))[0]
        assert found["S"] == "ERROR" and found["M"] == "cannot execute UPDATE in a read-only transaction"
        assert "the big move" in found["H"] and "Expected end" in found["H"]
        assert rows(client.query("SELECT count(*) FROM items")) == [("100",)]


def test_another_sqlstate_for_a_user(make_lull):
    lull = sealed(make_lull)
    with lull.wire() as client, lull.wire(user="other") as other:
        assert errors(client.query(UPDATE))[0]["C"] == "25006"
        assert errors(other.query("CREATE TABLE t (a int)"))[0]["C"] == "55000"
        assert errors(other.extended("CREATE TABLE t (a int)"))[0]["C"] == "55000"


# -- NOTIFY ---------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_notify_can_be_answered_and_dropped(make_lull, primary, replicas):
    lull = sealed(make_lull, replicas, guard={"notify": "discard"})
    before = primary.next_xid()
    listener = primary.connect("shop")
    listener.execute("LISTEN news")
    with lull.wire() as client:
        assert tags(client.query("NOTIFY news, 'x'")) == ["NOTIFY"]
        assert tags(client.extended("NOTIFY news, 'x'")) == ["NOTIFY"]
        client.query("BEGIN")
        assert tags(client.query("NOTIFY news")) == ["NOTIFY"]
        assert tags(client.query("SELECT count(*) FROM items")) == ["SELECT 1"]
        answer = client.extended("NOTIFY news")
        assert tags(answer) == ["NOTIFY"] and statuses(answer) == "T"
        assert tags(client.query("COMMIT")) == ["COMMIT"]
        answer = client.ask(parse("", "SELECT 1"), bind(), execute(), parse("", "NOTIFY news"), bind(), execute(), sync())
        assert tags(answer) == ["SELECT 1", "NOTIFY"] and statuses(answer) == "I"
        assert errors(client.query("SELECT 1; NOTIFY news"))[0]["C"] == "25006"
        assert errors(client.query("SELECT pg_notify('news', '')"))[0]["C"] == "25006"
        assert rows(client.query("SELECT count(*) FROM items")) == [("100",)]
        assert primary.next_xid() == before
        lull.off()
        client.query("NOTIFY news, 'now'")
        assert next(listener.notifies()).payload == "now", "and those of the window have gone nowhere"
    listener.close()


# -- functions ------------------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("replicas", [True, False], ids=["frozen replica", "primary alone"])
def test_functions_that_nobody_knows_can_be_refused(make_lull, primary, replicas):
    lull = sealed(make_lull, replicas, guard={"functions": "refuse"})
    before = fingerprint(primary)
    with lull.wire() as client:
        for sql in ("SELECT bump()", "SELECT public.sly()", "EXPLAIN ANALYZE SELECT sly()", "COPY (SELECT sly()) TO STDOUT",
                    "PREPARE p AS SELECT sly()", "EXECUTE p", "DECLARE c CURSOR FOR SELECT sly()", "EXPLAIN SELECT sly()"):
            for answer in (client.query(sql), client.extended(sql)):
                found = errors(answer)[0]
                assert found["C"] == "25006" and statuses(answer) == "I", (sql, found)
        found = errors(client.query("SELECT bump()"))[0]
        assert found["M"] == "cannot execute bump() in a read-only transaction" and "guard.functions" in found["D"]
        for sql in ("SELECT lower(name), n + 1 FROM items WHERE id = 1", "SELECT count(*), now() FROM items", "SHOW work_mem",
                    "EXPLAIN SELECT * FROM items", "COPY items TO STDOUT"):
            assert not errors(client.query(sql)) and not errors(client.extended(sql)), sql
        client.query("BEGIN")
        assert rows(client.query("SELECT count(*) FROM items")) == [("100",)]
        assert statuses(client.query("SELECT sly()")) == "E"
        assert tags(client.query("COMMIT")) == ["ROLLBACK"]
    assert changes(before, fingerprint(primary)) == []


# -- who --------------------------------------------------------------------------------------------------------------------------------

def test_superusers_can_be_kept_out(make_lull, primary):
    primary.sql("ALTER ROLE postgres PASSWORD 'superuser-secret'")
    lull = make_lull({"sites": {"shop": {"guard": {"privileged": "refuse"}}}, "users": {"postgres": {"password": "superuser-secret"}}},
                     replicas=False)
    with lull.wire(user="postgres", password="superuser-secret") as client, lull.wire() as app:
        assert rows(client.query("SELECT count(*) FROM items")) == [("100",)]
        client.query("SET ROLE app")
        client.query("BEGIN")
        assert rows(client.query("SELECT 1")) == [("1",)]
        lull.on()
        for answer in (client.query("SELECT 1"), client.query("SELECT 1")):
            assert errors(answer)[0]["C"] in ("57P03", "25P02") and statuses(answer) == "E"
        assert tags(client.query("COMMIT")) == ["ROLLBACK"]
        for answer in (client.query("SELECT 1"), client.extended("SELECT 1"), client.query("SHOW work_mem")):
            assert errors(answer)[0]["C"] == "57P03" and "guard.privileged" in errors(answer)[0]["D"]
            assert statuses(answer) == "I"
        assert rows(app.query("SELECT count(*) FROM items")) == [("100",)]
        with lull.wire(user="postgres", password="superuser-secret") as newcomer:
            assert errors(newcomer.query("SELECT 1"))[0]["C"] == "57P03"
        lull.off()
        assert rows(client.query("SELECT 1")) == [("1",)]
