"""Pre-processing and its way back: what the network sees, and where its answer lies in the photograph."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.geometry import Square, crop, mask_in_image, network_input, resize, to_int8


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(st.floats(-50, 500), st.floats(-50, 500), st.floats(0.1, 900))
def test_squares_are_even_and_centred(cx, cy, side):
    square = Square.around(cx, cy, side)
    assert square.side % 2 == 0 and abs(square.side - side) <= 2
    assert abs(square.x + square.side / 2 - cx) <= 0.5 and abs(square.y + square.side / 2 - cy) <= 0.5


@given(st.integers(1, 900), st.integers(1, 900))
def test_the_whole_square_holds_the_picture(height, width):
    square = Square.whole(height, width)
    assert square.x <= 0 and square.y <= 0
    assert square.x + square.side >= width and square.y + square.side >= height
    assert square.side <= max(height, width) + 1


def test_a_crop_beyond_the_picture_is_black_there():
    image = noise(40, 60)
    cut = crop(image, Square(-10, 20, 50))
    np.testing.assert_array_equal(cut[:20, 10:], image[20:, :40])
    assert not cut[:, :10].any() and not cut[20:].any()
    assert not crop(image, Square(100, 100, 20)).any()


def test_a_crop_inside_copies_nothing():
    image = noise(40, 60)
    assert crop(image, Square(5, 5, 20)).base is image


@pytest.mark.parametrize("side", [192, 193, 500, 768, 1000, 1024, 2046, 3504])
def test_shrinking_is_an_area_average(side):
    image = cv2.GaussianBlur(noise(side, side), (0, 0), side / 300)
    exact = cv2.resize(image.astype(np.float64), (192, 192), interpolation=cv2.INTER_AREA)
    assert np.abs(resize(image, 192) - exact).max() <= 4


@pytest.mark.parametrize("side", [64, 200, 1024])
def test_the_mean_is_kept(side):
    image = noise(side, side)
    assert resize(image, 96).mean() == pytest.approx(image.mean(), abs=1)


def test_int8_is_the_pixel_less_128():
    image = noise(8, 8)
    np.testing.assert_array_equal(to_int8(image), image.astype(np.int16) - 128)


@pytest.mark.parametrize("grid", [48, 96])
@pytest.mark.parametrize("square", [Square(100, 60, 120), Square(-40, -30, 200), Square(150, 100, 300)])
def test_a_mask_comes_back_to_where_it_was_seen(grid, square):
    """A disc in a photograph, seen at any grid size and answered with its own logits, lies where it was."""
    height, width = 240, 320
    image = np.zeros((height, width, 3), np.uint8)
    cv2.circle(image, (165, 115), 40, (255, 255, 255), -1)
    seen = network_input(image, square, grid)[..., 0].astype(np.int16)
    logits = np.clip(seen - 128 + 5, -128, 127).astype(np.int8)  # half covered pixels lie at the zero point
    back = mask_in_image(logits, 5, square, (height, width))
    inside = np.zeros((height, width), bool)
    x0, y0 = max(square.x, 0), max(square.y, 0)
    inside[y0 : square.y + square.side, x0 : square.x + square.side] = True
    wanted = (image[..., 0] > 0) & inside
    overlap = 2 * (wanted & (back > 0)).sum() / (wanted.sum() + (back > 0).sum())
    assert overlap > 0.97
    assert set(np.unique(back)) <= {0, 255} and not back[~inside].any()
