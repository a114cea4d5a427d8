"""The log: append-only, each entry chained to the one before by SHA-256.

An entry is one line of canonical JSON (keys sorted, no white space) with ``seq``, ``time``, ``actor``, ``action``,
``subject`` and ``detail``; its hash is SHA-256 over the hash of the entry before (64 hexadecimal digits; zeros
before the first) and that line. ``detail["rows"]`` says which records the step wrote: their names in the view
``records``, and the SHA-256 of their text, or null where they were removed.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from typing import Any

import msgspec

from device.record import now

START = "0" * 64  # the hash before the first entry


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One step: who did what to what."""

    seq: int
    time: str
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


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
