"""The choice of calibration inputs, and what an outlined disc is at least certain of."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.errors import CalibrationError
from quantize.measure import inputs, least_certainty
from tests.device.eye import SCALE, SIZE, ColourNetwork


@pytest.mark.parametrize(("samples", "count"), [([], 8), (["a sample"], 0)])
def test_a_missing_calibration_set_is_an_error(samples, count):
    with pytest.raises(CalibrationError, match="calibration set is missing"):
        inputs(None, samples, count)


def test_all_but_one_in_a_hundred_are_well_above_the_least_certainty():
    images = np.zeros((101, SIZE, SIZE, 3), np.uint8)
    images[...] = np.arange(101, dtype=np.uint8)[:, None, None, None] + 110
    assert least_certainty(ColourNetwork(100), images) == pytest.approx(0.95 * (111 - 100) / 2 * SCALE, abs=SCALE)
