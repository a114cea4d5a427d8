"""What networks are held against: the classical method finds a zone, and nothing where none is; observers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.train.toy import make_octa
from train.datasets import load_split
from train.datasets.base import MaskFile, Sample
from train.evaluation import column, network_cases
from train.paper import untrained
from train.paper.studies import STUDIES, UNTRAINED, jobs


def region(zone: bool = True) -> np.ndarray:
    """A bright mesh of capillaries, and a dark zone in its middle."""
    y, x = np.mgrid[:96, :96]
    grey = np.where((x % 6 < 2) | (y % 6 < 2), 200, 40).astype(np.uint8)
    if zone:
        grey[(y - 50) ** 2 + (x - 46) ** 2 < 20**2] = 15
    return np.repeat(grey[..., None], 3, axis=2)


@pytest.mark.parametrize("steps", [0, 10])
def test_the_classical_method_outlines_the_dark_zone(steps):
    logits = untrained.classical(0.03, 0.7, 0.03, steps)(region())
    y, x = np.mgrid[:96, :96]
    truth = (y - 50) ** 2 + (x - 46) ** 2 < 20**2
    found = logits[..., 0] > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85


def test_it_finds_nothing_in_an_even_picture():
    assert (untrained.classical(0.03, 0.7, 0.03, 10)(np.full((96, 96, 3), 90, np.uint8)) < 0).all()


def test_settings_are_chosen_on_the_training_part(tmp_path, monkeypatch):
    """Of two settings the one that is better there is used: nothing else is looked at."""
    root = make_octa(tmp_path)
    monkeypatch.setattr(untrained, "BLUR", (0.02,))
    monkeypatch.setattr(untrained, "THRESHOLD", (0.05, 0.8))  # the first one finds nothing
    monkeypatch.setattr(untrained, "OPENING", (0.0,))
    monkeypatch.setattr(untrained, "STEPS", (0,))
    (one,) = (j for j in jobs("cpu") if j.study == "classical")
    training = load_split(root, "octa_faz", "train")[:6]
    predictor = untrained.tuned(one.recipe, training)
    assert column(network_cases("faz", training, predictor, 48), "dice_faz").mean() > 0.8


def test_the_second_observer_is_held_against_the_first(tmp_path):
    first, second = np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8)
    first[10:20, 5:35] = 255
    second[10:20, 5:20] = 255
    Image.fromarray(first).save(tmp_path / "1.png")
    Image.fromarray(second).save(tmp_path / "2.png")
    masks = {"vessels": MaskFile(tmp_path / "1.png"), "vessels_2": MaskFile(tmp_path / "2.png")}
    case = untrained.second_observer(Sample("chase_db1", "a", "a", tmp_path / "1.png", masks))
    assert case.values["dice_vessels"] == pytest.approx(2 * 150 / (300 + 150))


def test_what_has_no_weights_has_one_seed():
    assert set(UNTRAINED) < set(STUDIES)
    assert all(j.seed == 1 for j in jobs("cpu") if j.study in UNTRAINED)
