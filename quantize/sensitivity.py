"""Where int8 loses: the signal-to-quantization-noise ratio (SQNR) of every operator of the int8 network.

SQNR = 10 log10(sum x^2 / sum (y - x)^2) in dB, x an operator's output in the float network and y in the int8
network, over all values of some images: 20 dB is a noise of a tenth of the signal. Two figures each. *Own*: the
operator is given the float network's values, rounded to its int8 inputs; what is lost is its own (its weights, its
inputs' and its output's steps). *Total*: the int8 network as it runs, with all that was lost before.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]  # comes with ai-edge-litert
import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from device.geometry import to_int8
from quantize import convert, tflite
from quantize.errors import ParityError
from quantize.onnx_to_tf import Graph

CAP = 100.0  # dB: no noise at all, or nothing but noise
BLUE, ORANGE = "#0072b2", "#d55e00"  # Okabe and Ito
NAMED = 5  # of the worst operators, in messages and in the plot

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Noise:
    """One operator: its position in the network (0 is the first), kind, layer (of the last weights up to it) and
    output shape; ``own`` and ``total`` SQNR in dB, within +-CAP."""

    position: int
    kind: str
    layer: str
    shape: tuple[int, ...]
    own: float
    total: float

    def __str__(self) -> str:
        return f"{self.kind} {self.layer} ({self.own:.1f} dB)"

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return asdict(self)


@dataclass(frozen=True)
class _Operator:
    kind: str
    inputs: tuple[int, ...]
    output: int
    shape: tuple[int, ...]


def operator_noise(graph: Graph, int8_model: bytes, images: npt.NDArray[np.uint8]) -> list[Noise]:
    """The noise of every operator over N x S x S x 3 ``uint8`` images, that with the lowest own SQNR first.

    ``graph`` is the float network, with the channels as large as in the int8 model (quantize.equalization). Raises
    ParityError where the two are not the same operators in the same order, so that nothing could be compared.
    """
    float_model = convert.to_float(graph)
    floating, int8 = _operators(float_model), _operators(int8_model)
    if [(o.kind, o.shape) for o in floating] != [(o.kind, o.shape) for o in int8]:
        raise ParityError(
            "the operators of the float and the int8 TFLite model differ, so the noise of none can be measured; "
            "the converter has fused them differently: see quantize/convert.py"
        )
    layers = _layers(graph, float_model, floating)
    exact = _interpreter(float_model, keep=True)
    whole = _interpreter(int8_model, keep=True)
    loose = _interpreter(_cut_loose(int8_model), keep=False)
    steps = {d["index"]: d["quantization"] for d in whole.get_tensor_details()}
    extra = [d["index"] for d in loose.get_input_details()][1:]  # in the order of the operators
    results = [d["index"] for d in loose.get_output_details()]
    sums = np.zeros((len(int8), 3))  # of x^2, own and total (y - x)^2
    for image in images:
        given = to_int8(image)[None]
        _run(exact, image[None].astype(np.float32) / np.float32(255))
        _run(whole, given)
        values = [exact.get_tensor(o.output) for o in floating]
        for index, operator, x in zip(extra, int8, values):
            loose.set_tensor(index, _quantized(x, steps[operator.output]))
        _run(loose, given)
        for i, (operator, x) in enumerate(zip(int8, values)):
            step = steps[operator.output]
            own = _real(loose.get_tensor(results[i]), step) - x
            total = _real(whole.get_tensor(operator.output), step) - x
            sums[i] += [float(np.square(v, dtype=np.float64).sum()) for v in (x, own, total)]
    noises = [
        Noise(i, o.kind, layers[i], o.shape, _decibels(signal, own), _decibels(signal, total))
        for i, (o, (signal, own, total)) in enumerate(zip(int8, sums))
    ]
    return sorted(noises, key=lambda noise: noise.own)


def plot(path: Path, noises: Sequence[Noise], name: str) -> None:
    """Both figures along the network ``name``, the worst operators named. A PNG."""
    ordered = sorted(noises, key=lambda noise: noise.position)
    position = [n.position for n in ordered]
    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    axes.plot(position, [n.total for n in ordered], color=BLUE, lw=1.5, label="the network as it runs")
    axes.plot(position, [n.own for n in ordered], "o", ms=5, color=ORANGE, label="this operator alone")
    worst = noises[:NAMED]
    axes.plot([n.position for n in worst], [n.own for n in worst], "o", ms=11, mfc="none", mec=ORANGE)
    for i, n in enumerate(worst, 1):
        axes.annotate(
            str(i),
            (n.position, n.own),
            (0, -8),
            textcoords="offset points",
            color=ORANGE,
            weight="bold",
            ha="center",
            va="top",
        )
    axes.set_xlabel("operators, from the image (left) to the answer (right)")
    axes.set_ylabel("signal to quantization noise, dB (higher is better)")
    axes.set_title(f"{name}: how far int8 departs from float, operator by operator", fontsize=11, loc="left")
    axes.spines[["top"]].set_visible(False)
    percent = axes.secondary_yaxis("right", functions=(_percent, _from_percent))
    percent.set_ylabel("noise, % of the signal")
    low, high = axes.get_ylim()
    percent.set_yticks(
        [p for p in (300, 100, 30, 10, 3, 1, 0.3, 0.1, 0.03, 0.01) if low < _from_percent(p) < high]
    )
    percent.yaxis.set_major_formatter("{x:g}")
    named = "\n".join(["Lose most on their own:", *(f"{i}  {n}" for i, n in enumerate(worst, 1)), ""])
    figure.legend(
        title=named, title_fontsize=9, fontsize=9, frameon=False, loc="outside right upper", alignment="left"
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _percent(decibels: Any) -> Any:
    """Noise as a share of the signal (root of the ratio of powers), in %."""
    return 100 * 10 ** (-np.asarray(decibels, np.float64) / 20)


def _from_percent(percent: Any) -> Any:
    return -20 * np.log10(np.maximum(percent, 1e-9) / 100)


def _operators(model: bytes) -> list[_Operator]:
    parsed = tflite.parse(model)
    (graph,) = parsed.subgraphs
    found = []
    for name, operator in zip(tflite.operators(parsed), graph.operators):
        (output,) = operator.outputs
        inputs, shape = (tuple(map(int, numbers)) for numbers in (operator.inputs, graph.tensors[output].shape))
        found.append(_Operator(name, inputs, int(output), shape))
    return found


def _cut_loose(model: bytes) -> bytes:
    """The model with each operator on its own: it reads its activations from further inputs of the graph (one for
    each operator's output, in the order of the operators), and its output is an output of the graph."""
    parsed = tflite.parse(model)
    (graph,) = parsed.subgraphs
    results = [int(operator.outputs[0]) for operator in graph.operators]
    given = {}
    for index in results:
        given[index] = len(graph.tensors)
        graph.tensors.append(copy.copy(graph.tensors[index]))
    for operator in graph.operators:
        operator.inputs = [given.get(int(i), int(i)) for i in operator.inputs]
    graph.inputs = [*graph.inputs, *given.values()]
    graph.outputs = results
    parsed.signatureDefs = []
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _layers(network: Graph, float_model: bytes, operators: Sequence[_Operator]) -> list[str]:
    """Name of the layer of each operator: the weights that it holds (told by their values, as an order may
    change), else those of the operator before."""
    names = {
        form.tobytes(): name.removesuffix(".weight").removesuffix(".conv")
        for name, array in network.constants.items()
        for form in _forms(array)
    }
    parsed = tflite.parse(float_model)
    (graph,) = parsed.subgraphs
    layers, last = [], ""
    for operator in operators:
        for index in operator.inputs:
            data = None if index < 0 else parsed.buffers[graph.tensors[index].buffer].data
            last = last if data is None else names.get(np.asarray(data, np.uint8).tobytes(), last)
        layers.append(last)
    return layers


def _forms(weight: Array) -> Iterator[Array]:
    """How TFLite holds a weight of an ONNX Conv, ConvTranspose or Gemm."""
    if weight.ndim == 4:
        yield weight.transpose(0, 2, 3, 1)
        yield weight.transpose(1, 2, 3, 0)
    elif weight.ndim == 2:
        yield weight
        yield weight.T


def _interpreter(model: bytes, keep: bool) -> Any:
    """On the built-in kernels: what XNNPACK computes inside of its partition cannot be read."""
    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=keep,
    )
    interpreter.allocate_tensors()
    return interpreter


def _run(interpreter: Any, image: Array) -> None:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()


def _quantized(x: Array, step: tuple[float, int]) -> npt.NDArray[np.int8]:
    scale, zero_point = step
    steps: npt.NDArray[np.int8] = np.clip(np.rint(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
    return steps


def _real(y: npt.NDArray[np.int8], step: tuple[float, int]) -> npt.NDArray[np.float32]:
    scale, zero_point = step
    return (y.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return CAP
    return float(np.clip(10 * math.log10(signal / noise), -CAP, CAP)) if signal else -CAP
