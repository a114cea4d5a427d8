"""The live picture, on cameras that work, fail and come back."""

import threading
import time

import numpy as np
import pytest

from device import live
from device.errors import CameraError, StoreError
from device.frame import Frame
from device.live import LivePreview

PICTURE = np.full((48, 64, 3), 90, np.uint8)


class FakeCamera:
    """Delivers grey pictures; ``broken`` holds what is wrong with it."""

    name = "fake"

    def __init__(self) -> None:
        self.broken, self.previews, self.closed = "", 0, False
        self.using = threading.Lock()

    def set(self, controls):
        pass

    def preview(self, deadline=1.0):
        return self._picture()

    def still(self, deadline=10.0, raw=False):
        return self._picture()

    def close(self, deadline=5.0):
        self.closed = True

    def _picture(self):
        assert self.using.acquire(blocking=False), "two threads use the camera at once"
        try:
            self.previews += 1
            time.sleep(0.002)
            if self.broken:
                raise CameraError(self.broken)
            return Frame(PICTURE, camera=self.name)
        finally:
            self.using.release()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(live, "PACE", 0.005)
    monkeypatch.setattr(live, "RETRY", (0.01,))


@pytest.fixture
def camera():
    return FakeCamera()


@pytest.fixture
def preview(camera, quick):
    with LivePreview(camera, coach=lambda pixels: f"coached {pixels.shape}") as p:
        yield p


def newer(preview, after, wanted=lambda live: True):
    """The first live picture after ``after`` that is as wanted; the deadline is a safety net, not a claim."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = preview.latest(after, wait=1)
        if found.sequence > after and wanted(found):
            return found
    raise AssertionError("nothing came")


def test_pictures_come_with_coaching_and_rising_numbers(preview):
    first = newer(preview, 0)
    second = newer(preview, first.sequence)
    assert first.jpeg[:2] == b"\xff\xd8" and first.coaching == "coached (48, 64, 3)" and not first.error
    assert second.sequence > first.sequence and second.camera == "fake"


def test_nobody_looks_and_the_camera_rests(preview, camera, monkeypatch):
    newer(preview, 0)
    monkeypatch.setattr(live, "WATCHED", 0.0)
    preview.latest(wait=0)
    time.sleep(0.2)
    resting = camera.previews
    time.sleep(0.3)
    assert camera.previews <= resting + 1
    monkeypatch.undo()
    assert newer(preview, preview.newest.sequence).jpeg


def test_who_looks_after_a_rest_does_not_see_what_was_before_the_lens_then(preview, camera, monkeypatch):
    newer(preview, 0)
    monkeypatch.setattr(live, "WATCHED", 0.0)
    preview.latest(wait=0)
    end = time.monotonic() + 30
    while preview.newest.pixels is not None:
        assert time.monotonic() < end, "the camera does not rest"
        time.sleep(0.02)
    monkeypatch.undo()
    hanging, go_on = threading.Event(), threading.Event()

    def starting(deadline=1.0):  # a camera takes its time
        hanging.set()
        assert go_on.wait(30)
        return Frame(PICTURE, camera="anew")

    camera.preview = starting
    try:
        assert preview.latest(wait=0).pixels is None
        assert hanging.wait(30)
        found = preview.latest(wait=0)
        assert found.jpeg is found.pixels is found.coaching is None and found.error == ""
    finally:
        go_on.set()
    assert newer(preview, found.sequence, lambda one: one.jpeg).camera == "anew"


def test_a_camera_that_fails_is_told_in_words_and_comes_back(preview, camera):
    newer(preview, 0)
    camera.broken = "the camera was unplugged; plug it in"
    failed = newer(preview, 0, lambda one: one.error)
    assert failed.error == camera.broken and failed.jpeg is failed.coaching is failed.pixels is None
    camera.broken = ""
    assert newer(preview, failed.sequence, lambda one: one.jpeg).error == ""


def test_a_fault_of_the_coach_does_not_end_the_preview(camera, quick):
    faults = iter([ZeroDivisionError("a fault")])

    def coach(pixels):
        for fault in faults:
            raise fault
        return "fine"

    with LivePreview(camera, coach) as preview:
        failed = newer(preview, 0)
        assert "internal error" in failed.error
        assert newer(preview, failed.sequence, lambda one: one.coaching == "fine")


def test_a_record_that_cannot_be_read_is_told_in_its_own_words(camera, quick):
    def controls():
        raise StoreError("the card is gone; put it back")

    with LivePreview(camera, coach=lambda pixels: None, controls=controls) as preview:
        assert newer(preview, 0).error == "the card is gone; put it back"


def test_who_photographs_has_the_camera_alone(preview, camera):
    newer(preview, 0)
    for _ in range(20):  # the fake fails the test where two use it
        with preview.exclusive() as own:
            before = camera.previews
            for _ in range(3):
                own.still()
            assert camera.previews == before + 3
        newer(preview, preview.newest.sequence)


def test_a_press_of_the_button_is_news(preview):
    assert newer(preview, 0).presses == 0
    preview.press()
    assert newer(preview, 0, lambda one: one.presses == 1)


def test_the_beat_stops_with_a_camera_that_hangs(camera, quick):
    hanging, go_on = threading.Event(), threading.Event()

    def hang(deadline=1.0):
        hanging.set()
        go_on.wait(30)
        raise CameraError("it hung")

    camera.preview = hang
    preview = LivePreview(camera, coach=lambda pixels: None)
    try:
        preview.latest(wait=0)
        assert hanging.wait(30)
        assert preview.beats(within=60)
        time.sleep(0.1)
        assert not preview.beats(within=0.05)
    finally:
        go_on.set()
        preview.close()
    assert camera.closed and not preview.beats(within=60)
