"""The outbox: finished visits on their way to an archive (PACS), whenever a network is there.

A visit counts as sent only after the archive has shown every object of it. Identifiers come from the record, so
sending again is harmless, and after a failure only what is missing is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from device.errors import PacsError, PacsUnreachableError, TenohiraError
from device.eyes import unread
from device.record import LONGEST_WAIT, Parcel, Settings, Visit

if TYPE_CHECKING:
    from device.dicom.archive import Archive, Receipt

FIRST_WAIT = 30  # seconds until the next attempt: doubled after each failure, up to LONGEST_WAIT
UNREAD = "the answer waits for a reader's grade"  # how the error of a parcel begins that nothing is wrong with
log = logging.getLogger(__name__)


class Parcels(Protocol):
    """What the outbox needs of ``device.store.Store``."""

    @property
    def settings(self) -> Settings: ...
    def visit(self, uid: str) -> Visit: ...
    def picture(self, sha256: str) -> Path: ...
    def due(self, now: str, early: bool = False) -> list[Parcel]: ...
    def tried(self, visit_uid: str, error: str, next_try: str) -> None: ...
    def put_off(self, visit_uid: str, error: str, next_try: str) -> None: ...
    def sent(self, visit_uid: str) -> None: ...


class Outbox:
    """Sends the parcels of a store that are due. ``stop`` is asked between two objects."""

    def __init__(self, store: Parcels, stop: Callable[[], bool] = lambda: False) -> None:
        self.store, self._stop = store, stop

    def run_once(self, now: str, early: bool = False) -> None:
        """Try every parcel that is due at ``now``; with ``early``, all that were not sent. A failure is recorded
        with its parcel; where the archive cannot be reached at all the run ends, for others would fail as well:
        all that wait are put off together.

        Raises only what the store raises.
        """
        if not self.store.settings.pacs.kind:
            return
        for parcel in self.store.due(now, early):
            try:
                self._send(parcel)
            except PacsUnreachableError as error:
                # By the least tried of them: after a new examination the archive is soon asked again.
                attempts = min(p.attempts for p in self.store.due(now, early=True))
                self.store.put_off(parcel.visit, str(error), later(now, attempts))
                return
            except TenohiraError as error:
                self.store.tried(parcel.visit, str(error), later(now, parcel.attempts))
            if self._stop():
                return

    def _send(self, parcel: Parcel) -> None:
        """Deliver a parcel and mark it as sent. Raises TenohiraError, in words, where it could not be."""
        try:
            visit = self.store.visit(parcel.visit)
            done = self._deliver(visit)
            waiting = ", ".join(unread(visit))
        except TenohiraError:
            raise
        except Exception as error:  # a fault of ours must not stop the others for good
            log.exception("sending %s failed", parcel.visit)
            raise PacsError(
                f"internal error while sending ({type(error).__name__}); it is tried again, please report it"
            ) from error
        if waiting:
            raise PacsError(f"{UNREAD} ({waiting}); enter it, and the rest is sent")
        if done:
            self.store.sent(parcel.visit)

    def _deliver(self, visit: Visit) -> bool:
        """Send what the archive lacks, object by object, then look whether it holds all of it. False where it was
        stopped before the end."""
        from device.dicom.archive import Receipt, connect
        from device.dicom.write import each

        with connect(self.store.settings.pacs) as archive:
            new = []
            for data in each(visit, self.store.picture):
                if self._stop():
                    return False
                receipt = Receipt.of(data)
                if not archive.holds(receipt):
                    archive.store(data)
                    new.append(receipt)
            _confirm(archive, new)
        return True


def _confirm(archive: Archive, sent: list[Receipt]) -> None:
    missing = [receipt for receipt in sent if not archive.holds(receipt)]
    if missing:
        kinds = ", ".join(sorted({r.kind for r in missing}))
        raise PacsError(
            f"the archive took {len(sent)} objects without complaint but does not show {len(missing)} of them "
            f"({kinds}); they are sent again, and if this stays, ask its administrator"
        )


def later(now: str, attempts: int) -> str:
    """When to try again after ``attempts`` failures and one more."""
    wait = min(FIRST_WAIT * 2 ** min(attempts, 20), LONGEST_WAIT)
    return (datetime.fromisoformat(now) + timedelta(seconds=wait)).isoformat(timespec="milliseconds")
