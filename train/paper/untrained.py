"""What networks are held against and has no weights: a classical method as instruments have; a second observer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import disk
from skimage.segmentation import morphological_chan_vese

from device.geometry import UInt8Image
from train.datasets import Sample, load_split
from train.evaluation import SCATTERED_TOLERANCE, Case, column, network_cases, overlap
from train.predictors import Logits, Predictor
from train.recipe import Recipe

BLUR = (0.01, 0.02, 0.03, 0.045, 0.06)  # standard deviation, of the region's side
THRESHOLD = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of Otsu's
OPENING = (0.0, 0.03, 0.06, 0.09)  # radius, of the region's side
STEPS = (0, 10, 30)  # of the level set


def untrained_cases(recipe: Recipe, root: Path) -> list[Case]:
    """Cases of the recipe's test part, by its network's kind: "threshold" or "observer"."""
    samples = {part: _samples(recipe, root, part) for part in ("train", "test")}
    if recipe.network.kind == "observer":
        return [second_observer(s) for s in samples["test"]]
    return network_cases(recipe.task, samples["test"], tuned(recipe, samples["train"]), recipe.size)


def tuned(recipe: Recipe, training: Sequence[Sample]) -> Predictor:
    """The classical method with the settings that have the highest mean Dice on the training part."""

    def score(settings: tuple[float, float, float, int]) -> float:
        cases = network_cases(recipe.task, training, classical(*settings), recipe.size)
        return float(column(cases, "dice_faz").mean())

    # the level set starts from the threshold's outline, so a good one is looked for first
    *outline, _ = max(itertools.product(BLUR, THRESHOLD, OPENING, (0,)), key=score)
    return classical(*max(((*outline, steps) for steps in STEPS), key=score))


def classical(blur: float, threshold: float, opening: float, steps: int) -> Predictor:
    """An avascular zone without learning: blur until capillaries run together, take what is darker than a share of
    Otsu's threshold, open it where it leaks out between vessels, take the large piece nearest to the middle, fill
    it, and let a level set without edges find its outline (Chan and Vese, IEEE TIP 10:266, 2001). Blur and radius
    of the opening in shares of the region's side."""

    def predict(region: UInt8Image) -> Logits:
        side = region.shape[0]
        grey = gaussian(region[..., 1] / 255.0, blur * side)
        dark = grey < threshold * threshold_otsu(grey)
        pieces, count = ndimage.label(ndimage.binary_opening(dark, disk(round(opening * side))))
        if not count:
            return np.full((side, side, 1), -1, np.float32)
        off_middle = np.hypot(*(np.indices(grey.shape) - (side - 1) / 2)) / side
        near = ndimage.minimum(off_middle, pieces, range(1, count + 1))
        size = np.bincount(pieces.ravel())[1:]
        zone = ndimage.binary_fill_holes(pieces == 1 + np.argmax(size * (np.array(near) < 0.15)))
        if steps:
            zone = morphological_chan_vese(grey, steps, init_level_set=zone, smoothing=1).astype(bool)
        return np.where(zone[..., None], 1, -1).astype(np.float32)

    return predict


def second_observer(sample: Sample) -> Case:
    """The second observer's outlines of vessels against the first's, which networks are held against too."""
    first, second = (sample.mask_files[name].read() > 0 for name in ("vessels", "vessels_2"))
    return Case(sample.set, sample.id, sample.stratum, overlap("vessels", second, first, SCATTERED_TOLERANCE))


def _samples(recipe: Recipe, root: Path, part: str) -> list[Sample]:
    return [s for name in recipe.data.sets for s in load_split(root, name, part)]
