"""Weights and biases that take back what int8 costs, without training.

Every convolution, in the order of the graph and in the simulated arithmetic of the device, with what comes
before it corrected already: first its weights are rounded together (quantize.rounding). Then its bias gives each
channel the float network's mean, which rounded weights and clipped ranges move: empirical bias correction (Nagel
et al., ICCV 2019, arXiv:1906.04721). A depthwise convolution sums nine products alone, in which such shifts do
not even out, and a deep network adds them up.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
import torch
from torch import Tensor

from quantize.calibration import BATCH, Images
from quantize.onnx_to_tf import Graph
from quantize.rounding import rounded
from quantize.simulation import CONVOLUTIONS, Simulation, sums
from train.loop import Machine, to_input


@dataclass(frozen=True)
class Correction:
    """The logits' mean distance from the float network's, on the images that it was made from."""

    before: float
    after: float

    def __str__(self) -> str:
        return f"int8 corrected: mean logit difference {self.before:.3f} before, {self.after:.3f} after"


def correct(simulation: Simulation, images: Images) -> Correction:
    """Correct ``simulation`` from N x S x S x 3 ``uint8`` training images, which pass through it together: about
    20 MB of memory an image of 192 pixels. What two convolutions share, and a bias that is missing, stays."""
    users = Counter(name for node in simulation.graph.nodes for name in node.input)
    means, logits = _float_means(simulation.graph, images)
    pixels = to_input(torch.from_numpy(images).permute(0, 3, 1, 2), Machine.here("cpu"))

    def correct_convolution(node: onnx.NodeProto, attributes: dict[str, Any], inputs: Sequence[Any]) -> None:
        if node.op_type not in CONVOLUTIONS:
            return
        if users[node.input[1]] == 1:
            convolution = CONVOLUTIONS[node.op_type](attributes, inputs)
            convolution.weight.detach().copy_(rounded(convolution))
        if len(inputs) > 2 and users[node.input[2]] == 1:
            found = sums(node.op_type, attributes, inputs).mean((0, 2, 3))
            inputs[2].data += means[node.output[0]] - found

    simulation.eval()
    with torch.no_grad():
        before = (simulation(pixels) - logits).abs().mean()
        simulation(pixels, correct_convolution)
        after = (simulation(pixels) - logits).abs().mean()
    return Correction(float(before), float(after))


def _float_means(graph: Graph, images: Images) -> tuple[dict[str, Tensor], Tensor]:
    """The mean of each channel of every convolution of the float network, before a ReLU; and its logits."""
    unfused = copy.copy(graph)
    unfused.fused = set()
    totals: dict[str, Any] = {}

    convolutions = {node.output[0] for node in graph.nodes if node.op_type in CONVOLUTIONS}

    def observe(name: str, x: tf.Tensor) -> tf.Tensor:
        if name in convolutions:
            totals[name] = totals.get(name, 0) + tf.reduce_mean(x, (1, 2)).numpy().sum(0, dtype="float64")
        return x

    batches = (images[i : i + BATCH] for i in range(0, len(images), BATCH))
    found = [unfused(tf.cast(batch, tf.float32) / 255.0, observe).numpy() for batch in batches]
    means = {name: torch.from_numpy(total / len(images)).float() for name, total in totals.items()}
    logits = torch.from_numpy(np.concatenate(found))
    return means, logits if graph.vector_output else logits.permute(0, 3, 1, 2)
