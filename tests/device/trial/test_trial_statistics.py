"""The formulas against published figures, hand-computed examples, libraries, and what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from device.trial import statistics

# Bland and Altman 1986, table 1: peak flow of 17 people, first readings with two meters
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # Newcombe 1998, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(k, n, low, high):
    assert statistics.wilson(k, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(n=st.integers(1, 400), share=st.floats(0, 1))
def test_wilson_agrees_with_scipy_and_holds_the_share(n, share):
    k = round(n * share)
    low, high = statistics.wilson(k, n)
    theirs = binomtest(k, n).proportion_ci(method="wilson")
    assert (low, high) == (pytest.approx(theirs.low, abs=1e-9), pytest.approx(theirs.high, abs=1e-9))
    assert 0 <= low <= k / n <= high <= 1


def test_there_is_no_interval_of_nothing():
    assert statistics.proportion([], []) == statistics.Proportion(0, 0)
    with pytest.raises(ValueError, match="nothing"):
        statistics.wilson(0, 0)


def test_eyes_that_repeat_each_other_count_as_one():
    people = [i // 2 for i in range(20)]
    twins = [i % 2 == 0 for i in range(10) for _ in range(2)]
    # residuals are 1 for each of 10 people: variance 10/9 * 10 / 20**2, against 0.25 / 20
    assert statistics.design_effect(twins, people) == pytest.approx(20 / 9)
    p = statistics.proportion(twins, people)
    assert p.interval == pytest.approx(statistics.wilson(4.5, 9))
    assert p.clustered_low < p.low and p.high < p.clustered_high


def test_where_all_succeed_a_person_counts_once_and_one_eye_each_needs_no_adjustment():
    p = statistics.proportion([True] * 20, [i // 2 for i in range(20)])
    assert (p.clustered_low, p.clustered_high) == statistics.wilson(10, 10)
    alone = statistics.proportion([True, False, True], ["a", "b", "c"])
    assert alone.clustered_low is None and alone.interval == (alone.low, alone.high)


def test_opposite_eyes_never_make_an_interval_narrower():
    people = [i // 2 for i in range(20)]
    p = statistics.proportion([i % 2 == 0 for i in range(20)], people)
    assert (p.clustered_low, p.clustered_high) == (p.low, p.high)


def test_the_adjusted_interval_covers_where_the_plain_one_does_not():
    """Two eyes of 60 people that are equal in 4 of 5, each true in 80 %, 1000 times."""
    rng, truth = np.random.default_rng(0), 0.8
    people = [i // 2 for i in range(120)]
    plain = adjusted = 0
    for _ in range(1000):
        first, other = rng.random((2, 60)) < truth
        second = np.where(rng.random(60) < 0.8, first, other)
        p = statistics.proportion([bool(x) for pair in zip(first, second) for x in pair], people)
        plain += p.low <= truth <= p.high
        adjusted += p.clustered_low <= truth <= p.clustered_high
    assert 0.93 <= adjusted / 1000 <= 0.975
    assert plain / 1000 < 0.90


def ratings(table, categories):
    pairs = [(a, b) for a, row in zip(categories, table) for b, n in zip(categories, row) for _ in range(n)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def test_kappa_of_a_table_computed_by_hand():
    first, second = ratings([[20, 5], [10, 15]], "yn")  # observed 0.7, expected 0.5
    k = statistics.kappa(first, second, range(50), "yn")
    assert k.kappa.value == pytest.approx(0.4) and (k.n, k.agree) == (50, 35)
    assert k.table == ((20, 5), (10, 15))
    # Cohen's large-sample standard error is sqrt(0.7 * 0.3 / (50 * 0.5**2)) = 0.130: 0.15 to 0.65
    assert k.kappa.low == pytest.approx(0.15, abs=0.03) and k.kappa.high == pytest.approx(0.65, abs=0.03)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=30))
def test_kappa_agrees_with_scikit_learn(pairs):
    first, second = zip(*pairs)
    if len(set(first) | set(second)) < 2:
        return
    k = statistics.kappa(first, second, range(len(pairs)), "abc")
    assert k.kappa.value == pytest.approx(cohen_kappa_score(first, second, labels=list("abc")), abs=1e-12)


def test_kappa_is_not_defined_by_one_rating_and_has_no_interval_when_perfect():
    assert statistics.kappa("aaa", "aaa", range(3), "ab").kappa is None
    perfect = statistics.kappa("ab", "ab", range(2), "ab").kappa
    assert (perfect.value, perfect.low, perfect.high) == (1, None, None)
    assert statistics.kappa("", "", [], "ab").kappa is None


def test_two_eyes_of_one_person_widen_the_interval_of_kappa():
    first, second = ratings([[20, 5], [10, 15]], "yn")
    alone = statistics.kappa(first, second, range(50), "yn").kappa
    twice = statistics.kappa(first * 2, second * 2, [*range(50), *range(50)], "yn").kappa
    apart = statistics.kappa(first * 2, second * 2, range(100), "yn").kappa
    assert (twice.low, twice.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert apart.high - apart.low < 0.8 * (twice.high - twice.low)


def test_limits_of_agreement_are_those_of_the_paper():
    found = statistics.limits(WRIGHT, MINI, range(17))
    assert found.bias.value == pytest.approx(-2.1, abs=0.05) and found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.bias.low, found.bias.high) == (pytest.approx(-22.0, abs=0.1), pytest.approx(17.8, abs=0.1))
    # the paper takes 2 SD (-79.7 to 75.5), and states the limits' intervals as +- 34.6
    assert found.upper.value - found.bias.value == pytest.approx(1.96 * found.sd)
    assert found.upper.high - found.upper.value == pytest.approx(34.6, abs=0.1)
    assert found.lower.value - found.lower.low == pytest.approx(34.6, abs=0.1)


def test_limits_count_people_and_need_three():
    one = statistics.limits(WRIGHT, MINI, range(17))
    both = statistics.limits(WRIGHT * 2, MINI * 2, [*range(17), *range(17)])
    assert both.n == 34 and both.participants == 17
    assert both.bias.high - both.bias.low == pytest.approx(one.bias.high - one.bias.low, rel=0.02)
    assert statistics.limits([1, 2, 3, 4], [1, 1, 1, 1], ["a", "a", "b", "b"]) is None


def test_repeatability_computed_by_hand():
    found = statistics.repeatability([[1, 3], [2, 2, 5], [9], []])  # squares 2 + 6, degrees of freedom 1 + 2
    assert (found.groups, found.values) == (2, 5)
    assert found.sd.value == pytest.approx(math.sqrt(8 / 3))
    assert found.coefficient.value == pytest.approx(1.96 * math.sqrt(2 * 8 / 3))
    # chi-square quantiles with 3 degrees of freedom: 0.2158 and 9.348
    assert found.sd.low == pytest.approx(math.sqrt(8 / 9.348), abs=1e-3)
    assert found.sd.high == pytest.approx(math.sqrt(8 / 0.2158), abs=1e-3)
    assert statistics.repeatability([[1.0], []]) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.9])), min_size=2, max_size=40))
def test_the_area_agrees_with_scikit_learn(rows):
    label, score = zip(*rows)
    found = statistics.roc(label, score, [i // 2 for i in range(len(rows))])
    if len(set(label)) < 2:
        assert found is None
        return
    assert found.auc.value == pytest.approx(roc_auc_score(label, score))
    assert (found.false_positive[0], found.sensitivity[0]) == (0, 0)
    assert (found.false_positive[-1], found.sensitivity[-1]) == (1, 1)
    if found.auc.low is not None:
        assert 0 <= found.auc.low <= found.auc.high <= 1


def test_the_area_of_three_pairs_by_hand_and_the_interval_is_always_the_same():
    label, score = [True, True, False], [0.9, 0.4, 0.4]
    found = statistics.roc(label, score, "abc")
    assert found.auc.value == pytest.approx(0.75)  # one pair in order, one tie
    assert found.dropped > 0 and statistics.roc(label, score, "abc") == found
