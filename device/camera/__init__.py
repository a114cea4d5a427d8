"""Cameras: a small protocol, and what is behind it. Nothing downstream knows which camera made a frame."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from device.frame import Frame


@dataclass(frozen=True)
class Controls:
    """What can be set on a camera; None leaves it to the camera's own automatics. Cameras without a control
    ignore it."""

    exposure_us: float | None = None
    gain: float | None = None
    focus: float | None = None  # the camera's own units (libcamera: dioptres)


class Camera(Protocol):
    """A camera that is open. Use it as a context manager, so that it is closed whatever happens.

    Every wait has a deadline in seconds; what is not there by then raises CameraError.
    """

    name: str

    def set(self, controls: Controls) -> None:
        """Take over controls, from the next picture on."""
        ...

    def preview(self, deadline: float = 1.0) -> Frame:
        """A quick picture of low resolution, for aiming and focusing."""
        ...

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """A picture of full resolution; with ``raw``, the sensor's own data go along where the camera has them."""
        ...

    def close(self, deadline: float = 5.0) -> None:
        """Let go of the camera. Closing twice is no error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
