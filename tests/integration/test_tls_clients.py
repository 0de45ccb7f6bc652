"""TLS between clients and Lull, with real clients: what each mode asks for, who is turned away, and that a renewed
certificate comes into force without an end of anybody."""
import os
import re
import ssl
import subprocess
import time
import urllib.request

import psycopg
import pytest

from harness.certificates import Authority
from harness.cluster import APP_PASSWORD
from harness.gate import Gate
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import Closed, errors, gssenc_request, query, ssl_request, startup

CANCEL_CODE = bytes.fromhex("04d2162e")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Another authority, which nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("other-ca"), "Another CA")


@pytest.fixture(scope="module")
def certificate(authority):
    return authority.issue("lull", ["localhost", "127.0.0.1"])


@pytest.fixture(scope="module")
def app_certificate(authority):
    return authority.issue("app")


@pytest.fixture
def with_tls(make_lull, certificate):
    def make(mode, **more):
        return make_lull({"client_tls": {"mode": mode, "certificate": certificate.certificate, "key": certificate.key, **more}})

    return make


@pytest.fixture(scope="module")
def tls_lull(cluster, certificate, authority):
    """allow, with a CA for those who show a certificate."""
    from harness.lull import Lull
    one = Lull(cluster, {"client_tls": {"mode": "allow", "certificate": certificate.certificate, "key": certificate.key,
                                        "ca": authority.ca}})
    try:
        yield one.start()
    finally:
        one.remove()


def is_encrypted(connection):
    return connection.pgconn.ssl_in_use


def shown(certificate):
    return {"sslcert": certificate.certificate, "sslkey": certificate.key}


def trusting(authority, direct=False):
    context = ssl.create_default_context(cafile=authority.ca)
    if direct:
        context.set_alpn_protocols(["postgresql"])
    return context


def refused(connect, *words):
    with pytest.raises(psycopg.OperationalError) as caught:
        connect().close()
    for word in words:
        assert word in str(caught.value), caught.value


# -- modes --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sslmode, encrypted", [("disable", False), ("allow", False), ("prefer", True), ("require", True)])
def test_allow(tls_lull, sslmode, encrypted):
    with tls_lull.connect(sslmode=sslmode) as connection:
        assert is_encrypted(connection) == encrypted
        assert connection.execute("SELECT current_user").fetchone() == ("app",)


@pytest.mark.parametrize("sslmode", ["verify-ca", "verify-full"])
def test_a_client_that_verifies(tls_lull, tables, authority, sslmode):
    with tls_lull.connect(sslmode=sslmode, sslrootcert=authority.ca) as connection:
        assert is_encrypted(connection)
        connection.execute("UPDATE items SET n = 1 WHERE id = 1")


def test_require(with_tls):
    lull = with_tls("require")
    with lull.connect(sslmode="require") as connection:
        assert is_encrypted(connection)
    refused(lambda: lull.connect(sslmode="disable"),
            'no pg_hba.conf entry for host "127.0.0.1", user "app", database "shop", no encryption', "sslmode=require")
    # A cancel request carries no password, and libpq sends it in plain text.
    with lull.connect(sslmode="require") as connection, pytest.raises(psycopg.errors.QueryCanceled):
        import threading
        threading.Timer(0.3, connection.cancel).start()
        connection.execute("SELECT pg_sleep(20)")


CANCEL = """
import ctypes, sys, time
pq = ctypes.CDLL(sys.argv[1])
for name in ("PQconnectdb", "PQcancelCreate", "PQgetResult", "PQresultErrorField", "PQerrorMessage", "PQcancelErrorMessage"):
    getattr(pq, name).restype = ctypes.c_void_p
for name, count in (("PQcancelCreate", 1), ("PQcancelBlocking", 1), ("PQgetResult", 1), ("PQerrorMessage", 1), ("PQstatus", 1),
                    ("PQcancelErrorMessage", 1), ("PQsslInUse", 1)):
    getattr(pq, name).argtypes = [ctypes.c_void_p] * count
pq.PQsendQuery.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
pq.PQresultErrorField.argtypes = [ctypes.c_void_p, ctypes.c_int]
connection = pq.PQconnectdb(sys.argv[2].encode())
assert pq.PQstatus(connection) == 0, ctypes.string_at(pq.PQerrorMessage(connection))
assert pq.PQsslInUse(connection)
assert pq.PQsendQuery(connection, b"SELECT pg_sleep(30)")
time.sleep(0.5)
request = pq.PQcancelCreate(connection)
assert pq.PQcancelBlocking(request), ctypes.string_at(pq.PQcancelErrorMessage(request))
print(ctypes.string_at(pq.PQresultErrorField(pq.PQgetResult(connection), ord("C"))).decode())
"""


