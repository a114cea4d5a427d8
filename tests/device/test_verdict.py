"""Decisions at, above and below their operating points."""

import math

import pytest

from device import verdict
from device.bundle import Probability
from device.verdict import Outcome
from tests.device.eye import ConstantClassifier, manifest, point

POINTS = {"glaucoma_probability": point("glaucoma_probability", 0.5), "vcdr": point("vcdr", 0.7)}


@pytest.mark.parametrize(
    ("chance", "vcdr", "outcome", "reasons"),
    [
        (0.49, 0.69, Outcome.NO_REFERRAL, 2),
        (0.50, 0.69, Outcome.REFER, 1),  # reaching the threshold refers
        (0.49, 0.70, Outcome.REFER, 1),
        (0.90, 0.90, Outcome.REFER, 2),
    ],
)
def test_any_quantity_over_its_threshold_refers(chance, vcdr, outcome, reasons):
    answer = verdict.decide({"glaucoma_probability": chance, "vcdr": vcdr}, POINTS)
    numbers = [r for r in answer.reasons if r != verdict.CLOSE]
    assert answer.outcome is outcome and len(numbers) == reasons


@pytest.mark.parametrize(
    ("chance", "vcdr", "close"),
    [(0.41, 0.40, True), (0.59, 0.40, True), (0.39, 0.40, False), (0.61, 0.40, False), (0.1, 0.66, True),
     (0.45, 0.90, False), (0.95, 0.71, False)],
)  # fmt: skip
def test_a_verdict_that_could_turn_says_so(chance, vcdr, close):
    answer = verdict.decide({"glaucoma_probability": chance, "vcdr": vcdr}, POINTS)
    assert (verdict.CLOSE in answer.reasons) == close


def test_reasons_carry_value_threshold_and_name():
    reason, _ = verdict.decide({"vcdr": 0.712}, {"vcdr": POINTS["vcdr"]}).reasons
    assert "0.71" in reason and "0.70" in reason and "balanced" in reason


@pytest.mark.parametrize("logit", [-1000.0, -2.0, 0.0, 2.0, 1000.0])
def test_probability_stays_in_range_and_without_constants_is_the_sigmoid(logit):
    of = manifest("glaucoma", ConstantClassifier(0))
    p = verdict.probability(of, logit, vcdr=0.5)
    assert 0 <= p <= 1
    assert p == pytest.approx((1 + math.tanh(logit / 2)) / 2)


def test_probability_with_constants():
    of = manifest("glaucoma", ConstantClassifier(0), probability=Probability(2.0, -1.0, 3.0))
    assert verdict.probability(of, 0.5, vcdr=0.4) == pytest.approx(1 / (1 + math.exp(-1.2)))


def test_a_bundle_without_points_for_a_quantity_has_none():
    of = manifest("disc_cup", ConstantClassifier(0), (point("vcdr", 0.7), point("vcdr", 0.8, "specific")))
    assert verdict.operating_point(of, "glaucoma_probability") is None
    assert verdict.operating_point(of, "vcdr").threshold == 0.7
    assert verdict.operating_point(of, "vcdr", "specific").threshold == 0.8


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.4, "vertical cup-to-disc ratio 0.40 is below the referral threshold 0.47 (balanced)"),
        (0.469, "vertical cup-to-disc ratio 0.469 is below the referral threshold 0.470 (balanced)"),
        (0.46996, "vertical cup-to-disc ratio 0.46996 is below the referral threshold 0.47000 (balanced)"),
        (0.47, "vertical cup-to-disc ratio 0.47 reaches the referral threshold 0.47 (balanced)"),
        (0.4704, "vertical cup-to-disc ratio 0.4704 reaches the referral threshold 0.4700 (balanced)"),
    ],
)
def test_numbers_that_are_held_against_each_other_can_be_told_apart(value, said):
    assert verdict.comparison("vcdr", value, 0.47, "balanced") == said
