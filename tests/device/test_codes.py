"""Codes are read at angles, tilted, noisy and blurred; photographs of the fundus hold none."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from device.codes import read_code
from device.imaging import read_image

LEFT = (
    "0001101",
    "0011001",
    "0010011",
    "0111101",
    "0100011",
    "0110001",
    "0101111",
    "0111011",
    "0110111",
    "0001011",
)
PARITY = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")


def inverse(bars: str) -> str:
    return bars.translate(str.maketrans("01", "10"))


def ean13(digits: str, module: int = 3) -> np.ndarray:
    """A bar code (ISO/IEC 15420) of twelve digits and their check digit, black on white."""
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits)) % 10
    first, *rest = (int(d) for d in f"{digits}{check}")
    left = [LEFT[d] if p == "L" else inverse(LEFT[d])[::-1] for d, p in zip(rest[:6], PARITY[first])]
    bars = "101" + "".join(left) + "01010" + "".join(inverse(LEFT[d]) for d in rest[6:]) + "101"
    row = np.array([255 if b == "0" else 0 for b in "0" * 9 + bars + "0" * 9], np.uint8)
    return np.repeat(np.repeat(row[None], 28 * module, axis=0), module, axis=1)


def qr(text: str, module: int = 6) -> np.ndarray:
    code = cv2.copyMakeBorder(cv2.QRCodeEncoder.create().encode(text), 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    return cv2.resize(code, None, fx=module, fy=module, interpolation=cv2.INTER_NEAREST)


def shown(code, angle=0.0, tilt=0.0, noise=0.0, blur=0.0, seed=0):
    """A code in the middle of a VGA picture, turned by degrees and tilted away at the top."""
    h, w = code.shape
    corners = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    placed = corners - (w / 2, h / 2)
    placed[:2, 0] *= 1 - tilt
    placed = placed @ np.array([[c, s], [-s, c]]) + (320, 240)
    how = cv2.getPerspectiveTransform(corners, placed.astype(np.float32))
    picture = cv2.warpPerspective(code, how, (640, 480), borderValue=110).astype(np.float32)
    if blur:
        picture = cv2.GaussianBlur(picture, (0, 0), blur)
    picture += np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize(
    "text", ["KAN-0012", "a1", "4902102072618", "研究-7", "https://example.org/p?id=KAN-0012"]
)
def test_what_the_code_says_is_read(text):
    assert read_code(shown(qr(text))) == text


@pytest.mark.parametrize("optics", [{}, {"noise": 8, "blur": 1}, {"noise": 15, "blur": 1.5}, {"tilt": 0.3}])
def test_a_qr_code_is_read_at_nearly_every_angle(optics):
    read = [read_code(shown(qr("KAN-0012"), angle, **optics, seed=angle)) for angle in range(0, 360, 24)]
    assert set(read) <= {"KAN-0012", None}
    assert sum(r is not None for r in read) >= 13, read


@pytest.mark.parametrize(
    "optics", [{}, {"angle": 8}, {"angle": -12}, {"angle": 175}, {"angle": 97}, {"noise": 8}, {"blur": 1}]
)
def test_a_bar_code_is_read(optics):
    assert read_code(shown(ean13("490210207261"), **optics)) == "4902102072618"


@pytest.mark.parametrize("size", [(160, 120), (1920, 1440), (4056, 3040)])
def test_pictures_of_every_size_are_read(size):
    big = cv2.resize(shown(qr("KAN-0012", 10)), size, interpolation=cv2.INTER_AREA)
    assert read_code(big) == "KAN-0012"


def test_white_space_is_taken_off_and_what_cannot_be_printed_is_no_code():
    assert read_code(shown(qr("  KAN-0012 \n"))) == "KAN-0012"
    assert read_code(shown(qr("KAN\t0012"))) is None
    assert read_code(shown(qr("\x1b[2J"))) is None


@settings(max_examples=40)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 60), st.integers(1, 60), st.just(3))))
def test_nothing_on_a_picture_makes_it_fail(pixels):
    assert read_code(pixels) is None


def test_half_a_code_is_none():
    picture = shown(qr("KAN-0012", 8))
    picture[:, 330:] = 110
    assert read_code(picture) is None


@pytest.mark.data
def test_photographs_of_the_fundus_hold_no_code(data_root):
    patterns = (
        "drishti_gs1/images/*.jpg",
        "airogs_subset/*/*.jpg",
        "chase_db1/*.jpg",
        "idrid/A_Segmentation/images/*/*.jpg",
    )
    paths = [p for pattern in patterns for p in sorted(data_root.glob(pattern))[::6]]
    assert len(paths) > 50
    assert [p.name for p in paths if read_code(read_image(p).pixels) is not None] == []
