"""Fits the quadratic form of ``device.likeness``: ``python -m train.likeness --data ROOT``.

Retinas are the training and validation parts of every colour set, each as it is and spoilt (``train.augment``:
light, colour, blur, noise; and a strong blur), and the eyes that the simulated camera draws. Other things are the
photographs that scikit-image, scikit-learn and matplotlib carry for their examples (a wooden table, a cat, faces,
tissue, flowers, a motorcycle), grey textures in the colours of a retina, and drawn wood; whole, in parts, and
through a round field stop. Each camera and each picture is judged by weights that were fitted without it; then
those of all are printed, to be pasted.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression

from device.camera.simulated import Optics, SimulatedCamera
from device.field import find_field
from device.geometry import UInt8Image
from device.likeness import FEATURES, features
from device.quality import FEWEST, details, inner_of, working
from train.augment import photometry
from train.datasets import data_root, load_split

SETS = ("acrima", "refuge_crops", "drishti_gs1", "airogs_subset", "palm_disc", "idrid_a", "idrid_b", "chase_db1")
TINTS = {
    "brown": ((0.95, 1.0), (0.6, 1.0), (0.35, 1.0)),
    "wine": ((0.9, 0.5), (0.5, 1.0), (0.3, 1.2)),
}  # gain, gamma
C = 0.3  # inverse strength of the regularization


def of(pixels: UInt8Image) -> np.ndarray | None:
    """The features of a picture, None where it shows too little."""
    image, lit = working(pixels, find_field(pixels))
    inner = inner_of(lit)
    if np.count_nonzero(inner) < FEWEST:
        return None
    d = details(image, inner)
    return features((d.red, d.green), d.colours)


def stopped(pixels: UInt8Image) -> UInt8Image:
    """The middle of a picture through a round field stop, darker towards its edge."""
    side = min(pixels.shape[:2])
    top, left = ((n - side) // 2 for n in pixels.shape[:2])
    y, x = np.mgrid[:side, :side] - side / 2
    r = np.hypot(x, y) / (side / 2)
    seen = (pixels[top : top + side, left : left + side] * (1 - 0.3 * r[..., None] ** 2)).astype(np.uint8)
    seen[r > 0.97] = 1
    return seen


def wood(seed: int, size: int = 640) -> UInt8Image:
    """A drawn board: rings, bent, and grain along or across them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    bend, grain = (
        cv2.resize(rng.normal(0, 1, shape).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
        for shape in ((6, 6), (24, size) if seed % 2 else (size, 24))
    )
    rings = np.sin(2 * np.pi * (rng.uniform(8, 20) * x + 0.8 * bend + 0.3 * y))
    light = np.array([(0.72, 0.48, 0.28), (0.55, 0.33, 0.18), (0.8, 0.6, 0.4), (0.45, 0.25, 0.13)][seed % 4])
    t = np.clip(0.5 + 0.25 * rings + 0.2 * grain, 0, 1)[..., None]
    return np.clip(255 * light * (t + np.array([0.72, 0.62, 0.5]) * (1 - t)), 0, 255).astype(np.uint8)


def other_things() -> Iterator[tuple[str, UInt8Image]]:
    """(name, picture) of what is no retina; needs scikit-image, scikit-learn and matplotlib."""
    import matplotlib.cbook
    from PIL import Image
    from skimage import data
    from sklearn.datasets import load_sample_image

    hopper = np.asarray(Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg")).convert("RGB"))
    whole = {
        **{f.__name__: f() for f in (data.coffee, data.astronaut, data.chelsea, data.immunohistochemistry)},
        **{f.__name__: f() for f in (data.rocket, data.hubble_deep_field)},
        "motorcycle": data.stereo_motorcycle()[0],
        "flower": load_sample_image("flower.jpg"),
        "china": load_sample_image("china.jpg"),
        "hopper": hopper,
    }
    for f in (data.brick, data.gravel, data.grass, data.coins, data.camera, data.page):
        grey = f().astype(np.float64) / 255
        for name, tint in TINTS.items():
            planes = [255 * gain * grey**gamma for gain, gamma in tint]
            whole[f"{f.__name__}, {name}"] = np.stack(planes, axis=2).astype(np.uint8)
    for seed in range(8):
        whole[f"wood {seed}"] = wood(seed)
    rng = np.random.default_rng(0)
    for name, picture in whole.items():
        parts = [np.ascontiguousarray(picture)]
        height, width = picture.shape[:2]
        for _ in range(4):
            side = int(min(height, width) * rng.uniform(0.35, 0.8))
            y, x = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
            parts.append(np.ascontiguousarray(picture[y : y + side, x : x + side]))
        for part in parts:
            yield name, part
            yield name, stopped(part)


def retinas(root: Path) -> Iterator[tuple[str, UInt8Image]]:
    """(set, photograph) of the training and validation parts, each followed by two spoilt copies."""
    rng = np.random.default_rng(1)
    for name in SETS:
        for sample in load_split(root, name, "train") + load_split(root, name, "val"):
            image = sample.image()
            yield name, image
            side = min(512, *image.shape[:2])
            scale = side / min(image.shape[:2])
            small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            square = np.zeros((max(small.shape), max(small.shape), 3), np.uint8)
            square[: small.shape[0], : small.shape[1]] = small
            yield name, photometry(square, 1.0, rng)
            yield name, cv2.GaussianBlur(small, (0, 0), float(rng.uniform(1, 8)))


def drawn() -> Iterator[tuple[str, UInt8Image]]:
    """("drawn", photograph) of the simulated camera's eyes, two of three spoilt; much is tested on them."""
    rng = np.random.default_rng(2)
    for seed in range(1000, 1080):
        with SimulatedCamera(seed=seed, size=512) as camera:
            for spoilt in (False, True, True):
                if spoilt:
                    blur, light, noise = rng.uniform(0.001, 0.015), rng.uniform(0.3, 1.8), rng.uniform(1, 6)
                    camera.optics = Optics(defocus=float(blur), exposure=float(light), noise=float(noise))
                yield "drawn", camera.still().pixels


def design(x: np.ndarray, means: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Standardized features and their squares."""
    z = (x - means) / scales
    return np.hstack([z, z * z])


def main() -> None:
    """Print what is caught and lost without having been seen, and the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="data root (default: TENOHIRA_DATA)")
    root = data_root(parser.parse_args().data)
    groups, labels, rows, spoilt = [], [], [], []
    for label, source in ((1, chain(retinas(root), drawn())), (0, other_things())):
        for i, (group, pixels) in enumerate(source):
            if (row := of(pixels)) is not None:
                groups.append(re.split("[ ,]|_[ab]$", group)[0])  # one camera, one thing
                labels.append(label)
                rows.append(row)
                spoilt.append(bool(label and i % 3))
    x, y, g, bad = np.array(rows), np.array(labels), np.array(groups), np.array(spoilt)
    means, scales = x.mean(axis=0), x.std(axis=0)
    a, held_out = design(x, means, scales), np.zeros(len(y))
    for group in np.unique(g):
        own = g == group
        model = LogisticRegression(C=C, max_iter=5000, class_weight="balanced").fit(a[~own], y[~own])
        held_out[own] = model.decision_function(a[own])
    unreal = g == "drawn"
    kinds = {
        "retinas": (y == 1) & ~bad & ~unreal,
        "spoilt retinas": bad & ~unreal,
        "drawn eyes": unreal,
        "other things": y == 0,
    }
    print(", ".join(f"{kind.sum()} {name}" for name, kind in kinds.items()) + "; each judged without its own")
    for limit in (-4, -3, -2, -1, 0):
        shares = (f"{(held_out[kind] < limit).mean():.2%} of {name}" for name, kind in kinds.items())
        print(f"below {limit}: {', '.join(shares)}")
    model = LogisticRegression(C=C, max_iter=5000, class_weight="balanced").fit(a, y)
    weights = model.coef_[0]
    n = len(FEATURES)
    for name, values in (("MEANS", means), ("SCALES", scales), ("LINEAR", weights[:n]), ("SQUARE", weights[n:])):
        print(f"{name} = ({', '.join(f'{v:.4f}' for v in values)})")
    print(f"CONSTANT = {model.intercept_[0]:.4f}")


if __name__ == "__main__":
    main()
