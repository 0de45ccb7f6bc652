"""A schema change while clients have prepared statements: whoever has been told the columns of one never gets others for
them without a word, on whichever server it runs ("cached plan must not change result type")."""
import pytest

from harness.wire import bind, close, describe, errors, execute, message, parse, rows, statuses, sync


def columns(answer):
    """How many each RowDescription and DataRow has."""
    return [int.from_bytes(m.body[:2], "big") for m in answer if m.type in "TD"]


def test_who_asks_for_its_columns_does_not_notice_a_schema_change(one, primary):
    look = "SELECT * FROM log"
    write = "INSERT INTO log (who) VALUES ('once') RETURNING *"
    primary.sql("INSERT INTO log (who) VALUES ('a row')", db="shop")
    one.cluster.catch_up()
    with one.wire() as a, one.wire() as other, one.connect(prepare_threshold=0) as psycopg3:
        a.ask(parse("s", look), parse("w", write), sync())
        for turn in range(3):
            for name in "sw":
                answer = a.ask(bind("", name), describe("P"), execute(), sync())
                assert not errors(answer) and set(columns(answer)) == {3 + turn}, (turn, name, answer)
                assert statuses(answer) == "I"
            assert len(psycopg3.execute(look).fetchone()) == 3 + turn
            primary.sql(f"ALTER TABLE log ADD COLUMN more{turn} int", db="shop")
            one.cluster.catch_up()
        assert columns(a.ask(describe("S", "s"), sync())) == [6]
        assert other.one("SELECT count(*) FROM log WHERE who = 'once'") == "3", "each ran once"


def test_who_does_not_or_is_in_a_block_is_told(one, primary):
    """The rows would be misread by who knows the columns of before. Behind the error a client prepares anew."""
    with one.wire() as a:
        a.ask(parse("s", "SELECT * FROM log"), sync())
        a.query("INSERT INTO log (who) VALUES ('a row')")
        assert not errors(a.ask(bind("", "s"), execute(), sync()))
        one.cluster.catch_up()
        primary.sql("ALTER TABLE log ADD COLUMN more int", db="shop")
        one.cluster.catch_up()
        answer = a.ask(bind("", "s"), execute(), sync())
        assert errors(answer)[0]["C"] == "0A000" and statuses(answer) == "I"
        assert errors(a.ask(bind("", "s", (), (0, 0, 0)), describe("P"), execute(), sync()))[0]["C"] == "0A000"
        a.query("BEGIN READ ONLY")
        a.query("SELECT 1")
        answer = a.ask(bind("", "s"), describe("P"), execute(), sync())
        assert errors(answer)[0]["C"] == "0A000" and statuses(answer) == "E"
        a.query("ROLLBACK")
        assert set(columns(a.ask(parse("", "SELECT * FROM log"), bind(), describe("P"), execute(), sync()))) == {4}


def test_who_prepares_what_others_have_is_told_of_a_schema_change_once_at_most(one, primary):
    """What servers have of that text is not used again, whoever has had it prepared."""
    look = "SELECT * FROM log"
    with one.wire() as a:
        a.ask(parse("s", look), describe("S", "s"), sync())
        a.query("INSERT INTO log (who) VALUES ('a row')")
        one.cluster.catch_up()
        primary.sql("ALTER TABLE log ADD COLUMN more int", db="shop")
        one.cluster.catch_up()
        with one.wire() as b:
            refused = [bool(errors(b.ask(parse(f"p{turn}", look), describe("S", f"p{turn}"), sync()))) for turn in range(4)]
            assert refused.count(True) <= 1 and not refused[-1], refused
            assert set(columns(b.ask(bind("", "p3"), execute(), sync()))) == {4}


ADDED = "ALTER TABLE log ADD COLUMN more int"
OTHER_TYPE = "ALTER TABLE log DROP COLUMN what; ALTER TABLE log ADD COLUMN what int DEFAULT 7"
OTHER_NAME = "ALTER TABLE log RENAME COLUMN what TO was; ALTER TABLE log ADD COLUMN what text DEFAULT 'another'"


