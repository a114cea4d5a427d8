"""Pre-processing: the one place where pixels become a network's input. Training imports it.

Integer from end to end: a square region is cut from the photograph (black where it reaches outside),
resized to S x S by area averaging, and ``int8 = uint8 - 128``. Networks are trained on x / 255 through
the same functions, so the int8 input has scale 1/255 and zero point -128 exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8Image = npt.NDArray[np.uint8]
Int8Image = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Square:
    """A square region in pixels of the photograph; it may reach outside of the picture."""

    x: int  # left
    y: int  # top
    side: int

    @classmethod
    def around(cls, cx: float, cy: float, side: float) -> Square:
        """The square of ``side`` pixels centred on (cx, cy), in pixels; sides are even: see ``resize``."""
        n = max(2, 2 * round(side / 2))
        return cls(round(cx - n / 2), round(cy - n / 2), n)

    @classmethod
    def whole(cls, height: int, width: int) -> Square:
        """The smallest centred square of even side that holds a whole picture of the given size in pixels."""
        longer = max(height, width)
        return cls.around(width / 2, height / 2, longer + longer % 2)

    def scaled(self, by: float) -> Square:
        """About the same centre, with a side ``by`` times as long."""
        return Square.around(self.x + self.side / 2, self.y + self.side / 2, by * self.side)


def crop(image: UInt8Image, square: Square) -> UInt8Image:
    """Cut ``square`` out of an H x W or H x W x C image; what lies outside of the picture is black."""
    height, width = image.shape[:2]
    x0, y0 = max(square.x, 0), max(square.y, 0)
    x1, y1 = min(square.x + square.side, width), min(square.y + square.side, height)
    if (x1 - x0, y1 - y0) == (square.side, square.side):
        return image[y0:y1, x0:x1]  # a view: no copy
    out = np.zeros((square.side, square.side, *image.shape[2:]), image.dtype)
    if x1 > x0 and y1 > y0:
        out[y0 - square.y : y1 - square.y, x0 - square.x : x1 - square.x] = image[y0:y1, x0:x1]
    return out


def resize(image: UInt8Image, size: int) -> UInt8Image:
    """Resize a square image to ``size`` x ``size``: area averaging when shrinking, bilinear when enlarging.

    Halving first, while far above ``size``, gives nearly the same average (within 3 grey levels) at half of the
    cost: two is the one factor that OpenCV vectorizes.
    """
    while image.shape[0] >= 4 * size and image.shape[0] % 2 == 0:
        half = image.shape[0] // 2
        image = cv2.resize(image, (half, half), interpolation=cv2.INTER_AREA)
    if image.shape[0] == size:
        return image
    how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    resized: UInt8Image = cv2.resize(image, (size, size), interpolation=how)
    return resized


def reduced(image: UInt8Image, longest: int) -> UInt8Image:
    """An H x W x C picture with a longer side of ``longest`` pixels, by area averaging; smaller ones stay."""
    height, width = image.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small: UInt8Image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return small


def network_input(image: UInt8Image, square: Square, size: int) -> UInt8Image:
    """The region ``square`` of an RGB H x W x 3 photograph as a size x size x 3 ``uint8`` input."""
    return resize(crop(image, square), size)


def to_int8(image: UInt8Image) -> Int8Image:
    """``uint8 - 128`` as ``int8`` (the same bits with the highest one flipped)."""
    return np.bitwise_xor(image, 0x80).view(np.int8)


def mask_in_image(logits: Int8Image, above: int, square: Square, shape: tuple[int, int]) -> UInt8Image:
    """Where int8 logits are ``above`` a value (their zero point: more likely than not), in the geometry of the
    photograph.

    ``logits`` (h x w, of any grid size) cover ``square``; they are enlarged bilinearly *before* the
    threshold, which keeps the outline at sub-grid precision. Returns H x W ``uint8`` of 0 and 255.
    """
    height, width = shape
    fine = cv2.resize(
        np.bitwise_xor(logits.view(np.uint8), 0x80), (square.side, square.side), interpolation=cv2.INTER_LINEAR
    )
    inside = (fine > above + 128).view(np.uint8) * np.uint8(255)
    out = np.zeros((height, width), np.uint8)
    x0, y0 = max(square.x, 0), max(square.y, 0)
    x1, y1 = min(square.x + square.side, width), min(square.y + square.side, height)
    if x1 > x0 and y1 > y0:
        out[y0:y1, x0:x1] = inside[y0 - square.y : y1 - square.y, x0 - square.x : x1 - square.x]
    return out
