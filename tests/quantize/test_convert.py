"""The int8 model is int8 from end to end, takes pixel - 128, and runs on XNNPACK even with a dead gate."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from device.geometry import to_int8
from device.runtime import Network
from quantize import calibration
from quantize.calibration import calibrate
from quantize.convert import int8_operators
from quantize.convert import to_int8 as convert_to_int8
from quantize.errors import NotInt8Error
from quantize.export import to_onnx
from quantize.onnx_to_tf import Graph
from tests.quantize.conftest import SIZE, as_tensor, segmentation_network


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "segmenter",
            {"ADD": 5, "CONV_2D": 37, "LOGISTIC": 13, "MAX_POOL_2D": 4, "MEAN": 13, "MUL": 13,
             "RESIZE_NEAREST_NEIGHBOR": 4},
        ),
        (
            "classifier",
            {"CONV_2D": 19, "LOGISTIC": 7, "MAX_POOL_2D": 4, "MEAN": 8, "MUL": 7, "RESHAPE": 1},
        ),
    ],
)  # fmt: skip
def test_operators_are_those_of_the_network_and_no_others(name, expected, request):
    """No QUANTIZE, PAD or TRANSPOSE crept in, and all of it is int8."""
    assert request.getfixturevalue(name).converted.operators == expected


def test_input_is_pixel_minus_128(segmenter):
    network = Network(segmenter.converted.int8_tflite)
    assert network.input.scale == pytest.approx(1 / 255, rel=1e-6)
    assert network.input.zero_point == -128
    assert network.output.shape == (1, SIZE // 2, SIZE // 2, 2)


def test_a_float_model_is_refused(segmenter):
    with pytest.raises(NotInt8Error, match="FLOAT32"):
        int8_operators(segmenter.converted.float_tflite)


def test_an_input_of_another_range_is_refused(segmenter, images):
    graph = Graph(onnx.load_from_string(segmenter.converted.onnx))
    ranges = calibrate(graph, images) | {graph.input: (0.0, 2.0)}
    with pytest.raises(NotInt8Error, match="1/255"):
        int8_operators(convert_to_int8(graph, ranges))


def test_a_dead_gate_converts_and_runs_on_xnnpack(images):
    """Its ReLU is zero on every image; the range guard keeps its scale normal."""
    network = dead_gate(images)
    graph = Graph(to_onnx(network, SIZE))
    model = Network(convert_to_int8(graph, calibrate(graph, images)))
    assert model.delegated()
    logits = (model.run(to_int8(images[:1])).astype(float) - model.output.zero_point) * model.output.scale
    with torch.no_grad():
        expected = network(as_tensor(images[:1])).permute(0, 2, 3, 1).numpy()
    assert np.abs(logits - expected).mean() < 4 * model.output.scale


def test_the_guard_is_what_saves_the_dead_gate(images, monkeypatch):
    monkeypatch.setattr(calibration, "MIN_RANGE", 0.0)
    graph = Graph(to_onnx(dead_gate(images), SIZE))
    with pytest.raises(Exception, match=r"XNNPACK|prepare"):
        Network(convert_to_int8(graph, calibrate(graph, images)))


def dead_gate(images: np.ndarray) -> torch.nn.Module:
    network = segmentation_network(images)
    with torch.no_grad():
        network.encoder.levels[0][2].dense.bias.fill_(-100.0)
    return network