@pytest.mark.parametrize("change", [ADDED, OTHER_TYPE, OTHER_NAME])
@pytest.mark.parametrize("by", ["statement", "portal"])
def test_who_was_told_the_columns_on_another_server_is_told(make_lull, primary, change, by):
    """As asyncpg, postgres.js and JDBC do: they ask for the columns once, and then only execute."""
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 3}}}, replicas=False)
    primary.sql("INSERT INTO log (who, what) VALUES ('a row', 'of before')", db="shop")
    with lull.wire() as a, lull.wire() as other:
        if by == "statement":
            a.ask(parse("s", "SELECT * FROM log"), describe("S", "s"), sync())
        else:
            a.ask(parse("s", "SELECT * FROM log"), bind("", "s"), describe("P"), execute(), sync())
        run = [bind("", "s"), execute(), sync()]
        before = rows(a.ask(*run))
        other.query("BEGIN")
        other.query("SELECT 1")  # and has the server that the client has had so far
        assert rows(a.ask(*run)) == before, "from another server, as before"
        primary.sql(change, db="shop")
        with lull.wire() as third:
            third.query("BEGIN")
            third.query("SELECT 1")
            for _ in range(2):
                answer = a.ask(*run)
                assert errors(answer)[0]["C"] == "0A000" and errors(answer)[0]["R"] == "RevalidateCachedQuery", answer
                assert rows(answer) == [] and statuses(answer) == "I"
            answer = a.ask(parse("again", "SELECT * FROM log"), describe("S", "again"), bind("", "again"), execute(), sync())
            assert not errors(answer) and rows(answer) != []


@pytest.mark.parametrize("later", ["named", "unnamed"])
def test_each_name_of_a_text_has_the_columns_that_were_told_by_it(make_lull, primary, later):
    """What is told of the same text by another name, or by none, is of that."""
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}}, replicas=False)
    text = "SELECT * FROM log"
    with lull.wire() as a, lull.wire() as other:
        a.ask(parse("first", text), describe("S", "first"), sync())
        other.query("BEGIN")
        other.query("SELECT 1")
        primary.sql("INSERT INTO log (who) VALUES ('of the table')", db="shop")
        primary.sql(ADDED, db="shop")
        name = "second" if later == "named" else ""
        told = a.ask(parse(name, text), bind("", name), describe("P"), execute(), sync())
        assert set(columns(told)) == {4}
        answer = a.ask(bind("", "first"), execute(), sync())
        assert errors(answer)[0]["C"] == "0A000" and rows(answer) == [], answer
        again = a.ask(bind("", name), execute(), sync())
        assert not errors(again) and columns(again) == [4], again


@pytest.mark.parametrize("also", ["of nobody", "of another client", "of its own"])
def test_the_unnamed_statement_has_the_columns_that_were_told_on_whichever_server_it_is_bound(make_lull, primary, also):
    """Also where that server's unnamed statement is the same text, parsed since. A new Parse is a new one."""
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}}, replicas=False)
    text = "SELECT * FROM log"
    primary.sql("INSERT INTO log (who) VALUES ('a row')", db="shop")
    with lull.wire() as a, lull.wire() as holder, lull.wire() as another:
        assert columns(a.ask(parse("", text), describe("S", ""), sync())) == [3]
        assert not errors(a.ask(bind(), execute(), sync()))
        holder.query("BEGIN")
        holder.query("SELECT 1")  # on the server that a had
        if also == "of its own":
            assert columns(a.ask(bind(), execute(), sync())) == [3], "nothing has changed"
        primary.sql(ADDED, db="shop")
        if also == "of another client":
            assert columns(another.ask(parse("", text), describe("S", ""), bind(), execute(), sync())) == [4, 4]
        answer = a.ask(bind(), execute(), sync())
        assert errors(answer)[0]["C"] == "0A000" and rows(answer) == [], answer
        if also == "of its own":
            assert columns(a.ask(parse("", text), describe("S", ""), sync())) == [4]
            assert columns(a.ask(bind(), execute(), sync())) == [4]
        assert set(columns(a.ask(parse("", text), bind(), describe("P"), execute(), sync()))) == {4}
        again = a.ask(bind(), execute(), sync())
        assert not errors(again) and columns(again) == [4], again


def test_what_writes_has_not_run_where_its_columns_have_changed(make_lull, primary):
    lull = make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}}, replicas=False)
    with lull.wire() as a, lull.wire() as other:
        a.ask(parse("w", "INSERT INTO log (who) VALUES ('returned') RETURNING *"), describe("S", "w"), sync())
        other.query("BEGIN")
        other.query("SELECT 1")
        primary.sql("ALTER TABLE log ADD COLUMN more int", db="shop")
        assert errors(a.ask(bind("", "w"), execute(), sync()))[0]["C"] == "0A000"
        assert other.one("SELECT count(*) FROM log") == "0"
        assert not errors(a.ask(bind("", "w"), describe("P"), execute(), sync())), "who asks for them gets those of now"
        assert other.one("SELECT count(*) FROM log") == "1"


BINARY = b"\0w\0" + b"\0\1\0\1" + b"\0\1" + b"\0\0\0\x04" + (7).to_bytes(4, "big") + b"\0\0"


@pytest.fixture
def measured(make_lull, primary):
    """A table of int4, and a Lull with two servers."""
    primary.sql("CREATE TABLE measured (n int4); GRANT ALL ON measured TO app", db="shop")
    return make_lull({"workers": 1, "clusters": {"main": {"pool_size": 2}}}, replicas=False)


