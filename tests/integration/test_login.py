"""Logging in: who may, with what, and what those see who may not. PostgreSQL itself is the yardstick: where a test
compares, the same bytes are said to it and to Lull."""
import os
import struct
import threading
import time

import psycopg
import psycopg2
import pytest

from harness.cluster import APP_PASSWORD
from harness.wait import wait_for
from harness.wire import Wire, cstr, errors, gssenc_request, message, parameters, query, shape, ssl_request, startup


def refused(wire, user, password, dbname="shop", **more):
    """The error fields of a login that must fail."""
    with pytest.raises(RuntimeError) as caught:
        wire.login(user, password, dbname, **more)
    fields = caught.value.args[0]
    wire.close()
    return {key: fields[key] for key in "SVCM" if key in fields}


@pytest.fixture
def direct(primary):
    return lambda: Wire("127.0.0.1", primary.port)


# -- who gets in ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user, kind", [("app", "plain text in the configuration"), ("verifier_user", "a SCRAM verifier"),
                                        ("query_user", "auth_query")])
def test_scram(lull, user, kind):
    with lull.connect(user=user) as connection:
        assert connection.execute("SELECT current_user, session_user").fetchone() == (user, user)
        # A write goes to the primary, a read may go to the standby: both servers were logged in to.
        connection.execute("INSERT INTO log (who, what) VALUES (%s, %s)", (user, kind))
        assert connection.execute("SELECT count(*) FROM log WHERE who = %s", (user,)).fetchone() == (1,)
    with lull.connect2(user=user) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")
            assert cursor.fetchone() == (user,)


def test_keys_from_auth_query_serve_on_a_fresh_server_connection(lull, primary, standby):
    """Nobody gave Lull this user's password: it logs in to both servers with the keys of the client's own login."""
    with lull.connect(user="query_user") as connection:
        connection.execute("SELECT count(*) FROM items")
        connection.execute("UPDATE items SET n = 1 WHERE id = 1")
        for server in (primary, standby):
            server.sql("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'query_user'")
        # The idle server connections are gone; the next statement needs new ones.
        wait_for(lambda: connection.execute("UPDATE items SET n = 2 WHERE id = 1").rowcount == 1,
                 "a new server connection is made with the same keys")


def test_trust(make_lull):
    lull = make_lull({"auth": "trust", "users": {"trusty": {}}})
    with lull.connect(user="trusty") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("trusty",)
    # Lull trusts, the server does not: the password of the configuration opens it.
    with lull.connect(user="app", password="wrong, and nobody asks") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)


def test_server_password_differs_from_the_clients(make_lull):
    lull = make_lull({"users": {"app": {"password": "for-lull-only", "server_password": APP_PASSWORD}}})
    with lull.connect(password="for-lull-only") as connection:
        connection.execute("UPDATE items SET n = 1 WHERE id = 1")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        lull.connect(password=APP_PASSWORD)


def test_password_file(make_lull, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(APP_PASSWORD + "\n")
    secret.chmod(0o600)
    lull = make_lull({"users": {"app": {"password": None, "password_file": str(secret)}}})
    with lull.connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)


def test_many_at_once(lull):
    problems = []

    def one(i):
        try:
            with lull.connect(user=("app", "verifier_user", "query_user")[i % 3]) as connection:
                assert connection.execute("SELECT %s::int", (i,)).fetchone() == (i,)
        except Exception as error:  # noqa: BLE001
            problems.append(repr(error))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(60)]
    [t.start() for t in threads]
    [t.join(30) for t in threads]
    assert not problems


# -- what a session is told when it has logged in -----------------------------------------------------------------------

def test_parameter_statuses_are_the_servers(lull, direct):
    wanted = direct().login("app", APP_PASSWORD, "shop", application_name="told")
    got = lull.wire(application_name="told")
    assert parameters(got.login_messages) == parameters(wanted.login_messages)
    assert shape(got.login_messages).replace("S", "") == shape(wanted.login_messages).replace("S", "")
    assert got.login_messages[-1].body == b"I"
    assert got.pid and got.secret


