"""The simulated camera: seeded, obeying its optics, closing."""

import cv2
import numpy as np
import pytest

from device.camera import Camera, Controls
from device.camera.simulated import Eye, Optics, SimulatedCamera
from device.errors import CameraError
from device.field import find_field
from device.frame import Frame
from device.imaging import read_image
from device.quality import assess


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


def test_exposure_gain_and_focus_do_what_they_do_on_a_camera():
    camera = SimulatedCamera(seed=4, optics=Optics(noise=0), size=256)
    plain = camera.still()
    camera.set(Controls(exposure_us=5000))
    dark = camera.still()
    assert dark.pixels.mean() == pytest.approx(plain.pixels.mean() / 2, rel=0.05) and dark.exposure_us == 5000
    camera.set(Controls(exposure_us=5000, gain=2))
    assert camera.still().pixels.mean() == pytest.approx(plain.pixels.mean(), rel=0.02)
    camera.set(Controls(focus=3))
    blurred = camera.still()
    assert blurred.focus == 3 and np.abs(np.diff(blurred.pixels[60:-60, 60:-60, 1].astype(int))).mean() < (
        0.7 * np.abs(np.diff(plain.pixels[60:-60, 60:-60, 1].astype(int))).mean()
    )
    camera.set(Controls())
    assert np.array_equal(camera.still().pixels, plain.pixels)


def test_dust_stays_where_it_is():
    camera = SimulatedCamera(seed=0, optics=Optics(noise=0, dust=5), size=256)
    assert np.array_equal(camera.still().pixels, camera.still(raw=True).pixels)


def test_a_preview_shows_what_the_still_will():
    camera = SimulatedCamera(seed=6, optics=Optics(noise=0, off_axis=0.5, eyelid=0.2, dust=3), size=1024)
    preview, still = camera.preview().pixels, camera.still().pixels
    reduced = cv2.resize(still, preview.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced.astype(int) - preview).mean() < 3


def photograph(size=600, left=100):
    """A round field with sharp stripes, beside the middle of a wide picture."""
    pixels = np.zeros((size, size + left, 3), np.uint8)
    stripes = np.where(np.arange(size) // 12 % 2, 150, 90)[:, None, None] * np.array([1, 0.5, 0.3])
    y, x = np.mgrid[:size, :size]
    inside = np.hypot(x - size / 2, y - size / 2) < 0.45 * size
    pixels[:, left:] = np.where(inside[..., None], np.broadcast_to(stripes, (size, size, 3)), 0)
    return pixels


def test_a_photograph_takes_the_place_of_the_drawn_eye():
    frame = Frame(photograph(), laterality="OS", source="x.png")
    camera = SimulatedCamera(photograph=frame, optics=Optics(noise=0), size=512)
    still = camera.still()
    assert (still.laterality, still.source) == ("OS", "x.png")
    field = find_field(still.pixels)
    assert field.square.side == pytest.approx(2 * 0.48 * 512, abs=10)
    assert field.square.x + field.square.side / 2 == pytest.approx(256, abs=5)
    assert still.pixels[..., 0][150:360, 150:360].std() > 15  # the stripes are there

    camera.optics = Optics(noise=0, defocus=0.03)
    blurred = camera.still().pixels
    assert blurred[..., 0][150:360, 150:360].std() < 6
    middle, edge = blurred[256, 256, 0], blurred[256, 256 + 240, 0]
    assert abs(int(middle) - int(edge)) < 25  # the edge of the field stays sharp and light

    camera.optics = Optics(noise=0, eyelid=0.4)
    assert camera.still().pixels[60:150].mean() < 0.6 * still.pixels[60:150].mean()


@pytest.mark.data
def test_a_real_fundus_degrades_as_the_optics_say(data_root):
    """The grade of a real photograph falls with each fault, and its cause is the fault."""

    def graded(camera, **optics):
        camera.optics = Optics(**optics)
        pixels = camera.still().pixels
        return assess(pixels, find_field(pixels))

    pictures = sorted((data_root / "drishti_gs1" / "images").iterdir())[:8]
    cameras = [SimulatedCamera(photograph=read_image(p)) for p in pictures]
    camera = max(cameras, key=lambda c: graded(c).score)  # several of the set are dark or soft by themselves
    plain = graded(camera)
    assert plain.grade != "reject"
    for cause, optics in {
        "defocus": {"defocus": 0.02}, "motion": {"motion": 0.06}, "under-exposure": {"exposure": 0.12},
        "over-exposure": {"exposure": 5},
    }.items():  # fmt: skip
        bad = graded(camera, **optics)
        assert bad.score < plain.score and bad.cause == cause, (cause, bad)
