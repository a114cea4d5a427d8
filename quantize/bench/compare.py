"""Two benchmarks, perhaps of two machines or days: each candidate's time in units of the roof of its own run."""

from __future__ import annotations

from dataclasses import dataclass

from quantize.bench import statistics
from quantize.bench.report import Measured, Report
from quantize.bench.statistics import Estimate, Values
from quantize.bench.summary import ROOF, roof_by_threads

TOLERANCE = 0.1


@dataclass(frozen=True)
class Change:
    """A candidate's time, new by old, both by their roof."""

    key: str
    ratio: Estimate

    @property
    def verdict(self) -> str:
        """``regression`` or ``faster`` where the interval is all on one side of 1, else ``no difference``."""
        if self.ratio.low > 1:
            return "regression"
        return "faster" if self.ratio.high < 1 else "no difference"

    def exceeds(self, tolerance: float) -> bool:
        """Whether it is a regression larger than ``tolerance`` (0.1: a tenth slower)."""
        return self.verdict == "regression" and self.ratio.value > 1 + tolerance


def compare(old: Report, new: Report) -> tuple[list[Change], list[str]]:
    """Changes of what both runs measured, worst first, and the keys of what only one of them did.

    The roof is the convolution that was fastest in the old run; without it in the new run nothing is compared.
    """
    before, after = old.by_key(), new.by_key()
    roofs = {n: m.key for n, m in roof_by_threads(old.candidates).items() if m.key in after}
    changes, alone = [], sorted(before.keys() ^ after.keys())
    for key in before.keys() & after.keys():
        a, b = before[key], after[key]
        if a.kind == ROOF:
            continue
        if a.threads not in roofs:
            alone.append(key)
            continue
        roof = roofs[a.threads]
        changes.append(Change(key, statistics.change(_by_roof(b, after[roof]), _by_roof(a, before[roof]))))
    return sorted(changes, key=lambda c: -c.ratio.value), alone


def _by_roof(m: Measured, roof: Measured) -> Values:
    return statistics.by_round(m.turns) / statistics.by_round(roof.turns)
