"""Writes that a sealed site neither runs nor refuses: discarded, kept in the journal and run afterwards, or let pass
because they store nothing."""
import glob
import json
import os
import threading
import time

import psycopg
import pytest

from harness.wait import wait_for
from harness.wire import bind, describe, errors, execute, parse, query, rows, statuses, sync, tags

RULES = [
    {"statements": ["notify", "listen"], "action": "pass"},
    {"applications": ["drop*"], "action": "discard"},
    {"tables": ["log"], "action": "journal"},
]


@pytest.fixture
def make(make_lull):
    def start(journal=None, start=True, rules=RULES, **more):
        return make_lull({"sites": {"shop": {"write_rules": rules, "journal": journal or {}}}, **more}, start=start)

    return start


def log(primary):
    return [who for who, in primary.sql("SELECT who FROM log ORDER BY id", db="shop")]


def insert(who):
    return f"INSERT INTO log (who) VALUES ('{who}')"


def test_discarded_writes_are_answered_and_never_happen(make, primary):
    lull = make()
    lull.on()
    before = primary.next_xid()
    with lull.wire(application_name="drop me") as client:
        assert tags(client.query(insert("a"))) == ["INSERT 0 1"]
        assert tags(client.query("INSERT INTO log (who) VALUES ('b'), ('c')")) == ["INSERT 0 2"]
        assert tags(client.query("UPDATE items SET n = 5 WHERE id = 7")) == ["UPDATE 1"]
        assert tags(client.query("DELETE FROM items")) == ["DELETE 1"]
        # As drivers send it; also a statement that was prepared earlier.
        answer = client.ask(parse("", "INSERT INTO log (who) VALUES ($1)"), bind("", "", ["x"]), describe("P", ""),
                            execute(), sync())
        assert [m.type for m in answer] == ["1", "2", "n", "C", "Z"] and statuses(answer) == "I"
        client.ask(parse("s", "UPDATE items SET n = $1"), describe("S", "s"), sync())
        answer = client.ask(bind("", "s", ["4"]), execute(), sync())
        assert [m.type for m in answer] == ["2", "C", "Z"] and tags(answer) == ["UPDATE 1"]
        # Whose result somebody uses is refused.
        for sql in (insert("x") + " RETURNING id", "INSERT INTO log (who) SELECT 'x'", "CREATE TABLE x ()",
                    insert("x") + ";" + insert("y")):
            assert errors(client.query(sql))[0]["C"] == "25006", sql
        client.query("BEGIN")
        assert errors(client.query(insert("x")))[0]["C"] == "25006"
        client.query("ROLLBACK")
        assert client.one("SELECT count(*) FROM log") == "0"
    wait_for(lambda: (lull.site()["discarded"], lull.site()["refused"]) == (6, 5), "they are counted")
    lull.off()
    assert log(primary) == [] and primary.one("SELECT sum(n) FROM items", db="shop") == 0
    assert primary.next_xid() <= before + 1


