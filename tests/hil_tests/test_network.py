"""The network that fails on purpose does what it says, and no more."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from hil_tests.network import Fault, Network
from hil_tests.waiting import until


@pytest.fixture
def echo():
    """A server that says everything again. Its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        def answer(one):
            with one, contextlib.suppress(ConnectionError):
                while data := one.recv(65536):
                    one.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.fixture
def network(echo):
    with Network(echo) as network:
        yield network


def said(network: Network, words: bytes, patience: float = 5.0) -> bytes:
    """What comes back."""
    with socket.create_connection(("127.0.0.1", network.port), timeout=patience) as one:
        one.sendall(words)
        one.shutdown(socket.SHUT_WR)
        back = b""
        while data := one.recv(65536):
            back += data
        return back


def refused(network: Network) -> bool:
    try:
        said(network, b"a")
    except OSError as error:  # reset, where the relay closes its listener just then
        return isinstance(error, ConnectionRefusedError)
    return False


def test_without_a_fault_everything_comes_through(network):
    words = bytes(range(256)) * 4000
    assert said(network, words) == words
    assert network.passed == 2 * len(words)


def test_nobody_listens_and_open_connections_end(network):
    with socket.create_connection(("127.0.0.1", network.port), timeout=5) as one:
        one.sendall(b"a")
        assert one.recv(1) == b"a"
        network.fail(Fault("refuse"))
        assert one.recv(1) == b""
    until(lambda: refused(network), 10, "the refusal")
    network.mend()
    until(lambda: not refused(network), 10, "the relay's listener")
    assert said(network, b"a") == b"a"


def test_a_black_hole_opens_and_says_nothing(network):
    network.fail(Fault("swallow"))
    with pytest.raises(TimeoutError):
        said(network, b"a", patience=0.5)


def test_slow_is_as_slow_as_it_says(network):
    network.fail(Fault("slow", bytes_per_second=20_000))
    begun = time.monotonic()
    assert said(network, b"a" * 10_000) == b"a" * 10_000
    assert 0.4 < time.monotonic() - begun < 30  # half a second one way, most of the other at the same time


def test_a_connection_breaks_after_so_many_bytes(network):
    network.fail(Fault("cut", after=100_000))
    try:
        back = said(network, b"a" * 1_000_000)
    except ConnectionError:
        back = b""
    assert len(back) < 100_000 and network.passed <= 100_000
    assert said(network, b"a" * 10) == b"a" * 10


def test_it_flaps(network):
    network.fail(Fault("flap", period=1.0))
    seen = set()
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        try:
            seen.add(said(network, b"a", patience=0.3))
        except OSError:
            seen.add(b"")
        time.sleep(0.05)
    assert seen == {b"a", b""}


def test_what_is_too_large_for_one_time_of_a_slow_flapping_network_never_arrives(network):
    network.fail(Fault("flap", bytes_per_second=20_000, period=1.0))  # some 10 kB between two breaks
    back = b""
    end = time.monotonic() + 3.0
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            back = max(back, said(network, b"a" * 50_000, patience=0.6))
    assert len(back) < 50_000 and network.passed
