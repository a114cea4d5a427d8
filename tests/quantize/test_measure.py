"""The clinical gate, the choice of calibration inputs."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.errors import CalibrationError, ParityError
from quantize.measure import inputs, least_certainty, require_no_loss
from tests.device.eye import SCALE, SIZE, ColourNetwork


@pytest.mark.parametrize("name", ["dice_cup", "auc"])
def test_the_gate_names_the_metric_that_fell(name):
    with pytest.raises(ParityError, match=f"{name} falls from 0.9000"):
        require_no_loss({name: 0.9, "vcdr_mae": 0.1}, {name: 0.87, "vcdr_mae": 0.9})


def test_the_gate_lets_a_gain_and_a_small_loss_pass():
    require_no_loss({"dice_disc": 0.9, "auc": 0.9}, {"dice_disc": 0.897, "auc": 0.95})


def test_the_gate_refuses_nan():
    with pytest.raises(ParityError):
        require_no_loss({"auc": 0.9}, {"auc": float("nan")})


@pytest.mark.parametrize(("samples", "count"), [([], 8), (["a sample"], 0)])
def test_a_missing_calibration_set_is_an_error(samples, count):
    with pytest.raises(CalibrationError, match="calibration set is missing"):
        inputs(None, samples, count)


def test_all_but_one_in_a_hundred_are_well_above_the_least_certainty():
    images = np.zeros((101, SIZE, SIZE, 3), np.uint8)
    images[...] = np.arange(101, dtype=np.uint8)[:, None, None, None] + 110
    assert least_certainty(ColourNetwork(100), images) == pytest.approx(0.95 * (111 - 100) / 2 * SCALE, abs=SCALE)
