"""Weights that are rounded together keep a filter's sums nearer than weights that are rounded one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from quantize.rounding import rounded
from quantize.simulation import CONVOLUTIONS, MAX_WEIGHT, Convolution, Grid, Value

GRID = Grid(torch.tensor(1 / 255), 1 / 255, -128)


def convolution(groups: int = 1, stride: int = 1, dead: bool = False) -> Convolution:
    """3 x 3 on eight smooth maps, whose neighbouring pixels and channels have much to do with one another."""
    rng = np.random.default_rng(0)
    shared = rng.uniform(0, 255, (6, 1, 5, 5)) + rng.uniform(0, 40, (6, 8, 5, 5))
    smooth = torch.nn.functional.interpolate(torch.tensor(shared).float(), (20, 20), mode="bilinear")
    q = torch.round(smooth.clamp(0, 255)) - 128
    if dead:
        q[:, 3] = -128
    weight = torch.tensor(rng.normal(size=(16 if groups == 1 else 8, 8 // groups, 3, 3)).astype(np.float32))
    how = {"pads": [1, 1, 1, 1], "group": groups, "strides": [stride, stride]}
    return CONVOLUTIONS["Conv"](how, [Value(q, GRID), weight, None])


def sums(c: Convolution, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.conv2d(c.offset.double(), weight.double(), **c.how)


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (8, 1), (8, 2)])
def test_the_sums_come_nearer_and_the_weights_are_on_the_steps_that_the_converter_finds(groups, stride):
    c = convolution(groups, stride)
    steps, nearest = c.whole_weights()
    by_one, together = (nearest * steps[:, None, None, None]).float(), rounded(c)
    meant = sums(c, c.weight)
    error, before = ((sums(c, w) - meant).square().sum((0, 2, 3)) for w in (together, by_one))
    assert (error <= before * 1.001).all()
    assert error.sum() < 0.5 * before.sum()
    again = Convolution(c.x, c.offset, together, None, c.how)
    found, whole = again.whole_weights()
    torch.testing.assert_close(found, steps, rtol=1e-6, atol=0)
    assert whole.abs().amax((1, 2, 3)).eq(MAX_WEIGHT).all()
    assert (whole * found[:, None, None, None] - together).abs().max() < 1e-4 * steps.min()


def test_a_dense_layer_with_fewer_images_than_weights():
    rng = np.random.default_rng(1)
    x = Value(torch.tensor(rng.integers(-128, 128, (6, 64, 1, 1))).float(), GRID)
    weight = torch.tensor(rng.normal(size=(4, 64)).astype(np.float32))
    c = CONVOLUTIONS["Gemm"]({"transB": 1}, [x, weight, None])
    steps, nearest = c.whole_weights()
    error, before = (
        (sums(c, w) - sums(c, c.weight)).abs().mean() for w in (rounded(c), nearest * steps[:, None, None, None])
    )
    assert error < 0.2 * before


def test_inputs_that_are_always_zero_and_images_without_anything():
    assert torch.isfinite(rounded(convolution(dead=True))).all()
    assert torch.isfinite(rounded(convolution(groups=8, dead=True))).all()
    c = convolution()
    steps, nearest = c.whole_weights()
    nothing = Convolution(c.x, torch.zeros_like(c.offset), c.weight, None, c.how)
    assert torch.equal(rounded(nothing), (nearest * steps[:, None, None, None]).float())
