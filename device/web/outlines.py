"""Outlines over a photograph, as SVG paths in the photograph's own pixels; and reduced photographs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from device.record import Capture

Mask = npt.NDArray[np.uint8]

CLOSE_UP = 2.6  # diameters of the disc that the close-up is wide
SMOOTH = 1.2  # pixels: a mask's outline is a staircase, which no eye has
ENLARGED = 400  # pixels of a structure's side, below which its outline is found on an enlarged mask
REDUCED_QUALITY = 85


class View(NamedTuple):
    """What part of the photograph is seen: an SVG ``viewBox``."""

    x: float
    y: float
    width: float
    height: float

    def __str__(self) -> str:
        return " ".join(f"{v:.1f}".removesuffix(".0") for v in self)


class Drawing(NamedTuple):
    """A photograph's size, and the outlines on it."""

    whole: View
    close_up: View | None  # of the disc
    paths: dict[str, str]  # SVG path data by structure


def drawing(capture: Capture, picture: Callable[[str], Path], outlines: bool) -> Drawing:
    """What is drawn over a capture's photograph; ``outlines`` is False where they are hidden."""
    with Image.open(picture(capture.image)) as image:
        width, height = image.size
    paths: dict[str, str] = {}
    close_up = None
    for name, sha in capture.masks.items() if outlines else ():
        mask = _mask(picture(sha))
        if mask is None or mask.shape != (height, width):
            continue  # damaged on the disk: no outline is better than a wrong one
        mask = np.where(mask > 127, 255, 0).astype(np.uint8)
        paths[name] = _path(mask)
        if name == "disc":
            close_up = _around(mask)
    return Drawing(View(0, 0, width, height), close_up, paths)


def _mask(path: Path) -> Mask | None:
    """A mask, None where it cannot be read. OpenCV gets its bytes: upon a path that is no UTF-8 (a folder that was
    named on another system) it crashes, and the service with it."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None


def _path(mask: Mask) -> str:
    """The outer outlines of a mask, without the staircase; pixel centres lie at halves in SVG."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return ""
    margin, scale = 8, 4 if max(width, height) < ENLARGED else 1
    padded = np.pad(mask[y : y + height, x : x + width], margin)
    soft = cv2.GaussianBlur(padded, (0, 0), SMOOTH)
    large = cv2.resize(soft, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    found, _ = cv2.findContours((large > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in found:
        points = (cv2.approxPolyDP(contour, 0.8, True)[:, 0] + 0.5) / scale - margin + (x, y)
        if len(points) > 2:
            parts.append("M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in points) + "Z")
    return "".join(parts)


def _around(mask: Mask) -> View | None:
    """A square around the disc, as far as the photograph goes."""
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    rows, columns = mask.shape
    half = CLOSE_UP * max(width, height) / 2
    left, top = (max(0, round(v - half)) for v in (x + width / 2, y + height / 2))
    right, bottom = min(columns, round(x + width / 2 + half)), min(rows, round(y + height / 2 + half))
    return View(left, top, right - left, bottom - top)


def reduced(path: Path, side: int) -> bytes:
    """A photograph as a JPEG whose longer side has at most ``side`` pixels, decoded at a fraction of the cost."""
    with Image.open(path) as image:
        image.draft("RGB", (side, side))
        return _jpeg(image.convert("RGB"), side)


def cut_out(path: Path, view: View, side: int = 800) -> bytes:
    """A part of a photograph as a JPEG, reduced to at most ``side`` pixels."""
    with Image.open(path) as image:
        box = (view.x, view.y, view.x + view.width, view.y + view.height)
        return _jpeg(image.convert("RGB").crop(box), side)


def _jpeg(image: Image.Image, side: int) -> bytes:
    image.thumbnail((side, side), Image.Resampling.BILINEAR)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=REDUCED_QUALITY)
    return out.getvalue()
