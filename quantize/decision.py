"""From a classifier's logit to a decision: the probability's constants and the operating points.

Both come from eyes that the classifier was not trained on (the validation part, and quantize.out_of_fold), and
from the whole device pipeline: disc found, cup outlined, region classified, as on the instrument.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve

from device.bundle import Manifest, OperatingPoint, Probability
from device.frame import Frame
from device.pipeline import Model, Pipeline
from quantize.errors import CalibrationError
from train.datasets import Sample

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What the pipeline measured on n graded eyes: logit, vertical cup-to-disc ratio, label (0, 1) and a weight.
    ``ungradable`` counts the photographs that it gave no number for; they are in none of the arrays."""

    logit: Floats
    vcdr: Floats
    label: Floats
    weight: Floats
    ungradable: int


class Eye(msgspec.Struct, frozen=True, array_like=True):
    """What the pipeline measured on one photograph; no logit and no ratio where that was ungradable."""

    set: str
    id: str
    label: float
    logit: float | None
    vcdr: float | None


def screened(models: Mapping[str, Model], sets: Mapping[str, Sequence[Sample]]) -> list[Eye]:
    """Screen every sample with ``models``: disc_finder, disc_cup and the classifier, whose manifest must hold the
    identity as its Probability."""
    pipeline = Pipeline(models)
    eyes = []
    for name, samples in sets.items():
        for sample in samples:
            exam = pipeline.screen(Frame(sample.image()))
            chance, vcdr, logit = exam.glaucoma_probability, exam.vcdr, None
            if chance is not None and vcdr is not None:
                p = min(max(chance, 1e-12), 1 - 1e-12)  # a float network's logit may be of any size
                logit = math.log(p / (1 - p))
            eyes.append(Eye(name, sample.id, float(sample.labels["glaucoma"]), logit, vcdr))
    return eyes


def weighed(eyes: Sequence[Eye]) -> Evidence:
    """The graded eyes with their weights: within a set both classes count the same, and a set by the root of its
    size, so that a large set of easy crops does not decide alone. Raises CalibrationError where a class is
    missing."""
    graded = [eye for eye in eyes if eye.logit is not None]
    of_set, same = Counter(eye.set for eye in graded), Counter((eye.set, eye.label) for eye in graded)
    rows = [
        (eye.logit, eye.vcdr, eye.label, math.sqrt(of_set[eye.set]) / same[eye.set, eye.label]) for eye in graded
    ]
    logit, vcdr, label, weight = np.array(rows, np.float64).reshape(-1, 4).T
    if set(label) != {0.0, 1.0}:
        raise CalibrationError(
            "no operating point can be measured: the validation part needs gradable images of both classes"
        )
    return Evidence(logit, vcdr, label, weight, len(eyes) - len(graded))


def provisional(manifest: Manifest) -> Manifest:
    """The manifest with the identity and a placeholder: what ``screened`` is given, never written."""
    point = OperatingPoint("placeholder", "glaucoma_probability", 0.5, math.nan, math.nan, "nothing")
    return msgspec.structs.replace(manifest, probability=Probability(), operating_points=(point,))


def fit_probability(evidence: Evidence) -> Probability:
    """Logistic regression of the label on logit and vCDR: a temperature and bias for the logit (Platt), and the
    weight of the cup-to-disc ratio. Probabilities are for equal prevalence. A coefficient below 0 is set to 0:
    a larger cup never speaks against glaucoma."""
    kept = ["logit", "vcdr"]
    while True:
        columns = np.stack([getattr(evidence, name) for name in kept], axis=-1)
        spread = columns.std(axis=0) + 1e-9
        fit = LogisticRegression(C=1.0).fit(columns / spread, evidence.label, sample_weight=evidence.weight * 10)
        coefficients = dict(zip(kept, fit.coef_[0] / spread))
        if coefficients.get("vcdr", 0.0) >= 0:
            return Probability(
                logit_scale=float(coefficients["logit"]),
                logit_bias=float(fit.intercept_[0]),
                vcdr_weight=float(coefficients.get("vcdr", 0.0)),
            )
        kept = ["logit"]


