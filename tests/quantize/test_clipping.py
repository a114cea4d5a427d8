"""Ranges are narrowed as far as that brings the int8 network nearer to the float one, and no further."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from quantize.calibration import calibrate
from quantize.chain import Tuned, convert_network
from quantize.clipping import NARROWER, Clipping, clip
from quantize.export import to_onnx
from quantize.finetune import simulate
from quantize.onnx_to_tf import Graph
from quantize.simulation import Simulation
from tests.quantize.conftest import SIZE, Tiny, as_tensor, discs
from tests.quantize.test_simulation import compare
from train.loop import Machine, to_input

IMAGES = 4
WIDE = ("relu", "relu_1")  # of the first two convolutions
TOO_WIDE = 8.0  # times: what one strange calibration image may do


def error(simulation: Simulation, tiny: Tiny, images: np.ndarray) -> float:
    with torch.no_grad():
        apart = torch.sigmoid(simulation(as_tensor(images))) - torch.sigmoid(tiny.network(as_tensor(images)))
    return float(apart.square().mean())


@pytest.fixture(scope="module")
def narrowed(segmenter) -> tuple[Simulation, Clipping, dict[str, tuple[float, float]]]:
    """The tiny network with two ranges far too wide, and what became of it."""
    graph = Graph(to_onnx(segmenter.network, SIZE))
    ranges = calibrate(graph, segmenter.images)
    for name in WIDE:
        low, high = ranges[name]
        ranges[name] = (low * TOO_WIDE, high * TOO_WIDE)
    simulation = Simulation(graph, ranges)
    return simulation, clip(simulation, segmenter.network, segmenter.images[:IMAGES]), ranges


def test_what_is_too_wide_is_narrowed_and_the_error_falls(narrowed, segmenter):
    simulation, clipping, ranges = narrowed
    for name in WIDE:
        assert clipping.left[name] < 0.5
    assert clipping.after < clipping.before / 3
    assert clipping.after == pytest.approx(error(simulation, segmenter, segmenter.images[:IMAGES]), rel=1e-5)
    unseen = discs(8, seed=5)
    wide = Simulation(simulation.graph, ranges)
    assert error(simulation, segmenter, unseen) < error(wide, segmenter, unseen) / 3


def test_ranges_keep_their_zero_point_and_input_and_logits_keep_all(narrowed):
    simulation, clipping, ranges = narrowed
    _, after = simulation.export()
    assert not clipping.left.keys() & {simulation.graph.input, simulation.graph.output}
    for name, (low, high) in ranges.items():
        share = clipping.left.get(name, 1.0)
        assert after[name] == pytest.approx((low * share, high * share), rel=1e-5)
        steps = math.log(share) / math.log(NARROWER)
        assert steps == pytest.approx(round(steps), abs=1e-3)


def test_one_step_more_would_not_pay(narrowed, segmenter):
    """Of the last range that the search came to; an earlier one was judged before those after it moved."""
    simulation, clipping, _ = narrowed
    further = Simulation(simulation.graph, simulation.export()[1])
    last = [i for i, name in enumerate(further.names) if name != further.graph.output][-1]
    with torch.no_grad():
        further.growth[last] = math.log(NARROWER)
    assert error(further, segmenter, segmenter.images[:IMAGES]) > clipping.after * 0.997


def test_the_file_has_the_narrowed_ranges(narrowed, segmenter):
    simulation, _, _ = narrowed
    tuned = Tuned(simulation.export()[1])
    converted = convert_network(segmenter.network, SIZE, segmenter.images, segmenter.images, tuned)
    compare(simulation, converted.int8_tflite, discs(4, seed=7))
    assert "int8 against float TFLite" in {check.stage for check in converted.checks}


def test_a_classifier_is_narrowed_too(classifier):
    simulation = simulate(classifier.network, SIZE, classifier.images)
    clipping = clip(simulation, classifier.network, classifier.images)
    assert clipping.after <= clipping.before
    assert error(simulation, classifier, classifier.images) == pytest.approx(clipping.after, rel=1e-4)


def test_inputs_are_those_that_networks_are_trained_on(images):
    given = to_input(torch.from_numpy(images).permute(0, 3, 1, 2), Machine.here("cpu"))
    assert torch.equal(given, as_tensor(images))
