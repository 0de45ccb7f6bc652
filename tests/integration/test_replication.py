"""Replication connections, passed to the primary's walsender: PostgreSQL's own programs through Lull, what they cost, and what becomes of
them when the site closes. A server of its own, because logical decoding needs another wal_level."""
import os
import re
import subprocess
import time

import pytest

from harness.certificates import Authority
from harness.cluster import Cluster
from harness.lull import Lull
from harness.postgres import BIN
from harness.process import die_with_parent, stopped
from harness.wait import wait_for
from harness.wire import Wire, errors, query, rows

PASSWORD = "streamer-secret"
ALL = "host all all 127.0.0.1/32 scram-sha-256"
ALLOWED = ["host replication streamer 127.0.0.1/32 scram-sha-256", ALL]


@pytest.fixture(scope="module")
def source():
    one = Cluster(alone=True)
    try:
        one.start()
        one.primary.sql(f"CREATE ROLE streamer LOGIN REPLICATION PASSWORD '{PASSWORD}'; GRANT app TO streamer")
        for setting in ("wal_level = 'logical'", "wal_retrieve_retry_interval = '200ms'"):
            one.primary.sql(f"ALTER SYSTEM SET {setting}")
        one.primary.restart()
        one.reset("shop", "held")
        yield one
    finally:
        one.remove()


@pytest.fixture
def started(source):
    source.reset("shop")
    made = []

    def start(hba=ALLOWED, **change):
        base = {"users": {"streamer": {"password": PASSWORD}}, "console": {"stats": ["app"]}, "hba": hba}
        made.append(Lull(source, {**base, **change}, replicas=False).start())
        return made[-1]

    yield start
    for one in made:
        one.remove()


def streamer(lull, replication="database", port=None, dbname="shop"):
    return Wire("127.0.0.1", port or lull.port).login("streamer", PASSWORD, dbname, replication=replication)