def probabilities(evidence: Evidence, p: Probability) -> Floats:
    """The device's formula."""
    z = p.logit_scale * evidence.logit + p.vcdr_weight * evidence.vcdr + p.logit_bias
    result: Floats = 1 / (1 + np.exp(-z))
    return result


def operating_points(
    probability: Floats, label: Floats, measured_on: str, weight: Floats | None = None
) -> tuple[OperatingPoint, ...]:
    """Two thresholds on a probability (refer at or above it).

    ``balanced`` has the largest Youden index (with weights), ``specificity_95`` a specificity of at least 95 % and
    the largest sensitivity then; or they decide so many eyes of a class worse as its share's standard error is
    worth. Other photographs would reorder those, so it is the one that lies in the widest gap between
    neighbouring scores (in log-odds): there the noise of int8, of another crop or another processor moves the
    fewest eyes across.

    The sensitivities and specificities that are stated are plain shares of images. Raises CalibrationError where a
    class is missing.
    """
    if set(np.unique(label)) != {0.0, 1.0}:
        raise CalibrationError(
            f"no operating point can be measured on {measured_on}: it needs images with and without the finding"
        )
    false_positive, true_positive, thresholds = roc_curve(
        label, probability, drop_intermediate=False, sample_weight=weight
    )
    thresholds[0] = np.nextafter(probability.max(), 2)  # refers nothing; scikit-learn says infinity
    # Counted, not divided: of shares, rounding would decide whether they are so many eyes apart.
    found = np.array([np.count_nonzero(probability[label == 1] >= t) for t in thresholds])
    alarms = np.array([np.count_nonzero(probability[label == 0] >= t) for t in thresholds])
    ill, healthy = int(np.count_nonzero(label == 1)), int(np.count_nonzero(label == 0))
    best = int(np.argmax(true_positive - false_positive))
    strict = (healthy - alarms) / healthy >= 0.95
    allowed = {
        "balanced": (found >= found[best] - _error(found[best], ill))
        & (alarms <= alarms[best] + _error(alarms[best], healthy)),
        "specificity_95": strict & (found >= found[strict].max() - _error(found[strict].max(), ill)),
    }
    gaps = _gaps(probability)
    chosen = {name: int(np.argmax(np.where(those, gaps, -1))) for name, those in allowed.items()}
    return tuple(
        OperatingPoint(
            name,
            "glaucoma_probability",
            _between(probability, thresholds[i]),
            float(found[i] / ill),
            float(1 - alarms[i] / healthy),
            measured_on,
        )
        for name, i in chosen.items()
    )


def _error(count: int, of: int) -> int:
    """The standard error of a share, in whole eyes (Agresti and Coull, Am. Stat. 52:119, 1998: not 0 where all
    are alike)."""
    share = (count + 2) / (of + 4)
    return int(math.sqrt(of * share * (1 - share)))


def _gaps(probability: Floats) -> Floats:
    """How far below each threshold (a score, falling) the next score is, in log-odds. 0 below the lowest, and for
    the first, which refers nothing."""
    return np.array([0.0, *np.diff(_log_odds(np.unique(probability)))[::-1], 0.0])


def _between(probability: Floats, threshold: float) -> float:
    """Half way (in log-odds) to the next lower score, so that rounding cannot move a measured image across the
    threshold."""
    lower = probability[probability < threshold]
    if not len(lower) or threshold > probability.max():
        return float(threshold)
    return float(1 / (1 + np.exp(-_log_odds(np.array([lower.max(), threshold])).mean())))


def _log_odds(probability: Floats) -> Floats:
    kept = probability.clip(1e-12, 1 - 1e-12)
    odds: Floats = np.log(kept / (1 - kept))
    return odds
