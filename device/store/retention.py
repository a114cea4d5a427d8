"""Retention: examinations that are old enough, and are held elsewhere, are removed from the instrument.

What is removed leaves an entry in the log (a tombstone), so that a check still accounts for it. The log itself
holds no participant's code of an examination: those go with the record.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from device.errors import StoreBusyError
from device.store import audit
from device.store.store import INSTRUMENT, Store

# A PACS holds photographs and measurements, not readings, consent and study: those must have been exported.
HELD_ELSEWHERE = """
    SELECT visits.uid FROM visits LEFT JOIN parcels ON parcels.visit = visits.uid
    WHERE finished IS NOT NULL AND finished < ? AND (
        exported >= changed
        OR (sent IS NOT NULL AND study = '' AND visits.uid NOT IN (SELECT visit FROM readings))
    ) ORDER BY id
"""


def expire(store: Store, now: str) -> list[str]:
    """Remove examinations that were finished more than ``keep_days`` before ``now`` and were sent to the PACS or
    exported since they were last changed; those of a study, or with readings, only once they were exported.
    Their pictures go as well. Returns their uids; none where ``keep_days`` is 0, and while the clock is doubted:
    what is removed too early does not come back. Raises StoreError.
    """
    days = store.settings.keep_days
    if days <= 0 or store.clock_doubted:
        return []
    limit = (datetime.fromisoformat(now) - timedelta(days=days)).isoformat(timespec="milliseconds")
    with store.database.writing() as db:
        gone = [uid for (uid,) in db.execute(HELD_ELSEWHERE, (limit,))]
        for uid in gone:
            _remove(db, uid, days)
    with suppress(StoreBusyError):  # an export or a backup copies pictures: they go the next time
        store.tidy()
    return gone


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