@pytest.mark.parametrize("protocol", ["3.0", "latest"])
def test_a_cancel_request_in_tls(with_tls, postgres18, protocol):
    """As libpq sends it since version 17, with a key of either length."""
    lull = with_tls("require")
    gate = Gate(lull.port)
    info = f"host=127.0.0.1 port={gate.port} user=app password=app-secret dbname=shop sslmode=require max_protocol_version={protocol}"
    done = subprocess.run(["/usr/bin/python3", "-c", CANCEL, postgres18.libpq, info], capture_output=True, text=True, timeout=50)
    gate.close()
    assert done.stdout.strip() == "57014", done.stderr
    assert len(gate.heads) == 2 and all(CANCEL_CODE not in bytes(head) for head in gate.heads)


def test_require_says_so_before_it_knows_the_password(with_tls):
    lull = with_tls("require")
    wire = lull.raw()
    wire.send(startup({"user": "app", "database": "shop"}))
    messages = wire.until_closed()
    assert [m.type for m in messages] == ["E"] and errors(messages)[0]["C"] == "28000"


def test_big_and_small_answers(tls_lull, authority):
    with tls_lull.connect(sslmode="verify-full", sslrootcert=authority.ca, dbname="shop") as connection:
        text = connection.execute("SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200000) i").fetchone()[0]
        assert len(text) == 32 * 200000
        rows = connection.execute("SELECT i, repeat('x', i % 3000) FROM generate_series(1, 5000) i").fetchall()
        assert [len(r[1]) for r in rows] == [i % 3000 for i in range(1, 5001)]
        assert connection.execute("SELECT length(%s::text)", ("y" * 900_000,)).fetchone() == (900_000,)
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int", (i,)) for i in range(500)]
        assert [c.fetchone()[0] for c in cursors] == list(range(500))
        connection.execute("CREATE TEMP TABLE t (x text)")
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            for _ in range(200):
                copy.write("z" * 10_000 + "\n")
        assert connection.execute("SELECT count(*), sum(length(x)) FROM t").fetchone() == (200, 2_000_000)


def test_an_end_is_told(tls_lull, authority):
    """A client of TLS can tell an end from a cut: the error comes whole, then close_notify."""
    wire = tls_lull.raw().start_tls(trusting(authority), "localhost")
    wire.send(startup({"user": "app", "database": "shop"}))
    with pytest.raises(RuntimeError) as caught:
        wire.authenticate("app", "wrong")
    assert caught.value.args[0]["C"] == "28P01"
    assert wire.socket.recv(1) == b"", "suppress_ragged_eofs is off: without close_notify this is an error"


def test_psql(tls_lull, authority):
    done = subprocess.run(["psql", "-X", "-At", "-c", r"\conninfo", "-c", "SELECT 1"], capture_output=True, text=True, timeout=30,
                          env=dict(os.environ, PGHOST="localhost", PGPORT=str(tls_lull.port), PGUSER="app", PGPASSWORD=APP_PASSWORD,
                                   PGDATABASE="shop", PGSSLMODE="verify-full", PGSSLROOTCERT=authority.ca))
    assert done.returncode == 0 and "SSL connection (protocol: TLSv1.3" in done.stdout, done.stdout + done.stderr


def test_tls_1_2(tls_lull, authority):
    with tls_lull.connect(sslmode="verify-full", sslrootcert=authority.ca, ssl_max_protocol_version="TLSv1.2") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_too_old(with_tls):
    lull = with_tls("allow", min_version="TLSv1.3")
    refused(lambda: lull.connect(sslmode="require", ssl_max_protocol_version="TLSv1.2"), "protocol version")
    wait_for(lambda: "could not accept a TLS connection" in lull.log(), "the log says so")


