"""Coaching: the live picture asks for the right thing, the focus bar rises while focusing, nothing flickers."""

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from device import coaching, quality
from device.camera.simulated import Optics, SimulatedCamera
from device.coaching import CAUSES, MOVE, SHADOW, TIPS, Coach, Coaching, coach
from device.imaging import read_image
from device.language import Translator
from device.quality import Quality

SETS = (
    "acrima/images/*",
    "refuge_crops/images/*",
    "drishti_gs1/images/*",
    "airogs_subset/*/*.jpg",
    "palm_disc/JPEGImages/*",
    "idrid/A_Segmentation/images/*/*",
    "idrid/B_Disease_Grading/images_512/*/*",
    "chase_db1/*.jpg",
)


def frame(width=640, height=480, **optics):
    """A preview as a camera gives it: the round field in a wide picture."""
    eye = SimulatedCamera(optics=Optics(**optics), seed=3, size=height).still().pixels
    picture = np.full((height, width, 3), 1, np.uint8)
    left = (width - height) // 2
    picture[:, left : left + height] = eye
    return picture


def shifted(picture, dx, dy):
    height, width = picture.shape[:2]
    return cv2.warpAffine(picture, np.float32([[1, 0, dx], [0, 1, dy]]), (width, height))


def previews(data_root: Path, side: int = 480, each: int = 3):
    """Real photographs of every camera, with a shorter side of ``side`` pixels."""
    for pattern in SETS:
        paths = sorted(data_root.glob(pattern))
        for path in paths[5 :: len(paths) // each][:each]:
            pixels = read_image(path).pixels
            scale = side / min(pixels.shape[:2])
            yield path, cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def test_a_good_frame_is_ready_and_its_circle_is_found():
    seen = coach(frame())
    assert seen.ready and seen.tip == "" and seen.quality.grade == "good"
    assert seen.centre == pytest.approx((0.5, 0.5), abs=0.01)
    assert seen.radius == pytest.approx(0.48, abs=0.01)
    assert seen.focus > 2 / 3


@pytest.mark.parametrize(
    ("optics", "tip"),
    [
        ({"exposure": 0.05}, coaching.AIM),
        ({"exposure": 0.3}, CAUSES[quality.UNDER]),
        ({"exposure": 4}, CAUSES[quality.OVER]),
        ({"defocus": 0.025}, CAUSES[quality.DEFOCUS]),
        ({"motion": 0.08}, CAUSES[quality.MOTION]),
        ({"off_axis": 1.0}, SHADOW["right"]),
    ],
)
def test_each_fault_is_told_with_its_remedy(optics, tip):
    seen = coach(frame(**optics))
    assert (seen.tip, seen.ready) == (tip, False)


@pytest.mark.parametrize(
    ("turn", "side"),
    [(lambda p: p, "right"), (np.fliplr, "left"), (np.rot90, "up"), (lambda p: np.rot90(p, 3), "down")],
)
def test_the_shadow_is_told_on_the_side_where_it_is(turn, side):
    lid = {CAUSES[quality.LID]} if side in ("up", "down") else set()  # what hides a third from above is a lid
    assert coach(np.ascontiguousarray(turn(frame(480, 480, off_axis=1.0)))).tip in {SHADOW[side], *lid}


@pytest.mark.parametrize(("way", "dx", "dy"), [("left", -1, 0), ("right", 1, 0), ("up", 0, -1), ("down", 0, 1)])
@pytest.mark.parametrize("reach", [0.18, 0.25, 0.35])
def test_the_camera_moves_to_where_the_field_of_view_appears(way, dx, dy, reach):
    seen = coach(shifted(frame(800, 480), dx * reach * 480, dy * reach * 480))
    assert seen.tip == MOVE[way]
    expected = 0.5 + dx * reach * 480 / 800, 0.5 + dy * reach
    assert seen.centre == pytest.approx(expected, abs=0.03)  # though part of it is cut off


def test_a_small_circle_is_too_far_away():
    small = cv2.resize(frame(480, 480), (240, 240), interpolation=cv2.INTER_AREA)
    picture = np.full((480, 640, 3), 1, np.uint8)
    picture[120:360, 200:440] = small
    seen = coach(picture)
    assert seen.tip == coaching.CLOSER and seen.radius == pytest.approx(0.24, abs=0.02)


def test_two_eyes_in_view_are_not_ready():
    seen = coach(np.concatenate([frame(480, 480), np.ones((480, 60, 3), np.uint8), frame(480, 480)], axis=1))
    assert not seen.ready and seen.quality.cause == quality.SEVERAL
    assert seen.tip in (CAUSES[quality.SEVERAL], *MOVE.values())  # each field lies off the middle


def test_what_is_no_retina_is_not_ready():
    rng = np.random.default_rng(0)
    for picture in (
        np.zeros((480, 640, 3), np.uint8),
        np.full((480, 640, 3), 255, np.uint8),
        np.full((480, 640, 3), 120, np.uint8),
        rng.integers(0, 256, (480, 640, 3), dtype=np.uint8),
        np.full((480, 640, 3), (180, 60, 30), np.uint8),
    ):
        seen = coach(picture)
        assert not seen.ready and seen.tip in TIPS and seen.focus <= 1


@settings(max_examples=60)
@given(
    arrays.arrays(
        np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3)), elements=st.integers(0, 255)
    )
)
def test_nothing_in_a_frame_makes_it_fail(pixels):
    seen = coach(pixels)
    assert 0 <= seen.focus <= 1
    assert seen.ready == (seen.tip == "") and seen.tip in ("", *TIPS)


