"""Figures against shapes and numbers that can be worked out by hand."""

import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_hausdorff_distance
from sklearn.metrics import roc_auc_score

from train import metrics

EMPTY = np.zeros((20, 20), bool)


def circle(radius, cx=100.0, cy=100.0, size=200):
    y, x = np.mgrid[:size, :size]
    return (x - cx) ** 2 + (y - cy) ** 2 <= radius**2


def square(left, top, side, size=40):
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def blob(seed, size=96):
    """A random shape, often in several parts."""
    noise = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 8)
    return smooth > np.quantile(smooth, 0.8)


def test_concentric_circles():
    small, large = circle(30), circle(50)
    assert metrics.dice(small, large) == pytest.approx(2 * 900 / (900 + 2500), rel=0.01)
    assert metrics.iou(small, large) == pytest.approx(900 / 2500, rel=0.01)
    assert metrics.hausdorff95(metrics.boundary_distances(small, large)) == pytest.approx(20, abs=1)


def test_shifted_circles_overlap_in_a_lens():
    r, d = 60.0, 30.0
    lens = 2 * r * r * math.acos(d / (2 * r)) - d / 2 * math.sqrt(4 * r * r - d * d)
    a, b = circle(r, 85), circle(r, 115)
    assert metrics.dice(a, b) == pytest.approx(lens / (math.pi * r * r), rel=0.01)
    assert metrics.iou(a, b) == pytest.approx(lens / (2 * math.pi * r * r - lens), rel=0.01)
    # Seen from the other centre a point of the first circle lies at most d further out, and 5 % lie near that.
    angles = np.linspace(0, 2 * np.pi, 100_000)
    away = np.abs(np.hypot(r * np.cos(angles) - d, r * np.sin(angles)) - r)
    expected = np.percentile(away, 95)
    assert metrics.hausdorff95(metrics.boundary_distances(a, b)) == pytest.approx(expected, abs=1)


def test_equal_masks_agree_fully():
    a = blob(0)
    distances = metrics.boundary_distances(a, a)
    assert metrics.dice(a, a) == metrics.iou(a, a) == 1
    assert metrics.hausdorff95(distances) == 0
    assert metrics.boundary_f1(distances, 0.0) == 1


def test_empty_masks():
    full = square(5, 5, 4, 20)
    assert metrics.dice(EMPTY, EMPTY) == metrics.iou(EMPTY, EMPTY) == 1
    assert metrics.dice(full, EMPTY) == metrics.iou(EMPTY, full) == 0
    for a, b in ((EMPTY, full), (full, EMPTY), (EMPTY, EMPTY)):
        distances = metrics.boundary_distances(a, b)
        assert math.isnan(metrics.hausdorff95(distances))
        assert metrics.boundary_f1(distances, 5.0) == 0


def test_far_apart_masks_have_no_boundary_in_common():
    distances = metrics.boundary_distances(square(0, 0, 5), square(30, 30, 5))
    assert metrics.boundary_f1(distances, 2.0) == 0


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_hausdorff_agrees_with_monai(seed_a, seed_b):
    a, b = blob(seed_a), blob(seed_b)
    theirs = compute_hausdorff_distance(
        torch.from_numpy(a[None, None]), torch.from_numpy(b[None, None]), include_background=True, percentile=95
    )
    assert metrics.hausdorff95(metrics.boundary_distances(a, b)) == pytest.approx(float(theirs), abs=1)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=25)
def test_figures_are_symmetric_and_related(seed_a, seed_b):
    a, b = blob(seed_a, 48), blob(seed_b, 48)
    dice, iou = metrics.dice(a, b), metrics.iou(a, b)
    assert dice == pytest.approx(2 * iou / (1 + iou))
    assert dice == metrics.dice(b, a)
    there, back = metrics.boundary_distances(a, b), metrics.boundary_distances(b, a)
    assert metrics.hausdorff95(there) == metrics.hausdorff95(back)
    assert metrics.boundary_f1(there, 1.5) == pytest.approx(metrics.boundary_f1(back, 1.5))


def test_boundary_f1_of_a_shifted_square():
    """Shifted by 3 to the right, the upper and lower sides still share 8 of 11 columns; every other pixel of an
    outline is 1 to 3 pixels from the other."""
    a, b = square(10, 10, 11), square(13, 10, 11)
    distances = metrics.boundary_distances(a, b)
    assert metrics.boundary_f1(distances, 0.0) == pytest.approx(2 * 8 / 40)  # 40 pixels are the whole outline
    assert metrics.boundary_f1(distances, 3.0) == 1
    assert metrics.hausdorff95(distances) == pytest.approx(3)


