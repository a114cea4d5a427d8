"""A painted eye, and networks that see its colours: the whole pipeline without a trained network.

The fakes answer to the pixels that they are given, so a wrong crop, scale or offset shows in the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from device.bundle import Manifest, OperatingPoint, Probability, TensorSpec
from device.frame import Frame
from device.pipeline import Model, Pipeline

SIZE = 96  # the fakes' input
ZERO = -20  # their outputs' zero point: not 0, so that forgetting it shows
SCALE = 0.25
DISC_GREEN, CUP_GREEN = 105, 195  # half way between retina, disc and cup
SPOT_GREEN = 150  # half way between retina and spots: for eyes without a disc


def paint(
    size: int = 400,
    centre: tuple[float, float] = (250, 190),
    disc: tuple[float, float] = (60, 66),
    cup: tuple[float, float] = (30, 33),
    surround: bool = True,
    spots: Sequence[tuple[int, int, int]] = (),
) -> np.ndarray:
    """A fundus photograph, RGB size x size: (width, height) of disc and cup, (x, y, radius) of spots; pixels."""
    image = np.zeros((size, size, 3), np.uint8)
    if surround:
        cv2.circle(image, (size // 2, size // 2), int(size * 0.48), (150, 50, 20), -1)
    else:
        image[:] = (150, 50, 20)
    for (w, h), colour in ((disc, (230, 160, 60)), (cup, (250, 230, 160))):
        if w and h:
            cv2.ellipse(image, (centre, (w, h), 0), colour, -1)
    for x, y, radius in spots:
        cv2.circle(image, (x, y), radius, (255, 255, 255), -1)
    return image


class ColourNetwork:
    """Logits from the green channel, at half of the input's resolution, like a network with a stride-2 stem."""

    def __init__(self, *thresholds: int, tamper: Callable[[np.ndarray], np.ndarray] = lambda g: g) -> None:
        self.thresholds, self.tamper, self.calls = thresholds, tamper, 0
        self.input = TensorSpec(shape=(1, SIZE, SIZE, 3), dtype="int8", scale=1 / 255, zero_point=-128)
        half = (1, SIZE // 2, SIZE // 2, len(thresholds))
        self.output = TensorSpec(shape=half, dtype="int8", scale=SCALE, zero_point=ZERO)

    def run(self, x: np.ndarray) -> np.ndarray:
        assert x.shape == self.input.shape and x.dtype == np.int8
        self.calls += 1
        green = (x[0, ..., 1].astype(np.float32) + 128).astype(np.uint8)
        green = self.tamper(cv2.resize(green, (SIZE // 2, SIZE // 2), interpolation=cv2.INTER_AREA).astype(float))
        logits = np.stack([green - t for t in self.thresholds], axis=-1)
        return np.clip(np.round(logits / 2) + ZERO, -128, 127).astype(np.int8)[None]


class ConstantClassifier:
    """One logit, whatever it sees."""

    def __init__(self, logit: float) -> None:
        self.input = TensorSpec(shape=(1, SIZE, SIZE, 3), dtype="int8", scale=1 / 255, zero_point=-128)
        self.output = TensorSpec(shape=(1, 1), dtype="int8", scale=SCALE, zero_point=ZERO)
        self.logit, self.seen = logit, []

    def run(self, x: np.ndarray) -> np.ndarray:
        self.seen.append(x)
        return np.array([[round(self.logit / SCALE) + ZERO]], np.int8)


def point(quantity: str, threshold: float, name: str = "balanced") -> OperatingPoint:
    """An operating point with made-up measurements."""
    return OperatingPoint(
        name=name, quantity=quantity, threshold=threshold, sensitivity=0.9, specificity=0.9, measured_on="paint"
    )


def manifest(task: str, network: object, points: tuple = (), probability: Probability | None = None) -> Manifest:
    """A manifest with just what the pipeline reads."""
    return Manifest(
        schema=1, name=task, version="0.0.1", task=task, modality="fundus", kind="segmentation", classes=(),
        input=network.input, output=network.output, operating_points=points, probability=probability, metrics={},
        data={}, recipe={}, operators={}, tools={}, licence="", intended_use="", created="", members={},
    )  # fmt: skip


def build(
    finder: ColourNetwork | None = None,
    outliner: ColourNetwork | None = None,
    logit: float = -1.0,
    points: tuple = (point("glaucoma_probability", 0.5),),
    vcdr_points: tuple = (),
    probability: Probability | None = None,
    name: str | None = None,
) -> Pipeline:
    """A pipeline of fakes for painted eyes (for ``faz`` painted OCTA, for ``haemorrhage`` spots)."""
    networks = {
        "disc_finder": finder or ColourNetwork(DISC_GREEN),
        "disc_cup": outliner or ColourNetwork(DISC_GREEN, CUP_GREEN),
        "glaucoma": ConstantClassifier(logit),
        "faz": ColourNetwork(DISC_GREEN),
        "haemorrhage": ColourNetwork(SPOT_GREEN),
    }
    of_task = {"glaucoma": points, "disc_cup": vcdr_points}
    return Pipeline(
        {
            task: Model(n, manifest(task, n, of_task.get(task, ()), probability if task == "glaucoma" else None))
            for task, n in networks.items()
        },
        name,
    )


def frame(pixels: np.ndarray, laterality: str = "unknown") -> Frame:
    """A frame without metadata."""
    return Frame(pixels=pixels, laterality=laterality)
