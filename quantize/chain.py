"""The chain itself: torch -> ONNX -> TensorFlow -> float and int8 TFLite, each stage checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from quantize import convert
from quantize.calibration import Ranges, calibrate
from quantize.export import to_onnx
from quantize.onnx_to_tf import Graph
from quantize.parity import Check, compare_chain

Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Converted:
    """The models of every stage, the int8 model's operators (name -> count) and the parity checks."""

    onnx: bytes
    float_tflite: bytes
    int8_tflite: bytes
    operators: dict[str, int]
    checks: list[Check]


@dataclass(frozen=True)
class Tuned:
    """What the int8 network alone has: ranges that were narrowed, or trained in int8 arithmetic, and weights and
    biases by their names in the graph, corrected or trained."""

    ranges: Ranges
    weights: Mapping[str, torch.Tensor] = field(default_factory=dict)


def convert_network(
    network: torch.nn.Module,
    size: int,
    calibration: Images,
    parity: Images,
    tuned: Tuned | None = None,
    scattered: bool = False,
) -> Converted:
    """Convert a trained network, with ranges from the ``calibration`` images and checks on the ``parity`` images
    (each N x S x S x 3 ``uint8``). The int8 model is made with what was ``tuned``; ``scattered`` as in
    ``compare_chain``. The checks are not enforced here: ``parity.require`` does that, after they were reported.
    Raises UnsupportedOperatorError, CalibrationError or NotInt8Error."""
    exported = to_onnx(network, size)
    graph = Graph(exported)
    floating = convert.to_float(graph)
    if tuned:
        graph.constants |= {name: weight.numpy() for name, weight in tuned.weights.items()}
    int8 = convert.to_int8(graph, tuned.ranges if tuned else calibrate(graph, calibration))
    operators = convert.int8_operators(int8)
    serialized = exported.SerializeToString()
    checks = compare_chain(network, serialized, floating, int8, parity, scattered)
    return Converted(serialized, floating, int8, operators, checks)


def int8_unchecked(network: torch.nn.Module, size: int, calibration: Images) -> bytes:
    """The int8 model alone, int8 from end to end but without parity checks: for networks whose answers nobody
    uses, such as a benchmark's peers. Raises as ``convert_network`` does."""
    graph = Graph(to_onnx(network, size))
    int8 = convert.to_int8(graph, calibrate(graph, calibration))
    convert.int8_operators(int8)
    return int8
