"""Quantities measured on outlines, and the anatomy that an outline must have to be measured at all."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from device.geometry import UInt8Image
from device.segmentation import Region

# An outline beyond these limits is a failed segmentation, not an unusual eye. They leave in what experts outlined
# in the training parts (tests/device/test_anatomy_of_experts.py prints the extremes): tilted discs in high myopia
# are up to 2.16 times as high as wide.
DISC_ASPECT = (0.55, 2.2)  # height / width
MIN_SHARE = {"disc": 0.75, "cup": 0.6}  # of the marked area that the largest component must hold
MIN_SOLIDITY = 0.92  # area / area of the convex hull; experts' outlines: 0.97 and more
MAX_CUT = 0.5  # of the disc's diameter that may lie on the edge of the picture
VCDR = (0.05, 1.0)  # exclusive
FAZ_SHARE = (0.0005, 0.35)  # of the picture
FAZ_MM2 = (0.01, 5.0)
FAZ_OFF_CENTRE = 0.3  # of the picture's side
FAZ_CIRCULARITY = 0.5  # experts' outlines: 0.58 and more
FAZ_AXIS_RATIO = 2.5  # experts' outlines: up to 1.6


@dataclass(frozen=True)
class DiscMeasures:
    """Disc and cup in numbers. Ratios are of extents or areas of the masks; ``rim_disc_ratio`` is, for each
    quadrant around the disc's centre, the share of the disc's area that is rim."""

    vcdr: float
    hcdr: float
    area_cdr: float
    rim_disc_ratio: dict[str, float]
    disc_height_px: int
    disc_width_px: int


@dataclass(frozen=True)
class FazMeasures:
    """Foveal avascular zone in numbers. ``unit`` is the area's ("mm2", or "px" where no field size is known),
    ``length_unit`` the perimeter's; circularity is 4 pi area / perimeter^2 (1: a circle); axis ratio is major
    by minor axis of the ellipse with equal moments (>= 1; Krawitz et al., Vision Res 139:177, 2017)."""

    area: float
    unit: str
    perimeter: float
    length_unit: str
    circularity: float
    axis_ratio: float


@dataclass(frozen=True)
class HaemorrhageMeasures:
    """Marked haemorrhages in numbers: pieces that touch nowhere, also at no corner; their pixels in the photograph
    together; the largest piece's; and how much of the lit field of view they cover, in percent."""

    count: int
    area_px: int
    largest_px: int
    field_percent: float


def measure_disc(disc: Region, cup: Region, laterality: str = "unknown") -> DiscMeasures:
    """Measure a disc and a cup that passed ``disc_faults``; ``laterality`` is OD, OS or unknown."""
    _, _, disc_width, disc_height = disc.box()
    _, _, cup_width, cup_height = cup.box()
    return DiscMeasures(
        vcdr=cup_height / disc_height,
        hcdr=cup_width / disc_width,
        area_cdr=cup.area / disc.area,
        rim_disc_ratio=_rim_by_quadrant(disc.mask, cup.mask, laterality),
        disc_height_px=disc_height,
        disc_width_px=disc_width,
    )


def disc_faults(disc: Region, cup: Region, shape: tuple[int, int]) -> list[str]:
    """Why this disc and cup must not be measured, as sentences; empty where their anatomy is plausible.

    ``shape`` is the photograph's (height, width). The cup has been clipped to the disc.
    """
    if not disc.area:
        return ["no optic disc could be outlined"]
    faults = []
    _, _, width, height = disc.box()
    if disc.share < MIN_SHARE["disc"]:
        faults.append(f"the outline of the optic disc falls into pieces (the largest holds {disc.share:.0%})")
    if not DISC_ASPECT[0] <= height / width <= DISC_ASPECT[1]:
        faults.append(f"the outlined disc is {height / width:.2f} times as high as wide, which no optic disc is")
    if (solidity := _solidity(disc.mask)) < MIN_SOLIDITY:
        faults.append(f"the outline of the optic disc is ragged (it fills {solidity:.0%} of its convex hull)")
    if _cut(disc, shape) > MAX_CUT:
        faults.append("the optic disc is cut off by the edge of the picture")
    if not cup.area:
        faults.append("no cup could be outlined inside the optic disc")
    else:
        if cup.share < MIN_SHARE["cup"]:
            faults.append(f"the outline of the cup falls into pieces (the largest holds {cup.share:.0%})")
        vcdr = cup.box()[3] / height
        if vcdr >= VCDR[1]:
            faults.append("the outlined cup is as high as the disc, so one of the two outlines is wrong")
        elif vcdr <= VCDR[0]:
            faults.append("the outlined cup is too small to be a cup")
    return faults


def measure_faz(faz: Region, mm_per_px: float | None) -> FazMeasures:
    """Measure a foveal avascular zone; without ``mm_per_px`` in pixels, never guessed."""
    scale = 1.0 if mm_per_px is None else mm_per_px
    length = perimeter(faz.mask)
    moments = cv2.moments(faz.mask, binaryImage=True)
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / moments["m00"]
    minor, major = np.sqrt(np.linalg.eigvalsh(spread + np.eye(2) / 12))  # a pixel has a spread of its own
    return FazMeasures(
        area=faz.area * scale**2,
        unit="px" if mm_per_px is None else "mm2",
        perimeter=length * scale,
        length_unit="px" if mm_per_px is None else "mm",
        circularity=min(1.0, 4 * np.pi * faz.area / length**2),
        axis_ratio=float(major / minor),
    )


