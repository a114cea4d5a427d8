"""Field of view: where in the picture the retina is.

A fundus photograph is a lit disc on a dark surround, often cut at the top and bottom, sometimes with
bars, notches and labels around it. A disc-centred crop or an OCTA image has no surround at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.ma  # np.percentile would import it in the middle of the first photograph

from device.geometry import Square, UInt8Image

Circle = tuple[tuple[float, float], float]  # centre (0..1 of the picture) and radius (in its shorter sides)

WORKING_SIZE = 256  # pixels of the longer side; makes the answer independent of the picture's size
STRIP = 192  # rows, a multiple of three, that stay in the processor's cache


@dataclass(frozen=True)
class Field:
    """``square`` holds the field of view; ``mask`` (h x w, 0/255, reduced) marks lit pixels;
    ``fills_frame`` is true where there is no dark surround (a crop); ``second`` is the next largest lit region,
    as a share of this one: another field of view, where it is no mere label."""

    square: Square
    mask: UInt8Image
    fills_frame: bool
    second: float = 0.0


def blocks(image: UInt8Image, size: int) -> tuple[UInt8Image, int]:
    """Average whole blocks of k x k pixels, so that the longer side is not shorter than ``size``; returns k too.

    OpenCV averages whole blocks many times faster than fractions of pixels. Up to k - 1 pixels are left off at
    the right and the bottom.
    """
    k = max(1, max(image.shape[:2]) // size)
    height, width = (max(1, n // k) for n in image.shape[:2])
    whole = image[: height * k, : width * k]
    if k == 3:  # to the bit the same in half of the time: OpenCV vectorizes this mean
        strips = (cv2.blur(whole[y : y + STRIP], (3, 3), anchor=(0, 0)) for y in range(0, len(whole), STRIP))
        thirds = [cv2.resize(s, (width, len(s) // 3), interpolation=cv2.INTER_NEAREST) for s in strips]
        return np.concatenate(thirds), k
    small: UInt8Image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return small, k


def find_field(image: UInt8Image) -> Field:
    """Find the field of view of an RGB H x W x 3 photograph.

    The largest lit region counts; a picture with none (black, or even) gives the whole frame.
    """
    height, width = image.shape[:2]
    small, scale = _shrink(image)
    red, green, blue = cv2.split(small)
    bright = cv2.medianBlur(cv2.max(cv2.max(red, green), blue), 5)
    # The surround is the darkest thing in the picture; sensors give it a pedestal of a few grey levels.
    floor, top = (float(v) for v in np.percentile(bright, (1, 95)))
    _, lit = cv2.threshold(bright, floor + max(6.0, 0.09 * (top - floor)), 1, cv2.THRESH_BINARY)
    if floor > 40:  # no surround: even the darkest percent is lit
        lit[:] = 1
    lit = cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    count, labels = cv2.connectedComponents(lit)
    if count < 2:
        return Field(Square.whole(height, width), np.full(lit.shape, 255, np.uint8), True)
    sizes = np.bincount(labels.ravel())[1:]
    largest = 1 + int(np.argmax(sizes))
    next_size, size = np.sort(np.append(sizes, 0))[-2:]
    mask = (labels == largest).astype(np.uint8) * np.uint8(255)
    x, y, w, h = cv2.boundingRect(mask)
    edge = max(2, WORKING_SIZE // 32)
    corners = (mask[:edge, :edge], mask[:edge, -edge:], mask[-edge:, :edge], mask[-edge:, -edge:])
    dark_corners = sum(int(c.mean() < 128) for c in corners)
    square = Square.around((x + w / 2) / scale, (y + h / 2) / scale, max(w, h) / scale)
    fills = dark_corners <= 1 and w * h > 0.85 * mask.size
    return Field(Square.whole(height, width) if fills else square, mask, fills, float(next_size / size))


def circle_of(field: Field) -> Circle:
    """Centre and radius of a round field of view.

    The smallest circle around what is lit is that of the whole field even where its edge is cut off or in shadow,
    as long as more than half of it shows. Of a crop, it is the circle around the picture.
    """
    outlines = cv2.findContours(field.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    (x, y), radius = cv2.minEnclosingCircle(max(outlines, key=len))
    height, width = field.mask.shape
    return ((x + 0.5) / width, (y + 0.5) / height), (radius + 0.5) / min(height, width)


def _shrink(image: UInt8Image) -> tuple[UInt8Image, float]:
    """The picture with a longer side of WORKING_SIZE or less, and its scale."""
    small, k = blocks(image, WORKING_SIZE)
    height, width = small.shape[:2]
    scale = min(1.0, WORKING_SIZE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shrunk: UInt8Image = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    return shrunk, scale / k
