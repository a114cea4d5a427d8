"""The real camera: a libcamera sensor through picamera2 (Raspberry Pi OS, Debian 13).

One configuration holds everything, so that a still needs no change of mode: ``main`` in full for stills, ``lores``
for the preview, and the sensor's raw data where it has them. What libcamera makes of it (size, format, colour
range) is read back and followed: the virtual pipeline and USB cameras give neither RGB nor exposure metadata.
"""

from __future__ import annotations

import io
import math
import time
from datetime import datetime, timedelta
from typing import Any

import cv2
import numpy as np

from device.camera import Controls
from device.closing import Closing
from device.errors import CameraError
from device.frame import Frame
from device.geometry import UInt8Image, reduced

# Of a still, at most. Five megapixels put some 1900 pixels across the field of view, where the networks look at a
# few hundred. A Zero 2 W has 512 MB: each of the BUFFERS costs 15 MB of contiguous memory at this size (36 MB at
# the 12 megapixels of an IMX708 or IMX477), and the picture exists twice more while it is handed over.
MEGAPIXELS = 5.0
PREVIEW = 640  # pixels of a preview's longer side
BUFFERS = 3  # one is filled, one is waiting, one is read; fewer drop pictures, more cost memory
SETTLING = 8  # pictures at most until controls have arrived: what is queued already, and the sensor's own delay

INSTALL = (
    "the camera needs picamera2, which this Python lacks; install it with: sudo apt install python3-picamera2 "
    "(a virtual environment sees it when made with --system-site-packages)"
)
NONE = (
    "no camera was found; switch the instrument off, check the camera's cable at both ends, and switch it on again"
)
BUSY = "the camera is in use by another program; close that program and try again"
LOST = "the camera stopped sending pictures; check its cable and photograph again"
CLOSED = "the camera is closed; open it again"

# libcamera's names are those of little-endian words: its BGR888 has red in the first byte.
PACKED = {
    "BGR888": None,
    "RGB888": cv2.COLOR_BGR2RGB,
    "XBGR8888": cv2.COLOR_RGBA2RGB,
    "XRGB8888": cv2.COLOR_BGRA2RGB,
    "YUYV": cv2.COLOR_YUV2RGB_YUYV,
}
PLANAR = {"NV12", "NV21", "YUV420", "YVU420"}
# Chroma of 16..240 to 0..255, around 128.
CHROMA_STRETCH = np.clip(np.rint((np.arange(256) - 128) * 255 / 224 + 128), 0, 255).astype(np.uint8)


