"""Operating points and the probability's constants."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.bundle import Probability
from quantize.decision import Evidence, fit_probability, operating_points, probabilities
from quantize.errors import CalibrationError


def test_operating_points_on_known_scores():
    label = np.array([0.0] * 20 + [1.0] * 4)
    probability = np.array([*np.linspace(0.01, 0.38, 19), 0.75, 0.3, 0.6, 0.7, 0.9])
    balanced, strict = operating_points(probability, label, "toy")
    assert (strict.name, strict.sensitivity, strict.specificity) == ("specificity_95", 0.75, 0.95)
    assert 0.38 < strict.threshold < 0.6
    assert (balanced.sensitivity, balanced.specificity) == (1.0, 0.65)  # 0.75 at best: two of twenty are chance


def test_of_nearly_equal_points_the_one_in_the_widest_gap_is_taken():
    """One eye more or less is chance; a threshold between two scores that nearly touch is noise."""
    healthy, ill = np.linspace(0.01, 0.30, 100), np.array([0.301, *np.linspace(0.60, 0.95, 99)])
    probability, label = np.concatenate([healthy, ill]), np.repeat([0.0, 1.0], 100)
    for point in operating_points(probability, label, "toy"):
        assert (point.sensitivity, point.specificity) == (0.99, 1.0)
        odds = np.array([0.301, 0.60]) / (1 - np.array([0.301, 0.60]))
        assert point.threshold / (1 - point.threshold) == pytest.approx(np.sqrt(odds.prod()))


@pytest.mark.parametrize("found", range(4, 74))
def test_how_many_eyes_may_be_left_does_not_hang_on_rounding(found):
    """Of 76 ill eyes ``found`` are above all healthy ones, the lowest two close to the highest of those: they are
    within the standard error, and left for the wide gap above them, whatever share they are."""
    healthy = np.linspace(0.01, 0.40, 100)
    ill = np.concatenate([np.full(76 - found, 0.005), [0.401, 0.402], np.linspace(0.80, 0.95, found - 2)])
    label = np.repeat([0.0, 1.0], [100, 76])
    strict = operating_points(np.concatenate([healthy, ill]), label, "toy")[1]
    assert round(strict.sensitivity * 76) == found - 2


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=4, max_size=60))
def test_figures_are_those_of_the_threshold(scored):
    """What an operating point claims is what ``probability >= threshold`` does on the same images."""
    probability = np.array([s / 20 for s, _ in scored])
    label = np.array([float(y) for _, y in scored])
    if label.min() == label.max():
        with pytest.raises(CalibrationError, match="with and without"):
            operating_points(probability, label, "toy")
        return
    for point in operating_points(probability, label, "toy"):
        refer = probability >= point.threshold
        assert refer[label == 1].mean() == pytest.approx(point.sensitivity)
        assert (~refer)[label == 0].mean() == pytest.approx(point.specificity)
        if point.name == "specificity_95":
            assert point.specificity >= 0.95


def eyes(n: int, logit_effect: float, vcdr_effect: float) -> Evidence:
    """Eyes whose label follows logit and vCDR with known coefficients."""
    rng = np.random.default_rng(0)
    logit, vcdr = rng.normal(0, 2, n), rng.normal(0.5, 0.15, n)
    chance = 1 / (1 + np.exp(-(logit_effect * logit + vcdr_effect * (vcdr - 0.5))))
    label = (rng.random(n) < chance).astype(float)
    return Evidence(logit, vcdr, label, np.ones(n), 0)


def test_the_fit_finds_the_coefficients_and_is_calibrated():
    evidence = eyes(20_000, 0.8, 5.0)
    fit = fit_probability(evidence)
    assert fit.logit_scale == pytest.approx(0.8, rel=0.05) and fit.vcdr_weight == pytest.approx(5.0, rel=0.1)
    chance = probabilities(evidence, fit)
    for low in np.arange(0, 1, 0.25):
        inside = (chance >= low) & (chance < low + 0.25)
        assert evidence.label[inside].mean() == pytest.approx(chance[inside].mean(), abs=0.03)


def test_a_larger_cup_never_speaks_against_glaucoma():
    assert fit_probability(eyes(5_000, 0.8, -5.0)).vcdr_weight == 0


def test_the_device_uses_the_same_formula():
    from device.verdict import probability
    from tests.device.eye import ConstantClassifier, manifest

    constants = Probability(logit_scale=0.7, logit_bias=-1.0, vcdr_weight=2.0)
    evidence = Evidence(np.array([1.5]), np.array([0.6]), np.array([1.0]), np.ones(1), 0)
    device = probability(manifest("glaucoma", ConstantClassifier(0), probability=constants), 1.5, 0.6)
    assert probabilities(evidence, constants)[0] == pytest.approx(device)
