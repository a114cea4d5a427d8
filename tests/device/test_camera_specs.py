"""Cameras by name: what a spec may say, and what is told where it is wrong."""

import sys

import pytest

from device.camera import Camera, open_camera, parse_spec
from device.camera.simulated import Optics, SimulatedCamera
from device.errors import CameraError, TenohiraError, UsageError
from device.language import Translator


@pytest.mark.parametrize(
    ("text", "kind", "what", "options"),
    [
        ("picamera2", "picamera2", "", {}),
        ("picamera2:1?megapixels=8", "picamera2", "1", {"megapixels": "8"}),
        ("replay:/a b/c:d", "replay", "/a b/c:d", {}),
        ("replay:photographs?repeat=3", "replay", "photographs", {"repeat": "3"}),
        ("simulated:7?defocus=0.02&dust=3", "simulated", "7", {"defocus": "0.02", "dust": "3"}),
    ],
)
def test_a_spec_is_taken_apart(text, kind, what, options):
    spec = parse_spec(text)
    assert (spec.kind, spec.what, spec.options) == (kind, what, options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "give one of picamera2"),
        ("webcam", "give one of picamera2"),
        ("replay", "give a folder or a video"),
        ("picamera2:first", "give one, as in picamera2:0"),
        ("simulated?haze=1", "has no option 'haze'; it has: seed, size"),
        ("simulated?dust=many", "give one, as in dust=1"),
        ("simulated?size=1", "from 128 to 4096"),
        ("simulated?defocus=-1", "give a value from 0 to 100"),
    ],
)
def test_a_wrong_spec_says_what_is_right(text, said):
    with pytest.raises(UsageError, match=said) as told:
        open_camera(text)
    assert Translator("ja").knows(str(told.value)), told.value


def test_options_reach_the_simulated_camera():
    camera = open_camera("simulated:7?defocus=0.02&dust=3&size=200")
    assert isinstance(camera, SimulatedCamera)
    assert camera.optics == Optics(defocus=0.02, dust=3) and camera.still().pixels.shape == (200, 200, 3)
    assert camera.eye == SimulatedCamera(seed=7).eye == open_camera("simulated?seed=7").eye


def test_without_picamera2_the_way_to_it_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="apt install python3-picamera2") as told:
        open_camera("picamera2")
    assert Translator("ja").knows(str(told.value))


@pytest.mark.parametrize("text", ["simulated:/no/such/photograph.png", "replay:/no/such/folder"])
def test_what_is_not_there_is_explained(text):
    with pytest.raises(TenohiraError) as told:
        camera: Camera = open_camera(text)
        camera.close()
    assert isinstance(told.value, CameraError) and Translator("ja").knows(str(told.value))
