"""Evaluation on a fixed part: one ``Case`` an image, then figures over cases.

Two ways. *Network*: the region of interest comes from the reference outline, as in training; any stage of the
chain (torch, ONNX, float, int8) can be measured so. *Device*: the whole pipeline screens the photograph, as a user
has it. What it refuses is counted and has a Dice of 0: nothing is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from sklearn.metrics import average_precision_score

from device import measurement, segmentation
from device.frame import Frame
from device.geometry import Square, UInt8Image, crop, resize
from device.pipeline import Examination, Pipeline
from device.segmentation import Region
from device.tasks import TASKS
from train import metrics, tiles
from train.datasets import Sample
from train.datasets.splits import group_of
from train.inputs import Prepared, prepare
from train.predictors import Logits, Predictor

BOUNDARY_TOLERANCE = 0.02  # of the reference structure's diameter, and at least one pixel
SCATTERED_TOLERANCE = 2.0  # pixels, for pieces that have no common diameter


@dataclass(frozen=True)
class Case:
    """What was measured on one image. ``values`` by figure (dice_disc, vcdr, vcdr_reference, logit, label ...);
    ``refused`` says why the pipeline gave no answer, and is empty where it did; ``found`` has the outlines, also
    where they were refused."""

    set: str
    id: str
    stratum: str = ""
    values: dict[str, float] = field(default_factory=dict)
    refused: str = ""
    found: Mapping[str, Region] = field(default_factory=dict, repr=False, compare=False)


def has_reference(task: str, sample: Sample) -> bool:
    """Whether there is a label, or an outline of one of the task's structures, to hold a network against: a set
    that was learnt from a teacher alone has none."""
    if TASKS[task].kind == "classification":
        return task in sample.labels
    return any(name in sample.mask_files or name in sample.absent for name in TASKS[task].classes)


def network_cases(task: str, samples: Sequence[Sample], predictor: Predictor, size: int) -> list[Case]:
    """Cases of a network alone, in regions of interest from the reference outlines."""
    cases = []
    for sample in samples:
        p = prepare(task, sample)
        if TASKS[task].scattered:
            logits = tiles.whole_logits(p, predictor, size)
            found = {n: _region(logits[..., c] > 0) for c, n in enumerate(TASKS[task].classes)}
            values = _scattered(logits, TASKS[task].classes, p)
            cases.append(Case(sample.set, sample.id, sample.stratum, values, found=found))
            continue
        logits, found = predictor(resize(crop(p.image, p.square), size)), {}
        if TASKS[task].kind == "classification":
            values = {"score": float(logits[0]), "label": float(sample.labels[task])}
        else:
            names = TASKS[task].classes
            outlines = _outlines(logits, p.square, p.image.shape[:2], nested=task == "disc_cup")
            found = dict(zip(names, outlines))
            values = _compare(found, p.masks, p.image.shape[:2])
        cases.append(Case(sample.set, sample.id, sample.stratum, values, found=found))
    return cases


def device_cases(pipeline: Pipeline, task: str, samples: Sequence[Sample]) -> list[Case]:
    """Cases of the whole device pipeline: ``task`` is glaucoma (disc, cup, verdict), faz or haemorrhage.

    Outlines of an ungradable examination do not count: the device does not vouch for them.
    """
    cases = []
    for sample in samples:
        pixels = sample.image()
        frame = Frame(pixels)
        exam = pipeline.examine(task, frame)
        refused = "; ".join(exam.reasons) if exam.outcome == "ungradable" else ""
        masks = {} if refused else dict(exam.masks)
        wanted = ("haemorrhage",) if task == "haemorrhage" else ("disc", "cup", "faz")
        reference = {name: m for name, m in sample.masks().items() if name in wanted}
        reference |= {name: np.zeros(pixels.shape[:2], np.uint8) for name in sample.absent if name in wanted}
        values = _compare(masks, reference, pixels.shape[:2])
        values |= _verdict(exam, sample) if task == "glaucoma" else {}
        values |= _haemorrhages(exam, sample) if task == "haemorrhage" else {}
        cases.append(Case(sample.set, sample.id, sample.stratum, values, refused, exam.masks))
    return cases


def evaluate_predictor(task: str, samples: Sequence[Sample], predictor: Predictor, size: int) -> dict[str, float]:
    """Headline figures of a network over samples: those of the model card."""
    return headline(network_cases(task, samples, predictor, size))


def headline(cases: Sequence[Case]) -> dict[str, float]:
    """Mean Dice by structure, vCDR mean absolute error, AUC and the like, with the number of images. Of figures
    with a 95 % bootstrap interval over patients (groups of the split), ``NAME_low`` and ``NAME_high`` are its
    ends; one alone has none."""
    figures: dict[str, float] = {"images": float(len(cases))}
    for name in ("disc", "cup", "faz", "haemorrhage", "vessels"):
        if of_structure := having(cases, f"dice_{name}"):
            whose, dice = groups(of_structure), column(of_structure, f"dice_{name}")
            figures |= _with_interval(f"dice_{name}", np.mean, dice, whose=whose)
        if not np.isnan(precision := column(cases, f"ap_{name}")).all():
            whose = groups(having(cases, f"ap_{name}"))
            figures |= _with_interval(f"average_precision_{name}", np.nanmean, precision, whose=whose)
    for name in ("vcdr", "area"):
        measured, reference = pairs(cases, name)
        if len(measured):
            whose = groups(compared(cases, name))
            figures |= _with_interval(f"{name}_mae", np.mean, np.abs(measured - reference), whose=whose)
    label, score = (np.array(v) for v in scored(cases))
    if len(label):
        figures |= _with_interval("auc", metrics.auc, label, score, strata=label, whose=groups(graded(cases)))
        figures["sensitivity_at_95_specificity"] = metrics.sensitivity_at(label, score, 0.95)
    return figures


def _with_interval(
    name: str,
    statistic: Callable[..., float],
    *columns: metrics.Floats,
    whose: Sequence[str],
    strata: metrics.Floats | None = None,
) -> dict[str, float]:
    figures = {name: float(statistic(*columns))}
    low, high = metrics.interval(statistic, *columns, strata=strata, groups=whose)
    return figures if math.isnan(low) else figures | {f"{name}_low": low, f"{name}_high": high}


def groups(cases: Sequence[Case]) -> list[str]:
    """Whose each case is (patient, child, eye), as the split knows: what an interval draws."""
    return [group_of(c.set, c.id) for c in cases]


def having(cases: Sequence[Case], name: str) -> list[Case]:
    """The cases that have a figure."""
    return [c for c in cases if name in c.values]


def column(cases: Sequence[Case], name: str) -> metrics.Floats:
    """One figure of every case that has it."""
    return np.array([c.values[name] for c in having(cases, name)], np.float64)


def compared(cases: Sequence[Case], name: str) -> list[Case]:
    """The cases that have a measured and a reference value of a quantity."""
    return [c for c in having(cases, f"{name}_reference") if not math.isnan(c.values.get(name, math.nan))]


def pairs(cases: Sequence[Case], name: str) -> tuple[metrics.Floats, metrics.Floats]:
    """Measured and reference values of a quantity, of the cases that have both."""
    both = [(c.values[name], c.values[f"{name}_reference"]) for c in compared(cases, name)]
    measured, reference = np.array(both, np.float64).reshape(-1, 2).T
    return measured, reference


def graded(cases: Sequence[Case]) -> list[Case]:
    """The cases that have a label and a score."""
    return [c for c in having(cases, "label") if "score" in c.values]


def scored(cases: Sequence[Case]) -> tuple[metrics.Floats, metrics.Floats]:
    """Labels and scores of the graded cases that have a label."""
    both = [(c.values["label"], c.values["score"]) for c in graded(cases)]
    label, score = np.array(both, np.float64).reshape(-1, 2).T
    return label, score


def _outlines(logits: Logits, square: Square, shape: tuple[int, int], nested: bool) -> list[Region]:
    """Float logits (h x w x classes) over ``square`` to clean outlines, as ``device.segmentation`` makes them."""
    fine = cv2.resize(logits, (square.side, square.side), interpolation=cv2.INTER_LINEAR)
    inside = (fine.reshape(square.side, square.side, -1) > 0).astype(np.uint8) * np.uint8(255)
    x0, y0 = max(square.x, 0), max(square.y, 0)
    x1, y1 = min(square.x + square.side, shape[1]), min(square.y + square.side, shape[0])
    window = inside[y0 - square.y : y1 - square.y, x0 - square.x : x1 - square.x]
    found = [Region(np.ascontiguousarray(window[..., c]), x0, y0) for c in range(window.shape[-1])]
    whole = segmentation.clean(found[0])
    if not nested:
        return [whole, *map(segmentation.clean, found[1:])]
    return [whole, segmentation.clean(segmentation.clip(found[1], whole))]


def _scattered(logits: Logits, names: Sequence[str], p: Prepared) -> dict[str, float]:
    """Overlap of a photograph's pieces together, and the average precision of its pixels (NaN without any)."""
    values: dict[str, float] = {}
    for c, name in enumerate(names):
        found, truth = logits[..., c] > 0, p.masks[name] > 0
        values |= overlap(name, found, truth, SCATTERED_TOLERANCE)
        score, label = logits[..., c].ravel(), truth.ravel()
        values[f"ap_{name}"] = float(average_precision_score(label, score)) if label.any() else math.nan
    return values


