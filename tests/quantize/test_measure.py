"""The clinical gate, the choice of calibration inputs."""

from __future__ import annotations

import pytest

from quantize.errors import CalibrationError, ParityError
from quantize.measure import inputs, require_no_loss


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
