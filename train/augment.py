"""Augmentation for fundus photographs and OCTA en-face images, seeded, on ``uint8`` at the network's size.

The region of interest is jittered first (``jittered_region``), so every example still goes through the
device's own crop and resize; rotation, stretch and flips follow, then what cameras and eyes do to light.
"""

from __future__ import annotations

import cv2
import numpy as np

from device.geometry import Square, UInt8Image, crop, resize
from device.localization import Disc
from train import tiles
from train.inputs import Prepared, cut_mask
from train.recipe import AugmentSpec, Recipe
from train.tiles import Rng


def example(recipe: Recipe, p: Prepared, rng: Rng | None) -> tuple[UInt8Image, UInt8Image]:
    """One training example: image S x S x 3 and masks S x S x classes (0..255).

    Without ``rng`` nothing is changed: that is the validation input, and the device's.
    """
    classes = recipe.task_spec.classes
    names = [c for c in classes if c in p.masks]
    if rng is None:
        image, masks = p.image, [p.masks[c] for c in names]
        square = p.square
    else:
        outer, square = (tiles.draw if recipe.task_spec.scattered else jittered_region)(recipe, p, rng)
        image, masks = crop(p.image, outer), [crop(p.masks[c], outer) for c in names]
    x = resize(crop(image, square), recipe.size)
    y = np.zeros((recipe.size, recipe.size, len(classes)), np.uint8)
    for c, mask in zip(names, masks):
        y[..., classes.index(c)] = cut_mask(mask, square, recipe.size)
    if rng is not None:
        x, y = geometry(x, y, recipe.augment, rng)
        x = photometry(x, recipe.augment.photometry, rng, grey=recipe.task_spec.modality == "octa")
    return x, y


def jittered_region(recipe: Recipe, p: Prepared, rng: Rng) -> tuple[Square, Square]:
    """Two squares: what of the photograph exists (a tight crop loses its surround), and within it the region
    that the network sees, relative to the first."""
    a = recipe.augment.region
    whole = Square(0, 0, max(p.image.shape[:2]))
    s = p.square
    if p.target is None:
        side = s.side * np.exp(rng.uniform(-0.15, 0.1) * a)
        shift = rng.uniform(-0.06, 0.06, 2) * a * s.side
        return whole, Square.around(s.x + s.side / 2 + shift[0], s.y + s.side / 2 + shift[1], side)
    d = p.target
    if recipe.task == "faz":  # the first look takes in the whole image, the second one the zone found there
        if rng.random() < 0.3 * a:
            side, reach = whole.side * np.exp(rng.uniform(-0.3, 0.1) * a), 0.0
        else:
            side, reach = s.side * np.exp(rng.uniform(-0.3, 0.3) * a), 0.3 * a * d.diameter
        shift = rng.uniform(-1, 1, 2) * max(reach, (side - s.side) / 4)
        return whole, Square.around(d.cx + shift[0], d.cy + shift[1], side)
    if recipe.task == "disc_finder":
        beside = _beside(d, p.image.shape[:2], rng)
        if beside is not None and rng.random() < 0.12 * a:  # a photograph of something else: there is no disc
            return beside, Square(0, 0, beside.side)
        if rng.random() > 0.5 * a:  # the field as the device finds it, a little off
            side = s.side * np.exp(rng.uniform(-0.2, 0.15) * a)
            shift = rng.uniform(-0.08, 0.08, 2) * a * s.side
            return whole, Square.around(s.x + s.side / 2 + shift[0], s.y + s.side / 2 + shift[1], side)
        if rng.random() < 0.15 * a:  # anywhere in the field: mostly no disc, or a part of one
            side = s.side * rng.uniform(0.25, 0.6)
            corner = rng.uniform(0, s.side - side, 2)
            return whole, Square.around(s.x + side / 2 + corner[0], s.y + side / 2 + corner[1], side)
        # a crop of any tightness: the disc from a fifteenth to nine tenths of the width
        side = min(d.diameter / np.exp(rng.uniform(np.log(0.07), np.log(0.9))), 1.1 * s.side)
        reach = 0.5 * max(0.1 * side, side - d.diameter)
        shift = rng.uniform(-1, 1, 2) * reach * rng.random()
        return whole, Square.around(d.cx + shift[0], d.cy + shift[1], side)
    side = s.side * np.exp(rng.uniform(-0.3, 0.35) * a)
    shift = rng.uniform(-0.18, 0.18, 2) * a * d.diameter
    region = Square.around(d.cx + shift[0], d.cy + shift[1], side)
    if rng.random() < 0.35 * a:  # a photograph that was cropped tightly to the disc
        off = rng.uniform(-0.08, 0.08, 2) * d.diameter
        tight = Square.around(d.cx + off[0], d.cy + off[1], d.diameter / rng.uniform(0.55, 0.95))
        return tight, Square(region.x - tight.x, region.y - tight.y, region.side)
    return whole, region


