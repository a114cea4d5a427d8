"""Tables of an evaluation, as Markdown and CSV: a row a system and set."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train import metrics
from train.datasets.splits import group_of
from train.evaluation import Case, column, compared, graded, groups, having, pairs, scored

Row = dict[str, str]
RELIABILITY = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)  # ends of the probabilities that are looked at together
STRUCTURES = {
    "disc": "optic disc",
    "cup": "optic cup",
    "faz": "FAZ",
    "haemorrhage": "haemorrhages",
    "vessels": "vessels",
}
QUANTITIES = {"vcdr": "vertical cup-to-disc ratio", "area": "FAZ area, px", "perimeter": "FAZ perimeter, px"}


def overlap_rows(system: str, name: str, cases: Sequence[Case]) -> list[Row]:
    """Dice, IoU, 95 % Hausdorff distance and boundary F1 of each structure; what was refused has a Dice of 0."""
    rows = []
    for structure, words in STRUCTURES.items():
        dice = column(cases, f"dice_{structure}")
        if not len(dice):
            continue
        whose = groups(having(cases, f"dice_{structure}"))
        distance = column(cases, f"hd95_{structure}")
        precision = column(cases, f"ap_{structure}")
        rows.append(
            {
                "system": system,
                "set": name,
                "structure": words,
                "images": str(len(dice)),
                "refused": str(sum(bool(c.refused) for c in cases if f"dice_{structure}" in c.values)),
                "Dice (mean ± SD)": f"{dice.mean():.4f} ± {dice.std():.4f}",
                "95 % CI": between(metrics.interval(np.mean, dice, groups=whose)),
                "IoU": f"{column(cases, f'iou_{structure}').mean():.4f}",
                "HD95, px (median)": median_of_defined(distance),
                "boundary F1": f"{column(cases, f'bf1_{structure}').mean():.3f}",
            }
        )
        if not np.isnan(precision).all():
            rows[-1]["average precision of pixels"] = f"{np.nanmean(precision):.3f}"
    return rows


def agreement_rows(system: str, name: str, cases: Sequence[Case]) -> list[Row]:
    """Error, Bland-Altman bias with limits, and Pearson's r of each measured quantity."""
    rows = []
    for quantity, words in QUANTITIES.items():
        measured, reference = pairs(cases, quantity)
        if not len(measured):
            continue
        error = np.abs(measured - reference)
        bias, low, high = metrics.bland_altman(measured, reference)
        digits = 4 if quantity == "vcdr" else 0
        rows.append(
            {
                "system": system,
                "set": name,
                "quantity": words,
                "images": str(len(measured)),
                "not measured": str(sum(math.isnan(c.values.get(quantity, 0.0)) for c in cases)),
                "mean absolute error": f"{error.mean():.{digits}f}",
                "95 % CI": between(
                    metrics.interval(np.mean, error, groups=groups(compared(cases, quantity))), digits
                ),
                "bias [95 % limits]": f"{bias:.{digits}f} {between((low, high), digits)}",
                "Pearson r": f"{metrics.pearson(measured, reference):.4f}",
            }
        )
    return rows


def marked_rows(system: str, name: str, cases: Sequence[Case]) -> list[Row]:
    """How many haemorrhages the device marked, by stratum (a grade of retinopathy)."""
    if not any("haemorrhages_device" in c.values for c in cases):
        return []
    rows = []
    for stratum in sorted({c.stratum for c in cases}):
        found = [c for c in cases if c.stratum == stratum]
        marked = column(found, "haemorrhages_device")
        rows.append(
            {
                "system": system,
                "set": name,
                "grade of retinopathy": stratum,
                "images": str(len(found)),
                "refused": str(sum(bool(c.refused) for c in found)),
                "with any marked": f"{np.mean(marked > 0):.0%}" if len(marked) else "",
            }
        )
        if len(marked):
            low, middle, high = np.quantile(marked, (0.25, 0.5, 0.75))
            rows[-1]["marked, median [quartiles]"] = f"{middle:.0f} [{low:.0f}, {high:.0f}]"
    return rows


