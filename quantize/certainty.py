"""How certain the device must be of what it outlines: from the validation part."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from device.geometry import to_int8
from device.pipeline import Runs
from device.segmentation import certainty
from quantize.measure import Images
from train import tiles
from train.datasets import Sample
from train.inputs import prepare
from train.predictors import dequantized
from train.recipe import Recipe


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
