"""Two benchmarks, perhaps of two machines or days: each candidate's time in units of the roof of its own run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantize.bench import statistics
from quantize.bench.report import Measured, Report
from quantize.bench.statistics import Estimate, Values
from quantize.bench.summary import ROOF, roof_by_threads

TOLERANCE = 0.1
# What two runs of the same thing differ by beyond what the rounds of one show: where a process's memory lies, on
# which core it ran. An assumption; of 15 candidates measured twice on an idle machine, 14 stayed within it.
BETWEEN_RUNS = 1.03
FEWEST = 5  # rounds: the bootstrap of fewer is narrower than what they know


@dataclass(frozen=True)
class Change:
    """A candidate's time, new by old, both by their roof; its peak memory before and now (MB); the rounds that it
    took part in, of the run with fewer."""

    key: str
    ratio: Estimate
    peak_mb: tuple[float | None, float | None]
    rounds: int

    @property
    def verdict(self) -> str:
        """``regression`` or ``faster`` where the interval is all on one side of 1, else ``no difference``; of few
        rounds ``too few rounds``."""
        if self.rounds < FEWEST:
            return "too few rounds"
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
        then, now = _by_roof(a, before[roof]), _by_roof(b, after[roof])
        ratio = statistics.change(now, then)
        wider = Estimate(ratio.value, ratio.low / BETWEEN_RUNS, ratio.high * BETWEEN_RUNS)
        rounds = min(int(np.count_nonzero(~np.isnan(values))) for values in (then, now))
        changes.append(Change(key, wider, (a.peak_mb, b.peak_mb), rounds))
    return sorted(changes, key=lambda c: -c.ratio.value), alone


def differences(old: Report, new: Report) -> list[str]:
    """What makes two runs hard to compare, in words: machines, runtimes, and a roof that is itself another."""
    found = []
    for what, a, b in (
        ("processors", old.machine.processor, new.machine.processor),
        ("runtimes", old.machine.runtime, new.machine.runtime),
        ("Pythons", old.machine.python, new.machine.python),
    ):
        if a != b:
            found.append(f"the {what} differ: {a}, then {b}")
    roofs = roof_by_threads(new.candidates)
    for threads, roof in roof_by_threads(old.candidates).items():
        if threads in roofs:
            then, now = (m.summary.gmacs if m.summary else None for m in (roof, roofs[threads]))
            found.append(f"roof x{threads}: {then or 0:.3g} GMAC/s, then {now or 0:.3g}")
    return found


def _by_roof(m: Measured, roof: Measured) -> Values:
    return statistics.by_round(m.turns) / statistics.by_round(roof.turns)
