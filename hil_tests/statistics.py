"""Figures with their intervals."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

STATISTICS = ("p50", "p95", "p99", "max", "steady", "slope", "peak", "value")


class Estimate(NamedTuple):
    """A figure with its 95 % interval; the interval is the figure itself where there is none to state."""

    value: float
    low: float
    high: float


def estimate(measurement: dict[str, Any], statistic: str) -> Estimate:
    """A statistic (``STATISTICS``) of a measurement of results.json. Raises KeyError where there is none."""
    if statistic == "value":
        value = measurement["value"]
        return Estimate(value, measurement.get("low", value), measurement.get("high", value))
    samples = np.asarray(measurement["samples"], dtype=float)
    if statistic in ("max", "peak"):
        return _exactly(samples.max())
    if statistic == "steady":
        return _exactly(np.median(samples[len(samples) // 2 :]))
    if statistic == "slope":
        return _exactly(np.polyfit(measurement["x"], samples, 1)[0])
    return _exactly(np.percentile(samples, float(statistic[1:])))


def _exactly(value: float) -> Estimate:
    return Estimate(float(value), float(value), float(value))
