"""A simulated camera: the whole instrument without hardware.

An eye is drawn from a seed (disc, cup, vessels, macula, colour), and photographed through a simple optical
model: focus, motion, exposure, alignment, eyelid, dust, noise. These pictures test the instrument; they say
nothing about accuracy on real eyes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from device.errors import CameraError
from device.frame import Frame
from device.geometry import UInt8Image, resize

Plane = npt.NDArray[np.float32]

CANVAS = 768  # pixels of the scene's side; all lengths of an eye and of the optics are fractions of it
RADIUS = 0.48  # of the field of view


@dataclass(frozen=True)
class Eye:
    """Anatomy, in fractions of the picture's side; ``vcdr`` is the vertical cup-to-disc ratio."""

    laterality: str
    vcdr: float
    disc_height: float = 0.16
    pigment: float = 0.5  # 0 fair .. 1 dark
    seed: int = 0  # of the vessels' courses

    @classmethod
    def random(cls, seed: int) -> Eye:
        """A plausible eye; the same seed gives the same eye."""
        rng = np.random.default_rng(seed)
        return cls(
            laterality="OD" if rng.random() < 0.5 else "OS",
            vcdr=float(rng.uniform(0.25, 0.85)),
            disc_height=float(rng.uniform(0.14, 0.18)),
            pigment=float(rng.uniform(0.1, 0.9)),
            seed=seed,
        )


@dataclass(frozen=True)
class Optics:
    """How the eye is photographed; the defaults are a good photograph."""

    defocus: float = 0.0012  # standard deviation of the blur, in sides of the picture
    motion: float = 0.0  # length of the smear, in sides
    exposure: float = 1.0
    off_axis: float = 0.0  # 0 aligned .. 1 half of the field in the iris's shadow
    eyelid: float = 0.0  # share of the field's height that it covers from above
    dust: int = 0  # specks on the lens
    noise: float = 1.5  # grey levels


class SimulatedCamera:
    """A ``Camera`` that looks at one drawn eye. ``optics`` may be changed between pictures."""

    name = "simulated"

    def __init__(
        self, eye: Eye | None = None, optics: Optics | None = None, seed: int = 0, size: int = 1024
    ) -> None:
        self.eye, self.optics, self.size = eye or Eye.random(seed), optics or Optics(), size
        self._scene: Plane | None = draw(self.eye)
        self._rng = np.random.default_rng(seed)

    def preview(self, deadline: float = 1.0) -> Frame:
        """A picture a quarter as wide as a still."""
        return self._capture(max(128, self.size // 4), deadline)

    def still(self, deadline: float = 10.0) -> Frame:
        """A picture of ``size`` x ``size`` pixels. Noise differs from picture to picture."""
        return self._capture(self.size, deadline)

    def close(self, deadline: float = 5.0) -> None:
        """Afterwards every picture raises CameraError."""
        self._scene = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _capture(self, size: int, deadline: float) -> Frame:
        if self._scene is None:
            raise CameraError("the simulated camera is closed; open it again")
        end = time.monotonic() + deadline
        pixels = photograph(self._scene, self.optics, self._rng, size)
        if time.monotonic() > end:
            raise CameraError(f"the simulated camera took longer than {deadline:g} s; allow it more time")
        return Frame(
            pixels, self.eye.laterality, datetime.now(), exposure_us=10_000 * self.optics.exposure, gain=1.0,
            focus=self.optics.defocus, camera=self.name, source=f"eye {self.eye.seed}",
        )  # fmt: skip


def draw(eye: Eye) -> Plane:
    """The retina as CANVAS x CANVAS x 3 reflectances, 0..1. The disc is right of the middle in a right eye."""
    rng = np.random.default_rng(eye.seed)
    nasal = 1 if eye.laterality == "OD" else -1
    disc = np.array([0.5 + nasal * 0.2, 0.5])
    macula = disc - np.array([nasal * 2.5 * eye.disc_height, -0.015])
    choroid = rng.normal(0, 1, (48, 48)).astype(np.float32)
    mottle = cv2.resize(choroid, (CANVAS, CANVAS), interpolation=cv2.INTER_CUBIC)
    fair, dark = np.array([0.82, 0.42, 0.22]), np.array([0.50, 0.22, 0.09])
    scene = (fair + (dark - fair) * eye.pigment).astype(np.float32) * (1 + 0.03 * mottle[..., None])
    scene *= 1 - 0.45 * _spot(macula, 0.035)[..., None]

    height = eye.disc_height
    _blend(scene, _ellipse(disc, 0.9 * height, height), (0.95, 0.68, 0.40))
    cup = disc - np.array([nasal * 0.04 * height, 0])  # a little towards the macula
    _blend(scene, _ellipse(cup, 0.88 * eye.vcdr * height, eye.vcdr * height), (0.99, 0.90, 0.66))
    for up in (-1, 1):
        for towards in (-1, 1):
            for width, colour in ((0.010, (0.48, 0.10, 0.07)), (0.007, (0.62, 0.18, 0.10))):  # vein, artery
                _vessel(scene, rng, disc, np.array([towards * nasal, up]), width, colour)
    retina: Plane = np.clip(scene, 0, 1)
    return retina


def photograph(scene: Plane, optics: Optics, rng: np.random.Generator, size: int) -> UInt8Image:
    """The scene through the optics, as RGB ``uint8`` size x size."""
    y, x = (np.mgrid[:CANVAS, :CANVAS].astype(np.float32) + 0.5) / CANVAS - 0.5
    radius = np.hypot(x, y) / RADIUS
    light = 1 - 0.35 * radius**2  # the flash falls off towards the edge
    if optics.off_axis:
        light = light / (1 + np.exp((x - 0.5 + 0.6 * optics.off_axis) / 0.05))  # shadow of the iris
    view = cv2.GaussianBlur(scene, (0, 0), max(optics.defocus * CANVAS, 0.3))
    if smear := round(optics.motion * CANVAS):
        view = cv2.blur(view, (smear, 1))
    view = view * light[..., None] * optics.exposure
    for _ in range(optics.dust):
        view *= 1 - 0.6 * _spot(rng.uniform(0.25, 0.75, 2), rng.uniform(0.004, 0.012))[..., None]
    if optics.eyelid:
        view[y < -RADIUS + 2 * RADIUS * optics.eyelid] = (0.10, 0.05, 0.04)
    view[radius > 1] = 0.004
    view = 255 * view + rng.normal(0, optics.noise, view.shape)
    picture: UInt8Image = np.clip(view, 0, 255).astype(np.uint8)
    return resize(picture, size)


def _spot(centre: npt.NDArray[np.float64], sigma: float) -> Plane:
    """A Gaussian of height 1."""
    y, x = (np.mgrid[:CANVAS, :CANVAS].astype(np.float32) + 0.5) / CANVAS
    spot: Plane = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2)).astype(np.float32)
    return spot


