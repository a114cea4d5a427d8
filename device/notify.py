"""What the service tells systemd: that it is ready, what it is doing, and that it is alive (sd_notify(3)).

The protocol is one datagram to a socket that systemd names in the environment, so it is written out here. The
packages that wrap it are either no longer kept (sdnotify: 2017) or are compiled against libsystemd without wheels
(systemd-python).
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Self

log = logging.getLogger(__name__)

SEND_DEADLINE_S = 1.0  # systemd's socket is full only where systemd itself is stuck


class Notifier:
    """Says READY, STATUS, WATCHDOG and STOPPING to systemd; outside of systemd every call does nothing.

    ``watchdog_s`` is the time within which ``feed`` must be called again, None where nobody watches.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        address = given.get("NOTIFY_SOCKET", "")
        # "@name" is a name in the abstract namespace, which begins with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.enabled = address.startswith(("/", "@"))
        self.watchdog_s = _watchdog_s(given) if self.enabled else None

    def ready(self, status: str = "") -> None:
        """The service is up: systemd lets go on what waits for it."""
        self._send("READY=1", status)

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._send("", status)

    def feed(self, status: str = "") -> None:
        """The service is alive: the watchdog's time starts anew."""
        self._send("WATCHDOG=1", status)

    def stopping(self, status: str = "") -> None:
        """The service is about to end by itself."""
        self._send("STOPPING=1", status)

    def _send(self, state: str, status: str) -> None:
        """A message that cannot be delivered is logged: the service itself must not fall over it."""
        if not self.enabled:
            return
        lines = [state] if state else []
        if status:
            lines.append("STATUS=" + " ".join(status.split()))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_DEADLINE_S)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.warning("systemd could not be told %s: %s", state or "its status", error)


class Heartbeat:
    """Feeds the watchdog from a thread of its own, but only while ``alive()`` says yes.

    ``alive`` looks at the work itself (has the camera's loop turned, does the store answer), so that a service
    which is wedged is not fed, and systemd restarts it. An ``alive`` that raises or does not come back is a no.
    Where nobody watches, no thread is started. Use it as a context manager.
    """

    def __init__(self, notifier: Notifier, alive: Callable[[], bool]) -> None:
        self._notifier, self._alive = notifier, alive
        self._end = threading.Event()
        self._was_alive = True
        self._thread: threading.Thread | None = None

    def beat(self) -> bool:
        """One look, and food if it was good; what the thread does all the time."""
        try:
            alive = self._alive()
        except Exception:  # whatever it is, it must not stop the watch
            log.exception("the look at the service's own health failed")
            alive = False
        if alive:
            self._notifier.feed("" if self._was_alive else "working again")
        elif self._was_alive:
            log.error("the service does not turn any more; the watchdog is not fed")
            self._notifier.status("stuck: the watchdog is not fed")
        self._was_alive = alive
        return alive

    def __enter__(self) -> Self:
        if self._notifier.watchdog_s is not None:
            self._thread = threading.Thread(
                target=self._run, args=(self._notifier.watchdog_s / 3,), name="heartbeat", daemon=True
            )
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(SEND_DEADLINE_S)  # an ``alive`` that never comes back is left behind

    def _run(self, interval: float) -> None:
        while True:
            self.beat()
            if self._end.wait(interval):
                return


def _watchdog_s(given: Mapping[str, str]) -> float | None:
    """From WATCHDOG_USEC, unless WATCHDOG_PID says that another process is meant."""
    if given.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        microseconds = int(given.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 else None
