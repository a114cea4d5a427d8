"""The lists of an export: what stands in each column, and the README that says it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from device.cli import NOTICE
from device.eyes import EyeResult, Interval
from device.record import Capture, Eye, Visit


class Column(NamedTuple):
    """A column of a CSV file: its name, what it says, and where it comes from."""

    name: str
    says: str
    of: Callable[..., Any]


def _eye_columns(eye: Eye) -> Iterator[Column]:
    side = {"OD": "right", "OS": "left"}[eye]

    def number(name: str, part: Callable[[Interval], float]) -> Callable[[Visit, dict[Eye, EyeResult]], Any]:
        def of(visit: Visit, eyes: dict[Eye, EyeResult]) -> Any:
            interval = getattr(eyes[eye], name)
            return None if interval is None else part(interval)

        return of

    def given_up(visit: Visit, eyes: dict[Eye, EyeResult]) -> str:
        return "; ".join(n.reason for n in visit.not_imaged if n.laterality == eye)

    outcomes = f"refer, no_referral, ungradable; empty: no {side} eye"
    yield Column(f"{eye}_outcome", outcomes, lambda v, e: e[eye].outcome)
    yield Column(f"{eye}_reasons", "why", lambda v, e: "; ".join(e[eye].reasons))
    for name in ("vcdr", "glaucoma_probability"):
        words = {"vcdr": "vertical cup-to-disc ratio"}.get(name, "calibrated probability of glaucoma")
        yield Column(
            f"{eye}_{name}", f"{words}, median of the graded photographs", number(name, lambda i: i.value)
        )
        yield Column(f"{eye}_{name}_low", "the lowest of them", number(name, lambda i: i.low))
        yield Column(f"{eye}_{name}_high", "the highest of them", number(name, lambda i: i.high))
    yield Column(f"{eye}_photographs", "number taken", lambda v, e: e[eye].shots)
    yield Column(f"{eye}_graded", "of which so many could be graded", lambda v, e: e[eye].graded)
    yield Column(f"{eye}_not_imaged", "why no photograph could be taken", given_up)


VISIT_COLUMNS = (
    Column("visit", "uid of the examination", lambda v, e: v.uid),
    Column("number", "1, 2, 3... on its device", lambda v, e: v.number),
    Column("participant", "the participant's code", lambda v, e: v.participant),
    *(
        Column(name, says, lambda v, e, name=name: getattr(v, name))
        for name, says in (
            ("operator", "the operator's code"),
            ("site", "where"),
            ("study", "code of the study; empty outside of one"),
            ("consent", "whether the consent was ticked"),
            ("masked", "whether a reader was to grade before seeing the instrument's answer"),
            ("started", "ISO 8601, UTC"),
            ("finished", "ISO 8601, UTC; empty: never finished"),
            ("device", "name and serial number of the instrument"),
            ("software", "version of tenohira"),
        )
    ),
    *_eye_columns("OD"),
    *_eye_columns("OS"),
)


def _point(capture: Capture, key: str) -> Any:
    return capture.result.operating_points.get("glaucoma_probability", {}).get(key)


def _withdrawn(visit: Visit, capture: Capture) -> str:
    return "; ".join(w.reason or "withdrawn" for w in visit.withdrawn if w.capture == capture.uid)


CAPTURE_COLUMNS = (
    Column("capture", "uid of the capture", lambda v, c: c.uid),
    Column("visit", "uid of its examination", lambda v, c: v.uid),
    Column("number", "the examination's number on its device", lambda v, c: v.number),
    Column("participant", "the participant's code", lambda v, c: v.participant),
    Column("laterality", "OD (right) or OS (left), as the operator chose", lambda v, c: c.laterality),
    Column("seen_laterality", "OD, OS or unknown, from the picture", lambda v, c: c.seen_laterality),
    Column("taken", "ISO 8601, UTC", lambda v, c: c.taken),
    Column("outcome", "of the kept photograph: refer, no_referral, ungradable", lambda v, c: c.result.outcome),
    Column("reasons", "why", lambda v, c: "; ".join(c.result.reasons)),
    Column("quality", "good, usable, reject", lambda v, c: c.result.quality.get("grade")),
    Column("quality_score", "0 to 1", lambda v, c: c.result.quality.get("score")),
    Column("quality_cause", "what is wrong with the photograph", lambda v, c: c.result.quality.get("cause")),
    Column("vcdr", "vertical cup-to-disc ratio", lambda v, c: c.result.vcdr),
    Column("glaucoma_probability", "calibrated", lambda v, c: c.result.glaucoma_probability),
    Column("operating_point", "name of the referral threshold", lambda v, c: _point(c, "name")),
    Column("threshold", "of the probability", lambda v, c: _point(c, "threshold")),
    Column("photographs", "in the burst", lambda v, c: len(c.shots)),
    Column("kept", "which of them was kept, from 1", lambda v, c: c.kept + 1),
    Column("image", "file: the JPEG that was screened", lambda v, c: _path("images", c.image, ".jpg")),
    Column("overlay", "file: with outlines", lambda v, c: _path("overlays", c.overlay, ".jpg")),
    Column("disc_mask", "file: black-and-white PNG", lambda v, c: _path("masks", c.masks.get("disc", ""), ".png")),
    Column("cup_mask", "file: black-and-white PNG", lambda v, c: _path("masks", c.masks.get("cup", ""), ".png")),
    Column("withdrawn", "why the capture does not count (the other eye); empty: it counts", _withdrawn),
    Column("camera", "which camera", lambda v, c: c.camera),
    Column("exposure_us", "microseconds", lambda v, c: c.exposure_us),
    Column("gain", "of the sensor", lambda v, c: c.gain),
    Column("focus", "in the camera's own units", lambda v, c: c.focus),
    Column("bundles", "networks that answered, with versions", lambda v, c: "; ".join(c.result.bundles.values())),
)
READING_COLUMNS = (
    Column("reading", "uid of the reading", lambda v, r: r.uid),
    Column("visit", "uid of its examination", lambda v, r: v.uid),
    Column("participant", "the participant's code", lambda v, r: v.participant),
    *(
        Column(name, says, lambda v, r, name=name: getattr(r, name))
        for name, says in (
            ("laterality", "OD (right) or OS (left)"),
            ("reader", "the reader's code"),
            ("grade", "refer, no_referral, ungradable"),
            ("vcdr", "vertical cup-to-disc ratio"),
            ("masked", "whether the instrument's answer was hidden until then"),
            ("time", "ISO 8601, UTC"),
            ("remark", ""),
        )
    ),
)
TABLES = {"visits.csv": VISIT_COLUMNS, "captures.csv": CAPTURE_COLUMNS, "readings.csv": READING_COLUMNS}


def _path(place: str, sha256: str, suffix: str) -> str:
    return f"{place}/{sha256}{suffix}" if sha256 else ""


def readme() -> str:
    """The text that lies in each export and says what it is."""
    lines = [
        "Examinations of a tenohira instrument",
        "",
        *textwrap.wrap(NOTICE, 110),
        "",
        "This folder holds photographs and findings of people who were examined. They are health data: what the",
        "participants agreed to, and the law of the place, decide who may use them and for what. The licence of",
        "tenohira (Apache-2.0) is for its code and does not cover them. Pass nothing on without that permission.",
        "",
        "visits.jsonl   the complete records, one examination a line; nothing is left out",
        "manifest.json  the SHA-256 of every file, and the head of the instrument's audit log (seq:hash)",
        "images/        photographs as they were screened; overlays/ with outlines; masks/ of disc and cup;",
        "               raw/ the sensor's own data. Files are named by the SHA-256 of their content.",
        "",
        "Take it into another record with: tenohira record import --store DIR THIS-FOLDER",
        "In CSV files, text that a spreadsheet would compute has an apostrophe before it.",
    ]
    for name, columns in TABLES.items():
        lines += ["", name, *(f"  {c.name:32s}{c.says}".rstrip() for c in columns)]
    return "\n".join(lines) + "\n"
