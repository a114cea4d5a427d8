"""Does a bundle run in TensorFlow Lite Micro, in how much memory, and does it give the same answers?"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from device.bundle import Bundle
from device.camera.simulated import Eye, Optics, Scene, draw, photograph
from device.geometry import Int8Image, to_int8
from device.runtime import Network
from quantize.errors import McuError

NOISE, EYES = 8, 3


class Micro(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least arena, and on how many inputs the answers were the reference kernels' to the bit."""

    arena: int  # bytes
    inputs: int


def check(bundle: Bundle) -> Micro:
    """Run a bundle in its least arena. Raises McuError where the runtime refuses it, or answers otherwise than
    the reference kernels on any input."""
    x = inputs(bundle.golden_input)
    arena, answers = _try(bundle.manifest.name, bundle.model, x)
    network = Network(bundle.model, reference=True)
    wanted = np.stack([network.run(each) for each in x])
    differ = (answers != wanted).reshape(len(x), -1).any(1)
    if differ.any():
        most = np.abs(answers.astype(int) - wanted).max()
        raise McuError(
            f"{bundle.manifest.name}: tflite-micro answers otherwise than the reference kernels on {differ.sum()} "
            f"of {len(x)} inputs, by up to {most} steps; use another version of it, in the firmware too"
        )
    return Micro(arena, len(x))


def inputs(golden: Int8Image) -> Int8Image:
    """What is compared, N x the shape of ``golden``: the golden input, black, white, noise, simulated eyes."""
    noise = [np.random.default_rng(seed).integers(-128, 128, golden.shape, np.int8) for seed in range(NOISE)]
    eyes = [
        to_int8(photograph(Scene(draw(Eye.random(seed))), Optics(), np.random.default_rng(seed), golden.shape[1]))
        for seed in range(EYES)
    ]
    flat = [np.full_like(golden, value) for value in (-128, 127)]
    return np.stack([golden, *flat, *noise, *(eye[None] for eye in eyes)])


def _try(name: str, model: bytes, x: Int8Image) -> tuple[int, Int8Image]:
    with tempfile.TemporaryDirectory(prefix="tenohira-mcu-") as work:
        folder = Path(work)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "inputs.npy", x)
        done = subprocess.run(
            [sys.executable, "-m", "quantize.mcu.trial", str(folder)],
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if done.returncode:
            # The runtime says what it lacks before Python says that it failed.
            said = done.stderr.partition("Traceback")[0].strip() or done.stderr.strip() or "it said nothing"
            raise McuError(
                f"{name}: tflite-micro does not run it ({said.splitlines()[0]}); make the network of operators "
                "that TensorFlow Lite Micro has"
            )
        return int(done.stdout), np.load(folder / "outputs.npy")
