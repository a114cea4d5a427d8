"""What the service does again and again beside its pages."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

PATIENCE = 5.0  # seconds for what is under way: longer than an errand takes to end (device.errand.MERCY)

log = logging.getLogger(__name__)


class Repeating:
    """Does something every ``every`` seconds, in a thread of its own, until it is closed; what goes wrong is
    logged, and the next time comes. ``what`` is given a function that says whether it is to end."""

    def __init__(self, every: float, what: Callable[[Callable[[], bool]], object], name: str) -> None:
        self._every, self._what, self._ended = every, what, threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End, after what is under way was told to. What does not end is left behind: the process ends soon."""
        self._ended.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._what(self._ended.is_set)
            except Exception as error:
                log.warning("%s: %s", self._thread.name, error)
            self._ended.wait(self._every)
