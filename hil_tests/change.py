"""Regressions and noise, told apart by stated tests.

**Two runs.** Within a run samples resemble each other, and two runs of an unchanged instrument differ by more
than their samples tell (memory layout, temperature, what else the machine does). So the ratio of two
percentiles has, in logarithms, the variance of both by a moving-block bootstrap (Kuensch, Ann Stat 17:1217,
1989) plus twice that of RUN_SCATTER, 3 % from run to run, which is an assumption that two runs cannot test. A
normal test gives p.

**A history.** With EARLIER runs or more the scatter is known: a new run is held against their prediction
interval, Student's t on logarithms: their mean ± t s sqrt(1 + 1/n).

**Slopes** of memory may be zero, so their difference is tested (Welch's t for two runs).

**Instructions** repeat to 0.05 %; they are not tested but held within INSTRUCTIONS, 2 %.

In all of them p is corrected for the number of figures compared (Holm, Scand J Stat 6:65, 1979), so that a
table of forty rows without any change names one at all in one of twenty tables. What is significant must also
be worth it: MINIMUM, 5 %; for a slope, growth over the run of 1 % of the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from hil_tests import results, statistics
from hil_tests.results import Results
from hil_tests.statistics import TAIL, Values

RUN_SCATTER, MINIMUM, SLOPE_MINIMUM, INSTRUCTIONS = 0.03, 0.05, 0.01, 0.02
LEVEL = 0.05  # of false alarms, over all figures compared together
EARLIER = 4  # runs from which their scatter is known
RESAMPLES = 500
INSTRUCTION_UNITS = {"instr", "kinstr", "Minstr", "Ginstr"}
# More of these is worse; the last is hil_tests/reference.py's.
TIMES = {"s", "ms", "µs", "us"}
UNITS = TIMES | INSTRUCTION_UNITS | {"MB", "kB", "B", "times the reference"}
THE_MACHINE = "reference"  # the measurement that tells how fast the machine was, not the instrument
FEWEST_P95 = 40  # samples: two beyond it

REGRESSION, IMPROVED, SAME = "regression", "improved", "no difference shown"
TEST = (
    f"Two runs: ratio with the moving-block bootstrap's variance of both runs and {RUN_SCATTER:.0%} scatter from "
    f"run to run, normal test; instructions: within {INSTRUCTIONS:.0%}. p after Holm over all rows; regression: "
    f"p < {LEVEL:g} and worse by more than {MINIMUM:.0%} (slope: {SLOPE_MINIMUM:.0%} of the level over the run)."
)


class Change(NamedTuple):
    """A figure against an older one: their ratio, or for slopes their difference, with its 95 % interval."""

    size: float
    low: float
    high: float
    neutral: float  # what no change is: a ratio of 1, a difference of 0
    p: float | None  # two-sided, not yet corrected; None where the margin alone decides
    large: bool  # beyond the minimum


def compared(run: Results) -> list[tuple[str, str]]:
    """The measurements and statistics of a run that are held against other runs.

    Not counts, which budgets judge; not what says nothing on the run's rung; and not times by the clock of a
    machine that others use, which THE_MACHINE tells of: their ratios to it are.
    """
    measurements, excused = run["measurements"], results.excused(run)
    units = UNITS - TIMES if THE_MACHINE in measurements else UNITS
    return [
        (name, statistic)
        for name, measurement in measurements.items()
        if measurement["unit"] in units and name not in excused
        for statistic in _statistics(measurement)
    ]


def _statistics(measurement: dict[str, Any]) -> tuple[str, ...]:
    if "value" in measurement or "x" in measurement:
        return statistics.of(measurement)
    return ("p50", "p95") if len(measurement["samples"]) >= FEWEST_P95 else ("p50",)


def two_runs(old: dict[str, Any], new: dict[str, Any], statistic: str, seed: int = 0) -> Change | None:
    """A statistic of the same measurement in two runs; None where a figure is not positive, so has no ratio."""
    if statistic == "slope":
        return _two_slopes(old, new)
    before, after = (statistics.estimate(m, statistic) for m in (old, new))
    if min(before.value, after.value) <= 0:
        return None
    ratio = after.value / before.value
    if old["unit"] in INSTRUCTION_UNITS:
        return _by_margin(ratio)
    variance = 2 * math.log1p(RUN_SCATTER) ** 2
    variance += sum(_variance(m, statistic, seed + i) for i, m in enumerate((old, new)))
    half = float(stats.norm.isf(TAIL)) * math.sqrt(variance)
    p = 2 * float(stats.norm.sf(abs(math.log(ratio)) / math.sqrt(variance)))
    return Change(ratio, ratio * math.exp(-half), ratio * math.exp(half), 1, p, _large(ratio, MINIMUM))


def history(earlier: Sequence[float], new: float, unit: str) -> Change | None:
    """A new run's figure against those of EARLIER runs or more; None where one is not positive. Raises ValueError
    where the runs are too few."""
    if len(earlier) < EARLIER:
        raise ValueError(f"{EARLIER} earlier runs or more are needed, not {len(earlier)}")
    if min(*earlier, new) <= 0:
        return None
    logs = np.log(earlier)
    ratio = new / math.exp(float(logs.mean()))
    if unit in INSTRUCTION_UNITS:
        return _by_margin(ratio)
    half, p = _predicted(logs, math.log(new))
    return Change(ratio, ratio * math.exp(-half), ratio * math.exp(half), 1, p, _large(ratio, MINIMUM))


def slope_history(earlier: Sequence[float], new: float, least: float) -> Change:
    """The same for slopes; a difference smaller than ``least`` is none."""
    values = np.asarray(earlier, dtype=float)
    half, p = _predicted(values, new)
    size = new - float(values.mean())
    return Change(size, size - half, size + half, 0, p, abs(size) > least)


def least_slope(series: dict[str, Any]) -> float:
    """The smallest difference that counts between slopes, in the unit that ``statistics.estimate`` gives them."""
    growth = SLOPE_MINIMUM * statistics.estimate(series, "steady").value
    return growth / float(np.ptp(series["x"])) * statistics.finer(series)[1]


def verdicts(changes: Sequence[Change | None]) -> list[tuple[str, float | None]]:
    """REGRESSION, IMPROVED or SAME for each, with its p after Holm's correction over all of them."""
    tested = [i for i, c in enumerate(changes) if c is not None and c.p is not None]
    corrected = dict(zip(tested, holm([changes[i].p for i in tested]), strict=True))  # type: ignore[union-attr,misc]
    found = []
    for i, change in enumerate(changes):
        p = corrected.get(i)
        real = change is not None and change.large and (p is None or p < LEVEL)
        word = SAME if not real or change is None else REGRESSION if change.size > change.neutral else IMPROVED
        found.append((word, p))
    return found


