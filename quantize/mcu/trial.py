"""A model in TensorFlow Lite Micro, in a process of its own: ``python -m quantize.mcu.trial FOLDER``.

FOLDER holds ``model.tflite`` and ``inputs.npy`` (N x the input's shape); ``outputs.npy`` (N x the output's) is
added, and the least arena in bytes is printed. It runs alone because the runtime reports each arena that does not
suffice on the standard error, and because one that holds nearly nothing ends the process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro.runtime import Interpreter

ALIGNMENT = 16  # bytes, of an arena and of everything in it
MOST = 64 * 2**20  # bytes: more than any microcontroller has


def least_arena(model: bytes) -> int:
    """The least arena, in bytes, in which the runtime makes the model ready. Raises RuntimeError where ``MOST``
    do not suffice, or the runtime has not all of its operators."""
    Interpreter.from_bytes(model, arena_size=MOST)
    small, large = 4096 // ALIGNMENT, MOST // ALIGNMENT  # the small one cannot hold a model
    while large - small > 1:
        middle = (small + large) // 2
        try:
            Interpreter.from_bytes(model, arena_size=middle * ALIGNMENT)
            large = middle
        except RuntimeError:
            small = middle
    return large * ALIGNMENT


def main(folder: Path) -> None:
    """Find the arena, run every input in it."""
    model = (folder / "model.tflite").read_bytes()
    arena = least_arena(model)
    interpreter = Interpreter.from_bytes(model, arena_size=arena)
    outputs = []
    for x in np.load(folder / "inputs.npy"):
        interpreter.set_input(x, 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0).copy())
    np.save(folder / "outputs.npy", np.stack(outputs))
    print(arena)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
