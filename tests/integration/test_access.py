"""Who may come in: rules in the form of pg_hba.conf, each method with real clients, Unix sockets, load balancers, and
guessing of passwords."""
import hashlib
import os
import pwd
import socket
import stat
import struct
import subprocess
import time
import urllib.request

import psycopg
import pytest

from harness import cluster as c
from harness.certificates import Authority
from harness.ports import free_port
from harness.wait import wait_for
from harness.wire import Wire, cstr, error_fields, errors, message, startup

ME = pwd.getpwuid(os.geteuid()).pw_name


def md5_of(password, user):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificates(authority):
    return {"server": authority.issue("lull", ["127.0.0.1", "localhost"]), "app": authority.issue("app")}


RULES = ["host shop evil all reject", "hostnossl shop plain all password", "hostssl shop,held all 127.0.0.0/8 scram-sha-256",
         "local all all peer", "host shop hashed 127.0.0.1 255.255.255.255 md5", "hostssl sameuser all all trust",
         'host shop "all" all trust', "hostnossl held app 10.0.0.0/8 trust"]


@pytest.fixture(scope="module")
def ruled(cluster, certificates, authority, tmp_path_factory):
    """One Lull with rules of every kind; its folder has a Unix socket."""
    from harness.lull import Lull
    server = certificates["server"]
    cluster.primary.sql(f"CREATE ROLE {ME} LOGIN PASSWORD 'mine'")
    cluster.primary.sql("SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'hashed-secret'; GRANT app TO hashed;"
                        "CREATE ROLE plain LOGIN PASSWORD 'plain-secret'; GRANT app TO plain; RESET password_encryption")
    # Whose password a server has as an md5 hash is asked for it with md5.
    hba = {db: open(os.path.join(db.data, "pg_hba.conf")).read() for db in (cluster.primary, cluster.standby)}
    for db, text in hba.items():
        db._write("pg_hba.conf", "host all hashed,plain 127.0.0.1/32 md5\n" + text)
        db.sql("SELECT pg_reload_conf()")
    one = Lull(cluster, {
        "auth": None, "hba": RULES,
        "client_tls": {"mode": "allow", "certificate": server.certificate, "key": server.key, "ca": authority.ca},
        "listen": {"unix_socket_directory": str(tmp_path_factory.mktemp("sockets")), "unix_socket_permissions": "0770"},
        "users": {"evil": {"password": "evil-secret"}, "hashed": {"password": md5_of("hashed-secret", "hashed")}, "plain": {},
                  ME: {"server_password": "mine"}},
    })
    try:
        yield one.start()
    finally:
        one.remove()
        for db, text in hba.items():
            db._write("pg_hba.conf", text)
            db.sql("SELECT pg_reload_conf()")
        cluster.primary.sql(f"DROP OWNED BY {ME}, hashed, plain; DROP ROLE {ME}, hashed, plain")


def refused(connect, *words):
    with pytest.raises(psycopg.OperationalError) as caught:
        connect().close()
    for word in words:
        assert word in str(caught.value), caught.value


def refusal(wire, user, database="shop"):
    wire.send(startup({"user": user, "database": database}))
    return errors(wire.until_closed())[0]


def user_of(connection):
    with connection:
        return connection.execute("SELECT current_user").fetchone()[0]


# -- rules ----------------------------------------------------------------------------------------------------------------

def test_the_first_rule_that_fits_decides(ruled):
    assert user_of(ruled.connect(sslmode="require")) == "app"
    refused(lambda: ruled.connect(sslmode="disable"),
            'no pg_hba.conf entry for host "127.0.0.1", user "app", database "shop", no encryption')
    refused(lambda: ruled.connect(user="evil", password="evil-secret", sslmode="require"),
            'pg_hba.conf rejects connection for host "127.0.0.1", user "evil", database "shop", SSL encryption')
    refused(lambda: ruled.connect("held", sslmode="disable"), "no pg_hba.conf entry")


def test_refusals_are_postgresqls_own(ruled, primary):
    """The same words and code as a server with the same lack of a rule."""
    before = open(os.path.join(primary.data, "pg_hba.conf")).read()
    primary._write("pg_hba.conf", "local all postgres trust\nlocal replication postgres trust\nhost all evil all reject\n")
    try:
        primary.sql("SELECT pg_reload_conf()")
        wait_for(lambda: refusal(Wire("127.0.0.1", primary.port), "evil")["M"].startswith("pg_hba.conf rejects"), "reloaded")
        for user in ("app", "evil"):
            fields = [{k: v for k, v in refusal(wire, user).items() if k in "SVCM"}
                      for wire in (Wire("127.0.0.1", primary.port), ruled.raw())]
            assert fields[0] == fields[1]
    finally:
        primary._write("pg_hba.conf", before)
        primary.sql("SELECT pg_reload_conf()")


