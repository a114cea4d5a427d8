"""The choice of calibration inputs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from quantize.errors import CalibrationError
from quantize.measure import inputs
from tests.device.eye import paint
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
