"""Ranges: real extremes, never too narrow, and an error where there is none."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from quantize.calibration import MIN_RANGE, calibrate
from quantize.errors import CalibrationError
from quantize.onnx_to_tf import Graph
from tests.quantize.conftest import SIZE


@pytest.fixture(scope="module")
def graph(segmenter):
    return Graph(onnx.load_from_string(segmenter.converted.onnx))


def test_ranges_are_the_extremes_over_all_images(graph, images):
    ranges = calibrate(graph, images)
    logits = graph(images.astype(np.float32) / 255).numpy()
    assert ranges[graph.output] == pytest.approx((min(logits.min(), 0), max(logits.max(), 0)), rel=1e-5)
    assert ranges[graph.input] == (0.0, 1.0)


def test_every_range_holds_zero_and_is_wide_enough(graph, images):
    black = calibrate(graph, np.zeros_like(images[:1]))
    assert all(low <= 0 <= high and high - low >= MIN_RANGE * 0.999 for low, high in black.values())


def test_more_images_than_a_batch(graph, images):
    one_more = np.concatenate([images, images[:1]])
    expected = calibrate(graph, images)
    for name, extremes in calibrate(graph, one_more).items():
        assert extremes == pytest.approx(expected[name], rel=1e-5), name


@pytest.mark.parametrize(
    ("shape", "dtype", "what"),
    [
        ((0, SIZE, SIZE, 3), np.uint8, "empty"),
        ((2, 32, 32, 3), np.uint8, "32"),
        ((2, SIZE, SIZE, 3), np.float32, "float32"),
    ],
)
def test_unfit_calibration_sets_are_refused(graph, shape, dtype, what):
    with pytest.raises(CalibrationError, match=what):
        calibrate(graph, np.zeros(shape, dtype))


def test_overflow_is_named(segmenter, images):
    model = onnx.load_from_string(segmenter.converted.onnx)
    for weights in model.graph.initializer:
        if weights.name == "head.conv.weight":
            huge = np.full_like(onnx.numpy_helper.to_array(weights), 3e38)
            weights.CopyFrom(onnx.numpy_helper.from_array(huge, weights.name))
    with pytest.raises(CalibrationError, match="not finite"):
        calibrate(Graph(model), images)