def test_no_parameter_reaches_a_server_before_the_login(ruled, primary):
    before = primary.one("SELECT sum(sessions) FROM pg_stat_database")
    refused(lambda: ruled.connect(sslmode="disable", options="-c work_mem=bananas"), "no pg_hba.conf entry")
    refused(lambda: ruled.connect(password="wrong", sslmode="require", options="-c no_such=1"), "password authentication failed")
    assert primary.backends("(query LIKE '%bananas%' OR query LIKE '%no_such%')") == []
    assert primary.one("SELECT sum(sessions) FROM pg_stat_database") - before <= 2, "nobody was connected to a server"


def test_a_file_of_rules_and_its_reload(make_lull, tmp_path):
    rules = tmp_path / "pg_hba.conf"
    rules.write_text("# nobody but app\nhost shop app 127.0.0.1/32 scram-sha-256\n")
    lull = make_lull({"auth": None, "hba_file": str(rules)})
    assert user_of(lull.connect()) == "app"
    refused(lambda: lull.connect(user="other"), "no pg_hba.conf entry")
    rules.write_text("host all other all scram-sha-256\n")
    assert lull.cli("reload").stdout == "hba_file\n"
    assert user_of(lull.connect(user="other")) == "other"
    refused(lambda: lull.connect(), "no pg_hba.conf entry")
    rules.write_text("host all all all scram-sha-256\nhost all +admins all trust\n")
    failed = lull.cli("reload", check=False)
    assert failed.returncode == 1 and f"{rules}:2" in failed.stderr and "members of a role" in failed.stderr, failed.stderr
    refused(lambda: lull.connect(), "no pg_hba.conf entry")


def test_files_that_a_file_of_rules_includes_and_their_reload(make_lull, tmp_path):
    """All of them are read again, and what is wrong is told with its own place."""
    rules, names, more = tmp_path / "pg_hba.conf", tmp_path / "names", tmp_path / "hba.d"
    more.mkdir()
    names.write_text("app, # the shop's\nverifier_user\n")
    (more / "10-held.conf").write_text("host /^he.d$ other samehost scram-sha-256\n")
    (more / "ignored").write_text("nonsense\n")
    rules.write_text('host shop @names samenet scram-sha-256\ninclude_dir hba.d\ninclude_if_exists "not there"\n')
    lull = make_lull({"auth": None, "hba_file": str(rules)})
    assert user_of(lull.connect()) == "app" and user_of(lull.connect(user="verifier_user")) == "verifier_user"
    assert user_of(lull.connect("held", user="other")) == "other"
    refused(lambda: lull.connect("held"), "no pg_hba.conf entry")
    refused(lambda: lull.connect(user="other"), "no pg_hba.conf entry")
    assert lull.cli("reload").stdout.strip() == "reloaded, nothing has changed"
    names.write_text("other\n")
    assert lull.cli("reload").stdout == "hba_file\n"
    assert user_of(lull.connect(user="other")) == "other"
    refused(lambda: lull.connect(), "no pg_hba.conf entry")
    (more / "20-wrong.conf").write_text("\nhost all +admins all trust\n")
    failed = lull.cli("reload", check=False)
    assert failed.returncode == 1 and f"{more}/20-wrong.conf:2:10" in failed.stderr, failed.stderr
    assert user_of(lull.connect(user="other")) == "other"


