"""Cameras: a small protocol, and what is behind it. Nothing downstream knows which camera made a frame.

A camera is named by its *spec*, ``KIND[:WHAT][?NAME=VALUE&...]``:

=======================================  ==================================================================
``picamera2``, ``picamera2:1``           the first or another libcamera sensor; ``?megapixels=8`` of a still
``replay:PATH``                          real photographs: a folder, one file or a video; ``?repeat=3`` gives
                                         each of them three times, as a burst would
``simulated``, ``simulated:SEED``        a drawn eye through simulated optics; ``?defocus=0.02&eyelid=0.4``
``simulated:PATH``                       the same optics in front of a real photograph
=======================================  ==================================================================

``open_camera`` opens one in this process; the instrument uses ``device.camera.supervised.SupervisedCamera``,
which keeps it in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, Self
from urllib.parse import parse_qsl

from device.errors import UsageError
from device.frame import Frame

KINDS = {  # and the options that each of them takes
    "picamera2": ("megapixels",),
    "replay": ("repeat",),
    "simulated": ("seed", "size", "defocus", "motion", "exposure", "off_axis", "eyelid", "dust", "noise"),
}


@dataclass(frozen=True)
class Controls:
    """What can be set on a camera; None leaves it to the camera's own automatics. Cameras without a control
    ignore it."""

    exposure_us: float | None = None
    gain: float | None = None
    focus: float | None = None  # the camera's own units (libcamera: dioptres)
    light: bool | None = None  # LEDs: None as the picture needs them, False dark (``device.light``)


class Camera(Protocol):
    """A camera that is open. Use it as a context manager, so that it is closed whatever happens.

    Every wait has a deadline in seconds; what is not there by then raises CameraError.
    """

    @property
    def name(self) -> str:
        """What captures say of their camera."""
        ...

    def set(self, controls: Controls) -> None:
        """Take over controls, from the next picture on."""
        ...

    def preview(self, deadline: float = 1.0) -> Frame:
        """A quick picture of low resolution, for aiming and focusing."""
        ...

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """A picture of full resolution; with ``raw``, the sensor's own data go along where the camera has them."""
        ...

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """Width and height of the next still, in pixels: how much memory it will take is known by it."""
        ...

    def close(self, deadline: float = 5.0) -> None:
        """Let go of the camera. Closing twice is no error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Spec:
    """A camera's name, taken apart."""

    kind: str
    what: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def number(self, name: str, otherwise: float) -> float:
        """An option that is a number. Raises UsageError where it is none."""
        text = self.options.get(name)
        try:
            return otherwise if text is None else float(text)
        except ValueError:
            raise UsageError(
                f"the camera's option {name}={text} is not a number; give one, as in {name}=1"
            ) from None


def parse_spec(text: str) -> Spec:
    """Take a spec apart. Raises UsageError for unknown kinds and options, and for a replay of nothing."""
    rest, _, query = text.rpartition("?") if "?" in text else (text, "", "")
    kind, _, what = rest.partition(":")
    if kind not in KINDS:
        raise UsageError(f"there is no camera {text!r}; give one of picamera2, replay:PATH or simulated")
    if kind == "replay" and not what:
        raise UsageError("a replay needs photographs; give a folder or a video, as in replay:PATH")
    if kind == "picamera2" and what and not what.isdecimal():
        raise UsageError(f"picamera2:{what} is no camera's number; give one, as in picamera2:0")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in KINDS[kind]:
            raise UsageError(f"the camera {kind} has no option {name!r}; it has: {', '.join(KINDS[kind])}")
    spec = Spec(kind, what, options)
    for name in options:
        spec.number(name, 0)  # a word where a number belongs is told now, not by the first picture
    return spec


def open_camera(text: str) -> Camera:
    """Open the camera of a spec in this process. Raises UsageError for a wrong spec, CameraError where the
    camera cannot be opened."""
    spec = parse_spec(text)
    # Imported one by one, so that a camera costs the memory of its own libraries only.
    if spec.kind == "picamera2":
        from device.camera.picamera2 import Picamera2Camera

        return Picamera2Camera(int(spec.what or 0), megapixels=spec.number("megapixels", 5.0))
    if spec.kind == "replay":
        from device.camera.replay import ReplayCamera

        return ReplayCamera(spec.what, repeat=int(spec.number("repeat", 1)))
    from device.camera.simulated import open_simulated

    return open_simulated(spec)
