"""Which photograph of a burst is kept."""

from __future__ import annotations

from collections.abc import Sequence

from device.record import Shot
from device.verdict import Outcome

GRADES = ("reject", "usable", "good")


def best(shots: Sequence[Shot]) -> int:
    """The index of the photograph to keep: one that could be graded before one that could not, then the better
    grade of quality, then the higher score; of equals the first.

    What the photographs say of the eye does not count: the sharpest is kept, not the most or the least suspicious.
    Raises ValueError for no photographs at all.
    """
    if not shots:
        raise ValueError("a burst has at least one photograph; take one")
    return max(range(len(shots)), key=lambda i: (_rank(shots[i]), -i))


def _rank(shot: Shot) -> tuple[bool, int, float]:
    return shot.outcome is not Outcome.UNGRADABLE, GRADES.index(shot.grade), shot.score
