"""Outlines: a segmentation network's logits to clean masks in the geometry of the photograph."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.geometry import Int8Image, Square, UInt8Image, mask_in_image

GROWN = 1.01  # of an ellipse's axes: what is drawn at the threshold of a bulging border lies a little inside of it


@dataclass(frozen=True)
class Region:
    """A mask (h x w, 0/255) of a window of the photograph whose top left pixel is (x, y).

    A window, not the whole picture: a disc in a photograph of 50 megapixels needs one megapixel.
    """

    mask: UInt8Image
    x: int
    y: int
    share: float = 1.0  # of everything that was marked, holes filled: 1.0 means that there was one component

    @property
    def area(self) -> int:
        """Marked pixels."""
        return int(cv2.countNonZero(self.mask))

    def box(self) -> tuple[int, int, int, int]:
        """Left, top, width and height of the mask in the photograph; a width of 0 where it is empty."""
        x, y, w, h = cv2.boundingRect(self.mask)
        return self.x + x, self.y + y, w, h

    def enlarged(self, times: int, shape: tuple[int, int]) -> Region:
        """The same in a photograph of ``shape`` that has so many times the pixels in each direction. Edges run
        straight where the pixels' own would make stairs."""
        x, y = times * self.x, times * self.y
        height, width = (times * n for n in self.mask.shape)
        grown = cv2.resize(self.mask, (width, height), interpolation=cv2.INTER_LINEAR)
        mask = (grown > 127).view(np.uint8) * np.uint8(255)
        return Region(np.ascontiguousarray(mask[: shape[0] - y, : shape[1] - x]), x, y, self.share)

    def in_image(self, shape: tuple[int, int]) -> UInt8Image:
        """The mask in a photograph of ``shape`` (height, width): H x W of 0 and 255."""
        out = np.zeros(shape, np.uint8)
        h, w = self.mask.shape
        out[self.y : self.y + h, self.x : self.x + w] = self.mask
        return out


def regions(logits: Int8Image, zero_point: int, square: Square, shape: tuple[int, int]) -> list[Region]:
    """One Region for each channel of int8 logits (h x w x channels) that cover ``square`` of a photograph.

    ``shape`` is the photograph's (height, width); ``square`` must overlap it. Not cleaned yet.
    """
    x0, y0 = max(square.x, 0), max(square.y, 0)
    x1, y1 = min(square.x + square.side, shape[1]), min(square.y + square.side, shape[0])
    seen = Square(square.x - x0, square.y - y0, square.side)  # the square, as seen from the window
    masks = (
        mask_in_image(np.ascontiguousarray(logits[..., c]), zero_point, seen, (y1 - y0, x1 - x0))
        for c in range(logits.shape[-1])
    )
    return [Region(mask, x0, y0) for mask in masks]


def certainty(logits: Int8Image, zero_point: int, scale: float) -> float:
    """Mean of the positive logits (h x w, int8) of a structure: how sure a network is of what it outlines.

    0 where it outlines nothing.
    """
    inside = logits[logits > zero_point]
    return (float(inside.mean()) - zero_point) * scale if inside.size else 0.0


def certain_pieces(mask: UInt8Image, certain: UInt8Image) -> UInt8Image:
    """The pieces of a mask (H x W, 0/255; corners join) that have a pixel in ``certain``, whole: thresholding with
    hysteresis (Canny, IEEE PAMI 8:679, 1986)."""
    count, labels = cv2.connectedComponents(mask, connectivity=8)
    kept = np.zeros(count, np.uint8)
    kept[labels[certain > 0]] = 255
    kept[0] = 0  # what is no piece
    pieces: UInt8Image = kept[labels]
    return pieces


def clean(region: Region) -> Region:
    """The largest component with its holes filled; ``share`` says how much of the mask it was.

    Drawing the largest outer outline does both, in a fraction of the time that labelling pixels takes.
    """
    outlines, _ = cv2.findContours(region.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return region
    # The polygon runs through pixel centres: half of its points more make it the area in pixels (Pick's theorem).
    areas = [cv2.contourArea(o) + len(o) / 2 for o in outlines]
    largest = int(np.argmax(areas))
    mask = cv2.drawContours(np.zeros_like(region.mask), outlines, largest, 255, cv2.FILLED)
    return Region(mask, region.x, region.y, areas[largest] / sum(areas))


def clip(region: Region, outer: Region) -> Region:
    """``region`` without what lies outside of ``outer``; both are of one window."""
    return Region(cv2.bitwise_and(region.mask, outer.mask), region.x, region.y, region.share)


def ellipse(region: Region) -> Region:
    """The ellipse with the centre and the second moments of a mask that is not empty, GROWN times as large in each
    direction, in the same window. A disc's shape is known; its outline need not follow vessels and pallor (so do
    Fu et al., IEEE Trans Med Imaging 37:1597, 2018)."""
    m = cv2.moments(region.mask, binaryImage=True)
    x = np.arange(region.mask.shape[1]) - m["m10"] / m["m00"]
    y = np.arange(region.mask.shape[0]) - m["m01"] / m["m00"]
    # A pixel has a spread of its own. A point of the border is two standard deviations from the centre.
    xx, yy, xy = m["mu20"] / m["m00"] + 1 / 12, m["mu02"] / m["m00"] + 1 / 12, m["mu11"] / m["m00"]
    left = (2 * GROWN) ** 2 * yy - y**2
    middle = xy / yy * y  # of each row, and how far it reaches from there
    reach = np.sqrt(np.where(left >= 0, left, np.nan) * (xx * yy - xy**2)) / yy
    inside = (x >= (middle - reach)[:, None]) & (x <= (middle + reach)[:, None])
    return Region(inside.view(np.uint8) * np.uint8(255), region.x, region.y, region.share)
