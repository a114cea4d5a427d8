"""Figures of one run with their 95 % intervals.

Samples that follow each other resemble each other, so no interval here takes them as independent:

* Percentiles: order statistics, without any assumption on the distribution, for as many samples as the run is
  worth (the variance of the share below the percentile, with its autocorrelations, says how many: Geyer's
  initial positive sequence, Statistical Science 7:473, 1992). Where too few lie beyond the percentile that end
  is None: 200 samples say nothing about how high the 99th percentile may be.
* Slope of a series: caches fill at first, so the first half is left out; the rest becomes the means of up to 20
  blocks, a line goes through them, and Student's t gives the interval, with fewer degrees of freedom where even
  the blocks resemble each other (Santer et al., J Geophys Res 105:7337, 2000). One step is taken out before: a
  table of the interpreter that doubles is no leak, which has many. The peak of the series counts it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

STATISTICS = ("p50", "p95", "p99", "max", "steady", "slope", "peak", "value")
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
WARM = 0.5  # share of a series in which caches fill
BLOCKS, FEWEST_BLOCKS = 20, 5  # of a series' rest, at least two samples in each
STEP_WINDOW, STEP_ODD, STEP_SHARE = 5, 10.0, 0.005  # samples on each side; times the usual shift; of the level
FEWEST_WORTH = 4.0  # independent blocks: how much they resemble each other is itself but an estimate
FINER = {"MB": ("kB", 1024.0)}  # a slope in MB a capture has too many zeros to read; units as the kernel's
Values = npt.NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure with its 95 % interval. An end is None where the samples are too few to tell it; a figure that is
    no estimate (a count, the largest sample) is its own interval."""

    value: float
    low: float | None
    high: float | None


class Line(NamedTuple):
    """A series' slope with the line's ends, in the series' own units: what a plot draws."""

    slope: Estimate
    x: tuple[float, float]
    y: tuple[float, float]
    error: float  # standard error of the slope; infinite where it cannot be told
    freedom: float  # degrees of freedom


def estimate(measurement: dict[str, Any], statistic: str) -> Estimate:
    """A statistic (``STATISTICS``) of a measurement of results.json, in ``unit``. Raises KeyError where there is
    none."""
    if statistic == "value":
        value = measurement["value"]
        return Estimate(value, measurement.get("low", value), measurement.get("high", value))
    samples = np.asarray(measurement["samples"], dtype=float)
    if statistic in ("max", "peak"):
        return _exactly(samples.max())
    if statistic == "steady":
        return percentile(steady(samples), 0.5)
    if statistic == "slope":
        return _scaled(line(measurement).slope, finer(measurement)[1])
    return percentile(samples, float(statistic[1:]) / 100)


def unit(measurement: dict[str, Any], statistic: str) -> str:
    """Of ``estimate``: a slope is per what the series goes by, and in kB where the series is in MB."""
    own: str = measurement["unit"]
    if statistic != "slope":
        return own
    return f"{finer(measurement)[0]} a {measurement['x_unit'].removesuffix('s')}"


def of(measurement: dict[str, Any]) -> tuple[str, ...]:
    """The statistics that say most about a measurement: a number, repetitions, or a series."""
    if "value" in measurement:
        return ("value",)
    return ("steady", "peak", "slope") if "x" in measurement else ("p50", "p95", "p99")


def percentile(samples: Values, share: float) -> Estimate:
    """The percentile at ``share`` (0.95: the 95th). Raises ValueError where there is no sample."""
    if not len(samples):
        raise ValueError("no sample, no percentile")
    ordered = np.sort(samples)
    value = float(np.quantile(ordered, share))
    worth = max(1, round(effective((samples <= value).astype(float))))
    low, high = stats.binom.ppf(TAIL, worth, share), stats.binom.isf(TAIL, worth, share) + 1
    rank = len(ordered) / worth
    return Estimate(
        value,
        float(ordered[round(low * rank) - 1]) if low >= 1 else None,
        float(ordered[min(round(high * rank), len(ordered)) - 1]) if high <= worth else None,
    )


