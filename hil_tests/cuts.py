"""Where the power is cut in a log of writes: at random, as often in each phase of the operators' work."""

from __future__ import annotations

from collections import defaultdict
from itertools import cycle
from random import Random
from typing import NamedTuple

from hil_tests.disk.replay import WriteLog
from hil_tests.ledger import Ledger, Step

NO_WRITES = ("report", "dicom")  # phases that write nothing: what is written meanwhile belongs to another


class Cut(NamedTuple):
    """After how many entries of the log, its position in bytes, and what was going on."""

    number: int
    entry: int
    position: int
    phase: str
    at: float


def choose(ledger: Ledger, log: WriteLog, count: int, rng: Random) -> list[Cut]:
    """Cuts at random, as many in each phase as in any other; ascending."""
    points: dict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for entry, each in enumerate(log.entries, start=1):
        if doing := _doing(ledger.under_way(each.end)):
            points[doing.phase].append((entry, each.end, doing.at))
    phases = sorted(points)
    chosen = sorted((*rng.choice(points[phase]), phase) for _, phase in zip(range(count), cycle(phases)))
    return [Cut(n, entry, position, phase, at) for n, (entry, position, at, phase) in enumerate(chosen)]


def _doing(steps: list[Step]) -> Step | None:
    """The step that a write belongs to: the last that was begun, of those that write."""
    writing = [s for s in steps if s.phase not in NO_WRITES] or steps
    return max(writing, key=lambda s: s.begun, default=None)
