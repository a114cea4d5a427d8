"""The real camera's code against a stand-in for picamera2, for what libcamera's virtual camera cannot show: sensor
metadata, raw, autofocus, a camera that is taken or lost. The true picamera2 is under hil_tests/virtual_camera."""

import sys
import time
import types

import cv2
import numpy as np
import pytest

from device.camera import Controls, open_camera
from device.camera.picamera2 import PREVIEW, to_rgb
from device.errors import CameraError
from device.language import Translator

SENSOR = (4608, 2592)


class Sensor:
    """A Raspberry Pi camera with autofocus; tests change its attributes."""

    found = ({"Model": "imx708", "Num": 0},)
    fails: Exception | None = None  # when it is opened
    lost = False
    timestamps = True
    delay = 4  # pictures until controls have arrived


class Request:
    def __init__(self, camera, number):
        self.camera, self.number = camera, number

    def get_metadata(self):
        if not Sensor.timestamps:
            return {}
        known = dict(self.camera.active)
        exposure = known.get("ExposureTime") or 20_000
        # This picture was under way for long: its exposure began three pictures ago.
        began = time.clock_gettime_ns(time.CLOCK_BOOTTIME) if self.number > 3 else self.camera.opened
        return {
            "SensorTimestamp": began + exposure * 1000 + 1, "ExposureTime": exposure, "DigitalGain": 1.5,
            "AnalogueGain": known.get("AnalogueGain") or 2.0, "LensPosition": known.get("LensPosition", 4.0),
        }  # fmt: skip

    def save_dng(self, file):
        file.write(b"II*\0 raw data")

    def release(self):
        self.camera.held -= 1


class FakePicamera2:
    camera_controls = {  # noqa: RUF012
        "ExposureTime": (9, 500_000, 20_000), "AnalogueGain": (1.1, 16.0, 1.0), "LensPosition": (0.0, 32.0, 1.0),
        "AfMode": (0, 2, 0),
    }  # fmt: skip
    sensor_resolution = SENSOR
    lores_index = 1

    def __init__(self, number):
        if Sensor.fails:
            raise RuntimeError("Camera __init__ sequence did not complete.") from Sensor.fails
        self.active, self.coming, self.held, self.taken, self.closed = {}, [], 0, 0, False
        self.opened = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        FakePicamera2.last = self

    @staticmethod
    def global_camera_info():
        return list(Sensor.found)

    def create_still_configuration(self, **wanted):
        return {"raw": {"format": "SRGGB10_CSI2P"}, "controls": {"FrameDurationLimits": (100, 10**9)}, **wanted}

    def configure(self, config):
        self.config = config
        for stream in ("main", "lores"):
            config[stream]["stride"] = 0
        space = types.SimpleNamespace(range="Range.Full")
        self.libcamera_config = types.SimpleNamespace(at=lambda i: types.SimpleNamespace(color_space=space))

    def camera_configuration(self):
        return self.config

    def start(self, show_preview):
        assert show_preview is False

    def set_controls(self, controls):
        self.coming.append((self.taken + Sensor.delay, controls))

    def capture_request(self, wait):
        assert 0 < wait < 100
        if Sensor.lost:
            raise TimeoutError
        self.held += 1
        self.taken += 1
        for when, controls in self.coming:
            if self.taken > when:
                self.active.update(controls)
        return Request(self, self.taken)

    def cancel_all_and_flush(self):
        pass

    def close(self):
        self.closed = True