def test_cancel_keys_differ(lull):
    clients = [lull.wire() for _ in range(20)]
    assert len({(c.pid, c.secret) for c in clients}) == 20
    assert len({c.pid for c in clients}) == 20
    assert len({c.secret for c in clients}) == 20


def test_startup_options(lull):
    wire = lull.wire(options="-c statement_timeout=12345 -c search_path=other_schema --work-mem=3MB -cDateStyle=German",
                     application_name="an app", TimeZone="Asia/Tokyo", extra_float_digits="2")
    shown = {name: wire.one(f"SHOW {name}") for name in
             ("statement_timeout", "search_path", "work_mem", "DateStyle", "application_name", "TimeZone", "extra_float_digits")}
    assert shown == {"statement_timeout": "12345ms", "search_path": "other_schema", "work_mem": "3MB",
                     "DateStyle": "German, DMY", "application_name": "an app", "TimeZone": "Asia/Tokyo",
                     "extra_float_digits": "2"}
    assert wire.parameters["TimeZone"] == "Asia/Tokyo" and wire.parameters["DateStyle"] == "German, DMY"
    # RESET goes back to what the startup message said, not to the server's default.
    wire.query("SET TimeZone = 'UTC'")
    wire.query("RESET TimeZone")
    assert wire.one("SHOW TimeZone") == "Asia/Tokyo"
    # And the next client on the same servers sees nothing of it.
    assert lull.wire().one("SHOW statement_timeout") == "0"


@pytest.mark.parametrize("more, code", [
    ({"options": "-c no_such_thing=1"}, "42704"),
    ({"no_such_thing": "1"}, "42704"),
    ({"options": "-c work_mem=bananas"}, "22023"),
    ({"client_encoding": "klingon"}, "22023"),
    ({"options": "-c shared_buffers=1GB"}, "55P02"),
])
def test_startup_options_that_the_server_refuses(lull, direct, more, code):
    wanted = refused(direct(), "app", APP_PASSWORD, **more)
    assert wanted["C"] == code
    got = refused(lull.raw(), "app", APP_PASSWORD, **more)
    assert (got["S"], got["C"]) == (wanted["S"], code)
    assert lull.wire().one("SELECT 1") == "1"


def test_database_is_the_users_name_unless_told(lull, direct):
    for wire in (direct(), lull.raw()):
        wire.send(startup({"user": "app"}))
        with pytest.raises(RuntimeError) as caught:
            wire.authenticate("app", APP_PASSWORD)
            wire.login_messages += wire.until("ZE")
            raise RuntimeError(errors(wire.login_messages)[0])
        assert (caught.value.args[0]["C"], caught.value.args[0]["M"]) == ("3D000", 'database "app" does not exist')


# -- who does not -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("user", ["app", "verifier_user", "query_user"])
def test_wrong_password(lull, direct, user):
    wanted = refused(direct(), user, "wrong")
    assert wanted["C"] == "28P01"
    assert refused(lull.raw(), user, "wrong") == wanted


def test_wrong_password_through_the_drivers(lull):
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "app"'):
        lull.connect(password="wrong")
    with pytest.raises(psycopg2.OperationalError, match='password authentication failed for user "app"'):
        lull.connect2(password="wrong")


def failed_attempt(lull, name):
    wire = lull.raw()
    wire.send(startup({"user": name, "database": "shop"}))
    try:
        wire.authenticate(name, "wrong")
    except RuntimeError as error:
        return wire.login_messages, error.args[0]
    raise AssertionError("the login must fail")


def server_first(messages):
    """Salt, iterations and how long the nonce is."""
    text = next(m.body[4:] for m in messages if struct.unpack_from("!i", m.body)[0] == 11).decode()
    fields = dict(part.split("=", 1) for part in text.split(","))
    return fields["s"], fields["i"], len(fields["r"])


