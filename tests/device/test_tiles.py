"""Tiles cover what of the field of view is in the photograph, each pixel once, and scale with it."""

from __future__ import annotations

import numpy as np
import pytest

from device import tiles
from device.geometry import Square


@pytest.mark.parametrize(
    ("field", "shape"),
    [
        (Square(60, 10, 180), (200, 300)),
        (Square(-20, -30, 400), (300, 350)),  # reaches outside on every side
        (Square(0, 0, 2448), (2448, 2448)),
        (Square(5, 5, 8), (40, 40)),  # hardly there
    ],
)
def test_parts_cover_the_field_once(field, shape):
    times = np.zeros(shape, int)
    for tile, part in tiles.over(field, shape, 192):
        times[part] += 1
        rows, columns = tiles.within(tile, part)
        assert 0 < rows.start < rows.stop < tile.side and 0 < columns.start < columns.stop < tile.side
    expected = np.zeros(shape, int)
    y, x = max(field.y, 0), max(field.x, 0)
    expected[y : field.y + field.side, x : field.x + field.side] = 1
    assert np.array_equal(times, expected)


def test_a_larger_photograph_has_larger_tiles_not_more():
    sides, counts = [], []
    for scale in (1, 3):
        field = Square(100 * scale, 0, 820 * scale)
        sides.append(tiles.side_of(field, 192))
        counts.append(len(list(tiles.over(field, (820 * scale, 1024 * scale), 192))))
    assert sides == [192, 576] and counts == [36, 36]