def run(lull, program, *arguments, port=None, **options):
    """One of PostgreSQL's programs, to its end."""
    done = subprocess.run([f"{BIN}/{program}", *arguments], capture_output=True, text=True, timeout=60,
                          env=dict(os.environ, **where(port or lull.port)), **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def where(port):
    return {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "streamer", "PGPASSWORD": PASSWORD, "PGSSLMODE": "prefer"}


def begin(lull, program, *arguments):
    return subprocess.Popen([f"{BIN}/{program}", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            preexec_fn=die_with_parent(), env=dict(os.environ, **where(lull.port)))


def walsenders(source):
    return source.primary.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender'")


def refused(call):
    with pytest.raises(RuntimeError) as error:
        call()
    return error.value.args[0]


def test_refused_unless_a_rule_names_it(started):
    lull = started([ALL])
    fields = refused(lambda: streamer(lull))
    assert (fields["S"], fields["C"]) == ("FATAL", "0A000") and "hba for the database replication" in fields["H"]
    assert "no pg_hba.conf entry" in refused(lambda: streamer(lull, "true"))["M"]
    lull.remove()
    lull = started(None)
    for kind in ("database", "true"):
        assert refused(lambda: streamer(lull, kind))["C"] == "0A000"
    assert refused(lambda: streamer(lull, "bananas"))["C"] == "22023"
    # Whether it is allowed is not told to those who cannot log in.
    assert refused(lambda: Wire("127.0.0.1", lull.port).login("streamer", "wrong", "shop", replication="true"))["C"] == "28P01"


def test_options_do_not_say_anew_whose_session_it_is(started, source):
    """PostgreSQL takes the last of what its startup packet says: while the site of `shop` is sealed, this one of `held` would write there."""
    lull = started()
    lull.on()
    for options in ("-c database=shop", "--database=shop", "-c replication=false", "-c user=postgres", "-c _pq_.x=1", "-c DataBase=shop"):
        fields = refused(lambda: Wire("127.0.0.1", lull.port).login("streamer", PASSWORD, "held", replication="database", options=options))
        assert fields["C"] == "42704" and "unrecognized configuration parameter" in fields["M"], fields
    with Wire("127.0.0.1", lull.port).login("streamer", PASSWORD, "held", replication="database", options="-c work_mem=3MB") as client:
        assert client.one("SELECT current_database() || current_setting('work_mem')") == "held3MB"
    lull.off()


def test_refused_at_the_migration_port(started):
    lull = started(sites={"shop": {"migration": {"users": ["streamer"]}}})
    fields = refused(lambda: streamer(lull, port=lull.migration_port))
    assert fields["C"] == "0A000" and "migration port" in fields["H"]


def test_identify_system(started, source):
    lull = started()
    sql = ["-X", "-At", "-c", "IDENTIFY_SYSTEM"]
    for target in ("dbname=shop replication=database", "dbname=shop replication=true", "dbname=replication replication=true"):
        through = run(lull, "psql", target, *sql).split("|")
        direct = run(lull, "psql", target, *sql, port=source.primary.port).split("|")
        assert (through[0], through[1], through[3]) == (direct[0], direct[1], direct[3])
    # One of a database understands SQL, too; with the parameters of its client.
    with streamer(lull) as client:
        assert client.one("SHOW application_name") == "" and client.parameters["server_version"].startswith("15")
    with Wire("127.0.0.1", lull.port).login("streamer", PASSWORD, "shop", replication="database", application_name="me",
                                            options="-c work_mem=3MB") as client:
        assert client.one("SHOW application_name") == "me" and client.one("SHOW work_mem") == "3MB"
        assert [row["state"] for row in console_clients(lull)] == ["replication"]
    # Whom the rule lets in the server may still refuse.
    lull = started([ALL.replace("all all", "replication all"), ALL])
    assert refused(lambda: Wire("127.0.0.1", lull.port).login("app", "app-secret", "shop", replication="true"))["C"] == "42501"


def test_a_physical_one_belongs_to_all_sites_of_its_server(started):
    lull = started()
    with streamer(lull, "true", dbname="replication") as client, streamer(lull) as other:
        lull.on("held")
        assert [error["C"] for error in errors(client.until_closed())] == ["57P01"]
        assert other.one("SELECT 1") == "1"
        assert "held" in refused(lambda: streamer(lull, "true", dbname="replication"))["D"]
        lull.off("held")
    far = {"clusters": {"far": {"primary": "127.0.0.1:1"}}, "sites": {"far": {"cluster": "far", "databases": ["far"]}}}
    lull = started(**far)
    assert "Name a database" in refused(lambda: streamer(lull, "true", dbname="replication"))["H"]
    streamer(lull, "true", dbname="shop").close()


def test_it_counts_among_the_clients_of_its_user_and_can_be_killed(started):
    lull = started(limits={"max_clients_per_user": 2}, console={"admins": ["app"]})
    first, second = streamer(lull), streamer(lull, "true")
    assert refused(lambda: streamer(lull))["C"] == "53300"
    first.send(query("SELECT pg_sleep(60)"))
    with lull.connect(dbname="lull", user="app", autocommit=True) as console:
        console.execute("KILL shop", prepare=False)
    for one in (first, second):
        assert errors(one.until_closed())[-1]["C"] == "57P01"
    streamer(lull).close()


def test_it_ends_with_the_proxy(started):
    lull = started()
    client = streamer(lull)
    lull.process.terminate()
    assert [error["C"] for error in errors(client.until_closed())] == ["57P01"]
    assert lull.process.wait(10) == 0
    lull.process = None


def console_clients(lull):
    with lull.connect(dbname="lull", user="app", autocommit=True) as console:
        cursor = console.execute("SHOW CLIENTS", prepare=False)
        names = [column.name for column in cursor.description]
        return [row for row in (dict(zip(names, values)) for values in cursor) if row["user"] == "streamer"]


def test_base_backup_while_the_log_streams(started, source, tmp_path):
    """Two connections at once, and COPY of some 40 MB."""
    lull = started()
    run(lull, "pg_basebackup", "-D", str(tmp_path / "backup"), "-X", "stream", "-c", "fast", "--no-sync")
    assert (tmp_path / "backup" / "PG_VERSION").read_text().strip() == "15"
    run(lull, "pg_verifybackup", str(tmp_path / "backup"))
    wait_for(lambda: not walsenders(source), "nobody is left on the server")


def test_receivewal_is_cut_when_the_site_closes(started, source, tmp_path):
    lull = started()
    program = begin(lull, "pg_receivewal", "-D", str(tmp_path), "--no-sync", "--no-loop", "-v")
    # Not only connected: it asks from where to stream, and would not get what has been written by then.
    wait_for(lambda: source.primary.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), "it streams")
    source.primary.sql("CREATE TABLE t (a int); SELECT pg_switch_wal()", db="shop")
    wait_for(lambda: [name for name in os.listdir(tmp_path) if re.fullmatch("[0-9A-F]{24}", name)], "a whole segment has come")
    lull.on()
    assert program.wait(10) != 0
    fields = refused(lambda: streamer(lull, "true"))
    assert (fields["C"], "read-only for maintenance" in fields["D"]) == ("57P03", True)
    wait_for(lambda: not walsenders(source), "nobody is left on the server")
    lull.off()
    streamer(lull, "true").close()


def test_a_write_over_a_replication_connection_is_waited_for(started, source):
    """It is cut at once, but the server does not know that yet."""
    lull = started()
    client = streamer(lull)
    client.send(query("INSERT INTO log (who) SELECT 'late' FROM pg_sleep(2)"))
    wait_for(lambda: source.primary.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO log%%late%%' AND state = 'active' "
                                        "AND backend_type = 'walsender'"), "it runs")
    lull.on()
    assert [error["C"] for error in errors(client.until_closed())] == ["57P01"]
    assert not walsenders(source), "the site is sealed, and a backend that could write is still there"
    before = source.primary.one("SELECT count(*) FROM log", db="shop")
    assert lull.cli("verify", "shop", check=False).returncode in (0, 4)
    assert source.primary.one("SELECT count(*) FROM log", db="shop") == before
    lull.off()