class FakeMappedArray:
    """Green in full, in whatever format is configured."""

    def __init__(self, request, stream, write):
        assert write is False
        config = request.camera.config[stream]
        width, height = config["size"]
        if config["format"] == "BGR888":
            self.array = np.full((height, width, 3), (10, 200, 30), np.uint8)
        else:
            self.array = np.full((height * 3 // 2, width), 128, np.uint8)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        del self.array


@pytest.fixture(autouse=True)
def library(monkeypatch):
    module = types.ModuleType("picamera2")
    module.Picamera2, module.MappedArray = FakePicamera2, FakeMappedArray
    monkeypatch.setitem(sys.modules, "picamera2", module)
    for name in ("found", "fails", "lost", "timestamps", "delay"):
        monkeypatch.setattr(Sensor, name, getattr(Sensor, name))
    return FakePicamera2


def test_a_still_is_whole_and_of_five_megapixels_or_fewer(library):
    with open_camera("picamera2") as camera:
        still, preview = camera.still(), camera.preview()
        height, width = still.pixels.shape[:2]
        assert camera.still_size() == (width, height)
        assert 4.8e6 < width * height <= 5e6 and width / height == pytest.approx(SENSOR[0] / SENSOR[1], rel=0.01)
        assert (still.pixels[0, 0] == (10, 200, 30)).all() and still.pixels.flags.owndata
        assert max(preview.pixels.shape) == PREVIEW and preview.pixels.shape[1] / preview.pixels.shape[0] > 1.7
        assert still.camera == "picamera2 imx708" and still.raw is None
        assert (still.exposure_us, still.gain, still.focus) == (20_000, 3.0, 4.0)
        assert library.last.held == 0  # every request went back
    assert library.last.closed


def test_more_megapixels_on_demand_but_never_more_than_the_sensor_has():
    with open_camera("picamera2?megapixels=50") as camera:
        assert camera.still().pixels.shape[1::-1] == SENSOR


def test_raw_on_demand():
    with open_camera("picamera2") as camera:
        assert camera.still(raw=True).raw == b"II*\0 raw data"


def test_controls_go_to_the_sensor_within_its_limits_and_the_next_picture_has_them(library):
    with open_camera("picamera2") as camera:
        assert library.last.config["controls"]["AfMode"] == 2
        camera.set(Controls(exposure_us=2_000_000, gain=4, focus=10))
        first = camera.preview()
        assert (first.exposure_us, first.gain, first.focus) == (500_000, 6.0, 10.0)
        assert library.last.active["AfMode"] == 0
        camera.set(Controls())
        for _ in range(Sensor.delay + 1):
            camera.preview()
        assert library.last.active == {"ExposureTime": 0, "AnalogueGain": 0.0, "AfMode": 2, "LensPosition": 10.0}


def test_controls_that_a_camera_lacks_are_ignored(library, monkeypatch):
    monkeypatch.setattr(library, "camera_controls", {})
    with open_camera("picamera2") as camera:
        camera.set(Controls(exposure_us=100, gain=4, focus=10))
        camera.preview()
        assert library.last.active == {} and "AfMode" not in library.last.config["controls"]


def test_a_control_that_never_arrives_is_not_waited_for_for_ever():
    Sensor.delay = 10_000
    with open_camera("picamera2") as camera:
        camera.set(Controls(exposure_us=100))
        assert camera.preview().exposure_us == 20_000


@pytest.mark.parametrize("timestamps", [True, False])
def test_the_exposure_of_a_still_began_after_the_call(library, timestamps):
    Sensor.timestamps = timestamps
    with open_camera("picamera2") as camera:
        frame = camera.still()
        assert library.last.taken > 3  # what was under way is not it
        assert (frame.exposure_us is None) == (not timestamps) and frame.time is not None


CASES = {
    "no camera was found": {"found": ()},
    "there is no camera number 1": {"found": ({"Model": "imx708"},)},
    "in use by another program": {"fails": RuntimeError("Failed to acquire camera: Device or resource busy")},
    "add the user to the group video": {"fails": PermissionError(13, "Permission denied")},
    "driver failed .Could not open any dmaHeap device": {
        "fails": RuntimeError("Could not open any dmaHeap device")
    },
}


@pytest.mark.parametrize("said", CASES)
def test_a_camera_that_cannot_be_opened_says_why(said):
    for name, value in CASES[said].items():
        setattr(Sensor, name, value)
    with pytest.raises(CameraError, match=said) as told:
        open_camera("picamera2:1" if "number" in said else "picamera2")
    assert Translator("ja").knows(str(told.value))


def test_a_camera_that_is_unplugged_says_so():
    with open_camera("picamera2") as camera:
        camera.preview()
        Sensor.lost = True
        with pytest.raises(CameraError, match="stopped sending pictures; check its cable"):
            camera.still()
    with pytest.raises(CameraError, match="closed"):
        camera.preview()


def test_a_format_that_cannot_be_read_is_named(library):
    with open_camera("picamera2") as camera:
        library.last.config["main"]["format"] = "P010"
        with pytest.raises(CameraError, match="as P010") as told:
            camera.still()
        assert Translator("ja").knows(str(told.value)) and library.last.held == 0


@pytest.fixture(scope="module")
def picture():
    """A smooth colour picture, RGB: chroma at half resolution loses little of it."""
    y, x = np.mgrid[:96, :128] / 96
    return np.stack([200 * x / 1.34, 40 + 120 * y, 180 - 100 * x], axis=-1).astype(np.uint8)


def padded(array, by=16):
    return np.pad(array, [(0, 0), (0, by)] + [(0, 0)] * (array.ndim - 2))


def planar(picture, layout, full_range):
    """As libcamera lays it out, computed by the definition (ITU-R BT.601)."""
    r, g, b = (picture[..., i].astype(float) for i in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    cb, cr = (128 + (b - luma) * 0.5 / 0.886, 128 + (r - luma) * 0.5 / 0.701)
    if not full_range:
        luma, cb, cr = 16 + luma * 219 / 255, 128 + (cb - 128) * 224 / 255, 128 + (cr - 128) * 224 / 255
    luma, cb, cr = (np.rint(p).astype(np.uint8) for p in (luma, cb, cr))
    cb, cr = (cv2.resize(p, (64, 48), interpolation=cv2.INTER_AREA) for p in (cb, cr))
    if layout in ("NV21", "YVU420"):
        cb, cr = cr, cb
    if layout.startswith("NV"):
        return np.vstack([luma, np.stack([cb, cr], axis=-1).reshape(48, 128)])
    planes = np.vstack([padded(cb, 8), padded(cr, 8)]).reshape(48, 144)  # rows of half the stride
    return np.vstack([padded(luma), planes])


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("layout", ["NV12", "NV21", "YUV420", "YVU420"])
def test_luminance_and_chroma_become_the_colours_that_they_were(picture, layout, full_range):
    rgb = to_rgb(planar(picture, layout, full_range), layout, (128, 96), full_range)
    assert rgb.shape == picture.shape and rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - picture)[2:-2, 2:-2].max() <= 4


@pytest.mark.parametrize("layout", ["BGR888", "RGB888", "XBGR8888", "XRGB8888"])
def test_packed_colours_come_in_the_right_order(picture, layout):
    array = picture if "BGR" in layout else picture[..., ::-1]
    if layout.startswith("X"):
        array = np.dstack([array, np.full(array.shape[:2], 255, np.uint8)])
    rgb = to_rgb(np.ascontiguousarray(array), layout, (128, 96), True)
    assert np.array_equal(rgb, picture) and rgb.flags.c_contiguous and not np.shares_memory(rgb, array)
