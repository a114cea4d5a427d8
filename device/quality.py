"""Quality: can this photograph be screened, and if not, what should the operator do?

A handful of classical measures, each taken on the field of view at one fixed working size, so that the grade
does not depend on the picture's size. Each measure has four landmarks (worst, reject, good, best), found on
photographs of many cameras; the worst measure decides the grade, and the first that is as
bad gives cause and tip. Rejection is meant for photographs that nobody would read: a doubtful one is
``usable``, and says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from device.field import Field, blocks
from device.geometry import Square, UInt8Image, crop, resize
from device.likeness import features, likeness, quantile

Plane = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

WORKING_SIZE = 320  # pixels of the field's side; enough to see a vessel, little enough for a preview stream
FINE, COARSE = 1.0, 4.0  # standard deviations, in working pixels, of the two scales that edges are compared at
FEWEST = 400  # working pixels of retina without which nothing can be measured

DEFOCUS, MOTION = "defocus", "motion"
UNDER, OVER = "under-exposure", "over-exposure"
OFF_CENTRE, PUPIL = "off-centre", "small pupil or vignetting"
NO_FUNDUS, DUST, LID = "not a fundus", "dust or reflection", "eyelid"
SEVERAL = "several fields of view in the picture"

TIPS = {
    DEFOCUS: "Focus again on the vessels at the edge of the optic disc, and wipe the lens.",
    MOTION: "Ask the patient to fixate and hold still, steady the camera and photograph again.",
    UNDER: "Raise the flash or the exposure, and let the pupil widen in the dark.",
    OVER: "Lower the flash or the exposure and photograph again.",
    OFF_CENTRE: "Align the camera with the middle of the pupil until the shadow on one side is gone.",
    PUPIL: "Dim the room and wait for the pupil to widen, or move closer to the eye.",
    NO_FUNDUS: "Aim at the retina and photograph again; give a colour photograph of the fundus.",
    LID: "Ask the patient to open the eye wide, or hold the lids apart, and photograph again.",
    DUST: "Clean the lens, darken the room and tilt the camera slightly to lose the reflection.",
    SEVERAL: "Give one photograph for each eye.",
}

# Landmarks of each measure: worst, reject, good, best (score 0, 1/3, 2/3, 1). A measure whose worst is as far
# as its values go never rejects.
LANDMARKS = {
    "brightness": (8, 17, 45, 90),  # upper quartile of luminance, 0..255
    "glare": (245, 222, 175, 130),  # median luminance
    "burnt": (0.9, 0.5, 0.12, 0.0),  # share of the field with nothing left in green or luminance
    "reddish": (0.2, 0.5, 0.6, 1.0),  # share in which red >= green >= blue, as blood and pigment make it
    "colour": (0.0, 0.015, 0.03, 0.3),  # mean saturation
    "grain": (60, 40, 2.5, 0.5),  # median difference from the neighbours, in grey levels
    "print": (3.0, 0.55, 0.45, 0.0),  # share of harsh contrast, times grain: print, speckle, static
    "structure": (0.0, 0.007, 0.012, 0.15),  # contrast of the strongest details
    "likeness": (-9.0, -4.0, -3.0, -2.0),  # to a retina: see device.likeness
    "extent": (0.1, 0.4, 0.75, 1.0),  # side of the field by the shorter side of the picture
    "shade": (0.95, 0.68, 0.35, 0.0),  # share of the field that is dark beside its brightest parts
    "roundness": (0.1, 0.3, 0.6, 1.0),  # shorter by longer side of what is lit
    "hidden": (0.7, 0.38, 0.18, 0.0),  # share of the round field that is dark where it is lit on the other side
    "balance": (0.4, 0.25, 0.16, 0.0),  # distance of the light's centre from the field's, in sides
    "white": (1.0, 1.0, 0.02, 0.0),  # share of colourless highlights in a full field
    "edge width": (18, 10, 6.0, 3.0),  # of the strongest edges, in working pixels
    "edge width of a crop": (28, 11.5, 7.5, 4.0),  # vessels and disc are larger there
    "second": (1.0, 0.3, 0.25, 0.0),  # what else is lit, by the field's size: labels and bars may be
}
DARK = 0.18  # share of the brightness of the bright parts, below which nothing can be seen
UNEVEN_EDGES = 1.4  # widest by narrowest direction, from which a lack of sharpness is called motion
REJECT, GOOD = 1 / 3, 2 / 3  # scores: up to the first a photograph is rejected, from the second it is good
HALF = 0.65  # shorter by longer side, below which what is lit may be a part of a disc
CROP = 0.04  # share of the field's square that is lit outside of its inscribed circle: a crop is no circle


@dataclass(frozen=True)
class Quality:
    """``grade`` is good, usable or reject; ``score`` runs from 0 (worst) to 1, with a third and two thirds as
    the limits of the grades; ``cause`` (from ``assess``: a key of TIPS) and ``tip`` are empty where the grade is
    good."""

    grade: str
    score: float
    cause: str
    tip: str


class Finding(NamedTuple):
    """One measure of a photograph: what it blames, its name in LANDMARKS, its value, its score (0..1)."""

    cause: str
    measure: str
    value: float
    score: float


@dataclass(frozen=True)
class Measured:
    """What was measured on a photograph.

    ``findings`` stand in the order of what ruins what: a burnt-out picture has neither colour nor edges.
    ``focus`` is the score of its sharpness in all directions together, on one scale for fields and crops, and 0
    where nothing could be measured;
    ``is_crop`` tells that the field of view is no lit disc on a dark surround; of a lit disc, ``light`` is the
    centre of gravity of its light (x, y in pixels of the photograph).
    """

    findings: tuple[Finding, ...]
    focus: float = 0.0
    is_crop: bool = False
    light: tuple[float, float] | None = None


def assess(pixels: UInt8Image, field: Field) -> Quality:
    """Grade an RGB H x W x 3 photograph of which ``field`` (``device.field.find_field``) is the field of view."""
    return grade(measure(pixels, field).findings)


def is_crop(shape: tuple[int, int], field: Field) -> bool:
    """Whether the field of view of a photograph (height, width) is no lit disc on a dark surround, as that of a
    crop, also of one that lies on black."""
    return _shows_no_edge(_lit(shape, field), field)


def score_of(measure: str, value: float) -> float:
    """The score, 0 to 1, of a measure's value by its LANDMARKS."""
    return float(np.interp(*_ascending(value, LANDMARKS[measure])))


