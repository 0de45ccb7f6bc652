"""What an operator meets at the command line beside what a verb does: a server that is stuck, texts of others, narrow terminals,
pipes, statuses."""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness.lull import binary
from harness.process import stopped
from harness.wait import wait_for
from harness.wire import query, tags

NASTY = "insert into log(who) values('x') /* \x1b[2J\x1b]0;pwn\x07 \r\n\t\u009b31m */"


@pytest.fixture
def lull(make_lull):
    return make_lull()


@pytest.fixture
def stuck(lull):
    with stopped(lull.process.pid):
        yield lull


def read_until(process, text, timeout=15):
    seen, until = b"", time.monotonic() + timeout
    while text not in seen.decode(errors="replace"):
        ready, _, _ = select.select([process.stdout], [], [], max(0, until - time.monotonic()))
        chunk = os.read(process.stdout.fileno(), 65536) if ready else b""
        assert chunk, f"{text!r} did not come: {seen!r}"
        seen += chunk
    return seen.decode()


def on_terminal(lull, columns, *args, until, timeout=10):
    """Everything that a verb writes to a terminal of that width, until something has come."""
    pid, terminal = pty.fork()
    if pid == 0:
        time.sleep(0.3)  # until the width is set
        os.execve(binary(), [binary(), *args], lull.environment())
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    seen, end = b"", time.monotonic() + timeout
    while until.encode() not in seen and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536)
    os.kill(pid, signal.SIGINT)
    os.waitpid(pid, 0)
    os.close(terminal)
    return seen


def test_texts_of_clients_do_not_reach_the_terminal(lull):
    with lull.wire(application_name="a\x1b[31mb") as client:
        client.query("BEGIN")
        assert tags(client.query(NASTY)) == ["INSERT 0 1"]
        lull.begin(drain_timeout_ms=300, on_deadline="terminate")
        draining = lull.cli("status", "shop").stdout
        lull.wait_mode("sealed")
    sealed = lull.cli("status", "shop").stdout
    assert "sealing waited for" in sealed and "31m" in draining, (draining, sealed)
    for said in (draining, sealed, lull.cli("status", "--json").stdout):
        assert not any(c in said for c in "\x1b\x07\r\t\u009b"), said
    assert not [line for line in sealed.splitlines() if line.startswith(("31m", " 31m"))]


def test_a_path_that_is_no_socket_address(lull):
    long = "/tmp/" + "x" * 200
    for args in (("status",), ("maintenance", "off", "shop"), ("verify", "shop"), ("reload",)):
        done = lull.cli(*args, "--socket", long, check=False)
        assert done.returncode == 3 and "107" in done.stderr and "--socket" in done.stderr, done
    done = subprocess.run([binary(), "status"], env=dict(os.environ, LULL_SOCKET=long), capture_output=True, text=True)
    assert done.returncode == 3 and "107" in done.stderr


def test_a_stuck_server_is_given_up(stuck):
    for args in (("status",), ("reload",)):
        done = stuck.cli(*args, check=False, timeout=15)
        assert done.returncode == 3 and "does not answer" in done.stderr, done
    assert "what it has not it does not begin" in done.stderr


@pytest.mark.parametrize("verb", ["on", "off"])
def test_what_takes_long_waits_for_a_stuck_server_and_says_so(stuck, verb):
    process = stuck.cli_start("maintenance", verb, "shop")
    read_until(process, "still waiting")
    assert process.poll() is None
    os.kill(stuck.process.pid, signal.SIGCONT)
    assert ("is sealed" if verb == "on" else "open") in process.communicate(timeout=20)[0]
    assert process.returncode == 0


def test_a_stuck_server_can_be_left(stuck):
    process = stuck.cli_start("maintenance", "on", "shop")
    read_until(process, "still waiting")
    process.send_signal(signal.SIGINT)
    assert "what it has not it does not begin" in process.communicate(timeout=5)[0] and process.returncode == 130


def test_ctrl_c_while_entering_at_a_server_that_got_stuck(lull):
    with lull.connect(autocommit=False) as client:
        client.execute("INSERT INTO log (who) VALUES ('x')")
        process = lull.cli_start("maintenance", "on", "shop")
        read_until(process, "draining")
        with stopped(lull.process.pid):
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            assert "was NOT cancelled" in process.communicate(timeout=15)[0] and process.returncode == 130
        client.rollback()


