"""Where the optic disc is: the disc finder's logits to a centre and a diameter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from device.geometry import Square, UInt8Image
from device.segmentation import Region
from device.tasks import ROI_DIAMETERS

# The finder was trained with discs from a twentieth to nine tenths of the square that it sees.
SMALLEST, LARGEST = 0.04, 1.1  # plausible disc diameters, in sides of the field's square
# A disc wider than this share of the square: the picture is a disc-centred crop. A field of 30 degrees shows
# the disc at a quarter of its width, so a dark surround (False) asks for more.
DISC_VIEW = {True: 0.22, False: 0.35}
# Steps of a region's side (their ratio), and of its place (in a side). One pixel more cuts and resizes the picture
# anew, and moves a classifier's logit by 0.2: noise of the finder must seldom do that. Fourteen steps are twice
# the side, so that a photograph that was decoded at half of its size has the same ones.
SIDES, PLACES = 2 ** (1 / 14), 48

FloatImage = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Disc:
    """Centre and diameter of an optic disc (or of a foveal avascular zone), in pixels of the photograph."""

    cx: float
    cy: float
    diameter: float

    def roi(self, task: str = "disc_cup") -> Square:
        """The region of interest that a task's network sees."""
        return Square.around(self.cx, self.cy, ROI_DIAMETERS[task] * self.diameter)

    def in_steps(self) -> Disc:
        """The same as a place for ``disc_cup`` and the classifier to look at: the diameter is off by up to 2.5 %,
        the centre by 2.1 % of that in each direction."""
        side = SIDES ** round(math.log(ROI_DIAMETERS["disc_cup"] * self.diameter, SIDES))
        step = side / PLACES
        return Disc(round(self.cx / step) * step, round(self.cy / step) * step, side / ROI_DIAMETERS["disc_cup"])


def extent_of(region: Region) -> Disc | None:
    """Centre and larger extent of what is marked in an outline, None where it is empty."""
    x, y, w, h = region.box()
    return Disc(x + w / 2, y + h / 2, float(max(w, h))) if w else None


def most_probable(logits: FloatImage, weight: FloatImage | None = None) -> tuple[UInt8Image, float] | None:
    """The connected region of positive logits with the largest (weighted) sum, and its share of all regions.

    Summed logits prefer a small, certain disc to a large, faint patch of exudates or a bright rim.
    Returns an h x w mask of 0 and 1 and the share (0..1], or None where no logit is positive.
    """
    count, labels = cv2.connectedComponents((logits > 0).astype(np.uint8))
    if count < 2:
        return None
    mass = np.maximum(logits, 0) if weight is None else np.maximum(logits, 0) * weight
    sums: npt.NDArray[Any] = np.bincount(labels.ravel(), weights=mass.ravel(), minlength=count)
    best = 1 + int(np.argmax(sums[1:]))
    return (labels == best).astype(np.uint8), float(sums[best] / sums[1:].sum())


def locate(logits: FloatImage, square: Square, size: int) -> Disc | None:
    """The disc in a finder's logits (h x w), which cover ``square`` of the photograph; None where there is none.

    The logits are enlarged to the network's input ``size`` first, so that a small disc keeps its diameter:
    that of the circle of equal area, which a ragged tail hardly moves.
    """
    fine: FloatImage = cv2.resize(logits, (size, size), interpolation=cv2.INTER_LINEAR)
    found = most_probable(fine)
    if found is None:
        return None
    m = cv2.moments(found[0], binaryImage=True)
    pixel = square.side / size
    return Disc(
        square.x + (m["m10"] / m["m00"] + 0.5) * pixel,
        square.y + (m["m01"] / m["m00"] + 0.5) * pixel,
        2 * float(np.sqrt(m["m00"] / np.pi)) * pixel,
    )