@pytest.mark.parametrize("user", ["nobody_at_all", "nologin_user"])
def test_unknown_user_cannot_be_told_from_a_wrong_password(lull, user):
    """Same messages, same words, a salt that stays: nothing tells a stranger whether the user exists."""

    def attempt(name):
        return failed_attempt(lull, name)

    known, known_error = attempt("app")
    unknown, unknown_error = attempt(user)
    assert shape(unknown) == shape(known)
    assert [m.body[:4] for m in unknown if m.type == "R"] == [m.body[:4] for m in known if m.type == "R"]
    assert {k: v.replace(user, "app") for k, v in unknown_error.items()} == known_error
    assert len(server_first(unknown)[0]) == len(server_first(known)[0])
    assert server_first(unknown)[1:] == server_first(known)[1:]
    assert server_first(attempt(user)[0])[0] == server_first(unknown)[0], "a salt that changes gives it away"
    assert server_first(attempt("somebody_else")[0])[0] != server_first(unknown)[0]


def test_the_salt_of_an_unknown_user_outlives_the_process(make_lull):
    """One that auth_query knows keeps his."""
    lull = make_lull(replicas=False)
    before = {user: server_first(failed_attempt(lull, user)[0])[0] for user in ("nobody_at_all", "query_user", "app")}
    lull.stop()
    lull.start()
    assert {user: server_first(failed_attempt(lull, user)[0])[0] for user in before} == before
    secret = os.path.join(lull.state_dir, "login_secret")
    assert os.stat(secret).st_mode & 0o777 == 0o600 and os.path.getsize(secret) == 32


def test_refused_logins_are_told_to_the_operator(make_lull):
    lull = make_lull(replicas=False)
    for _ in range(60):
        failed_attempt(lull, "app")
    wait_for(lambda: 'as "app" to "shop" refused: password authentication failed' in lull.log(), "the log names it", 5)
    assert "login from 127.0.0.1" in lull.log()
    assert "wrong" not in lull.log(), "what was tried is not shown"
    assert lull.log().count(" refused: ") <= 60


def test_unknown_database(lull, direct):
    wanted = refused(direct(), "app", APP_PASSWORD, "nope")
    assert wanted["C"] == "3D000"
    assert refused(lull.raw(), "app", APP_PASSWORD, "nope") == wanted
    # And only to those who may know: who cannot log in is not told which databases exist.
    assert refused(lull.raw(), "app", "wrong", "nope")["C"] == "28P01"


def test_a_database_of_no_site_is_not_served(lull):
    """It exists on the server, but the configuration does not speak of it."""
    fields = refused(lull.raw(), "app", APP_PASSWORD, "postgres")
    assert fields["C"] == "3D000"


def test_replication_is_refused(lull):
    fields = refused(lull.raw(), "app", APP_PASSWORD, replication="database")
    assert fields["S"] == "FATAL" and fields["C"] in ("0A000", "28000", "42501")


def test_user_that_the_server_refuses(make_lull):
    """Lull knows the user, the server does not: the client is told in the server's words, and it is not the end of Lull."""
    lull = make_lull({"users": {"ghost": {"password": "boo"}}})
    wire = lull.raw()
    try:
        wire.login("ghost", "boo", "shop")
        fields = errors(wire.query("SELECT 1"))[0]
    except RuntimeError as error:
        fields = error.args[0]
    assert fields["C"] in ("28P01", "28000", "08006", "08001", "08004"), fields
    assert lull.wire().one("SELECT 1") == "1"


# -- the first packets --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("request_", [ssl_request, gssenc_request])
def test_encryption_is_answered_with_no(lull, request_):
    wire = lull.raw()
    wire.send(request_())
    assert wire.byte() == b"N"
    wire.login("app", APP_PASSWORD, "shop")
    assert wire.one("SELECT 1") == "1"


def test_both_encryptions_one_after_the_other(lull):
    wire = lull.raw()
    wire.send(gssenc_request())
    assert wire.byte() == b"N"
    wire.send(ssl_request())
    assert wire.byte() == b"N"
    wire.login("app", APP_PASSWORD, "shop")
    assert wire.one("SELECT 1") == "1"


