"""What is kept of an examination: the shapes that the store writes and that pages, reports and exports read.

A *visit* is one participant in front of the instrument: both eyes, one sitting. A *capture* is one press of the
shutter on one eye: a burst of photographs, of which the best is kept, and what the pipeline said of each.
Times are ISO 8601 in UTC with offset (``2026-11-24T08:15:00.123+00:00``); uids are UUID4 as text; pictures are
named by the SHA-256 of their bytes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

from device.results import Row
from device.verdict import Outcome

Eye = Literal["OD", "OS"]
EYES: tuple[Eye, Eye] = ("OD", "OS")  # right, left
LONGEST_WAIT = 3600  # seconds between two attempts to send a parcel


def now() -> str:
    """The present time as records have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Shot(msgspec.Struct, frozen=True, kw_only=True):
    """One photograph of a burst, in numbers; they are None where it is ungradable."""

    outcome: Outcome
    grade: str  # good, usable or reject
    score: float  # of the quality, 0..1
    vcdr: float | None = None
    glaucoma_probability: float | None = None
    reasons: tuple[str, ...] = ()


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """One press of the shutter. ``image`` is the JPEG that was screened, to the byte: screening that file again
    gives ``result`` again."""

    uid: str
    visit: str  # its uid
    laterality: Eye  # as the operator chose
    taken: str
    image: str
    overlay: str  # JPEG: the picture of ``device.overlay``
    masks: dict[str, str] = {}  # PNG, black and white, by structure (disc, cup), in the image's geometry
    raw: str = ""  # DNG: the sensor's own data of that photograph, where the settings ask for them
    result: Row
    shots: tuple[Shot, ...]  # the whole burst, the kept one among them
    kept: int = 0  # its index in ``shots``
    seen_laterality: str = "unknown"  # OD, OS or unknown, from where the disc lies in the picture
    camera: str = ""
    exposure_us: float | None = None
    gain: float | None = None
    focus: float | None = None


class NotImaged(msgspec.Struct, frozen=True, kw_only=True):
    """An eye of which no usable photograph could be taken, and why: an outcome of its own (ungradable)."""

    visit: str
    laterality: Eye
    reason: str
    time: str


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a human reader says of an eye; in masked mode, given before the instrument's answer is shown."""

    uid: str
    visit: str
    laterality: Eye
    reader: str
    grade: Outcome
    vcdr: float | None = None
    remark: str = ""
    masked: bool  # whether the instrument's answer was hidden from the reader until then
    time: str


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True):
    """A capture that does not count, though it is kept: the operator has seen that it shows the other eye."""

    visit: str
    capture: str  # its uid
    reason: str
    time: str


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """One participant's examination with everything that belongs to it."""

    uid: str
    number: int  # 1, 2, 3... on this device
    participant: str  # a code, never a name
    operator: str = ""
    site: str = ""
    study: str = ""  # code of the field trial, empty outside of one
    consent: bool = False  # the tick of the study's consent
    masked: bool = False  # a reader's grade is wanted before the instrument's answer is shown
    started: str
    finished: str | None = None
    device: str = ""  # name and serial of the instrument
    software: str = ""  # version of tenohira
    captures: tuple[Capture, ...] = ()  # in the order in which they were taken
    not_imaged: tuple[NotImaged, ...] = ()
    readings: tuple[Reading, ...] = ()
    withdrawn: tuple[Withdrawal, ...] = ()
    confirmed: tuple[str, ...] = ()  # captures that look like the other eye, and were said to be of the chosen one

    def of(self, eye: Eye) -> tuple[Capture, ...]:
        """The captures of one eye that count."""
        withdrawn = {w.capture for w in self.withdrawn}
        return tuple(c for c in self.captures if c.laterality == eye and c.uid not in withdrawn)


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """The reference standard of one eye in a study: what the trial holds the instrument against."""

    participant: str
    laterality: Eye
    refer: bool  # whether it should have been referred
    vcdr: float | None = None
    source: str = ""  # who or what said so


class Parcel(msgspec.Struct, frozen=True, kw_only=True):
    """A finished visit on its way to a PACS. ``sent`` is set only after the PACS has shown what it holds."""

    visit: str
    queued: str
    attempts: int = 0
    next_try: str = ""
    error: str = ""  # of the last attempt, in words
    sent: str | None = None


class Pacs(msgspec.Struct, frozen=True, kw_only=True):
    """Where examinations are sent to; ``kind`` empty: nowhere."""

    kind: Literal["", "dimse", "dicomweb"] = ""
    host: str = ""  # dimse
    port: int = 104
    called: str = "ORTHANC"  # application entity titles
    calling: str = "TENOHIRA"
    url: str = ""  # dicomweb: the service's root
    user: str = ""
    password: str = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator can change; kept in the store, each change in the audit log."""

    device: str = "tenohira"
    site: str = ""
    language: Literal["en", "ja"] = "en"
    operating_point: str = ""  # of the glaucoma bundle; empty: its first
    burst: int = 3  # photographs a press of the shutter
    exposure_us: float | None = None  # of the camera; None: automatic, also for gain and focus
    gain: float | None = None
    focus: float | None = None  # the camera's own units (libcamera: dioptres)
    keep_raw: bool = False  # the sensor's own data of the kept photograph, some 10 MB each
    keep_days: int = 0  # visits older than this are removed once they were exported or sent; 0: never
    keep_free_mb: int = 500  # no capture is begun with less free space than this
    study: str = ""  # code of the field trial; empty: no study mode
    masked: bool = False
    pacs: Pacs = Pacs()