def worst(findings: Sequence[Finding]) -> Finding | None:
    """What decides the grade: the first finding that is as bad as the worst; None where all are good."""
    score = min(f.score for f in findings)
    if score >= GOOD:
        return None
    limit = REJECT if score <= REJECT else GOOD
    return next(f for f in findings if f.score <= limit)


def grade(findings: Sequence[Finding]) -> Quality:
    """The grade of what ``measure`` has found."""
    score = min(f.score for f in findings)
    fault = worst(findings)
    if fault is None:
        return Quality("good", score, "", "")
    return Quality("reject" if score <= REJECT else "usable", score, fault.cause, TIPS[fault.cause])


def _ascending(
    value: float, landmarks: tuple[float, float, float, float]
) -> tuple[float, tuple[float, ...], tuple[float, ...]]:
    """Arguments for np.interp, which wants abscissas to rise."""
    scores = (0.0, REJECT, GOOD, 1.0)
    return (value, landmarks, scores) if landmarks[0] < landmarks[3] else (value, landmarks[::-1], scores[::-1])


def measure(pixels: UInt8Image, field: Field) -> Measured:
    """Measure an RGB H x W x 3 photograph of which ``field`` is the field of view."""
    square = field.square
    image, lit = working(pixels, field)
    light = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    some = lit[::4, ::4]  # some thousand pixels are enough for statistics
    if not some.any():
        return Measured((_finding(UNDER, "brightness", 0.0),), is_crop=True)
    is_crop = _shows_no_edge(lit, field)
    findings = list(_exposure(image[::4, ::4][some], light[::4, ::4][some], is_crop))
    middle = None
    if not is_crop:
        x, y = _centre_of(np.where(lit, light, 0))
        middle = square.x + x * square.side, square.y + y * square.side
        findings += _placing(lit, float(np.hypot(x - 0.5, y - 0.5)), square.side / min(pixels.shape[:2]))
        findings.append(_hidden(lit, lit & ~darker(image, lit, DARK)))
    inner = inner_of(lit)
    if np.count_nonzero(inner) < FEWEST:
        return Measured((*findings, _finding(PUPIL, "extent", 0.0)), 0.0, is_crop, middle)
    detail, focus = _detail(image, inner, is_crop)
    if any(f.score < GOOD and f.cause in (PUPIL, OFF_CENTRE, LID) for f in findings):
        detail = tuple(f for f in detail if f.measure != "likeness")  # a retina half in shadow looks unlike one
    several = _finding(SEVERAL, "second", field.second)  # last: of a picture without a retina that says too much
    return Measured((*findings, *detail, several), focus, is_crop, middle)


def working(pixels: UInt8Image, field: Field) -> tuple[UInt8Image, Mask]:
    """The field's square at the working size, and what of it is lit."""
    image = resize(blocks(crop(pixels, field.square), WORKING_SIZE)[0], WORKING_SIZE)
    return image, _lit(pixels.shape[:2], field)


