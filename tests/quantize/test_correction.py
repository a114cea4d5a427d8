"""What int8 costs is taken back: sums by weights that are rounded together, means channel by channel."""

from __future__ import annotations

import copy

import pytest
import tensorflow as tf
import torch

from quantize.chain import Tuned, convert_network
from quantize.correction import correct
from quantize.finetune import simulate
from quantize.simulation import CONVOLUTIONS, Simulation, sums
from tests.quantize.conftest import SIZE, as_tensor, discs
from tests.quantize.test_simulation import compare
from train.networks.pretrained import NarrowedLite0


@pytest.fixture(scope="module")
def network() -> NarrowedLite0:
    """With the depthwise convolutions of an encoder that was trained; each bias differs from all others."""
    torch.manual_seed(0)
    network = NarrowedLite0(width=16).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.bias.data += 0.1 * torch.randn_like(module.bias)
    return network


@pytest.fixture(scope="module")
def corrected(network, images):
    simulation = simulate(network, SIZE, images)
    return simulation, correct(simulation, images)


def distance(simulation: Simulation, network: torch.nn.Module, images) -> float:
    with torch.no_grad():
        return float((simulation(as_tensor(images)) - network(as_tensor(images))).abs().mean())


def test_the_logits_come_nearer_on_images_that_were_not_seen_too(corrected, network, images):
    simulation, correction = corrected
    before = simulate(network, SIZE, images)
    assert correction.before == pytest.approx(distance(before, network, images), rel=1e-4)
    assert correction.after == pytest.approx(distance(simulation, network, images), rel=1e-4)
    assert correction.after < 0.8 * correction.before
    unseen = discs(8, seed=3)
    assert distance(simulation, network, unseen) < 0.85 * distance(before, network, unseen)


def test_every_convolution_with_a_bias_has_the_float_networks_means(corrected, images):
    """All of those are convolutions with a BatchNorm that was folded into them. The simulation's graph has the
    float network's weights, of which only the channels' sizes are evened out."""
    simulation, _ = corrected
    found, meant = {}, {}

    def look(node, attributes, inputs):
        if node.op_type in CONVOLUTIONS and len(inputs) > 2:
            found[node.output[0]] = sums(node.op_type, attributes, inputs).mean((0, 2, 3))

    with torch.no_grad():
        simulation(as_tensor(images), look)
    exact = copy.copy(simulation.graph)
    exact.fused = set()  # each convolution is shown before its ReLU
    exact(tf.cast(images, tf.float32) / 255, lambda name, x: meant.setdefault(name, x))
    assert len(found) > 30
    for name, means in found.items():
        torch.testing.assert_close(means.numpy(), meant[name].numpy().mean((0, 1, 2)), atol=1e-3, rtol=1e-3)


def test_ranges_stay_and_the_file_has_the_weights_and_biases(corrected, network, images):
    simulation, _ = corrected
    weights, ranges = simulation.export()
    before, same = simulate(network, SIZE, images).export()
    assert ranges == same
    assert all(not torch.equal(weight, before[name]) for name, weight in weights.items())
    converted = convert_network(network, SIZE, images, images, Tuned(ranges, weights))
    compare(simulation, converted.int8_tflite, discs(4, seed=7))
    assert converted.float_tflite == convert_network(network, SIZE, images, images).float_tflite


def test_a_classifier_is_corrected_too(classifier):
    """A dense layer at its end, and gates."""
    simulation = simulate(classifier.network, SIZE, classifier.images)
    correction = correct(simulation, classifier.images)
    assert correction.after <= correction.before
    with torch.no_grad():
        shift = simulation(as_tensor(classifier.images)) - classifier.network(as_tensor(classifier.images))
    step = simulation.export()[1][simulation.graph.output]
    assert abs(float(shift.mean())) <= (step[1] - step[0]) / 255
