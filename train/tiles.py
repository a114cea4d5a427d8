"""What is scattered over a photograph (haemorrhages, vessels), seen in square tiles at its own resolution.

Shrunk to a network's input, a photograph would lose it: many haemorrhages of a 1024-pixel one are ten pixels
wide.
"""

from __future__ import annotations

import dataclasses
import zlib

import cv2
import numpy as np

from device.geometry import Square, crop
from train.inputs import Prepared
from train.predictors import Logits, Predictor
from train.recipe import Recipe

Rng = np.random.Generator
MARGIN = 1 / 12  # of a tile's side, at each edge: networks see too little there, so another tile answers
NOTHING = -100.0  # logit of what no tile covers: outside of the field of view


def draw(recipe: Recipe, p: Prepared, rng: Rng) -> tuple[Square, Square]:
    """What exists of the photograph (all of it), and a tile relative to that: every second one has a pixel of the
    structure in it where there is any, for most of a photograph has none."""
    a = recipe.augment.region
    side = recipe.size * float(np.exp(rng.uniform(-0.25, 0.25) * a))
    inside = np.flatnonzero(p.masks[recipe.task_spec.classes[0]])
    if len(inside) and rng.random() < 0.5:
        y, x = np.divmod(rng.choice(inside), p.image.shape[1])
        x, y = np.array([x, y]) + rng.uniform(-0.5, 0.5, 2) * side
    else:
        x, y = np.array([p.square.x, p.square.y]) + rng.uniform(0, p.square.side, 2)
    # at the photograph's edge a tile stays inside: black corners are seen often enough at the field's
    height, width = p.image.shape[:2]
    x, y = (float(np.clip(v, min(side, n) / 2, n - min(side, n) / 2)) for v, n in ((x, width), (y, height)))
    return Square(0, 0, max(height, width)), Square.around(x, y, side)


def fixed(recipe: Recipe, p: Prepared, count: int) -> list[Prepared]:
    """``count`` tiles of a photograph, drawn as in training but unchanged in scale, the same ones every time."""
    rng = np.random.default_rng(zlib.crc32(p.sample.id.encode()))
    centres = [(s.x + s.side / 2, s.y + s.side / 2) for s in (draw(recipe, p, rng)[1] for _ in range(count))]
    return [dataclasses.replace(p, square=Square.around(*c, recipe.size)) for c in centres]


def whole_logits(p: Prepared, predictor: Predictor, size: int) -> Logits:
    """Logits H x W x classes of a whole photograph, from overlapping tiles of ``size`` over its field of view."""
    height, width = p.image.shape[:2]
    margin = int(size * MARGIN)
    step = size - 2 * margin
    x0, y0 = max(p.square.x, 0), max(p.square.y, 0)
    x1, y1 = min(p.square.x + p.square.side, width), min(p.square.y + p.square.side, height)
    whole: Logits | None = None
    for y in range(y0, y1, step):
        for x in range(x0, x1, step):
            logits = predictor(crop(p.image, Square(x - margin, y - margin, size)))
            # some networks answer at half of their input's resolution
            logits = cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR).reshape(size, size, -1)
            if whole is None:
                whole = np.full((height, width, logits.shape[2]), NOTHING, np.float32)
            h, w = min(step, height - y), min(step, width - x)
            whole[y : y + h, x : x + w] = logits[margin : margin + h, margin : margin + w]
    assert whole is not None  # a field of view is never empty
    return whole