def _finding(cause: str, measure: str, value: float) -> Finding:
    return Finding(cause, measure, value, score_of(measure, value))


def _exposure(retina: UInt8Image, bright: UInt8Image, is_crop: bool) -> Iterator[Finding]:
    """Light and colour of some pixels of the retina (n x 3, and their luminance)."""
    red, green, blue = np.ascontiguousarray(retina.astype(np.int16).T)
    most, least = (f(f(red, green), blue) for f in (np.maximum, np.minimum))
    yield _finding(UNDER, "brightness", quantile(bright, 0.75))
    yield _finding(OVER, "glare", quantile(bright, 0.5))
    yield _finding(OVER, "burnt", max(float((bright > 235).mean()), float((green >= 248).mean())))
    yield _finding(NO_FUNDUS, "reddish", float(((red >= green - 6) & (green >= blue - 12)).mean()))
    yield _finding(NO_FUNDUS, "colour", float(((most - least) / (most + 8)).mean()))
    if not is_crop:
        yield _finding(DUST, "white", float((least >= 225).mean()))
        yield _finding(PUPIL, "shade", float((most < 0.25 * quantile(most, 0.8)).mean()))


def _centre_of(light: UInt8Image) -> tuple[float, float]:
    """Centre of gravity of an h x w plane, as shares of its width and height."""
    m = cv2.moments(light.astype(np.float32))
    weight = max(m["m00"], 1.0)
    return m["m10"] / weight / light.shape[1], m["m01"] / weight / light.shape[0]


def _placing(lit: Mask, offset: float, extent: float) -> Iterator[Finding]:
    """Size, shape and evenness of a lit disc: ``extent`` is its side by the picture's shorter one, ``offset`` the
    distance of its light's centre from its own, in sides."""
    yield _finding(PUPIL, "extent", extent)
    yield _finding(OFF_CENTRE, "roundness", _roundness(lit))
    yield _finding(OFF_CENTRE, "balance", offset)


class Details(NamedTuple):
    """The inner field of view at the working size: planes of green, and details of red and green, by pixel."""

    at: Index  # of the n pixels in a flattened plane: every fourth one
    fine: Plane
    coarse: Plane
    grain: float  # median difference from the neighbours, in grey levels
    red: Plane  # of n pixels: how much one stands out from its surroundings, relative to them
    green: Plane
    colours: UInt8Image  # m x 3, of some of these pixels


def details(image: UInt8Image, inner: Mask) -> Details:
    """What ``inner`` of a WORKING_SIZE x WORKING_SIZE photograph shows at the two scales."""
    at = np.flatnonzero(inner)[::4]
    red, green = (cv2.extractChannel(image, channel).astype(np.float32) for channel in (0, 1))
    fine = cv2.GaussianBlur(green, (0, 0), FINE)  # green is where vessels show best
    coarse = cv2.GaussianBlur(green, (0, 0), COARSE)
    grain = quantile(np.abs(green.take(at) - fine.take(at)), 0.5)
    red_fine, red_soft = (cv2.GaussianBlur(red, (0, 0), scale).take(at) for scale in (FINE, COARSE))
    faint, soft = fine.take(at), coarse.take(at)
    stands_out = [((a - b) / (b + 10)).astype(np.float32) for a, b in ((red_fine, red_soft), (faint, soft))]
    return Details(at, fine, coarse, grain, stands_out[0], stands_out[1], image.reshape(-1, 3)[at[::4]])


def darker(image: UInt8Image, where: Mask, share: float) -> Mask:
    """What of a picture is darker, in its brightest channel, than a share of what is bright in ``where``."""
    red, green, blue = cv2.split(image)
    most: UInt8Image = cv2.max(cv2.max(red, green), blue)
    dim: Mask = most < share * quantile(most[::4, ::4][where[::4, ::4]], 0.9)
    return dim


