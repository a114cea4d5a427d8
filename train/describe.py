"""Size of a recipe's network: parameters and multiply-accumulates (MACs), without running it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from train.networks import build
from train.recipe import Recipe


@dataclass(frozen=True)
class Size:
    """``statistics`` are BatchNorm's running means and variances, which papers often count as parameters;
    ``macs`` are those of one image."""

    trainable: int
    statistics: int
    macs: int


def size_of(network: nn.Module, side: int) -> Size:
    """Size of a network at an input of ``side`` x ``side`` x 3."""
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    network = network.to("meta").eval()  # shapes alone: no arithmetic is done
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, side, side, device="meta"))
    return Size(trainable, statistics, counter.get_total_flops() // 2)


def describe(recipe: Recipe) -> str:
    """Lines for ``tenohira train --describe``."""
    n = size_of(build(recipe.network, recipe.outputs), recipe.size)
    classes = ", ".join(recipe.task_spec.classes)
    lines = [
        f"{recipe.name}: {recipe.network.kind}, task {recipe.task} ({classes})",
        f"input       {recipe.size} x {recipe.size} x 3, {recipe.outputs} output(s)",
        f"parameters  {n.trainable:,} trainable, {n.trainable + n.statistics:,} with BatchNorm statistics",
        f"MACs        {n.macs / 1e9:.3f} G an image",
        f"data        {', '.join(f'{name} x {k}' for name, k in recipe.data.sets.items())}",
    ]
    return "\n".join(lines)
