"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(found: Callable[[], T], seconds: float, what: str, every: float = 0.2) -> T:
    """What ``found`` gives as soon as it is true, with a last look at the end. Raises AssertionError that says
    ``what`` did not come, and what was seen instead."""
    end = time.monotonic() + seconds
    while True:
        late = time.monotonic() > end
        if seen := found():
            return seen
        if late:
            raise AssertionError(f"{what} did not come within {seconds:.0f} s; last seen: {seen!r}")
        time.sleep(every)