def measure_haemorrhages(marked: Region, lit_px: float) -> HaemorrhageMeasures:
    """Measure what was marked in a field of view of ``lit_px`` pixels."""
    areas = cv2.connectedComponentsWithStats(marked.mask, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    area = int(areas.sum())
    return HaemorrhageMeasures(len(areas), area, int(areas.max(initial=0)), 100 * area / lit_px)


def faz_faults(faz: Region, shape: tuple[int, int], mm_per_px: float | None) -> list[str]:
    """Why this foveal avascular zone must not be measured; empty where it is plausible."""
    if not faz.area:
        return ["no foveal avascular zone could be outlined"]
    faults = []
    share = faz.area / (shape[0] * shape[1])
    if not FAZ_SHARE[0] <= share <= FAZ_SHARE[1]:
        faults.append(f"the outlined zone covers {share:.2%} of the picture, which no foveal avascular zone does")
    if mm_per_px is not None and not FAZ_MM2[0] <= (mm2 := faz.area * mm_per_px**2) <= FAZ_MM2[1]:
        faults.append(f"the outlined zone would measure {mm2:.3g} mm²; is the field size right?")
    x, y, w, h = faz.box()
    off = max(abs(x + w / 2 - shape[1] / 2), abs(y + h / 2 - shape[0] / 2)) / max(shape)
    if off > FAZ_OFF_CENTRE:
        faults.append("the outlined zone is far from the middle of the picture")
    shape_of = measure_faz(faz, None)
    if shape_of.circularity < FAZ_CIRCULARITY or shape_of.axis_ratio > FAZ_AXIS_RATIO:
        faults.append("the outlined zone is too ragged or too long for a foveal avascular zone")
    if mm_per_px is not None and max(shape) > 1.02 * min(shape):
        faults.append(
            f"the picture is {shape[1]} x {shape[0]} pixels, not square, so millimetres cannot be told; "
            "export the square en-face image, or leave the field size away"
        )
    return faults


def perimeter(mask: UInt8Image) -> float:
    """Length of the outline of a 0/255 mask of one component, in pixels.

    The staircase of pixel centres is smoothed along the outline before it is measured, or a circle would come
    out 5 % too long; the outline of centres runs half a pixel inside of the true one, hence pi more.
    """
    outlines, _ = cv2.findContours(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT),
                                   cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)  # fmt: skip
    points = max(outlines, key=len)[:, 0].astype(np.float64)
    reach = min(4, len(points) // 8)
    smooth = sum(np.roll(points, k, axis=0) for k in range(-reach, reach + 1)) / (2 * reach + 1)
    steps = np.diff(smooth, axis=0, append=smooth[:1])
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum() + np.pi)


def _cut(disc: Region, shape: tuple[int, int]) -> float:
    """The longest stretch of the disc on an edge of the picture, in extents of the disc along that edge."""
    x, y, width, height = disc.box()
    mask = disc.mask[y - disc.y : y - disc.y + height, x - disc.x : x - disc.x + width]
    return max(
        np.count_nonzero(mask[0]) / width if y == 0 else 0.0,
        np.count_nonzero(mask[-1]) / width if y + height == shape[0] else 0.0,
        np.count_nonzero(mask[:, 0]) / height if x == 0 else 0.0,
        np.count_nonzero(mask[:, -1]) / height if x + width == shape[1] else 0.0,
    )


def _solidity(mask: UInt8Image) -> float:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=len)
    hull = cv2.contourArea(cv2.convexHull(outline))
    return cv2.contourArea(outline) / hull if hull else 1.0


def _rim_by_quadrant(disc: UInt8Image, cup: UInt8Image, laterality: str) -> dict[str, float]:
    """Rim area by disc area in quadrants of 90 degrees around the disc's centre of mass.

    In a right eye (OD) the nose is on the right of the photograph, in a left eye (OS) on the left.
    """
    right, left = {"OD": ("nasal", "temporal"), "OS": ("temporal", "nasal")}.get(laterality, ("right", "left"))
    moments = cv2.moments(disc, binaryImage=True)
    cx, cy = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    reach = sum(disc.shape)  # further than any pixel
    ratios = {}
    for name, (ax, ay), (bx, by) in (
        ("inferior", (-1, 1), (1, 1)),
        ("superior", (-1, -1), (1, -1)),
        (right, (1, -1), (1, 1)),
        (left, (-1, -1), (-1, 1)),
    ):
        corners = [(cx, cy), (cx + ax * reach, cy + ay * reach), (cx + bx * reach, cy + by * reach)]
        quadrant = cv2.fillConvexPoly(np.zeros_like(disc), np.round(corners).astype(np.int32), 255)
        of_disc = cv2.countNonZero(cv2.bitwise_and(disc, quadrant))
        of_cup = cv2.countNonZero(cv2.bitwise_and(cup, quadrant))
        ratios[name] = 1 - of_cup / of_disc if of_disc else 0.0
    return ratios
