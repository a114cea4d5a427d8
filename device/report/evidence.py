"""The pictures of a report: the photograph that belongs to an eye's answer, a close-up of its disc, the outlines.

Photographs are cut and made smaller, never larger. Outlines stay apart from the pixels, as lines, so that they are
sharp at any size and can be switched off.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from device.errors import TenohiraError
from device.geometry import UInt8Image, crop
from device.imaging import read_image
from device.localization import Disc
from device.overlay import CLOSE_UP_BELOW
from device.record import Capture

LONGEST = 680  # pixels of a panel's longer side, at most: 380 dots an inch at 45 mm
JPEG_QUALITY = 86
SMOOTHING = 2  # neighbours on each side over which an outline's staircase of pixels is averaged for display

PictureOf = Callable[[str], Path]
Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """A part of a photograph as a JPEG, ``width`` x ``height`` pixels, and the outlines that lie in it: N x 2
    points, from 0 to 1 across and down, by structure."""

    jpeg: bytes
    width: int
    height: int
    close_up: bool = False
    outlines: dict[str, list[Points]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What is shown of a capture; ``missing`` says why there is no picture, and is empty where there is one."""

    panels: tuple[Panel, ...] = ()
    missing: str = ""


def evidence_of(capture: Capture, picture_of: PictureOf, *, outlined: bool = True) -> Evidence:
    """The photograph of a capture and, where its disc is small in it, a close-up; ``outlined=False`` leaves away
    whatever the instrument found. Never raises: a picture that is gone or changed is said to be so."""
    try:
        pixels = _photograph(capture.image, picture_of)
        masks = _masks(capture, pixels, picture_of) if outlined else {}
    except (TenohiraError, OSError):
        return Evidence(missing="the photograph is not in the record's folder any more")
    except ValueError:
        return Evidence(missing="the stored pictures are not those that were screened: they are not shown")
    height, width = pixels.shape[:2]
    panels = [_panel(pixels, (0, 0), masks, close_up=False)]
    disc = Disc(**capture.result.disc) if outlined and capture.result.disc else None
    if disc is not None and disc.diameter < CLOSE_UP_BELOW * max(height, width):
        roi = disc.roi()
        panels.append(_panel(crop(pixels, roi), (roi.x, roi.y), masks, close_up=True))
    return Evidence(tuple(panels))


def _bytes(sha256: str, picture_of: PictureOf) -> bytes:
    """A picture's bytes. Raises ValueError where they are not those of its name."""
    data = picture_of(sha256).read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ValueError(f"{sha256} has changed")
    return data


def _photograph(sha256: str, picture_of: PictureOf) -> UInt8Image:
    _bytes(sha256, picture_of)
    return read_image(picture_of(sha256)).pixels  # as it was screened: upright


def _masks(capture: Capture, pixels: UInt8Image, picture_of: PictureOf) -> dict[str, UInt8Image]:
    masks = {}
    for name, sha256 in capture.masks.items():
        mask = cv2.imdecode(np.frombuffer(_bytes(sha256, picture_of), np.uint8), cv2.IMREAD_GRAYSCALE)
        if mask is None or mask.shape != pixels.shape[:2]:
            raise ValueError(f"{sha256} is no mask of this photograph")
        masks[name] = mask
    return masks


def _panel(part: UInt8Image, origin: tuple[int, int], masks: dict[str, UInt8Image], *, close_up: bool) -> Panel:
    """``part`` of a photograph, whose top left pixel is ``origin`` in it."""
    height, width = part.shape[:2]
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = part if scale == 1.0 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(small)).save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    outlines = {
        name: [(line + 0.5 - origin) / (width, height) for line in _lines(mask)] for name, mask in masks.items()
    }
    return Panel(out.getvalue(), *size, close_up=close_up, outlines=outlines)


def _lines(mask: UInt8Image) -> list[Points]:
    """Outlines of a mask in pixels, without the staircase; a quarter of a pixel is given up for fewer points."""
    found, _ = cv2.findContours((mask > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    lines = []
    for outline in found:
        points = outline[:, 0].astype(np.float64)
        if len(points) > 4 * SMOOTHING:
            points = sum(np.roll(points, k, axis=0) for k in range(-SMOOTHING, SMOOTHING + 1)) / (
                2 * SMOOTHING + 1
            )
        thinned = cv2.approxPolyDP(points.astype(np.float32)[:, None], 0.25, True)
        lines.append(thinned[:, 0].astype(np.float64))
    return lines