def test_files_that_lines_of_rules_include_change_under_their_key(make_lull, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text("host shop app all scram-sha-256\n")
    lull = make_lull({"auth": None, "hba": [f"include {rules}"]})
    assert user_of(lull.connect()) == "app"
    rules.write_text("host shop /^oth\\w+$ all scram-sha-256\n")
    assert lull.cli("reload").stdout == "hba\n"
    assert user_of(lull.connect(user="other")) == "other"
    refused(lambda: lull.connect(), "no pg_hba.conf entry")
    rules.write_text("host shop /(((a?){20}){20}){20} all scram-sha-256\n")
    failed = lull.cli("reload", check=False)
    assert failed.returncode == 1 and f"{rules}:1:11" in failed.stderr and "too complex" in failed.stderr, failed.stderr


# -- methods --------------------------------------------------------------------------------------------------------------

def test_md5(ruled):
    assert user_of(ruled.connect(user="hashed", password="hashed-secret", sslmode="disable")) == "hashed"
    refused(lambda: ruled.connect(user="hashed", password="wrong", sslmode="disable"), 'password authentication failed for user "hashed"')


def test_password_in_plain_text(ruled):
    """By auth_query, whose md5 hash the server has; Lull goes on with what the client sent."""
    assert user_of(ruled.connect(user="plain", password="plain-secret", sslmode="disable")) == "plain"
    refused(lambda: ruled.connect(user="plain", password="wrong", sslmode="disable"), 'password authentication failed for user "plain"')


def test_scram_plus(ruled):
    with ruled.connect(sslmode="require", channel_binding="require") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    refused(lambda: ruled.connect(sslmode="require", channel_binding="require", password="wrong"), "password authentication failed")
    for user in ("query_user", "verifier_user"):
        assert user_of(ruled.connect(user=user, sslmode="require", channel_binding="require")) == user
    # Without TLS there is nothing to bind to, and libpq says so itself.
    refused(lambda: ruled.connect(user="hashed", sslmode="disable", channel_binding="require"), "channel binding")


def test_cert(make_lull, certificates, authority):
    server, mine = certificates["server"], certificates["app"]
    lull = make_lull({"auth": None, "hba": ["hostssl all all all cert"],
                      "client_tls": {"mode": "allow", "certificate": server.certificate, "key": server.key, "ca": authority.ca}})
    shown = {"sslmode": "require", "sslcert": mine.certificate, "sslkey": mine.key}
    assert user_of(lull.connect(password="not asked for", **shown)) == "app"
    refused(lambda: lull.connect(user="other", **shown), 'certificate authentication failed for user "other"')
    refused(lambda: lull.connect(sslmode="require"), "connection requires a valid client certificate")


def test_an_expired_password_does_not_let_in(lull, primary):
    primary.sql("ALTER ROLE query_user VALID UNTIL '2001-01-01'")
    try:
        # auth_query's answers are remembered for its cache_time.
        def shut():
            try:
                lull.connect(user="query_user").close()
            except psycopg.OperationalError as error:
                return str(error)
        assert 'password authentication failed for user "query_user"' in wait_for(shut, "the password has expired", 20)
    finally:
        primary.sql("ALTER ROLE query_user VALID UNTIL 'infinity'")
    wait_for(lambda: user_of(lull.connect(user="query_user")) == "query_user" if not shut() else None, "it is valid again", 20)


@pytest.mark.parametrize("auth, attempts", [("password", 1), ("scram-sha-256", 2)])
def test_a_password_that_was_just_changed_lets_in(make_lull, primary, auth, attempts):
    """auth_query's answer of before is not believed against whom it does not let in."""
    lull = make_lull({"auth": auth, "clusters": {"main": {"auth_query": {"cache_time": "1min"}}}}, replicas=False)
    before = primary.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'query_user'")
    assert user_of(lull.connect(user="query_user")) == "query_user"
    time.sleep(1.1)  # it is asked again once a second for a user
    primary.sql("ALTER ROLE query_user PASSWORD 'another'")
    try:
        for _ in range(attempts - 1):
            refused(lambda: lull.connect(user="query_user", password="another"), "password authentication failed")
        assert user_of(lull.connect(user="query_user", password="another")) == "query_user"
    finally:
        primary.sql(f"ALTER ROLE query_user PASSWORD '{before}'")


@pytest.mark.parametrize("auth", ["password", "md5", "scram-sha-256"])
def test_bad_logins_are_not_a_query_each(make_lull, primary, auth):
    lull = make_lull({"auth": auth, "clusters": {"main": {"auth_query": {"cache_time": "1min", "query":
        "SELECT rolname, rolpassword, set_config('application_name', current_setting('application_name') || '!', false) "
        "FROM pg_authid WHERE rolname = $1"}}}}, replicas=False)
    before = primary.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'query_user'")
    if auth == "md5":  # else it is SCRAM that is spoken
        primary.sql(f"ALTER ROLE query_user PASSWORD '{md5_of('right', 'query_user')}'")
    try:
        begun = time.monotonic()
        for _ in range(15):
            refused(lambda: lull.connect(user="query_user", password="wrong"), "password authentication failed")
        asked = primary.one("SELECT application_name FROM pg_stat_activity WHERE usename = 'lull_auth' AND application_name LIKE '%!'")
        assert 1 <= asked.count("!") <= 2 + (time.monotonic() - begun), "no more than one a second"
    finally:
        primary.sql(f"ALTER ROLE query_user PASSWORD '{before}'")


@pytest.mark.parametrize("auth", ["password", "scram-sha-256"])
def test_a_wrong_password_keeps_nobody_out_while_auth_query_cannot_be_asked(make_lull, primary, auth):
    """What it has said counts for its time there, also where somebody has failed by it."""
    lull = make_lull({"auth": auth, "clusters": {"main": {"auth_query": {"cache_time": "1min"}}}}, replicas=False)
    assert user_of(lull.connect(user="query_user")) == "query_user"
    primary.sql("ALTER ROLE lull_auth NOLOGIN")
    try:
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'lull_auth'")
        refused(lambda: lull.connect(user="query_user", password="wrong"), "password authentication failed")
        time.sleep(1.1)  # it is asked again once a second for a user
        assert user_of(lull.connect(user="query_user")) == "query_user"
        refused(lambda: lull.connect(user="verifier_user_of_nowhere"), "cannot look up the user")
    finally:
        primary.sql("ALTER ROLE lull_auth LOGIN")


def test_without_cache_time_each_login_asks(make_lull, primary):
    lull = make_lull({"clusters": {"main": {"auth_query": {"cache_time": "0s"}}}}, replicas=False)
    before = primary.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'query_user'")
    lull.connect(user="query_user").close()
    primary.sql("ALTER ROLE query_user PASSWORD 'another'")
    try:
        refused(lambda: lull.connect(user="query_user"), "password authentication failed")
        assert user_of(lull.connect(user="query_user", password="another")) == "query_user"
    finally:
        primary.sql(f"ALTER ROLE query_user PASSWORD '{before}'")


def test_the_one_auth_query_serves_databases_of_no_site(make_lull):
    lull = make_lull(replicas=False)
    refused(lambda: lull.connect("nope", user="query_user"), 'database "nope" does not exist')
    # Who cannot log in is told the same of each.
    refused(lambda: lull.connect("nope", user="query_user", password="wrong"), "password authentication failed")
    refused(lambda: lull.connect("nope", user="nobody_at_all", password="wrong"), "password authentication failed")


def test_who_may_create_roles_on_the_server_is_no_admin_of_the_console(make_lull, primary, tmp_path):
    """The console asks no server, also where an admin has no password under users, as rules let him in otherwise."""
    lull = make_lull({"auth": None, "hba": ["local lull boss peer", "host all all all scram-sha-256"],
                      "listen": {"unix_socket_directory": str(tmp_path)}, "console": {"admins": ["boss"]}}, replicas=False)
    primary.sql("CREATE ROLE boss LOGIN PASSWORD 'made up'")
    try:
        refused(lambda: lull.connect("nope", user="boss", password="made up"), 'database "nope" does not exist')
        refused(lambda: lull.connect("lull", user="boss", password="made up"), "password authentication failed")
    finally:
        primary.sql("DROP ROLE boss")


# -- guessing ---------------------------------------------------------------------------------------------------------------

def test_guessing_is_slow(make_lull):
    lull = make_lull({"limits": {"max_failed_logins": 3, "failed_login_window": "3s"}, "listen": {"metrics": f"127.0.0.1:{free_port()}"}})
    for user in ("app", "nobody_at_all"):  # a stranger cannot tell them apart by this either
        for _ in range(3):
            refused(lambda: lull.connect(user=user, password="wrong"), f'password authentication failed for user "{user}"')
        refused(lambda: lull.connect(user=user, password=lull.PASSWORDS["app"]),
                f'too many failed authentication attempts for user "{user}"', "Wait 2s, then try again", "limits.max_failed_logins")
    text = urllib.request.urlopen(f"http://{lull.config['listen']['metrics']}/metrics", timeout=5).read().decode()
    assert 'lull_client_connections_turned_away_total{limit="failed_logins"} 2' in text, text
    assert user_of(lull.connect(user="other")) == "other", "others are not kept out"

    def again():
        try:
            return user_of(lull.connect())
        except psycopg.OperationalError:
            return None
    assert wait_for(again, "time heals", 10) == "app"


def test_opening_many_logins_at_once_gives_no_more_guesses(make_lull):
    lull = make_lull({"limits": {"max_failed_logins": 3, "failed_login_window": "1min"}})

    def answered(wire):
        try:
            wire.authenticate("app", "wrong")
        except RuntimeError as error:
            return str(error)

    wires = [Wire("127.0.0.1", lull.port) for _ in range(12)]
    try:
        for one in wires:
            one.send(startup({"user": "app", "database": "shop"}))
        for one in wires:
            assert one.readable(5), "each is asked for its password before any has answered"
        told = [answered(one) for one in wires]
    finally:
        for one in wires:
            one.close()
    assert sum("password authentication failed" in text for text in told) == 3
    assert sum("too many failed authentication attempts" in text for text in told) == 9


@pytest.mark.parametrize("most", [30, 1])
def test_a_new_password_lets_all_in_that_are_in_flight_with_it(make_lull, primary, most):
    """They are wrong by the answer at hand, and no guesses by the next; who then guesses has no more than the limit."""
    lull = make_lull({"auth": "password", "clusters": {"main": {"auth_query": {"cache_time": "1min"}}},
                      "limits": {"max_failed_logins": most, "failed_login_window": "1min"}, "listen": {"metrics": f"127.0.0.1:{free_port()}"}}, replicas=False)
    before = primary.one("SELECT rolpassword FROM pg_authid WHERE rolname = 'query_user'")

    def all_at_once(password):
        wires = [Wire("127.0.0.1", lull.port) for _ in range(60)]
        try:
            for one in wires:
                one.send(startup({"user": "query_user", "database": "shop"}))
            for one in wires:
                assert one.receive().body == struct.pack("!i", 3)
            for one in wires:
                one.send(message("p", cstr(password)))
            told = [one.receive() for one in wires]
        finally:
            for one in wires:
                one.close()
        return ["in" if one.type == "R" else error_fields(one.body)["M"] for one in told]

    assert user_of(lull.connect(user="query_user")) == "query_user"
    time.sleep(1.1)  # it is asked again once a second for a user
    primary.sql("ALTER ROLE query_user PASSWORD 'another'")
    try:
        assert all_at_once("another") == ["in"] * 60
        with urllib.request.urlopen(f"http://{lull.config['listen']['metrics']}/metrics", timeout=5) as metrics:
            assert "lull_failed_passwords_total 0\n" in metrics.read().decode()
        told = all_at_once("wrong")
        wrong = sum("password authentication failed" in text for text in told)
        assert most <= wrong <= 2 * most and wrong + sum("too many failed" in text for text in told) == 60, told
    finally:
        primary.sql(f"ALTER ROLE query_user PASSWORD '{before}'")


# -- Unix sockets -------------------------------------------------------------------------------------------------------------

def local(lull, user, dbname="shop", **more):
    return psycopg.connect(host=lull.config["listen"]["unix_socket_directory"], port=lull.port, user=user, dbname=dbname,
                           autocommit=True, **more)


def test_peer(ruled):
    assert user_of(local(ruled, ME)) == ME
    refused(lambda: local(ruled, "app", password=c.APP_PASSWORD), 'Peer authentication failed for user "app"')
    path = f"{ruled.config['listen']['unix_socket_directory']}/.s.PGSQL.{ruled.port}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o770
    done = subprocess.run(["psql", "-XAt", "-h", os.path.dirname(path), "-p", str(ruled.port), "-d", "shop", "-c", "SELECT current_user"],
                          capture_output=True, text=True, timeout=30, env=dict(os.environ, PGUSER=ME))
    assert done.stdout == ME + "\n", done.stderr


def test_socket_files_come_and_go(make_lull, tmp_path):
    change = {"listen": {"unix_socket_directory": str(tmp_path)}}
    lull = make_lull(change)
    path = f"{tmp_path}/.s.PGSQL.{lull.port}"
    assert user_of(local(lull, "app", password=c.APP_PASSWORD)) == "app"
    migration = psycopg.connect(host=str(tmp_path), port=lull.migration_port, user="shop_owner", password=c.OWNER_PASSWORD, dbname="shop")
    migration.close()
    # Another one does not take it away from whoever answers.
    other = make_lull(change, start=False)
    other.port = lull.port
    other.config["listen"]["postgres"] = f"127.0.0.2:{lull.port}"
    other.start(wait=False)
    assert other.process.wait(20) == 1 and f"listen.unix_socket_directory: cannot listen on {path}: another process does (fix: end it" in other.log()
    other.process = None
    lull.kill9()
    assert os.path.exists(path), "left behind"
    lull.start()
    assert user_of(local(lull, "app", password=c.APP_PASSWORD)) == "app"
    lull.stop()
    assert os.listdir(tmp_path) == []


def test_a_server_behind_a_unix_socket(make_lull, primary):
    lull = make_lull({"clusters": {"main": {"primary": f"{primary.root}:{primary.port}"}},
                      "sites": {"shop": {"writes": "journal"}}}, start=False)
    before = open(os.path.join(primary.data, "pg_hba.conf")).read()
    primary._write("pg_hba.conf", before + "local all all scram-sha-256\n")
    try:
        primary.sql("SELECT pg_reload_conf()")
        lull.start()
        with lull.connect() as connection:
            connection.execute("INSERT INTO log (who, what) VALUES ('app', 'local')")
            with connection.transaction():
                connection.execute("INSERT INTO log (who, what) VALUES ('app', 'local')")
                assert connection.execute("SELECT client_addr FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone() == (None,)
        lull.on()
        with lull.connect() as connection:
            connection.execute("INSERT INTO log (who, what) VALUES ('app', 'later')")
        lull.off()
        assert primary.one("SELECT count(*) FROM log WHERE what = 'later'", db="shop") == 1
    finally:
        primary._write("pg_hba.conf", before)
        primary.sql("SELECT pg_reload_conf()")


# -- load balancers -------------------------------------------------------------------------------------------------------------

V1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 5555 6432\r\n"
V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 15) + bytes([203, 0, 113, 7, 127, 0, 0, 1]) + struct.pack("!HH", 5555, 6432) + b"\x04\0\0"
V2_MAPPED = (b"\r\n\r\n\0\r\nQUIT\n\x21\x21" + struct.pack("!H", 36) + b"\0" * 10 + b"\xff\xff" + bytes([203, 0, 113, 7]) + b"\0" * 16
             + struct.pack("!HH", 5555, 6432))


@pytest.fixture(scope="module")
def behind(cluster):
    from harness.lull import Lull
    one = Lull(cluster, {"auth": None, "listen": {"proxy_protocol": ["127.0.0.0/8"]},
                         "hba": ["host all all 203.0.113.0/24 scram-sha-256", "host all other 127.0.0.1/32 scram-sha-256"]})
    try:
        yield one.start()
    finally:
        one.remove()


@pytest.mark.parametrize("header", [V1, V2, V2_MAPPED])
@pytest.mark.parametrize("how", ["whole", "bytes", "apart"])
def test_proxy_header(behind, header, how):
    wire = behind.raw()
    first = startup({"user": "app", "database": "shop"})
    if how == "whole":
        wire.send(header, first)
    elif how == "apart":
        wire.send(header)
        assert wire.quiet(0.1)
        wire.send(first)
    else:
        for byte in header + first:
            wire.send(bytes([byte]))
    wire.authenticate("app", c.APP_PASSWORD)
    wire.until("Z")
    assert wire.one("SELECT 1") == "1"


def test_rules_see_the_address_in_the_header(behind):
    wire = behind.raw()
    wire.send(V1.replace(b"203.0.113.7", b"198.51.100.9"))
    assert 'host "198.51.100.9", user "app"' in refusal(wire, "app")["M"]
    # UNKNOWN and LOCAL: the load balancer's own address.
    for header in (b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"):
        wire = behind.raw()
        wire.send(header)
        assert 'host "127.0.0.1", user "app"' in refusal(wire, "app")["M"]
        wire = behind.raw()
        wire.send(header)
        wire.login("other", "other-secret", "shop")
        assert wire.one("SELECT 1") == "1"


@pytest.mark.parametrize("first", [startup({"user": "app", "database": "shop"}), b"GET / HTTP/1.1\r\n\r\n",
                                   b"PROXY TCP4 999.0.0.1 127.0.0.1 1 2\r\n", b"PROXY TCP4 " + b"1" * 200])
def test_without_a_header_nobody_trusted_comes_in(behind, first):
    wire = behind.raw()
    wire.send(first)
    fields = errors(wire.until_closed())[0]
    assert fields["M"] == "expected a PROXY protocol header"


def test_a_header_of_somebody_else_is_not_believed(lull):
    wire = lull.raw()
    wire.send(V1, startup({"user": "app", "database": "shop"}))
    messages = wire.until_closed()
    assert all(m.type == "E" for m in messages)
