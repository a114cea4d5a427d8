"""The replay camera: order, previews that fit their stills, bad files, videos; on real photographs too."""

import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from device.camera import Controls
from device.camera.replay import PREVIEW, ReplayCamera
from device.errors import CameraError
from device.language import Translator


def write(path, level, size=(200, 150)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), level, np.uint8)).save(path)


def level(frame):
    return round(float(frame.pixels.mean()))


@pytest.fixture
def folder(tmp_path):
    """Three photographs in two folders, and what is none."""
    write(tmp_path / "b" / "2.png", 60)
    write(tmp_path / "a" / "10.png", 30)
    write(tmp_path / "c.png", 90)
    write(tmp_path / ".hidden" / "x.png", 200)
    write(tmp_path / ".x.png", 200)
    write(tmp_path / "a" / "tiny.png", 200, (20, 20))
    (tmp_path / "notes.txt").write_text("no photograph")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200))
    (tmp_path / "empty.png").touch()
    return tmp_path


def test_photographs_come_in_order_and_again(folder):
    with ReplayCamera(folder) as camera:
        seen = [camera.still() for _ in range(7)]
    assert [level(f) for f in seen] == [90, 30, 60, 90, 30, 60, 90]
    assert seen[1].source == str(folder / "a" / "10.png") and seen[1].camera == "replay"
    assert seen[0].laterality == "unknown" and seen[0].raw is None


def test_the_size_of_a_still_is_known_before_it_is_taken(tmp_path):
    write(tmp_path / "1.png", 30, (300, 150))
    write(tmp_path / "2.png", 60, (160, 200))
    with ReplayCamera(tmp_path, repeat=2) as camera:
        for expected in ((300, 150), (300, 150), (160, 200), (160, 200), (300, 150)):
            assert camera.still_size() == camera.still_size() == expected
            height, width = camera.still().pixels.shape[:2]
            assert (width, height) == expected


def test_what_cannot_be_read_is_passed_over_and_told_once(folder, caplog):
    with caplog.at_level(logging.WARNING), ReplayCamera(folder) as camera:
        for _ in range(9):
            camera.still()
    names = sorted(path.rsplit("/", 1)[1] for path in camera.passed_over)
    assert names == ["broken.jpg", "empty.png", "notes.txt", "tiny.png"]
    assert "not a JPEG, PNG" in camera.passed_over[str(folder / "notes.txt")]
    assert len(caplog.records) == 4 and "passes over" in caplog.text


def test_a_preview_is_what_the_next_still_will_be(folder):
    with ReplayCamera(folder) as camera:
        for expected in (90, 30, 60, 90):
            assert [level(camera.preview()) for _ in range(3)] == [expected] * 3
            assert level(camera.still()) == expected


def test_each_photograph_may_be_given_several_times(folder):
    with ReplayCamera(folder, repeat=2) as camera:
        assert [level(camera.still()) for _ in range(5)] == [90, 90, 30, 30, 60]
        assert level(camera.preview()) == 60 == level(camera.still())
        assert level(camera.preview()) == 90


def test_previews_are_small_and_stills_whole(tmp_path):
    write(tmp_path / "x.png", 50, (1600, 1200))
    with ReplayCamera(tmp_path / "x.png") as camera:
        camera.set(Controls(gain=2))  # ignored
        assert camera.preview().pixels.shape == (480, PREVIEW, 3)
        assert camera.still().pixels.shape == (1200, 1600, 3) == camera.still().pixels.shape


def test_a_photograph_that_vanishes_is_passed_over(folder):
    with ReplayCamera(folder) as camera:
        (folder / "a" / "10.png").unlink()
        assert [level(camera.still()) for _ in range(3)] == [90, 60, 90]
    assert "cannot be opened" in camera.passed_over[str(folder / "a" / "10.png")]


def test_a_folder_without_photographs_says_why(tmp_path):
    for expected in ("it is empty", "not a JPEG"):
        with pytest.raises(CameraError, match=expected) as told:
            ReplayCamera(tmp_path)
        assert Translator("ja").knows(str(told.value))
        (tmp_path / "notes.txt").write_text("no photograph")


def test_a_closed_or_late_camera_says_so(folder):
    camera = ReplayCamera(folder)
    with pytest.raises(CameraError, match="longer than"):
        camera.still(deadline=0)
    camera.close()
    camera.close()
    for picture in (camera.preview, camera.still):
        with pytest.raises(CameraError, match="closed"):
            picture()


@pytest.fixture
def video(tmp_path):
    """Five frames, each brighter than the one before."""
    path = tmp_path / "eye.avi"
    film = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for number in range(5):
        film.write(np.full((240, 320, 3), (10, 10, 40 * number + 20), np.uint8))  # blue, green, red
    film.release()
    return path


def test_a_video_runs_in_previews_and_a_still_is_what_was_shown(video):
    def red(frame):
        assert abs(float(frame.pixels[..., 2].mean()) - 10) < 6  # blue stayed blue
        return round((float(frame.pixels[..., 0].mean()) - 20) / 40)

    with ReplayCamera(video) as camera:
        assert [red(camera.preview()) for _ in range(3)] == [0, 1, 2]
        still = camera.still()
        assert red(still) == 2 and still.source == f"{video}#3"
        assert red(camera.still()) == 3 and red(camera.preview()) == 4
        assert [red(camera.preview()) for _ in range(2)] == [0, 1]  # from the beginning


def test_a_damaged_video_is_explained(tmp_path):
    path = tmp_path / "eye.mp4"
    path.write_bytes(bytes(3000))
    with pytest.raises(CameraError, match="no video that can be read") as told:
        ReplayCamera(path)
    assert Translator("ja").knows(str(told.value))


@pytest.mark.data
def test_real_photographs(data_root):
    from device.field import find_field
    from device.quality import assess

    with ReplayCamera(data_root / "drishti_gs1" / "images") as camera:
        for _ in range(3):
            preview, still = camera.preview(10), camera.still()
            assert preview.source == still.source
            assert max(preview.pixels.shape) <= PREVIEW < max(still.pixels.shape)
            small, large = (assess(f.pixels, find_field(f.pixels)) for f in (preview, still))
            assert abs(small.score - large.score) < 0.25  # what the preview says holds for the still
