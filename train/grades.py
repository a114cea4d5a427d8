"""How photographs are graded: ``python -m train.grades --data ROOT [--part val] [--spoilt]``.

Prints, by set, how many are good, usable and rejected, and of what the last two are accused. ``--spoilt`` takes
every eighth full field of the training and validation parts instead, and prints the same for each way of spoiling
them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from device.field import find_field
from device.geometry import UInt8Image
from device.quality import Quality, assess
from train.datasets import SETS, data_root, load_split

PARTS = ("train", "val", "test")
FULL_FIELDS = ("idrid_a", "chase_db1", "drishti_gs1", "airogs_subset", "palm_disc")
Rng = np.random.Generator


def lid(pixels: UInt8Image, share: float, colour: tuple[int, int, int] = (10, 6, 5)) -> UInt8Image:
    """An upper lid, out of focus, over a share of the height of what is not black."""
    height, width = pixels.shape[:2]
    x, y = np.linspace(-1, 1, width), np.linspace(0, 1, height)
    cover = 1 / (1 + np.exp((y[:, None] - share * (1 - 0.15 * x[None] ** 2)) / 0.02))
    cover = cover[..., None] * (pixels.max(axis=2, keepdims=True) > 12)
    return (pixels * (1 - cover) + np.array(colour) * cover).astype(np.uint8)


def dust(pixels: UInt8Image, specks: int, rng: Rng) -> UInt8Image:
    """Specks on the lens, as the simulated camera makes them."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    light = np.ones((height, width))
    for _ in range(specks):
        cx, cy, size = (
            width * rng.uniform(0.3, 0.7),
            height * rng.uniform(0.3, 0.7),
            height * rng.uniform(0.004, 0.012),
        )
        light *= 1 - 0.6 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * size**2))
    return (pixels * light[..., None]).astype(np.uint8)


def blur(pixels: UInt8Image, share: float, noise: float, rng: Rng) -> UInt8Image:
    """Defocus (standard deviation by height), then the sensor's noise in grey levels."""
    soft = cv2.GaussianBlur(pixels, (0, 0), share * len(pixels)).astype(float)
    return np.clip(soft + rng.normal(0, noise, soft.shape), 0, 255).astype(np.uint8)


WAYS: dict[str, Callable[[UInt8Image, Rng], UInt8Image]] = {
    "as it is": lambda p, _: p,
    "blur, 2.5 % of the height": lambda p, rng: blur(p, 0.025, 0, rng),
    "the same, noise of 8 grey levels": lambda p, rng: blur(p, 0.025, 8, rng),
    "blur, 5 % of the height": lambda p, rng: blur(p, 0.05, 0, rng),
    "the same, noise of 8 grey levels ": lambda p, rng: blur(p, 0.05, 8, rng),
    "a fifth of the light": lambda p, _: (p * 0.2).astype(np.uint8),
    "dark lid over 25 % of the height": lambda p, _: lid(p, 0.25),
    "dark lid, 36 %": lambda p, _: lid(p, 0.36),
    "dark lid, 60 %": lambda p, _: lid(p, 0.6),
    "pale lid, 36 %": lambda p, _: lid(p, 0.36, (215, 150, 120)),
    "pale lid, 60 %": lambda p, _: lid(p, 0.6, (215, 150, 120)),
    "eight specks of dust": lambda p, rng: dust(p, 8, rng),
}


def graded(pixels: UInt8Image) -> Quality:
    """The grade of a photograph."""
    return assess(pixels, find_field(pixels))


def line(name: str, found: Iterable[Quality]) -> str:
    """A row of the table."""
    qualities = list(found)
    grades = Counter(q.grade for q in qualities)
    causes = Counter(f"{q.cause} ({q.grade})" for q in qualities if q.cause)
    told = ", ".join(f"{cause} {n}" for cause, n in causes.most_common())
    return f"| {name} | {len(qualities)} | {grades['good']} | {grades['usable']} | {grades['reject']} | {told} |"


def spoilt(root: Path) -> None:
    """One line a way of spoiling."""
    rng = np.random.default_rng(0)
    photographs = []
    for name in FULL_FIELDS:
        for sample in (load_split(root, name, "train") + load_split(root, name, "val"))[::8]:
            image = sample.image()
            scale = 640 / max(image.shape)
            photographs.append(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    for name, way in WAYS.items():
        print(line(name, (graded(way(p, rng)) for p in photographs)))


def main() -> None:
    """Print one line a set, or a way of spoiling."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="data root (default: TENOHIRA_DATA)")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this part of each set; may be repeated"
    )
    parser.add_argument("--spoilt", action="store_true", help="full fields, spoilt in several ways")
    args = parser.parse_args()
    root = data_root(args.data)
    print("| photographs | number | good | usable | reject | causes |\n|---|---|---|---|---|---|")
    if args.spoilt:
        spoilt(root)
        return
    for name in (name for name in SETS if name != "octa_faz"):
        samples = (s for part in args.part or PARTS for s in load_split(root, name, part))
        print(line(name, (graded(s.image()) for s in samples)))


if __name__ == "__main__":
    main()
