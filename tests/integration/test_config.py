"""The configuration as an operator meets it: what a mistake is answered with, what a reload takes over and what not."""
import os
import re
import socket
import subprocess

import pytest
import yaml

from harness.lull import binary
from harness.wait import wait_for
from harness.wire import errors, query, rows, statuses, tags

TEN_LINES = """\
listen:
  postgres: 127.0.0.1:6432
  migration: 127.0.0.1:6433
clusters:
  main:
    primary: 127.0.0.1:5432
    replicas: [127.0.0.1:5433]
sites:
  shop:
users: {app: {password: secret}}
"""


def check(tmp_path, text, *more, name="lull.yaml"):
    file = tmp_path / name
    file.write_text(text)
    file.chmod(0o600)
    return subprocess.run([binary(), "check", "--config", str(file), *more], capture_output=True, text=True, timeout=20)


def test_ten_lines_are_a_configuration(tmp_path):
    assert len(TEN_LINES.splitlines()) == 10
    done = check(tmp_path, TEN_LINES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_check_prints_what_is_in_force_and_no_secret(tmp_path):
    done = check(tmp_path, TEN_LINES)
    assert "secret" not in done.stdout.replace("(redacted)", ""), "a password was shown"
    effective = yaml.safe_load(done.stdout)
    assert effective["listen"]["postgres"] == "127.0.0.1:6432"
    assert effective["sites"]["shop"]["writes"] == "refuse" and effective["sites"]["shop"]["databases"] == ["shop"]
    assert effective["sites"]["shop"]["drain"]["timeout"] and effective["limits"]["max_clients"] == 5000
    assert effective["users"]["app"]["password"] == "(redacted)"


def test_check_explains_every_key(tmp_path):
    done = check(tmp_path, TEN_LINES, "--explain")
    for key in ("max_age", "drain", "probe_interval", "migration", "max_waiting_clients", "report_read_only"):
        assert key in done.stdout


@pytest.mark.parametrize("old, new, line, column, said", [
    ("  postgres:", "  postgress:", 2, 3, ["postgress", "postgres"]),              # unknown key, did you mean
    ("primary: 127.0.0.1:5432", "primary: nowhere", 6, 14, ["port"]),              # bad endpoint
    ("primary: 127.0.0.1:5432", "primary: 127.0.0.1:99999", 6, 14, ["65535"]),
    ("replicas: [127.0.0.1:5433]", "replicas: {a: b}", 7, 15, []),                 # wrong type
    ("  shop:", "  shop: {cluster: other}", 9, None, ["other", "main"]),           # missing cluster
    ("  shop:", "  shop: {retry_after: 30}", 9, None, ["s"]),                      # a unit is needed
    ("  shop:", "  shop: {writes: forget}", 9, None, ["refuse", "hold"]),
    ("  shop:", "  shop:\n  shop:", 10, 3, ["shop"]),                              # twice
    ("  shop:", "  shop:\n  market: {databases: [shop]}", None, None, ["shop", "market"]),
    ("  main:", "\tmain:", 5, None, []),                                           # a tab
    ("users: {app: {password: secret}}", "users: {app: {password: secret}", None, None, []),  # never closed
])
def test_errors_name_the_place_and_the_fix(tmp_path, old, new, line, column, said):
    assert old in TEN_LINES
    done = check(tmp_path, TEN_LINES.replace(old, new, 1))
    text = done.stdout + done.stderr
    assert done.returncode != 0, text
    place = str(tmp_path / "lull.yaml") + ":" + (f"{line}:" if line else "") + (f"{column}:" if line and column else "")
    assert place in text, text
    assert "fix:" in text, text
    for word in said:
        assert word in text, text


def test_all_errors_at_once(tmp_path):
    text = TEN_LINES.replace("  postgres:", "  postgress:").replace("primary: 127.0.0.1:5432", "primary: nowhere") \
        .replace("{app: {password: secret}}", "{app: {pasword: secret}}")
    done = check(tmp_path, text)
    out = done.stdout + done.stderr
    for line in (2, 6, 10):
        assert f"lull.yaml:{line}:" in out, out
    assert "secret" not in out


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x: y\n" * 400_000),
                                  lambda p: p.write_bytes(b"\xff\xfe\0\0")], ids=["missing", "a folder", "too large", "no text"])
