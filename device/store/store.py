"""``Store``: what the instrument calls. Each writing call is one transaction that also appends to the log."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from device import __version__
from device.closing import Closing
from device.errors import (
    EyeGradedError,
    NoSuchPictureError,
    NoSuchVisitError,
    StoreBusyError,
    StoreError,
    StoreFullError,
    VisitClosedError,
)
from device.eyes import hidden
from device.record import (
    LONGEST_WAIT,
    Capture,
    NotImaged,
    Pacs,
    Parcel,
    Reading,
    Reference,
    Settings,
    Visit,
    Withdrawal,
    now,
)
from device.store import audit, files, rows
from device.store.database import FILE, Database
from device.store.pictures import SUFFIXES, Pictures, name_of
from device.store.rows import text_of

LONGEST_CODE = 64  # characters of a participant's code: what a DICOM Patient ID can hold
LONGEST_PREFIX = 27  # of a code that the instrument gives, so that it has 32 with its number: what pages take
SERIAL = Path("/sys/firmware/devicetree/base/serial-number")  # of a Raspberry Pi
INSTRUMENT = "instrument"  # the actor of what no operator asked for
OUTBOX = "outbox"


@dataclass(frozen=True)
class Room:
    """Free space where examinations are kept, and whether it is enough for new ones."""

    free_mb: int
    enough: bool


class Store(Closing):
    """The record in a folder, which is made where there is none.

    One object may be shared by threads, and several processes may open the folder. What a call returned from is
    on the disk, whatever happens next. Calls that give a uid may be repeated: what is recorded already is not
    recorded again. Every method raises StoreError, in words, where the record cannot be read or written, and
    StoreFullError where the disk is full; then nothing of that call was recorded.
    """

    def __init__(self, folder: Path, *, patience: float = files.PATIENCE) -> None:
        self.folder = Path(folder)
        with files.in_words(self.folder):
            made = not self.folder.exists()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.make_folder(self.folder / "pictures")
            if made:
                files.sync_folder(self.folder.parent)
        self.database = Database(self.folder, patience=patience)
        self.pictures = Pictures(self.folder / "pictures")
        try:
            with files.in_words(self.folder):
                files.sync_folder(self.folder)
            self._identify()
            with suppress(StoreBusyError):  # others are at work: whoever opens it next tidies up
                self.tidy(patience=0)
        except BaseException:
            self.database.close()
            raise

    def _identify(self) -> str:
        """The record's own id, given when it is made: no two logs begin alike."""
        with self.database.reading() as db:
            known = rows.document(db, "store")
        if known is None:
            with self.database.writing() as db:
                known = rows.document(db, "store")
                if known is None:
                    known = audit.canonical({"id": uuid.uuid4().hex})
                    rows.set_document(db, "store", known)
                    detail = {"software": __version__}
                    audit.append(db, INSTRUMENT, "create", "store", detail, {"document/store": known})
        return str(rows.decode(known, dict, self.folder)["id"])

    def tidy(self, *, patience: float = files.PATIENCE) -> int:
        """Remove pictures that no examination has: a crash between picture and record leaves them. Returns how
        many. Raises StoreBusyError where another program is at work with pictures for longer than ``patience``
        seconds."""
        with files.held(self.folder, alone=True, patience=patience):
            with self.database.reading() as db:
                needed = {name for (name,) in db.execute("SELECT DISTINCT name FROM pictures")}
            return self.pictures.remove_all_but(needed)

    # settings and numbers

    @property
    def settings(self) -> Settings:
        """The settings as they are now; another process may have changed them."""
        with self.database.reading() as db:
            return self._settings(db)

    def _settings(self, db: sqlite3.Connection) -> Settings:
        text = rows.document(db, "settings")
        return Settings() if text is None else rows.decode(text, Settings, self.folder)

    @property
    def device(self) -> str:
        """Name of this instrument and the serial number of its board; of the record, where the board has none."""
        return self._device(self.settings)

    def _device(self, settings: Settings) -> str:
        return f"{settings.device} {serial() or self._identify()[:8]}".strip()

    def change_settings(self, settings: Settings, actor: str) -> None:
        """Keep new settings. The log tells what was changed, without the password."""
        with self.database.writing() as db:
            changes = _changes(self._settings(db), settings)
            if changes:
                text = text_of(settings)
                rows.set_document(db, "settings", text)
                audit.append(db, actor, "settings", "settings", {"changes": changes}, {"document/settings": text})

    def next_participant(self) -> str:
        """A participant's code that was never given before, here, and that nobody has: ``KAN26-A-0012``, after the
        study's code and the site's, for another instrument of the study counts from 1 as well."""
        with self.database.writing() as db:
            settings = self._settings(db)
            prefix = _prefix(settings.study, settings.site)
            name = f"participant/{prefix}"
            while True:
                number = rows.count(db, name)
                code = f"{prefix}-{number:04d}"
                if not db.execute("SELECT 1 FROM visits WHERE participant = ?", (code,)).fetchone():
                    break
            audit.append(db, INSTRUMENT, "code", prefix, {"number": number}, {f"counter/{name}": str(number)})
        return code

    def room(self) -> Room:
        """Free space against what the settings want to stay free."""
        return self._room(self.settings)

    def _room(self, settings: Settings) -> Room:
        free = files.free_bytes(self.folder) // 2**20
        return Room(free, free >= settings.keep_free_mb)

    def _need_room(self) -> None:
        settings = self.settings
        room = self._room(settings)
        if not room.enough:
            raise StoreFullError(
                f"only {room.free_mb} MB are free on the disk of the record, and {settings.keep_free_mb} MB must "
                "stay free: export examinations and let old ones be removed, or put in a larger card"
            )

    # examinations

    def begin(self, participant: str, *, operator: str = "", consent: bool = False, uid: str = "") -> Visit:
        """Begin an examination; what the settings say of device, site and study goes along.

        With a ``uid``, begun twice is begun once. Raises StoreFullError where space runs low.
        """
        code = _checked_code(participant)
        uid = uid or str(uuid.uuid4())
        with suppress(NoSuchVisitError):
            return self._same(self.visit(uid), code)
        self._need_room()
        with self.database.writing() as db:
            known = rows.visit(db, uid, self.folder)
            if known is not None:
                return self._same(known, code)
            settings = self._settings(db)
            visit = Visit(
                uid=uid,
                number=rows.count(db, "visit"),
                participant=code,
                operator=operator,
                site=settings.site,
                study=settings.study,
                consent=consent,
                masked=settings.masked,
                started=now(),
                device=self._device(settings),
                software=__version__,
            )
            text = text_of(visit)
            written = {f"visit/{uid}": text, "counter/visit": str(visit.number)}
            entry = audit.append(db, operator or "operator", "begin", uid, {"number": visit.number}, written)
            db.execute("INSERT INTO visits (uid, json, changed) VALUES (?, ?, ?)", (uid, text, entry))
        return visit

    def _same(self, known: Visit, participant: str) -> Visit:
        if known.participant != participant:
            raise rows.conflict("examination", known.uid)
        return known

    def admit(self, visit_uid: str) -> None:
        """Raises what ``add_capture`` would raise, before a photograph is taken for nothing: StoreFullError,
        NoSuchVisitError, VisitClosedError."""
        self._need_room()
        with self.database.reading() as db:
            self._open(db, visit_uid)

    def add_capture(self, capture: Capture, pictures: Sequence[bytes]) -> None:
        """Record a capture with its pictures (JPEG, PNG, DNG): those that it names, and others that belong to it.

        The pictures are on the disk before the record that names them. Raises NoSuchVisitError, VisitClosedError
        where the examination is finished, StoreFullError.
        """
        with self.database.reading() as db:
            if rows.recorded(db, "captures", capture.uid, text_of(capture), self.folder):
                return
            self._open(db, capture.visit)
        self._need_room()
        with files.held(self.folder):
            self._check_names(capture, pictures)
            names = sorted({*self.pictures.keep(pictures), *map(self._name, rows.named(capture))})
            with self.database.writing() as db:
                self._insert_capture(db, capture, names)

    def _insert_capture(self, db: sqlite3.Connection, capture: Capture, names: Sequence[str]) -> None:
        text = text_of(capture)
        if rows.recorded(db, "captures", capture.uid, text, self.folder):  # by another process, meanwhile
            return
        visit = self._open(db, capture.visit)
        rows.insert(db, "captures", capture.uid, capture.visit, text)
        db.executemany("INSERT INTO pictures (capture, name) VALUES (?, ?)", [(capture.uid, n) for n in names])
        detail = {
            "capture": capture.uid,
            "eye": capture.laterality,
            "image": capture.image,
            "result": audit.digest(text_of(capture.result)),
        }
        written = {f"capture/{capture.uid}": text, **{f"picture/{capture.uid}/{n}": n for n in names}}
        self._log_change(db, visit, "capture", detail, written)

    def _check_names(self, capture: Capture, pictures: Sequence[bytes]) -> None:
        given = {name_of(p).partition(".")[0] for p in pictures}
        for sha256 in rows.named(capture) - given:
            self.pictures.path(sha256)

    def _name(self, sha256: str) -> str:
        return self.pictures.path(sha256).name

    def add_not_imaged(self, not_imaged: NotImaged) -> None:
        """Record that no usable photograph of an eye could be taken, and why. Said once more, with no photograph
        in between, it is not recorded again. Raises NoSuchVisitError, VisitClosedError."""
        text = text_of(not_imaged)
        uid = rows.uid_of(not_imaged)
        with self.database.writing() as db:
            if rows.recorded(db, "not_imaged", uid, text, self.folder) or self._said_last(db, not_imaged):
                return
            visit = self._open(db, not_imaged.visit)
            rows.insert(db, "not_imaged", uid, visit.uid, text)
            self._log_change(db, visit, "not imaged", {"eye": not_imaged.laterality}, {f"not_imaged/{uid}": text})

    def _said_last(self, db: sqlite3.Connection, not_imaged: NotImaged) -> bool:
        """Whether this is what happened to the eye last: it brings no uid, and an answer may have been lost."""
        visit, eye = self._visit(db, not_imaged.visit), not_imaged.laterality
        said = [n.reason for n in visit.not_imaged if n.laterality == eye]
        happened = "json_extract(entry, '$.action') AS action FROM audit WHERE subject = ?"
        of_the_eye = "json_extract(entry, '$.detail.eye') = ? AND action IN ('capture', 'not imaged')"
        query = f"SELECT {happened} AND {of_the_eye} ORDER BY seq DESC LIMIT 1"  # not by time: clocks jump
        last = db.execute(query, (visit.uid, eye)).fetchone()
        return last == ("not imaged",) and said[-1:] == [not_imaged.reason]

    def keep(self, capture: Capture, actor: str) -> None:
        """Record that a capture is of the chosen eye, though it looks like the other one."""
        with self.database.writing() as db:
            rows.log_kept(db, actor, capture)

    def add_reading(self, reading: Reading) -> None:
        """Record what a human reader says, also of a finished examination. Raises NoSuchVisitError."""
        text = text_of(reading)
        with self.database.writing() as db:
            if rows.recorded(db, "readings", reading.uid, text, self.folder):
                return
            visit = self._visit(db, reading.visit)
            rows.insert(db, "readings", reading.uid, visit.uid, text)
            detail = {"reading": reading.uid, "eye": reading.laterality, "masked": reading.masked}
            self._log_change(db, visit, "reading", detail, {f"reading/{reading.uid}": text}, actor=reading.reader)

    def withdraw(self, withdrawal: Withdrawal) -> None:
        """Record that a capture does not count; it is kept. Said twice is said once. Raises NoSuchVisitError,
        VisitClosedError, EyeGradedError where a masked reader has graded it, and StoreError where the examination
        has no such capture."""
        text = text_of(withdrawal)
        with self.database.writing() as db:
            if withdrawal.capture in {w.capture for w in self._visit(db, withdrawal.visit).withdrawn}:
                return
            visit = self._open(db, withdrawal.visit)
            eye = {c.uid: c.laterality for c in visit.captures}.get(withdrawal.capture)
            if eye is None:
                raise StoreError(
                    f"examination {visit.number} has no photograph {withdrawal.capture!r}; choose one of its own"
                )
            # The reading would stay as that of an eye that the reader has not seen, and would show the answer on
            # the next photograph of it at once.
            if visit.masked and not hidden(visit, eye):
                raise EyeGradedError(
                    f"a reader has graded {eye} in examination {visit.number}, so its photographs stay; begin a "
                    "new examination for the same participant, and leave this one unfinished"
                )
            rows.insert(db, "withdrawals", withdrawal.capture, visit.uid, text)
            detail = {"capture": withdrawal.capture, "reason": withdrawal.reason}
            self._log_change(db, visit, "withdraw", detail, {f"withdrawal/{withdrawal.capture}": text})

    def finish(self, visit_uid: str) -> Visit:
        """Close an examination, and queue it for the PACS of the settings, if there is one. Finishing twice is no
        error, and queues what was not queued. Raises NoSuchVisitError."""
        with self.database.writing() as db:
            visit = self._visit(db, visit_uid)
            if visit.finished is None:
                text = text_of(msgspec.structs.replace(visit, finished=now()))
                db.execute("UPDATE visits SET json = ? WHERE uid = ?", (text, visit_uid))
                self._log_change(db, visit, "finish", {}, {f"visit/{visit_uid}": text})
            if self._settings(db).pacs.kind and not self._parcel(db, visit_uid):
                self._queue(db, visit_uid)
            return self._visit(db, visit_uid)

    def visit(self, uid: str) -> Visit:
        """One examination with everything that belongs to it. Raises NoSuchVisitError."""
        with self.database.reading() as db:
            return self._visit(db, uid)

    def visits(self, search: str = "", limit: int = 50, offset: int = 0, study: str | None = None) -> list[Visit]:
        """Examinations, the last recorded first. Every word of ``search`` is to be found in participant or
        operator, or to be the number; ``study`` "" are those outside of a study."""
        condition, values = "1", []
        for word in search.split():
            condition += r" AND (participant LIKE ? ESCAPE '\' OR operator LIKE ? ESCAPE '\' OR number = ?)"
            pattern = "%" + "".join(f"\\{c}" if c in r"\%_" else c for c in word) + "%"
            values += [pattern, pattern, word]
        if study is not None:
            condition += " AND study = ?"
            values.append(study)
        query = f"SELECT uid FROM visits WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?"
        with self.database.reading() as db:
            found = db.execute(query, (*values, limit, offset)).fetchall()
            return [self._visit(db, uid) for (uid,) in found]

    def newest_capture(self) -> Capture | None:
        """The capture that this instrument recorded last; None where there is none."""
        query = "SELECT json FROM captures WHERE visit IN (SELECT uid FROM visits WHERE imported = 0)"
        with self.database.reading() as db:
            found = db.execute(f"{query} ORDER BY id DESC LIMIT 1").fetchone()
        return None if found is None else rows.decode(found[0], Capture, self.folder)

    def picture(self, sha256: str) -> Path:
        """The file of a picture; its suffix (.jpg, .png, .dng) tells the kind. Raises NoSuchPictureError, which
        says whether the record has never heard of it or has lost it."""
        try:
            return self.pictures.path(sha256)
        except NoSuchPictureError:
            with self.database.reading() as db:
                names = [sha256 + suffix for suffix in SUFFIXES]
                if not db.execute("SELECT 1 FROM pictures WHERE name IN (?, ?, ?)", names).fetchone():
                    raise
            raise NoSuchPictureError(
                f"the picture {sha256!r} is in the record, but its file is lost: have 'tenohira audit verify' "
                "name all that is missing, and take it from a backup or an export"
            ) from None

    def _visit(self, db: sqlite3.Connection, uid: str) -> Visit:
        visit = rows.visit(db, uid, self.folder)
        if visit is None:
            raise NoSuchVisitError(f"there is no examination {uid!r} in this record; choose one from the history")
        return visit

    def _open(self, db: sqlite3.Connection, uid: str) -> Visit:
        visit = self._visit(db, uid)
        if visit.finished is not None:
            raise VisitClosedError(
                f"examination {visit.number} is finished and takes no more photographs; "
                "begin a new one for the same participant"
            )
        return visit

    def _log_change(
        self, db: sqlite3.Connection, visit: Visit, action: str, detail: dict[str, Any],
        written: Mapping[str, str | None], actor: str = "",
    ) -> None:  # fmt: skip
        entry = audit.append(db, actor or visit.operator or "operator", action, visit.uid, detail, written)
        db.execute("UPDATE visits SET changed = ? WHERE uid = ?", (entry, visit.uid))

    # reference standards

    def references(self) -> list[Reference]:
        """The reference standards of the study."""
        with self.database.reading() as db:
            text = rows.document(db, "references")
        return [] if text is None else rows.decode(text, list[Reference], self.folder)

    def set_references(self, references: Sequence[Reference], actor: str) -> None:
        """Replace the reference standards by others."""
        text = text_of(list(references))
        with self.database.writing() as db:
            if rows.document(db, "references") != text:
                rows.set_document(db, "references", text)
                detail = {"count": len(references)}
                audit.append(db, actor, "references", "references", detail, {"document/references": text})

    # the way to a PACS

    def due(self, now: str, early: bool = False) -> list[Parcel]:
        """Parcels that are to be tried now, in the order in which they were queued; with ``early`` those as well
        whose next attempt is still to come. Where that lies further away than any wait takes, the clock was wrong
        when the parcel was put off, and it is due."""
        furthest = datetime.fromisoformat(now) + timedelta(seconds=LONGEST_WAIT)
        query = f"{rows.PARCEL} WHERE sent IS NULL AND (? OR next_try <= ? OR next_try > ?) ORDER BY rowid"
        with self.database.reading() as db:
            found = db.execute(query, (early, now, furthest.isoformat(timespec="milliseconds")))
            return [rows.parcel(row) for row in found]

    def waiting(self) -> dict[str, int]:
        """How many parcels were not sent yet, by the reason that their last attempt failed for; empty: not tried
        yet."""
        query = "SELECT error, count(*) FROM parcels WHERE sent IS NULL GROUP BY error ORDER BY count(*) DESC"
        with self.database.reading() as db:
            return dict(db.execute(query).fetchall())

    def parcel(self, visit_uid: str) -> Parcel | None:
        """How far an examination is on its way to the PACS; None where it was not queued."""
        with self.database.reading() as db:
            return self._parcel(db, visit_uid)

    def tried(self, visit_uid: str, error: str, next_try: str) -> None:
        """An attempt failed. The parcel counts all of them; the log has those that failed for another reason than
        the one before. Raises NoSuchVisitError where it was not queued."""
        self._failed(visit_uid, error, next_try, "visit = :visit")

    def put_off(self, visit_uid: str, error: str, next_try: str) -> None:
        """The PACS could not be reached, as the attempt to send this examination has shown: so all that wait have
        failed, and none is tried before ``next_try``. The log has it with this one only. Raises NoSuchVisitError
        where it was not queued."""
        self._failed(visit_uid, error, next_try, "sent IS NULL")

    def _failed(self, visit_uid: str, error: str, next_try: str, which: str) -> None:
        """``which``: the condition of the parcels that the failure counts for."""
        with self.database.writing() as db:
            parcel = self._queued(db, visit_uid)
            change = f"UPDATE parcels SET attempts = attempts + 1, error = :error, next_try = :next WHERE {which}"
            db.execute(change, {"error": error, "next": next_try, "visit": visit_uid})
            if error != parcel.error:
                audit.append(db, OUTBOX, "send failed", visit_uid, {"error": error})

    def sent(self, visit_uid: str) -> None:
        """The PACS has shown that it holds the examination. Raises NoSuchVisitError where it was not queued."""
        with self.database.writing() as db:
            parcel = self._queued(db, visit_uid)
            if parcel.sent is None:
                time = now()
                change = "UPDATE parcels SET attempts = attempts + 1, error = '', sent = ? WHERE visit = ?"
                db.execute(change, (time, visit_uid))
                written = {f"parcel/{visit_uid}": audit.canonical([parcel.queued, time])}
                audit.append(db, OUTBOX, "sent", visit_uid, {"attempts": parcel.attempts + 1}, written)

    def _queue(self, db: sqlite3.Connection, visit_uid: str) -> None:
        queued = now()
        db.execute("INSERT INTO parcels (visit, queued) VALUES (?, ?)", (visit_uid, queued))
        written = {f"parcel/{visit_uid}": audit.canonical([queued, None])}
        audit.append(db, OUTBOX, "queue", visit_uid, {}, written)

    def _parcel(self, db: sqlite3.Connection, visit_uid: str) -> Parcel | None:
        row = db.execute(f"{rows.PARCEL} WHERE visit = ?", (visit_uid,)).fetchone()
        return None if row is None else rows.parcel(row)

    def _queued(self, db: sqlite3.Connection, visit_uid: str) -> Parcel:
        parcel = self._parcel(db, visit_uid)
        if parcel is None:
            raise NoSuchVisitError(f"examination {visit_uid!r} was not queued for a PACS; finish it once more")
        return parcel

    # keeping, and letting go

    def expire(self, now: str) -> list[str]:
        """Remove examinations as the settings' ``keep_days`` wants it: see ``device.store.retention``. Returns the
        uids of those that were removed."""
        from device.store import retention

        return retention.expire(self, now)

    def backup(self, to: Path) -> audit.AuditResult:
        """Copy the record into a new folder, which is a record itself, while others go on working with this one.
        Returns what a check of the copy has found. Raises StoreError where nothing could be copied."""
        from device.store import backup

        return backup.copy(self, Path(to))

    # the clock

    @property
    def last_entry(self) -> str:
        """When the log's last entry was written, by the clock of then; empty where there is none."""
        query = "SELECT json_extract(entry, '$.time') FROM audit ORDER BY seq DESC LIMIT 1"
        with self.database.reading() as db:
            found = db.execute(query).fetchone()
        return str(found[0]) if found else ""

    @property
    def clock_doubted(self) -> str:
        """The last time that could be believed, where the clock jumped since (``device.clock``); else empty."""
        with self.database.reading() as db:
            text = rows.document(db, "clock")
        return "" if text is None else str(rows.decode(text, dict, self.folder)["believed"])

    def doubt_clock(self, believed: str) -> None:
        """Keep that times are doubtful from here on; no examination is removed for its age until the clock is
        believed again."""
        with self.database.writing() as db:
            text = audit.canonical({"believed": believed})
            rows.set_document(db, "clock", text)
            detail = {"believed": believed}
            audit.append(db, INSTRUMENT, "clock doubted", "clock", detail, {"document/clock": text})

    def believe_clock(self, actor: str) -> None:
        """The clock is right again. Said twice is said once."""
        with self.database.writing() as db:
            if rows.document(db, "clock") is not None:
                rows.remove_document(db, "clock")
                audit.append(db, actor, "clock believed", "clock", {}, {"document/clock": None})

    # the log

    def log(self, actor: str, action: str, subject: str, detail: dict[str, Any]) -> None:
        """Add an entry of one's own to the log, such as a report that was printed."""
        with self.database.writing() as db:
            audit.append(db, actor, action, subject, {k: v for k, v in detail.items() if k != "rows"})

    def head(self) -> str:
        """The log's head, ``seq:hash``: kept elsewhere, it shows later whether the log was cut."""
        with self.database.reading() as db:
            return audit.head(db)

    def close(self) -> None:
        """Let go of the folder. Closing twice is no error."""
        self.database.close()