def effective(values: Values) -> float:
    """How many independent samples a sequence is worth for its mean: at most as many as it has."""
    n = len(values)
    centred = values - values.mean()
    if n < 4 or not (variance := float(centred @ centred)):
        return float(n)
    size = 2 ** math.ceil(math.log2(2 * n))
    transformed = np.fft.rfft(centred, size)
    correlations = np.fft.irfft(transformed * transformed.conj(), size)[:n] / variance
    pairs = correlations[: n - n % 2].reshape(-1, 2).sum(axis=1)  # the first holds lag 0, which is 1
    ends = np.flatnonzero(pairs <= 0)
    total = 2 * float(pairs[: ends[0] if len(ends) else None].sum()) - 1
    return n / max(1.0, total)


def line(series: dict[str, Any]) -> Line:
    """The line through a series' second half."""
    x, y = (steady(np.asarray(series[name], dtype=float)) for name in ("x", "samples"))
    y = _without_step(y)
    count = min(BLOCKS, len(y) // 2)
    if count < FEWEST_BLOCKS:
        slope = float(np.polyfit(x, y, 1)[0]) if len(y) > 1 and np.ptp(x) else 0.0
        return _line(slope, x, y, math.inf, 1.0)
    at, means = (np.array([part.mean() for part in np.array_split(each, count)]) for each in (x, y))
    away = at - at.mean()
    slope = float(away @ means / (away @ away))
    rest = means - means.mean() - slope * away
    squares = float(rest @ rest)
    alike = max(0.0, float(rest[1:] @ rest[:-1]) / squares) if squares else 0.0
    worth = max(FEWEST_WORTH, count * (1 - alike) / (1 + alike))
    error = math.sqrt(squares / (worth - 2) / float(away @ away))
    return _line(slope, x, y, error, worth - 2)


def _without_step(y: Values) -> Values:
    """A series whose one outstanding step, if it has one, is taken out."""
    places = range(STEP_WINDOW, len(y) - STEP_WINDOW + 1)
    if len(places) < STEP_WINDOW:
        return y
    shifts = np.array([np.median(y[i : i + STEP_WINDOW]) - np.median(y[i - STEP_WINDOW : i]) for i in places])
    largest = int(np.abs(shifts).argmax())
    if abs(shifts[largest]) <= max(STEP_ODD * np.median(np.abs(shifts)), STEP_SHARE * abs(np.median(y))):
        return y
    near = [i for i in places if abs(i - largest - STEP_WINDOW) <= STEP_WINDOW // 2]
    at = max(near, key=lambda i: abs(y[i] - y[i - 1]))  # medians alone cannot tell it from its neighbours
    return np.concatenate((y[:at], y[at:] - shifts[largest]))


def _line(slope: float, x: Values, y: Values, error: float, freedom: float) -> Line:
    half = float(stats.t.isf(TAIL, freedom)) * error
    ends = (float(x[0]), float(x[-1]))
    middle, height = float(x.mean()), float(y.mean())
    found = Estimate(slope, slope - half, slope + half) if math.isfinite(half) else Estimate(slope, None, None)
    return Line(
        found, ends, (height + slope * (ends[0] - middle), height + slope * (ends[1] - middle)), error, freedom
    )


def steady(samples: Values) -> Values:
    """Without the warm-up."""
    return samples[int(WARM * len(samples)) :]


def finer(series: dict[str, Any]) -> tuple[str, float]:
    """The unit in which a series' slope is stated, and how many of it its own unit has."""
    return FINER.get(series["unit"], (series["unit"], 1.0))


def _scaled(e: Estimate, factor: float) -> Estimate:
    return Estimate(*(None if v is None else v * factor for v in e))


def _exactly(value: float) -> Estimate:
    return Estimate(float(value), float(value), float(value))