def overlap(name: str, a: metrics.Mask, b: metrics.Mask, tolerance: float) -> dict[str, float]:
    """Dice, IoU, 95 % Hausdorff distance (pixels) and boundary F1 of masks H x W; ``tolerance`` in pixels."""
    distances = metrics.boundary_distances(a, b)
    return {
        f"dice_{name}": metrics.dice(a, b),
        f"iou_{name}": metrics.iou(a, b),
        f"hd95_{name}": metrics.hausdorff95(distances),
        f"bf1_{name}": metrics.boundary_f1(distances, tolerance),
    }


def _compare(
    found: dict[str, Region], reference: dict[str, UInt8Image], shape: tuple[int, int]
) -> dict[str, float]:
    """Overlap and boundary figures of each structure that has a reference, and of the ratios between them."""
    values: dict[str, float] = {}
    for name, truth in reference.items():
        empty = Region(np.zeros(shape, np.uint8), 0, 0)
        a, b = _same_window(found.get(name, empty).in_image(shape) > 0, truth > 0)
        ys, xs = np.nonzero(b.any(1))[0], np.nonzero(b.any(0))[0]
        diameter = max(np.ptp(ys), np.ptp(xs)) + 1 if len(ys) else 0
        scattered = any(t.scattered and name in t.classes for t in TASKS.values())
        tolerance = SCATTERED_TOLERANCE if scattered else max(1.0, BOUNDARY_TOLERANCE * diameter)
        values |= overlap(name, a, b, tolerance)
    whole = {name: _region(m > 0) for name, m in reference.items()}
    if "cup" in whole and whole["disc"].area and whole["cup"].area:
        values["vcdr_reference"] = measurement.measure_disc(whole["disc"], whole["cup"]).vcdr
        values["vcdr"] = math.nan
        if "disc" in found and "cup" in found and found["disc"].area and found["cup"].area:
            values["vcdr"] = measurement.measure_disc(found["disc"], found["cup"]).vcdr
    if "faz" in whole and whole["faz"].area:
        for name, regions in (("", found), ("_reference", whole)):
            if "faz" in regions and regions["faz"].area:
                faz = measurement.measure_faz(regions["faz"], None)
                values |= {f"area{name}": faz.area, f"perimeter{name}": faz.perimeter}
            else:
                values |= {f"area{name}": math.nan, f"perimeter{name}": math.nan}
    return values