# -- what the client must be able to refuse -------------------------------------------------------------------------------

def test_wrong_ca(tls_lull, stranger):
    refused(lambda: tls_lull.connect(sslmode="verify-ca", sslrootcert=stranger.ca), "certificate verify failed")


def test_wrong_host_name(make_lull, authority):
    other = authority.issue("elsewhere", ["elsewhere.example"])
    lull = make_lull({"client_tls": {"mode": "allow", "certificate": other.certificate, "key": other.key}})
    refused(lambda: lull.connect(sslmode="verify-full", sslrootcert=authority.ca), "does not match host name")
    lull.connect(sslmode="verify-ca", sslrootcert=authority.ca).close()


def test_expired(make_lull, authority):
    old = authority.issue("lull", ["127.0.0.1"], days=-1)
    lull = make_lull({"client_tls": {"mode": "allow", "certificate": old.certificate, "key": old.key}})
    refused(lambda: lull.connect(sslmode="verify-full", sslrootcert=authority.ca), "certificate verify failed")


# -- certificates of clients ---------------------------------------------------------------------------------------------

def test_verify_ca(with_tls, authority, stranger, app_certificate):
    lull = with_tls("verify-ca", ca=authority.ca)
    with lull.connect(sslmode="require", **shown(app_certificate)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    refused(lambda: lull.connect(sslmode="require"), "connection requires a valid client certificate")
    refused(lambda: lull.connect(sslmode="disable"), "no pg_hba.conf entry", "no encryption")
    refused(lambda: lull.connect(sslmode="require", **shown(stranger.issue("app"))), "unknown ca")
    refused(lambda: lull.connect(sslmode="require", **shown(authority.issue("app", days=-1))), "expired")
    # Whose it is does not matter in this mode; the password still does.
    lull.connect(user="other", sslmode="require", **shown(app_certificate)).close()
    refused(lambda: lull.connect(password="wrong", sslmode="require", **shown(app_certificate)), "password authentication failed")


def test_verify_full(with_tls, authority, app_certificate):
    lull = with_tls("verify-full", ca=authority.ca)
    lull.connect(sslmode="require", **shown(app_certificate)).close()
    refused(lambda: lull.connect(user="other", sslmode="require", **shown(app_certificate)),
            'certificate authentication failed for user "other"')


# -- bytes that must not be there -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("request_, kind", [(ssl_request, "SSL"), (gssenc_request, "GSSAPI encryption")])
def test_plain_text_behind_the_request_is_refused(tls_lull, request_, kind):
    """CVE-2021-23214: it would pass for the encrypted client's."""
    wire = tls_lull.raw()
    wire.send(request_(), startup({"user": "app", "database": "shop"}))
    fields = errors(wire.until_closed())[0]
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", f"received unencrypted data after {kind} request")


def test_plain_text_in_place_of_the_handshake(tls_lull):
    wire = tls_lull.raw()
    wire.send(ssl_request())
    assert wire.byte() == b"S"
    wire.send(startup({"user": "app", "database": "shop"}))
    seen = b""
    while data := wire.socket.recv(4096):
        seen += data
    assert seen[:1] != b"R", "the login must not begin"


def test_gss_is_declined_and_tls_follows(tls_lull, authority):
    wire = tls_lull.raw()
    wire.send(gssenc_request())
    assert wire.byte() == b"N"
    wire.start_tls(trusting(authority), "localhost").login("app", APP_PASSWORD, "shop")
    assert wire.one("SELECT 1") == "1"


def test_tls_within_tls_is_declined(tls_lull, authority):
    wire = tls_lull.raw().start_tls(trusting(authority), "localhost")
    wire.send(ssl_request())
    assert errors(wire.until_closed())[0]["C"] == "0A000"  # to PostgreSQL it is a version that it does not know


def test_handshake_byte_by_byte_and_bytes_that_follow_it_at_once(tls_lull, authority):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    wire = tls_lull.raw()
    wire.send(ssl_request())
    assert wire.byte() == b"S"
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            for byte in outgoing.read():
                wire.send(bytes([byte]))
            incoming.write(wire.socket.recv(65536))
    # The last flight of the handshake and the startup packet leave in one write.
    tls.write(startup({"user": "app", "database": "shop"}))
    wire.send(outgoing.read())
    while True:
        try:
            assert tls.read(1) == b"R"
            break
        except ssl.SSLWantReadError:
            incoming.write(wire.socket.recv(65536))


# -- direct TLS -----------------------------------------------------------------------------------------------------------

def test_direct_tls(tls_lull, authority):
    wire = tls_lull.raw().start_tls(trusting(authority, direct=True), "localhost", direct=True)
    assert wire.socket.selected_alpn_protocol() == "postgresql"
    wire.login("app", APP_PASSWORD, "shop")
    assert wire.one("SELECT 1") == "1"


def test_direct_tls_needs_alpn(tls_lull, authority):
    wire = tls_lull.raw().start_tls(trusting(authority), "localhost", direct=True)
    wire.send(startup({"user": "app", "database": "shop"}))
    fields = errors(wire.until_closed())[0]
    assert fields["M"] == "received direct SSL connection request without ALPN protocol negotiation extension"


def test_another_protocol_is_turned_away(tls_lull, authority):
    """A browser that was led here gets an alert, not an answer (ALPACA)."""
    context = trusting(authority)
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLError, match="(?i)no application protocol"):
        tls_lull.raw().start_tls(context, "localhost", direct=True)


