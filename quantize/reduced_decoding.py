"""What decoding large JPEGs at a reduced size changes: ``python -m quantize.reduced_decoding [SET...]``.

Photographs of validation parts, enlarged to the still of a Pi HQ camera, are screened as they are and as the
instrument decodes them. Processor time on one thread, from the JPEG to the verdict.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from device.imaging import ENOUGH, decode, encode_jpeg
from device.pipeline import Pipeline, Stopwatch
from train.datasets import data_root, load_split

SETS = ("drishti_gs1", "idrid_a", "airogs_subset", "palm_disc")
MOST = 30  # photographs of a set
LONGEST = 4056  # pixels
WAYS = {"whole": None, "reduced": ENOUGH}


def main() -> None:
    """Print how many verdicts change, the shift of ratio and probability, and the time of both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=SETS, metavar="SET")
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or shared/data)")
    given = parser.parse_args()
    root, pipeline = data_root(given.data), Pipeline.load()
    ms: dict[str, list[float]] = {way: [] for way in WAYS}
    changed: list[bool] = []
    numbers: list[list[tuple[float | None, float | None]]] = []  # ratio and probability, of each way
    for sample in (s for name in given.sets for s in load_split(root, name, "val")[:MOST]):
        jpeg = enlarged(sample.image())
        exams = []
        for way, enough in WAYS.items():
            clock = Stopwatch(time.process_time)
            with clock.stage("decode"):
                frame = decode(jpeg, sample.id, enough)
            exams.append(pipeline.screen(frame, clock=clock))
            ms[way].append(sum(clock.ms.values()))
        changed.append(exams[0].outcome != exams[1].outcome)
        numbers.append([(e.vcdr, e.glaucoma_probability) for e in exams])
    print(f"{len(changed)} photographs, {sum(changed)} verdicts changed")
    whole, reduced = np.array(numbers, np.float64).transpose(1, 2, 0)  # NaN where there is none
    for name, shift in zip(("ratio", "probability"), reduced - whole):
        shift = shift[~np.isnan(shift)]
        print(f"{name}: shift {shift.mean():.4f} (SD {shift.std():.4f}, at most {np.abs(shift).max():.4f})")
    print(", ".join(f"{way} {np.median(of_way):.0f} ms" for way, of_way in ms.items()))


def enlarged(image: np.ndarray) -> bytes:
    """An H x W x 3 photograph as JPEG (quality 95) with a longer side of LONGEST pixels."""
    height, width = image.shape[:2]
    times = LONGEST / max(height, width)
    size = (round(width * times), round(height * times))
    return encode_jpeg(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), 95)


if __name__ == "__main__":
    main()