def _ellipse(centre: npt.NDArray[np.float64], width: float, height: float) -> Plane:
    """Coverage of an upright ellipse, 0..1, soft at its edge."""
    mask = np.zeros((CANVAS, CANVAS), np.float32)
    box = (tuple(centre * CANVAS), (width * CANVAS, height * CANVAS), 0)
    soft: Plane = cv2.GaussianBlur(cv2.ellipse(mask, box, 1.0, -1), (0, 0), 2)
    return soft


def _blend(scene: Plane, coverage: Plane, colour: tuple[float, float, float]) -> None:
    scene += coverage[..., None] * (np.array(colour, np.float32) - scene)


def _vessel(
    scene: Plane,
    rng: np.random.Generator,
    start: npt.NDArray[np.float64],
    towards: npt.NDArray[np.int_],
    width: float,
    colour: tuple[float, float, float],
    branches: int = 3,
) -> None:
    """An arcade: out of the disc up or down, then bending sideways; side branches are thinner and shorter."""
    mask = np.zeros((CANVAS, CANVAS), np.float32)
    reach, bend = rng.uniform(0.3, 0.5), rng.uniform(0.7, 1.4)
    t = np.linspace(0, 1, 40)
    wave = 0.012 * np.sin(rng.uniform(2, 5) * np.pi * t + rng.uniform(0, 6)) * t
    sideways, upwards = reach * t ** (1 + bend), 0.34 * t ** (1 / bend) + wave
    course = start + towards * np.stack([sideways, upwards], axis=1)
    for i in range(len(t) - 1):
        ends = [tuple(int(v) for v in np.round(p * CANVAS * 16)) for p in course[i : i + 2]]
        thickness = max(1, round(width * CANVAS * (1 - 0.6 * t[i])))
        cv2.line(mask, ends[0], ends[1], 1.0, thickness, cv2.LINE_AA, 4)
    _blend(scene, 0.75 * cv2.GaussianBlur(mask, (0, 0), 1), colour)
    if branches:
        at = course[int(rng.integers(8, 30))]
        _vessel(scene, rng, at, towards * np.array([rng.choice([-1, 1]), 1]), 0.6 * width, colour, branches - 1)