def exists(folder: Path) -> bool:
    """Whether a record was made in a folder. Raises StoreError where the folder may not be read."""
    return files.is_file(folder / FILE)


def serial() -> str:
    """The serial number of the board (a Raspberry Pi), empty where it has none."""
    try:
        return SERIAL.read_text(errors="ignore").strip("\0\n ").lstrip("0")
    except OSError:
        return ""


def _prefix(study: str, site: str) -> str:
    """Of participants' codes. The site stays whole: by it the instruments of a study differ."""
    room = LONGEST_PREFIX - len(site) - 1
    return "-".join(part for part in (study[:room], site) if part) or "P"


def _checked_code(participant: str) -> str:
    code = participant.strip()
    if not code or len(code) > LONGEST_CODE or not code.isprintable() or "\\" in code:
        raise StoreError(
            f"{participant!r} is no participant's code; give 1 to {LONGEST_CODE} letters, digits or signs, "
            "or let the instrument give one"
        )
    return code


def _changes(old: Settings, new: Settings) -> dict[str, Any]:
    """Old and new value of each setting that differs; of a password only that it differs."""
    changes = {}
    for name in old.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            changes[name] = [_without_password(before), _without_password(after)]
    return changes


def _without_password(value: Any) -> Any:
    if isinstance(value, Pacs) and value.password:
        return msgspec.structs.replace(value, password="***")
    return value
