"""Weights rounded together: what the rounding of one changes, the weights after it take back.

To the nearest step, each weight alone, is the best rounding of a filter only where its inputs have nothing to do
with one another; neighbouring pixels and channels have much. Here the weights of a filter are rounded in turn,
and those that are left move so that the filter's sums stay as near to the float weights' as they can, on the
inputs that it gets: GPTQ (Frantar et al., ICLR 2023, arXiv:2210.17323), with its order by activity and its
damping.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from quantize.simulation import MAX_WEIGHT, Convolution

DAMPING = 0.01  # of the mean square of the inputs: a filter of a gate has more weights than there are images
PART = 4  # images that are unfolded at a time


def rounded(convolution: Convolution) -> Tensor:
    """The weights of a convolution (O x I x h x w) on the steps of their filters.

    The largest weight of a filter stays, by which the converter knows its step; a filter whose sums do not come
    nearer stays rounded to the nearest.
    """
    steps, nearest = convolution.whole_weights()
    products = _products(convolution)
    meant = convolution.weight.detach().double().flatten(1) / steps[:, None]
    together, nearest = _together(meant, products), nearest.double().flatten(1)
    better = _error(together - meant, products) < _error(nearest - meant, products)
    chosen = torch.where(better[:, None], together, nearest) * steps[:, None]
    return chosen.view_as(convolution.weight).to(convolution.weight.dtype)


def _products(convolution: Convolution) -> Tensor:
    """Sums over all places of the products of the inputs that two weights of a filter meet: n x n for all filters,
    or filters x n x n where each has a channel of its own (depthwise). Whole numbers, exact."""
    how, kernel = convolution.how, tuple(convolution.weight.shape[2:])
    groups = how.get("groups", 1)
    total = torch.zeros(())
    for images in convolution.offset.detach().split(PART):
        met = F.unfold(images, kernel, how.get("dilation", 1), 0, how.get("stride", 1)).double()  # B x Cn x places
        met = met.view(len(met), groups, -1, met.shape[2]).permute(1, 2, 0, 3).flatten(2)
        total = total + met @ met.mT
    return total if groups > 1 else total[0]


def _together(meant: Tensor, products: Tensor) -> Tensor:
    """Whole numbers for weights in steps (filters x n), by the inverse Cholesky factor of ``products``."""
    n = meant.shape[1]
    diagonal = products.diagonal(dim1=-2, dim2=-1)
    damping = (DAMPING * diagonal.mean(-1, keepdim=True)).clamp(min=1)  # 1: of inputs that are all zero
    damped = products + torch.diag_embed(damping.expand_as(diagonal))
    order = torch.argsort(diagonal, descending=True, stable=True) if diagonal.ndim == 1 else torch.arange(n)
    factor = torch.linalg.cholesky(torch.linalg.inv(damped[..., order, :][..., order]), upper=True)
    left = meant[:, order].clone()
    largest = left.abs().argmax(1, keepdim=True)
    fixed = left.gather(1, largest)
    whole = torch.zeros_like(left)
    for i in range(n):
        whole[:, i] = torch.round(left[:, i]).clamp(-MAX_WEIGHT, MAX_WEIGHT)
        row = factor[..., i, :]
        lost = (left[:, i] - whole[:, i]) / row[..., i]
        left[:, i + 1 :] -= (lost[:, None] * row)[:, i + 1 :]
        left.scatter_(1, largest, fixed)
    return torch.zeros_like(whole).index_copy_(1, order, whole)


def _error(difference: Tensor, products: Tensor) -> Tensor:
    """Squared error of each filter's sums."""
    return ((difference[:, None] @ products)[:, 0] * difference).sum(1)
