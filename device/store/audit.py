"""The log: append-only, each entry chained to the one before by SHA-256.

An entry is one line of canonical JSON (keys sorted, no white space) with ``seq``, ``time``, ``actor``, ``action``,
``subject`` and ``detail``; its hash is SHA-256 over the hash of the entry before (64 hexadecimal digits; zeros
before the first) and that line. ``detail["rows"]`` says which records the step wrote: their names in the view
``records``, and the SHA-256 of their text, or null where they were removed.

The chain shows that an entry was changed; whoever could rewrite the whole file could also compute the chain anew.
Against that, and against an end that was cut off, helps a head (``seq:hash``) that is kept elsewhere: exports,
backups and reports print it.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from device.errors import StoreError, UsageError
from device.record import now
from device.store import files
from device.store.database import FILE, TRIGGERS, code_of, explained
from device.store.pictures import Pictures, holds

START = "0" * 64  # the hash before the first entry


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One step: who did what to what."""

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


@dataclass(frozen=True)
class AuditResult:
    """What a check of a record has found. ``problems`` are sentences; without any, all is well."""

    problems: tuple[str, ...]
    head: str  # of the log as it is now
    entries: int
    visits: int  # in the record
    removed: int  # visits of which only the log's word is left
    pictures: int  # that examinations have
    orphans: int  # pictures of a step that was cut short; the next opening removes them

    @property
    def ok(self) -> bool:
        """Whether nothing was found to be wrong."""
        return not self.problems


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> str:
    """The JSON that is kept and hashed: keys sorted, no white space."""
    return msgspec.json.encode(value, order="sorted").decode()


def append(
    db: sqlite3.Connection, actor: str, action: str, subject: str, detail: dict[str, Any],
    rows: Mapping[str, str | None] | None = None,
) -> int:  # fmt: skip
    """Add an entry within the caller's transaction; returns its number. ``rows`` are the texts of the records
    that the same transaction writes, None for those that it removes."""
    seq, before = last(db)
    if rows:
        detail = detail | {"rows": {name: None if text is None else digest(text) for name, text in rows.items()}}
    entry = Entry(seq=seq + 1, time=now(), actor=actor, action=action, subject=subject, detail=detail)
    text = canonical(entry)
    db.execute("INSERT INTO audit (seq, entry, hash) VALUES (?, ?, ?)", (seq + 1, text, digest(before + text)))
    return seq + 1


def last(db: sqlite3.Connection) -> tuple[int, str]:
    """Number and hash of the last entry; 0 and ``START`` where there is none."""
    return db.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone() or (0, START)


def head(db: sqlite3.Connection) -> str:
    """The log's head as ``seq:hash``. Whoever keeps it elsewhere can tell later whether the log was cut."""
    seq, value = last(db)
    return f"{seq}:{value}"


def entries(folder: Path, subject: str = "", last: int | None = None) -> list[tuple[Entry, str]]:
    """Entries with their hashes, the oldest first; of a subject, such as a visit's uid, or the last ones only.
    Raises StoreError."""
    with opened_to_read(folder) as db:
        condition, values = ("WHERE subject = ?", [subject]) if subject else ("", [])
        query = f"SELECT entry, hash FROM audit {condition} ORDER BY seq DESC LIMIT ?"
        found = db.execute(query, (*values, -1 if last is None else last)).fetchall()
    try:
        return [(msgspec.json.decode(text, type=Entry), value) for text, value in reversed(found)]
    except msgspec.DecodeError as error:
        raise files.damaged(folder, error) from error


def verify(folder: Path, head: str | None = None) -> AuditResult:
    """Check a record against its log: the chain, each row, each picture. ``head`` is a ``seq:hash`` that was
    printed once. Nothing is written; others may go on working meanwhile.

    Raises StoreError where there is no record or it cannot be read, UsageError where ``head`` is none.
    """
    known = None if head is None else _parsed(head)
    with _lasting(folder), opened_to_read(folder) as db:
        problems = list(_sound(db))
        chain = _Chain()
        try:
            problems += chain.follow(db)
            problems += chain.compare(db)
            visits = db.execute("SELECT count(*) FROM visits").fetchone()[0]
            names = [name for (name,) in db.execute("SELECT DISTINCT name FROM pictures ORDER BY name")]
        except sqlite3.DatabaseError as error:
            if not problems:
                raise
            problems.append(f"the rest of the database cannot be read ({error})")
            visits, names = 0, []
        if known is not None:
            problems += _against(known, chain)
        problems += _pictures(folder, names)
        with files.in_words(folder):
            orphans = sum(f.name not in set(names) for f in Pictures(folder / "pictures").files())
    return AuditResult(
        problems=tuple(problems),
        head=f"{chain.seq}:{chain.hash}",
        entries=len(chain.hashes),
        visits=visits,
        removed=chain.removed,
        pictures=len(names),
        orphans=orphans,
    )


