"""What is said to systemd, read from a real datagram socket as systemd would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import uuid

import pytest

from device.notify import Heartbeat, Notifier


class Systemd:
    """The listening end, and the environment that names it."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self.environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "90000", "WATCHDOG_PID": str(os.getpid())}

    def heard(self) -> list[str]:
        """The lines of the next message."""
        self.sock.settimeout(10)
        return self.sock.recv(4096).decode().split("\n")

    def silent(self) -> bool:
        """Whether nothing is said for more than three times the watchdog's time."""
        self.sock.settimeout(0.3)
        try:
            return self.sock.recv(4096) is None
        except TimeoutError:
            return True


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = str(tmp_path / "notify") if request.param == "path" else f"@tenohira-{uuid.uuid4()}"
        sock.bind(name if request.param == "path" else "\0" + name[1:])
        yield Systemd(sock, name)


def test_each_message_is_one_datagram(systemd):
    notifier = Notifier(systemd.environment)
    notifier.ready("listening on port 8080")
    notifier.status("two\nlines become one")
    notifier.feed()
    notifier.stopping()
    assert systemd.heard() == ["READY=1", "STATUS=listening on port 8080"]
    assert systemd.heard() == ["STATUS=two lines become one"]
    assert systemd.heard() == ["WATCHDOG=1"]
    assert systemd.heard() == ["STOPPING=1"]


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_outside_of_systemd_nothing_happens(environment):
    notifier = Notifier(environment)
    assert not notifier.enabled and notifier.watchdog_s is None
    notifier.ready()
    notifier.feed()


def test_a_socket_that_is_gone_does_not_stop_the_service(tmp_path, caplog):
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "systemd could not be told READY=1" in caplog.text


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, 0.09),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": "1"}, None),
    ],
)
def test_the_watchdogs_time(systemd, changes, wanted):
    assert Notifier(systemd.environment | changes).watchdog_s == wanted


def test_a_service_that_is_alive_is_fed_again_and_again(systemd):
    with Heartbeat(Notifier(systemd.environment), lambda: True):
        assert [systemd.heard() for _ in range(4)] == [["WATCHDOG=1"]] * 4


def test_a_wedged_service_is_not_fed_until_it_turns_again(systemd):
    alive = threading.Event()
    alive.set()
    with Heartbeat(Notifier(systemd.environment), alive.is_set):
        assert systemd.heard() == ["WATCHDOG=1"]
        alive.clear()
        while (said := systemd.heard()) == ["WATCHDOG=1"]:
            pass
        assert said == ["STATUS=stuck: the watchdog is not fed"]
        assert systemd.silent()
        alive.set()
        assert systemd.heard() == ["WATCHDOG=1", "STATUS=working again"]


def test_a_look_that_fails_is_a_no(systemd, caplog):
    def broken() -> bool:
        raise OSError("the store does not answer")

    heartbeat = Heartbeat(Notifier(systemd.environment), broken)
    assert not heartbeat.beat() and not heartbeat.beat()
    assert "the store does not answer" in caplog.text
    assert systemd.heard() == ["STATUS=stuck: the watchdog is not fed"]
    assert systemd.silent()


def test_a_look_that_never_comes_back_is_a_no_and_can_be_left(systemd):
    never = threading.Event()
    with Heartbeat(Notifier(systemd.environment), never.wait):
        assert systemd.silent()
    never.set()


def test_where_nobody_watches_no_thread_is_started():
    before = threading.active_count()
    with Heartbeat(Notifier({}), lambda: True):
        assert threading.active_count() == before


def test_a_process_that_systemd_started_finds_its_socket(systemd):
    """The real environment, from another process."""
    code = "from device.notify import Notifier; n = Notifier(); n.ready('up'); print(n.watchdog_s)"
    given = os.environ | {k: v for k, v in systemd.environment.items() if k != "WATCHDOG_PID"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.09"
    assert systemd.heard() == ["READY=1", "STATUS=up"]
