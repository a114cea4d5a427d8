"""What coaching costs: ``python -m quantize.coaching_cost``.

Processor time of ``device.coaching.coach`` on a preview of 640 x 480, beside one inference of the shipped disc_cup
and one whole screening of a photograph of 1024 pixels, all on one thread and in turn. Ratios carry over to other
machines better than milliseconds do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from device.camera.simulated import SimulatedCamera
from device.coaching import coach
from device.codes import read_code
from device.frame import Frame
from device.geometry import to_int8
from device.pipeline import Pipeline

ROUNDS = 40


def main() -> None:
    """Print the medians and their ratios."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    pipeline = Pipeline.load(threads=1)  # which also keeps OpenCV to one thread
    eye = SimulatedCamera(seed=3, size=1024).still().pixels
    preview = np.full((480, 640, 3), 1, np.uint8)
    preview[:, 80:560] = cv2.resize(eye, (480, 480), interpolation=cv2.INTER_AREA)
    network = pipeline.models["disc_cup"].network
    size = network.input.shape[1]
    x = to_int8(cv2.resize(eye, (size, size), interpolation=cv2.INTER_AREA))[None]
    tasks: dict[str, Callable[[], object]] = {
        "coaching of one preview, 640 x 480": lambda: coach(preview),
        "a look for codes in it": lambda: read_code(preview),
        "disc_cup int8, one inference": lambda: network.run(x),
        "one screening, 1024 pixels": lambda: pipeline.screen(Frame(eye)),
    }
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            times[name].append((time.process_time() - start) * 1e3)
    medians = {name: statistics.median(ms) for name, ms in times.items()}
    unit = medians["disc_cup int8, one inference"]
    print("| what | processor time, ms | by one disc_cup inference |\n|---|---|---|")
    for name, ms in medians.items():
        print(f"| {name} | {ms:.1f} | {ms / unit:.1f} |")


if __name__ == "__main__":
    main()
