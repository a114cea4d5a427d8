"""Channels are made as large as their map where that changes nothing, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

from quantize.calibration import calibrate
from quantize.equalization import MARGIN, equalize
from quantize.export import to_onnx
from quantize.onnx_to_tf import Graph

SIZE = 32


class Block(nn.Module):
    """A convolution, a depthwise one and a last one; in the first map some channels are small, and one is zero."""

    def __init__(self, rectifier: nn.Module, groups: int = 8, shortcut: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=groups)
        self.last, self.rectifier, self.shortcut = nn.Conv2d(8, 2, 1), rectifier, shortcut
        with torch.no_grad():
            size = torch.tensor([12.0, 2.0, 1.0, 1.5, 1.2, 0.01, 1.0, 2.0])
            self.first.weight.abs_().mul_(size[:, None, None, None])
            self.first.bias.zero_()[6] = -100.0
            self.second.weight *= 6 / size[:, None, None, None].clamp(min=1) if groups == 8 else 1

    def forward(self, x):
        maps = self.rectifier(self.first(x))
        y = self.rectifier(self.second(maps))
        return self.last(y + maps if self.shortcut else y)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (24, SIZE, SIZE, 3), np.uint8)


def made(block: Block) -> Graph:
    return Graph(to_onnx(block.eval(), SIZE))


def logits(graph: Graph, images, ranges=None) -> np.ndarray:
    def steps(name, x):
        return tf.quantization.fake_quant_with_min_max_vars(x, *ranges[name])

    return graph(tf.cast(images, tf.float32) / 255, *([steps] if ranges else [])).numpy()


def largest(graph: Graph, images) -> np.ndarray:
    """Of each channel of the first map."""
    maps = {}
    graph(tf.cast(images, tf.float32) / 255, lambda name, x: maps.setdefault(name, x))
    return list(maps.values())[1].numpy().max((0, 1, 2))


@pytest.mark.parametrize("rectifier", [nn.ReLU(), nn.ReLU6()])
def test_channels_grow_the_float_network_stays_and_int8_comes_nearer(images, rectifier):
    torch.manual_seed(1)
    block = Block(rectifier)
    graph, plain = made(block), made(block)
    equalize(graph, images[:12])
    before, after = largest(plain, images[:12]), largest(graph, images[:12])
    assert before[6] == after[6] == 0  # what is dead stays so
    grown = after[[1, 2, 3, 4, 7]]
    assert grown == pytest.approx(np.full(5, after[0] / MARGIN), rel=1e-3) and after[0] == before[0]
    assert after[5] == pytest.approx(16 * before[5])  # as much as is allowed
    exact = logits(plain, images)
    np.testing.assert_allclose(logits(graph, images[:12]), exact[:12], atol=1e-4)
    ranges = [calibrate(g, images[:12]) for g in (plain, graph)]
    lost, left = (np.square(logits(g, images, r) - exact).mean() for g, r in zip((plain, graph), ranges))
    assert left < 0.7 * lost


@pytest.mark.parametrize("otherwise", [{"groups": 1}, {"shortcut": True}])
def test_what_others_use_too_stays(images, otherwise):
    block = Block(nn.ReLU(), **otherwise)
    graph, plain = made(block), made(block)
    equalize(graph, images)
    assert all(np.array_equal(graph.constants[name], value) for name, value in plain.constants.items())
