"""Retention: examinations that are old enough, and are held elsewhere, are removed from the instrument.

What is removed leaves an entry in the log (a tombstone), so that a check still accounts for it. The log itself
holds no participant's code of an examination: those go with the record.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from device.errors import StoreBusyError
from device.eyes import unread
from device.record import Visit
from device.store import audit, rows
from device.store.store import INSTRUMENT, Store

# A PACS holds photographs and measurements, not readings, consent and study: those must have been exported. What
# is on its way to a PACS stays until it is there, for nothing else brings it there.
HELD_ELSEWHERE = """
    SELECT visits.uid FROM visits LEFT JOIN parcels ON parcels.visit = visits.uid
    WHERE finished IS NOT NULL AND finished < :limit AND NOT (:sends AND queued IS NOT NULL AND sent IS NULL) AND (
        exported >= changed
        OR (sent IS NOT NULL AND study = '' AND visits.uid NOT IN (SELECT visit FROM readings))
    ) ORDER BY id
"""


def expire(store: Store, now: str) -> list[str]:
    """Remove examinations that were finished more than ``keep_days`` before ``now`` and were sent to the PACS or
    exported since they were last changed; those of a study, or with readings, only once they were exported. Those
    that wait to be sent stay, and those that wait for a masked reader's grade. Their pictures go as well. Returns
    their uids; none where ``keep_days`` is 0, and while the clock is doubted: what is removed too early does not
    come back. Raises StoreError.
    """
    settings = store.settings
    days = settings.keep_days
    if days <= 0 or store.clock_doubted:
        return []
    limit = (datetime.fromisoformat(now) - timedelta(days=days)).isoformat(timespec="milliseconds")
    with store.database.writing() as db:
        held = db.execute(HELD_ELSEWHERE, {"limit": limit, "sends": bool(settings.pacs.kind)})
        gone = [uid for (uid,) in held if not _unread(rows.visit(db, uid, store.folder))]
        for uid in gone:
            _remove(db, uid, days)
    with suppress(StoreBusyError):  # an export or a backup copies pictures: they go the next time
        store.tidy()
    return gone


def _unread(visit: Visit | None) -> bool:
    assert visit is not None  # the same transaction has listed it
    return bool(unread(visit))


def _remove(db: sqlite3.Connection, uid: str, days: int) -> None:
    of_visit = """SELECT 'visit/' || :uid
        UNION ALL SELECT 'parcel/' || visit FROM parcels WHERE visit = :uid
        UNION ALL SELECT 'capture/' || uid FROM captures WHERE visit = :uid
        UNION ALL SELECT 'withdrawal/' || uid FROM withdrawals WHERE visit = :uid
        UNION ALL SELECT 'not_imaged/' || uid FROM not_imaged WHERE visit = :uid
        UNION ALL SELECT 'reading/' || uid FROM readings WHERE visit = :uid
        UNION ALL SELECT 'picture/' || capture || '/' || name FROM pictures
            JOIN captures ON captures.uid = capture WHERE visit = :uid"""
    names = [name for (name,) in db.execute(of_visit, {"uid": uid})]
    captures = sum(name.startswith("capture/") for name in names)
    db.execute("DELETE FROM visits WHERE uid = ?", (uid,))  # what belongs to it goes along
    detail = {"captures": captures, "keep_days": days}
    audit.append(db, INSTRUMENT, "expire", uid, detail, dict.fromkeys(names))