def holm(p: Sequence[float]) -> list[float]:
    """p values corrected so that one below LEVEL stands for LEVEL over all of them together."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    corrected, highest = [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = highest
    return corrected


def _variance(measurement: dict[str, Any], statistic: str, seed: int) -> float:
    """Of the logarithm of a percentile within its run."""
    if "value" in measurement:
        low, high = (measurement.get(name) for name in ("low", "high"))
        if not (low and high):
            return 0.0
        return (math.log(high / low) / 2 / float(stats.norm.isf(TAIL))) ** 2
    if statistic == "peak":
        return 0.0  # a largest value has no bootstrap
    samples = np.asarray(measurement["samples"], dtype=float)
    if statistic == "steady":
        return _bootstrapped(statistics.steady(samples), 0.5, seed)
    return _bootstrapped(samples, float(statistic[1:]) / 100, seed)


def _bootstrapped(samples: Values, share: float, seed: int) -> float:
    """By moving blocks that are longer than the samples remember."""
    n = len(samples)
    below = (samples <= np.quantile(samples, share)).astype(float)
    block = math.ceil(max(n ** (1 / 3), 2 * n / statistics.effective(below)))
    block = max(1, min(block, n // 4))
    starts = np.random.default_rng(seed).integers(0, n - block + 1, (RESAMPLES, math.ceil(n / block)))
    chosen = (starts[:, :, None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :n]
    return float(np.log(np.quantile(samples[chosen], share, axis=1)).var())


def _two_slopes(old: dict[str, Any], new: dict[str, Any]) -> Change | None:
    lines = [statistics.line(series) for series in (old, new)]
    factor = statistics.finer(old)[1]
    errors = [(one.error * factor) ** 2 for one in lines]
    size = factor * (lines[1].slope.value - lines[0].slope.value)
    error = math.sqrt(sum(errors))
    if not math.isfinite(error):
        return None
    if error == 0:
        return Change(size, size, size, 0, None, abs(size) > least_slope(old))
    freedom = sum(errors) ** 2 / sum(e**2 / one.freedom for e, one in zip(errors, lines, strict=True))
    half = float(stats.t.isf(TAIL, freedom)) * error
    p = 2 * float(stats.t.sf(abs(size) / error, freedom))
    return Change(size, size - half, size + half, 0, p, abs(size) > least_slope(old))


def _predicted(earlier: Values, new: float) -> tuple[float, float]:
    """Half of the prediction interval, and p."""
    n = len(earlier)
    error = float(earlier.std(ddof=1)) * math.sqrt(1 + 1 / n)
    distance = abs(new - float(earlier.mean()))
    if error == 0:
        return 0.0, 0.0 if distance else 1.0
    return float(stats.t.isf(TAIL, n - 1)) * error, 2 * float(stats.t.sf(distance / error, n - 1))


def _by_margin(ratio: float) -> Change:
    return Change(ratio, ratio, ratio, 1, None, abs(ratio - 1) > INSTRUCTIONS)


def _large(ratio: float, least: float) -> bool:
    return abs(math.log(ratio)) > math.log1p(least)
