"""Medians, ratios within rounds and their intervals, on samples that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.bench.statistics import by_round, change, estimate, percentiles, ratio


def turns(rng, median, drift, spread=0.01, runs=3):
    """A turn a round of a candidate that takes ``median`` ms, on a machine whose speed drifts."""
    return [list(median * d * rng.normal(1, spread, runs)) for d in drift]


def test_a_round_counts_once_however_many_runs_it_has():
    np.testing.assert_array_equal(by_round([[1, 2, 9], [4], []]), [2, 4, np.nan])


def test_the_interval_holds_the_median_and_narrows_with_more_rounds():
    rng = np.random.default_rng(0)
    few, many = (estimate(rng.normal(10, 1, n)) for n in (8, 400))
    for e in (few, many):
        assert e.low <= e.value <= e.high
    assert many.high - many.low < (few.high - few.low) / 2
    assert many.low < 10 < many.high


def test_the_same_samples_give_the_same_interval():
    values = np.random.default_rng(1).normal(5, 1, 20)
    assert estimate(values) == estimate(values)


def test_a_drifting_machine_blurs_milliseconds_but_not_ratios():
    rng = np.random.default_rng(2)
    drift = rng.uniform(1, 3, 30)
    fast, slow = turns(rng, 2, drift), turns(rng, 8, drift)
    milliseconds, relative = estimate(by_round(fast)), ratio(fast, slow)
    assert relative is not None and relative.value == pytest.approx(0.25, rel=0.02)
    width = (milliseconds.high - milliseconds.low) / milliseconds.value
    assert (relative.high - relative.low) / relative.value < width / 4


def test_ratios_are_of_the_rounds_that_both_took_part_in():
    found = ratio([[2.0], [100.0], [2.0]], [[4.0], [], [4.0]])
    assert found is not None and found.value == 0.5
    assert ratio([[1.0], []], [[], [1.0]]) is None


def test_percentiles_are_of_all_runs():
    runs = percentiles([[float(i) for i in range(51)], [float(i) for i in range(51, 101)]])
    assert runs == (50, 95, 99)


def test_no_value_is_an_error():
    with pytest.raises(ValueError, match="no round"):
        estimate(np.array([np.nan]))


def test_a_change_is_the_ratio_of_two_independent_runs():
    rng = np.random.default_rng(3)
    old, new = rng.normal(1, 0.02, 30), rng.normal(1.5, 0.02, 20)
    found = change(new, np.append(old, np.nan))
    assert found.value == pytest.approx(1.5, rel=0.03)
    assert found.low < found.value < found.high
