"""The device's int8 arithmetic in torch: the same integers as TFLite's reference kernels, and gradients.

Kernels: Jacob et al., CVPR 2018, as ``tensorflow/lite/kernels/internal/reference`` has them. Gradients pass
straight through each rounding (Bengio et al., arXiv:1308.3432), and through the scales to the ranges (Esser et
al., ICLR 2020, "LSQ"). int8 values travel as whole numbers in float tensors, B x C x h x w: torch convolves those,
and the sums are exact below 2**24. On the CPU only: a GPU convolves with fewer bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from quantize.calibration import MIN_RANGE, Ranges
from quantize.errors import CalibrationError, UnsupportedOperatorError
from quantize.onnx_to_tf import RECTIFIERS, Graph

Before = Callable[[onnx.NodeProto, dict[str, Any], Sequence[Any]], None]

LOW, HIGH = -128, 127
MAX_WEIGHT = 127  # weights are symmetric: -127 to 127
MAX_BIAS = (2**31 - 1) // 2
EXACT = 2**24  # float32 holds whole numbers up to here


@dataclass(frozen=True)
class Grid:
    """The int8 grid of a tensor: real = scale * (q - zero point). ``scale`` is a float32 scalar that may carry a
    gradient; ``step`` is its exact value."""

    scale: Tensor
    step: float
    zero_point: int

    @classmethod
    def of(cls, low: Tensor, high: Tensor) -> Grid:
        """The converter's grid for a range that holds zero."""
        a, b = float(low.detach()), float(high.detach())
        step = (b - a) / (HIGH - LOW)
        zero_point = min(max(round(LOW - a / step), LOW), HIGH)
        return cls((high - low) / (HIGH - LOW), float(np.float32(step)), zero_point)


@dataclass(frozen=True)
class Value:
    """An int8 tensor on its grid. ``offset`` is q - zero point."""

    q: Tensor
    grid: Grid

    @property
    def offset(self) -> Tensor:
        return self.q - self.grid.zero_point


class Simulation(nn.Module):  # type: ignore[misc]
    """An exported network that computes as its int8 TFLite file does on the reference kernels.

    Input B x 3 x S x S in [0, 1] (whole multiples of 1/255), result: dequantized logits, B x classes x h x w or
    B x classes. Parameters are the float weights, and for each range the logarithm of its growth since the
    calibration; ``export`` gives both back. Raises UnsupportedOperatorError, naming what it does not simulate.
    """

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        super().__init__()
        unknown = sorted({n.op_type for n in graph.nodes} - OPERATORS.keys())
        if unknown:
            raise UnsupportedOperatorError(
                f"operators without a simulation: {', '.join(unknown)}; quantize with neither fine-tuning, "
                "clipping_images nor correction_images, or add their reference kernels to quantize/simulation.py"
            )
        self.graph = graph
        names = [i for node in graph.nodes if node.op_type in CONVOLUTIONS for i in node.input[1:] if i]
        self.weights = nn.ParameterDict(
            {_key(name): nn.Parameter(torch.tensor(graph.constants[name])) for name in names}
        )
        self.names = list(ranges)
        self.growth = nn.Parameter(torch.zeros(len(ranges)))
        self.register_buffer("calibrated", torch.tensor(list(ranges.values()), dtype=torch.float32))
        relu = {node.input[0]: node.output[0] for node in graph.nodes if node.op_type in RECTIFIERS}
        self.range_of = {name: relu[name] for name in graph.fused} | {name: name for name in ranges}

    def forward(self, image: Tensor, before: Before | None = None) -> Tensor:
        """``before`` sees each node with its attributes and inputs, before it is computed."""
        grids = {name: Grid.of(*pair) for name, pair in zip(self.names, self._ranges())}
        pixels = torch.round(image * (HIGH - LOW)) + LOW
        values: dict[str, Any] = {self.graph.input: Value(pixels, grids[self.graph.input])}
        for node in self.graph.nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [values[i] if i in values else self._constant(i) for i in node.input]
            if before:
                before(node, attributes, inputs)
            name = node.output[0]
            grid = grids.get(self.range_of.get(name, ""))
            values[name] = OPERATORS[node.op_type](attributes, inputs, grid)
        logits: Value = values[self.graph.output]
        real = logits.offset * logits.grid.scale
        return real.flatten(1) if self.graph.vector_output else real

    def export(self) -> tuple[dict[str, Tensor], Ranges]:
        """The float weights by their names in the graph, and the ranges for the converter."""
        weights = {_name(key): value.detach().clone() for key, value in self.weights.items()}
        pairs = self._ranges().detach().tolist()
        return weights, {name: (low, high) for name, (low, high) in zip(self.names, pairs)}

    def _ranges(self) -> Tensor:
        """Low and high of each range (n x 2). A range keeps its zero point, and MIN_RANGE; the input keeps all."""
        width = self.calibrated[:, 1] - self.calibrated[:, 0]
        least = torch.log(MIN_RANGE / width).clamp(max=0)
        learned = torch.tensor([name != self.graph.input for name in self.names], device=width.device)
        return self.calibrated * torch.where(learned, torch.maximum(self.growth, least), 0).exp()[:, None]

    def _constant(self, name: str) -> Any:
        return self.weights[_key(name)] if _key(name) in self.weights else self.graph.constants.get(name)


