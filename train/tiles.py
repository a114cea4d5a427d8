"""What is scattered over a photograph (haemorrhages, vessels), in the device's tiles (``device.tiles``)."""

from __future__ import annotations

import dataclasses
import zlib

import cv2
import numpy as np

from device import tiles
from device.geometry import Square, network_input
from train.inputs import Prepared
from train.predictors import Logits, Predictor
from train.recipe import Recipe

Rng = np.random.Generator
NOTHING = -100.0  # logit of what no tile covers: outside of the field of view


def draw(recipe: Recipe, p: Prepared, rng: Rng) -> tuple[Square, Square]:
    """What exists of the photograph (all of it), and a tile relative to that: every second one has a pixel of the
    structure in it where there is any, for most of a photograph has none."""
    a = recipe.augment.region
    side = tiles.side_of(p.square, recipe.size) * float(np.exp(rng.uniform(-0.25, 0.25) * a))
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
    side = tiles.side_of(p.square, recipe.size)
    return [dataclasses.replace(p, square=Square.around(*c, side)) for c in centres]


def whole_logits(p: Prepared, predictor: Predictor, size: int) -> Logits:
    """Logits H x W x classes of a whole photograph, from overlapping tiles over its field of view."""
    shape = p.image.shape[:2]
    whole: Logits | None = None
    for tile, part in tiles.over(p.square, shape, size):
        logits = predictor(network_input(p.image, tile, size))
        # some networks answer at half of their input's resolution
        logits = cv2.resize(logits, (tile.side, tile.side), interpolation=cv2.INTER_LINEAR)
        logits = logits.reshape(tile.side, tile.side, -1)
        if whole is None:
            whole = np.full((*shape, logits.shape[2]), NOTHING, np.float32)
        whole[part] = logits[tiles.within(tile, part)]
    assert whole is not None  # a field of view is never empty
    return whole
