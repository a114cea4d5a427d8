"""How far the instrument, readers and reference agree, and the instrument with itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from device.record import Reading
from device.trial import statistics
from device.trial.cohort import GRADED, UNGRADED, TrialEye
from device.trial.findings import Rating, Ratios, Repeats
from device.verdict import Outcome

INSTRUMENT, REFERENCE = "instrument", "reference standard"
OUTCOMES = tuple(o.value for o in Outcome)


def _first_readings(eye: TrialEye, masked: bool) -> dict[str, Reading]:
    """Each reader's first reading of an eye, in the order of the record and not by time, for clocks jump; only the
    first was given without knowing the answer."""
    first: dict[str, Reading] = {}
    for r in eye.readings:
        first.setdefault(r.reader, r)
    return {reader: r for reader, r in first.items() if r.masked is masked}


def of_instrument(eyes: Sequence[TrialEye]) -> Iterable[Rating]:
    """The instrument with the reference, and with each reader: of eyes that both could grade, and of all."""
    verified = [(e, e.answer, _word(e.reference)) for e in eyes if e.reference is not None]
    yield from _ratings(INSTRUMENT, REFERENCE, verified, "both graded", GRADED)
    for masked in (True, False):
        for reader, read in _read_by(eyes, masked).items():
            words = reader if masked else f"{reader} (not masked)"
            rated = [
                (e, "ungradable" if e.answer in UNGRADED else e.answer, r.grade.value)
                for e, r in read
                if e.answer != "not_examined"
            ]
            yield from _ratings(INSTRUMENT, words, rated, "both graded", GRADED)
            yield from _ratings(INSTRUMENT, words, rated, "ungradable as a third grade", OUTCOMES)


def among_readers(eyes: Sequence[TrialEye]) -> Iterable[Rating]:
    """Masked readings: each reader with the reference, and with each other reader."""
    read = _read_by(eyes, masked=True)
    for reader, own in read.items():
        verified = [(e, r.grade.value, _word(e.reference)) for e, r in own if e.reference is not None]
        yield from _ratings(reader, REFERENCE, verified, "both graded", GRADED)
    for (a, read_a), (b, read_b) in combinations(read.items(), 2):
        grades = {(e.participant, e.laterality): r.grade.value for e, r in read_b}
        both = [
            (e, r.grade.value, grades[e.participant, e.laterality])
            for e, r in read_a
            if (e.participant, e.laterality) in grades
        ]
        yield from _ratings(a, b, both, "both graded", GRADED)
        yield from _ratings(a, b, both, "ungradable as a third grade", OUTCOMES)


def _read_by(eyes: Sequence[TrialEye], masked: bool) -> dict[str, list[tuple[TrialEye, Reading]]]:
    read: dict[str, list[tuple[TrialEye, Reading]]] = defaultdict(list)
    for e in eyes:
        for reader, r in _first_readings(e, masked).items():
            read[reader].append((e, r))
    return dict(sorted(read.items()))


def _ratings(
    first: str, second: str, rated: Iterable[tuple[TrialEye, str, str]], what: str, categories: Sequence[str]
) -> Iterable[Rating]:
    known = [(e.participant, a, b) for e, a, b in rated if a in categories and b in categories]
    if known:
        people, a, b = zip(*known)
        yield Rating(first, second, what, statistics.kappa(a, b, people, categories))


def _word(refer: bool | None) -> str:
    return "refer" if refer else "no_referral"


def ratios(eyes: Sequence[TrialEye]) -> Iterable[Ratios]:
    """The instrument's ratios against the reference's and each masked reader's."""
    others: dict[str, list[tuple[str, float, float]]] = {}
    verified = [
        (e.participant, e.vcdr, e.reference_vcdr)
        for e in eyes
        if e.vcdr is not None and e.reference_vcdr is not None
    ]
    others[REFERENCE] = verified
    for reader, read in _read_by(eyes, masked=True).items():
        others[reader] = [
            (e.participant, e.vcdr, r.vcdr) for e, r in read if e.vcdr is not None and r.vcdr is not None
        ]
    for against, rows in others.items():
        if rows:
            people, measured, reference = zip(*rows)
            pairs = tuple(zip(measured, reference))
            yield Ratios(against, pairs, statistics.limits(measured, reference, people))


QUANTITIES = {"vcdr": "vertical cup-to-disc ratio", "glaucoma_probability": "glaucoma probability"}
BURST = "photographs of one press of the shutter"
PRESSES = "presses of the shutter on one eye (median of each burst)"


def repeats(eyes: Sequence[TrialEye]) -> Iterable[Repeats]:
    """Within bursts, and between presses of the shutter, of each quantity."""
    for quantity, words in QUANTITIES.items():
        bursts = [
            [[v for s in c.shots if (v := getattr(s, quantity)) is not None] for c in e.bursts] for e in eyes
        ]
        yield Repeats(words, BURST, statistics.repeatability([b for of_eye in bursts for b in of_eye]))
        medians = [[float(np.median(b)) for b in of_eye if b] for of_eye in bursts]
        yield Repeats(words, PRESSES, statistics.repeatability(medians))
