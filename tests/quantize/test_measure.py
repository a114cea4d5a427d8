"""The choice of calibration inputs, and what an outlined disc is at least certain of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from quantize.errors import CalibrationError
from quantize.measure import inputs, least_certainty, least_peak
from tests.device.eye import SCALE, SIZE, SPOT_GREEN, ColourNetwork, paint
from train.datasets import MaskFile, Sample
from train.recipe import DataSpec, Recipe


@pytest.mark.parametrize(("samples", "count"), [([], 8), (["a sample"], 0)])
def test_a_missing_calibration_set_is_an_error(samples, count):
    with pytest.raises(CalibrationError, match="calibration set is missing"):
        inputs(None, samples, count)


def test_what_is_seen_in_tiles_is_calibrated_on_tiles(tmp_path):
    """So many of each photograph as it takes, and half of them with the structure in it."""
    samples = []
    for name in ("a", "b", "c"):
        photograph = paint(disc=(0, 0), cup=(0, 0), spots=[(120, 200, 6)])
        Image.fromarray(photograph).save(tmp_path / f"{name}.png")
        Image.fromarray(photograph[..., 1] // 255 * 255).save(tmp_path / f"{name}-mask.png")
        mask = MaskFile(tmp_path / f"{name}-mask.png")
        samples.append(Sample("s", name, name, tmp_path / f"{name}.png", {"haemorrhage": mask}))
    recipe = Recipe(name="t", task="haemorrhage", size=96, data=DataSpec(sets={"idrid_a": 4}))
    found = inputs(recipe, samples, 20)
    assert found.shape == (20, 96, 96, 3) and found.dtype == np.uint8
    assert 4 <= sum(bool((image == 255).all(2).any()) for image in found) <= 16
    assert np.array_equal(found, inputs(recipe, samples, 20))


def test_all_but_one_in_a_hundred_are_well_above_the_least_certainty():
    images = np.zeros((101, SIZE, SIZE, 3), np.uint8)
    images[...] = np.arange(101, dtype=np.uint8)[:, None, None, None] + 110
    assert least_certainty(ColourNetwork(100), images) == pytest.approx(0.95 * (111 - 100) / 2 * SCALE, abs=SCALE)


def test_a_piece_must_be_more_certain_than_those_that_nobody_outlined(tmp_path):
    """Two photographs with a white and a pale spot that an expert outlined, and grey ones that none did; one
    whose haemorrhages nobody looked for does not count."""
    samples = []
    for name, greys in (("a", 3), ("b", 1), ("unlabelled", 5)):
        photograph = paint(disc=(0, 0), cup=(0, 0), spots=[(120, 200, 7)])
        cv2.circle(photograph, (250, 120), 7, (255, 230, 255), -1)
        outlined = (photograph[..., 2] == 255).astype(np.uint8) * 255
        for i in range(greys):
            cv2.circle(photograph, (150 + 30 * i, 280), 7, (255, 180, 255), -1)
        Image.fromarray(photograph).save(tmp_path / f"{name}.png")
        Image.fromarray(outlined).save(tmp_path / f"{name}-mask.png")
        masks = {} if name == "unlabelled" else {"haemorrhage": MaskFile(tmp_path / f"{name}-mask.png")}
        samples.append(Sample("s", name, name, tmp_path / f"{name}.png", masks))
    recipe = Recipe(name="t", task="haemorrhage", size=SIZE, data=DataSpec(sets={"idrid_a": 1}))
    least = least_peak(recipe, ColourNetwork(SPOT_GREEN), samples)
    grey, pale = ((green - SPOT_GREEN) / 2 * SCALE for green in (180, 230))
    assert grey - SCALE < least < pale - SCALE
    nothing = least_peak(recipe, ColourNetwork(255), samples)
    assert nothing == 0.0