def test_a_physical_one_is_waited_for_by_each_site_of_its_server(started, source):
    """It makes and drops slots; and a server process that is stopped has not noticed that it is cut."""
    lull = started()
    with streamer(lull, "true", dbname="replication") as client:
        assert not errors(client.query("IDENTIFY_SYSTEM"))
        [(pid,)] = walsenders(source)
        with stopped(pid):
            client.send(query("CREATE_REPLICATION_SLOT late PHYSICAL"))
            time.sleep(0.2)  # until it has passed through Lull, which nobody outside can see
            for site in ("held", "shop"):
                lull.begin(site)
                wait_for(lambda: str(pid) in str(lull.site(site)["suspects"]), "it is waited for")
                assert lull.site(site)["mode"] == "draining"
    for site in ("held", "shop"):
        lull.wait_mode("sealed", site)
    assert not walsenders(source)
    source.primary.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    lull.open_all()


def test_one_past_lull_that_writes_is_seen(started, source):
    """The server's walsenders run SQL, too."""
    lull = started()
    with Wire("127.0.0.1", source.primary.port).login("streamer", PASSWORD, "shop", replication="database") as outsider:
        lull.on()
        outsider.query("BEGIN")
        outsider.query("INSERT INTO log (who) VALUES ('outsider')")
        wait_for(lambda: "streamer@shop" in str(lull.site()["outsiders"]), "it is seen at work")
        outsider.query("ROLLBACK")
    lull.off()


def test_logical_decoding(started, source, tmp_path):
    lull = started()
    run(lull, "pg_recvlogical", "-d", "shop", "-S", "slot", "--create-slot", "-P", "test_decoding")
    output = tmp_path / "changes"
    program = begin(lull, "pg_recvlogical", "-d", "shop", "-S", "slot", "--start", "-f", str(output), "--no-loop", "-F", "1", "-s", "1")
    try:
        with lull.connect() as client:
            client.execute("INSERT INTO log (who, what) VALUES ('decoded', repeat('x', 100000))")
        wait_for(lambda: "decoded" in output.read_text() and "COMMIT" in output.read_text(), "the change has come")
    finally:
        program.terminate()
        program.wait(10)
    run(lull, "pg_recvlogical", "-d", "shop", "-S", "slot", "--drop-slot")
    assert source.primary.sql("SELECT slot_name FROM pg_replication_slots") == []