@pytest.mark.parametrize("verb", ["check", "serve"])
def test_a_file_that_cannot_be_read(tmp_path, make, verb):
    path = tmp_path / "some.yaml"
    make(path)
    done = subprocess.run([binary(), verb, "--config", str(path)], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and str(path) in done.stdout + done.stderr
    assert "terminate called" not in done.stderr


def test_serve_refuses_a_bad_configuration_before_it_touches_anything(make_lull):
    lull = make_lull({"sites": {"shop": {"no_such_key": 1}}}, start=False)
    lull.write_config()
    done = subprocess.run([binary(), "serve", "--config", lull.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0 and lull.config_file + ":" in done.stderr and "no_such_key" in done.stderr
    assert not os.path.exists(lull.state_dir) and not os.path.exists(lull.socket)


@pytest.mark.parametrize("key", ["postgres", "migration", "http", "metrics"])
def test_an_address_that_is_taken_is_told_by_its_key_and_with_a_fix(make_lull, key):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = "127.0.0.1:%d" % taken.getsockname()[1]
        lull = make_lull({"listen": {key: where}}, start=False)
        lull.start(wait=False)
        assert lull.process.wait(20) == 1
        lull.process = None
        assert f"listen.{key}: cannot listen on {where}: Address already in use (fix: end the process that listens there" in lull.log()


def test_a_warning_about_a_file_that_others_can_read(make_lull):
    lull = make_lull(start=False)
    lull.write_config()
    os.chmod(lull.config_file, 0o644)
    done = subprocess.run([binary(), "check", "--config", lull.config_file], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "warning: clusters.main.control.password" in done.stderr and "chmod" in done.stderr, done.stderr


def test_the_example_that_ships_is_valid():
    from harness.lull import ROOT
    done = subprocess.run([binary(), "check", "--config", f"{ROOT}/deploy/lull.yaml"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stdout + done.stderr


# -- reload --------------------------------------------------------------------------------------------------------------------------

def test_reload_by_signal_keeps_connections(make_lull):
    lull = make_lull()
    idle, busy = lull.wire(), lull.wire()
    idle.query("SET statement_timeout = '7s'")
    busy.query("BEGIN")
    busy.query("UPDATE items SET n = 1 WHERE id = 1")
    lull.config["users"]["late"] = {"password": "late-secret"}
    lull.config["sites"]["shop"]["writes"] = "hold"
    lull.cluster.primary.sql("DROP ROLE IF EXISTS late; CREATE ROLE late LOGIN PASSWORD 'late-secret'; GRANT app TO late")
    try:
        lull.PASSWORDS["late"] = "late-secret"
        lull.reload()
        wait_for(lambda: lull.wire(user="late").one("SELECT current_user") == "late", "the new user can log in")
        assert tags(busy.query("COMMIT")) == ["COMMIT"]
        assert idle.one("SHOW statement_timeout") == "7s"
        # The site's new policy is in force: a write is held now.
        lull.on()
        idle.send(query("INSERT INTO log (who) VALUES ('held now')"))
        wait_for(lambda: lull.site()["held"]["count"] == 1, "it is held")
        lull.off()
        assert tags(idle.until("Z")) == ["INSERT 0 1"]
    finally:
        idle.close()
        lull.stop()
        lull.cluster.primary.sql("DROP ROLE late")


def test_reload_by_the_command_line_says_what_cannot_be_taken_over(make_lull):
    lull = make_lull()
    before = lull.port
    lull.config["listen"]["postgres"] = "127.0.0.1:1"
    lull.config["workers"] = 3
    lull.config["sites"]["shop"]["retry_after"] = "99s"
    lull.write_config()
    done = lull.cli("reload", check=False)
    text = done.stdout + done.stderr
    assert "listen.postgres" in text and "workers" in text and "restart" in text, text
    status, effective = lull.admin("GET", "/config")
    assert status == 200
    lull.port = before
    with lull.wire() as client:
        assert client.one("SELECT 1") == "1", "it goes on with what it had"


def test_a_bad_file_changes_nothing(make_lull):
    lull = make_lull()
    with lull.wire() as client:
        good = lull.config
        lull.write_config("listen: [oops\n")
        lull.process.send_signal(1)
        wait_for(lambda: "lull.yaml:" in lull.log(), "the mistake is in the log, with its place")
        status, problem = lull.admin("POST", "/reload")
        assert status >= 400 and "lull.yaml:" in str(problem), problem
        lull.config = good
        assert client.one("SELECT 1") == "1"
        with lull.wire() as other:
            assert tags(other.query("UPDATE items SET n = 1 WHERE id = 1")) == ["UPDATE 1"]


def test_reload_tells_what_of_a_cluster_waits_for_a_restart_and_applies_the_rest(make_lull):
    lull = make_lull(replicas=False)
    main = lull.config["clusters"]["main"]
    main["control"] = dict(main["control"], user="somebody")
    main["pool_size"] = 1
    lull.write_config()
    said = lull.cli("reload").stdout.splitlines()
    assert any(line.startswith("clusters.main.control.user  NOT applied, needs a restart") for line in said), said
    assert "clusters.main.pool_size" in said
    with lull.connect(autocommit=False) as first, lull.wire() as second:
        first.execute("UPDATE items SET n = 1 WHERE id = 1")
        second.send(query("UPDATE items SET n = 1 WHERE id = 2"))
        assert second.quiet(0.4)  # there is one connection, and it is taken
        first.rollback()
        assert tags(second.until("Z")) == ["UPDATE 1"]


@pytest.mark.parametrize("key", ["max_db_connections", "max_user_connections"])
def test_a_limit_of_server_connections_changes_by_a_reload(make_lull, key):
    lull = make_lull({"clusters": {"main": {key: 1}}}, replicas=False)
    lull.config["clusters"]["main"][key] = 2
    lull.write_config()
    assert lull.cli("reload").stdout == f"clusters.main.{key}\n"
    assert lull.cli("reload").stdout == "reloaded, nothing has changed\n"
    with lull.connect(autocommit=False) as first, lull.wire() as second, lull.wire() as third:
        first.execute("UPDATE items SET n = 1 WHERE id = 1")
        assert tags(second.query("UPDATE items SET n = 1 WHERE id = 2")) == ["UPDATE 1"]
        second.query("BEGIN")
        second.query("UPDATE items SET n = 1 WHERE id = 2")
        third.send(query("UPDATE items SET n = 1 WHERE id = 3"))
        assert third.quiet(0.4)
        first.rollback()
        assert tags(third.until("Z")) == ["UPDATE 1"]


def test_a_site_that_comes_with_its_cluster_is_not_said_to_be_there(make_lull):
    lull = make_lull()
    lull.config["clusters"]["two"] = {"primary": "127.0.0.1:1"}
    lull.config["sites"]["elsewhere"] = {"cluster": "two"}
    lull.write_config()
    for _ in range(2):
        said = lull.cli("reload").stdout.splitlines()
        assert [line.split("  ")[0] for line in said] == ["clusters.two", "sites.elsewhere"], said
        assert all("NOT applied, needs a restart" in line for line in said), said


def test_a_pool_mode_that_changes_by_a_reload_is_of_those_who_come(make_lull):
    lull = make_lull({"console": {"admins": ["app"]}})
    modes = lambda: {row[0]: row[15] for row in rows(lull.wire(dbname="lull").query("SHOW POOLS")) if row[1] == "app"}  # noqa: E731
    with lull.wire() as before:
        assert before.one("SELECT 1") == "1"
        lull.config["users"]["app"]["pool_mode"] = "statement"
        lull.write_config()
        assert lull.cli("reload").stdout == "users.app.pool_mode  in force for new connections\n"
        assert tags(before.query("BEGIN")) == ["BEGIN"] and tags(before.query("ROLLBACK")) == ["ROLLBACK"]
        assert modes() == {"shop": "transaction"}
        with lull.wire() as after:
            assert errors(after.query("BEGIN"))
            assert modes() == {"shop": "transaction, statement"}
    wait_for(lambda: modes() == {"shop": "statement"}, "what the next would get")
    lull.config["users"]["app"]["pool_mode"] = "session"
    lull.write_config()
    with lull.wire(dbname="lull") as console:
        console.send(query("RELOAD"))
        assert any(b"users.app.pool_mode is in force for new connections" in m.body for m in console.until("Z") if m.type == "N")


def test_reload_while_sealed_stays_sealed(make_lull):
    lull = make_lull()
    lull.on(reason="r")
    epoch = lull.site()["epoch"]
    lull.config["limits"] = {"max_clients": 4000}
    lull.reload()
    wait_for(lambda: "4000" in str(lull.admin("GET", "/config")), "taken over")
    site = lull.site()
    assert (site["mode"], site["state"], site["epoch"], site["reason"]) == ("sealed", "frozen", epoch, "r")
    with lull.wire() as client:
        assert errors(client.query("UPDATE items SET n = 1"))[0]["C"] == "25006"
    lull.off()


def test_a_site_that_is_added(make_lull, primary):
    lull = make_lull({"sites": {"held": None}})
    lull.config["sites"]["held"] = {"cluster": "main", "databases": ["held"], "writes": "refuse"}
    lull.reload()
    wait_for(lambda: lull.wire("held").one("SELECT 1") == "1", "its database is served")
    assert lull.site("held")["mode"] == "read_write"
    lull.on("held")
    with lull.wire("held") as client:
        answer = client.query("UPDATE items SET n = 1")
        assert errors(answer)[0]["C"] == "25006" and statuses(answer) == "I"
    lull.off("held")


def renamed(config):
    config["sites"]["store"] = config["sites"].pop("shop")


def moved(config):
    config["sites"]["held"]["databases"] = ["held", "shop"]
    config["sites"]["shop"]["databases"] = ["bench"]


@pytest.mark.parametrize("change, site", [(renamed, "store"), (moved, "held")])
def test_a_reload_that_gives_a_database_to_another_site_is_refused_as_a_whole(make_lull, change, site):
    """Its clients would write on behind a site that says it is sealed."""
    lull = make_lull(replicas=False)
    before = [s["site"] for s in lull.admin("GET", "/sites")[1]["sites"]]
    change(lull.config)
    lull.config["sites"]["held"]["retry_after"] = "77s"
    lull.write_config()
    status, problem = lull.admin("POST", "/reload")
    assert status == 422, problem
    assert f'sites.{site}.databases: database "shop" is of site shop now' in problem["detail"] and "lull.yaml" in problem["detail"], problem
    assert "lull maintenance off shop" in problem["fix"] and "restart" in problem["fix"], problem
    with open(lull.config_file) as text:
        lines = text.read().split("\n")
    line, column = map(int, re.search(r"lull.yaml:(\d+):(\d+): error: sites", problem["detail"]).groups())
    assert lines[line - 1][column - 1:] == "databases:" and f"  {site}:" in lines[:line], (problem, lines[line - 1])
    failed = lull.cli("reload", check=False)
    assert failed.returncode != 0 and "is of site shop now" in failed.stdout + failed.stderr
    assert [s["site"] for s in lull.admin("GET", "/sites")[1]["sites"]] == before
    assert "77s" not in str(lull.admin("GET", "/config")), "nothing of it is taken over"
    assert lull.admin("GET", "/sites/store/migration")[0] == 404
    lull.on("held")
    lull.on()
    with lull.wire() as client:
        assert errors(client.query("UPDATE items SET n = 1"))[0]["C"] == "25006"


def test_a_reload_that_leaves_a_host_with_two_sites_is_refused(make_lull):
    site = {"cluster": "main", "databases": ["bench"], "hosts": ["a.example"], "upstreams": ["127.0.0.1:1"]}
    lull = make_lull({"sites": {"bench": site}}, replicas=False)
    del lull.config["sites"]["bench"]
    lull.config["sites"]["held"].update(hosts=["A.example"], upstreams=["127.0.0.1:1"])
    lull.write_config()
    status, problem = lull.admin("POST", "/reload")
    assert status == 422 and "host a.example would be of the sites bench and held" in problem["detail"].lower(), problem


def test_a_host_does_not_leave_a_closed_site(make_lull):
    """Its POSTs would pass behind a site that says it is sealed."""
    web = {"upstreams": ["127.0.0.1:1"]}
    lull = make_lull({"sites": {"shop": {"hosts": ["Shop.example", "other.example"], **web}, "held": {"hosts": ["held.example"], **web}}},
                     replicas=False)
    lull.on()
    lull.config["sites"]["shop"]["hosts"] = ["other.example"]
    lull.config["sites"]["held"]["hosts"] = ["held.example", "shop.example"]
    lull.write_config()
    status, problem = lull.admin("POST", "/reload")
    assert status == 422 and "host shop.example would leave site shop, which is closed" in problem["detail"], problem
    assert "lull maintenance off shop" in problem["fix"]
    lull.off()
    assert lull.admin("POST", "/reload")[0] == 200


def test_the_configuration_over_the_admin_socket_shows_no_secret(make_lull):
    lull = make_lull()
    status, effective = lull.admin("GET", "/config")
    assert status == 200
    for secret in ("app-secret", "control-secret", "auth-secret", "SCRAM-SHA-256$"):
        assert secret not in str(effective)


def test_version():
    done = subprocess.run([binary(), "--version"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and "lull" in done.stdout.lower()