def test_libpq_prefers_and_requires_encryption(lull):
    with lull.connect(sslmode="prefer") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="SSL"):
        lull.connect(sslmode="require")


def test_startup_byte_by_byte(lull):
    wire = lull.raw()
    for byte in ssl_request():
        wire.send(bytes([byte]))
    assert wire.byte() == b"N"
    for byte in startup({"user": "app", "database": "shop"}):
        wire.send(bytes([byte]))
    wire.authenticate("app", APP_PASSWORD)
    assert wire.until("Z")[-1].body == b"I"


def test_protocol_2_is_refused_with_postgresqls_words(lull, direct):
    for wire, newest in ((direct(), b"3.0"), (lull.raw(), b"3.2")):  # the server is PostgreSQL 15
        wire.send(startup({"user": "app"}, version=(2, 0)))
        seen = b""
        while data := wire.socket.recv(4096):
            seen += data
        # PostgreSQL answers in the form of the old protocol; a proxy may do that or use today's.
        assert seen[:1] == b"E" and b"unsupported frontend protocol 2.0: server supports 3.0 to " + newest in seen


@pytest.mark.parametrize("version, extra", [((3, 1), {}), ((3, 0), {"_pq_.something": "1"})])
def test_minor_versions_and_extensions_are_negotiated_as_by_the_server(lull, direct, version, extra):
    answers = []
    for wire in (direct(), lull.raw()):
        wire.send(startup(dict({"user": "app", "database": "shop"}, **extra), version=version))
        answers.append(wire.receive())
    assert answers[0].type == "v"
    assert answers[1] == answers[0]


@pytest.mark.parametrize("version, extra, negotiated", [((3, 2), {}, None), ((3, 9), {}, []), ((3, 2), {"_pq_.x": "y"}, ["_pq_.x"])])
def test_protocol_3_2_has_longer_cancel_keys(lull, version, extra, negotiated):
    """As PostgreSQL 18 has them, whatever the servers are: a cancel key is Lull's own."""
    wire = lull.raw()
    wire.send(startup(dict({"user": "app", "database": "shop"}, **extra), version=version))
    if negotiated is not None:
        told = wire.receive()
        assert told.type == "v" and struct.unpack_from("!hhi", told.body) == (3, 2, len(negotiated))
        assert told.body[8:] == b"".join(cstr(name) for name in negotiated)
    wire.authenticate("app", APP_PASSWORD)
    key = next(m.body for m in wire.until("Z") if m.type == "K")
    wire.pid, wire.secret = struct.unpack_from("!I", key)[0], key[4:]
    assert len(wire.secret) == 32
    wire.send(query("SELECT pg_sleep(20)"))
    assert wire.quiet(0.3)
    wire.cancel()
    assert errors(wire.until("Z"))[0]["C"] == "57014"


def test_no_user_name(lull, direct):
    answers = []
    for wire in (direct(), lull.raw()):
        wire.send(startup({"database": "shop"}))
        fields = errors(wire.until_closed())[0]
        answers.append((fields["S"], fields["C"], fields["M"]))
    assert answers[1] == answers[0]
    assert answers[0][1] == "28000"


@pytest.mark.parametrize("packet", [
    struct.pack("!ii", 9, 196608) + b"x",                      # no terminator
    struct.pack("!ii", 8, 196608),                             # nothing at all
    struct.pack("!ii", 20, 196608) + b"user\0app\0xxx",        # garbage where the terminator should be
    struct.pack("!i", 3) + b"abc",                             # shorter than its own length
    struct.pack("!i", 2 ** 31 - 1) + b"abcdefgh",              # longer than anybody may ask for
    struct.pack("!i", -5) + b"abcdefgh",
    struct.pack("!ihh", 8, 1234, 9999),                        # a special request that nobody knows
    struct.pack("!ihh", 12, 1234, 5678) + b"abcd",             # a cancel request that is too short
    b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,  # TLS without asking
    b"\0" * 64,
])
def test_bad_first_packet_ends_that_connection_only(lull, packet):
    with lull.wire() as bystander:
        wire = lull.raw()
        wire.send(packet)
        seen = wire.until_closed()
        assert shape(seen) in ("", "E"), "an error or nothing, then the end"
        assert bystander.one("SELECT 1") == "1"


