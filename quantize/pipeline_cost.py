"""What each stage of a screening costs: ``python -m quantize.pipeline_cost [PHOTOGRAPH...]``.

Processor time on one thread, which other programs on the machine change little: from the bytes of a JPEG (a
simulated eye of 1024 pixels unless photographs are named) to the verdict, and the overlay beside it. To compare
two commits, run it in a checkout of each, a few times in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from device import overlay
from device.camera.simulated import SimulatedCamera
from device.commands.screen import OVERLAY_QUALITY
from device.imaging import ENOUGH, decode, encode_jpeg
from device.pipeline import GLAUCOMA, Pipeline, Stopwatch

ROUNDS = 60  # of each photograph


def main() -> None:
    """Print the medians by stage and the networks' share."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="*", type=Path, metavar="PHOTOGRAPH", help="JPEG files")
    jpegs = [path.read_bytes() for path in parser.parse_args().photographs]
    if not jpegs:
        jpegs = [encode_jpeg(SimulatedCamera(seed=3, size=1024).still().pixels, 95)]
    pipeline = Pipeline.load(threads=1)  # which also keeps OpenCV to one thread
    runs = [_stages(pipeline, jpeg) for jpeg in jpegs for _ in range(ROUNDS)]
    names = list(dict.fromkeys(name for run in runs for name in run))
    medians = {name: statistics.median(run.get(name, 0.0) for run in runs) for name in names}
    print("| stage | processor time, ms |\n|---|---|")
    for name, ms in medians.items():
        print(f"| {name} | {ms:.2f} |")
    screening = sum(ms for name, ms in medians.items() if name not in ("decode", "save"))
    share = sum(medians.get(task, 0.0) for task in GLAUCOMA) / screening
    print(f"\nfrom pixels to verdict {screening:.1f} ms, of which the networks {share:.0%}")


def _stages(pipeline: Pipeline, jpeg: bytes) -> dict[str, float]:
    clock = Stopwatch(time.process_time)
    with clock.stage("decode"):
        frame = decode(jpeg, "the photograph", ENOUGH)
    exam = pipeline.screen(frame, clock=clock)
    with clock.stage("save"):
        encode_jpeg(overlay.draw(frame.pixels, exam), OVERLAY_QUALITY, keep=False)
    return clock.ms


if __name__ == "__main__":
    main()
