"""The report's figures as CSV files, so that anybody can compute them again: eyes first, then each table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from device.results import no_formula, write_file
from device.trial.cohort import Cohort, TrialEye
from device.trial.findings import Report

EYE_COLUMNS = (
    "participant", "laterality", "visit", "number", "site", "device", "operator", "software", "masked",
    "index_test", "answer", "cause", "probability", "vcdr", "presses", "photographs", "graded", "reference",
    "reference_vcdr", "reference_source", "mixed_up",
)  # fmt: skip


def write(folder: Path, cohort: Cohort, report: Report) -> None:
    """Every table. Raises OutputError where they cannot be written."""
    tables: dict[str, Sequence[Mapping[str, Any]]] = {
        "eyes": [_eye(e) for e in cohort.eyes],
        "readings": [
            {"participant": e.participant, **msgspec.to_builtins(r)} for e in cohort.eyes for r in e.readings
        ],
        "flow": [{"what": k, "n": v} for k, v in flat(report.flow).items()],
        "left_out": [flat(v) for v in report.left_out],
        "missing": [flat(m) for m in (*report.missing, *report.laterality)],
        "versions": [flat(c) for c in (*report.versions, *report.reference_sources)],
        "workload": [flat(s) for s in report.spreads],
    }
    by_part = {
        "accuracy": "accuracy", "cross": "cross", "causes": "causes", "agreement": "ratings", "vcdr": "ratios",
        "repeatability": "repeats", "groups": "groups",
    }  # fmt: skip
    for name, field in by_part.items():
        tables[name] = [
            {"index_test": p.index_test.label, **flat(row)} for p in report.parts for row in getattr(p, field)
        ]
    tables["agreement"] = [*tables["agreement"], *({"index_test": "", **flat(r)} for r in report.readers)]
    tables["roc"] = [
        {"index_test": p.index_test.label, "false_positive": x, "sensitivity": y}
        for p in report.parts
        if p.roc
        for x, y in zip(p.roc.false_positive, p.roc.sensitivity)
    ]
    for name, rows in tables.items():
        write_file(folder / f"{name}.csv", _csv(rows, EYE_COLUMNS if name == "eyes" else ()).encode())


def flat(record: msgspec.Struct | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A record as one row: ``share.low`` becomes ``share_low``; lists of pairs (points of a plot) stay out."""
    row: dict[str, Any] = {}
    values = msgspec.to_builtins(record) if isinstance(record, msgspec.Struct) else record
    for key, value in values.items():
        if isinstance(value, dict):
            row |= flat(value, f"{prefix}{key}_")
        elif isinstance(value, list | tuple):
            if key != "pairs":
                row[prefix + key] = " | ".join(
                    " ".join(map(str, v)) if isinstance(v, list) else str(v) for v in value
                )
        else:
            row[prefix + key] = value
    return row


def _eye(e: TrialEye) -> dict[str, Any]:
    row = {name: getattr(e, name) for name in EYE_COLUMNS}
    return row | {"reference": {True: "refer", False: "no_referral", None: ""}[e.reference]}


def _csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Without rows only the columns, if they are known."""
    rows = list(rows)
    names = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(names)
    for row in rows:
        writer.writerow([no_formula("" if (v := row.get(name)) is None else v) for name in names])
    return text.getvalue()