def test_a_subscription_goes_on_behind_a_window(started, source):
    """Of another database of the same server: its slot has to be made before, or the two would wait for one another."""
    lull = started()
    primary = source.primary
    published, subscribed = dict(db="shop"), dict(db="held")
    primary.sql("CREATE PUBLICATION logs FOR TABLE log", **published)
    primary.sql("SELECT pg_create_logical_replication_slot('logs', 'pgoutput')", **published)
    primary.sql(f"CREATE SUBSCRIPTION logs CONNECTION 'host=127.0.0.1 port={lull.port} user=streamer password={PASSWORD} dbname=shop' "
                "PUBLICATION logs WITH (slot_name = logs, create_slot = false)", **subscribed)

    def arrives(what):
        with lull.connect() as client:
            client.execute("INSERT INTO log (who) VALUES (%s)", (what,))
        # The server begins a worker again no sooner than 5 s after the last, also where that found the site closed.
        wait_for(lambda: primary.sql("SELECT 1 FROM log WHERE who = %s", (what,), **subscribed), f"{what} has come", 40)

    try:
        arrives("first")
        # PostgreSQL's own first copy of a table is not taken up again where it was cut behind its end: its slot is gone by then.
        wait_for(lambda: primary.sql("SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel", **subscribed)[0][0],
                 "the table has been copied")
        lull.on()
        assert not walsenders(source)
        lull.off()
        arrives("second")
    finally:
        for sql in ("ALTER SUBSCRIPTION logs DISABLE", "ALTER SUBSCRIPTION logs SET (slot_name = NONE)", "DROP SUBSCRIPTION logs"):
            primary.sql(sql, **subscribed)
        wait_for(lambda: not walsenders(source), "nobody is left on the server")
        primary.sql("DROP PUBLICATION logs; SELECT pg_drop_replication_slot('logs')", **published)


def test_a_client_that_does_not_read_costs_no_memory(started, source):
    lull = started()

    def resident():
        with open(f"/proc/{lull.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

    before = resident()
    client = streamer(lull, "true")
    client.send(query("BASE_BACKUP (CHECKPOINT 'fast', WAIT false)"))
    wait_for(lambda: source.primary.sql("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'walsender' AND wait_event = 'WalSenderWriteData' "
                                        "OR backend_type = 'walsender' AND wait_event = 'ClientWrite'"), "the server waits for its client")
    assert resident() - before < 10
    client.cancel()
    seen = client.until("ZE")
    assert errors(seen)[0]["C"] == "57014" and len(seen) > 10
    client.close()
    wait_for(lambda: not walsenders(source), "nobody is left on the server")


def test_a_server_that_cannot_be_reached(started, source):
    lull = started()
    source.primary.stop()
    try:
        fields = refused(lambda: streamer(lull, "true"))
        assert fields["S"] == "FATAL" and fields["C"] == "08001"
    finally:
        source.primary.start()


@pytest.mark.parametrize("least, encrypted", [("TLSv1.2", "t"), ("TLSv1.3", "f")])
def test_goes_on_in_plain_text_where_the_handshake_fails_and_tls_is_only_preferred(source, started, tmp_path, least, encrypted):
    certificate = Authority(tmp_path).issue("db", ["127.0.0.1"])
    primary = source.primary
    primary.take_file(certificate.certificate, "server.crt")
    primary.take_file(certificate.key, "server.key")
    try:
        for setting in ("ssl = on", "ssl_max_protocol_version = 'TLSv1.2'"):
            primary.sql(f"ALTER SYSTEM SET {setting}")
        primary.restart()
        lull = started(clusters={"main": {"tls": {"mode": "prefer", "min_version": least}}})
        with streamer(lull) as wire:
            assert rows(wire.query("IDENTIFY_SYSTEM"))
            assert primary.sql("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE backend_type = 'walsender'") == [(encrypted == "t",)]
        assert ("only preferred" in lull.log()) == (encrypted == "f")
    finally:
        for setting in ("ssl", "ssl_max_protocol_version"):
            primary.sql(f"ALTER SYSTEM RESET {setting}")
        primary.restart()