def test_garbage_in_the_middle_of_scram(lull):
    for first in (message("p", b"\xff" * 100), message("p", b""), message("Q", cstr("SELECT 1")), message("p", cstr("SCRAM-SHA-256")),
                  message("p", cstr("SCRAM-SHA-512") + struct.pack("!i", 4) + b"n,,x"),
                  message("p", cstr("SCRAM-SHA-256") + struct.pack("!i", 2 ** 30) + b"n,,"),
                  message("p", cstr("SCRAM-SHA-256") + struct.pack("!i", 14) + b"n,,n=,r=\0\0\0\0abc"[:14])):
        wire = lull.raw()
        wire.send(startup({"user": "app", "database": "shop"}))
        assert wire.receive().type == "R"
        wire.send(first)
        seen = wire.until_closed()
        assert shape(seen) in ("E", ""), (first, seen)
    assert lull.wire().one("SELECT 1") == "1"


def test_a_huge_password_message_is_not_believed(lull):
    wire = lull.raw()
    wire.send(startup({"user": "app", "database": "shop"}))
    assert wire.receive().type == "R"
    wire.send(b"p" + struct.pack("!i", 500_000_000))
    assert shape(wire.until_closed()) in ("E", "")


def test_login_timeout(make_lull):
    lull = make_lull({"limits": {"login_timeout": "300ms"}})
    silent, half = lull.raw(), lull.raw()
    half.send(startup({"user": "app", "database": "shop"}))
    for wire in (silent, half):
        wire.socket.settimeout(5)
        wire.until_closed()  # it is closed, or this runs into the socket's own timeout
    assert lull.wire().one("SELECT 1") == "1"


def test_statements_are_not_taken_before_the_login(lull):
    wire = lull.raw()
    wire.send(startup({"user": "app", "database": "shop"}), message("Q", cstr("INSERT INTO log (who) VALUES ('nobody')")))
    wire.until_closed()
    assert lull.wire().one("SELECT count(*) FROM log") == "0"


# -- the migration port ---------------------------------------------------------------------------------------------------

def test_migration_port_admits_its_users_only(lull):
    with lull.migration() as connection:
        assert connection.execute("SELECT current_user, pg_is_in_recovery()").fetchone() == ("shop_owner", False)
    with pytest.raises(RuntimeError) as caught:
        lull.wire(user="app", port=lull.migration_port)
    fields = caught.value.args[0]
    assert fields["S"] == "FATAL" and fields["C"] in ("28000", "42501")
    assert "app" in fields["M"]


def test_limit_of_clients(make_lull):
    lull = make_lull({"limits": {"max_clients": 3}})
    clients = [lull.wire() for _ in range(3)]
    with pytest.raises(RuntimeError) as caught:
        lull.wire()
    assert caught.value.args[0]["C"] == "53300"
    # It is told so where PostgreSQL would tell it: libpq asks for encryption first.
    with lull.raw() as one_more:
        one_more.send(ssl_request())
        assert one_more.socket.recv(1) == b"N"
        one_more.send(startup({"user": "app", "database": "shop"}))
        assert [errors([m])[0]["C"] for m in one_more.until_closed()] == ["53300"]
    # And who is in can still be canceled.
    clients[0].send(query("SELECT pg_sleep(60)"))
    time.sleep(0.3)
    clients[0].cancel()
    assert errors(clients[0].until("Z"))[0]["C"] == "57014"
    clients.pop().close()
    wait_for(lambda: lull.wire(), "a place is free again")
