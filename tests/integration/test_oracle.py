"""A real PostgreSQL 15 judges the classifier: whatever it refuses in a READ ONLY transaction must have been seen as a write.

The statements and what is expected of each are in statements.sql. The server is this file's own, thrown away at the end.
`lull_classify` (tests/integration/classify.cpp) is found in the newest build folder, or named by LULL_CLASSIFY.
"""

import json
import os
import pathlib
import pwd
import re
import shutil
import socket
import subprocess
import tempfile

import pytest
from psycopg import pq

HERE = pathlib.Path(__file__).resolve().parent
BIN = pathlib.Path(os.environ.get("PG_BIN", "/usr/lib/postgresql/15/bin"))

SETUP = """
CREATE ROLE app;
CREATE SCHEMA other;
CREATE TABLE t (a int PRIMARY KEY DEFAULT 0, b text);
CREATE TABLE u (a int, b text);
INSERT INTO t VALUES (1, 'one'), (2, 'two');
INSERT INTO u VALUES (1, 'one'), (3, 'three');
CREATE INDEX t_b ON t (b);
CREATE VIEW v AS SELECT * FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT * FROM t;
CREATE TABLE part (a int) PARTITION BY LIST (a);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE SEQUENCE seq;
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TYPE composite AS (a int);
CREATE TABLE comp (c composite);
CREATE DOMAIN dom AS int;
CREATE STATISTICS st ON a, b FROM t;
CREATE PUBLICATION pub FOR TABLE t;
CREATE FOREIGN DATA WRAPPER fdw;
CREATE SERVER srv FOREIGN DATA WRAPPER fdw;
CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (99); RETURN 1; END';
CREATE FUNCTION other.writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (98); RETURN 1; END';
CREATE FUNCTION other.op(int, int) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (97); RETURN 1; END';
CREATE OPERATOR other.!!! (LEFTARG = int, RIGHTARG = int, FUNCTION = other.op);
CREATE FUNCTION row_writes(t) RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO t VALUES (96); RETURN 1; END';
CREATE AGGREGATE sum_writes(int) (SFUNC = other.op, STYPE = int, INITCOND = '0');
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE FUNCTION etf() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE PROCEDURE proc() LANGUAGE plpgsql AS 'BEGIN DELETE FROM t; END';
CREATE PROCEDURE quiet() LANGUAGE plpgsql AS 'BEGIN END';
"""
# (Not in one text with the others.)
PENDING = ("BEGIN", "CREATE TABLE pending (a int)", "PREPARE TRANSACTION 'pending'")


def as_postgres():
    return {"user": pwd.getpwnam("postgres").pw_uid, "group": pwd.getpwnam("postgres").pw_gid} if os.getuid() == 0 else {}


