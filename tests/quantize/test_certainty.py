"""What an outlined disc, and a piece of haemorrhage, is at least certain of."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from quantize.certainty import least_certainty, least_peak
from tests.device.eye import SCALE, SIZE, SPOT_GREEN, ColourNetwork, paint
from train.datasets import MaskFile, Sample
from train.recipe import DataSpec, Recipe


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