class _Straight(torch.autograd.Function):  # type: ignore[misc]
    """The value of ``exact`` with the gradient of ``soft``."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, exact: Tensor) -> Tensor:
        return exact.to(soft.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient, None


class _Clamped(torch.autograd.Function):  # type: ignore[misc]
    """The same on int8's range: no gradient where that ends."""

    @staticmethod
    def forward(ctx: Any, soft: Tensor, exact: Tensor, zero_point: int) -> Tensor:
        q = exact + zero_point
        clamped = q.clamp(LOW, HIGH)
        ctx.save_for_backward(q == clamped)
        return clamped.to(soft.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        return gradient * ctx.saved_tensors[0], None, None


def multiplier(real: Sequence[float]) -> tuple[Tensor, Tensor]:
    """``QuantizeMultiplier``: real = m * 2**(shift - 31), m below 2**31; both n x 1 x 1 int64. Raises
    CalibrationError for what is not finite."""
    pairs = []
    for value in real:
        if not math.isfinite(value):
            raise CalibrationError("weights or ranges are not finite: fine-tuning diverged; give it a lower lr")
        fraction, shift = math.frexp(value)
        m = int(fraction * 2**31 + 0.5)
        if m == 2**31:
            m, shift = m // 2, shift + 1
        pairs.append((m, shift) if shift >= -31 else (0, 0))
    m, shift = torch.tensor(pairs).T[:, :, None, None]
    return m, shift


def scaled(x: Tensor, by: tuple[Tensor, Tensor]) -> Tensor:
    """``MultiplyByQuantizedMultiplier`` with its two roundings (half up, then half away from zero), int64."""
    m, shift = by
    left, right = shift.clamp(min=0), (-shift).clamp(min=0)
    high = (x * (m << left)).add_(1 << 30).bitwise_right_shift_(31)
    negative = (high >> 63) * (right > 0)  # -1 or 0
    return high.add_(negative).add_((1 << right) >> 1).bitwise_right_shift_(right)


def _result(soft: Tensor, exact: Tensor, grid: Grid) -> Value:
    """``soft`` and ``exact`` are offsets from the zero point."""
    return Value(_Clamped.apply(soft, exact, grid.zero_point), grid)


@dataclass(frozen=True)
class Convolution:
    """What a node of a convolution or a dense layer computes. ``offset`` is that of ``x``, padded where need be:
    zero is zero there."""

    x: Value
    offset: Tensor
    weight: Tensor
    bias: Tensor | None
    how: dict[str, Any]

    def whole_weights(self) -> tuple[Tensor, Tensor]:
        """The size of a step of each filter, and its weights in steps (``float64``, the weights' type)."""
        weight = self.weight.detach()
        steps = weight.double().abs().amax((1, 2, 3)).clamp(min=1e-30) / MAX_WEIGHT
        if self.bias is not None:  # a filter of next to nothing: the converter coarsens it until its bias fits
            steps = torch.maximum(steps, self.bias.detach().double().abs() / (self.x.grid.step * MAX_BIAS))
        return steps, torch.round(weight / steps[:, None, None, None])

    def accumulate(self, quantized: Tensor, whole: Tensor) -> Tensor:
        """The sums of products, exact."""
        largest_sum = float(whole.abs().sum((1, 2, 3)).max()) * (HIGH - LOW)
        kind = torch.float32 if largest_sum < EXACT else torch.float64
        return F.conv2d(self.offset.to(kind), quantized.to(kind), **self.how)

    def result(self, grid: Grid) -> Value:
        x, bias = self.x, self.bias
        steps, whole = self.whole_weights()
        accumulator = self.accumulate(
            _Straight.apply(self.weight / steps.float()[:, None, None, None], whole), whole
        )
        steps = steps.float().double()  # as the file holds them
        exact = accumulator.detach().long()
        soft = accumulator.float() * (steps.float() * (x.grid.scale / grid.scale))[:, None, None]
        if bias is not None:
            exact = exact + torch.round(bias.detach() / (x.grid.step * steps)).long()[:, None, None]
            soft = soft + (bias / grid.scale)[:, None, None]
        return _result(soft, scaled(exact, multiplier((x.grid.step * steps / grid.step).tolist())), grid)


def _of_conv(attributes: dict[str, Any], inputs: Sequence[Any]) -> Convolution:
    x, weight, bias = (*inputs, None)[:3]
    top, left, bottom, right = attributes.get("pads") or (0, 0, 0, 0)
    how = {
        "stride": attributes.get("strides") or 1,
        "dilation": attributes.get("dilations") or 1,
        "groups": attributes.get("group", 1),
    }
    return Convolution(x, F.pad(x.offset, (left, right, top, bottom)), weight, bias, how)


def _of_gemm(attributes: dict[str, Any], inputs: Sequence[Any]) -> Convolution:
    x, weight, bias = (*inputs, None)[:3]
    weight = weight if attributes.get("transB") else weight.T
    return Convolution(x, x.offset, weight[:, :, None, None], bias, {})


CONVOLUTIONS = {"Conv": _of_conv, "Gemm": _of_gemm}


def sums(kind: str, attributes: dict[str, Any], inputs: Sequence[Any]) -> Tensor:
    """The real values of a convolution's sums, B x C x h x w, before its result is rounded and clipped."""
    convolution = CONVOLUTIONS[kind](attributes, inputs)
    steps, whole = convolution.whole_weights()
    real = convolution.accumulate(whole, whole) * (steps * convolution.x.grid.step).float()[:, None, None]
    return real if convolution.bias is None else real + convolution.bias[:, None, None]


def _conv(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid) -> Value:
    return _of_conv(attributes, inputs).result(grid)


def _gemm(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid) -> Value:
    return _of_gemm(attributes, inputs).result(grid)


def _relu(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid) -> Value:
    """Fused into its input, which is on the result's grid already."""
    (x,) = inputs
    if x.grid is not grid:
        raise UnsupportedOperatorError(
            "a ReLU whose input is used elsewhere too has no simulation; give it an input of its own"
        )
    return Value(x.q.clamp(min=grid.zero_point), grid)


def _relu6(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid) -> Value:
    x = _relu(attributes, inputs[:1], grid)
    return Value(x.q.clamp(max=grid.zero_point + round(6 / grid.step)), grid)


def _sigmoid(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid | None) -> Value:
    (x,) = inputs
    fixed = Grid(x.q.new_tensor(1 / 256), 1 / 256, LOW)
    soft = torch.sigmoid(x.offset * x.grid.scale) * 256
    table = 1 / (1 + torch.exp(-x.offset.detach() * np.float32(x.grid.step)))
    return _result(soft, torch.round(table * 256), fixed)


def _add(attributes: dict[str, Any], inputs: Sequence[Value], grid: Grid) -> Value:
    a, b = inputs
    soft = a.offset * (a.grid.scale / grid.scale) + b.offset * (b.grid.scale / grid.scale)
    twice = 2 * max(a.grid.step, b.grid.step)
    terms = [scaled(v.offset.detach().long() << 20, multiplier([v.grid.step / twice])) for v in (a, b)]
    return _result(soft, scaled(terms[0] + terms[1], multiplier([twice / (2**20 * grid.step)])), grid)


def _mul(attributes: dict[str, Any], inputs: Sequence[Value], grid: Grid) -> Value:
    a, b = inputs
    product = a.offset * b.offset
    real = np.float32(a.grid.step) * np.float32(b.grid.step) / np.float32(grid.step)  # a float in the kernel too
    exact = scaled(product.detach().long(), multiplier([float(real)]))
    return _result(product * (a.grid.scale * b.grid.scale / grid.scale), exact, grid)


def _mean(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid) -> Value:
    x, count = inputs[0], inputs[0].q.shape[2] * inputs[0].q.shape[3]
    total = x.offset.detach().long().sum((2, 3), keepdim=True)
    m, shift = multiplier([x.grid.step / grid.step])
    more = min(count.bit_length() - 1, 32, 31 + int(shift))
    exact = scaled(total, ((m << more) // count, shift - more))
    return _result(x.offset.mean((2, 3), keepdim=True) * (x.grid.scale / grid.scale), exact, grid)


def _max_pool(attributes: dict[str, Any], inputs: Sequence[Value], grid: Grid | None) -> Value:
    if any(attributes.get("pads") or ()):
        raise UnsupportedOperatorError("padded pooling has no simulation; pool without padding")
    x = inputs[0]
    return Value(F.max_pool2d(x.q, attributes["kernel_shape"], attributes["strides"]), x.grid)


def _resize(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid | None) -> Value:
    x, _, scales, sizes = (*inputs, None)[:4]
    height, width = x.q.shape[2:]
    size = sizes[2:] if sizes is not None else (height * scales[2], width * scales[3])
    rows, columns = int(size[0]), int(size[1])
    if attributes["mode"] == b"nearest":
        return Value(F.interpolate(x.q, (rows, columns), mode="nearest"), x.grid)
    exact = _interpolation(height, rows) @ x.q.detach().double() @ _interpolation(width, columns).T
    exact = torch.trunc(exact / 2**20 + 0.5 * torch.where(exact > 0, 1.0, -1.0))
    soft = F.interpolate(x.q, (rows, columns), mode="bilinear", align_corners=False)
    return Value(_Straight.apply(soft, exact), x.grid)


def _interpolation(inputs: int, outputs: int) -> Tensor:
    """Weights (outputs x inputs, in 1024ths) of the bilinear kernel with half-pixel centres."""
    step = (1024 * inputs + outputs // 2) // outputs
    weights = torch.zeros(outputs, inputs, dtype=torch.float64)
    for i in range(outputs):
        place = i * step + step // 2 - 512
        lower, upper = max(place // 1024, 0), min((place + 1023) // 1024, inputs - 1)
        weights[i, lower] += 1024 - (place - 1024 * lower)
        weights[i, upper] += place - 1024 * lower
    return weights


def _expand(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid | None) -> Value:
    x, shape = inputs
    return Value(x.q.expand(-1, -1, int(shape[2]), int(shape[3])), x.grid)


def _same(attributes: dict[str, Any], inputs: Sequence[Any], grid: Grid | None) -> Value:
    x: Value = inputs[0]
    return x


OPERATORS: dict[str, Callable[..., Value]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "Relu": _relu,
    "Clip": _relu6,
    "Sigmoid": _sigmoid,
    "Add": _add,
    "Mul": _mul,
    "MaxPool": _max_pool,
    "ReduceMean": _mean,
    "GlobalAveragePool": _mean,
    "Resize": _resize,
    "Expand": _expand,
    "Unsqueeze": _same,
    "Reshape": _same,
    "Flatten": _same,
}


def _key(name: str) -> str:
    """torch has no dots in names of parameters."""
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
