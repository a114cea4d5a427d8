"""Ranges that cost the network's answer least: each is narrowed as long as that pays.

The extremes of calibration clip nothing, but where few values reach far they make the steps coarse for all others.
Here every range in turn is narrowed, in the order of the graph, while the simulated int8 network (to the bit that
of the device) comes nearer to the float network's probabilities on training images. Loss-aware post-training
quantization (Nahshan et al., Machine Learning 110:3245, 2021, arXiv:1911.07190) by coordinate descent. The logits
keep theirs: operating points and average precision ask for more of them than a threshold at 0.5.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from quantize.calibration import Images
from quantize.simulation import Simulation
from train.loop import Machine, to_input

NARROWER = 0.85  # a step
LEAST_GAIN = 0.002  # share of the error that a step must take away: less is chance
BATCH = 8


@dataclass(frozen=True)
class Clipping:
    """What came of it: mean squared error of the probabilities before and after, and how much is left of the
    ranges that were narrowed (by tensor)."""

    before: float
    after: float
    left: dict[str, float]

    def __str__(self) -> str:
        gain = self.before / self.after if self.after else 1.0
        return f"{len(self.left)} ranges narrowed: squared error of the probabilities {gain:.1f} times smaller"


def clip(simulation: Simulation, network: nn.Module, images: Images) -> Clipping:
    """Narrow the ranges of ``simulation`` towards the probabilities of the float ``network`` on N x S x S x 3
    ``uint8`` training images. Takes some two passes over the images for each range: minutes."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    batches = [to_input(x, Machine.here("cpu")) for x in pixels.split(BATCH)]
    growth, names = simulation.growth, simulation.names
    simulation.eval()
    with torch.no_grad():
        meant = _probabilities(network.eval(), batches)

        def error() -> float:
            return float(F.mse_loss(_probabilities(simulation, batches), meant))

        before = least = error()
        start = growth.clone()
        kept = (simulation.graph.input, simulation.graph.output)
        for i in track([i for i, name in enumerate(names) if name not in kept], "narrowing ranges"):
            best = growth[i].clone()
            while True:
                growth[i] = growth[i] + math.log(NARROWER)
                found = error()
                if found > least * (1 - LEAST_GAIN):
                    growth[i] = best
                    break
                least, best = found, growth[i].clone()
        left = (growth - start).exp().tolist()
    return Clipping(before, least, {name: share for name, share in zip(names, left) if share < 1})


def _probabilities(network: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    return torch.cat([torch.sigmoid(network(x)) for x in batches])
