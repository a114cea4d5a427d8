"""Rows of ``results.jsonl`` and ``results.csv``: a documented, versioned schema (docs/results-schema.md).

Rows are written and flushed one by one, so that a run that is killed loses nothing that it has said.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from device.bundle import OperatingPoint
from device.errors import TenohiraError
from device.pipeline import Examination
from device.quality import Quality
from device.verdict import Outcome

SCHEMA = 1  # raised when a key changes its meaning or goes away; new keys alone do not raise it

MARKER = ".tenohira-results"  # in every folder of results: no walk takes what was written there for photographs
NOTE = "Results of `tenohira screen`, which does not screen what it wrote here.\n"
LISTS = ("results.jsonl", "results.csv", "index.html")
PICTURES = ("masks", "overlays", "dicom")

UNREADABLE_TIP = "Export the photograph again as JPEG, PNG, TIFF, BMP or DICOM."


class OutputError(TenohiraError):
    """Results cannot be written. Do: free space, or give ``--out`` a folder that may be written to."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One image's answer. Every key is always there; numbers are None where nothing was measured."""

    schema: int = SCHEMA
    image: str  # the path as it was given or found
    task: str = "glaucoma"
    view: str = "auto"
    laterality: str = "unknown"
    outcome: Outcome
    reasons: tuple[str, ...]
    tip: str = ""
    quality: dict[str, Any]
    vcdr: float | None = None
    glaucoma_probability: float | None = None
    disc: dict[str, float] | None = None
    measurements: dict[str, Any] = {}
    faz: dict[str, Any] | None = None
    haemorrhages: dict[str, Any] | None = None
    operating_points: dict[str, dict[str, Any]] = {}
    masks: dict[str, str] = {}  # relative to the output folder
    overlay: str | None = None
    dicom: dict[str, str] = {}  # photograph, segmentation, report
    timings_ms: dict[str, float] = {}
    bundles: dict[str, str] = {}


def row_of(
    image: Path,
    exam: Examination,
    *,
    masks: dict[str, str],
    overlay: str | None,
    timings_ms: dict[str, float],
    bundles: dict[str, str],
    dicom: dict[str, str] | None = None,
) -> Row:
    """The row of an examination; paths are those of the files that were written for it."""
    measures = {} if exam.measures is None else _rounded(msgspec.to_builtins(exam.measures))
    return Row(
        image=text_of(image),
        task=exam.task,
        view=exam.view,
        laterality=exam.laterality,
        outcome=exam.outcome,
        reasons=exam.reasons,
        tip=exam.tip,
        quality=_rounded(msgspec.to_builtins(exam.quality)),
        vcdr=_rounded(exam.vcdr),
        glaucoma_probability=_rounded(exam.glaucoma_probability),
        disc=None if exam.disc is None else _rounded(msgspec.to_builtins(exam.disc)),
        measurements=measures,
        faz=None if exam.faz is None else _rounded(msgspec.to_builtins(exam.faz)),
        haemorrhages=None if exam.haemorrhages is None else _rounded(msgspec.to_builtins(exam.haemorrhages)),
        operating_points={q: _point(p) for q, p in exam.points.items()},
        masks=masks,
        overlay=overlay,
        dicom=dicom or {},
        timings_ms={stage: round(ms, 2) for stage, ms in timings_ms.items()},
        bundles=bundles,
    )


def _point(p: OperatingPoint) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(p).items() if key != "quantity"}


def failed_row(image: Path, task: str, view: str, reason: str, cause: str, tip: str = UNREADABLE_TIP) -> Row:
    """The row of an image that was not screened at all: ungradable, with the reason."""
    quality = msgspec.to_builtins(Quality("reject", 0.0, cause, tip))
    return Row(
        image=text_of(image),
        task=task,
        view=view,
        outcome=Outcome.UNGRADABLE,
        reasons=(reason,),
        tip=tip,
        quality=quality,
    )