@pytest.fixture(scope="module")
def server():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lull-oracle-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = {"cwd": folder, "stdout": subprocess.DEVNULL, "check": True, **as_postgres()}
    subprocess.run([BIN / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], **run)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off -c max_prepared_transactions=2"
    subprocess.run([BIN / "pg_ctl", "-w", "-D", folder / "data", "-l", folder / "log", "-o", options, "start"], **run)
    conninfo = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    try:
        connection = pq.PGconn.connect(conninfo.encode())
        assert connection.exec_(SETUP.encode()).status == pq.ExecStatus.COMMAND_OK, connection.error_message
        for text in PENDING:
            assert connection.exec_(text.encode()).status == pq.ExecStatus.COMMAND_OK, connection.error_message
        connection.finish()
        yield conninfo
    finally:
        subprocess.run([BIN / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"], **run)
        shutil.rmtree(folder)


def find_classifier():
    named = os.environ.get("LULL_CLASSIFY")
    if named:
        return pathlib.Path(named)
    built = list((HERE.parent.parent / "build").glob("*/tests/integration/lull_classify"))
    assert built, "build lull_classify, or name it in LULL_CLASSIFY"
    return max(built, key=lambda path: path.stat().st_mtime)


def corpus():
    section, statements = None, []
    for line in (HERE / "statements.sql").read_text().splitlines():
        if line.startswith("--: "):
            section = line[4:]
        elif line and not (section is None and line.startswith("--")):
            statements.append((section, line))
    return statements


@pytest.fixture(scope="module")
def verdicts():
    texts = [text for _, text in corpus()]
    answer = subprocess.run([find_classifier()], input="\n".join(texts) + "\n", capture_output=True, text=True, check=True)
    lines = answer.stdout.splitlines()
    assert len(lines) == len(texts)
    return [json.loads(line) for line in lines]


class Refusal:
    """What became of one statement on the server."""

    def __init__(self, sqlstate, message):
        self.sqlstate, self.message = sqlstate, message
        self.tags = set()  # of what completed

    @property
    def command(self):
        found = re.fullmatch(r"cannot execute (.+) in a read-only transaction", self.message)
        return found and found.group(1)


def run(connection, text):
    connection.send_query(text.encode())
    outcome, tags = Refusal("", ""), set()
    while (result := connection.get_result()) is not None:
        if result.command_status:
            tags.add(re.sub(r"( \d+)+$", "", result.command_status.decode()))
        if result.status == pq.ExecStatus.COPY_IN:
            connection.put_copy_end(b"the server took it")
            outcome = Refusal("copy", "the server takes data")
        elif result.status == pq.ExecStatus.COPY_OUT:
            while connection.get_copy_data(0)[0] > 0:
                pass
        elif result.status == pq.ExecStatus.FATAL_ERROR and not outcome.sqlstate:
            sqlstate = result.error_field(pq.DiagnosticField.SQLSTATE) or b"?????"
            message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or connection.error_message
            outcome = Refusal(sqlstate.decode(), message.decode())
    outcome.tags = tags
    return outcome


def ask(server, text):
    """In a READ ONLY block; outside of one, in a session that is read-only by default, where a block is what is refused."""
    connection = pq.PGconn.connect(server.encode())
    try:
        run(connection, "PREPARE p AS SELECT 1; PREPARE w AS INSERT INTO t VALUES (95); SET statement_timeout = '5s'")
        run(connection, "BEGIN READ ONLY")
        run(connection, "DECLARE k CURSOR FOR SELECT 1")
        outcome = run(connection, text)
        if outcome.sqlstate != "25001":
            return outcome
    finally:
        connection.finish()
    connection = pq.PGconn.connect((server + " options='-c default_transaction_read_only=on'").encode())
    try:
        return run(connection, text)
    finally:
        connection.finish()


@pytest.fixture(scope="module")
def answers(server):
    """What the server makes of each statement of the corpus."""
    return [ask(server, text) for _, text in corpus()]


def test_corpus_is_large_and_every_statement_is_classified(verdicts):
    assert len(verdicts) >= 400
    kinds = {statement["kind"] for verdict in verdicts for statement in verdict["statements"]}
    assert len(kinds) >= 27, sorted(kinds)


def test_every_command_of_the_server_is_in_the_corpus(verdicts, server):
    """The tags of PostgreSQL's own help, as psql lists them."""
    listing = subprocess.run([BIN / "psql", server, "-X", "-c", "\\h"], capture_output=True, text=True, check=True).stdout
    commands = set(re.findall(r"(?:(?<=\s)|^)([A-Z]+(?: [A-Z]+)*)(?=\s|$)", listing, re.M))
    texts = [re.sub(r"\s+", " ", text.upper()) for _, text in corpus()]
    # Written otherwise: CREATE TABLE n AS, SELECT ... INTO; and two columns of the listing that have one blank between them.
    otherwise = {"CREATE TABLE AS", "SELECT INTO", "CREATE TEXT SEARCH CONFIGURATION TABLE"}
    missing = [c for c in commands - otherwise if not any(c in text for text in texts)]
    assert len(commands) > 150 and not missing, missing


# Tags that PostgreSQL 15 has in its list and no statement for.
NO_STATEMENT = {"???", "ALTER ACCESS METHOD", "ALTER CAST", "ALTER CONSTRAINT", "ALTER TRANSFORM", "CLOSE", "CREATE CONSTRAINT",
                "CREATE ROUTINE", "DISCARD", "DROP CONSTRAINT"}
# EXECUTE says the tag of what it executes.
SAYS_ANOTHER = {"EXECUTE"}


def test_every_command_tag_of_the_server_was_seen(server, answers):
    """cmdtaglist.h has a tag for whatever PostgreSQL can run. For each the server itself has said, in a refusal or at the end of
    a statement of the corpus, that this is what it was: no kind of statement is missing."""
    folder = subprocess.run(["pg_config", "--includedir-server"], capture_output=True, text=True, check=True).stdout.strip()
    listing = pathlib.Path(folder, "tcop", "cmdtaglist.h").read_text()
    tags = set(re.findall(r'PG_CMDTAG\(\w+, "([^"]+)"', listing))
    assert len(tags) > 180
    seen = set().union(*(answer.tags for answer in answers), {answer.command for answer in answers})
    assert not tags - seen - NO_STATEMENT - SAYS_ANOTHER, "no statement of the corpus is one of these"
    assert {"nextval()", "setval()"} <= seen, "functions that refuse by themselves"
    connection = pq.PGconn.connect(server.encode())
    for tag in NO_STATEMENT:
        for text in (tag, f"{tag} x y"):
            assert run(connection, text).sqlstate == "42601", f"there is a statement {text}"
    connection.finish()
    assert all(any(text.startswith(tag) for _, text in corpus()) for tag in SAYS_ANOTHER)


def test_the_server_agrees(answers, verdicts):
    wrong = []

    def expect(fact, *what):
        if not fact:
            wrong.append(what)

    for (section, text), verdict, outcome in zip(corpus(), verdicts, answers):
        access = verdict["access"]
        refused = outcome.sqlstate == "25006"
        # The one rule that matters, whatever the section says.
        expect(not refused or access in ("write", "unknown"), "REFUSED BUT NOT A WRITE", text, access, outcome.message)
        if section == "refused":
            command = next((s["command"] for s in verdict["statements"] if s["access"] == "write"), None)
            expect(refused, "the server did not refuse", text, outcome.sqlstate, outcome.message)
            expect(access == "write", "no write", text, access)
            expect(command == outcome.command, "the command", text, command, outcome.command)
        elif section == "hidden":
            expect(refused, "the server did not refuse", text, outcome.sqlstate, outcome.message)
            expect(access in ("write", "unknown"), "no write", text, access)
        elif section == "escapes":
            expect(not refused, "the server refused: it belongs to `refused`", text, outcome.message)
            expect(access in ("write", "unknown"), "no write", text, access)
        elif section == "reads":
            expect(not outcome.sqlstate, "the server did not run it", text, outcome.sqlstate, outcome.message)
            expect(access == "read", "no read", text, access, verdict["function"])
        else:
            expect(section == "session" and access == "session", "not of the session", text, access)
    assert not wrong, "\n".join(" | ".join(map(str, what)) for what in wrong)
