"""lastval() and currval() in transaction pooling: no client is told what nextval() has said to another, and clients of a user
who asks keep what is theirs."""
import os
import random
import subprocess
import threading
import time

import pytest

from harness import cluster as c
from harness.lull import ONE
from harness.wire import bind, errors, execute, parse, query, rows, sync, tags

TWO = {"workers": 1, "clusters": {"main": {"pool_size": 2}}}


@pytest.fixture
def orders(cluster, tables):
    cluster.primary.sql("DROP TABLE IF EXISTS orders, plain, lines; CREATE TABLE orders (id serial, who text); "
                        "CREATE TABLE lines (id serial, who text); CREATE TABLE plain (who text); "
                        "ALTER TABLE orders OWNER TO app; ALTER TABLE lines OWNER TO app; ALTER TABLE plain OWNER TO app", db="shop")
    cluster.catch_up()
    yield cluster.primary
    cluster.primary.sql("DROP TABLE orders, lines, plain", db="shop")


def insert(client, who):
    answer = client.query(f"INSERT INTO orders (who) VALUES ('{who}')")
    assert tags(answer) == ["INSERT 0 1"], answer


def failed(answer):
    return errors(answer)[0]["C"] if errors(answer) else None


def last_of(primary, who):
    return str(primary.one("SELECT max(id) FROM orders WHERE who = %s", (who,), db="shop"))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("ask", ["SELECT lastval()", "SELECT currval('orders_id_seq')", "SELECT pg_catalog.lastval() AS id"])
def test_nobody_is_told_anothers(make_lull, orders, ask, extended):
    lull = make_lull(ONE)
    with lull.wire() as a, lull.wire() as b:
        say = (lambda client: client.extended(ask)) if extended else (lambda client: client.query(ask))
        insert(a, "a")
        insert(b, "b")
        first = errors(say(a))[0]
        assert first["C"] == "55000" and "not yet defined in this session" in first["M"] and "RETURNING" in first["H"], first
        insert(b, "b")  # nobody waits for the server longer than for a second
        assert rows(say(b)) == [(last_of(orders, "b"),)]
        insert(a, "a")
        insert(b, "b")
        assert rows(say(b)) == [(last_of(orders, "b"),)]
    with lull.wire() as never:
        assert failed(say(never)) == "55000"


def test_the_first_that_writes_is_told(make_lull, orders):
    lull = make_lull(TWO)
    with lull.wire() as a, lull.wire() as reader:
        insert(a, "a")
        assert reader.one("SELECT count(*) FROM orders WHERE who = 'a' AND pg_backend_pid() > 0") == "1"
        assert a.one("SELECT lastval()") == last_of(orders, "a")
        a.query("UPDATE plain SET who = who")
        assert a.one("SELECT lastval()") == last_of(orders, "a")
        assert a.one("SELECT currval('orders_id_seq')") == last_of(orders, "a")


def test_within_the_transaction(make_lull, orders):
    lull = make_lull(ONE)
    with lull.wire() as a, lull.wire() as b:
        for turn, ask in enumerate(["SELECT lastval()", "SELECT currval('orders_id_seq')"] * 2):
            insert(b, "b")
            a.query("BEGIN")
            insert(a, "a")
            value = a.one(ask)
            a.query("COMMIT")
            assert value == last_of(orders, "a")
            a.query("BEGIN")
            a.query("UPDATE plain SET who = who")
            answer = a.query(ask)
            assert failed(answer) == "55000" or rows(answer) == [(value,)], "never what it has said to another"
            a.query("ROLLBACK")
        # (It has asked behind a transaction, and keeps its server now.)
        assert rows(a.query("INSERT INTO orders (who) VALUES ('a'); SELECT lastval()")) == [(last_of(orders, "a"),)]
        a.query("DISCARD SEQUENCES")
        assert failed(a.query("SELECT lastval()")) == "55000"


def test_another_sequence_of_the_transaction_is_no_proof(make_lull, orders):
    lull = make_lull(ONE)
    with lull.wire() as a, lull.wire() as b:
        insert(b, "b")
        a.query("BEGIN")
        a.query("INSERT INTO lines (who) VALUES ('a')")
        assert failed(a.query("SELECT currval('orders_id_seq')")) == "55000"
        a.query("ROLLBACK")


def test_in_one_segment_and_in_a_pipeline(make_lull, orders):
    lull = make_lull(ONE)
    with lull.wire() as a, lull.wire() as b:
        for turn in range(3):
            insert(b, "b")
            answer = a.ask(parse("", "INSERT INTO orders (who) VALUES ('a')"), bind("", "", []), execute(), parse("", "SELECT lastval()"),
                           bind("", "", []), execute(), sync())
            assert rows(answer) == [(last_of(orders, "a"),)]
            time.sleep(0.1)
        for turn in range(3):
            insert(b, "b")
            answer = a.ask(query("INSERT INTO orders (who) VALUES ('a')"), query("SELECT lastval()"), ready=2)
            if turn:
                assert rows(answer) == [(last_of(orders, "a"),)]


