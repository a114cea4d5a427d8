"""Which eye is it? A check of the operator's choice, from the photograph alone.

The optic disc lies on the nasal side of the macula: in a field that is centred on the macula it is right of the
middle in a right eye (OD), left of it in a left eye (OS). In a field that is centred on the disc, three things
tell the temporal side: the dark spot of the macula, two and a half disc diameters away; the arcades, which bend
round it; and that few vessels run straight towards it, many straight to the nasal side.

The answer is ``unknown`` unless it is clear. A wrong warning costs more trust than a missing one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from device.field import Field, circle_of
from device.geometry import UInt8Image
from device.localization import Disc

Laterality = Literal["OD", "OS", "unknown"]
Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

DIAMETER = 24  # working pixels of a disc diameter
REACH = 4  # disc diameters that are looked at on each side of the disc
SIZES = 0.06, 0.26  # a disc's diameter, as shares of the field's; others are no disc, or no fundus camera's field
HIGHEST = 0.5  # field radii; a disc above or below this is a field of the periphery

# A disc farther from the middle than this (in field radii) tells the side, unless where the macula would be is
# clearly no macula; nearer ones need CLEAR evidence.
OFF_CENTRE, NO_MACULA, CLEAR = 0.3, -0.5, 2.0

# The evidence was weighed on the disc-centred photographs of CHASE_DB1 and DRISHTI (docs/instrument-quality.md).
NEAR, FAR = (1.0, 1.6), (1.6, 2.4)  # rings around the disc, in disc diameters
WEIGHTS = {"straight, near": 3.3, "straight, far": 1.8, "arcades": 5.6, "macula": 0.5}


class _View(NamedTuple):
    """The surroundings of the disc at the working size; the disc is in the middle."""

    ground: Plane  # green, without the vessels
    vessels: Plane  # how much darker they are, relative to it
    inside: Mask  # of the field of view


def seen(pixels: UInt8Image, field: Field, disc: Disc | None) -> Laterality:
    """Which eye an RGB H x W x 3 photograph shows, from its field of view and its disc (in pixels).

    A picture without a dark surround, or without a disc, is unknown. The mirrored picture gives the other eye.
    """
    if disc is None or field.fills_frame:
        return "unknown"
    height, width = pixels.shape[:2]
    (cx, cy), share = circle_of(field)
    radius = share * min(height, width)
    right, down = (disc.cx - cx * width) / radius, (disc.cy - cy * height) / radius
    if not SIZES[0] <= disc.diameter / (2 * radius) <= SIZES[1] or abs(down) > HIGHEST:
        return "unknown"
    view = _view(pixels, field, disc)
    maculas = {side: _macula(view, side) for side in (-1, 1)}
    if abs(right) >= OFF_CENTRE:
        found = maculas[-1 if right > 0 else 1]
        clear = found is not None and found >= NO_MACULA
        return _eye(right) if clear else "unknown"
    evidence = WEIGHTS["macula"] * ((maculas[-1] or 0.0) - (maculas[1] or 0.0)) + _vessels(view)
    return _eye(evidence) if abs(evidence) >= CLEAR else "unknown"


def _eye(to_the_right: float) -> Laterality:
    return "OD" if to_the_right > 0 else "OS"


def _view(pixels: UInt8Image, field: Field, disc: Disc) -> _View:
    side = 2 * REACH * DIAMETER
    scale = DIAMETER / disc.diameter
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    green = cv2.resize(np.ascontiguousarray(pixels[..., 1]), None, fx=scale, fy=scale, interpolation=how)
    lit = cv2.resize(field.mask, green.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    lit = cv2.erode(lit, _ellipse(9), borderValue=0)  # the edge of the field is no vessel
    corner = round(disc.cx * scale) - side // 2, round(disc.cy * scale) - side // 2
    green, lit = (_cut(plane, corner, side) for plane in (green, lit))
    ground = cv2.morphologyEx(green, cv2.MORPH_CLOSE, _ellipse(9)).astype(np.float32)
    return _View(ground, np.clip((ground - green) / (ground + 8), 0, 0.5), lit > 127)


def _ellipse(size: int) -> UInt8Image:
    shape: UInt8Image = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return shape


def _cut(plane: UInt8Image, corner: tuple[int, int], side: int) -> UInt8Image:
    """A square of a plane, 0 where it reaches outside."""
    padded = cv2.copyMakeBorder(plane, side, side, side, side, cv2.BORDER_CONSTANT, value=0)
    x, y = corner[0] + side, corner[1] + side
    square: UInt8Image = padded[y : y + side, x : x + side]
    return square


_middle = np.arange(-REACH * DIAMETER, REACH * DIAMETER) + 0.5
X, Y = (
    axis.astype(np.float32) / DIAMETER for axis in np.meshgrid(_middle, _middle)
)  # disc diameters, right and down
DISTANCE = np.hypot(X, Y)


def _macula(view: _View, side: int) -> float | None:
    """How much the left (-1) or right (1) of the disc looks like the macula: above 0 rather yes than no; None
    where too little of it is in the field of view.

    A dark spot, and few vessels towards it compared with above and below.
    """
    x = X * side
    window = (x > 1.9) & (x < 3.3) & (Y > -0.5) & (Y < 1.1)
    weight = (view.inside & (DISTANCE > 1)).astype(np.float32)  # the bright disc would make all else dark
    spot = window & view.inside & (cv2.GaussianBlur(weight, (0, 0), DIAMETER) > 0.6)  # not at the field's dim edge
    ahead = view.inside & (x > 1) & (x < 3.2) & (Y > -0.5) & (Y < 0.7)
    beside = [view.inside & (x > 0.3) & (x < 3.2) & (y > 0.8) & (y < 2.2) for y in (-Y, Y)]
    shown = [view.vessels[part].mean() for part in beside if np.count_nonzero(part) > 100]
    if np.count_nonzero(spot) < 0.3 * np.count_nonzero(window) or not shown:
        return None
    small, large = (_mean(view.ground, weight, sigma * DIAMETER) for sigma in (0.35, 1.0))
    darkness = float(((large - small) / (large + 8))[spot].max())
    straight = (float(view.vessels[ahead].mean()) + 0.004) / (float(np.mean(shown)) + 0.004)
    return (darkness - 0.09) / 0.06 - float(np.log(straight / 0.75)) / 0.2


def _mean(plane: Plane, weight: Plane, sigma: float) -> Plane:
    """Gaussian mean of what has weight."""
    mean: Plane = cv2.GaussianBlur(plane * weight, (0, 0), sigma) / (
        cv2.GaussianBlur(weight, (0, 0), sigma) + 1e-3
    )
    return mean


def _vessels(view: _View) -> float:
    """What the vessels say where both sides are in the field of view: above 0 that the left is temporal."""
    both = view.inside & view.inside[:, ::-1]
    level = (np.abs(Y) < 0.6 * np.abs(X) + 0.1) & (Y > -0.6)
    steep = np.abs(Y) > 0.5 * np.abs(X)
    near, far = (both & (low < DISTANCE) & (high > DISTANCE) for low, high in (NEAR, FAR))
    return (
        WEIGHTS["straight, near"] * _lean(view.vessels, near & level)
        + WEIGHTS["straight, far"] * _lean(view.vessels, far & level)
        - WEIGHTS["arcades"] * _lean(view.vessels, far & steep)
    )


def _lean(vessels: Plane, part: Mask) -> float:
    """How much more of the vessels in a part lies right than left, -1 to 1."""
    v = vessels[part]
    return float((v * np.sign(X[part])).sum() / max(float(v.sum()), 1e-3))
