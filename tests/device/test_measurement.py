"""Measurements against shapes whose quantities are known."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device import measurement, segmentation
from device.geometry import Square
from device.localization import locate, most_probable
from device.segmentation import GROWN, Region, certain_pieces, certainty, clean, regions


def ellipse(w, h, cx=200.0, cy=200.0, size=400, angle=0.0):
    mask = np.zeros((size, size), np.uint8)
    return cv2.ellipse(mask, ((cx, cy), (w, h), angle), 255, -1)


def star(radius, points=9, size=400):
    turns = np.linspace(0, 2 * np.pi, 2 * points, endpoint=False)
    reach = np.where(np.arange(2 * points) % 2, radius, radius * 0.4)
    corners = size / 2 + reach[:, None] * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return cv2.fillPoly(np.zeros((size, size), np.uint8), [corners.astype(np.int32)], 255)


def region(mask, share=1.0):
    return Region(mask, 0, 0, share)


def faults(disc, cup, shape=(400, 400)):
    return measurement.disc_faults(region(disc), region(cup), shape)


@settings(max_examples=30)
@given(st.integers(40, 200), st.integers(40, 200), st.floats(0, 180), st.floats(150, 250), st.floats(150, 250))
def test_an_ellipse_is_fitted_by_itself(w, h, angle, cx, cy):
    fitted = segmentation.ellipse(region(ellipse(w, h, cx, cy, angle=angle))).mask
    drawn = ellipse(w * GROWN, h * GROWN, cx, cy, angle=angle)
    assert np.count_nonzero(fitted != drawn) <= 2 * (
        w + h
    )  # a pixel of the border, which OpenCV draws outside of it
    assert np.count_nonzero(fitted) == pytest.approx(np.pi / 4 * w * h * GROWN**2, rel=4 / min(w, h))


def test_a_fitted_disc_does_not_follow_a_vessel():
    disc = ellipse(100, 120)
    bitten = cv2.line(disc.copy(), (200, 200), (200, 130), 0, 12)
    fitted = segmentation.ellipse(Region(bitten, 7, 9, 0.98))
    assert (fitted.x, fitted.y, fitted.share) == (7, 9, 0.98) and fitted.mask.shape == disc.shape
    inner, bite = ellipse(90, 110) > 0, (disc > 0) & (bitten == 0)
    assert fitted.mask[inner].all() and fitted.mask[bite].mean() > 0.75 * 255
    assert set(np.unique(fitted.mask)) == {0, 255}


def test_what_lies_beyond_the_window_is_cut():
    cut = segmentation.ellipse(region(ellipse(100, 100, cx=45)))
    assert cut.mask[200, 0] == 255 and cut.box()[0] == 0


@settings(max_examples=30)
@given(st.integers(40, 200), st.integers(40, 200), st.floats(0.2, 0.9), st.floats(0.2, 0.9))
def test_ratios_are_those_of_the_ellipses(w, h, across, down):
    m = measurement.measure_disc(region(ellipse(w, h)), region(ellipse(w * across, h * down)))
    assert m.vcdr == pytest.approx(down, abs=3 / h)
    assert m.hcdr == pytest.approx(across, abs=3 / w)
    assert m.area_cdr == pytest.approx(across * down, abs=4 / min(w, h))


def test_rim_by_quadrant_follows_the_eye():
    disc, cup = ellipse(100, 100), ellipse(50, 50, cx=220, cy=200)  # the rim is thin on the right
    by_eye = {
        eye: measurement.measure_disc(region(disc), region(cup), eye).rim_disc_ratio
        for eye in ("OD", "OS", "unknown")
    }
    assert by_eye["OD"]["nasal"] == by_eye["OS"]["temporal"] == by_eye["unknown"]["right"]
    assert by_eye["OD"]["nasal"] < by_eye["OD"]["superior"] < by_eye["OD"]["temporal"]
    assert by_eye["OD"]["superior"] == pytest.approx(by_eye["OD"]["inferior"], abs=0.03)
    assert set(by_eye["unknown"]) == {"inferior", "superior", "left", "right"}


def test_plausible_anatomy_has_no_fault():
    assert faults(ellipse(80, 90), ellipse(40, 45)) == []
    assert faults(ellipse(60, 95), ellipse(30, 40)) == []  # tilted, as in high myopia


@pytest.mark.parametrize(
    ("disc", "cup", "word"),
    [
        (ellipse(0, 0) * 0, ellipse(0, 0) * 0, "no optic disc"),
        (ellipse(80, 90), ellipse(0, 0) * 0, "no cup"),
        (ellipse(80, 90), ellipse(80, 90), "as high as the disc"),
        (ellipse(80, 90), ellipse(2, 3), "too small"),
        (ellipse(160, 40), ellipse(60, 20), "times as high as wide"),
        (ellipse(80, 90) & ~ellipse(50, 30, cx=180, cy=200), ellipse(20, 30), "ragged"),
        (ellipse(100, 100, cx=0), ellipse(40, 50, cx=20), "cut off"),
        (ellipse(100, 100, cy=399), ellipse(40, 50, cy=380), "cut off"),
    ],
)
def test_every_implausible_anatomy_is_named(disc, cup, word):
    assert any(word in f for f in faults(disc, cup))


def test_pieces_are_named():
    disc, cup = ellipse(80, 90), ellipse(40, 45)
    assert "disc falls into pieces" in measurement.disc_faults(region(disc, 0.6), region(cup), (400, 400))[0]
    assert "cup falls into pieces" in measurement.disc_faults(region(disc), region(cup, 0.4), (400, 400))[0]


@settings(max_examples=30)
@given(st.floats(20, 180), st.floats(0.5, 1.0), st.floats(0, 180))
def test_faz_of_an_ellipse(major, ratio, angle):
    a, b = major / 2, major * ratio / 2
    faz = measurement.measure_faz(region(ellipse(2 * a, 2 * b, angle=angle)), 0.01)
    around = math.pi * (3 * (a + b) - math.sqrt((3 * a + b) * (a + 3 * b)))  # Ramanujan
    assert faz.perimeter / 0.01 == pytest.approx(around, rel=0.03, abs=3)
    assert faz.area / 1e-4 == pytest.approx(math.pi * a * b, abs=0.8 * around)  # painted half a pixel wider
    assert faz.axis_ratio == pytest.approx(1 / ratio, rel=0.12 if major < 60 else 0.05)
    assert 0 < faz.circularity <= 1


def test_a_larger_circle_is_no_less_circular():
    for d in (20, 60, 180, 360):
        assert measurement.measure_faz(region(ellipse(d, d)), None).circularity > 0.94


@pytest.mark.parametrize(
    ("mask", "mm_per_px", "word"),
    [
        (ellipse(0, 0) * 0, None, "no foveal"),
        (ellipse(399, 399), None, "of the picture"),
        (ellipse(60, 60, cx=380), None, "far from the middle"),
        (ellipse(60, 60), 0.1, "field size"),
        (ellipse(150, 40), None, "too long"),
        (star(80), None, "too ragged"),
    ],
)
def test_every_implausible_zone_is_named(mask, mm_per_px, word):
    assert any(word in f for f in measurement.faz_faults(region(mask), (400, 400), mm_per_px))
    assert measurement.faz_faults(region(ellipse(60, 60)), (400, 400), 0.0075) == []


def test_millimetres_need_a_square_picture():
    zone = region(ellipse(60, 60))
    assert measurement.faz_faults(zone, (400, 440), None) == []
    assert any("not square" in f for f in measurement.faz_faults(zone, (400, 440), 0.0075))


def test_certainty_is_the_mean_logit_of_what_is_inside():
    logits = np.full((10, 10), -30, np.int8)
    assert certainty(logits, -20, 0.5) == 0.0
    logits[2:4], logits[4] = 0, 40
    assert certainty(logits, -20, 0.5) == pytest.approx((2 * 10 + 30) / 3)


def test_pieces_with_a_certain_pixel_stay_whole():
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0:3] = mask[1, 3] = 255  # joined at a corner
    mask[3:5, 1:3] = mask[5, 5:8] = 255
    certain = np.zeros_like(mask)
    certain[1, 3] = certain[5, 7] = certain[3, 6] = 255  # the last is outside of all pieces
    expected = mask.copy()
    expected[3:5, 1:3] = 0
    np.testing.assert_array_equal(certain_pieces(mask, certain), expected)
    assert not certain_pieces(mask, np.zeros_like(mask)).any()
    np.testing.assert_array_equal(certain_pieces(mask, mask), mask)


def test_clean_keeps_the_largest_and_fills_it():
    mask = ellipse(100, 100)
    mask[190:210, 190:210] = 0  # a hole
    mask[10:30, 10:40] = 255  # a crumb of 600 pixels
    cleaned = clean(region(mask))
    assert np.array_equal(cleaned.mask, ellipse(100, 100))
    assert cleaned.share == pytest.approx(1 - 600 / (600 + np.count_nonzero(ellipse(100, 100))), abs=2e-3)


def test_regions_outside_of_the_photograph_are_cut():
    logits = np.full((8, 8, 2), 50, np.int8)
    logits[..., 1] = -50
    disc, cup = regions(logits, 0, Square(-50, 60, 100), (100, 80))
    assert disc.in_image((100, 80)).sum() == 255 * 50 * 40 and disc.box() == (0, 60, 50, 40)
    assert cup.area == 0


def test_the_most_probable_region_wins_not_the_largest():
    logits = np.full((40, 40), -3.0, np.float32)
    logits[2:12, 2:22] = 0.5  # 100
    logits[25:33, 25:33] = 4.0  # 256
    mask, share = most_probable(logits)
    assert mask[28, 28] and not mask[5, 5] and share == pytest.approx(256 / 356)
    disc = locate(logits, Square(100, 50, 400), 40)
    assert (disc.cx, disc.cy) == (390, 340)
    assert disc.diameter == pytest.approx(2 * math.sqrt(64 / math.pi) * 10)
    assert locate(logits * 0 - 1, Square(0, 0, 40), 40) is None


@settings(max_examples=20)
@given(st.integers(2, 8), st.floats(20, 60), st.floats(20, 60), st.integers(0, 7))
def test_an_enlarged_outline_covers_as_much(times, w, h, missing):
    """Also where the last row and column of the photograph have no whole block of pixels."""
    small = Region(ellipse(w, h, 99.0 - w / 2, 50.0, size=100)[:, 40:], 40, 0)  # it touches the right edge
    shape = (100 * times - missing % times, 100 * times - missing % times)
    grown = small.enlarged(times, shape)
    mask = grown.in_image(shape)
    assert set(np.unique(mask)) == {0, 255}
    assert grown.area == pytest.approx(times**2 * small.area, rel=0.05)
    assert np.array(grown.box()) == pytest.approx(times * np.array(small.box()), abs=times)
