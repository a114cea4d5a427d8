"""The clinical gate: what int8 costs against float on the validation part, held against the recipe's bounds.

Both stages of one network go through the same post-processing. Dice, cup-to-disc ratio and area come from the
network alone, in regions of interest from the reference outlines. Verdicts, and a classifier's AUC and
sensitivity, come from the whole device pipeline, in which this network alone is exchanged: the others are the
shipped ones (int8). A classifier's rule is fitted to the float network there: one that was fitted to the int8
network would forgive it, for where its classifier answers noise, the ratio decides, and no verdict changes.
Segmentation networks are held to the rule of the shipped classifier.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from device import verdict
from device.bundle import GateRow, Manifest, OperatingPoint, TensorSpec
from device.frame import Frame
from device.geometry import Int8Image, UInt8Image
from device.pipeline import GLAUCOMA, Examination, Model, Pipeline, Runs
from device.runtime import Network
from quantize.errors import GateError
from train import metrics
from train.datasets import Sample
from train.evaluation import Case, column
from train.predictors import Predictor
from train.recipe import GateSpec

# Each photograph is screened three times, as if it had been taken again from a little farther away: another pixel
# grid is other rounding, and with one screening of each of some 150, one eye at the threshold decides.
SIZES = (1.0, 0.97, 0.94)


class FloatNetwork:
    """A float stage in the place of the int8 ``network`` in a pipeline: it takes the same int8 input.

    A classifier's logits stay float (scale 1, zero point 0). The device makes outlines from int8 logits, so those
    of a segmentation network are rounded to the steps of the int8 network's output: verdicts do not count that
    last rounding, the bounds on Dice, ratio and area do.
    """

    def __init__(self, predict: Predictor, network: Runs) -> None:
        self._predict = predict
        self._rounded = len(network.output.shape) == 4
        self.input = network.input
        self.output = network.output if self._rounded else TensorSpec(network.output.shape, "float32", 1.0, 0)

    def run(self, x: Int8Image) -> Any:
        """Logits of the output's shape and type for an ``int8`` array of the input's shape."""
        logits = self._predict(np.bitwise_xor(x[0].view(np.uint8), 0x80))[None]
        if not self._rounded:
            return logits
        steps = np.rint(logits / self.output.scale) + self.output.zero_point
        return np.clip(steps, -128, 127).astype(np.int8)


def network_rows(spec: GateSpec, floating: Sequence[Case], int8: Sequence[Case]) -> list[GateRow]:
    """The bounds on Dice, vertical cup-to-disc ratio and FAZ area, of those that these cases (of
    ``train.evaluation.network_cases``, in one order) have figures for."""
    rows = []
    for name in ("disc", "cup", "faz", "haemorrhage", "vessels"):
        dice = [column(cases, f"dice_{name}") for cases in (floating, int8)]
        if len(dice[0]):
            means = [float(d.mean()) for d in dice]
            rows.append(_drop("dice_drop", name, len(dice[0]), means, spec.dice_drop))
    both = _both(floating, int8, "vcdr")
    if both is not None:
        difference = both[1] - both[0]
        rows += _agreement("vcdr", both, difference, (spec.vcdr_shift, spec.vcdr_limits), "")
    both = _both(floating, int8, "area")
    if both is not None:
        percent = 100 * (both[1] - both[0]) / both[0]
        rows += _agreement("area", both, percent, (spec.area_shift_percent, spec.area_limits_percent), "_percent")
    return rows


def device_rows(
    spec: GateSpec, manifest: Manifest, floating: Runs, int8: Runs, samples: Sequence[Sample]
) -> list[GateRow]:
    """The bounds on verdicts, and a classifier's AUC and sensitivity: each photograph, in SIZES, is screened by
    the device with the float network and with the int8 network, both with ``manifest`` (whose rule, a classifier's
    operating points or the certainty of outlines, was fitted to the float network); the other networks are the
    shipped ones, with their own rules."""
    task = manifest.task
    others = Pipeline.load(tasks=tuple(t for t in GLAUCOMA if t != task)).models if task in GLAUCOMA else {}
    models = [others | {task: Model(network, manifest)} for network in (floating, int8)]
    pipelines = [Pipeline(m) for m in models]
    exams: list[list[Examination]] = [[], []]
    for frame in (Frame(image) for sample in samples for image in _in_sizes(sample.image())):
        for pipeline, done in zip(pipelines, exams):
            done.append(pipeline.examine(task, frame))
    if task == "faz":  # no referral rule: a verdict is whether the zone is measured
        return [_changed(spec, "measured or ungradable", [[e.outcome for e in done] for done in exams])]
    if task == "haemorrhage":  # whether any is marked
        said = [[f"{e.outcome} {bool(e.masks)}" for e in done] for done in exams]
        return [_changed(spec, "any marked, none, or ungradable", said)]
    rows = []
    label = np.array([sample.labels.get("glaucoma", math.nan) for sample in samples for _ in SIZES], np.float64)
    graded = np.array([f.vcdr is not None and i.vcdr is not None for f, i in zip(*exams)])
    if task == "glaucoma":
        auc = [metrics.auc(label[graded], _scores(done, graded)) for done in exams]
        rows.append(_drop("auc_drop", "whole device", int(graded.sum()), auc, spec.auc_drop))
    for point in models[0]["glaucoma"].manifest.operating_points:
        if point.quantity != "glaucoma_probability":
            continue
        points = Pipeline(models[0], point.name).points
        outcomes = [[outcome(exam, points) for exam in done] for done in exams]
        if task == "glaucoma":
            ill = np.flatnonzero(graded & (label == 1))
            shares = [sum(o[i] == "refer" for i in ill) / len(ill) if len(ill) else math.nan for o in outcomes]
            rows.append(_drop("sensitivity_drop", point.name, len(ill), shares, spec.sensitivity_drop))
        rows.append(_changed(spec, point.name, outcomes))
    return rows


def _in_sizes(image: UInt8Image) -> Iterable[UInt8Image]:
    height, width = image.shape[:2]
    for size in SIZES:
        smaller = (round(size * width), round(size * height))
        yield image if size == 1 else cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)


def networks(floating: Predictor, int8_tflite: bytes) -> tuple[FloatNetwork, Network]:
    """Both stages of a converted network, for ``device_rows``: ``floating`` is the network as it was trained."""
    int8 = Network(int8_tflite)
    return FloatNetwork(floating, int8), int8


def require(rows: Iterable[GateRow], worst: Sequence[str]) -> None:
    """Raise GateError where a bound is broken, naming each with its figures, and the operators that lose most
    (``worst``)."""
    broken = [row for row in rows if not row.passed]
    if broken:
        raise GateError(
            f"clinical gate failed on the validation part: {'; '.join(map(_sentence, broken))}. Operators that "
            f"lose most: {', '.join(worst)}. No bundle is written. Try more calibration inputs (--calibration), "
            "or train again with quantization in mind"
        )


def _sentence(row: GateRow) -> str:
    figures = "" if row.floating is None else f" (float {row.floating:.4f}, int8 {row.int8:.4f})"
    return f"{row.bound} of {row.of} is {row.value:.4f}, allowed {row.limit:g}{figures}, {row.images} images"


def _row(bound: str, of: str, images: int, figures: Sequence[float | None], value: float, limit: float) -> GateRow:
    """``figures``: of the float and of the int8 network."""
    floating, int8 = figures
    return GateRow(bound, of, images, floating, int8, value, limit, passed=value <= limit)  # NaN never passes


def _drop(bound: str, of: str, images: int, figures: Sequence[float], limit: float) -> GateRow:
    return _row(bound, of, images, figures, figures[0] - figures[1], limit)


def _changed(spec: GateSpec, of: str, outcomes: Sequence[Sequence[str]]) -> GateRow:
    """A share of screenings. One photograph may change, in all sizes: less than that so few cannot tell."""
    changed = [f != i for f, i in zip(*outcomes, strict=True)]
    share = sum(changed) / len(changed) if changed else math.nan
    limit = max(spec.changed_verdicts, len(SIZES) / len(changed)) if changed else spec.changed_verdicts
    return _row("changed_verdicts", of, len(changed), (None, None), share, limit)


def _agreement(
    of: str, both: metrics.Floats, difference: metrics.Floats, limits: tuple[float, float], unit: str
) -> list[GateRow]:
    """Mean shift, and half-width of the 95 % limits of agreement, of differences (NaN where there are none)."""
    n = difference.size
    bias, low, high = metrics.bland_altman(difference, np.zeros(n)) if n else (math.nan,) * 3
    means = [float(v.mean()) if n else math.nan for v in both]
    return [
        _row(f"{of}_shift{unit}", of, n, means, abs(bias), limits[0]),
        _row(f"{of}_limits{unit}", of, n, (None, None), (high - low) / 2, limits[1]),
    ]


def _both(floating: Sequence[Case], int8: Sequence[Case], name: str) -> metrics.Floats | None:
    """2 x n: a quantity by float and int8 where both measured it; None where the task has no such quantity."""
    pairs = [(f.values[name], i.values[name]) for f, i in zip(floating, int8, strict=True) if name in f.values]
    if not pairs:
        return None
    both = np.array(pairs, np.float64).T
    return both[:, ~np.isnan(both).any(0)]


def _scores(exams: Sequence[Examination], graded: npt.NDArray[np.bool_]) -> metrics.Floats:
    return np.array([exam.glaucoma_probability for exam, g in zip(exams, graded) if g], np.float64)


def outcome(exam: Examination, points: dict[str, OperatingPoint]) -> str:
    """The outcome that ``exam`` would have with these operating points."""
    if exam.glaucoma_probability is None or exam.vcdr is None:
        return exam.outcome
    measured = {"glaucoma_probability": exam.glaucoma_probability, "vcdr": exam.vcdr}
    return verdict.decide(measured, points).outcome
