"""A network that fails between the instrument and an archive: a relay of TCP whose faults are switched on and off.

It listens on the loopback, or on the one address of this machine by which a target reaches it, holds few
connections, and ends with its context.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Literal, Self

MOST = 64  # connections at the same time; more are refused
PIECE = 16384  # bytes that are passed on at once
STUCK = 60.0  # seconds until one that takes nothing is given up
LOOK = 0.05  # seconds between two looks at the fault, for what waits
USER_NETWORK = "10.0.3.2"  # this machine's loopback, as qemu shows it to the virtual Pi (rigs/pi-virtual.yaml)


@dataclass(frozen=True)
class Fault:
    """What the network does.

    ``refuse``: nobody listens. ``swallow``: connections open, and nothing comes through. ``slow``: so many bytes
    a second. ``cut``: each connection breaks after so many bytes. ``flap``: half of each ``period`` (seconds)
    connections break and none can be made, the other half they last, at ``bytes_per_second`` where that is told.
    """

    mode: Literal["none", "refuse", "swallow", "slow", "cut", "flap"] = "none"
    bytes_per_second: int = 0
    after: int = 0
    period: float = 0.0

    def down(self, since: float) -> bool:
        """Whether no connection lives, ``since`` seconds after it began."""
        return self.mode == "refuse" or (self.mode == "flap" and (since // (self.period / 2)) % 2 == 0)


class Network:
    """From ``port`` here to a port of the loopback. ``here`` is this machine as the target has it. A context
    manager."""

    def __init__(self, to: int, here: str = "127.0.0.1") -> None:
        self._to, self._listen = to, "127.0.0.1" if here == USER_NETWORK else here
        self._fault, self._since = Fault(), time.monotonic()
        self._ended = threading.Event()
        self._places = threading.BoundedSemaphore(MOST)
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.port = 0
        self.passed = 0  # bytes, in both directions

    def __enter__(self) -> Self:
        self._open()
        threading.Thread(target=self._serve, name="network", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._close()

    def fail(self, fault: Fault) -> None:
        """From now on, also for connections that are open."""
        with self._lock:
            self._fault, self._since = fault, time.monotonic()

    def mend(self) -> None:
        """As it should be."""
        self.fail(Fault())

    def _state(self) -> tuple[Fault, bool]:
        with self._lock:
            return self._fault, self._fault.down(time.monotonic() - self._since)

    def _open(self) -> None:
        """The same port each time."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((self._listen, self.port))
        sock.listen(MOST)
        sock.settimeout(LOOK)
        self.port, self._listener = sock.getsockname()[1], sock

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _serve(self) -> None:
        while not self._ended.is_set():
            _, down = self._state()
            if down:
                self._close()  # whoever connects is refused by the kernel
                time.sleep(LOOK)
                continue
            if self._listener is None:
                self._open()
            try:
                client, _ = self._listener.accept()
            except OSError:  # nobody came, or it was closed
                continue
            if not self._places.acquire(blocking=False):
                client.close()
                continue
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()
        self._close()

    def _relay(self, client: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._places.release)
            stack.enter_context(client)
            try:
                server = stack.enter_context(socket.create_connection(("127.0.0.1", self._to), timeout=5))
            except OSError:
                return
            for each in (client, server):
                each.settimeout(STUCK)
            left = _Left()
            ways = [
                threading.Thread(target=self._pass, args=(a, b, left), daemon=True)
                for a, b in ((client, server), (server, client))
            ]
            for way in ways:
                way.start()
            for way in ways:
                way.join()

    def _pass(self, source: socket.socket, sink: socket.socket, left: _Left) -> None:
        """Bytes from one to the other until either ends, or the fault ends them."""
        try:
            while not self._ended.is_set():
                fault, down = self._state()
                if down:
                    _break(source, sink)
                    return
                if fault.mode == "swallow" or not select.select([source], [], [], LOOK)[0]:
                    time.sleep(LOOK if fault.mode == "swallow" else 0)
                    continue
                speed = fault.bytes_per_second
                size = max(1, min(PIECE, speed // 10)) if speed else PIECE
                data = source.recv(size)
                if not data:
                    break
                if fault.mode == "cut" and left.take(len(data), fault.after):
                    _break(source, sink)
                    return
                sink.sendall(data)
                self.passed += len(data)
                if speed:
                    time.sleep(len(data) / speed)
        except (OSError, ValueError):  # ValueError: select of a socket that the other way has closed
            _break(source, sink)
            return
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


class _Left:
    """How much a connection has carried, in both directions."""

    def __init__(self) -> None:
        self._carried, self._lock = 0, threading.Lock()

    def take(self, size: int, most: int) -> bool:
        """Whether it has carried more than ``most`` with these."""
        with self._lock:
            self._carried += size
            return self._carried > most


def _break(*sockets: socket.socket) -> None:
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
