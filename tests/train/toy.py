"""A data set made here: bright discs on dark, laid out as ``octa_faz``; training tests need no real data."""

import csv

import cv2
import numpy as np

from train.datasets.splits import read_split


def make_octa(root, size=64):
    """Write every image that the committed split names, ``size`` x ``size``; returns ``root``."""
    folder = root / "octa_faz"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = []
    for i, id in enumerate(sorted(read_split("octa_faz"))):
        rng = np.random.default_rng(i)
        mask = np.zeros((size, size), np.uint8)
        cv2.circle(mask, tuple(int(v) for v in rng.integers(24, 40, 2)), int(rng.integers(8, 16)), 255, -1)
        image = np.where(mask > 0, 30, 160).astype(np.uint8) + rng.integers(0, 40, mask.shape, np.uint8)
        cv2.imwrite(str(folder / "images" / f"{id}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{id}.png"), mask)
        rows.append((id, id.split("_")[0], 3, 0.1))
    with open(folder / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([("stem", "plexus", "fov_mm", "faz_fraction"), *rows])
    return root


RECIPE = """
name = "toy"
task = "faz"
size = 32
seed = 3
[network]
width = 16
depth = 2
stem = true
dropout = 0.2
[data.sets]
octa_faz = 1
[training]
epochs = 4
batch = 12
lr = 5e-3
ema = 0.5
"""