def _region(mask: metrics.Mask) -> Region:
    """Of a whole photograph."""
    return Region(mask.astype(np.uint8) * np.uint8(255), 0, 0)


def _verdict(exam: Examination, sample: Sample) -> dict[str, float]:
    values: dict[str, float] = {}
    if "glaucoma" in sample.labels:
        values["label"] = float(sample.labels["glaucoma"])
    if exam.glaucoma_probability is not None and exam.vcdr is not None:
        values |= {
            "score": exam.glaucoma_probability,
            "refer": float(exam.outcome == "refer"),
            "vcdr_device": exam.vcdr,
        }
    if values.keys() >= {"label", "score"} and exam.measures is not None:
        m = exam.measures
        values |= {"hcdr_device": m.hcdr, "area_cdr_device": m.area_cdr}
        values |= {f"rim_{quadrant}_device": ratio for quadrant, ratio in m.rim_disc_ratio.items()}
    return values


def _haemorrhages(exam: Examination, sample: Sample) -> dict[str, float]:
    """What was marked; the label is referable retinopathy: moderate or worse on the international clinical scale
    (Wilkinson et al., Ophthalmology 110:1677, 2003)."""
    values: dict[str, float] = {}
    if exam.haemorrhages is not None:
        h = exam.haemorrhages
        values |= {"haemorrhages_device": float(h.count), "haemorrhage_percent_device": h.field_percent}
    if "dr_grade" in sample.labels:
        values["label"] = float(sample.labels["dr_grade"] >= 2)
    return values


def _same_window(a: metrics.Mask, b: metrics.Mask) -> tuple[metrics.Mask, metrics.Mask]:
    """Both masks cut to what holds either, with a margin: distances over the whole photograph would take long."""
    ys, xs = np.nonzero((a | b).any(1))[0], np.nonzero((a | b).any(0))[0]
    if not len(ys):
        return a[:1, :1], b[:1, :1]
    rows, columns = slice(max(ys[0] - 2, 0), ys[-1] + 3), slice(max(xs[0] - 2, 0), xs[-1] + 3)
    return a[rows, columns], b[rows, columns]