def _beside(disc: Disc, shape: tuple[int, int], rng: Rng) -> Square | None:
    """A square of the photograph beside the disc, from half as wide as there is room up to all of it; None where
    there is hardly room on any side."""
    height, width = shape
    room = {
        "left": disc.cx - 0.7 * disc.diameter,
        "right": width - disc.cx - 0.7 * disc.diameter,
        "above": disc.cy - 0.7 * disc.diameter,
        "below": height - disc.cy - 0.7 * disc.diameter,
    }
    shares = np.array([max(0.0, r - 0.25 * min(shape)) for r in room.values()])
    if not shares.any():
        return None
    where = rng.choice(list(room), p=shares / shares.sum())
    side = int(min(room[where], height, width) * rng.uniform(0.5, 1))
    x, y = (int(rng.uniform(0, extent - side)) for extent in (width, height))
    slack = rng.uniform(0, room[where] - side)
    if where in ("left", "right"):
        x = int(slack if where == "left" else width - side - slack)
    else:
        y = int(slack if where == "above" else height - side - slack)
    return Square(x, y, side)


def geometry(x: UInt8Image, y: UInt8Image, spec: AugmentSpec, rng: Rng) -> tuple[UInt8Image, UInt8Image]:
    """Flip, rotate, stretch and shear image and masks together about the centre.

    What comes in is black as around a fundus, or a reflection where images fill their frame (``rotate_degrees``
    of 180: OCTA).
    """
    if spec.geometry == 0:
        return x, y
    n = x.shape[0]
    turn = np.deg2rad(rng.uniform(-1, 1) * spec.rotate_degrees)
    stretch = np.exp(rng.uniform(-0.1, 0.1, 2) * spec.geometry)
    shear = rng.uniform(-0.08, 0.08) * spec.geometry
    mirror, upside_down = rng.random() < 0.5, spec.flip_vertical and rng.random() < 0.5
    flip = np.diag([-1.0 if mirror else 1.0, -1.0 if upside_down else 1.0])
    rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    m = rotate @ np.array([[stretch[0], shear], [0, stretch[1]]]) @ flip
    c = (n - 1) / 2
    affine = np.hstack([m, (np.array([c, c]) - m @ [c, c])[:, None]])
    border = cv2.BORDER_REFLECT_101 if spec.rotate_degrees >= 180 else cv2.BORDER_CONSTANT
    x = cv2.warpAffine(x, affine, (n, n), flags=cv2.INTER_LINEAR, borderMode=border)
    y = cv2.warpAffine(y, affine, (n, n), flags=cv2.INTER_LINEAR, borderMode=border)
    return x, y.reshape(n, n, -1)


def photometry(x: UInt8Image, strength: float, rng: Rng, grey: bool = False) -> UInt8Image:
    """Illumination, colour cast, contrast, defocus, noise and JPEG, each as likely as cameras make them."""
    if strength == 0:
        return x
    n = x.shape[0]
    v = x.astype(np.float32) / 255
    if rng.random() < 0.8:  # exposure and gamma
        v = v ** np.float32(np.exp(rng.uniform(-0.45, 0.45) * strength))
        v *= np.float32(np.exp(rng.uniform(-0.45, 0.35) * strength))
    if not grey and rng.random() < 0.8:  # white balance, then saturation
        v *= np.exp(rng.uniform(-0.3, 0.3, 3) * strength).astype(np.float32)
        mean = v.mean(axis=2, keepdims=True)
        v = mean + (v - mean) * np.float32(np.exp(rng.uniform(-0.5, 0.35) * strength))
    if rng.random() < 0.5:  # contrast about the mean
        mean = v.mean(axis=(0, 1), keepdims=True)
        v = mean + (v - mean) * np.float32(np.exp(rng.uniform(-0.35, 0.35) * strength))
    if rng.random() < 0.5:  # uneven light: a slope, or a bright or dark lobe (haze, crescent)
        u = np.linspace(-1, 1, n, dtype=np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        slope = np.cos(angle) * u[None, :] + np.sin(angle) * u[:, None]
        if rng.random() < 0.5:
            v *= (1 + np.float32(rng.uniform(0, 0.5) * strength) * slope)[..., None]
        else:
            haze = np.clip(slope - rng.uniform(-0.3, 0.8), 0, None)[..., None]
            tint = rng.uniform(0, 0.4, 1 if grey else 3).astype(np.float32) * np.float32(strength)
            v += haze * tint * (v.max(axis=2, keepdims=True) > 0.04)  # the surround stays dark
    if rng.random() < 0.3:  # defocus
        v = cv2.GaussianBlur(v, (0, 0), float(rng.uniform(0.3, 0.011 * n) * strength) + 1e-3)
    if rng.random() < 0.15:  # low resolution
        small = max(48, round(n * rng.uniform(0.35, 0.8)))
        v = cv2.resize(cv2.resize(v, (small, small), interpolation=cv2.INTER_AREA), (n, n))
    if rng.random() < 0.4:  # sensor noise; speckle in OCTA
        noise = rng.standard_normal((n, n, 1 if grey else 3), dtype=np.float32)
        v += noise * np.float32(rng.uniform(0, 0.04) * strength) * (0.3 + v)
    out = np.clip(v * 255, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.uniform(40, 95))
        _, coded = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out = cv2.imdecode(coded, cv2.IMREAD_COLOR)  # channel order does not matter here: in and out alike
    return out
