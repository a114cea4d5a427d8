"""A study as a folder that can be read without tenohira, and taken into another record: docs/record.md.

CSV for spreadsheets, ``visits.jsonl`` for programs (each line a ``device.record.Visit``, nothing is lost), the
pictures, and ``manifest.json`` with the SHA-256 of every file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from device import __version__
from device.cli import NOTICE
from device.errors import StoreError, StoreFullError
from device.eyes import eye_result
from device.record import EYES, Capture, Visit, now
from device.results import no_formula
from device.store import audit, files, rows
from device.store.database import Database
from device.store.pictures import NAME, holds
from device.store.store import Store
from device.store.tables import TABLES, readme

FORMAT = 1  # raised when a column or a key changes its meaning or goes away
MANIFEST, VISITS = "manifest.json", "visits.jsonl"
FOLDERS = ("images", "overlays", "masks", "raw")


class File(msgspec.Struct, frozen=True):
    """A file of the export."""

    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """``manifest.json``: what the folder holds, and from where."""

    format: int
    study: str | None  # None: every examination of the record
    exported: str  # time
    device: str
    software: str
    head: str  # of the record's audit log, as it was exported
    visits: int
    notice: str = NOTICE
    raw: dict[str, list[str]] = {}  # by capture: pictures that belong to it beyond those that it names
    files: dict[str, File]  # by path in the folder, this one excepted


def export_study(store: Store, out: Path, study: str | None) -> Manifest:
    """Write the examinations of a study (None: all of the record) as a new folder, whole or not at all, and note
    in the record that they were exported. Others go on working meanwhile.

    Raises StoreError where the folder is there already or cannot be written, where there is nothing to export,
    and where a picture is missing or damaged; StoreFullError.
    """
    with files.whole(out) as part, files.held(store.folder):
        database = Database(store.folder)
        try:
            with database.reading() as db:
                seq, _ = audit.last(db)
                head = audit.head(db)
                uids = _uids(db, study)
                contents = _Contents(part, store)
                for uid in uids:
                    contents.add(db, uid)
        finally:
            database.close()
        manifest = Manifest(
            format=FORMAT,
            study=study,
            exported=now(),
            device=store.device,
            software=__version__,
            head=head,
            visits=len(uids),
            raw=contents.raw,
            files=contents.finish(),
        )
        text = msgspec.json.format(msgspec.json.encode(manifest, order="sorted"), indent=1)
        files.write_synced(part / MANIFEST, text + b"\n")
    with store.database.writing() as db:
        db.executemany("UPDATE visits SET exported = max(exported, ?) WHERE uid = ?", [(seq, uid) for uid in uids])
        audit.append(db, "operator", "export", study or "all", {"head": head, "visits": len(uids)})
    return manifest


def _uids(db: sqlite3.Connection, study: str | None) -> list[str]:
    condition, values = ("1", []) if study is None else ("study = ?", [study])
    uids = [uid for (uid,) in db.execute(f"SELECT uid FROM visits WHERE {condition} ORDER BY id", values)]
    if not uids:
        where = f" in study {study!r}" if study else ""
        raise StoreError(
            f"there is no examination to export{where}; check the study's code and the record's folder"
        )
    return uids


class _Contents:
    """The files of an export, as they are written."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store
        self.raw: dict[str, list[str]] = {}
        self._files: dict[str, File] = {}
        self._texts = {name: io.StringIO() for name in TABLES}
        self._lines = io.BytesIO()
        for name, columns in TABLES.items():
            csv.writer(self._texts[name]).writerow([c.name for c in columns])
        for name in FOLDERS:
            (folder / name).mkdir()

    def add(self, db: sqlite3.Connection, uid: str) -> None:
        visit = rows.visit(db, uid, self.store.folder)
        assert visit is not None  # the same transaction has listed it
        self._lines.write(msgspec.json.encode(visit) + b"\n")
        self._line("visits.csv", visit, {eye: eye_result(visit, eye) for eye in EYES})
        for reading in visit.readings:
            self._line("readings.csv", visit, reading)
        for capture in visit.captures:
            self._line("captures.csv", visit, capture)
            names = [n for (n,) in db.execute("SELECT name FROM pictures WHERE capture = ?", (capture.uid,))]
            for name in names:
                for place in _places(capture, name):
                    self._copy(place, name, visit)
            raw = [name for name in names if _places(capture, name) == ["raw"]]
            if raw:
                self.raw[capture.uid] = raw

    def _line(self, table: str, visit: Visit, other: Any) -> None:
        cells = [c.of(visit, other) for c in TABLES[table]]
        csv.writer(self._texts[table]).writerow([no_formula(cell) for cell in cells])

    def _copy(self, place: str, name: str, visit: Visit) -> None:
        path = f"{place}/{name}"
        if path in self._files:
            return
        data = self.store.pictures.read(name)
        if data is None:
            raise StoreError(
                f"the picture {name} of examination {visit.number} is missing or damaged; "
                "put it back from a backup, then export again"
            )
        self._write(path, data)

    def _write(self, path: str, data: bytes) -> None:
        files.write_synced(self.folder / path, data)
        self._files[path] = File(hashlib.sha256(data).hexdigest(), len(data))

    def finish(self) -> dict[str, File]:
        """Write the lists; returns every file of the export but the manifest."""
        for name, text in self._texts.items():
            self._write(name, text.getvalue().encode())
        self._write(VISITS, self._lines.getvalue())
        self._write("README.txt", readme().encode())
        return self._files


