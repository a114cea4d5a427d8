"""The inputs for calibration and parity, and how certain the device must be of what it outlines.

Calibration inputs come from the training part, parity and operating points from the validation part, and the
figures of the model card from the test part: no image serves two of these.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from device.geometry import network_input, to_int8
from device.pipeline import Runs
from device.segmentation import certainty
from quantize.errors import CalibrationError
from train import tiles
from train.datasets import Sample, load_split
from train.inputs import device_inputs, prepare
from train.predictors import dequantized
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


def least_peak(recipe: Recipe, network: Runs, samples: Sequence[Sample]) -> float:
    """What the largest logit of a piece of haemorrhage must exceed for the device to mark it: where the F1 score
    of pieces is highest on whole photographs with outlines, of the validation part. A piece that was found is
    right where it touches an outlined one, and an outlined one is found where it is touched."""
    name = recipe.task_spec.classes[0]
    found: list[tuple[float, bool]] = []  # largest logit; right
    outlined: list[float] = []  # largest logit of all that touches it
    for p in (prepare(recipe.task, sample) for sample in samples):
        if name not in p.masks:
            continue
        logits = tiles.whole_logits(p, dequantized(network), recipe.size)[..., 0]
        count, pieces = cv2.connectedComponents((logits > 0).astype(np.uint8), connectivity=8)
        peaks = np.full(count, -np.inf)
        np.maximum.at(peaks, pieces.ravel(), logits.ravel())
        peaks[0] = -np.inf  # what is no piece
        truth = p.masks[name] > 0
        right = np.isin(np.arange(count), pieces[truth])
        found += list(zip(peaks[1:].tolist(), right[1:].tolist()))
        total, references = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
        outlined += [float(peaks[pieces[references == i]].max()) for i in range(1, total)]
    largest, correct = np.array(found, np.float64).reshape(-1, 2).T
    touched = np.array(outlined, np.float64)

    def f1(least: float) -> float:
        marked, hit = largest > least, touched > least
        both = (correct[marked].sum() / marked.sum(), hit.mean()) if marked.any() and hit.any() else (0.0, 1.0)
        return float(2 * both[0] * both[1] / sum(both))

    return max((0.0, *sorted({float(x) for x in largest})), key=f1)


def least_certainty(network: Runs, images: Images) -> float:
    """Where the device finds less certainty (``device.segmentation.certainty``) than this in the first class, it
    found something else: 95 %, for cameras unseen, of what all but one in a hundred of these inputs
    (n x S x S x 3) reach."""
    spec = network.output
    reached = [certainty(network.run(to_int8(x)[None])[0, ..., 0], spec.zero_point, spec.scale) for x in images]
    return 0.95 * float(np.percentile(reached, 1))