def text_of(path: Path) -> str:
    """A path as valid Unicode; bytes that are none become ``\\xNN``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(path: Path) -> str:
    """A path for terminals: characters that steer them, or reorder a line, become ``\\xNN`` or ``\\uNNNN``."""
    steering = r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
    return re.sub(steering, lambda match: match[0].encode("unicode_escape").decode(), text_of(path))


def is_results(folder: Path) -> bool:
    """Whether an earlier run has written its results into a folder."""
    return os.path.exists(folder / MARKER)


@contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Make and mark a folder for results, and keep other runs out of it meanwhile; the lists of an earlier run,
    which tell of other rows, go away.

    A folder that no run has marked keeps its files until they are replaced: its index.html may be another's. The
    lock is the kernel's (flock) and goes with the process, however that ends.
    Raises OutputError where the folder cannot be written to, or another run writes to it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lists = LISTS if is_results(folder) else ()
        marker = os.open(folder / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in lists:
                (folder / name).unlink(missing_ok=True)
            (folder / MARKER).write_text(NOTE)
        except BlockingIOError as error:
            raise OutputError(
                f"another run is writing to {folder}; wait for it, or give --out another folder"
            ) from error
        except OSError as error:
            raise cannot_write(folder, error) from error
        yield
    finally:
        os.close(marker)


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and the folders that it needs. Raises OutputError where that fails."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")  # another process may write the same file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


class Writer:
    """Appends rows to ``results.jsonl`` and ``results.csv`` in a folder; earlier ones are replaced.

    Raises OutputError where they cannot be written.
    """

    CSV_COLUMNS = (
        "image", "outcome", "quality", "quality_score", "quality_cause", "vcdr", "glaucoma_probability",
        "faz_area", "faz_unit", "laterality", "view", "reasons", "tip", "total_ms",
        "haemorrhages", "haemorrhage_field_percent",
    )  # fmt: skip

    def __init__(self, folder: Path, *, as_json: bool, as_csv: bool) -> None:
        try:
            self._json: IO[bytes] | None = open(folder / "results.jsonl", "wb") if as_json else None  # noqa: SIM115
            self._csv: IO[str] | None = None
            if as_csv:
                self._csv = open(folder / "results.csv", "w", newline="", encoding="utf-8")  # noqa: SIM115
                self._save_csv(self.CSV_COLUMNS)
        except OSError as error:
            raise cannot_write(folder, error) from error
        self._folder = folder

    def write(self, row: Row) -> None:
        """Append a row and hand it to the operating system."""
        try:
            if self._json:
                self._json.write(msgspec.json.encode(row) + b"\n")
                self._json.flush()
            self._save_csv(_csv_cells(row))
        except OSError as error:
            raise cannot_write(self._folder, error) from error

    def _save_csv(self, cells: tuple[Any, ...]) -> None:
        if self._csv:
            csv.writer(self._csv).writerow([no_formula(cell) for cell in cells])
            self._csv.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for file in (self._json, self._csv):
            try:
                if file:
                    file.close()
            except OSError as error:
                if kind is None:  # else the error under way is the first and says more
                    raise cannot_write(self._folder, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The sentence for a full disk, a folder that may not be written to, or something in the way."""
    way_out = {
        errno.ENOSPC: "free space, or ",
        errno.EDQUOT: "free space, or ",
        errno.EACCES: "check its owner and permissions, or ",
        errno.EPERM: "check its owner and permissions, or ",
    }.get(error.errno or 0, "")
    return OutputError(f"cannot write to {path}: {error.strerror}; {way_out}give --out another folder")


def _csv_cells(row: Row) -> tuple[Any, ...]:
    faz, haemorrhages = row.faz or {}, row.haemorrhages or {}
    return (
        row.image, row.outcome.value, row.quality["grade"], row.quality["score"], row.quality["cause"], row.vcdr,
        row.glaucoma_probability, faz.get("area"), faz.get("unit"), row.laterality, row.view,
        "; ".join(row.reasons), row.tip, row.timings_ms.get("total"),
        haemorrhages.get("count"), haemorrhages.get("field_percent"),
    )  # fmt: skip


def no_formula(cell: Any) -> Any:
    """Text that a spreadsheet would compute gets an apostrophe: a file may be called ``=1+1.jpg``."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _rounded(value: Any) -> Any:
    """Floats to four decimals, below what any of these quantities can resolve."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return value