def test_what_it_is_kept_for_is_shown_and_given_up(make_lull, orders):
    lull = make_lull(dict(ONE, console={"admins": ["app"]}))
    with lull.wire() as a, lull.wire() as b, lull.connect("lull") as console:
        insert(a, "a")
        a.one("SELECT lastval()")
        insert(a, "a")
        cursor = console.execute("SHOW CLIENTS")
        at = [column.name for column in cursor.description].index("pinned_by")
        assert "sequences" in [row[at] for row in cursor.fetchall()]
        began = time.monotonic()
        insert(b, "b")  # waits for it
        assert time.monotonic() - began < 10
        assert errors(a.query("SELECT lastval()"))[0]["C"] == "55000"
        insert(a, "a")
        assert a.one("SELECT lastval()") == last_of(orders, "a")
        a.query("DISCARD ALL")
        insert(b, "b")


def test_the_site_closes(make_lull, orders):
    lull = make_lull(TWO)
    with lull.wire() as a, lull.wire() as b:
        insert(a, "a")
        a.one("SELECT lastval()")
        insert(a, "a")
        lull.on()
        assert failed(a.query("SELECT lastval()")) == "55000"
        assert a.one("SELECT count(*) FROM orders WHERE who = 'a'") == "2"
        assert failed(b.query("SELECT currval('orders_id_seq')")) == "55000"
        lull.off()
        insert(a, "a")
        assert a.one("SELECT lastval()") == last_of(orders, "a")


def test_clients_that_take_turns(make_lull, orders):
    """More clients than servers, with both protocols: each hears its own, or that there is none."""
    lull = make_lull({"workers": 2, "clusters": {"main": {"pool_size": 3}}})
    problems, told = [], [0]

    def client(number):
        try:
            if number % 2:
                connection = lull.connect2()
                cursor = connection.cursor()
                run = cursor.execute
            else:
                connection = lull.connect(prepare_threshold=1)
                run = lambda sql: connection.execute(sql)  # noqa: E731
            dice = random.Random(number)
            for turn in range(30):
                mine = None
                for _ in range(dice.randrange(1, 3)):
                    result = run(f"INSERT INTO orders (who) VALUES ('{number}') RETURNING id")
                    mine = (result or cursor).fetchone()[0]
                if dice.random() < 0.4:
                    run("UPDATE plain SET who = who")
                if dice.random() < 0.4:
                    run("SELECT count(*) FROM orders")
                try:
                    result = run("SELECT lastval()" if dice.random() < 0.5 else "SELECT currval('orders_id_seq')")
                    value = (result or cursor).fetchone()[0]
                    told[0] += 1
                    if value != mine:
                        problems.append((number, turn, value, mine))
                except Exception as error:  # noqa: BLE001
                    code = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
                    if code != "55000":
                        problems.append(repr(error))
            connection.close()
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not problems, problems[:5]
    assert told[0] > 120, "few have lost theirs"


PHP = r"""<?php
for ($n = 0; $n < 12; $n++) {
    $db = new PDO('pgsql:host=127.0.0.1;port=' . getenv('PORT') . ';dbname=shop;sslmode=disable', 'app', getenv('PASSWORD'),
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
    $insert = $db->prepare("INSERT INTO orders (who) VALUES (?) RETURNING id");
    for ($i = 0; $i < 3; $i++) {
        $insert->execute([getenv('WHO')]);
        $id = $insert->fetchColumn();
        $insert->closeCursor();
        try {
            $told = $i % 2 ? $db->lastInsertId('orders_id_seq') : $db->lastInsertId();
            if ($told != $id) { echo "told $told for $id\n"; exit(1); }
            echo "told\n";
        } catch (PDOException $e) {
            if ($e->getCode() !== '55000') throw $e;
            echo "none\n";
        }
    }
}
"""


def test_last_insert_id_of_pdo(make_lull, orders, tmp_path):
    lull = make_lull(TWO)
    program = tmp_path / "last_insert_id.php"
    program.write_text(PHP)
    running = [subprocess.Popen(["php", str(program)], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env=dict(os.environ, PORT=str(lull.port), PASSWORD=c.APP_PASSWORD, WHO=f"php{n}")) for n in range(3)]
    out = [one.communicate(timeout=50)[0].splitlines() for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], out
    lines = sum(out, [])
    assert set(lines) <= {"told", "none"} and lines.count("told") >= 100, lines.count("none")
