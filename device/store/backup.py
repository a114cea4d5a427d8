"""A copy of the record, made while it is being written to: SQLite's online backup, then the pictures."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from device.store import audit, files
from device.store.audit import AuditResult
from device.store.store import Store


def copy(store: Store, to: Path) -> AuditResult:
    """Copy a record into a new folder, and check the copy against its own log.

    A picture that is missing or was changed in the record is so in the copy: the result's ``problems`` say it, and
    the rest is safe nevertheless. Raises StoreError, StoreFullError where the copy cannot be made; then there is
    none.
    """
    with files.whole(to) as part:
        with files.held(store.folder):  # so that no picture is removed meanwhile
            store.database.copy_to(part)
            with audit.opened_to_read(part) as db:
                _copy_pictures(db, store.pictures.folder, part / "pictures")
        result = audit.verify(part)
        (part / "lock").unlink(missing_ok=True)
    detail = {"head": result.head, "visits": result.visits, "problems": len(result.problems)}
    store.log("operator", "backup", "store", detail)
    return result


def _copy_pictures(db: sqlite3.Connection, source: Path, target: Path) -> None:
    target.mkdir()
    for (name,) in db.execute("SELECT DISTINCT name FROM pictures"):
        (target / name[:2]).mkdir(exist_ok=True)
        path = source / name[:2] / name
        with files.in_words(source):
            picture = path.read_bytes() if path.is_file() else None
        if picture is not None:
            files.write_synced(target / name[:2] / name, picture)