def _hidden(lit: Mask, bright: Mask) -> Finding:
    """How much of the round field something keeps dark: a lid from above or below, else the iris.

    What is dark on both sides is the shape of the field, which is often cut at the top and the bottom alike.
    """
    outline = cv2.findContours(lit.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    (x, y), radius = cv2.minEnclosingCircle(max(outline, key=len))
    side = 2 * round(radius) + 1
    shown = crop(bright.view(np.uint8), Square(round(x) - side // 2, round(y) - side // 2, side)) > 0
    disc = cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), round(0.48 * side), 1, -1) > 0
    dark = disc & ~shown & shown[::-1, ::-1]
    share = float(dark[disc].mean())
    m = cv2.moments(dark.view(np.uint8), binaryImage=True)
    columns, rows = (abs(m[n] / max(m["m00"], 1.0) - side // 2) for n in ("m10", "m01"))
    return _finding(LID if rows > columns else OFF_CENTRE, "hidden", share)


def _detail(image: UInt8Image, inner: Mask, is_crop: bool) -> tuple[tuple[Finding, ...], float]:
    """Grain, contrast, likeness and sharpness, and the score of the sharpness in all directions together."""
    d = details(image, inner)
    sharp, soft = image.reshape(-1, 3)[d.at, 1], d.coarse.take(d.at)
    detail = np.abs(sharp - soft) / (soft + 10)
    width, narrow, wide = _edges(d.fine, d.coarse, inner)
    moved = wide > UNEVEN_EDGES * narrow
    name = "edge width of a crop" if is_crop else "edge width"
    findings = (
        _finding(UNDER, "grain", d.grain),
        _finding(NO_FUNDUS, "print", float((detail > 0.2).mean()) * d.grain),
        _finding(NO_FUNDUS, "structure", quantile(detail, 0.99)),
        _finding(NO_FUNDUS, "likeness", likeness(features((d.red, d.green), d.colours))),
        _finding(MOTION, name, wide) if moved else _finding(DEFOCUS, name, width),
    )
    return findings, score_of("edge width", width)


def _lit(shape: tuple[int, int], field: Field) -> Mask:
    """The lit part of the field's square at working size; of a crop, all of the picture."""
    if field.fills_frame:
        mask, scale = np.full(tuple(n // 4 + 1 for n in shape), 255, np.uint8), 0.25
    else:
        mask, scale = field.mask, field.mask.shape[1] / shape[1]
    x, y, side = (round(n * scale) for n in (field.square.x, field.square.y, field.square.side))
    lit: Mask = resize(crop(mask, Square(x, y, max(side, 1))), WORKING_SIZE) > 127
    return lit


def _roundness(lit: Mask) -> float:
    """Shorter by longer side of what is lit."""
    sides = sorted(int(np.ptp(np.flatnonzero(lit.any(axis=axis)))) + 1 for axis in (0, 1))
    return sides[0] / sides[1]


def _shows_no_edge(lit: Mask, field: Field) -> bool:
    return field.fills_frame or _no_disc(lit)


def _no_disc(lit: Mask) -> bool:
    """Whether what is lit has corners. (Half a disc reaches out of the circle too, but is longer than wide.)"""
    return float((lit & ~_inscribed()).mean()) > CROP and _roundness(lit) > HALF


def _inscribed() -> Mask:
    circle = np.zeros((WORKING_SIZE, WORKING_SIZE), np.uint8)
    cv2.circle(circle, (WORKING_SIZE // 2, WORKING_SIZE // 2), WORKING_SIZE // 2, 1, -1)
    return circle > 0


def inner_of(lit: Mask) -> Mask:
    """Without a margin that the edge of the field reaches into through the blurs."""
    side = 2 * int(7 * COARSE) + 1
    window = np.ones((side, side), np.uint8)
    inside: UInt8Image = cv2.erode(lit.view(np.uint8), window, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return inside.view(np.bool_)


def _edges(fine: Plane, coarse: Plane, inner: Mask) -> tuple[float, float, float]:
    """Width of the strongest edges in working pixels: on the whole, and of the narrowest and widest direction.

    An edge of width b, blurred by s, has a slope in proportion to 1 / sqrt(s^2 + b^2): comparing the slopes at
    two scales gives b, whatever the contrast. Slopes are compared as tensors, where grain averages out.
    """
    sharp, soft = (
        [cv2.Sobel(plane, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0)] for plane in (fine, coarse)
    )
    # Chosen at the coarse scale, where grain is averaged out: it would choose itself, and pass for sharp edges.
    at = np.flatnonzero(inner)
    strength = sum(slope.take(at) ** 2 for slope in soft)
    at = at[strength >= quantile(strength[::4], 0.97)]
    steep, even = (np.stack([slope.take(at) for slope in s]).astype(np.float64) for s in (sharp, soft))
    both, self_ = steep @ even.T, even @ even.T  # 2 x 2, by axis
    if np.linalg.det(self_) <= 1e-9 * np.trace(self_) ** 2:  # no edges, or all in one direction
        return (_width(float(np.trace(both) / max(np.trace(self_), 1e-9))),) * 3
    ratios = np.linalg.eigvals(np.linalg.solve(self_, (both + both.T) / 2)).real
    overall = float(np.trace(both) / np.trace(self_))
    return _width(overall), _width(float(ratios.max())), _width(float(ratios.min()))


def _width(ratio: float) -> float:
    """The width of edges whose slopes at the fine scale are ``ratio`` times those at the coarse one."""
    if ratio**2 <= 1.001:
        return COARSE * 10
    return float(np.sqrt(max(COARSE**2 - ratio**2 * FINE**2, 0) / (ratio**2 - 1)))
