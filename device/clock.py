"""Whether the clock can be believed: it is compared with the record's log, and with time that runs on steadily.

A Pi without network and battery guesses the time when it starts, and a hand may set a wrong one. A clock that
jumps is doubted, unless something stands behind it. The doubt is kept in the record, for times that are recorded
meanwhile are as doubtful as the clock; it ends when the network sets the clock, when the clock has come back to
what the steady time makes of the last time that could be believed, or when somebody has compared it with a watch
and says so. It never ends because time goes by. Until then no examination is removed for its age.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

JUMP = timedelta(minutes=10)  # more than this in a running instrument, or back since the log's last entry
UNUSED = timedelta(days=60)  # an instrument may have been switched off so long, and nobody doubts its clock


class Log(Protocol):
    """What is needed of ``device.store.Store``."""

    @property
    def last_entry(self) -> str: ...
    @property
    def clock_doubted(self) -> str: ...
    def doubt_clock(self, believed: str) -> None: ...
    def believe_clock(self, actor: str) -> None: ...


class Clock:
    """Look at it again and again; several threads may. ``wall`` and ``steady`` are the two clocks."""

    def __init__(
        self,
        log: Log,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        # Goes on while the machine sleeps, which time.monotonic does not.
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._log, self._wall, self._steady = log, wall, steady
        self._lock = threading.Lock()
        self._last: tuple[datetime, float] | None = None
        # What the clock should have said when it was doubted, the steady time of then, and how far ahead of that
        # it may be. None where there is no doubt, and where it is of an earlier start: how long the instrument was
        # switched off since then, nobody knows.
        self._right: tuple[datetime, float, timedelta] | None = None

    def look(self, source: str | None) -> str:
        """The last time that could be believed (ISO 8601), where the clock is doubted; else nothing.

        ``source`` stands behind the clock (``device.health.Health.clock_source``). A network ends every doubt; a
        clock chip, which may be wrong itself, says only how long the instrument was switched off. Raises
        StoreError.
        """
        with self._lock:
            now, steady, last = self._wall(), self._steady(), self._last
            doubted = self._log.clock_doubted
            if doubted:
                if source == "network" or self._is_right_again(now, steady):
                    self._log.believe_clock("instrument")
                    doubted = ""
            elif source != "network":
                if last is None:
                    expected = _time(self._log.last_entry, now)
                    ahead = None if source == "rtc" else UNUSED
                else:
                    expected, ahead = last[0] + timedelta(seconds=steady - last[1]), JUMP
                if not _fits(now, expected, ahead):
                    doubted = expected.isoformat(timespec="milliseconds")
                    self._log.doubt_clock(doubted)
                    self._right = expected, steady, UNUSED if last is None else JUMP
            if not doubted:
                self._right = None
            self._last = now, steady
            return doubted

    def _is_right_again(self, now: datetime, steady: float) -> bool:
        if self._right is None:
            return False
        expected, since, ahead = self._right
        return _fits(now, expected + timedelta(seconds=steady - since), ahead)


def _fits(now: datetime, expected: datetime, ahead: timedelta | None) -> bool:
    """Whether the clock has gone on from ``expected`` by no more than ``ahead``; None: by whatever it says."""
    gone = now - expected
    return gone >= -JUMP and (ahead is None or gone <= ahead)


def _time(text: str, otherwise: datetime) -> datetime:
    return datetime.fromisoformat(text) if text else otherwise
