"""The inputs for calibration and parity.

Calibration inputs come from the training part, parity and operating points from the validation part, and the
figures of the model card from the test part: no image serves two of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from device.geometry import network_input
from quantize.errors import CalibrationError
from train import tiles
from train.datasets import Sample, load_split
from train.inputs import device_inputs, prepare
from train.recipe import Recipe

Images = npt.NDArray[np.uint8]


def part(recipe: Recipe, root: Path, split: str) -> dict[str, list[Sample]]:
    """The samples of a part (train, val, test) by set, for every set that the recipe trains on."""
    return {name: load_split(root, name, split) for name in recipe.data.sets}


def inputs(recipe: Recipe, samples: Sequence[Sample], count: int) -> Images:
    """Device inputs (n x S x S x 3) of at most ``count`` samples, evenly spread; of a task with tiles, ``count``
    tiles. Raises CalibrationError where there is none."""
    if count < 1 or not samples:
        raise CalibrationError(
            "the calibration set is missing: there is no image; give the recipe's data (--data)"
        )
    if recipe.task_spec.scattered:
        return _tiles(recipe, samples, count)
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).round().astype(int))
    return np.stack([device_inputs(recipe.task, samples[i], recipe.size)[0] for i in chosen])


def _tiles(recipe: Recipe, samples: Sequence[Sample], count: int) -> Images:
    """As many of each photograph, drawn as training draws those for validation."""
    each = -(-count // len(samples))
    found = (t for s in samples for t in tiles.fixed(recipe, prepare(recipe.task, s), each))
    return np.stack([network_input(t.image, t.square, recipe.size) for t in itertools.islice(found, count)])
