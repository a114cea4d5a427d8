"""The picture of a result: the photograph with outlines, a close-up of the disc, and a caption.

Colours are Okabe and Ito's, told apart with every kind of colour vision; outcome and outlines differ in
shape and line as well (triangle, circle, square; solid, dashed).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from device.geometry import UInt8Image, crop
from device.pipeline import Examination
from device.segmentation import Region
from device.verdict import Outcome

LONGEST = 1024  # pixels of the photograph's longer side, at most
SHORTEST = 480  # of its longer side, at least: the caption must fit
CLOSE_UP_BELOW = 0.3  # a disc narrower than this share of the photograph gets a close-up
NOT_A_DIAGNOSIS = "Research screening aid: not a diagnosis."

WORDS = {Outcome.REFER: "REFER", Outcome.NO_REFERRAL: "NO REFERRAL", Outcome.UNGRADABLE: "UNGRADABLE"}
# Dark enough for white text on them (WCAG AA), and apart in lightness as well as in hue.
COLOURS = {Outcome.REFER: "#a63c00", Outcome.NO_REFERRAL: "#00588f", Outcome.UNGRADABLE: "#4d4d4d"}
LINES = {
    "disc": ((86, 180, 233), False),
    "cup": ((255, 255, 255), True),
    "faz": ((86, 180, 233), False),
    "haemorrhage": ((240, 228, 66), False),
}
AROUND = {"haemorrhage": 3}  # pixels between what is marked and its line, which would hide what is so small
MEASURED_ONLY = ("faz", "haemorrhage")  # no referral rule
CASING = (0, 0, 0)  # under every line, so that it shows on bright and on dark ground
DASH = 12  # pixels
INK, PAPER, FAINT = "#1a1a1a", "#ffffff", "#4d4d4d"
PLAIN = str.maketrans({"²": "2", "–": "-"})  # Pillow's font, which the caption is written in, has boxes for these

Colour = tuple[int, int, int]
Draw = ImageDraw.ImageDraw
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def words_of(exam_task: str, outcome: Outcome) -> str:
    """The outcome in words; where a task has no referral rule, that it was only measured."""
    return "MEASURED" if exam_task in MEASURED_ONLY and outcome is Outcome.NO_REFERRAL else WORDS[outcome]


def draw(pixels: UInt8Image, exam: Examination) -> UInt8Image:
    """The result of an examination as a picture, from its photograph; both are RGB, H x W x 3."""
    height, width = pixels.shape[:2]
    scale = min(max(max(height, width), SHORTEST), LONGEST) / max(height, width)
    panels = [Panel(pixels, 0, 0, scale)]
    if exam.disc is not None and exam.disc.diameter < CLOSE_UP_BELOW * max(height, width):
        roi = exam.disc.roi()
        panels.append(Panel(crop(pixels, roi), roi.x, roi.y, min(panels[0].size[1], LONGEST // 2) / roi.side))
    gap = 8 if len(panels) > 1 else 0
    canvas_width = max(sum(p.size[0] for p in panels) + gap, SHORTEST)
    caption = _caption(canvas_width, exam)
    top = max(p.size[1] for p in panels)
    canvas = np.zeros((top + caption.height, canvas_width, 3), np.uint8)
    canvas[top:] = np.asarray(caption)
    x = 0
    for panel in panels:
        w, h = panel.size
        y = (top - h) // 2
        panel.draw_on(canvas[y : y + h, x : x + w], exam)
        x += w + gap
    return canvas


class Panel(NamedTuple):
    """A part of the photograph (h x w x 3) whose top left pixel is (x, y), shown ``scale`` times as large."""

    part: UInt8Image
    x: int
    y: int
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height when it is shown."""
        height, width = self.part.shape[:2]
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    def draw_on(self, canvas: UInt8Image, exam: Examination) -> None:
        """Fill a canvas of this size with it, and with the outlines."""
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        cv2.resize(self.part, self.size, dst=canvas, interpolation=how)
        for name, region in exam.masks.items():
            colour, dashed = LINES[name]
            for outline in _outlines(region, AROUND.get(name, 0)):
                points = (outline + 0.5 - (self.x, self.y)) * self.scale
                _stroke(canvas, points, CASING, 4, dashed)
                _stroke(canvas, points, colour, 2, dashed)


def _outlines(region: Region, around: int) -> list[npt.NDArray[np.float64]]:
    mask = region.mask
    if around:
        mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * around + 1, 2 * around + 1)))
    found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [np.add(o[:, 0], (region.x, region.y)).astype(np.float64) for o in found]


