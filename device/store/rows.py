"""Records as rows: structs to the JSON that is kept, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from device.errors import StoreError
from device.record import Capture, NotImaged, Parcel, Reading, Visit, Withdrawal
from device.store import audit, files
from device.store.audit import canonical, digest

T = TypeVar("T")
Part = Capture | NotImaged | Reading | Withdrawal  # what belongs to a visit

LATERALITY_KEPT = "laterality kept"  # the log's action, with a capture's uid as its subject
PARCEL = "SELECT visit, queued, attempts, next_try, error, sent FROM parcels"
KINDS: dict[str, type[Part]] = {
    "captures": Capture, "not_imaged": NotImaged, "readings": Reading, "withdrawals": Withdrawal,
}  # fmt: skip
SINGULAR = {"captures": "capture", "not_imaged": "not_imaged", "readings": "reading", "withdrawals": "withdrawal"}


def text_of(record: Any) -> str:
    """The JSON of a record as it is kept; a visit without what has rows of its own, or entries of the log."""
    if isinstance(record, Visit):
        record = msgspec.structs.replace(
            record, captures=(), not_imaged=(), readings=(), withdrawn=(), confirmed=()
        )
    return canonical(record)


def decode(text: str, kind: type[T], folder: Path) -> T:
    """The record of a JSON text. Raises StoreError where it is damaged."""
    try:
        record: T = _decoder(cast(Any, kind)).decode(text)
        return record
    except (msgspec.DecodeError, UnicodeError) as error:
        raise files.damaged(folder, error) from error


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def visit(db: sqlite3.Connection, uid: str, folder: Path) -> Visit | None:
    """A visit with everything that belongs to it, in the order in which it was recorded."""
    found = db.execute("SELECT json FROM visits WHERE uid = ?", (uid,)).fetchone()
    if found is None:
        return None

    def of(table: str, kind: type[T]) -> tuple[T, ...]:
        texts = db.execute(f"SELECT json FROM {table} WHERE visit = ? ORDER BY id", (uid,))
        return tuple(decode(text, kind, folder) for (text,) in texts)

    return msgspec.structs.replace(
        decode(found[0], Visit, folder),
        captures=of("captures", Capture),
        not_imaged=of("not_imaged", NotImaged),
        readings=of("readings", Reading),
        withdrawn=of("withdrawals", Withdrawal),
        confirmed=_confirmed(db, uid),
    )


def log_kept(db: sqlite3.Connection, actor: str, capture: Capture) -> None:
    """Write into the log that a capture is of the chosen eye, whatever it looks like."""
    detail = {"chosen": capture.laterality, "seen": capture.seen_laterality}
    audit.append(db, actor, LATERALITY_KEPT, capture.uid, detail)


def _confirmed(db: sqlite3.Connection, visit: str) -> tuple[str, ...]:
    """Captures that the log says were kept for the chosen eye: they have no rows of their own."""
    kept = "SELECT 1 FROM audit WHERE subject = captures.uid AND json_extract(entry, '$.action') = ?"
    query = f"SELECT uid FROM captures WHERE visit = ? AND EXISTS ({kept}) ORDER BY id"
    return tuple(uid for (uid,) in db.execute(query, (visit, LATERALITY_KEPT)))


def parts_of(visit: Visit) -> Iterator[tuple[str, str, Part]]:
    """What belongs to a visit: its table, its uid, and the record."""
    yield from (("captures", part.uid, part) for part in visit.captures)
    yield from (("not_imaged", uid_of(part), part) for part in visit.not_imaged)
    yield from (("readings", part.uid, part) for part in visit.readings)
    yield from (("withdrawals", part.capture, part) for part in visit.withdrawn)


def uid_of(not_imaged: NotImaged) -> str:
    """It brings no uid: its content is its own, so that the same words twice are said once."""
    return digest(text_of(not_imaged))


def named(capture: Capture) -> set[str]:
    """SHA-256 of the pictures that a capture names."""
    return {capture.image, capture.overlay, capture.raw, *capture.masks.values()} - {""}


def recorded(db: sqlite3.Connection, table: str, uid: str, text: str, folder: Path) -> bool:
    """Whether this very record is there. Raises StoreError where another one has its uid."""
    known = db.execute(f"SELECT json FROM {table} WHERE uid = ?", (uid,)).fetchone()
    if known is None:
        return False
    # An older version wrote the record without the fields that came later: what it says counts, not its text.
    kind = KINDS[table]
    if known[0] != text and decode(known[0], kind, folder) != decode(text, kind, folder):
        raise conflict(SINGULAR[table], uid)
    return True


def conflict(what: str, uid: str) -> StoreError:
    """The sentence for two records that claim the same uid."""
    return StoreError(
        f"{what} {uid} is recorded already, with other content; the recorded one was left as it is: "
        "record the new one under a uid of its own"
    )


def insert(db: sqlite3.Connection, table: str, uid: str, visit: str, text: str) -> None:
    """Add a row that belongs to a visit."""
    db.execute(f"INSERT INTO {table} (uid, visit, json) VALUES (?, ?, ?)", (uid, visit, text))


def parcel(row: tuple[Any, ...]) -> Parcel:
    """The parcel of a row of ``PARCEL``."""
    return Parcel(**dict(zip(("visit", "queued", "attempts", "next_try", "error", "sent"), row)))


def document(db: sqlite3.Connection, name: str) -> str | None:
    """The text of something that there is one of, such as the settings."""
    found = db.execute("SELECT json FROM documents WHERE name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])


def set_document(db: sqlite3.Connection, name: str, text: str) -> None:
    """Replace it."""
    db.execute("INSERT INTO documents VALUES (?, ?) ON CONFLICT DO UPDATE SET json = excluded.json", (name, text))


def remove_document(db: sqlite3.Connection, name: str) -> None:
    """Take it away."""
    db.execute("DELETE FROM documents WHERE name = ?", (name,))


def count(db: sqlite3.Connection, name: str) -> int:
    """The next number of a counter: 1, 2, 3..."""
    found = db.execute(
        "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value", (name,)
    ).fetchone()
    return int(found[0])
