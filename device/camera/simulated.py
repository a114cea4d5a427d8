"""A simulated camera: the whole instrument without hardware.

In front of the lens is an eye that is drawn from a seed (disc, cup, vessels, macula, colour), or a real
photograph; it is seen through a simple optical model: focus, motion, exposure, alignment, eyelid, dust, noise.
Pictures of drawn eyes test the instrument; they say nothing about accuracy on real eyes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime

import cv2
import numpy as np
import numpy.typing as npt

from device.camera import Controls, Spec
from device.closing import Closing
from device.errors import CameraError, UnreadableImageError, UsageError
from device.field import find_field
from device.frame import Frame
from device.geometry import Square, UInt8Image, crop, resize

Plane = npt.NDArray[np.float32]

CANVAS = 768  # pixels of a drawn scene's side; all lengths of an eye and of the optics are fractions of a side
RADIUS = 0.48  # of the field of view
SIZES = (128, 4096)  # pixels of a still's side
EXPOSURE_US, GAIN = 10_000.0, 1.0  # at which ``Optics.exposure`` is what it says
BLUR_PER_DIOPTRE = 0.004  # standard deviation in sides, for each dioptre that the focus is off


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
    dust: int = 0  # specks on the lens; they stay where they are
    noise: float = 1.5  # grey levels


@dataclass(frozen=True)
class Scene:
    """What lies in front of the lens: N x N x 3 reflectances 0..1, and of a photograph the N x N mask (0 or 1)
    of its field of view. A drawn scene has none: the optics give it a round field and a light that falls off."""

    pixels: Plane
    mask: Plane | None = None

    def reduced(self, size: int) -> Scene:
        """The same at ``size`` x ``size``."""
        mask = None if self.mask is None else cv2.resize(self.mask, (size, size), interpolation=cv2.INTER_NEAREST)
        return Scene(cv2.resize(self.pixels, (size, size), interpolation=cv2.INTER_AREA), mask)


class SimulatedCamera(Closing):
    """A ``Camera`` that looks at one eye. ``optics`` may be changed between pictures.

    ``photograph``: a real photograph in place of a drawn eye. Controls: exposure and gain brighten, gain also
    adds noise, and focus blurs by its distance from zero dioptres. There is no raw: ``still(raw=True)`` has none.
    """

    name = "simulated"

    def __init__(
        self,
        eye: Eye | None = None,
        optics: Optics | None = None,
        seed: int = 0,
        size: int = 1024,
        photograph: Frame | None = None,
    ) -> None:
        self.eye, self.optics, self.size = eye or Eye.random(seed), optics or Optics(), size
        self._controls = Controls()
        self._rng = np.random.default_rng(seed)
        if photograph is None:
            self._laterality, self._source = self.eye.laterality, f"eye {self.eye.seed}"
            scene = Scene(draw(self.eye))
        else:
            self._laterality, self._source = photograph.laterality, photograph.source
            scene = scene_of(photograph.pixels, size)
        self._scenes: tuple[Scene, Scene] | None = (scene.reduced(max(128, size // 4)), scene)

    def set(self, controls: Controls) -> None:
        """From the next picture on; None is a good photograph's value."""
        self._controls = controls

    def preview(self, deadline: float = 1.0) -> Frame:
        """A picture a quarter as wide as a still."""
        return self._capture(0, max(128, self.size // 4), deadline)

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """A picture of ``size`` x ``size`` pixels. Noise differs from picture to picture."""
        return self._capture(1, self.size, deadline)

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """``size`` x ``size``."""
        return self.size, self.size

    def close(self, deadline: float = 5.0) -> None:
        """Afterwards every picture raises CameraError."""
        self._scenes = None

    def _capture(self, which: int, size: int, deadline: float) -> Frame:
        if self._scenes is None:
            raise CameraError("the simulated camera is closed; open it again")
        end = time.monotonic() + deadline
        exposure_us, gain = self._controls.exposure_us or EXPOSURE_US, self._controls.gain or GAIN
        focus = self._controls.focus or 0.0
        optics = replace(
            self.optics,
            exposure=self.optics.exposure * exposure_us / EXPOSURE_US * gain / GAIN,
            noise=self.optics.noise * max(1.0, gain),
            defocus=float(np.hypot(self.optics.defocus, BLUR_PER_DIOPTRE * focus)),
        )
        pixels = photograph(self._scenes[which], optics, self._rng, size)
        if time.monotonic() > end:
            raise CameraError(f"the simulated camera took longer than {deadline:g} s; allow it more time")
        return Frame(
            pixels, self._laterality, datetime.now(), exposure_us=exposure_us, gain=gain, focus=focus,
            camera=self.name, source=self._source,
        )  # fmt: skip


def open_simulated(spec: Spec) -> SimulatedCamera:
    """The simulated camera of a spec. Raises UsageError for optics that cannot be, CameraError where the
    photograph cannot be read."""
    given = {name: spec.number(name, 0) for name in spec.options}
    seed, size = int(given.pop("seed", 0)), int(given.pop("size", 1024))
    if not SIZES[0] <= size <= SIZES[1]:
        raise UsageError(f"size={size}: give the side of a still in pixels, from {SIZES[0]} to {SIZES[1]}")
    if bad := [name for name, value in given.items() if not 0 <= value <= 100]:
        raise UsageError(f"{bad[0]}={given[bad[0]]:g}: give a value from 0 to 100")
    optics = Optics(**{k: int(v) if k == "dust" else v for k, v in given.items()})  # type: ignore[arg-type]
    if not spec.what or spec.what.isdecimal():
        return SimulatedCamera(optics=optics, seed=int(spec.what or seed), size=size)
    from device.imaging import read_image  # only here are files read

    try:
        scene = read_image(spec.what)
    except UnreadableImageError as error:
        raise CameraError(f"the simulated camera has nothing to look at: {error}") from error
    return SimulatedCamera(optics=optics, seed=seed, size=size, photograph=scene)


def scene_of(pixels: UInt8Image, size: int) -> Scene:
    """A photograph (RGB H x W x 3) as a scene of ``size`` x ``size``: its field of view where a drawn one is."""
    field = find_field(pixels)
    square = field.square
    square = Square.around(square.x + square.side / 2, square.y + square.side / 2, square.side / (2 * RADIUS))
    mask = np.full(field.mask.shape, 255, np.uint8)
    if not field.fills_frame:  # dark parts of the retina are no part of the mask, but lie within its hull
        points = cv2.findNonZero(field.mask)
        mask = cv2.fillConvexPoly(np.zeros_like(field.mask), cv2.convexHull(points), 255)
    height, width = pixels.shape[:2]
    whole = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    inside = (resize(crop(whole, square), size) > 127).astype(np.float32)
    reflectances: Plane = resize(crop(pixels, square), size).astype(np.float32) / np.float32(255)
    return Scene(reflectances, inside)


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


def photograph(scene: Scene, optics: Optics, rng: np.random.Generator, size: int) -> UInt8Image:
    """The scene through the optics, as RGB ``uint8`` size x size."""
    n = scene.pixels.shape[0]
    y, x = (np.mgrid[:n, :n].astype(np.float32) + 0.5) / n - 0.5
    radius = np.hypot(x, y) / RADIUS
    # The flash falls off towards the edge; in a photograph, it has done so already.
    light = 1 - 0.35 * radius**2 if scene.mask is None else np.ones_like(radius)
    if optics.off_axis:
        light = light / (1 + np.exp((x - 0.5 + 0.6 * optics.off_axis) / 0.05))  # shadow of the iris
    view = _blurred(scene, max(optics.defocus * n, 0.3), round(optics.motion * n))
    view = view * light[..., None] * optics.exposure
    specks = np.random.default_rng(optics.dust)  # of its own: dust does not move from picture to picture
    for _ in range(optics.dust):
        view *= 1 - 0.6 * _spot(specks.uniform(0.25, 0.75, 2), specks.uniform(0.004, 0.012), n)[..., None]
    if optics.eyelid:
        view[y < -RADIUS + 2 * RADIUS * optics.eyelid] = (0.10, 0.05, 0.04)
    view[radius > 1 if scene.mask is None else scene.mask == 0] = 0.004
    view = 255 * view + rng.normal(0, optics.noise, view.shape)
    picture: UInt8Image = np.clip(view, 0, 255).astype(np.uint8)
    return resize(picture, size)


def _blurred(scene: Scene, sigma: float, smear: int) -> Plane:
    """Out of focus, then smeared sideways. The edge of the field is made in the camera and stays sharp: where a
    photograph ends, it is blurred as if there were more of it."""

    def blur(plane: Plane) -> Plane:
        soft: Plane = cv2.GaussianBlur(plane, (0, 0), sigma)
        return cv2.blur(soft, (smear, 1)) if smear else soft

    if scene.mask is None:
        return blur(scene.pixels)
    weight = np.maximum(blur(scene.mask), np.float32(1e-3))
    view = blur(scene.pixels * scene.mask[..., None]) / weight[..., None]
    return view.astype(np.float32, copy=False)


def _spot(centre: npt.NDArray[np.float64], sigma: float, n: int = CANVAS) -> Plane:
    """A Gaussian of height 1 on n x n pixels."""
    y, x = (np.mgrid[:n, :n].astype(np.float32) + 0.5) / n
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
