"""Cameras: a small protocol, and what is behind it. Nothing downstream knows which camera made a frame."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from device.frame import Frame


class Camera(Protocol):
    """A camera that is open. Use it as a context manager, so that it is closed whatever happens.

    Every wait has a deadline in seconds; what is not there by then raises CameraError.
    """

    name: str

    def preview(self, deadline: float = 1.0) -> Frame:
        """A quick picture of low resolution, for aiming and focusing."""
        ...

    def still(self, deadline: float = 10.0) -> Frame:
        """A picture of full resolution."""
        ...

    def close(self, deadline: float = 5.0) -> None:
        """Let go of the camera. Closing twice is no error."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
