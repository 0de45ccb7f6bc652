"""TLS between Lull and its servers: each mode against servers that can and cannot, and servers that are not who they should
be. The control connections (libpq's) go the same way."""
import os
import threading
import time

import psycopg
import pytest

from harness.certificates import Authority
from harness.gate import Gate
from harness.wait import wait_for
from harness.wire import errors, query

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
CANCEL_CODE = bytes.fromhex("04d2162e")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("server-ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other-server-ca"), "Another CA")


class Servers:
    """Turns TLS of both servers on and off while they run."""

    def __init__(self, cluster, ca):
        self.each, self.ca = (cluster.primary, cluster.standby), ca
        self.hba = open(os.path.join(cluster.primary.data, "pg_hba.conf")).read()

    def use(self, certificate, hba=None):
        for server in self.each:
            for source, name in ((certificate.certificate, "server.crt"), (certificate.key, "server.key"), (self.ca, "root.crt")):
                server.take_file(source, name)
            server._write("pg_hba.conf", hba or self.hba)
            server.sql("ALTER SYSTEM SET ssl = on")
            server.sql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'")
            self.reload(server, "on")

    def off(self):
        for server in self.each:
            server._write("pg_hba.conf", self.hba)
            server.sql("ALTER SYSTEM RESET ssl")
            server.sql("ALTER SYSTEM RESET ssl_ca_file")
            self.reload(server, "off")

    @staticmethod
    def reload(server, ssl):
        server.sql("SELECT pg_reload_conf()")
        wait_for(lambda: server.one("SELECT setting FROM pg_settings WHERE name = 'ssl'") == ssl, f"ssl is {ssl}")
        # pg_settings of one session does not say that the postmaster has read the files.
        time.sleep(0.1)


@pytest.fixture(scope="module")
def servers(cluster, authority):
    one = Servers(cluster, authority.ca)
    yield one
    one.off()


@pytest.fixture
def with_tls(make_lull, servers):
    """Lull with TLS to servers that have this certificate (None: that have none)."""

    def make(theirs, hba=None, start=True, **tls):
        servers.use(theirs, hba) if theirs else servers.off()
        return make_lull({"clusters": {"main": {"tls": tls} if tls else {}}}, start=start)

    return make


def encrypted(connection):
    """Whether the server connection of this session's next transaction is."""
    return connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()[0]


def control_encrypted(server):
    return server.one("SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) "
                      "WHERE a.application_name = 'lull control'")


@pytest.fixture(scope="module")
def good(authority):
    return authority.issue("db", ["127.0.0.1"])


@pytest.mark.parametrize("mode, wanted", [("disable", False), (None, True), ("prefer", True), ("require", True),
                                          ("verify-ca", True), ("verify-full", True)])
def test_modes(with_tls, servers, authority, good, mode, wanted):
    tls = {} if mode is None else {"mode": mode}
    if mode and mode.startswith("verify"):
        tls["ca"] = authority.ca
    lull = with_tls(good, **tls)
    with lull.connect() as connection:
        assert encrypted(connection) == wanted
        connection.execute("UPDATE items SET n = 7 WHERE id = 1")
        with connection.transaction():
            connection.execute("INSERT INTO log (who, what) VALUES ('app', 'tls')")
            assert encrypted(connection) == wanted
        text = connection.execute("SELECT string_agg(md5(i::text), '') FROM generate_series(1, 100000) i").fetchone()[0]
        assert len(text) == 3_200_000
        assert connection.execute("SELECT length(%s::text)", ("y" * 900_000,)).fetchone() == (900_000,)
    # auth_query and the probes.
    with lull.connect(user="query_user") as connection:
        assert encrypted(connection) == wanted
    assert control_encrypted(servers.each[0]) == wanted


def test_cancel(with_tls, good):
    lull = with_tls(good, mode="require")
    with lull.connect() as connection, pytest.raises(psycopg.errors.QueryCanceled):
        threading.Timer(0.3, connection.cancel).start()
        connection.execute("SELECT pg_sleep(20)")


def test_cancel_is_encrypted_where_sessions_are(with_tls, good, cluster):
    """The key in it is worth a cancel to whoever reads it on the way."""
    gate = Gate(cluster.primary.port)

    def cancel_through(certificate, mode):
        lull = with_tls(certificate, mode=mode, start=False)
        lull.config["clusters"]["main"].update(primary=f"127.0.0.1:{gate.port}", replicas=[])
        lull.start()
        with lull.connect() as connection, pytest.raises(psycopg.errors.QueryCanceled):
            threading.Timer(0.3, connection.cancel).start()
            connection.execute("SELECT pg_sleep(20)")
        return lull

    lull = cancel_through(good, "require")
    assert gate.heads and all(bytes(head).startswith(SSL_REQUEST) and CANCEL_CODE not in bytes(head) for head in gate.heads)
    lull.remove()
    # A server that cannot speak TLS gets it as it can.
    cancel_through(None, "prefer")
    assert any(CANCEL_CODE in bytes(head) for head in gate.heads)
    gate.close()


