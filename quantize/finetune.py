"""Quantization-aware training: a trained run, a few epochs more in the device's own int8 arithmetic.

It starts from the exported network, whose BatchNorm is folded, and from the calibrated ranges, and trains weights
and ranges together towards the float network's logits on augmented training images (distillation: Hinton et al.,
arXiv:1503.02531). The labels were that network's business; what is to be undone here is the quantization. The
result goes through the same chain as any network, but with its own ranges and weights.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import torch
from torch import nn

from quantize.calibration import Images, calibrate
from quantize.equalization import equalize
from quantize.export import to_onnx
from quantize.onnx_to_tf import Graph
from quantize.simulation import Simulation
from train.loop import Machine, train
from train.run import Run

FOLDER = "finetuned"  # in the run's folder


def simulate(network: nn.Module, size: int, calibration: Images) -> Simulation:
    """The int8 network as calibration makes it, with equalized channels. Raises as ``to_onnx``, ``calibrate`` and
    Simulation do."""
    graph = Graph(to_onnx(network, size))
    equalize(graph, calibration)
    simulation = Simulation(graph, calibrate(graph, calibration))
    simulation.eval()
    return simulation


def finetune(run: Run, root: Path, simulation: Simulation) -> None:
    """Train ``simulation`` of ``run`` as its recipe's [quantization] says, on the recipe's data under ``root``.

    It is left with the best epoch's weights and ranges. Weights, history and curves stay in the run's folder, in
    ``finetuned/``; what an earlier call left there is deleted. On the CPU, where sums of whole numbers are exact.
    Raises DataError without data, CalibrationError where training diverges.
    """
    spec = run.recipe.quantization
    recipe = msgspec.structs.replace(
        run.recipe,
        training=msgspec.structs.replace(
            run.recipe.training,
            epochs=spec.epochs,
            patience=spec.epochs,
            lr=spec.lr,
            warmup_epochs=0.0,
            precision="float32",
            ema=0.0,
            teacher="",
        ),
    )
    folder = run.folder / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    train(recipe, root, folder, Machine.here("cpu"), network=simulation, imitated=run.network.eval())
    simulation.load_state_dict(torch.load(folder / "best.pt", weights_only=True)["model"])
    simulation.eval()
