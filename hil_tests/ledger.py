"""What operators asked of the instrument, and what it has confirmed: the measure for its record after a failure.

Each request is a step, with the position of the disk's log before it was sent and when its answer was there. What
was confirmed at a position must be in the record after any later cut; what was under way may be there, whole and
once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NEVER = 2**63


@dataclass
class Step:
    """One request. ``what`` names it: the uids that were sent, the value that was set."""

    phase: str
    what: dict[str, str]
    begun: int
    at: float  # seconds since the ledger was opened
    confirmed: int = NEVER
    said: Any = None

    def under_way(self, position: int) -> bool:
        """Whether it was asked and not yet answered."""
        return self.begun <= position < self.confirmed


@dataclass
class Ledger:
    """All steps, in the order in which they were begun. Several operators may write at once."""

    position: Callable[[], int]
    steps: list[Step] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _opened: float = field(default_factory=time.monotonic)

    def step(self, phase: str, ask: Callable[[], Any], **what: str) -> Any:
        """Ask, and write down what was answered; what ``ask`` raises is not confirmed. Returns the answer."""
        step = Step(phase, what, self.position(), time.monotonic() - self._opened)
        with self._lock:
            self.steps.append(step)
        said = ask()
        step.confirmed, step.said = self.position(), said
        return said

    def asked(self, phase: str, position: int) -> list[Step]:
        """Steps of a phase that were begun by then."""
        return [s for s in self.steps if s.phase == phase and s.begun <= position]

    def confirmed(self, phase: str, position: int) -> list[Step]:
        """Steps of a phase that were answered by then."""
        return [s for s in self.steps if s.phase == phase and s.confirmed <= position]

    def under_way(self, position: int) -> list[Step]:
        """Steps that a cut at this position interrupts."""
        return [s for s in self.steps if s.under_way(position)]