# -- renewal --------------------------------------------------------------------------------------------------------------

def test_reload_takes_a_new_certificate_and_drops_nobody(make_lull, authority, stranger, tmp_path):
    certificate, key = str(tmp_path / "crt"), str(tmp_path / "key")
    authority.issue("lull", ["127.0.0.1"]).copy_to(certificate, key)
    lull = make_lull({"client_tls": {"mode": "allow", "certificate": certificate, "key": key}})

    def signer():
        for name in (authority, stranger):
            try:
                lull.connect(sslmode="verify-ca", sslrootcert=name.ca).close()
                return name
            except psycopg.OperationalError:
                pass
        return None

    with lull.connect(sslmode="verify-ca", sslrootcert=authority.ca) as before:
        assert signer() is authority
        stranger.issue("lull", ["127.0.0.1"]).copy_to(certificate, key)
        said = lull.cli("reload").stdout
        assert said == "".join(f"the content of {file}  in force for new connections\n" for file in (certificate, key)), said
        assert lull.cli("reload").stdout == "reloaded, nothing has changed\n"
        wait_for(lambda: signer() is stranger, "the new certificate is in force")
        assert before.execute("SELECT 1").fetchone() == (1,)
        # A file that cannot be used changes nothing, and is said.
        with open(certificate, "w") as out:
            out.write("no certificate")
        failed = lull.cli("reload", check=False)
        assert failed.returncode != 0 and certificate in failed.stderr, failed.stderr
        assert signer() is stranger
        assert before.execute("SELECT 1").fetchone() == (1,)


