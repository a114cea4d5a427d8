"""Coaching: what the operator should do now, from the live picture.

The measures are those of the photograph's grade (``device.quality``), so that what is ready here passes there. Of
what they find, one short sentence is said: what is wrong, and what to do.

Directions are the operator's, who stands behind the camera and looks at a picture that is upright and not
mirrored: what appears left of the middle lies on the operator's left, and the camera moves to the left to bring
it to the middle. A camera that delivers mirrored or inverted pictures turns them round in its driver.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, replace

from device import quality
from device.field import Circle, circle_of, find_field
from device.geometry import UInt8Image
from device.quality import Measured, Quality

# Everything that is ever said. Translated in the table [quality] of each language.
AIM = "Nothing in view: bring the camera in front of the pupil, or raise the light."
NO_RETINA = "No retina in view: aim through the pupil."
MOVE = {
    "left": "Off centre: move the camera to the left.",
    "right": "Off centre: move the camera to the right.",
    "up": "Off centre: move the camera up.",
    "down": "Off centre: move the camera down.",
}
SHADOW = {
    "left": "Shadow on the left: shift the camera until it is gone.",
    "right": "Shadow on the right: shift the camera until it is gone.",
    "up": "Shadow at the top: shift the camera until it is gone.",
    "down": "Shadow at the bottom: shift the camera until it is gone.",
}
CLOSER = "Too far away: move closer to the eye."
CAUSES = {
    quality.UNDER: "Too dark: raise the light, or let the pupil widen.",
    quality.OVER: "Too bright: lower the light.",
    quality.NO_FUNDUS: NO_RETINA,
    quality.PUPIL: "Small pupil: dim the room and wait until it widens.",
    quality.LID: "Eyelid in the way: ask to open the eye wide, or hold the lids apart.",
    quality.DUST: "Reflection or dust: tilt the camera slightly; if it stays, clean the lens.",
    quality.MOTION: "Moving: ask to look at the light and hold still, and steady the camera.",
    quality.DEFOCUS: "Out of focus: focus on the vessels until the bar is full.",
    quality.SEVERAL: "More than one bright field in view: aim through one pupil.",
}
TIPS = (AIM, *MOVE.values(), *SHADOW.values(), CLOSER, *CAUSES.values())

OFF = 0.15  # of the picture's shorter side: a field of view whose centre is farther from the middle is off centre
MEMORY = 5  # frames that decide together what is said
ENOUGH = 3  # of them say the same before it is said
FADE = 0.5  # weight of the newest frame in the focus bar


@dataclass(frozen=True)
class Coaching:
    """One preview frame, for the operator.

    ``quality`` is the grade of the frame itself; ``focus`` 0..1 rises while focusing, from a third on the frame is
    usable, from two thirds on sharp; ``centre`` (x, y in 0..1 of the picture) and ``radius`` (in shorter sides of
    the picture) are those of the field of view, None where there is no lit disc on a dark surround; ``tip`` is one
    of TIPS, and empty when ``ready``.
    """

    quality: Quality
    focus: float
    centre: tuple[float, float] | None
    radius: float | None
    tip: str
    ready: bool


def coach(pixels: UInt8Image) -> Coaching:
    """What to do now, from an RGB H x W x 3 frame of any size. Never raises for what is on it."""
    field = find_field(pixels)
    measured = quality.measure(pixels, field)
    circle = None if measured.is_crop else circle_of(field)
    tip = _tip(measured, circle, pixels.shape[:2])
    centre, radius = (None, None) if circle is None else circle
    return Coaching(quality.grade(measured.findings), measured.focus, centre, radius, tip, not tip)


class Coach:
    """``coach`` over a stream of frames, without flicker: what is said changes only when most of the last
    frames say the same, and stays while they do not agree. At ten frames a second it follows within half a
    second. The grade, centre and radius are the newest frame's; the focus bar is smoothed."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=MEMORY)
        self._tip: str | None = None
        self._focus: float | None = None

    def see(self, pixels: UInt8Image) -> Coaching:
        """What to do after one more frame."""
        return self.steady(coach(pixels))

    def steady(self, new: Coaching) -> Coaching:
        """The same for a frame that ``coach`` has seen already."""
        self._recent.append(new.tip)
        tip, votes = Counter(self._recent).most_common(1)[0]
        if self._tip is None or (votes >= ENOUGH and self._recent.count(self._tip) < MEMORY - ENOUGH):
            self._tip = tip
            self._recent.extend([tip] * ENOUGH)  # what was said before is not said again at once
        self._focus = new.focus if self._focus is None else self._focus + FADE * (new.focus - self._focus)
        return replace(new, focus=self._focus, tip=self._tip, ready=not self._tip)


def _tip(measured: Measured, circle: Circle | None, shape: tuple[int, int]) -> str:
    """What comes first: something to look at, its light, its place, then everything else."""
    fault = quality.worst(measured.findings)
    if fault is not None and fault.cause == quality.UNDER and fault.score <= quality.REJECT:
        return AIM
    if fault is not None and fault.cause in (quality.UNDER, quality.OVER, quality.NO_FUNDUS):
        return CAUSES[fault.cause]
    if circle is not None and (way := _way(circle[0], shape)):
        return MOVE[way]
    if fault is None:
        return ""
    if fault.measure == "extent":
        return CLOSER
    if fault.cause == quality.OFF_CENTRE and circle is not None and measured.light is not None:
        (x, y), (height, width) = circle[0], shape
        return SHADOW[_direction(x * width - measured.light[0], y * height - measured.light[1])]
    return CAUSES[fault.cause]


def _way(centre: tuple[float, float], shape: tuple[int, int]) -> str:
    """Where the camera must go for the field of view to come to the middle; empty where it is near enough."""
    height, width = shape
    dx, dy = ((c - 0.5) * n / min(shape) for c, n in zip(centre, (width, height)))
    return "" if max(abs(dx), abs(dy)) < OFF else _direction(dx, dy)


def _direction(dx: float, dy: float) -> str:
    """The word for an offset to the right and downwards."""
    if abs(dx) >= abs(dy):
        return "right" if dx > 0 else "left"
    return "down" if dy > 0 else "up"
