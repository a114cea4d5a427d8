"""Figures that the tables report. Masks are boolean H x W; an undefined figure is NaN and must be counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_curve

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
RESAMPLES = 2000


def dice(a: Mask, b: Mask) -> float:
    """2 |A and B| / (|A| + |B|); 1 where both are empty (Dice, Ecology 26:297, 1945)."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def iou(a: Mask, b: Mask) -> float:
    """|A and B| / |A or B|; 1 where both are empty (Jaccard)."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def boundary_distances(a: Mask, b: Mask) -> tuple[Floats, Floats]:
    """Distance in pixels of each boundary pixel of A to B's boundary, and of each of B to A's. Empty where a mask
    has no boundary."""
    edges = [_boundary(m) for m in (a, b)]
    if not (edges[0].any() and edges[1].any()):
        return np.empty(0), np.empty(0)
    to_a, to_b = (cv2.distanceTransform((~e).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for e in edges)
    there, back = (d.astype(np.float64) for d in (to_b[edges[0]], to_a[edges[1]]))
    # Roots of whole numbers: OpenCV's vary in their last bit from call to call.
    return np.sqrt(np.rint(there**2)), np.sqrt(np.rint(back**2))


def hausdorff95(distances: tuple[Floats, Floats]) -> float:
    """The larger of the two directed 95 % Hausdorff distances, in pixels; NaN where a mask is empty."""
    there, back = distances
    return float(max(np.percentile(there, 95), np.percentile(back, 95))) if len(there) else math.nan


def boundary_f1(distances: tuple[Floats, Floats], tolerance: float) -> float:
    """F1 of boundary pixels that lie within ``tolerance`` pixels of the other boundary (Csurka et al., BMVC 2013);
    0 where a mask is empty."""
    there, back = distances
    if not len(there):
        return 0.0
    precision, recall = float((there <= tolerance).mean()), float((back <= tolerance).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def auc(label: Floats, score: Floats) -> float:
    """Area under the ROC curve; NaN where a class is missing.

    The share of pairs of the two classes that are in order, a tie being half a pair (Mann and Whitney, 1947):
    scikit-learn's function takes milliseconds for its checks, which a bootstrap asks for thousands of times.
    """
    with_it, without = score[label == 1], np.sort(score[label == 0])
    if not (len(with_it) and len(without)):
        return math.nan
    pairs = np.searchsorted(without, with_it, "left") + np.searchsorted(without, with_it, "right")
    return float(pairs.mean() / 2 / len(without))


def sensitivity_at(label: Floats, score: Floats, specificity: float) -> float:
    """The highest sensitivity at a specificity of at least so much; NaN where a class is missing."""
    if len(set(label)) != 2:
        return math.nan
    false_positive, sensitivity, _ = roc_curve(label, score, drop_intermediate=False)
    return float(sensitivity[1 - false_positive >= specificity - 1e-12].max())


def bland_altman(measured: Floats, reference: Floats) -> tuple[float, float, float]:
    """Bias and 95 % limits of agreement (Bland and Altman, Lancet 327:307, 1986)."""
    difference = measured - reference
    bias = float(difference.mean())
    spread = 1.96 * float(difference.std(ddof=1)) if len(difference) > 1 else math.nan
    return bias, bias - spread, bias + spread


def pearson(a: Floats, b: Floats) -> float:
    """Pearson's r; NaN for fewer than three pairs or a constant."""
    if len(a) < 3 or not a.std() or not b.std():
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def interval(
    statistic: Callable[..., float],
    *columns: Floats,
    strata: Floats | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval (seed 0) over cases, which keep their rows together; with ``groups`` (the
    patient of each case, say) over these, whose cases are drawn together. With ``strata`` (the classes of an AUC)
    each resample keeps the size of each stratum; a group counts as its first case does. NaN for fewer than two."""
    rng = np.random.default_rng(0)
    n = len(columns[0])
    units = [np.array([row]) for row in range(n)] if groups is None else _rows_of(groups)
    if len(units) < 2:
        return math.nan, math.nan
    first = np.array([unit[0] for unit in units])
    drawn_from = (
        [np.arange(len(units))]
        if strata is None
        else [np.flatnonzero(strata[first] == s) for s in np.unique(strata[first])]
    )
    values = []
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rng.choice(g, len(g)) for g in drawn_from])
        rows = first[drawn] if len(units) == n else np.concatenate([units[i] for i in drawn])
        values.append(statistic(*(c[rows] for c in columns)))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _rows_of(groups: Sequence[str]) -> list[npt.NDArray[np.intp]]:
    """The rows of each group, groups in the order of their first rows."""
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return [np.array(those) for those in rows.values()]


def _boundary(mask: Mask) -> Mask:
    """Pixels of the mask that touch its outside (4-neighbours); the picture's edge is outside."""
    inner = cv2.erode(
        mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)),
        borderType=cv2.BORDER_CONSTANT, borderValue=0,
    )  # fmt: skip
    return mask & (inner == 0)