def test_check_start_and_reload_say_where_a_file_is_named_and_what_is_wrong_with_it(make_lull, certificate, authority, tmp_path):
    whole = {"mode": "allow", "certificate": certificate.certificate, "key": certificate.key}
    no_pem = tmp_path / "no.pem"
    no_pem.write_text("no certificate")
    running = make_lull({"client_tls": whole})
    for of, key, value, said, fix in [
            ("client_tls", "key", authority.key, "key values mismatch", "give the private key of " + certificate.certificate),
            ("client_tls", "certificate", "/nowhere/crt", "/nowhere/crt: cannot read it: No such file", "check the path"),
            ("client_tls", "ca", str(no_pem), "no.pem: ", "give the certificates of the CA in PEM"),
            ("clusters.main.tls", "ca", "/nowhere/ca", "/nowhere/ca: cannot read it: No such file", "check the path")]:
        change = {"client_tls": {**whole, key: value}} if of == "client_tls" else {
            "client_tls": whole, "clusters": {"main": {"tls": {"mode": "verify-ca", key: value}}}}
        lull = make_lull(change, start=False)
        lull.write_config()
        line, column = place_of(lull.config_file, f"{key}: ", value)
        expected = f"{lull.config_file}:{line}:{column}: error: {of}.{key}: "
        done = lull.cli("check", "--config", lull.config_file, check=False)
        served = subprocess.run([lull_binary(), "serve", "--config", lull.config_file], capture_output=True, text=True, timeout=20)
        for one in (done, served):
            assert one.returncode == 1 and expected in one.stderr and said in one.stderr, one.stderr
            assert "fix: " + fix in one.stderr, one.stderr
        if of == "client_tls":
            running.config["client_tls"] = {**whole, key: value}
            running.write_config()
            line, column = place_of(running.config_file, f"{key}: ", value)
            failed = running.cli("reload", check=False)
            assert failed.returncode == 1 and f"{running.config_file}:{line}:{column}: error: {of}.{key}: " in failed.stderr, failed.stderr
            assert said in failed.stderr and "fix: " + fix in failed.stderr, failed.stderr


def test_check_start_and_reload_warn_of_certificates_that_expire_and_of_keys_that_others_can_read(make_lull, certificate, authority, tmp_path):
    live, key = str(tmp_path / "crt"), str(tmp_path / "key")

    def put(one, mode=0o600):
        one.copy_to(live, key)
        os.chmod(key, mode)

    put(certificate)
    lull = make_lull({"client_tls": {"mode": "allow", "certificate": live, "key": key}, "listen": {"metrics": f"127.0.0.1:{free_port()}"},
                      "clusters": {"main": {"tls": {"certificate": live, "key": key}}}})
    assert " expire" not in lull.log() and "it expires" not in lull.cli("check", "--config", lull.config_file).stderr

    def not_after():
        text = urllib.request.urlopen(f"http://{lull.config['listen']['metrics']}/metrics", timeout=5).read().decode()
        found = re.search(r'lull_tls_certificate_not_after_timestamp_seconds\{key="client_tls.certificate",file="[^"]*"\} (\S+)', text)
        assert 'key="clusters.main.tls.certificate"' in text, text
        return float(found[1]) - time.time()

    day = 24 * 3600
    assert 29 * day < not_after() < 31 * day
    line, column = place_of(lull.config_file, "certificate: ", live)
    for one, mode, said, fix in [(authority.issue("lull", ["127.0.0.1"], days=13), 0o600, f"certificate: {live}: it expires soon, on 2", "renew it"),
                                 (authority.issue("lull", ["127.0.0.1"], days=-1), 0o600, f"certificate: {live}: it has expired, on 2", "renew it"),
                                 (certificate, 0o640 if os.geteuid() else 0o604, f"key: {key}: others can read this private key", "chmod 0600")]:
        put(one, mode)
        checked = lull.cli("check", "--config", lull.config_file)
        reloaded = lull.cli("reload")
        for told in (checked.stderr, reloaded.stderr):
            assert f"warning: client_tls.{said}" in told and f"warning: clusters.main.tls.{said}" in told and "fix: " + fix in told, told
        if "certificate: " in said:
            assert f"{lull.config_file}:" in checked.stderr
            assert lull.config_file + f":{line}:{column}: warning: " in checked.stderr, checked.stderr
        assert said in lull.log()
    put(authority.issue("lull", ["127.0.0.1"], days=-1))
    lull.cli("reload")
    assert not_after() < 0
    lull.restart()
    assert "it has expired, on 2" in lull.log().rsplit("lull: ready", 2)[-2]
    put(certificate, 0o640 if os.geteuid() == 0 else 0o600)  # as PostgreSQL has it: root's may be read by a group
    assert "warning: client_tls" not in lull.cli("check", "--config", lull.config_file).stderr


def place_of(file, key, value):
    """Of a value in the text that the harness writes."""
    with open(file) as lines:
        for number, line in enumerate(lines, 1):
            if value in line and line.strip().startswith(key):
                return number, line.index(value) + 1
    raise AssertionError(value)


def lull_binary():
    from harness.lull import binary
    return binary()
