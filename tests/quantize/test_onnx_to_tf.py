"""The builder computes what torch computes, and names what it cannot translate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from device.geometry import to_int8
from device.runtime import Network
from quantize.calibration import calibrate
from quantize.convert import int8_operators
from quantize.convert import to_int8 as convert_to_int8
from quantize.errors import CalibrationError, UnsupportedOperatorError
from quantize.export import OPSET, to_onnx
from quantize.onnx_to_tf import Graph
from tests.quantize.conftest import as_tensor
from train.networks.pretrained import NarrowedLite0


class Mixed(nn.Module):
    """Every variant that the family's networks do not have, in one small graph."""

    def __init__(self) -> None:
        super().__init__()
        self.both_sides = nn.Conv2d(3, 8, 3, stride=2, padding=1)  # torch's stride-2 padding is not SAME
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.valid = nn.Conv2d(16, 4, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.both_sides(x))
        x = torch.cat([x, self.dilated(x)], 1)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return F.adaptive_avg_pool2d(self.valid(x), 1)


class Referential(nn.Module):
    """What U-Net and DeepLabV3+ have besides, in one small graph."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pooled = nn.Conv2d(8, 8, 1)
        self.up = nn.ConvTranspose2d(16, 6, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = x.shape[2:]
        x = F.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1)
        image = torch.relu(self.pooled(F.adaptive_avg_pool2d(x, 1)))
        x = self.up(F.max_pool2d(torch.cat([x, image.expand_as(x)], 1), 2))
        return F.interpolate(x, size, mode="bilinear", align_corners=False)


@pytest.mark.parametrize("name", ["segmenter", "classifier"])
def test_same_logits_as_torch(name, request):
    tiny = request.getfixturevalue(name)
    graph = Graph(onnx.load_from_string(tiny.converted.onnx))
    built = graph(tiny.images.astype(np.float32) / 255).numpy()
    with torch.no_grad():
        expected = tiny.network(as_tensor(tiny.images)).numpy()
    expected = expected.transpose(0, 2, 3, 1) if expected.ndim == 4 else expected
    assert built.shape == expected.shape
    np.testing.assert_allclose(built, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


def test_other_variants_compute_what_torch_computes(images):
    torch.manual_seed(0)
    network = Mixed().eval()
    built = Graph(to_onnx(network, 64))(images[:1].astype(np.float32) / 255).numpy()
    with torch.no_grad():
        expected = network(as_tensor(images[:1])).numpy()
    np.testing.assert_allclose(built.transpose(0, 3, 1, 2), expected, rtol=0, atol=1e-5)


def test_operators_of_the_references_compute_what_torch_computes(images):
    torch.manual_seed(0)
    network = Referential().eval()
    graph = Graph(to_onnx(network, 64))
    assert {n.op_type for n in graph.nodes} >= {"ConvTranspose", "Expand", "Resize", "MaxPool", "Concat"}
    with torch.no_grad():
        expected = network(as_tensor(images)).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(graph(images.astype(np.float32) / 255).numpy(), expected, rtol=0, atol=1e-5)
    int8 = convert_to_int8(graph, calibrate(graph, images))
    int8_operators(int8)
    model = Network(int8)
    logits = (model.run(to_int8(images[:1])).astype(float) - model.output.zero_point) * model.output.scale
    assert np.abs(logits - expected[:1]).mean() < 2 * model.output.scale
    assert model.delegated()


def test_a_pretrained_encoder_computes_what_torch_computes(images):
    """Depthwise convolutions of 3 and of 5 pixels, padded as TensorFlow does, and ReLU6, which is fused."""
    network = NarrowedLite0(width=16, depth=4).eval()
    graph = Graph(to_onnx(network, 64))
    assert {n.op_type for n in graph.nodes} >= {"Conv", "Clip", "Relu", "Add"}
    with torch.no_grad():
        expected = network(as_tensor(images)).permute(0, 2, 3, 1).numpy()
    built = graph(images.astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(built, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    operators = int8_operators(convert_to_int8(graph, calibrate(graph, images)))
    assert operators["DEPTHWISE_CONV_2D"] == 11 and not operators.keys() & {"PAD", "RELU6", "MINIMUM"}


def test_groups_of_several_channels_are_refused():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(UnsupportedOperatorError, match="groups of several channels"):
        Graph(to_onnx(network, 8))(np.zeros((1, 8, 8, 3), np.float32))


def test_batch_norm_is_folded(segmenter):
    operators = {n.op_type for n in onnx.load_from_string(segmenter.converted.onnx).graph.node}
    assert "BatchNormalization" not in operators
    assert "Pad" not in operators


def test_unknown_operator_is_named():
    with pytest.raises(UnsupportedOperatorError, match=r"Elu.*Conv"):
        Graph(single_node("Elu"))


@pytest.mark.parametrize(
    ("node", "what"),
    [
        (
            {"op_type": "MaxPool", "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
            "MaxPool.*padding of values that may be negative",
        ),
        ({"op_type": "MaxPool", "kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, "MaxPool.*ceil_mode"),
        ({"op_type": "Reshape"}, "Reshape.*map"),
        ({"op_type": "Clip"}, "Clip.*ReLU6"),
        ({"op_type": "Clip", "inputs": ["image", ""]}, "Clip.*ReLU6"),
    ],
)
def test_unknown_variant_is_named(node, what):
    with pytest.raises(UnsupportedOperatorError, match=what):
        Graph(single_node(**node))(np.zeros((1, 8, 8, 3), np.float32))


def test_weights_that_are_not_finite_are_named():
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    with torch.no_grad():
        network[0].bias[1] = float("nan")
    with pytest.raises(CalibrationError, match=r"0\.bias"):
        to_onnx(network, 8)


def single_node(op_type: str, inputs: Sequence[str] = ("image",), **attributes) -> onnx.ModelProto:
    tensor = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(op_type, inputs, ["logits"], **attributes)
    graph = onnx.helper.make_graph(
        [node], "one", [tensor("image", 1, [1, 3, 8, 8])], [tensor("logits", 1, [1, 3, 8, 8])]
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)])
