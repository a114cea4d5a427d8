"""Where a trial's visits come from: folders that a study was exported to, or the instrument's own store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from device.errors import ReferencesError, TrialError
from device.record import Reference, Visit
from device.store import Store, files
from device.store.store import exists

VISITS = "visits.jsonl"
PAGE = 500  # visits that are taken from a store at a time
SIMULATED = "SIMULATED"  # beside the visits: no people took part in this study


class Source(NamedTuple):
    """What was read; only stores hold references. ``doubled`` visits stood in more than one of the folders."""

    visits: list[Visit]
    references: list[Reference]
    simulated: bool
    doubled: int = 0


def read(folders: Sequence[Path]) -> Source:
    """Visits and references of all folders together. Of a visit that is in several the most complete counts: the
    finished one, then that with most captures and readings, then the one read last.

    Raises TrialError where a folder is no study or is damaged, StoreError where it may not be read, and
    ReferencesError where they contradict each other.
    """
    visits: dict[str, Visit] = {}
    references: dict[tuple[str, str], Reference] = {}
    simulated = False
    doubled = 0
    for folder in folders:
        one = _read(folder)
        simulated |= one.simulated
        for visit in one.visits:
            doubled += visit.uid in visits
            visits[visit.uid] = max(visit, visits.get(visit.uid, visit), key=_completeness)
        for r in one.references:
            other = references.setdefault((r.participant, r.laterality), r)
            if other.refer != r.refer or other.vcdr != r.vcdr:
                raise ReferencesError(
                    f"{folder} holds another reference for {r.participant} {r.laterality} than a folder before "
                    "it; give the right one with --references, which replaces both"
                )
    return Source(list(visits.values()), list(references.values()), simulated, doubled)


def of_study(visits: Iterable[Visit], study: str | None) -> tuple[str, list[Visit], int]:
    """A study's code, its visits, and how many others there are. Without ``study``, the only one that there is;
    where no visit has a code, all visits under the empty code. Raises TrialError where none or several remain."""
    visits = list(visits)
    codes = Counter(v.study for v in visits)
    named = sorted(code for code in codes if code)
    if study is None:
        if len(named) > 1:
            raise TrialError(
                f"there are visits of several studies: {', '.join(named)}; choose one with --study CODE"
            )
        study = named[0] if named else ""
    own = [v for v in visits if v.study == study]
    if not own:
        known = f"the studies here are: {', '.join(named)}" if named else "no visit here belongs to a study"
        if not visits:
            raise TrialError("there is no visit here yet; give a store, or a folder that a study was exported to")
        raise TrialError(f"there is no visit of study {study!r}; {known}")
    return study, own, len(visits) - len(own)


def _completeness(visit: Visit) -> tuple[bool, int]:
    parts = (visit.captures, visit.not_imaged, visit.readings, visit.confirmed)
    return visit.finished is not None, sum(map(len, parts))


def opened(folder: Path) -> Store:
    """The store in a folder, which is not made where there is none: TrialError then, or StoreError."""
    if not exists(folder):
        raise TrialError(
            f"there is no store in {folder}; give the folder that was given to 'tenohira serve --store', "
            "or, for a study that was exported, the CSV file to 'tenohira trial report --references'"
        )
    return Store(folder)


def visits_of(store: Store) -> list[Visit]:
    """All visits of a store."""
    visits: list[Visit] = []
    while page := store.visits(limit=PAGE, offset=len(visits)):
        visits += page
    return visits


def name(folder: Path) -> str:
    """What a report calls a source: the folder's own name, for its path is nobody's business."""
    return folder.resolve().name


def _read(folder: Path) -> Source:
    path = folder / VISITS
    if exists(folder):
        with opened(folder) as store:
            return Source(visits_of(store), store.references(), simulated=False)
    if not files.is_file(path):
        raise TrialError(
            f"{folder} is neither a store nor an exported study (there is no {VISITS} in it); "
            "give the folder that was given to 'tenohira serve --store' or that the study was exported to"
        )
    return Source(_lines(path), [], (folder / SIMULATED).exists())


def _lines(path: Path) -> list[Visit]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise TrialError(f"cannot read {path} ({error.strerror}); export the study again") from error
    visits = []
    for number, line in enumerate(lines, start=1):
        try:
            visits.append(msgspec.json.decode(line, type=Visit))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise TrialError(f"line {number} of {path} is damaged ({error}); export the study again") from error
    return visits