def _places(capture: Capture, name: str) -> list[str]:
    """The folders that a picture of a capture goes to."""
    sha256 = name.partition(".")[0]
    named = {"images": [capture.image], "overlays": [capture.overlay], "masks": list(capture.masks.values())}
    return [place for place, those in named.items() if sha256 in those] or ["raw"]


# import


class ImportResult(NamedTuple):
    """Examinations of an export: new ones, those that had grown since, and those that were known already."""

    added: int
    extended: int
    known: int


def import_study(store: Store, export: Export) -> ImportResult:
    """Take the examinations of an export into a record, all of them or none; uids and origin stay.

    What is there already is not taken twice, and what was added to an examination since is added. Raises
    StoreError where a picture was changed since the export was opened, or where a record here has the same uid and
    other content; StoreFullError.
    """
    with store.database.reading() as db:  # refuse before anything is copied
        for visit in export.visits:
            _news(db, visit, export, store)
    _check_room(store, sum(export.manifest.files[path].bytes for path in export.pictures.values()))
    with files.held(store.folder):
        for name, path in export.pictures.items():
            with files.in_words(export.folder):
                data = (export.folder / path).read_bytes()
            if store.pictures.keep([data]) != [name]:
                raise _changed(path, export.folder)
        with store.database.writing() as db:
            fates = [_take(db, visit, export, store) for visit in export.visits]
    return ImportResult(fates.count("added"), fates.count("extended"), fates.count("known"))


@dataclass(frozen=True)
class Export:
    """An export whose files are what its manifest says."""

    folder: Path
    manifest: Manifest
    visits: list[Visit]
    pictures: dict[str, str]  # paths by names

    def pictures_of(self, capture: Capture) -> list[str]:
        """Names of the pictures that belong to a capture, those that it names and others."""
        raw = self.manifest.raw.get(capture.uid, [])
        return sorted({*raw, *(self.names[sha256] for sha256 in rows.named(capture))})

    @cached_property
    def names(self) -> dict[str, str]:
        """Names of pictures by their SHA-256."""
        return {name.partition(".")[0]: name for name in self.pictures}


