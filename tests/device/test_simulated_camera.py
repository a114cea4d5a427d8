"""The simulated camera: seeded, obeying its optics, closing."""

import cv2
import numpy as np
import pytest

from device.camera import Camera
from device.camera.simulated import Eye, Optics, SimulatedCamera
from device.errors import CameraError
from device.field import find_field


def test_the_same_seed_gives_the_same_eye_and_another_seed_another():
    first, again, other = (SimulatedCamera(seed=s, size=256) for s in (1, 1, 2))
    assert np.array_equal(first.still().pixels, again.still().pixels)
    assert first.eye == again.eye != other.eye


def test_frames_carry_what_a_camera_knows():
    camera: Camera = SimulatedCamera(Eye("OS", 0.5), size=512)
    still, preview = camera.still(), camera.preview()
    assert still.pixels.shape == (512, 512, 3) and still.pixels.dtype == np.uint8
    assert preview.pixels.shape == (128, 128, 3)
    assert (still.laterality, still.camera) == ("OS", "simulated")
    assert still.time is not None and still.exposure_us is not None


@pytest.mark.parametrize(("laterality", "right"), [("OD", True), ("OS", False)])
def test_the_disc_is_on_the_nasal_side_and_as_cupped_as_the_eye(laterality, right):
    eye = Eye(laterality, vcdr=0.6, disc_height=0.18)
    green = SimulatedCamera(eye, size=768).still().pixels[..., 1]
    _, _, _, (x, y) = cv2.minMaxLoc(cv2.GaussianBlur(green, (0, 0), 8))
    assert (x > 384) == right and abs(y - 384) < 40
    column = green[:, x - 8 : x + 9].mean(axis=1)
    assert np.ptp(np.flatnonzero(column > 0.8 * column.max())) / 768 == pytest.approx(0.6 * 0.18, rel=0.25)


def test_optics_do_what_they_say():
    camera = SimulatedCamera(seed=4, size=384)

    def seen(**optics):
        camera.optics = Optics(noise=0, **optics)
        return camera.still().pixels.astype(float)

    def sharpness(image, axis):
        return np.abs(np.diff(image[60:-60, 60:-60, 1], axis=axis)).mean()

    plain = seen()
    assert sharpness(seen(defocus=0.02), 0) < 0.5 * sharpness(plain, 0)
    smeared = seen(motion=0.06)
    assert sharpness(smeared, 1) / sharpness(plain, 1) < 0.75 * sharpness(smeared, 0) / sharpness(plain, 0)
    assert seen(exposure=0.5).mean() == pytest.approx(plain.mean() / 2, rel=0.05)
    assert seen(off_axis=0.8)[:, 300:340].mean() < 0.3 * plain[:, 300:340].mean()
    lid = seen(eyelid=0.4)
    assert lid[:120].mean() < 0.5 * plain[:120].mean() and np.allclose(lid[220:], plain[220:], atol=2)
    assert (seen(dust=9) < plain - 15).any()


def test_noise_differs_from_picture_to_picture():
    camera = SimulatedCamera(seed=0, size=256)
    assert not np.array_equal(camera.still().pixels, camera.still().pixels)


def test_the_field_of_view_is_found():
    assert find_field(SimulatedCamera(seed=5, size=512).still().pixels).square.side == pytest.approx(492, abs=8)


def test_a_closed_or_late_camera_says_so():
    with SimulatedCamera(size=256) as camera:
        with pytest.raises(CameraError, match="longer than"):
            camera.still(deadline=0)
        camera.preview()
    with pytest.raises(CameraError, match="closed"):
        camera.still()
    camera.close()
