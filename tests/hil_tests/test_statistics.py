"""Intervals hold what they promise, on samples that resemble each other."""

import json

import numpy as np
import pytest
from scipy import stats

from hil_tests import statistics
from hil_tests.statistics import estimate, line, percentile
from tests.hil_tests.runs import autocorrelated, memory

TIMES = 400


def _missed(memory_of_samples: float, count: int, share: float) -> float:
    """How often the interval does not hold the true percentile."""
    rng = np.random.default_rng(1)
    true, missed = float(np.exp(0.2 * stats.norm.ppf(share))), 0
    for _ in range(TIMES):
        found = percentile(np.exp(0.2 * autocorrelated(rng, count, memory_of_samples)), share)
        low, high = (-np.inf if found.low is None else found.low), (np.inf if found.high is None else found.high)
        missed += not low <= true <= high
    return missed / TIMES


@pytest.mark.parametrize("share", [0.5, 0.95])
@pytest.mark.parametrize("memory_of_samples", [0.0, 0.6])
def test_intervals_of_percentiles_hold_the_truth_in_95_of_100_runs(memory_of_samples, share):
    assert _missed(memory_of_samples, 1000, share) <= 0.075
    assert _missed(memory_of_samples, 200, share) <= 0.1  # how alike so few samples are is hard to tell


def test_intervals_that_took_samples_as_independent_would_not():
    """So the correction is needed: the same samples, in another order, give an interval that is too narrow."""
    rng, missed = np.random.default_rng(1), 0
    for _ in range(TIMES):
        found = percentile(rng.permutation(np.exp(0.2 * autocorrelated(rng, 200, 0.8))), 0.5)
        missed += not found.low <= 1 <= found.high
    assert missed / TIMES > 0.2
    assert _missed(0.8, 200, 0.5) < 0.1


def test_order_statistics_of_independent_samples_are_the_textbooks():
    """For n = 100 the median's interval is the 40th to the 61st value (Conover, Practical Nonparametric
    Statistics)."""
    values = np.arange(1.0, 101).reshape(2, 50).T.ravel()  # 1, 51, 2, 52: neighbours are not alike
    assert percentile(values, 0.5) == (50.5, 40, 61)


def test_200_samples_do_not_tell_how_high_the_99th_percentile_may_be():
    found = percentile(np.random.default_rng(0).normal(100, 5, 200), 0.99)
    assert found.low is not None and found.low < found.value
    assert found.high is None


def test_one_sample_has_no_interval():
    assert percentile(np.array([7.0]), 0.5) == (7, None, None)
    with pytest.raises(ValueError):
        percentile(np.array([]), 0.5)


@pytest.mark.parametrize(("memory_of_samples", "at_most"), [(0.0, 0.075), (0.6, 0.1), (0.9, 0.15)])
def test_a_series_that_does_not_grow_is_seldom_said_to(memory_of_samples, at_most):
    rng, missed = np.random.default_rng(2), 0
    for _ in range(TIMES):
        series = {"x": np.arange(200.0), "samples": 100 + autocorrelated(rng, 200, memory_of_samples)}
        slope = line(series).slope
        missed += not slope.low <= 0 <= slope.high
    assert missed / TIMES <= at_most


@pytest.mark.parametrize("leak", [0.0, 1.0])
def test_the_slope_of_memory_is_what_leaks_and_caches_are_left_out(leak):
    """Over 2000 captures, in kB a capture although the series is in MB."""
    series = memory(np.random.default_rng(3), leak=leak)
    found = estimate(series, "slope")
    assert found.low < leak < found.high
    assert found.high - found.low < 1.5
    assert statistics.unit(series, "slope") == "kB a capture"
    from_the_start = np.polyfit(series["x"], series["samples"], 1)[0] * 1024
    assert from_the_start > found.high  # caches would be taken for a leak


def test_a_series_that_stands_still_has_a_slope_of_exactly_nothing():
    series = {"unit": "files", "x": list(range(200)), "x_unit": "captures", "samples": [31.0] * 200}
    assert estimate(series, "slope") == (0, 0, 0)


def test_too_few_samples_have_a_slope_and_no_interval():
    series = {"unit": "files", "x": [1, 2, 3, 4, 5, 6], "x_unit": "captures", "samples": [1, 2, 3, 4, 5, 6.0]}
    assert estimate(series, "slope") == (pytest.approx(1), None, None)


def test_other_statistics():
    series = {"unit": "MB", "x": [1, 2, 3, 4], "x_unit": "captures", "samples": [1.0, 9.0, 4.0, 4.0]}
    assert estimate(series, "peak") == (9, 9, 9)
    assert estimate(series, "max") == (9, 9, 9)
    assert estimate(series, "steady").value == 4
    assert estimate({"unit": "cuts", "value": 3}, "value") == (3, 3, 3)
    assert estimate({"unit": "MB", "value": 3, "low": 2, "high": 4}, "value") == (3, 2, 4)
    assert {s for m in (series, {"value": 1}, {"samples": [1]}) for s in statistics.of(m)} < set(
        statistics.STATISTICS
    )


def test_figures_can_be_written_as_json():
    """numpy's numbers could not."""
    series = memory(np.random.default_rng(0))
    json.dumps([estimate(series, of) for of in ("p50", "p95", "p99", "max", "steady", "slope", "peak")])


def test_one_step_is_no_slope_and_many_are():
    """A table that doubles once, against a leak that takes its memory in blocks."""
    rng = np.random.default_rng(5)
    x = np.arange(0.0, 2000.0, 10.0)
    flat = 136 + rng.normal(0, 0.03, len(x))
    once, often = flat + 3.0 * (x > 1300), flat + 0.128 * np.floor(x / 128)
    one, many = (
        statistics.estimate({"unit": "MB", "x": list(x), "samples": list(y)}, "slope") for y in (once, often)
    )
    assert one.high < 0.3
    assert 0.7 < many.low < many.high < 1.3
