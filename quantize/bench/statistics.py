"""Medians, ratios within rounds, and their bootstrap intervals.

The runs of one turn follow each other and resemble each other, so the round is what is resampled: a candidate's
value in a round is the median of its turn, and its figure is the median over the rounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

RESAMPLES = 4000
LEVELS = (2.5, 97.5)  # per cent: a 95 % interval
Turns = Sequence[Sequence[float]]  # milliseconds by round and run
Values = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A median with its bootstrap 95 % interval."""

    value: float
    low: float
    high: float


def by_round(turns: Turns) -> Values:
    """The median of each turn; NaN in the rounds without one."""
    return np.array([np.median(turn) if len(turn) else np.nan for turn in turns])


def estimate(values: Values, seed: int = 0) -> Estimate:
    """The median of the values that are there. Raises ValueError where there is none."""
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError("no round has a value")
    low, high = np.percentile(_resampled(values, seed), LEVELS)
    return Estimate(float(np.median(values)), float(low), float(high))


def ratio(turns: Turns, reference: Turns, seed: int = 0) -> Estimate | None:
    """Time by the reference's time in the same rounds; None where they share none."""
    values = by_round(turns) / by_round(reference)
    return None if np.isnan(values).all() else estimate(values, seed)


def change(new: Values, old: Values, seed: int = 0) -> Estimate:
    """The median of ``new`` by that of ``old``, two independent runs. Raises ValueError where one is empty."""
    value = estimate(new).value / estimate(old).value
    pairs = _resampled(new[~np.isnan(new)], seed) / _resampled(old[~np.isnan(old)], seed + 1)
    low, high = np.percentile(pairs, LEVELS)
    return Estimate(value, float(low), float(high))


def percentiles(turns: Turns) -> tuple[float, float, float]:
    """The 50th, 95th and 99th percentile of all runs. Of few, the last two are about the longest."""
    p50, p95, p99 = np.percentile([ms for turn in turns for ms in turn], (50, 95, 99))
    return float(p50), float(p95), float(p99)


def _resampled(values: Values, seed: int) -> Values:
    """Medians of RESAMPLES resamples."""
    chosen = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    medians: Values = np.median(values[chosen], axis=1)
    return medians
