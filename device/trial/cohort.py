"""Who counts in a trial, and who does not and why: nothing leaves without being listed.

Rules, in this order; each visit is counted at the first that applies to it:

1. visits without the study's consent are left out;
2. visits that were not finished are left out;
3. visits in which nothing was attempted, neither a photograph that counts nor a reason for none, are left out:
   ended by mistake, they must not stand in the place of the examination that followed;
4. of a participant's remaining visits the first finished counts. Others with its code are repeats, or, from
   another device or site, perhaps of another person: they are counted by themselves.

Each participant who counts has two eyes. What the instrument says of an eye is ``device.eyes.eye_result``: the
answer that the operator saw.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from device.eyes import doubtful, eye_result
from device.record import EYES, Capture, Eye, NotImaged, Reading, Reference, Visit
from device.verdict import Outcome

# What the index test said of an eye. An attempt that failed is an answer of its own; no attempt is none.
Answer = Literal["refer", "no_referral", "ungradable", "not_imaged", "not_examined"]
GRADED: tuple[Answer, ...] = ("refer", "no_referral")
UNGRADED: tuple[Answer, ...] = ("ungradable", "not_imaged")

NO_CONSENT, UNFINISHED, UNATTEMPTED = "no consent", "not finished", "nothing attempted"
REPEAT, ELSEWHERE = "repeat of a participant", "same code from another device or site"


class IndexTest(msgspec.Struct, frozen=True):
    """What was tried: networks and operating point. A trial in which it changed is one of several index tests,
    whose results are not added up."""

    label: str  # A, B...
    point: str  # name of the operating point, empty where none was recorded
    threshold: float | None
    bundles: dict[str, str]

    def words(self) -> str:
        """In one line."""
        if self.threshold is None:
            return "no operating point recorded"
        return f"{self.point} ({self.threshold:g}), {', '.join(sorted(self.bundles.values())) or 'no bundles'}"


class LeftOut(msgspec.Struct, frozen=True):
    """A visit that does not count, and the rule that it fell under."""

    participant: str
    visit: str
    number: int
    device: str
    started: str
    reason: str


class TrialEye(msgspec.Struct, frozen=True, kw_only=True):
    """One eye of a participant who counts: a row of ``eyes.csv``."""

    participant: str
    laterality: Eye
    visit: str
    number: int
    site: str
    device: str
    operator: str
    software: str
    masked: bool
    index_test: str  # its label
    answer: Answer
    cause: str = ""  # why there is no outcome
    probability: float | None = None
    vcdr: float | None = None
    presses: int = 0
    photographs: int = 0
    graded: int = 0  # photographs that could be graded
    reference: bool | None = None
    reference_vcdr: float | None = None
    reference_source: str = ""
    readings: tuple[Reading, ...] = ()
    bursts: tuple[Capture, ...] = ()
    mixed_up: bool = False  # a photograph shows the other eye's anatomy


class Cohort(msgspec.Struct, frozen=True, kw_only=True):
    """The trial's visits sorted out. ``visits`` are those that count, one a participant."""

    study: str
    all_visits: tuple[Visit, ...]
    visits: tuple[Visit, ...]
    left_out: tuple[LeftOut, ...]
    outside: int  # visits of other studies, or of none
    index_tests: tuple[IndexTest, ...]
    eyes: tuple[TrialEye, ...]
    unmatched: tuple[Reference, ...]  # references of nobody who counts

    def of(self, label: str) -> tuple[TrialEye, ...]:
        """The eyes that one index test examined."""
        return tuple(e for e in self.eyes if e.index_test == label)


def gather(visits: Iterable[Visit], references: Sequence[Reference], study: str, outside: int = 0) -> Cohort:
    """Apply the rules to a study's visits."""
    ordered = sorted(visits, key=lambda v: (v.started, v.device, v.number))
    counted, left_out = _sorted_out(ordered)
    tests, label_of = _index_tests(counted)
    by_eye = {(r.participant, r.laterality): r for r in references}
    eyes = [_eye(v, e, label_of[v.uid], by_eye.get((v.participant, e))) for v in counted for e in EYES]
    people = {v.participant for v in counted}
    return Cohort(
        study=study,
        all_visits=tuple(ordered),
        visits=tuple(counted),
        left_out=tuple(left_out),
        outside=outside,
        index_tests=tests,
        eyes=tuple(eyes),
        unmatched=tuple(r for r in references if r.participant not in people),
    )


def seconds(visit: Visit) -> float | None:
    """How long a visit took; None where it is not finished or its clock is wrong."""
    try:
        span = datetime.fromisoformat(visit.finished or "") - datetime.fromisoformat(visit.started)
    except (ValueError, TypeError):  # no time, or one with and one without offset
        return None
    return span.total_seconds() if span.total_seconds() >= 0 else None


