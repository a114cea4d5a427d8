"""torch computes the integers of the reference kernels for every shipped bundle, and trains through them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from device import bundle
from device.geometry import resize, to_int8
from device.runtime import Network
from quantize import tflite
from quantize.calibration import MIN_RANGE, calibrate
from quantize.convert import to_int8 as convert_to_int8
from quantize.errors import UnsupportedOperatorError
from quantize.export import to_onnx
from quantize.onnx_to_tf import RECTIFIERS, Graph
from quantize.simulation import CONVOLUTIONS, Simulation, multiplier, scaled
from tests.device.eye import paint
from tests.quantize.conftest import SIZE, as_tensor
from train.networks.pretrained import NarrowedLite0
from train.networks.unet import UNet
from train.run import RELEASED, load_run

KINDS = {
    "Conv": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Gemm": ("CONV_2D",),
    "Add": ("ADD",),
    "Mul": ("MUL",),
    "ReduceMean": ("MEAN",),
    "Sigmoid": ("LOGISTIC",),
    "MaxPool": ("MAX_POOL_2D",),
    "Resize": ("RESIZE_NEAREST_NEIGHBOR",),
}


@pytest.mark.parametrize("path", sorted(bundle.SHIPPED.glob("*.tnh")), ids=lambda path: path.name)
def test_every_shipped_bundle_to_the_bit(path):
    """From the released network's graph, and the bundle's ranges and weights, which were corrected."""
    shipped = bundle.load(path)
    run = load_run(RELEASED / shipped.manifest.name)
    graph = Graph(to_onnx(run.network, run.recipe.size))
    ranges, weights = from_file(shipped.model, graph)
    graph.constants |= weights  # corrected ones are nowhere else
    simulation = Simulation(graph, ranges).eval()
    eye = resize(paint(), run.recipe.size)[None]
    close_up = resize(paint(200, (100, 100), (90, 100), (40, 50)), run.recipe.size)[None]
    noise = np.random.default_rng(0).integers(0, 256, eye.shape, np.uint8)
    golden = (shipped.golden_input.astype(np.int16) + 128).astype(np.uint8)
    network = Network(shipped.model, reference=True)
    for image in (golden, eye, close_up, noise):
        worst = np.abs(run_simulation(simulation, network, image) - network.run(to_int8(image)))
        assert worst.max() <= 1
        assert (worst > 0).mean() < 1e-3  # 0 where this was written


@pytest.mark.parametrize("name", ["segmenter", "classifier"])
def test_a_network_through_the_chain(name, request):
    tiny = request.getfixturevalue(name)
    graph = Graph(to_onnx(tiny.network, SIZE))
    simulation = Simulation(graph, calibrate(graph, tiny.images)).eval()
    compare(simulation, tiny.converted.int8_tflite, tiny.images)


@pytest.mark.parametrize("wider", [1.0, 1.5])
def test_depthwise_convolutions_of_a_pretrained_encoder(images, wider):
    """Also where a range reaches beyond the 6 at which ReLU6 ends, as a trained one may."""
    torch.manual_seed(0)
    graph = Graph(to_onnx(NarrowedLite0(width=16, depth=4).eval(), SIZE))
    ranges = {name: (low * wider, high * wider) for name, (low, high) in calibrate(graph, images).items()}
    ranges[graph.input] = (0.0, 1.0)
    compare(Simulation(graph, ranges).eval(), convert_to_int8(graph, ranges), images)


class Resizing(torch.nn.Module):
    """What the shipped bundles do not have: bilinear resizing, a pooled value over a map, logits of any sign."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, 2, padding=1)
        self.second = torch.nn.Conv2d(8, 2, 1)

    def forward(self, x):
        y = F.interpolate(self.first(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.second(y + y.mean((2, 3), keepdim=True).expand_as(y))


def test_bilinear_resizing_and_expansion(images):
    torch.manual_seed(0)
    network = Resizing()
    with torch.no_grad():
        network.first.weight[0] = 0  # a filter that training left empty
    graph = Graph(to_onnx(network, SIZE))
    ranges = calibrate(graph, images)
    compare(Simulation(graph, ranges).eval(), convert_to_int8(graph, ranges), images)


def test_sums_beyond_float32_are_exact(images):
    """A 1 x 1 convolution of 1024 channels, all bright."""

    class Wide(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.widen, self.join = torch.nn.Conv2d(3, 1024, 1), torch.nn.Conv2d(1024, 1, 1)

        def forward(self, x):
            return self.join(torch.relu(self.widen(x)))

    torch.manual_seed(0)
    network = Wide()
    with torch.no_grad():
        network.widen.weight.abs_()
        network.join.weight.copy_(0.5 + 0.5 * torch.rand_like(network.join.weight))
    graph = Graph(to_onnx(network, SIZE))
    ranges = calibrate(graph, images)
    compare(Simulation(graph, ranges).eval(), convert_to_int8(graph, ranges), images)


def test_requantization_is_the_reference_arithmetic():
    """Against the kernels' own words: a doubling high product, rounded, then a rounding division."""

    def reference(x: int, m: int, shift: int) -> int:
        product = (x << max(shift, 0)) * m
        nudge = 2**30 if product >= 0 else 1 - 2**30
        high = abs(product + nudge) // 2**31 * (1 if product + nudge >= 0 else -1)  # C divides towards zero
        right = max(-shift, 0)
        remainder, mask = high & (2**right - 1), 2**right - 1
        return (high >> right) + (remainder > (mask >> 1) + (high < 0))

    rng = np.random.default_rng(0)
    for real in (0.5, 0.25, 1.0, 3.7, 1e-3, 2e-9, 1e-12, *rng.uniform(0, 0.01, 20)):
        x = np.concatenate([rng.integers(-(2**24), 2**24, 200), [0, 1, -1, 2, -2, 3, -3, 6, -6]])
        m, shift = multiplier([real])
        ours = scaled(torch.from_numpy(x)[None, :, None], (m, shift)).flatten().tolist()
        assert ours == [reference(int(v), int(m), int(shift)) for v in x]


def test_gradients_are_those_of_the_float_network(segmenter):
    graph = Graph(to_onnx(segmenter.network, SIZE))
    simulation = Simulation(graph, calibrate(graph, segmenter.images))
    x = as_tensor(segmenter.images)
    name = "decoder.3.0.0.conv.weight"
    simulation(x).square().mean().backward()
    ours = simulation.weights[name.replace(".", "/")].grad.flatten()
    parameter = segmenter.network.get_parameter(name)
    (theirs,) = torch.autograd.grad(segmenter.network(x).square().mean(), parameter)
    # BatchNorm scales each filter on the way; the direction within a filter stays
    filters = zip(ours.reshape(parameter.shape).flatten(1), theirs.flatten(1))
    assert np.median([float(torch.cosine_similarity(a, b, 0)) for a, b in filters]) > 0.95


def test_a_range_learns_but_keeps_its_least_width_and_the_input_stays(segmenter):
    graph = Graph(to_onnx(segmenter.network, SIZE))
    ranges = calibrate(graph, segmenter.images)
    simulation = Simulation(graph, ranges)
    simulation(as_tensor(segmenter.images)).square().mean().backward()
    gradient = dict(zip(simulation.names, simulation.growth.grad.tolist()))
    assert gradient[graph.output] != 0 and gradient[graph.input] == 0
    with torch.no_grad():
        simulation.growth.fill_(-50.0)
    _, shrunk = simulation.export()
    assert shrunk.pop(graph.input) == (0.0, 1.0)
    assert all(high - low == pytest.approx(MIN_RANGE) for low, high in shrunk.values())


def test_what_is_not_simulated_is_named():
    graph = Graph(to_onnx(UNet(width=16, depth=1), SIZE))
    with pytest.raises(UnsupportedOperatorError, match="Concat, ConvTranspose"):
        Simulation(graph, {})


def compare(simulation: Simulation, model: bytes, images: np.ndarray) -> None:
    network = Network(model, reference=True)
    for image in images[:3]:
        worst = np.abs(run_simulation(simulation, network, image[None]) - network.run(to_int8(image[None])))
        assert worst.max() <= 1
        assert (worst > 0).mean() < 1e-3


def run_simulation(simulation: Simulation, network: Network, image: np.ndarray) -> np.ndarray:
    """The simulated logits as int8 values, laid out as the file's."""
    with torch.inference_mode():
        logits = simulation(as_tensor(image))
    logits = logits.permute(0, 2, 3, 1) if logits.ndim == 4 else logits
    return np.rint(logits.numpy() / network.output.scale + network.output.zero_point).astype(int)


def edges(scale: float, zero_point: int) -> tuple[float, float]:
    """A range, in float32, of exactly this grid: at the ends that are nearest its step may be another float32."""
    low, high = (np.float32((q - zero_point) * scale) for q in (-128, 127))
    for end in (high, np.nextafter(high, np.float32(np.inf)), np.nextafter(high, np.float32(0))):
        for start in (low, np.nextafter(low, np.float32(-np.inf)), np.nextafter(low, np.float32(0))):
            if np.float32((float(end) - float(start)) / 255) == np.float32(scale):
                return float(start), float(end)
    raise AssertionError(f"no range has the step {scale} and the zero point {zero_point}")


def from_file(model: bytes, graph: Graph) -> tuple[dict[str, tuple[float, float]], dict[str, np.ndarray]]:
    """Ranges, and weights and biases, in a file, by the graph's names. The converter reorders operators: each
    is known by what it takes."""
    parsed = tflite.parse(model)
    (file,) = parsed.subgraphs
    left = list(zip(tflite.operators(parsed), file.operators))
    place = {graph.input: int(file.inputs[0])}  # of the graph's tensors in the file
    rectified = {node.input[0]: node.output[0] for node in graph.nodes if node.op_type in RECTIFIERS}
    ranges, weights = {graph.input: (0.0, 1.0)}, {}
    for node in graph.nodes:
        name, taken = node.output[0], {place[i] for i in node.input if i in place}
        if node.op_type not in KINDS:  # fused, or of no effect
            place[name] = place[node.input[0]]
            continue
        convolution = node.op_type in CONVOLUTIONS
        filters = {1, *graph.constants[node.input[1]].shape} if convolution else None
        found = [
            (kind, operator)
            for kind, operator in left
            if kind in KINDS[node.op_type]
            and taken <= {*operator.inputs}
            and (filters is None or {1, *file.tensors[operator.inputs[1]].shape} == filters)
        ]
        left.remove(found[0])
        operator = found[0][1]
        place[name] = int(operator.outputs[0])
        grid = file.tensors[place[name]].quantization
        scale, zero_point = float(grid.scale[0]), int(grid.zeroPoint[0])
        if node.op_type not in ("Sigmoid", "MaxPool", "Resize"):  # theirs is fixed, or their input's
            ranges[rectified[name] if name in graph.fused else name] = edges(scale, zero_point)
        if convolution:
            kernel = file.tensors[operator.inputs[1]]
            whole = np.frombuffer(bytes(parsed.buffers[kernel.buffer].data), np.int8).reshape(kernel.shape)
            if found[0][0] == "DEPTHWISE_CONV_2D":  # 1 h w C; of all others the filters come first
                whole = np.moveaxis(whole, 3, 0)
            scale = np.float64(kernel.quantization.scale)
            filters = whole * scale.reshape(-1, *[1] * (whole.ndim - 1))
            shape = graph.constants[node.input[1]].shape
            if found[0][0] == "CONV_2D":  # O h w I -> O I h w
                filters = np.moveaxis(filters, 3, 1)
            transposed = any(a.name == "transB" and a.i for a in node.attribute) or node.op_type == "Conv"
            filters = filters.reshape(shape) if transposed else filters.reshape(shape[::-1]).T
            weights[node.input[1]] = filters.astype(np.float32)
        if len(node.input) > 2 and convolution:
            bias = file.tensors[operator.inputs[2]]
            whole = np.frombuffer(bytes(parsed.buffers[bias.buffer].data), np.int32)
            weights[node.input[2]] = np.float32(whole * np.float64(bias.quantization.scale))
    return ranges, weights