def test_auc_and_sensitivity_by_hand():
    label = np.array([0, 0, 0, 0, 1, 1, 1, 1.0])
    score = np.array([0.1, 0.2, 0.3, 0.7, 0.25, 0.6, 0.8, 0.9])
    assert metrics.auc(label, score) == pytest.approx(13 / 16)  # 2 + 3 + 4 + 4 of 16 pairs are in order
    assert metrics.sensitivity_at(label, score, 1.0) == pytest.approx(2 / 4)  # above 0.7
    assert metrics.sensitivity_at(label, score, 0.75) == pytest.approx(3 / 4)  # above 0.3
    assert metrics.sensitivity_at(label, score, 0.5) == pytest.approx(1.0)
    assert metrics.auc(label, -score) == pytest.approx(3 / 16)
    assert metrics.auc(label, np.zeros(8)) == 0.5


@settings(max_examples=50)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=40))
def test_auc_is_that_of_scikit_learn_with_ties_too(cases):
    label, score = np.array(cases, np.float64).T
    if len(set(label)) == 2:
        assert metrics.auc(label, score) == pytest.approx(roc_auc_score(label, score))
    else:
        assert math.isnan(metrics.auc(label, score))


def test_one_class_has_no_auc():
    assert math.isnan(metrics.auc(np.ones(3), np.arange(3.0)))
    assert math.isnan(metrics.sensitivity_at(np.zeros(3), np.arange(3.0), 0.9))


def test_bland_altman_by_hand():
    bias, low, high = metrics.bland_altman(np.array([1.0, 3.0, 5.0]), np.array([0.0, 1.0, 2.0]))
    assert (bias, low, high) == pytest.approx((2, 2 - 1.96, 2 + 1.96))  # differences 1, 2, 3: SD 1
    bias, low, high = metrics.bland_altman(np.array([4.0]), np.array([1.0]))
    assert bias == 3 and math.isnan(low) and math.isnan(high)


def test_pearson_by_hand():
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert metrics.pearson(a, np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)
    assert metrics.pearson(a, -2 * a) == pytest.approx(-1)
    assert math.isnan(metrics.pearson(a, np.ones(4)))
    assert math.isnan(metrics.pearson(a[:2], a[:2]))


def test_interval_of_a_mean_is_the_known_one_and_reproducible():
    values = np.random.default_rng(1).normal(5, 2, 100)
    low, high = metrics.interval(np.mean, values)
    half = 1.96 * values.std() / 10
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert metrics.interval(np.mean, values) == (low, high)
    assert all(math.isnan(v) for v in metrics.interval(np.mean, values[:1]))


def test_interval_covers_the_truth_about_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 200)
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(200):
        low, high = metrics.interval(np.mean, rng.exponential(1.0, 60))
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_strata_keep_both_classes_in_every_resample(monkeypatch):
    monkeypatch.setattr(metrics, "RESAMPLES", 300)
    label = np.array([1.0] + [0.0] * 9)
    counts = []

    def count(labels, scores):
        counts.append(labels.sum())
        return metrics.auc(labels, scores)

    low, high = metrics.interval(count, label, np.arange(10.0)[::-1] * 0.1, strata=label)
    assert set(counts) == {1.0}
    assert (low, high) == (1.0, 1.0)
    counts.clear()
    metrics.interval(count, label, np.arange(10.0))
    assert len(set(counts)) > 1


def test_eyes_of_one_patient_are_drawn_together():
    """Pairs of equal values are no more than half as many: the interval is that of the pairs."""
    single = np.random.default_rng(4).normal(0, 1, 40)
    twice, whose = np.repeat(single, 2), [f"patient {i // 2}" for i in range(80)]
    grouped = metrics.interval(np.mean, twice, groups=whose)
    assert grouped == pytest.approx(metrics.interval(np.mean, single))
    low, high = metrics.interval(np.mean, twice)
    assert high - low < 0.8 * (grouped[1] - grouped[0])
    assert grouped == metrics.interval(np.mean, twice, groups=[name.upper() for name in whose])
    assert all(math.isnan(v) for v in metrics.interval(np.mean, twice, groups=["one"] * 80))
    assert metrics.interval(np.mean, single, groups=[*map(str, range(40))]) == metrics.interval(np.mean, single)


def test_groups_and_strata_together():
    label = np.repeat([0.0, 1.0], [6, 4])
    whose = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    drawn = []

    def ill(labels):
        drawn.append((len(labels), labels.sum()))
        return 0.0

    metrics.interval(ill, label, strata=label, groups=whose)
    assert set(drawn) == {(10, 4.0)}


def test_rows_stay_together():
    """An interval of the difference of equal columns is a point only if their rows are drawn together."""
    values = np.random.default_rng(3).normal(size=30)
    assert metrics.interval(lambda a, b: float(np.abs(a - b).sum()), values, values) == (0.0, 0.0)