class Picamera2Camera(Closing):
    """A ``Camera`` with a libcamera sensor, by its number. Raises CameraError where it is missing or busy."""

    def __init__(self, number: int = 0, megapixels: float = MEGAPIXELS) -> None:
        library = _library()
        try:
            found = library.global_camera_info()
        except Exception as error:
            raise CameraError(_why(error)) from error
        if not found:
            raise CameraError(NONE)
        if number >= len(found):
            raise CameraError(
                f"there is no camera number {number}: {len(found)} found, counted from 0; give another number"
            )
        try:
            self._camera = library(number)
        except Exception as error:
            raise CameraError(_why(error)) from error
        self.name = f"picamera2 {found[number].get('Model', 'camera')}"
        self._closed = False
        self._settling = 0
        self._wanted: dict[str, float] = {}
        try:
            self._configure(megapixels)
            self._camera.start(show_preview=False)
        except Exception as error:
            self.close()
            raise CameraError(_why(error)) from error

    def set(self, controls: Controls) -> None:
        """What the sensor has no control for is ignored. Focus is in dioptres; None is continuous autofocus."""
        has = self._camera.camera_controls
        wanted: dict[str, Any] = {}
        if "ExposureTime" in has:  # zero is picamera2's word for automatic
            wanted["ExposureTime"] = int(_within(controls.exposure_us or 0, has["ExposureTime"]))
        if "AnalogueGain" in has:
            wanted["AnalogueGain"] = float(_within(controls.gain or 0, has["AnalogueGain"]))
        if "LensPosition" in has:
            if controls.focus is None:
                wanted["AfMode"] = 2  # continuous
            else:
                wanted["AfMode"] = 0  # manual
                wanted["LensPosition"] = float(_within(controls.focus, has["LensPosition"]))
        self._command(wanted)
        self._wanted = {k: v for k, v in wanted.items() if k != "AfMode" and v}
        self._settling = SETTLING if self._wanted else 0

    def preview(self, deadline: float = 1.0) -> Frame:
        """The next picture of the low-resolution stream."""
        return self._picture("lores", deadline)

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """A picture whose exposure began after the call, so that a flash that was lit before it is all in it."""
        return self._picture("main", deadline, raw, fresh=True)

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """As libcamera has configured it."""
        width, height = self._config["main"]["size"]
        return int(width), int(height)

    def close(self, deadline: float = 5.0) -> None:
        """Stop and let go. libcamera takes no deadline here; the process that supervises this one keeps it."""
        if self._closed:
            return
        self._closed = True
        try:
            self._camera.cancel_all_and_flush()  # a job that waits for a picture would keep close() waiting
            self._camera.close()
        except Exception as error:
            raise CameraError(
                f"the camera could not be closed ({_first(error)}); restart the instrument"
            ) from error

    def _configure(self, megapixels: float) -> None:
        width, height = _fitting(self._camera.sensor_resolution, megapixels)
        scale = min(1.0, PREVIEW / max(width, height))
        small = (_even(width * scale), _even(height * scale))
        wanted = self._camera.create_still_configuration(
            main={"size": (width, height), "format": "BGR888"},
            lores={"size": small, "format": "YUV420"},
            buffer_count=BUFFERS,
            queue=False,  # a picture that was kept back would be an old one
        )
        # The slowest allowed picture decides how long an exposure may be; a still life of minutes is no eye's.
        if "FrameDurationLimits" in wanted["controls"]:
            wanted["controls"]["FrameDurationLimits"] = (100, 500_000)
        if "LensPosition" in self._camera.camera_controls:
            wanted["controls"]["AfMode"] = 2
        self._camera.configure(wanted)
        self._config = self._camera.camera_configuration()

    def _picture(self, stream: str, deadline: float, raw: bool = False, fresh: bool = False) -> Frame:
        if self._closed:
            raise CameraError(CLOSED)
        called, end, passed = time.clock_gettime_ns(time.CLOCK_BOOTTIME), time.monotonic() + deadline, 0
        while True:
            request = self._request(end, deadline, passed)
            try:
                metadata = request.get_metadata()
                passed += 1
                if self._settled(metadata) and (not fresh or _began_after(called, metadata, passed)):
                    pixels = self._rgb(request, stream)
                    dng = _dng(request) if raw and self._config.get("raw") else None
                    return self._frame(pixels, metadata, dng)
            finally:
                request.release()

    def _request(self, end: float, deadline: float, passed: int) -> Any:
        """The next picture with everything that belongs to it; it has to be released."""
        try:
            left = end - time.monotonic()
            return self._camera.capture_request(wait=max(left, 0.001))  # 0 would not wait
        except TimeoutError as error:
            self._camera.cancel_all_and_flush()  # or the next picture would go to nobody
            if passed:  # pictures come, but too slowly
                raise CameraError(
                    f"the camera had no picture ready within {deadline:g} s; shorten the exposure and try again"
                ) from error
            raise CameraError(LOST) from error
        except Exception as error:
            raise CameraError(_why(error)) from error

    def _command(self, wanted: dict[str, Any]) -> None:
        try:
            self._camera.set_controls(wanted)
        except Exception as error:
            raise CameraError(_why(error)) from error

    def _settled(self, metadata: dict[str, Any]) -> bool:
        """Whether a picture was taken with the controls that were set last; sensors round them. What cannot be
        known, or does not come about, is waited for no longer than SETTLING pictures."""
        if self._settling:
            reached = all(
                math.isclose(metadata.get(name, math.inf), value, rel_tol=0.1)
                for name, value in self._wanted.items()
            )
            self._settling = 0 if reached else self._settling - 1
        return not self._settling

    def _rgb(self, request: Any, stream: str) -> UInt8Image:
        """The stream as RGB H x W x 3: the one copy out of the camera's buffer. A preview that the camera does not
        make small is made so here."""
        from picamera2 import MappedArray

        config = self._config[stream]
        space = self._camera.libcamera_config.at(0 if stream == "main" else self._camera.lores_index).color_space
        full_range = space is not None and "full" in str(space.range).lower()
        with MappedArray(request, stream, write=False) as mapped:
            pixels = to_rgb(mapped.array, config["format"], config["size"], full_range)
        return reduced(pixels, PREVIEW) if stream == "lores" else pixels

    def _frame(self, pixels: UInt8Image, metadata: dict[str, Any], dng: bytes | None) -> Frame:
        gain = metadata.get("AnalogueGain")
        return Frame(
            pixels,
            time=_taken(metadata),
            exposure_us=metadata.get("ExposureTime"),
            gain=None if gain is None else gain * metadata.get("DigitalGain", 1.0),
            focus=metadata.get("LensPosition"),
            camera=self.name,
            raw=dng,
        )


