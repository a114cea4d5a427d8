"""How a trial was run: work and time, versions, what is missing, and what to know before any figure is read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from device.trial.cohort import GRADED, Cohort, TrialEye, seconds, used
from device.trial.findings import Count, Missing, Spread

NAMED = 10  # participants that a warning names


def spreads(cohort: Cohort) -> Iterable[Spread]:
    """Work and time."""
    examined = [e for e in cohort.eyes if e.answer != "not_examined"]
    times = [s / 60 for v in cohort.visits if (s := seconds(v)) is not None]
    yield _spread("photographs an eye", [float(e.photographs) for e in examined])
    yield _spread("presses of the shutter an eye", [float(e.presses) for e in examined])
    yield _spread("minutes a visit, from begin to finish", times)


def _spread(what: str, values: Sequence[float]) -> Spread:
    if not values:
        return Spread(what, 0, None, None, None)
    q1, median, q3 = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return Spread(what, len(values), median, q1, q3)


def versions(cohort: Cohort) -> Iterable[Count]:
    """In how many visits which software, instrument, camera, bundle and index test was used."""
    yield from counts("software", [f"tenohira {v.software}" if v.software else "" for v in cohort.visits])
    yield from counts("instrument", [v.device for v in cohort.visits])
    cameras = [sorted({c.camera for c in v.captures if c.camera}) for v in cohort.visits]
    yield from counts("camera", [name for names in cameras for name in names])
    bundles = [sorted({b for c in v.captures for b in c.result.bundles.values()}) for v in cohort.visits]
    yield from counts("bundle", [name for names in bundles for name in names])
    label_of = {e.visit: e.index_test for e in cohort.eyes}
    words = {t.label: f"{t.label}: {t.words()}" for t in cohort.index_tests}
    yield from counts("index test", [words[label_of[v.uid]] for v in cohort.visits])


def counts(what: str, values: Iterable[str]) -> tuple[Count, ...]:
    """How often each value occurs."""
    return tuple(Count(what, value or "not recorded", n) for value, n in sorted(Counter(values).items()))


def about(e: TrialEye, what: str) -> Missing:
    """A note on an eye."""
    return Missing(what, e.participant, e.number, e.laterality)


def missing(cohort: Cohort) -> Iterable[Missing]:
    """What a reader of the report should know is not there, visit by visit and eye by eye."""
    for v in cohort.visits:
        for what, there in (("site", v.site), ("device", v.device), ("operator", v.operator)):
            if not there:
                yield Missing(f"{what} not recorded", v.participant, v.number, "")
        if seconds(v) is None:
            yield Missing("duration unknown: times missing or in the wrong order", v.participant, v.number, "")
        if v.masked and not v.readings:
            yield Missing("masked visit without any reading", v.participant, v.number, "")
    with_ratio = any(e.reference_vcdr is not None for e in cohort.eyes)
    for e in cohort.eyes:
        if e.answer == "not_examined":
            yield about(e, e.cause)
        if e.reference is None:
            yield about(e, "no reference")
        elif with_ratio and e.reference_vcdr is None:
            yield about(e, "reference without vertical cup-to-disc ratio")
        if e.answer in GRADED and e.probability is None:
            yield about(e, "outcome without glaucoma probability")
    came = {v.participant for v in cohort.all_visits}
    for r in cohort.unmatched:
        why = "participant left out" if r.participant in came else "no visit of this participant in the study"
        yield Missing(f"reference not used: {why}", r.participant, 0, r.laterality)


def warnings(cohort: Cohort) -> Iterable[str]:
    """What must be known before any figure is read."""
    if not cohort.visits:
        yield "No visit counts: see who was left out and why."
    if not cohort.study:
        yield "The visits were not taken in study mode: they carry no study code."
    if len(cohort.index_tests) > 1:
        yield (
            f"The index test changed during the trial: {len(cohort.index_tests)} combinations of networks and "
            "operating point were used. Each is reported by itself, and they are not added up."
        )
    changed = [v for v in cohort.visits if len({k for c in v.captures if (k := used(c)) is not None}) > 1]
    if changed:
        yield (
            f"In {_n(len(changed), 'visit')} the index test changed between two photographs; the later one "
            f"counts: {_named([v.participant for v in changed])}."
        )
    if len({v.software for v in cohort.visits}) > 1:
        yield "Several versions of the software were used: see Versions."
    devices: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for v in cohort.all_visits:
        devices[v.participant].add((v.device, v.site))
    twice = sorted(p for p, places in devices.items() if len(places) > 1)
    if twice:
        yield (
            "The same participant code was used on several devices or sites. Only one visit each counts; make "
            "sure that it is the same person, and that the references are of the one who counts: "
            f"{_named(twice)}."
        )
    yield from _about_references(cohort)
    mixed = sum(e.mixed_up for e in cohort.eyes)
    if mixed:
        yield f"{_n(mixed, 'eye')} may have been recorded as the wrong side: see Laterality."


def _about_references(cohort: Cohort) -> Iterable[str]:
    answered = [e for e in cohort.eyes if e.answer != "not_examined"]
    without = sum(e.reference is None for e in answered)
    if answered and without == len(answered):
        yield "There is no reference standard: nothing is said about accuracy."
    elif without:
        yield (
            f"{without} of {len(answered)} examined eyes have no reference. Where it was not given at random, "
            "accuracy is biased (partial verification)."
        )
    if cohort.unmatched:
        yield f"{_n(len(cohort.unmatched), 'reference')} of nobody who counts: see Missing data."
    readers = {r.reader for e in cohort.eyes for r in e.readings}
    both = sorted(readers & {e.reference_source for e in cohort.eyes if e.reference_source})
    if both:
        yield f"Both reader and reference standard, so that their agreement means nothing: {', '.join(both)}."
    if any(not r.masked for e in cohort.eyes for r in e.readings):
        yield "Some readers had seen the instrument's answer before they graded: those readings stand apart."


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _named(people: Sequence[str]) -> str:
    more = f" and {len(people) - NAMED} more" if len(people) > NAMED else ""
    return ", ".join(people[:NAMED]) + more
