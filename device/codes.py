"""Codes on a wristband, a label or a consent form, read by the instrument's own camera.

OpenCV's detectors read QR codes, and the bar codes of goods (EAN-13, EAN-8, UPC). They read neither Code 128 nor
Code 39: label participants with QR codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2

from device.geometry import UInt8Image

LONGEST = 960  # pixels of the longer side of a first look; more takes longer and hardly reads more
CLOSER, SMOOTH = 1280, 1.2  # of a second look; smoothing takes off the noise and the steps of enlarging


def read_code(pixels: UInt8Image) -> str | None:
    """The text of a QR or bar code in an RGB H x W x 3 picture, None where there is none.

    White space at the ends is taken off; a code that holds anything that cannot be printed is none. Never raises
    for what is on the picture.
    """
    for text in _texts(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)):
        text = text.strip()
        if text and text.isprintable():
            return text
    return None


def _texts(grey: UInt8Image) -> Iterator[str]:
    small = _resized(grey, min(LONGEST, max(grey.shape)))
    yield _read(cv2.QRCodeDetector, small)
    yield _read(cv2.barcode.BarcodeDetector, small)
    yield _read(cv2.QRCodeDetector, cv2.GaussianBlur(_resized(grey, CLOSER), (0, 0), SMOOTH))


def _resized(grey: UInt8Image, longest: int) -> UInt8Image:
    scale = longest / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    resized: UInt8Image = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return resized


def _read(detector: Callable[[], Any], grey: UInt8Image) -> str:
    try:
        return str(detector().detectAndDecode(grey)[0])
    except (cv2.error, UnicodeError, SystemError):  # a damaged code, a picture too small, an unknown encoding
        return ""
