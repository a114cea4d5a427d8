"""The field of view in photographs of every shape that cameras and exports make of it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from device.field import blocks, find_field


def fundus(height: int, width: int, centre: tuple[int, int], radius: int, surround: int = 0) -> np.ndarray:
    image = np.full((height, width, 3), surround, np.uint8)
    cv2.circle(image, centre, radius, (170, 70, 30), -1)
    rng = np.random.default_rng(0)
    return np.clip(image + rng.integers(0, 6, image.shape), 0, 255).astype(np.uint8)


def near(square, centre, side, tolerance):
    assert abs(square.x + square.side / 2 - centre[0]) <= tolerance
    assert abs(square.y + square.side / 2 - centre[1]) <= tolerance
    assert abs(square.side - side) <= 2 * tolerance


@pytest.mark.parametrize("scale", [1, 2, 5])
def test_a_disc_on_black_at_any_size(scale):
    image = fundus(400 * scale, 500 * scale, (260 * scale, 190 * scale), 150 * scale)
    field = find_field(image)
    near(field.square, (260 * scale, 190 * scale), 300 * scale, 5 * scale)
    assert not field.fills_frame


def test_a_field_that_is_cut_above_and_below():
    field = find_field(fundus(400, 560, (280, 200), 240))
    near(field.square, (280, 200), 480, 6)
    assert not field.fills_frame


def test_a_surround_with_a_pedestal_and_a_label():
    image = fundus(400, 560, (280, 200), 170, surround=22)
    cv2.putText(image, "OD 45", (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
    near(find_field(image).square, (280, 200), 340, 6)


def test_a_white_bar_beside_the_field_is_no_retina():
    image = fundus(400, 560, (300, 200), 170)
    image[:, :30] = 255
    near(find_field(image).square, (300, 200), 340, 6)


@pytest.mark.parametrize(("gap", "radius", "second"), [(20, 170, 1.0), (60, 120, 0.5), (60, 40, 0.055)])
def test_another_field_beside_it_is_told(gap, radius, second):
    image = fundus(400, 400 + gap + 2 * radius, (190, 200), 170)
    cv2.circle(image, (390 + gap + radius - 20, 200), radius, (170, 70, 30), -1)
    field = find_field(image)
    assert field.second == pytest.approx(second, abs=0.05)
    assert find_field(fundus(400, 500, (190, 200), 170)).second == 0


def test_a_dark_photograph_still_has_a_field():
    image = (fundus(400, 400, (200, 200), 170) * 0.25).astype(np.uint8)
    near(find_field(image).square, (200, 200), 340, 8)


def test_a_crop_fills_its_frame():
    field = find_field(fundus(300, 280, (140, 150), 600))
    assert field.fills_frame
    assert (field.square.side, field.square.y) == (300, 0)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_even_picture_gives_the_whole_frame(value):
    field = find_field(np.full((200, 300, 3), value, np.uint8))
    assert field.square.side == 300


def test_a_picture_of_odd_size():
    image = fundus(401, 563, (280, 200), 170)
    near(find_field(image).square, (280, 200), 340, 6)


@pytest.mark.parametrize("k", range(1, 8))
def test_blocks_are_means_of_whole_blocks(k):
    image = np.random.default_rng(k).integers(0, 256, (20 * k + k - 1, 30 * k + k // 2, 3), np.uint8)
    small, size = blocks(image, 30)
    exact = image[: 20 * k, : 30 * k].reshape(20, k, 30, k, 3).mean(axis=(1, 3))
    assert size == k and small.shape == (20, 30, 3)
    assert np.abs(small - exact).max() <= 0.5
