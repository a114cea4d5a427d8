"""How well measured values tell glaucoma from none, each alone and all together.

The table is the user's: of cup-to-disc ratios and rims as ``tenohira evaluate device`` writes them, or of foveal
avascular zones.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from train import metrics
from train.errors import DataError
from train.report import Row, between

FOLDS = 5


@dataclass(frozen=True)
class Table:
    """``values`` eyes x columns; ``label`` 1 with glaucoma, 0 without; ``patient`` by name, no two alike where the
    file has none; ``left_out`` eyes lack a value or a label."""

    columns: tuple[str, ...]
    values: metrics.Floats
    label: metrics.Floats
    patient: tuple[str, ...]
    left_out: int


def read_table(path: Path, columns: Sequence[str]) -> Table:
    """A CSV with the columns ``label`` (1 glaucoma, 0 none), ``patient`` where known, and the named numbers.

    Raises DataError where a column is absent, a cell is no number, there are several systems (each eye would count
    so many times), or a class has fewer than ``FOLDS`` eyes.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a CSV file") from error
    there = list(rows[0]) if rows else []
    if missing := [c for c in ("label", *columns) if c not in there]:
        raise DataError(f"{path.name} has no column {missing[0]!r}; it has {', '.join(there) or 'no rows'}")
    if len(systems := dict.fromkeys(r.get("system") or "" for r in rows)) > 1:
        raise DataError(f"{path.name} has rows of several systems ({', '.join(systems)}); keep those of one")
    kept = [(i, r) for i, r in enumerate(rows) if all((r[c] or "").strip() for c in ("label", *columns))]
    values = np.array([[_number(path, i, c, r[c]) for c in columns] for i, r in kept]).reshape(-1, len(columns))
    label = np.array([_number(path, i, "label", r["label"]) for i, r in kept])
    if wrong := set(label) - {0.0, 1.0}:
        raise DataError(f"{path.name}: label {wrong.pop():g}; write 1 for glaucoma and 0 for none")
    if (fewest := min(int((label == c).sum()) for c in (0, 1))) < FOLDS:
        raise DataError(f"{path.name}: a class has {fewest} eyes with all values; {FOLDS} at least are needed")
    patient = tuple(r.get("patient") or f"row {i}" for i, r in kept)
    return Table(tuple(columns), values, label, patient, len(rows) - len(kept))


def table_rows(table: Table, fit: Table | None = None) -> list[Row]:
    """AUC of each column and of their logistic regression, fitted to ``fit``, or else to the other folds of
    patients. ``fit``, or else the table itself, tells whether high or low values mean glaucoma."""
    source = fit or table
    rows = []
    for i, name in enumerate(table.columns):
        sign = 1 if metrics.auc(source.label, source.values[:, i]) >= 0.5 else -1
        meaning = "high" if sign > 0 else "low"
        rows.append(_row(table, name, meaning, sign * table.values[:, i]))
    if len(table.columns) > 1:
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
        if fit is not None:
            score = model.fit(fit.values, fit.label).decision_function(table.values)
        else:
            folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
            score = cross_val_predict(
                model, table.values, table.label, groups=table.patient, cv=folds, method="decision_function"
            )
        rows.append(_row(table, "all together", "", score))
    return rows


def _row(table: Table, name: str, meaning: str, score: metrics.Floats) -> Row:
    ends = metrics.interval(metrics.auc, table.label, score, strata=table.label, groups=table.patient)
    return {
        "measurement": name,
        "glaucoma where": meaning,
        "eyes (glaucoma)": f"{len(table.label)} ({int(table.label.sum())})",
        "left out": str(table.left_out),
        "AUC": f"{metrics.auc(table.label, score):.4f}",
        "95 % CI": between(ends),
        "sensitivity at 95 % specificity": f"{metrics.sensitivity_at(table.label, score, 0.95):.3f}",
    }


def _number(path: Path, row: int, column: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise DataError(
            f"{path.name}, row {row + 2}: {column} is {text!r}, which is no number; leave unknown ones empty"
        )
    return value
