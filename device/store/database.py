"""The SQLite file of the record: how it is opened, its schema, and its errors in words.

WAL with ``synchronous=FULL``: a transaction that was committed is on the disk, also after a power cut
(https://www.sqlite.org/pragma.html#pragma_synchronous), and readers do not wait for the writer.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from device.errors import StoreError
from device.store import files

FILE = "record.db"

PARTS = ("captures", "not_imaged", "readings", "withdrawals")  # tables of what belongs to a visit
OWN = "CASE json_valid(json) WHEN 0 THEN '' ELSE iif(json_extract(json, '$.visit') = visit, json, '') END"

# Each record is kept as its JSON, to the byte: the log holds the hash of that text. What is searched for is
# derived from it by SQLite itself, so that the two cannot differ.
FIRST = (
    """CREATE TABLE audit (
        seq INTEGER PRIMARY KEY,
        entry TEXT NOT NULL CHECK (json_extract(entry, '$.seq') = seq),
        hash TEXT NOT NULL,
        subject TEXT GENERATED ALWAYS AS (json_extract(entry, '$.subject')) VIRTUAL
    )""",
    "CREATE INDEX audit_subject ON audit (subject)",
    """CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_in_order BEFORE INSERT ON audit
        WHEN NEW.seq <> (SELECT coalesce(max(seq), 0) + 1 FROM audit)
        BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    # changed and exported are numbers of audit entries: a visit is exported while exported >= changed
    """CREATE TABLE visits (
        id INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        json TEXT NOT NULL CHECK (json_extract(json, '$.uid') = uid),
        imported INTEGER NOT NULL DEFAULT 0,
        changed INTEGER NOT NULL DEFAULT 0,
        exported INTEGER NOT NULL DEFAULT 0,
        number INTEGER GENERATED ALWAYS AS (json_extract(json, '$.number')) VIRTUAL,
        participant TEXT GENERATED ALWAYS AS (json_extract(json, '$.participant')) VIRTUAL,
        operator TEXT GENERATED ALWAYS AS (json_extract(json, '$.operator')) VIRTUAL,
        study TEXT GENERATED ALWAYS AS (json_extract(json, '$.study')) VIRTUAL,
        finished TEXT GENERATED ALWAYS AS (json_extract(json, '$.finished')) VIRTUAL
    )""",
    "CREATE UNIQUE INDEX visits_number ON visits (number) WHERE imported = 0",
    "CREATE INDEX visits_participant ON visits (participant)",
    "CREATE INDEX visits_study ON visits (study)",
    *(
        f"""CREATE TABLE {table} (
        id INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        visit TEXT NOT NULL REFERENCES visits (uid) ON DELETE CASCADE,
        json TEXT NOT NULL CHECK (json_extract(json, '$.visit') = visit)
    )"""
        for table in PARTS
    ),
    *(f"CREATE INDEX {table}_visit ON {table} (visit)" for table in PARTS),
    """CREATE TABLE pictures (
        capture TEXT NOT NULL REFERENCES captures (uid) ON DELETE CASCADE,
        name TEXT NOT NULL,
        PRIMARY KEY (capture, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX pictures_name ON pictures (name)",
    """CREATE TABLE parcels (
        visit TEXT PRIMARY KEY REFERENCES visits (uid) ON DELETE CASCADE,
        queued TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        next_try TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        sent TEXT
    )""",
    "CREATE TABLE documents (name TEXT PRIMARY KEY, json TEXT NOT NULL)",  # store, settings, references
    "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    # Everything that the log vouches for: a name, and the text whose hash the log holds. A row that was moved to
    # another visit has the text '' here. (A connection that may only read does not look at CHECK.)
    f"""CREATE VIEW records (name, text) AS
        SELECT 'visit/' || uid, json FROM visits
        UNION ALL SELECT 'capture/' || uid, {OWN} FROM captures
        UNION ALL SELECT 'picture/' || capture || '/' || name, name FROM pictures
        UNION ALL SELECT 'not_imaged/' || uid, {OWN} FROM not_imaged
        UNION ALL SELECT 'reading/' || uid, {OWN} FROM readings
        UNION ALL SELECT 'withdrawal/' || uid, {OWN} FROM withdrawals
        UNION ALL SELECT 'parcel/' || visit, json_array(queued, sent) FROM parcels
        UNION ALL SELECT 'document/' || name, json FROM documents
        UNION ALL SELECT 'counter/' || name, CAST(value AS TEXT) FROM counters""",
)

TRIGGERS = tuple(s for s in FIRST if s.startswith("CREATE TRIGGER"))

MIGRATIONS = (FIRST,)  # MIGRATIONS[n] leads from schema n to n + 1; what was released is never edited


class Database:
    """One connection, used by one thread at a time. Every error is a StoreError in words."""

    def __init__(self, folder: Path, *, patience: float = files.PATIENCE) -> None:
        self.folder, self._patience = folder, patience
        self._lock = threading.RLock()
        self._open()

    def _open(self) -> None:
        with explained(self.folder):
            self._connection = sqlite3.connect(
                self.folder / FILE, timeout=self._patience, isolation_level=None, check_same_thread=False
            )
        try:
            with explained(self.folder):
                self._prepare(self._patience)
            self._file = self._there()
        except BaseException:
            self._connection.close()
            raise

    def _there(self) -> tuple[int, int]:
        """Which file has our name now."""
        with files.in_words(self.folder):
            found = os.stat(self.folder / FILE)
        return found.st_dev, found.st_ino

    def _follow(self) -> None:
        """Where the folder was moved away and another one put there (a card put back, a backup), open that one:
        SQLite would go on with the file that it has, which nobody finds again. StoreError where there is none."""
        if not self._connection.in_transaction and self._there() != self._file:
            self._connection.close()  # SQLite leaves the log of a file alone that has another name by now
            self._open()

    def _prepare(self, patience: float) -> None:
        db = self._connection
        version = version_of(db)
        if version > len(MIGRATIONS):
            raise StoreError(
                f"the record in {self.folder} was written by a newer tenohira (schema {version}; this one knows "
                f"{len(MIGRATIONS)}); update tenohira"
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        _switch_to_wal(db, self.folder, patience)
        db.execute("BEGIN IMMEDIATE")
        try:
            for number, statements in enumerate(MIGRATIONS[version_of(db) :], start=version_of(db) + 1):
                for statement in statements:
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several questions to one state of the record."""
        with self._lock, explained(self.folder):
            self._follow()
            if self._connection.in_transaction:  # asked from within another
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: on the disk when this returns, or, with an error, not there at all."""
        with self._lock, explained(self.folder):
            self._follow()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def copy_to(self, folder: Path) -> None:
        """Copy one state of the file into another folder; nobody waits for it. Raises StoreError."""
        with explained(self.folder), closing(sqlite3.connect(self.folder / FILE)) as source:
            source.execute("SELECT 1 FROM audit LIMIT 1").fetchone()
            with explained(folder), closing(sqlite3.connect(folder / FILE)) as copy:
                source.backup(copy)

    def close(self) -> None:
        """Let go of the file. Closing twice is no error."""
        with self._lock, explained(self.folder):
            self._connection.close()


def version_of(db: sqlite3.Connection) -> int:
    """The schema's number in a file; 0: nothing was made yet."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _switch_to_wal(db: sqlite3.Connection, folder: Path, patience: float) -> None:
    """SQLite does not always wait here for another program that is opening or closing the file."""
    end = time.monotonic() + patience
    while True:
        try:
            if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise StoreError(
                    f"the disk that holds {folder} is of a kind that SQLite cannot share; use a local disk"
                )
            return
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= end:
                raise
            time.sleep(0.01)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """A sqlite3.Error that happens inside becomes a StoreError in words."""
    try:
        yield
    except sqlite3.Error as error:
        raise _in_words(error, folder) from error


def code_of(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for errors of the Python module itself."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _in_words(error: sqlite3.Error, folder: Path) -> StoreError:
    code = code_of(error)
    if code == sqlite3.SQLITE_FULL:
        return files.full(folder)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return files.busy(folder)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH):
        return files.read_only(folder)
    if code == sqlite3.SQLITE_IOERR:
        return files.full(folder) if _no_room(folder) else files.failing(folder, error)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, sqlite3.OperationalError):
        # Where Linux closes a disk after an error, what SQLite shares in memory may go too: nothing is damaged
        return files.failing(folder, error) if files.has_failed(folder) else files.damaged(folder, error)
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return StoreError(f"the record in {folder} was closed; open it again")
    return StoreError(
        f"the record in {folder} refuses this ({error}); please report it, it is a fault of tenohira"
    )


def _no_room(folder: Path) -> bool:
    """SQLite reports some failures for want of space as failures of the disk."""
    return files.free_bytes(folder) < 2**16