def test_the_journal_is_replayed_over_tls(make_lull, servers, good, authority):
    """To a server that lets nobody in without."""
    # Lull's own connections and the harness's come as other users.
    servers.use(good, "hostssl all app 127.0.0.1/32 scram-sha-256\nhost all app all reject\n" + servers.hba)
    lull = make_lull({"clusters": {"main": {"tls": {"mode": "verify-full", "ca": authority.ca}}},
                      "sites": {"shop": {"writes": "journal"}}})
    lull.on()
    with lull.connect() as connection:
        assert connection.execute("INSERT INTO log (who, what) VALUES ('app', 'later')").rowcount == 1
    lull.off()
    assert servers.each[0].one("SELECT count(*) FROM log WHERE what = 'later'", db="shop") == 1
    assert lull.site()["journal"]["last"]["done"] == 1


def test_maintenance(with_tls, good, authority):
    lull = with_tls(good, mode="verify-full", ca=authority.ca)
    with lull.connect() as connection:
        lull.on()
        assert encrypted(connection)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("UPDATE items SET n = 1 WHERE id = 1")
        lull.off()
        connection.execute("UPDATE items SET n = 1 WHERE id = 1")


def test_prefer_takes_what_there_is(with_tls):
    lull = with_tls(None, mode="prefer")
    with lull.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_prefer_goes_on_in_plain_text_where_the_handshake_fails(with_tls, good, servers):
    """As libpq. Nothing that both speak; cancel requests go the way of their session."""
    for server in servers.each:
        server.sql("ALTER SYSTEM SET ssl_max_protocol_version = 'TLSv1.2'")
    try:
        lull = with_tls(good, mode="prefer", min_version="TLSv1.3")
        with lull.connect() as connection:
            assert not encrypted(connection)
        wire = lull.wire()
        wire.send(query("SELECT pg_sleep(20)"))
        assert wire.quiet(0.3)
        wire.cancel()
        assert errors(wire.until("Z"))[0]["C"] == "57014"
        with lull.connect(autocommit=False) as one, lull.connect(autocommit=False) as other:
            assert not encrypted(one) and not encrypted(other)
        # Once a minute for a server, not for each connection.
        warnings = [line.split(" failed,")[0].split(" at ")[-1] for line in lull.log().splitlines() if "only preferred" in line]
        assert warnings and len(warnings) == len(set(warnings)), lull.log()
        says(start_broken(with_tls(good, start=False, mode="require", min_version="TLSv1.3")), "TLS to the server at")
    finally:
        for server in servers.each:
            server.sql("ALTER SYSTEM RESET ssl_max_protocol_version")


def says(lull, *words):
    """The client is told in words that it did not cause it, and the proof is in the log."""
    def told():
        try:
            lull.connect().close()
        except psycopg.OperationalError as error:
            return str(error)
    text = wait_for(told, "the login fails")
    for word in words:
        assert word in text, text


def start_broken(lull):
    """Its probes cannot get in either, so it is not waited for."""
    lull.start(wait=False)
    wait_for(lambda: os.path.exists(lull.socket), "the admin socket")
    return lull


def test_a_server_without_tls(with_tls):
    says(start_broken(with_tls(None, start=False, mode="require")), "server does not support SSL, but SSL was required")


def test_wrong_ca(with_tls, good, stranger):
    says(start_broken(with_tls(good, start=False, mode="verify-ca", ca=stranger.ca)), "TLS to the server at", "certificate verify failed")


def test_wrong_host(with_tls, authority):
    elsewhere = authority.issue("db", ["localhost"])
    says(start_broken(with_tls(elsewhere, start=False, mode="verify-full", ca=authority.ca)), "certificate verify failed", "IP address mismatch")
    lull = with_tls(elsewhere, mode="verify-ca", ca=authority.ca)
    with lull.connect() as connection:
        assert encrypted(connection)


def test_expired(with_tls, authority):
    says(start_broken(with_tls(authority.issue("db", ["127.0.0.1"], days=-1), start=False, mode="verify-full", ca=authority.ca)),
         "certificate has expired")


def test_the_servers_want_a_certificate(with_tls, authority, good):
    hba = ("local all postgres trust\nlocal replication postgres trust\n"
           "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n")
    ours = authority.issue("lull")
    lull = with_tls(good, hba, mode="verify-full", ca=authority.ca, certificate=ours.certificate, key=ours.key)
    with lull.connect() as connection:
        assert connection.execute("SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone() == ("/CN=lull",)
    lull.remove()
    says(start_broken(with_tls(good, hba, start=False, mode="require")), "connection requires a valid client certificate")


def test_direct(make_lull, servers, authority):
    """PostgreSQL 15 knows no direct TLS; another Lull does."""
    servers.off()
    ours = authority.issue("lull", ["127.0.0.1"])
    back = make_lull({"client_tls": {"mode": "require", "certificate": ours.certificate, "key": ours.key}})
    front = make_lull({"clusters": {"main": {"primary": f"127.0.0.1:{back.port}", "control": None, "auth_query": None,
                                             "tls": {"mode": "verify-full", "ca": authority.ca, "direct": True}}}}, replicas=False)
    with front.connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("app",)
        connection.execute("UPDATE items SET n = 1 WHERE id = 1")