def _lasting(folder: Path) -> AbstractContextManager[None]:
    """While pictures are looked at, none is to be removed; on a read-only disk nobody can."""
    mine = files.is_file(folder / FILE) and os.access(folder, os.W_OK)
    return files.held(folder) if mine else nullcontext()


@contextmanager
def opened_to_read(folder: Path) -> Iterator[sqlite3.Connection]:
    """One state of a record, of which nothing is changed, on a disk that is read-only as well. StoreError."""
    path = folder / FILE
    if not files.is_file(path):
        raise StoreError(
            f"there is no record in {folder}; give the folder that the instrument keeps its record in"
        )
    address = path.resolve().as_uri() + "?mode=ro"
    with explained(folder):
        try:
            db = _connected(address)
        except sqlite3.OperationalError as error:
            unfinished = path.with_name(FILE + "-wal")
            closed = code_of(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if not closed or (unfinished.exists() and unfinished.stat().st_size):
                raise
            db = _connected(address + "&immutable=1")
        with closing(db):
            if _unmade(db):
                raise StoreError(
                    f"the record in {folder} holds nothing, for its making was cut short; "
                    "start the instrument once, which makes it anew"
                )
            yield db


def _unmade(db: sqlite3.Connection) -> bool:
    """Whether the power went before the file's first transaction was on the disk."""
    return not db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()


def _connected(address: str) -> sqlite3.Connection:
    db = sqlite3.connect(address, uri=True, isolation_level=None, timeout=files.PATIENCE)
    try:
        db.execute("BEGIN")
        db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except BaseException:
        db.close()
        raise
    return db


class _Chain:
    """The log, followed from its beginning, and what it says that the record holds."""

    def __init__(self) -> None:
        self.seq, self.hash = 0, START
        self.hashes: dict[int, str] = {}
        self.removed = 0
        self._vouched: dict[str, tuple[str | None, int]] = {}  # record: hash of its text, entry

    def follow(self, db: sqlite3.Connection) -> Iterator[str]:
        """Yields what is wrong with the chain."""
        for seq, text, value in db.execute("SELECT seq, entry, hash FROM audit ORDER BY seq"):
            if seq != self.seq + 1:
                yield f"entries {self.seq + 1} to {seq - 1} of the log are missing"
            elif digest(self.hash + text) != value:
                yield f"entry {seq} of the log does not fit its hash: it, or the one before it, was changed"
            self.seq, self.hash = seq, value
            self.hashes[seq] = value
            try:
                entry = msgspec.json.decode(text, type=Entry)
                self._take(entry)
            except (msgspec.DecodeError, AttributeError):
                yield f"entry {seq} of the log cannot be read"

    def _take(self, entry: Entry) -> None:
        for name, value in entry.detail.get("rows", {}).items():
            self._vouched[name] = (value, entry.seq)
            self.removed += value is None and name.startswith("visit/")

    def compare(self, db: sqlite3.Connection) -> Iterator[str]:
        """Yields records that are not what the log says."""
        left = dict(self._vouched)
        for name, text in db.execute("SELECT name, text FROM records"):
            value, seq = left.pop(name, (None, 0))
            words = name.replace("/", " ", 1)
            if value is None:
                yield f"{words} is in the record, but not in the log"
            elif value != digest(text):
                yield f"{words} was changed after entry {seq} of the log"
        for name, (value, seq) in left.items():
            if value is not None:
                words = name.replace("/", " ", 1)
                yield f"{words} is gone from the record, and the log (entry {seq}) still has it"


def _sound(db: sqlite3.Connection) -> Iterator[str]:
    """What SQLite itself, and the log's guards in it, find wrong."""
    try:
        for (words,) in db.execute("PRAGMA integrity_check"):
            if words != "ok":
                yield f"the database is damaged: {words}"
        for table, *_ in db.execute("PRAGMA foreign_key_check"):
            yield f"the database is damaged: a row of {table} belongs to nothing"
        there = {text for (text,) in db.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'")}
    except sqlite3.DatabaseError as error:
        yield f"the database is damaged: {error}"
        return
    if not there.issuperset(TRIGGERS):
        yield "the guards that keep the log from being changed were taken out of the database"


def _pictures(folder: Path, names: list[str]) -> Iterator[str]:
    for name in names:
        path = folder / "pictures" / name[:2] / name
        try:
            if not path.exists():
                yield f"the picture {name} is missing"
            elif not holds(path, name):
                yield f"the picture {name} was changed: its content is not what its name says"
        except OSError as error:
            yield f"the picture {name} cannot be read ({error.strerror})"


def _parsed(head: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", head.strip().lower())
    if match is None:
        raise UsageError(
            f"{head!r} is no head of a log; give number:hash as an export, a backup or a report has it"
        )
    return int(match[1]), match[2]


def _against(head: tuple[int, str], chain: _Chain) -> Iterator[str]:
    seq, value = head
    if seq > chain.seq:
        yield f"the log ends at entry {chain.seq}, but it once had an entry {seq}: its end was cut off"
    elif chain.hashes.get(seq, START) != value:
        yield f"entry {seq} of the log is another one than the known head says: the log was rewritten"