def test_a_pipe_shows_things_in_their_order(lull):
    done = lull.cli("upgrade", "shop", "--", "echo", "MIGRATED")
    assert done.stdout.index("is sealed at") < done.stdout.index("MIGRATED") < done.stdout.index("open, writes go on")


def test_the_statuses_of_verify(lull):
    assert lull.cli("verify", "shop", check=False).returncode == 5  # no window yet
    assert lull.cli("verify", "nope", check=False).returncode == 5
    assert "5 no verdict" in lull.cli("verify", "--help").stdout


def test_journaled_writes_that_failed_are_said(make_lull, primary):
    lull = make_lull({"sites": {"shop": {"write_rules": [{"tables": ["log"], "action": "journal"}]}}})
    before = primary.sql("SELECT count(*) FROM log", db="shop")[0][0]
    lull.on()
    with lull.wire() as client:
        assert tags(client.query("INSERT INTO log (id, who) VALUES (1000000, 'once')")) == ["INSERT 0 1"]
        assert tags(client.query("INSERT INTO log (id, who) VALUES (1000000, 'twice')")) == ["INSERT 0 1"]
    assert "2 writes to run" in lull.cli("status", "shop").stdout
    done = lull.cli("maintenance", "off", "shop", check=False)
    assert done.returncode == 6 and "open, writes go on" in done.stdout, done
    assert "1 journaled write that clients were told had run was NOT DONE" in done.stderr and "lull journal shop" in done.stderr
    assert primary.sql("SELECT count(*) FROM log", db="shop")[0][0] == before + 1
    # Said until somebody has seen to it; a window of which nothing failed ends well.
    lull.on()
    done = lull.cli("maintenance", "off", "shop", check=False)
    assert done.returncode == 0 and "1 file with writes that were not done" in done.stderr


def test_a_narrow_terminal(lull):
    with lull.connect(autocommit=False, application_name="a-quite-long-name-" + "€" * 20) as client:
        client.execute("INSERT INTO log (who) VALUES ('x') /* " + "€" * 30 + " */")
        seen = on_terminal(lull, 60, "maintenance", "on", "shop", until="...")
        client.rollback()
    seen.decode()  # cut between characters only
    shown = [line for line in seen.decode().replace("\r\n", "\r").split("\r\x1b[K") if "draining" in line]
    assert shown and all(len(line.split("\r")[0]) < 60 for line in shown), shown


def test_unknown_commands_are_named(lull):
    for args, known in ((("foo",), "lull --help"), (("maintenance", "foo"), "lull maintenance --help")):
        done = lull.cli(*args, check=False)
        assert done.returncode == 2 and '"foo"' in done.stderr and known in done.stderr, done


def test_reload_says_each_error_on_its_line(lull):
    with open(lull.config_file) as file:
        good = file.read()
    with open(lull.config_file, "a") as file:
        file.write("\nbogus: 1\nbogus_too: 2\n")
    done = lull.cli("reload", check=False)
    with open(lull.config_file, "w") as file:
        file.write(good)
    lines = done.stderr.splitlines()
    wrong = [i for i, line in enumerate(lines) if ": error: bogus" in line]
    assert done.returncode == 1 and len(wrong) == 2 and all("fix: " in lines[i + 1] for i in wrong), done.stderr
    with open(lull.log_file) as file:
        said = [line for line in file if "error: bogus" in line]
    assert len(said) == 2 and all("(fix: " in line and "\\x0a" not in line for line in said), said


def test_what_cannot_be_written_is_an_error(lull):
    for args, status in ((("status",), 1), (("check",), 1), (("check", "--explain"), 1), (("--help",), 1), (("maintenance", "on", "shop"), 1)):
        with open("/dev/full", "w") as full:
            done = subprocess.run([binary(), *args], env=lull.environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
        assert done.returncode == status and "No space left" in done.stderr, (args, done)
    lull.off()
    assert lull.cli("verify", "shop", check=False).returncode in (0, 4)
    with open("/dev/full", "w") as full:
        done = subprocess.run([binary(), "verify", "shop"], env=lull.environment(), stdout=full, stderr=subprocess.DEVNULL, timeout=30)
    assert done.returncode in (4, 5)  # never 1, somebody else's commit


def test_any_word_may_stand_for_a_site(lull):
    for word in ("a b", "a/b?c", "50%", "\u00fc"):
        done = lull.cli("status", word, check=False)
        assert done.returncode == 1 and f'there is no site "{word}"' in done.stderr, done