def _sorted_out(visits: Sequence[Visit]) -> tuple[list[Visit], list[LeftOut]]:
    first: dict[str, Visit] = {}
    entitled = [v for v in visits if v.consent and v.finished and _attempted(v)]
    for v in sorted(entitled, key=lambda v: (v.finished or "", v.started)):
        first.setdefault(v.participant, v)
    counted, left_out = [], []
    for v in visits:
        if not v.consent:
            reason = NO_CONSENT
        elif not v.finished:
            reason = UNFINISHED
        elif not _attempted(v):
            reason = UNATTEMPTED
        elif (first[v.participant].device, first[v.participant].site) != (v.device, v.site):
            reason = ELSEWHERE
        elif first[v.participant].uid != v.uid:
            reason = REPEAT
        else:
            counted.append(v)
            continue
        left_out.append(LeftOut(v.participant, v.uid, v.number, v.device, v.started, reason))
    return counted, left_out


def _attempted(visit: Visit) -> bool:
    return bool(visit.not_imaged) or any(visit.of(eye) for eye in EYES)


def _index_tests(visits: Sequence[Visit]) -> tuple[tuple[IndexTest, ...], dict[str, str]]:
    """The index tests of a trial by first use, and each visit's label.

    A visit's is that of its last capture that names an operating point. A visit without any (no eye could be
    imaged) gets that of the visit before it on its device, else the next one's, else the trial's first.
    """
    known = {v.uid: found for v in visits if (found := _used(v)) is not None}
    kinds = list(dict.fromkeys(known[v.uid] for v in visits if v.uid in known)) or [("", None, ())]
    labels = {kind: _letters(i) for i, kind in enumerate(kinds)}
    label_of: dict[str, str] = {}
    for device in {v.device for v in visits}:
        own = [v for v in visits if v.device == device]
        current = next((known[v.uid] for v in own if v.uid in known), kinds[0])
        for v in own:
            current = known.get(v.uid, current)
            label_of[v.uid] = labels[current]
    return tuple(IndexTest(labels[k], k[0], k[1], dict(k[2])) for k in kinds), label_of


Kind = tuple[str, float | None, tuple[tuple[str, str], ...]]


def used(capture: Capture) -> Kind | None:
    """Operating point and networks of a capture; None where it names no operating point."""
    point = capture.result.operating_points.get("glaucoma_probability")
    if point is None:
        return None
    return point["name"], float(point["threshold"]), tuple(sorted(capture.result.bundles.items()))


def _used(visit: Visit) -> Kind | None:
    return next((kind for c in reversed(visit.captures) if (kind := used(c)) is not None), None)


def _letters(i: int) -> str:
    return chr(ord("A") + i) if i < 26 else f"{_letters(i // 26 - 1)}{_letters(i % 26)}"


def _eye(visit: Visit, eye: Eye, label: str, reference: Reference | None) -> TrialEye:
    result = eye_result(visit, eye)
    captures = visit.of(eye)
    answer, cause = _answer(result.outcome, captures, [n for n in visit.not_imaged if n.laterality == eye])
    return TrialEye(
        participant=visit.participant,
        laterality=eye,
        visit=visit.uid,
        number=visit.number,
        site=visit.site,
        device=visit.device,
        operator=visit.operator,
        software=visit.software,
        masked=visit.masked,
        index_test=label,
        answer=answer,
        cause=cause,
        probability=result.glaucoma_probability.value if result.glaucoma_probability else None,
        vcdr=result.vcdr.value if result.vcdr else None,
        presses=len(captures),
        photographs=result.shots,
        graded=result.graded,
        reference=reference.refer if reference else None,
        reference_vcdr=reference.vcdr if reference else None,
        reference_source=reference.source if reference else "",
        readings=tuple(r for r in visit.readings if r.laterality == eye),
        bursts=captures,
        mixed_up=bool(doubtful(visit, eye)),
    )


def _answer(
    outcome: Outcome | None, captures: Sequence[Capture], given_up: Sequence[NotImaged]
) -> tuple[Answer, str]:
    """The eye's answer and, where it has no outcome, the cause."""
    if outcome is Outcome.REFER:
        return "refer", ""
    if outcome is Outcome.NO_REFERRAL:
        return "no_referral", ""
    if given_up:
        return "not_imaged", given_up[-1].reason or "no reason given"
    if captures:
        return "ungradable", cause_of(captures[-1].result.reasons)
    return "not_examined", "neither a photograph nor a reason for none"


def cause_of(reasons: Sequence[str]) -> str:
    """The first reason without its numbers, so that equal causes can be counted."""
    return re.sub(r"\d+(\.\d+)?", "…", reasons[0]) if reasons else "no reason recorded"
