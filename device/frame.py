"""Frame: one picture of one eye, with what is known about its capture.

Cameras and files both end here; nothing downstream knows which of them made a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from device.geometry import UInt8Image


@dataclass(frozen=True)
class Frame:
    """``pixels`` is RGB ``uint8`` H x W x 3, contiguous, and not to be written to. What the source does not
    tell is None (or "unknown"), never guessed."""

    pixels: UInt8Image
    laterality: str = "unknown"  # OD (right eye), OS (left eye) or unknown
    time: datetime | None = None  # of the capture, in the camera's own clock
    exposure_us: float | None = None
    gain: float | None = None
    focus: float | None = None  # the camera's own units
    camera: str = "file"
    source: str = ""  # the file's path, or what the camera calls the capture
    raw: bytes | None = None  # the sensor's own data as a DNG file, where they were asked for and there are any
    whole: tuple[int, int] | None = None  # the photograph's height and width, where pixels are a reduction of it

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the photograph itself."""
        height, width = self.whole or self.pixels.shape[:2]
        return height, width

    @property
    def reduction(self) -> int:
        """The photograph has so many times the pixels in each direction."""
        times: float = max(self.shape) / max(self.pixels.shape[:2])
        return round(times)