@pytest.mark.parametrize("noise", [1.5, 8])
def test_the_focus_bar_falls_with_defocus(noise):
    bars = [coach(frame(defocus=d, noise=noise)).focus for d in (0.001, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04)]
    assert bars == sorted(bars, reverse=True) and bars[0] > bars[-1] + 0.5


@pytest.mark.data
@pytest.mark.parametrize("noise", [0, 6])
def test_the_focus_bar_falls_with_defocus_on_every_real_photograph(noise, data_root):
    """Each photograph is blurred in steps, as by a lens that is turned, and then gets the sensor's noise."""
    rng = np.random.default_rng(1)
    for path, sharp in previews(data_root):
        bars = []
        for blur in (0, 1, 2, 3, 4.5, 6, 8, 10):  # pixels of 480
            picture = cv2.GaussianBlur(sharp, (0, 0), blur) if blur else sharp
            grainy = np.clip(picture + rng.normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
            bars.append(coach(grainy).focus)
        steps = np.diff(bars)
        assert steps.max() <= 0.02, (path.name, bars)  # never up by what an eye would notice
        assert bars[0] - bars[-1] > 0.2, (path.name, bars)


@pytest.mark.data
def test_a_preview_is_judged_like_its_photograph(data_root):
    """The same real photograph at preview sizes: scores stay close, so what is ready passes as a still."""
    for path, large in previews(data_root, 512):
        still = coach(large).quality
        for side in (256, 320, 400):
            small = coach(cv2.resize(large, None, fx=side / 512, fy=side / 512, interpolation=cv2.INTER_AREA))
            assert abs(small.quality.score - still.score) < 0.1, (path.name, side)
            assert small.quality.grade != "reject", path.name


def said(tip: str) -> Coaching:
    return Coaching(Quality("good", 1.0, "", ""), 0.5, None, None, tip, not tip)


@given(st.lists(st.sampled_from(["", *TIPS[:3]]), max_size=80))
def test_what_is_said_never_changes_twice_within_three_frames(tips):
    one = Coach()
    shown = [one.steady(said(tip)).tip for tip in tips]
    changes = [i for i in range(1, len(shown)) if shown[i] != shown[i - 1]]
    assert all(b - a >= 3 for a, b in pairwise(changes))


def test_two_causes_in_turn_do_not_flicker_and_a_lasting_one_is_followed():
    one = Coach()
    shown = {one.steady(said(TIPS[i % 2])).tip for i in range(40)}
    assert shown == {TIPS[0]}
    shown = [one.steady(said(TIPS[3])).tip for _ in range(5)]
    assert shown[-1] == TIPS[3]


def test_the_focus_bar_is_smoothed_and_ready_follows_the_tip():
    one = Coach()
    one.see(frame(defocus=0.02))
    dull = one.see(frame(defocus=0.02))
    assert not dull.ready
    sharp = one.see(frame())
    assert dull.focus < sharp.focus < coach(frame()).focus
    assert not sharp.ready and one.see(frame()) and one.see(frame()) and one.see(frame()).ready


def test_every_tip_is_short_names_cause_and_remedy_and_is_translated():
    japanese = Translator("ja")
    for tip in TIPS:
        assert len(tip) <= 80 and ": " in tip and tip.endswith(".")
        assert japanese.knows(tip) and japanese(tip) != tip