def _library() -> Any:
    try:
        from picamera2 import Picamera2
    except ModuleNotFoundError as error:
        raise CameraError(INSTALL) from error
    return Picamera2


def to_rgb(array: UInt8Image, layout: str, size: tuple[int, int], full_range: bool) -> UInt8Image:
    """A stream's buffer, as picamera2 shapes it, to RGB H x W x 3 in memory of its own.

    ``layout`` is libcamera's name of the format, ``size`` (width, height) in pixels; rows may be padded.
    ``full_range``: luminance of YCbCr runs from 0 to 255 and not from 16 to 235. Raises CameraError for formats
    that no camera of this kind should give.
    """
    width, height = size
    if layout in PACKED:
        code = PACKED[layout]
        if code is None:
            return np.array(array[:height, :width], order="C")
        return np.ascontiguousarray(cv2.cvtColor(array, code)[:height, :width])
    if layout not in PLANAR:
        raise CameraError(f"the camera sends pictures as {layout}, which is not known here; use another camera")
    luma = array[:height, :width]
    chroma = array[height : height + height // 2]
    if layout in ("NV12", "NV21"):
        pairs = chroma[:, :width].reshape(height // 2, width // 2, 2)
        cb, cr = pairs[..., 0], pairs[..., 1]
    else:  # two planes, each with rows of half the length
        planes = np.ascontiguousarray(chroma).reshape(2, height // 2, -1)
        cb, cr = planes[0, :, : width // 2], planes[1, :, : width // 2]
    if layout in ("NV21", "YVU420"):
        cb, cr = cr, cb
    cr, cb = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (cr, cb))
    if not full_range:
        luma = cv2.convertScaleAbs(np.maximum(luma, 16), alpha=255 / 219, beta=-16 * 255 / 219)
        cr, cb = (cv2.LUT(plane, CHROMA_STRETCH) for plane in (cr, cb))
    rgb: UInt8Image = cv2.cvtColor(cv2.merge([luma, cr, cb]), cv2.COLOR_YCrCb2RGB)
    return rgb


def _fitting(sensor: tuple[int, int], megapixels: float) -> tuple[int, int]:
    """The largest size of the sensor's shape with no more megapixels: no part of the field is cut off."""
    width, height = sensor
    scale = min(1.0, math.sqrt(megapixels * 1e6 / (width * height)))
    return _even(width * scale), _even(height * scale)


def _even(length: float) -> int:
    return max(2, 2 * int(length / 2))


def _within(value: float, limits: tuple[Any, ...]) -> float:
    """A control's value within what the sensor can do; zero stays zero, for automatic."""
    low, high = float(limits[0]), float(limits[1])
    return min(max(value, low), high) if value and high > low else value


def _began_after(called: int, metadata: dict[str, Any], passed: int) -> bool:
    """Whether the exposure began after ``called`` (ns). Where the camera does not tell, after as many pictures as
    could have been under way."""
    if (stamp := metadata.get("SensorTimestamp")) and stamp - 1000 * metadata.get("ExposureTime", 0) >= called:
        return True
    return passed > 2 * BUFFERS


def _taken(metadata: dict[str, Any]) -> datetime:
    now = datetime.now()
    if stamp := metadata.get("SensorTimestamp"):  # nanoseconds since the start of the system
        return now - timedelta(microseconds=max(0, time.clock_gettime_ns(time.CLOCK_BOOTTIME) - stamp) // 1000)
    return now


def _dng(request: Any) -> bytes:
    file = io.BytesIO()
    request.save_dng(file)
    return file.getvalue()


def _why(error: Exception) -> str:
    """A failure of picamera2 or libcamera in words; their messages are those of the system's error numbers."""
    said = " ".join(f"{type(e).__name__} {e}" for e in _chain(error)).lower()
    if "busy" in said:
        return BUSY
    if "permission" in said:
        return "the camera may not be opened by this user; add the user to the group video and log in again"
    if "no such device" in said or "no camera number" in said or "not found" in said:
        return NONE
    return f"the camera's driver failed ({_first(error)}); try again, or switch the instrument off and on"


def _chain(error: BaseException | None) -> list[BaseException]:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def _first(error: Exception) -> str:
    """The cause at the bottom, short."""
    deepest = _chain(error)[-1]
    return " ".join(str(deepest).split())[:120] or type(deepest).__name__
