"""The reference standard of a trial, from a CSV file: all rows, or none and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from device.errors import ReferencesError
from device.record import Reference, Visit

REQUIRED = ("participant", "laterality", "refer")
OPTIONAL = ("vcdr", "source")
ANSWERS = {"yes": True, "1": True, "no": False, "0": False}
SHOWN = 20  # faults that are told at once


class Sheet(NamedTuple):
    """A reference standard, and what stood in its file besides."""

    references: tuple[Reference, ...]
    ignored: tuple[str, ...]  # names of columns that mean nothing here


def read(path: Path) -> Sheet:
    """The references of a CSV file with the columns ``participant``, ``laterality`` (OD or OS), ``refer`` (yes,
    no, 1 or 0), and optionally ``vcdr`` (0 to 1) and ``source``; other columns are named and ignored. UTF-8, with
    comma, semicolon or tab between the cells.

    Raises ReferencesError that lists each row at fault by its number in a spreadsheet (the header is row 1).
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ReferencesError(f"cannot read {path} ({error.strerror}); give the CSV file of references") from error
    except UnicodeDecodeError as error:
        raise ReferencesError(f"{path} is not UTF-8; save it again as 'CSV UTF-8'") from error
    header, *rows = [[cell.strip() for cell in row] for row in _cells(path, text)] or [[]]
    names = [name.lower() for name in header]
    _check_header(path, names)
    references: list[Reference] = []
    faults: list[str] = []
    first_row: dict[tuple[str, str], int] = {}
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        try:
            reference = _reference(names, row)
            eye = (reference.participant, reference.laterality)
            if eye in first_row:
                raise ValueError(f"{' '.join(eye)} is already in row {first_row[eye]}: keep one of them")
            first_row[eye] = number
            references.append(reference)
        except ValueError as error:
            faults.append(f"row {number}: {error}")
    if faults:
        more = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
        listed = "\n".join(f"  {fault}" for fault in [*faults[:SHOWN], *more])
        raise ReferencesError(
            f"{path} was not taken over, for {len(faults)} of its rows cannot be used:\n{listed}\n"
            "correct them and import the file again"
        )
    if not references:
        raise ReferencesError(f"{path} has no row below its header; fill in one row an eye")
    return Sheet(tuple(references), tuple(n for n in header if n and n.lower() not in REQUIRED + OPTIONAL))


def unknown(references: Iterable[Reference], visits: Sequence[Visit]) -> list[Reference]:
    """Those of whose participant there is no visit."""
    known = {visit.participant for visit in visits}
    return [r for r in references if r.participant not in known]


def _cells(path: Path, text: str) -> list[list[str]]:
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise ReferencesError(f"{path} is no CSV ({error}); save the table again as 'CSV UTF-8'") from error


def _check_header(path: Path, names: Sequence[str]) -> None:
    missing = [name for name in REQUIRED if name not in names]
    doubled = [name for name in REQUIRED + OPTIONAL if names.count(name) > 1]
    if missing or doubled:
        fault = f"lacks the column {missing[0]!r}" if missing else f"has the column {doubled[0]!r} twice"
        raise ReferencesError(
            f"{path} {fault}; its first row must name {', '.join(REQUIRED)} and may name {', '.join(OPTIONAL)}"
        )


def _reference(names: Sequence[str], row: Sequence[str]) -> Reference:
    """One row. Raises ValueError that says what is wrong with it."""
    if len(row) > len(names):
        raise ValueError(f"has {len(row)} cells, but the header {len(names)}")
    cell = dict.fromkeys(OPTIONAL, "") | dict(zip(names, [*row, *[""] * (len(names) - len(row))]))
    if not cell["participant"]:
        raise ValueError("participant is empty")
    eye = cell["laterality"].upper()
    if eye not in ("OD", "OS"):
        raise ValueError(f"laterality is {cell['laterality']!r}: write OD (right) or OS (left)")
    answer = cell["refer"].lower()
    if answer not in ANSWERS:
        way_out = "write yes, no, 1 or 0, or leave out the row of an eye without a reference"
        raise ValueError(f"refer is {cell['refer']!r}: {way_out}")
    return Reference(
        participant=cell["participant"],
        laterality="OD" if eye == "OD" else "OS",
        refer=ANSWERS[answer],
        vcdr=_ratio(cell["vcdr"]),
        source=cell["source"],
    )


def _ratio(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError(f"vcdr is {text!r}: write a number from 0 to 1 with a point, or nothing")
    return value