def decision_rows(system: str, name: str, cases: Sequence[Case]) -> list[Row]:
    """AUC, sensitivity at 95 % specificity, and what the operating point does, of the cases that were graded."""
    label, score = scored(cases)
    if len(set(label)) != 2:
        return []
    ends = metrics.interval(metrics.auc, label, score, strata=label, groups=groups(graded(cases)))
    row = {
        "system": system,
        "set": name,
        "images": str(sum("label" in c.values for c in cases)),
        "with glaucoma": str(sum(c.values.get("label") == 1 for c in cases)),
        "refused": str(sum(bool(c.refused) for c in cases)),
        "AUC": f"{metrics.auc(label, score):.4f}",
        "95 % CI": between(ends),
        "sensitivity at 95 % specificity": f"{metrics.sensitivity_at(label, score, 0.95):.3f}",
    }
    decided = [c.values for c in cases if "refer" in c.values and "label" in c.values]
    if decided:
        refer = np.array([v["refer"] for v in decided])
        row |= {
            "at the operating point: sensitivity / specificity": (
                f"{refer[label == 1].mean():.3f} / {1 - refer[label == 0].mean():.3f}"
            ),
            "AUC of the vCDR alone": f"{metrics.auc(label, np.array([v['vcdr_device'] for v in decided])):.4f}",
        }
    return [row]


def reliability_rows(system: str, cases: Sequence[Case]) -> list[Row]:
    """Whether a probability is what it says: its mean and the share with glaucoma, of eyes with about the same one
    and of all, with the Brier score (Monthly Weather Review 78:1, 1950; 0.25 for one half everywhere). Only of the
    whole device, for a network alone has logits."""
    decided = having(graded(cases), "refer")
    if not decided:
        return []
    label, probability = scored(decided)
    rows = []
    for low, high in (*itertools.pairwise(RELIABILITY), (RELIABILITY[0], RELIABILITY[-1])):
        inside = (probability >= low) & ((probability < high) | (high == RELIABILITY[-1]))
        if inside.any():
            rows.append(
                {
                    "system": system,
                    "probability": f"{low:g} to {high:g}",
                    "images": str(int(inside.sum())),
                    "mean probability": f"{probability[inside].mean():.3f}",
                    "with glaucoma": f"{label[inside].mean():.3f}",
                    "Brier score": f"{np.mean((probability[inside] - label[inside]) ** 2):.3f}",
                }
            )
    return rows


def median_of_defined(values: metrics.Floats) -> str:
    """The median of what is no NaN (a distance to an empty outline), and how many were; empty where all were."""
    undefined = int(np.isnan(values).sum())
    if undefined == values.size:
        return ""
    return f"{np.nanmedian(values):.1f}" + (f" ({undefined} of {values.size} undefined)" if undefined else "")


def markdown(rows: Sequence[Row]) -> str:
    """A table; the columns are those of the first row that has most."""
    columns = list(max(rows, key=len))
    lines = [columns, ["---"] * len(columns), *([row.get(c, "") for c in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """The same as CSV."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(max(rows, key=len)), restval="")
        writer.writeheader()
        writer.writerows(rows)


def write_cases(path: Path, cases: Sequence[tuple[str, Case]]) -> None:
    """Every case of every system, with whose it is as far as the split knows, so that any figure can be computed
    again."""
    names = sorted({name for _, c in cases for name in c.values})
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["system", "set", "id", "patient", *names, "refused"])
        for system, c in cases:
            cells = (f"{c.values[n]:.6g}" if n in c.values else "" for n in names)
            writer.writerow([system, c.set, c.id, group_of(c.set, c.id), *cells, c.refused])


def between(pair: tuple[float, float], digits: int = 4) -> str:
    """An interval in brackets."""
    return f"[{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"