def test_journaled_writes_run_in_order_after_the_window(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client, lull.wire(options="-c search_path=other_schema,public") as other:
        assert tags(client.query(insert("1"))) == ["INSERT 0 1"]
        answer = other.ask(parse("", "INSERT INTO log (who) VALUES ($1)"), bind("", "", ["2"]), describe("P", ""),
                           execute(), sync())
        assert [m.type for m in answer] == ["1", "2", "n", "C", "Z"]
        assert tags(client.query("UPDATE log SET who = who || '!' WHERE who = '1'")) == ["UPDATE 1"]
        assert errors(client.query("UPDATE items SET n = 1"))[0]["C"] == "25006"
        assert client.one("SELECT count(*) FROM log") == "0"
    assert log(primary) == []
    assert lull.site()["journal"]["pending"] == 3
    wait_for(lambda: lull.site()["journaled"] == 3, "they are counted")
    text = lull.cli("journal", "shop").stdout
    assert "3 writes in the journal" in text and "(who) VALUES ($1)" in text and 'with ["2"]' in text
    assert "          after " in text and "other_schema" in text, "what a text means depends on its settings"
    lull.off()
    assert sorted(log(primary)) == ["1!", "2"]
    assert lull.site()["journal"]["last"]["done"] == 3
    assert not glob.glob(lull.state_dir + "/journal-*"), "all is done, nothing is kept"


def test_another_number_of_rows_than_was_answered_is_reported(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("a"))
        client.query(insert("b"))
        assert tags(client.query("UPDATE log SET who = who || '!'")) == ["UPDATE 1"]
        assert tags(client.query("DELETE FROM log WHERE who = 'nobody'")) == ["DELETE 1"]
    lull.off()
    assert sorted(log(primary)) == ["a!", "b!"]
    last = lull.site()["journal"]["last"]
    assert (last["done"], last["differs"], last["failed"]) == (4, 2, 0)
    text = lull.cli("journal", "shop").stdout
    assert "told UPDATE 1, and it was UPDATE 2" in text and "told DELETE 1, and it was DELETE 0" in text
    assert "VALUES ('a')" not in text


def test_a_session_that_only_its_server_knows_is_not_journaled(make, primary):
    lull = make()
    with lull.wire() as client:
        client.query("CREATE TEMP TABLE log (who text)")
        lull.on()
        assert errors(client.query(insert("temporary")))[0]["C"] == "25006"
        lull.off()
    assert log(primary) == []


def test_the_audit_says_how_many(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client, lull.wire(application_name="drop") as dropped:
        client.query(insert("kept"))
        client.query("UPDATE items SET n = 1")
        client.query("NOTIFY c")
        dropped.query(insert("x"))
        dropped.query(insert("x"))
    lull.off()

    def lines():
        with open(f"{lull.state_dir}/audit.jsonl") as file:
            return [json.loads(line) for line in file]

    last = wait_for(lambda: [line for line in lines() if line["event"] == "writes"], "the counts are written")[-1]
    replayed = [line for line in lines() if line["event"] == "journal_replayed"]
    assert {name: last[name] for name in ("refused", "held", "discarded", "journaled", "passed")} == {
        "refused": 1, "held": 0, "discarded": 2, "journaled": 1, "passed": 1}
    assert [line["done"] for line in replayed] == [1]


def test_what_fails_is_reported_and_kept(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("good"))
        client.query("INSERT INTO log (id, who) VALUES ('no number', 'bad')")
        client.ask(parse("", "INSERT INTO log (id) VALUES ($1)"), bind("", "", ["worse"]), execute(), sync())
        client.query(insert("good too"))
    lull.off()
    assert log(primary) == ["good", "good too"]
    last = lull.site()["journal"]["last"]
    assert (last["done"], last["failed"], last["left"]) == (2, 2, 0)
    text = lull.cli("journal", "shop").stdout
    assert "no number" in text and "22P02" in text and "worse" in text and "good" not in text
    assert os.path.exists(last["file"])
    assert "journal" in lull.cli("status", "shop").stdout


def test_with_the_drivers(make, primary):
    lull = make()
    two = lull.connect2()  # its `with` would begin a transaction
    with lull.connect(prepare_threshold=0) as three:
        insert_one = "INSERT INTO log (who) VALUES (%s)"
        assert three.execute(insert_one, ("before",)).rowcount == 1
        lull.on()
        for number in range(5):
            assert three.execute(insert_one, (f"three {number}",)).rowcount == 1
            with two.cursor() as cursor:
                cursor.execute(insert_one, (f"two {number}",))
                assert cursor.rowcount == 1
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            three.execute(insert_one + " RETURNING id", ("x",))
        lull.off()
    two.close()
    expected = ["before"] + [f"{who} {n}" for n in range(5) for who in ("three", "two")]
    assert log(primary) == expected


def test_limits_of_the_journal(make, primary):
    lull = make({"max_count": 3})
    lull.on()
    with lull.wire() as client:
        got = [client.query(insert(str(i))) for i in range(5)]
        assert [bool(errors(answer)) for answer in got] == [False, False, False, True, True]
        assert errors(got[3])[0]["C"] == "25006"
    lull.off()
    assert log(primary) == ["0", "1", "2"]


def test_a_full_disk_refuses(make, primary):
    lull = make(start=False)
    os.makedirs(lull.state_dir, mode=0o700)
    os.symlink("/dev/full", f"{lull.state_dir}/journal-shop.log")
    lull.start()
    lull.on()
    with lull.wire() as client:
        assert errors(client.query(insert("x")))[0]["C"] == "25006"
        assert client.one("SELECT 1") == "1"
    assert "No space left" in lull.site()["journal"]["problem"]
    lull.off()
    assert log(primary) == []


def test_the_journal_outlives_a_kill_in_the_window(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        for number in range(20):
            assert tags(client.query(insert(str(number)))) == ["INSERT 0 1"]
    lull.kill9()
    with open(f"{lull.state_dir}/journal-shop.log", "ab") as file:
        file.write(b"\x99\0\0\0half a record")  # what a crash amid a write leaves
    lull.start()
    lull.wait_mode("sealed")
    with lull.wire() as client:
        assert tags(client.query(insert("20"))) == ["INSERT 0 1"]
    assert len(lull.site()["journal"]["cut"]) == 1 and "cut-off" in lull.cli("status", "shop").stdout
    assert ".cut-" in lull.cli("journal", "shop").stdout
    lull.off()
    assert log(primary) == [str(number) for number in range(21)]


def test_kill_amid_the_replay_runs_nothing_twice(make, primary):
    lull = make()
    lull.on()
    total = 300
    with lull.wire() as client:
        for number in range(total):
            client.send(query(insert(str(number))))
        assert tags(client.until("Z", total)) == ["INSERT 0 1"] * total
    lull.admin("DELETE", "/sites/shop/maintenance")
    kills = 0
    for goal in (20, 90, 150, 220):
        wait_for(lambda: len(log(primary)) >= goal, f"{goal} have run")
        if len(log(primary)) == total:
            break
        lull.kill9()
        kills += 1
        lull.start()
    assert kills >= 2, "the replay was too fast to be killed"
    lull.wait_mode("read_write", timeout=40)
    assert log(primary) == [str(number) for number in range(total)]
    assert lull.site()["journal"]["last"]["failed"] == 0


def test_the_site_stays_closed_until_the_replay_is_over(make, primary):
    lull = make()
    with lull.wire() as client, primary.connect("shop", autocommit=False) as blocker:
        lull.on()
        client.query(insert("earlier"))
        blocker.execute("LOCK TABLE log IN EXCLUSIVE MODE")
        lull.admin("DELETE", "/sites/shop/maintenance")
        wait_for(lambda: lull.site()["state"] == "replaying", "it replays")
        assert errors(client.query("UPDATE items SET n = 1"))[0]["C"] == "25006"
        assert client.one("SELECT 1") == "1"
        status, answer = lull.admin("PUT", "/sites/shop/maintenance", {})
        assert status == 409 and "replayed" in answer["detail"]
        blocker.rollback()
        lull.wait_mode("read_write")
        assert tags(client.query(insert("later"))) == ["INSERT 0 1"]
    assert log(primary) == ["earlier", "later"]


def test_a_replay_that_takes_too_long_is_given_up_and_kept(make, primary):
    lull = make({"replay_timeout": "1s"})
    lull.on()
    with lull.wire() as client, primary.connect("shop", autocommit=False) as blocker:
        client.query(insert("stuck"))
        client.query(insert("healthy"))
        blocker.execute("LOCK TABLE log IN EXCLUSIVE MODE")
        lull.off()
        last = lull.site()["journal"]["last"]
        assert (last["done"], last["left"]) == (0, 2)
        text = lull.cli("journal", "shop").stdout
        assert "stuck" in text and "healthy" in text and "--run" in text
        # The site stays open while they are run, and what cannot run now is kept again.
        assert "2 writes" in lull.cli("journal", "shop", "--run").stdout
        assert lull.site()["mode"] == "read_write"
        assert tags(client.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]
        wait_for(lambda: not lull.site()["journal"]["replaying"], "it is given up again")
        blocker.rollback()

    def run_again():
        if lull.site()["journal"]["replaying"]:
            return False
        if not log(primary):  # a second may be too short for a busy machine
            lull.cli("journal", "shop", "--run")
        return log(primary) and not lull.site()["journal"]["replaying"]

    wait_for(run_again, "they have run", 30)
    assert log(primary) == ["stuck", "healthy"]
    assert not glob.glob(lull.state_dir + "/journal-*")
    done = lull.cli("journal", "shop", "--run", check=False)
    assert done.returncode != 0 and "no file has" in done.stdout + done.stderr


def test_a_site_can_be_closed_while_a_kept_file_is_run_beside_it(make, primary):
    """And what the replay has begun is not waited for behind somebody's lock, nor left there."""
    lull = make({"replay_timeout": "1s"})
    lull.on()
    with lull.wire() as client, primary.connect("shop", autocommit=False) as blocker:
        client.query(insert("kept"))
        blocker.execute("LOCK TABLE log IN EXCLUSIVE MODE")
        lull.off()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'app'"
        wait_for(lambda: primary.one(waits, db="shop") == 0, "nothing waits there when it is given up")
        lull.cli("journal", "shop", "--run")
        wait_for(lambda: primary.one(waits, db="shop") == 1, "it is being run")
        assert lull.on()["state"] in ("sealed", "frozen")
        assert primary.one(waits, db="shop") == 0
        blocker.rollback()
        assert lull.site()["journal"]["pending"] == 1 and log(primary) == []
        assert tags(client.query(insert("later"))) == ["INSERT 0 1"]
        lull.off()
    assert log(primary) == ["kept", "later"]


def test_one_write_that_makes_the_server_fail_does_not_stop_the_others(make, primary):
    """Also not where the role's own settings would make every transaction read-only, or end it."""
    lull = make({"replay_timeout": "5s"})
    lull.on()
    with lull.wire() as client:
        for who in ("first", "poison", "last"):
            client.query(insert(who))
    primary.sql("""CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
        IF new.who = 'poison' THEN RAISE 'made up' USING ERRCODE = '57P01'; END IF;
        IF new.who = 'last' THEN PERFORM pg_sleep(0.3); END IF; RETURN new; END$$;
        CREATE TRIGGER poison BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION poison();
        ALTER ROLE app SET default_transaction_read_only = on; ALTER ROLE app SET statement_timeout = 200""", db="shop")
    try:
        lull.off()
        last = lull.site()["journal"]["last"]
        assert (last["done"], last["failed"], last["left"]) == (2, 1, 0)
        assert log(primary) == ["first", "last"]
        text = lull.cli("journal", "shop").stdout
        assert "57P01 made up" in text
        primary.sql("DROP TRIGGER poison ON log", db="shop")
        lull.cli("journal", "shop", "--run")
        wait_for(lambda: not lull.site()["journal"]["replaying"], "it has run")
        assert log(primary) == ["first", "last", "poison"]
    finally:
        primary.sql("ALTER ROLE app RESET ALL; DROP FUNCTION poison() CASCADE", db="shop")


def test_a_right_that_lull_lacks_is_waited_for_and_named(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("kept"))
    primary.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", db="shop")
    try:
        lull.admin("DELETE", "/sites/shop/maintenance")
        wait_for(lambda: "GRANT EXECUTE" in lull.site()["journal"]["problem"], "it says what it needs")
        assert log(primary) == []
    finally:
        primary.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC", db="shop")
    lull.wait_mode("read_write")
    assert log(primary) == ["kept"] and lull.site()["journal"]["last"]["failed"] == 0


def test_who_asked_for_read_only_transactions_is_not_journaled(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query("SET default_transaction_read_only = on")
        assert errors(client.query(insert("x")))[0]["C"] == "25006"
    lull.off()
    assert log(primary) == []


def test_a_long_journal_is_shown_in_part_and_says_so(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        for number in range(103):
            client.query(insert(f"entry {number}."))
    text = lull.cli("journal", "shop").stdout
    assert "entry 99." in text and "entry 100." not in text and "and 3 more" in text
    assert len(json.loads(lull.cli("journal", "shop", "--json").stdout)["entries"]) == 103


@pytest.mark.parametrize("where", ["header", "length", "entry"])
def test_a_damaged_journal_is_left_as_it_is(make, primary, where):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("one"))
        client.query(insert("two"))
    lull.kill9()
    path = f"{lull.state_dir}/journal-shop.log"
    with open(path, "r+b") as file:
        file.seek({"header": 5, "length": 8 + 3, "entry": 60}[where])
        file.write(b"\x7f")
    with open(path, "rb") as file:
        before = file.read()
    lull.start()
    lull.wait_mode("sealed")
    assert "mv " in lull.site()["journal"]["problem"]
    with lull.wire() as client:
        assert errors(client.query(insert("three")))[0]["C"] == "25006"
    lull.off()
    assert "lull reload" in lull.cli("status", "shop").stdout
    with open(path, "rb") as file:
        assert file.read() == before
    assert log(primary) == []
    os.rename(path, path + ".damaged")
    lull.cli("reload")
    assert lull.site()["journal"]["problem"] == ""
    lull.on()
    with lull.wire() as client:
        assert tags(client.query(insert("four"))) == ["INSERT 0 1"]
    lull.off()
    assert log(primary) == ["four"]


def test_a_verifier_is_enough_to_replay(make, primary):
    """Lull knows no password of this user: the keys of its login do."""
    lull = make()
    lull.on()
    with lull.wire(user="verifier_user") as client:
        assert tags(client.query(insert("by keys"))) == ["INSERT 0 1"]
    lull.kill9()
    lull.start()
    lull.wait_mode("sealed")
    lull.admin("DELETE", "/sites/shop/maintenance")
    wait_for(lambda: "verifier_user" in lull.site()["journal"]["problem"], "it says what it waits for")
    with lull.wire(user="verifier_user"):
        lull.wait_mode("read_write")
    assert log(primary) == ["by keys"]


def test_the_primary_dies_amid_the_replay(make, primary, cluster):
    lull = make()
    lull.on()
    with lull.wire() as client:
        for number in range(200):
            client.send(query(insert(str(number))))
        client.until("Z", 200)
    lull.admin("DELETE", "/sites/shop/maintenance")
    wait_for(lambda: len(log(primary)) >= 30, "some have run")
    import signal
    primary.restart(signal.SIGQUIT)
    lull.wait_mode("read_write", timeout=40)
    assert log(primary) == [str(number) for number in range(200)]


def test_held_writes_go_after_the_journal_and_at_a_pace(make_lull, primary):
    lull = make_lull({"sites": {"held": {"hold": {"release_per_second": 20},
                                         "write_rules": [{"applications": ["j"], "action": "journal"}]}}})
    lull.on("held")
    clients = [lull.wire("held") for _ in range(30)]
    for number, client in enumerate(clients):
        client.send(query(insert(f"held {number}")))
    wait_for(lambda: lull.site("held")["held"]["count"] == 30, "all are held")
    with lull.wire("held", application_name="j") as client:
        client.query(insert("kept"))
    lull.off("held")
    started = time.monotonic()
    for client in clients:
        assert tags(client.until("Z")) == ["INSERT 0 1"]
        client.close()
    assert 1.0 < time.monotonic() - started < 5
    assert primary.one("SELECT who FROM log ORDER BY id LIMIT 1", db="held") == "kept"


def test_notify_and_listen_pass(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as listener, lull.wire() as sender, primary.connect("shop") as outside:
        outside.execute("LISTEN c")
        assert tags(listener.query("LISTEN c")) == ["LISTEN"]
        assert tags(sender.query("NOTIFY c, 'hello'")) == ["NOTIFY"]
        assert tags(sender.ask(parse("", "NOTIFY c, 'again'"), bind(), execute(), sync())) == ["NOTIFY"]
        assert listener.until("A")[-1].type == "A"
        heard = outside.notifies()
        assert [next(heard).payload, next(heard).payload] == ["hello", "again"]
        heard.close()
        assert errors(sender.query("NOTIFY c; INSERT INTO log (who) VALUES ('x')"))[0]["C"] == "25006"
        assert errors(sender.query("SELECT pg_notify('c', 'x')"))[0]["C"] == "25006"
        sender.query("BEGIN")
        assert errors(sender.query("NOTIFY c"))[0]["C"] == "25006"
        sender.query("ROLLBACK")
        # Who listens can still not write.
        assert errors(listener.query("UPDATE items SET n = 1"))[0]["C"] == "25006"
        lull.off()
        outside.execute("NOTIFY c, 'open'")
        assert listener.until("A")[-1].type == "A", "it listens beyond the window"


def test_pgbench_with_a_journal(make_lull, primary):
    from harness import bench
    from harness.cluster import APP_PASSWORD
    primary.sql("CREATE TABLE IF NOT EXISTS ticks (n int); TRUNCATE ticks; GRANT ALL ON ticks TO app", db="bench")
    lull = make_lull({"sites": {"bench": {"cluster": "main", "databases": ["bench"], "writes": "journal"}}})
    script = os.path.join(lull.folder, "script.sql")
    with open(script, "w") as out:
        out.write("INSERT INTO ticks VALUES (1);\n")
    running = bench.start(lull.port, APP_PASSWORD, "-M", "prepared", "-f", script, "-c", "4", "-j", "2", "-t", "300")
    wait_for(lambda: primary.one("SELECT count(*) FROM ticks", db="bench") > 50, "it writes")
    lull.on("bench")
    frozen = primary.one("SELECT count(*) FROM ticks", db="bench")
    wait_for(lambda: lull.site("bench")["journaled"] > 20, "its writes are journaled")
    assert primary.one("SELECT count(*) FROM ticks", db="bench") == frozen
    lull.off("bench")
    result = bench.finish(running)
    assert result.clean and result.done == 1200, result.text
    assert primary.one("SELECT count(*) FROM ticks", db="bench") == 1200
    primary.sql("DROP TABLE ticks", db="bench")


def test_rules_choose_by_user_application_statement_and_table(make, primary):
    """One rule for each selector and each action; a selector that did not count would give another answer."""
    lull = make(rules=[
        {"statements": ["notify"], "action": "pass"},
        {"users": ["verifier_*"], "statements": ["insert"], "action": "journal"},
        {"users": ["verifier_*"], "action": "refuse"},
        {"applications": ["batch*"], "statements": ["update"], "action": "discard"},
        {"applications": ["batch*"], "tables": ["public.log"], "action": "journal"},
        {"statements": ["delete"], "tables": ["log"], "action": "hold"},
    ])
    lull.on()

    def fate(client, sql):
        """What becomes of it, as the site's own counts say."""
        names = ("refused", "discarded", "journaled", "passed")
        before = {name: lull.site()[name] for name in names}
        held = lull.site()["held"]["count"]
        client.send(query(sql))
        wait_for(lambda: any(lull.site()[n] != before[n] for n in names) or lull.site()["held"]["count"] != held, sql)
        after = lull.site()
        return [n for n in names if after[n] != before[n]] + (["held"] if after["held"]["count"] != held else [])

    plain = lull.wire()
    batch = lull.wire(application_name="batch 7")
    other = lull.wire(user="verifier_user")
    assert fate(plain, "NOTIFY c") == ["passed"]
    assert fate(other, insert("theirs")) == ["journaled"]
    assert fate(other, "UPDATE log SET who = 'x'") == ["refused"]
    assert fate(plain, insert("x")) == ["refused"], "not of that user, nor of that application"
    assert fate(batch, "UPDATE items SET n = 1") == ["discarded"]
    assert fate(batch, "INSERT INTO public.log (who) VALUES ('batch')") == ["journaled"]
    assert fate(batch, insert("x")) == ["refused"], "which schema a bare name means only the server knows"
    assert fate(batch, "INSERT INTO items VALUES (99)") == ["refused"], "another table"
    assert fate(plain, "DELETE FROM items") == ["refused"]
    assert fate(plain, "DELETE FROM log WHERE who = 'nobody'") == ["held"]
    lull.off()
    assert tags(plain.until("C")) and sorted(log(primary)) == ["batch", "theirs"]
    assert primary.one("SELECT sum(n) FROM items", db="shop") == 0
    for client in (plain, batch, other):
        client.close()


def test_what_could_never_be_run_is_not_journaled(make, primary):
    lull = make()
    with lull.wire() as client:
        primary.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", db="shop")
        try:
            lull.on()
            refused = wait_for(lambda: lull.site()["journal"]["refused"], "it is found out at entering")
            assert len(refused) == 1 and "writes of app in shop" in refused[0]
            assert "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system()" in refused[0]
            assert "NOT journaled" in lull.cli("status", "shop").stdout and "is journaled, because" in lull.log()
            assert errors(client.query(insert("x")))[0]["C"] == "25006"
            # A role that nobody had seen when the site was closed.
            with lull.wire(user="verifier_user") as other:
                assert errors(other.query(insert("x")))[0]["C"] == "25006"
            assert len(lull.site()["journal"]["refused"]) == 2
        finally:
            primary.sql("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC", db="shop")
        wait_for(lambda: tags(client.query(insert("kept"))) == ["INSERT 0 1"], "the right is there and is seen")
        lull.off()
    assert log(primary) == ["kept"]


def test_the_rights_of_a_role_that_is_taken_by_set_role_are_looked_at(make, primary):
    """The replay takes it, too, and then asks as that role what it has to."""
    lull = make()
    primary.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC; GRANT EXECUTE ON FUNCTION pg_control_system() TO app; "
                "GRANT INSERT ON log TO helper_role; GRANT USAGE ON SEQUENCE log_id_seq TO helper_role", db="shop")
    try:
        lull.on()
        with lull.wire() as client:
            assert tags(client.query(insert("as app"))) == ["INSERT 0 1"]
            assert tags(client.query("SET ROLE helper_role")) == ["SET"]
            assert errors(client.query(insert("x")))[0]["C"] == "25006"
            refused = lull.site()["journal"]["refused"]
            assert len(refused) == 1 and "writes of app (SET" in refused[0] and "helper_role" in refused[0], refused
            assert "GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO helper_role" in refused[0], refused
            assert tags(client.query("RESET ROLE")) == ["RESET"]
            assert tags(client.query(insert("as app"))) == ["INSERT 0 1"]
        lull.off()
        assert log(primary) == ["as app"] * 2 and lull.site()["journal"]["last"]["failed"] == 0
    finally:
        primary.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM app; GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC",
                    db="shop")


def test_a_role_that_can_no_longer_log_in_does_not_stop_the_others(make, primary):
    lull = make({"replay_timeout": "5s"})
    lull.on()
    with lull.wire() as client, lull.wire(user="verifier_user") as other:
        other.query(insert("gone"))
        client.query(insert("stays"))
    primary.sql("ALTER ROLE verifier_user NOLOGIN")
    try:
        lull.off()
        last = lull.site()["journal"]["last"]
        assert (last["done"], last["failed"], last["left"]) == (1, 1, 0) and log(primary) == ["stays"]
        assert "28000" in lull.cli("journal", "shop").stdout
    finally:
        primary.sql("ALTER ROLE verifier_user LOGIN")
    lull.cli("journal", "shop", "--run")
    wait_for(lambda: log(primary) == ["stays", "gone"], "it is run when that is put right")


def test_operators_and_types_of_the_session_are_not_taken_for_the_servers(make, primary):
    """What the replay asks is not found by the search_path of whoever wrote."""
    primary.sql("""CREATE SCHEMA sly; GRANT USAGE ON SCHEMA sly TO app;
        CREATE FUNCTION sly.cat(bigint, text) RETURNS text LANGUAGE sql AS $$SELECT 'elsewhere'$$;
        CREATE FUNCTION sly.cat(text, text) RETURNS text LANGUAGE sql AS $$SELECT 'elsewhere'$$;
        CREATE FUNCTION sly.no(text, text) RETURNS bool LANGUAGE sql AS $$SELECT 1/0 = 1$$;
        CREATE OPERATOR sly.|| (FUNCTION = sly.cat, LEFTARG = bigint, RIGHTARG = text);
        CREATE OPERATOR sly.|| (FUNCTION = sly.cat, LEFTARG = text, RIGHTARG = text);
        CREATE OPERATOR sly.= (FUNCTION = sly.no, LEFTARG = text, RIGHTARG = text);
        CREATE DOMAIN sly.text AS pg_catalog.text CHECK (false)""", db="shop")
    try:
        lull = make()
        with lull.wire() as client:
            client.query("SET search_path = sly, pg_catalog, public")
            lull.on()
            assert tags(client.query("INSERT INTO log (who) VALUES ('straight')")) == ["INSERT 0 1"]
            lull.off()
        assert log(primary) == ["straight"] and lull.site()["journal"]["last"]["done"] == 1
    finally:
        primary.sql("DROP SCHEMA sly CASCADE", db="shop")


def test_the_journal_of_a_site_that_is_gone_is_shouted_about(make, primary):
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("orphan"))
    lull.kill9()
    os.rename(f"{lull.state_dir}/journal-shop.log", f"{lull.state_dir}/journal-gone.log")
    lull.start()
    assert "1 journaled writes of site \"gone\"" in lull.log()
    status = lull.cli("status").stdout
    assert "JOURNALED WRITES THAT NOBODY RUNS: 1 of site gone" in status and "journal-gone.log" in status
    shown = lull.cli("journal", "gone").stdout
    assert "not configured" in shown and "VALUES ('orphan')" in shown
    missing = lull.cli("journal", "never", check=False)
    assert missing.returncode != 0 and "no site" in missing.stderr
    lull.off()
    assert log(primary) == []


def test_a_transaction_timeout_of_the_role_does_not_end_the_replay(make, primary):
    if primary.one("SELECT current_setting('transaction_timeout', true)", db="shop") is None:
        pytest.skip("this server has no transaction_timeout (before 17)")
    lull = make()
    lull.on()
    with lull.wire() as client:
        client.query(insert("slow"))
    primary.sql("""CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.5); RETURN new; END$$;
        CREATE TRIGGER slow BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION slow();
        ALTER ROLE app SET transaction_timeout = 100""", db="shop")
    try:
        lull.off()
        assert log(primary) == ["slow"]
    finally:
        primary.sql("ALTER ROLE app RESET ALL; DROP FUNCTION slow() CASCADE", db="shop")