def opened(folder: Path) -> Export:
    """An export, which is checked whole before anything is written for it. Raises StoreError where it is none, and
    where a file is missing, changed or not understood."""
    manifest = _read_manifest(folder)
    with files.in_words(folder):
        _check_files(folder, manifest)
        visits = list(_read_visits(folder))
    paths = [path for path in manifest.files if path.partition("/")[0] in FOLDERS]
    export = Export(folder, manifest, visits, {Path(path).name: path for path in paths})
    for visit in visits:
        _check_visit(visit, export, folder)
    return export


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not files.is_file(path):
        raise StoreError(
            f"{folder} is no export of examinations: it has no {MANIFEST}; give the folder of an export"
        )
    with files.in_words(folder):
        data = path.read_bytes()
    try:
        version = msgspec.json.decode(data, type=dict[str, Any]).get("format")
        if isinstance(version, int) and version > FORMAT:
            raise StoreError(
                f"the export {folder} was written by a newer tenohira (format {version}; "
                f"this one knows {FORMAT}); update tenohira"
            )
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise _not_understood(MANIFEST, folder, error) from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Raises StoreError where a file is missing or changed, or a name leads elsewhere."""
    if VISITS not in manifest.files:
        raise _not_understood(MANIFEST, folder, f"it does not name {VISITS}")
    for path, file in manifest.files.items():
        place, _, name = path.rpartition("/")
        if not (place in FOLDERS and NAME.fullmatch(name)) and path not in (*TABLES, VISITS, "README.txt"):
            raise _not_understood(MANIFEST, folder, f"it names {path!r}")
        if (place and name.partition(".")[0] != file.sha256) or not holds(folder / path, file.sha256):
            raise _changed(path, folder)


def _read_visits(folder: Path) -> Iterator[Visit]:
    with open(folder / VISITS, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield msgspec.json.decode(line, type=Visit)
            except (msgspec.DecodeError, UnicodeError) as error:
                raise _not_understood(f"{VISITS}, line {number}", folder, error) from error


def _check_visit(visit: Visit, export: Export, folder: Path) -> None:
    """Raises StoreError where a record contradicts itself, or a picture that it names is not in the export."""
    captures = {capture.uid for capture in visit.captures}
    if any(part.visit != visit.uid for _, _, part in rows.parts_of(visit)) or not captures.issuperset(
        [*(w.capture for w in visit.withdrawn), *visit.confirmed]
    ):
        raise _not_understood(VISITS, folder, f"examination {visit.uid} holds what belongs to another")
    for capture in visit.captures:
        missing = {*rows.named(capture)} - export.names.keys()
        missing |= {*export.manifest.raw.get(capture.uid, [])} - export.pictures.keys()
        if missing:
            raise _not_understood(VISITS, folder, f"the picture {min(missing)} is not in the export")


class _News(NamedTuple):
    """What is to become of an examination (added, extended, known), the new records by their names, and the
    captures of which it is new that they were kept for the chosen eye."""

    fate: str
    records: dict[str, str]
    confirmed: list[Capture]


def _news(db: sqlite3.Connection, visit: Visit, export: Export, store: Store) -> _News:
    """Raises StoreError where a record here has the same uid and other content."""
    there = rows.visit(db, visit.uid, store.folder)
    news: dict[str, str] = {}
    for table, uid, part in rows.parts_of(visit):
        text = rows.text_of(part)
        if not rows.recorded(db, table, uid, text, store.folder):
            news[f"{rows.SINGULAR[table]}/{uid}"] = text
            if isinstance(part, Capture):
                news |= {f"picture/{uid}/{name}": name for name in export.pictures_of(part)}
    known = there.confirmed if there else ()
    confirmed = [c for c in visit.captures if c.uid in visit.confirmed and c.uid not in known]
    if there is None:
        return _News("added", {f"visit/{visit.uid}": rows.text_of(visit), **news}, confirmed)
    finished = there.finished or visit.finished
    text = rows.text_of(msgspec.structs.replace(visit, finished=finished))
    if rows.text_of(msgspec.structs.replace(there, finished=finished)) != text or (
        visit.finished is not None and visit.finished != finished
    ):
        raise rows.conflict("examination", visit.uid)
    if finished != there.finished:
        news = {f"visit/{visit.uid}": text, **news}
    return _News("extended" if news or confirmed else "known", news, confirmed)


def _take(db: sqlite3.Connection, visit: Visit, export: Export, store: Store) -> str:
    """Write what is new of an examination; returns what became of it."""
    fate, news, confirmed = _news(db, visit, export, store)
    if fate == "known":
        return fate
    detail = {"device": visit.device, "number": visit.number, "head": export.manifest.head}
    entry = audit.append(db, "operator", "import", visit.uid, detail, news)
    db.execute(
        "INSERT INTO visits (uid, json, imported, changed) VALUES (:uid, :text, 1, :entry) "
        "ON CONFLICT (uid) DO UPDATE SET changed = :entry, json = coalesce(:changed, json)",
        {
            "uid": visit.uid,
            "text": rows.text_of(visit),
            "changed": news.get(f"visit/{visit.uid}"),
            "entry": entry,
        },
    )
    for table, uid, part in rows.parts_of(visit):
        if f"{rows.SINGULAR[table]}/{uid}" in news:
            rows.insert(db, table, uid, visit.uid, rows.text_of(part))
    links = [name.split("/")[1:] for name in news if name.startswith("picture/")]
    db.executemany("INSERT INTO pictures (capture, name) VALUES (?, ?)", links)
    for capture in confirmed:
        rows.log_kept(db, "operator", capture)
    return fate


def _check_room(store: Store, needed: int) -> None:
    room = store.room()
    keep = store.settings.keep_free_mb
    if room.free_mb < keep + needed // 2**20:
        raise StoreFullError(
            f"the export needs {needed // 2**20} MB, and {room.free_mb} MB are free, of which {keep} MB must stay "
            "free; free space, then import again"
        )


def _changed(path: str, folder: Path) -> StoreError:
    return StoreError(
        f"{path!r} of the export {folder} is missing or was changed; nothing was imported: copy the export again"
    )


def _not_understood(what: str, folder: Path, why: object) -> StoreError:
    return StoreError(
        f"{what} of the export {folder} cannot be understood ({why}); nothing was imported: export again"
    )