def test_a_binary_parameter_is_never_taken_for_another_type(measured, primary):
    """Seven as int4 is another number as float4."""
    with measured.wire() as a, measured.wire() as other:
        a.ask(parse("w", "INSERT INTO measured VALUES ($1)"), describe("S", "w"), sync())
        other.query("BEGIN")
        other.query("SELECT 1")
        primary.sql("ALTER TABLE measured ALTER COLUMN n TYPE float4", db="shop")
        assert errors(a.ask(message("B", BINARY), execute(), sync()))[0]["C"] == "0A000"
        assert other.one("SELECT count(*) FROM measured") == "0"
        assert not errors(a.ask(bind("", "w", ["7"]), execute(), sync())), "as text it is the same number"
        assert other.one("SELECT n FROM measured") == "7"


def test_what_a_server_had_from_before_is_not_taken_for_what_was_told(measured, primary):
    """It was only prepared there, and described elsewhere, as of another type."""
    with measured.wire() as a, measured.wire() as b:
        a.ask(parse("w", "INSERT INTO measured VALUES ($1)"), sync())
        a.query("BEGIN")
        a.query("SELECT 1")  # has the server that has it
        primary.sql("ALTER TABLE measured ALTER COLUMN n TYPE float4", db="shop")
        b.ask(parse("w", "INSERT INTO measured VALUES ($1)"), describe("S", "w"), sync())
        b.query("BEGIN")
        b.query("SELECT 1")
        a.query("COMMIT")
        with measured.wire() as c:
            c.query("BEGIN")
            c.query("SELECT 1")
            b.query("COMMIT")
            c.query("COMMIT")
        a.query("BEGIN")
        a.query("SELECT 1")
        b.ask(message("B", BINARY), execute(), sync())
        a.query("COMMIT")
        assert a.one("SELECT count(*) FROM measured WHERE n > 1") == "0"


def test_who_comes_after_a_window_prepares_by_what_is_there_then(measured, primary):
    """Whatever who was there before holds on to."""
    texts = ["SELECT n FROM measured WHERE n = $1", "INSERT INTO measured VALUES ($1)", "DELETE FROM measured WHERE n = $1"]
    with measured.wire() as old:
        for number, text in enumerate(texts):
            old.ask(parse(f"s{number}", text), describe("S", f"s{number}"), sync())
        measured.on()
        primary.sql("ALTER TABLE measured ALTER COLUMN n TYPE text", db="shop")
        measured.off()
        for number in range(3):
            old.ask(bind("", f"s{number}", ["7"]), execute(), sync())
        for _ in range(2):
            with measured.wire() as new:
                for number, text in enumerate(texts):
                    answer = new.ask(parse(f"s{number}", text), describe("S", f"s{number}"), sync())
                    assert not errors(answer), answer
                    types = next(m.body for m in answer if m.type == "t")
                    assert int.from_bytes(types[2:], "big") == 25, text
                    assert not errors(new.ask(bind("", f"s{number}", ["a word"]), execute(), sync()))


def test_what_sql_has_prepared_is_what_it_was(measured, primary):
    with measured.wire() as a:
        a.query("PREPARE foo AS SELECT * FROM measured")
        a.ask(describe("S", "foo"), sync())
        run = [bind("", "foo"), describe("P"), execute(), sync()]
        assert not errors(a.ask(*run))
        primary.sql("ALTER TABLE measured ADD COLUMN more int; INSERT INTO measured VALUES (1, 2)", db="shop")
        for _ in range(2):
            assert [e["C"] for e in errors(a.ask(*run))] in ([], ["0A000"])
            assert [e["C"] for e in errors(a.query("EXECUTE foo"))] in ([], ["0A000"])


def test_a_cursor_of_another_query_has_its_own_columns(one):
    with one.wire() as a:
        a.query("BEGIN")
        a.query("DECLARE c CURSOR FOR SELECT 1 AS x")
        a.ask(parse("f", "FETCH 1 FROM c"), bind("", "f"), describe("P"), execute(), sync())
        a.query("CLOSE c")
        a.query("DECLARE c CURSOR FOR SELECT 'a' AS y, 2 AS z")
        answer = a.ask(bind("", "f"), execute(), sync())
        assert not errors(answer) and columns(answer) == [2]


def test_a_segment_that_names_another_statement_does_not_come_again_for_ever(measured, primary):
    with measured.wire() as a:
        a.ask(parse("s", "SELECT * FROM measured"), describe("S", "s"), sync())
        primary.sql("ALTER TABLE measured ADD COLUMN more int", db="shop")
        answer = a.ask(describe("S", "s"), close("S", "s"), parse("s", "SELECT 1"), sync())
        assert [e["C"] for e in errors(answer)] == ["0A000"] and statuses(answer) == "I"