def _stroke(
    canvas: UInt8Image, points: npt.NDArray[np.float64], colour: Colour, thickness: int, dashed: bool
) -> None:
    """A closed line, or one of dashes of equal length, through points in pixels of the canvas."""
    lines: Sequence[npt.NDArray[np.float64]] = [points]
    if dashed:  # walked in equal steps: the points of a small mask may lie further apart than a dash
        corners = np.concatenate([points, points[:1]])
        at_corner = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))))
        at = np.arange(0.0, at_corner[-1], 2.0)
        walk = np.stack([np.interp(at, at_corner, corners[:, k]) for k in (0, 1)], axis=1)
        dash = (at // DASH).astype(int)
        lines = [walk[dash == k] for k in range(0, int(dash.max(initial=0)) + 1, 2)]
    fixed = [np.round(line * 16).astype(np.int32) for line in lines]  # cv2 takes sub-pixel points in sixteenths
    cv2.polylines(canvas, fixed, not dashed, colour, thickness, cv2.LINE_AA, shift=4)


def _caption(width: int, exam: Examination) -> Image.Image:
    """The strip below the photograph: outcome in words and shape, numbers, reasons, and what this is not."""
    size = max(14, width // 60)
    big, normal, small = (ImageFont.load_default(s) for s in (size * 1.35, size, size * 0.85))
    pad = size
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    lines = [(text, normal, INK) for text in numbers_of(exam)]
    for text in sentences_of(exam):
        lines += [(part, normal, INK) for part in _wrapped(measure, text, normal, width - 2 * pad)]
    lines += [(part, small, FAINT) for part in _wrapped(measure, _legend(exam), small, width - 2 * pad)]
    band = round(size * 2.4)
    step = round(size * 1.4)
    strip = Image.new("RGB", (width, band + pad + step * len(lines) + pad // 2), PAPER)
    pen = ImageDraw.Draw(strip)
    pen.rectangle((0, 0, width, band), fill=COLOURS[exam.outcome])
    _symbol(pen, exam.outcome, pad + size * 0.7, band / 2, size * 0.7)
    text = words_of(exam.task, exam.outcome)
    pen.text((pad + size * 2, band / 2), text, PAPER, big, anchor="lm")
    eye = "" if exam.laterality == "unknown" else exam.laterality
    pen.text((width - pad, band / 2), eye, PAPER, big, anchor="rm")
    for row, (line, font, ink) in enumerate(lines):
        pen.text((pad, band + pad // 2 + step * (row + 0.5)), line, ink, font, anchor="lm")
    return strip


def numbers_of(exam: Examination) -> list[str]:
    """The line of numbers, or none where nothing was measured."""
    if exam.faz is not None:
        f = exam.faz
        return [
            f"FAZ area {f.area:.4g} {f.unit}   perimeter {f.perimeter:.4g} {f.length_unit}   "
            f"circularity {f.circularity:.2f}   axis ratio {f.axis_ratio:.2f}"
        ]
    if exam.haemorrhages is not None:
        h = exam.haemorrhages
        return [
            f"haemorrhages marked {h.count}   together {h.field_percent:.2g} % of the field of view"
            f"   quality {exam.quality.grade}"
        ]
    if exam.vcdr is None or exam.glaucoma_probability is None:
        return []
    return [
        f"vertical cup-to-disc ratio {exam.vcdr:.2f}   glaucoma probability {exam.glaucoma_probability:.2f}"
        f"   quality {exam.quality.grade}"
    ]


def sentences_of(exam: Examination) -> list[str]:
    """The first reasons and the tip, in characters that the caption's font has."""
    said = [*exam.reasons[:3], *([exam.tip] if exam.tip else [])]
    return [sentence(text).translate(PLAIN) for text in said]


def sentence(text: str) -> str:
    """With a capital and a full stop, the one of its language."""
    stop = "。" if text[-1:] >= "\u3000" else "."
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!", "。", "…")) else stop)


def _legend(exam: Examination) -> str:
    named = {
        "disc": "solid line: disc",
        "cup": "dashed line: cup",
        "faz": "solid line: foveal avascular zone",
        "haemorrhage": "yellow line: haemorrhages",
    }
    drawn = [named[name] for name in exam.masks]
    if drawn and exam.outcome is Outcome.UNGRADABLE:
        drawn.append("outlines not trusted")
    return "  ·  ".join([*drawn, NOT_A_DIAGNOSIS])


def _symbol(pen: Draw, outcome: Outcome, x: float, y: float, r: float) -> None:
    """Refer: triangle; no referral: circle; ungradable: open square."""
    if outcome is Outcome.REFER:
        pen.polygon([(x - r, y + r * 0.8), (x + r, y + r * 0.8), (x, y - r)], fill=PAPER)
    elif outcome is Outcome.NO_REFERRAL:
        pen.ellipse((x - r, y - r, x + r, y + r), fill=PAPER)
    else:
        pen.rectangle((x - r * 0.85, y - r * 0.85, x + r * 0.85, y + r * 0.85), outline=PAPER, width=3)


def _wrapped(pen: Draw, text: str, font: Font, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip() if lines[-1] else word
        if lines[-1] and pen.textlength(longer, font) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
