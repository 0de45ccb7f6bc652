"""Where there is no room: the admin socket's queue is full, or Lull takes nobody in from it; Lull has no file descriptor left."""
import contextlib
import os
import signal
import socket
import time

import pytest

from harness.wait import wait_for


@pytest.fixture
def lull(make_lull):
    return make_lull()


@contextlib.contextmanager
def stopped(lull):
    os.kill(lull.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(lull.process.pid, signal.SIGCONT)


def asking(lull, request=b"PUT /sites/shop/maintenance HTTP/1.1\r\nHost: lull\r\nContent-Length: 2\r\n\r\n{}"):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(lull.socket)
    peer.sendall(request)
    return peer


# -- the admin socket ---------------------------------------------------------------------------------------------------------------


def test_what_nobody_waits_for_any_more_is_not_begun(lull):
    with stopped(lull):
        command = lull.cli_start("maintenance", "on", "shop")
        assert "no answer for 5 s" in command.stdout.readline()
        command.send_signal(signal.SIGINT)
        assert "what it has not it does not begin" in command.communicate(timeout=20)[0]
        killed = lull.cli_start("maintenance", "on", "shop")
        assert "no answer for 5 s" in killed.stdout.readline()
        killed.kill()
        killed.communicate(timeout=20)
        asking(lull).close()
    wait_for(lambda: lull.log().count("PUT /sites/shop/maintenance is not begun: who asked for it has gone") == 3, "all are seen", 5)
    assert lull.site()["mode"] == "read_write" and lull.site()["epoch"] == 0


def test_who_has_only_ended_his_side_is_answered(lull):
    with stopped(lull):
        peer = asking(lull)
        peer.shutdown(socket.SHUT_WR)
    assert peer.recv(4096).startswith(b"HTTP/1.1 202 ")
    lull.wait_mode("sealed")


def test_what_has_begun_goes_on_without_who_asked(lull):
    with lull.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO log (who) VALUES ('amid')")
        command = lull.cli_start("maintenance", "on", "shop")
        lull.wait_mode("draining")
        command.kill()
        command.communicate(timeout=20)
        peer = asking(lull, b"PUT /sites/shop/maintenance?wait_ms=60000 HTTP/1.1\r\nHost: lull\r\n\r\n")
        descriptors = f"/proc/{lull.process.pid}/fd"
        before = len(os.listdir(descriptors))
        peer.close()
        wait_for(lambda: len(os.listdir(descriptors)) < before, "nobody is waited for who has gone", 5)
        assert lull.site()["mode"] == "draining"
        writer.commit()
    lull.wait_mode("sealed")


@pytest.fixture
def crowd(lull):
    """As many wait in the queue of the admin socket as may."""
    waiting = []
    with stopped(lull), contextlib.ExitStack() as all:
        with contextlib.suppress(BlockingIOError):
            while len(waiting) < 10_000:
                waiting.append(all.enter_context(socket.socket(socket.AF_UNIX)))
                waiting[-1].setblocking(False)
                waiting[-1].connect(lull.socket)
        yield waiting


def test_a_full_queue_is_waited_for(lull, crowd):
    begun = time.monotonic()
    done = lull.cli("status", check=False)
    assert done.returncode == 3 and "has room for, and this was not among them" in done.stderr, done.stderr
    assert time.monotonic() - begun > 4
    command = lull.cli_start("maintenance", "on", "shop")
    assert "no answer for 5 s, still waiting" in command.stdout.readline()
    os.kill(lull.process.pid, signal.SIGCONT)
    for peer in crowd:
        peer.close()
    assert command.wait(timeout=30) == 0, command.stdout.read()
    assert lull.site()["mode"] == "sealed"


def test_a_command_that_found_no_room_is_ended(lull, crowd):
    command = lull.cli_start("maintenance", "on", "shop")
    assert "no answer for 5 s" in command.stdout.readline()
    command.send_signal(signal.SIGINT)
    assert command.wait(timeout=20) != 0
