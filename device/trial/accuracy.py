"""The instrument against the reference standard, by eye and by participant.

Nothing is chosen from the trial's own data: the operating point is the one that the records name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from device.trial import statistics
from device.trial.cohort import UNGRADED, Answer, TrialEye
from device.trial.findings import Accuracy, Cross, Group, Handling, Unit
from device.trial.statistics import Proportion
from device.verdict import Outcome


class Subject(msgspec.Struct, frozen=True):
    """What is counted: an eye or a participant. ``answer`` is None where the index test is incomplete."""

    participant: str
    answer: Outcome | None
    reference: bool | None


def by_eye(eyes: Iterable[TrialEye]) -> list[Subject]:
    """Each eye by itself."""
    return [Subject(e.participant, _outcome(e.answer), e.reference) for e in eyes]


def _outcome(answer: Answer) -> Outcome | None:
    if answer == "not_examined":
        return None
    return Outcome.UNGRADABLE if answer in UNGRADED else Outcome(answer)


def by_participant(eyes: Iterable[TrialEye]) -> list[Subject]:
    """Either eye decides. Index test: refer where one eye is; else ungradable where one is; else no referral where
    both are; else incomplete. Reference: refer where one eye is; no referral where both are; else incomplete."""
    people: dict[str, list[TrialEye]] = defaultdict(list)
    for e in eyes:
        people[e.participant].append(e)
    return [Subject(p, _either([_outcome(e.answer) for e in own]), _any(own)) for p, own in people.items()]


def _either(answers: Sequence[Outcome | None]) -> Outcome | None:
    for outcome in (Outcome.REFER, Outcome.UNGRADABLE):
        if outcome in answers:
            return outcome
    return None if None in answers else Outcome.NO_REFERRAL


def _any(eyes: Sequence[TrialEye]) -> bool | None:
    if any(e.reference for e in eyes):
        return True
    return None if any(e.reference is None for e in eyes) else False


def cross(unit: Unit, subjects: Sequence[Subject]) -> Cross:
    """The table of index test by reference."""
    counts = Counter((s.answer, s.reference) for s in subjects)
    refer, no_referral, no_outcome = (
        (counts[o, True], counts[o, False]) for o in (Outcome.REFER, Outcome.NO_REFERRAL, Outcome.UNGRADABLE)
    )
    left_out = len(subjects) - sum(map(sum, (refer, no_referral, no_outcome)))
    return Cross(unit, refer, no_referral, no_outcome, left_out)


def accuracies(eyes: Sequence[TrialEye]) -> Iterable[Accuracy]:
    """Every measure, by eye and by participant, with eyes that have no outcome treated in both ways."""
    units: dict[Unit, list[Subject]] = {"eye": by_eye(eyes), "participant": by_participant(eyes)}
    handlings: tuple[Handling, Handling] = ("excluded", "referred")
    for unit, subjects in units.items():
        for handling in handlings:
            for measure, share in measures(subjects, handling).items():
                yield Accuracy(unit, handling, measure, share)


def measures(subjects: Iterable[Subject], handling: Handling) -> dict[str, Proportion]:
    """Sensitivity, specificity and predictive values of subjects that have both an answer and a reference."""
    both = [s for s in subjects if s.answer is not None and s.reference is not None]
    if handling == "excluded":
        both = [s for s in both if s.answer is not Outcome.UNGRADABLE]
    ill, well = [s for s in both if s.reference], [s for s in both if not s.reference]
    positive = [s for s in both if _positive(s)]
    negative = [s for s in both if not _positive(s)]
    return {
        "sensitivity": share_of(ill, _positive),
        "specificity": share_of(well, lambda s: not _positive(s)),
        "positive predictive value": share_of(positive, lambda s: s.reference is True),
        "negative predictive value": share_of(negative, lambda s: s.reference is False),
    }


def _positive(subject: Subject) -> bool:
    return subject.answer is not Outcome.NO_REFERRAL


T = TypeVar("T", TrialEye, Subject)


def share_of(items: Sequence[T], success: Callable[[T], bool]) -> Proportion:
    """The share of items that succeed."""
    return statistics.proportion([success(i) for i in items], [i.participant for i in items])


def at_point(scored: Sequence[TrialEye]) -> tuple[float, float] | None:
    """False-positive rate and sensitivity of what was decided; None where a class is missing."""
    found = measures(by_eye(scored), "excluded")
    sensitivity, specificity = found["sensitivity"].value, found["specificity"].value
    return None if sensitivity is None or specificity is None else (1 - specificity, sensitivity)


def groups(eyes: Sequence[TrialEye]) -> Iterable[Group]:
    """The same for each site, device and operator, by eye, without eyes that have no outcome."""
    keys: dict[str, Callable[[TrialEye], str]] = {
        "site": lambda e: e.site,
        "device": lambda e: e.device,
        "operator": lambda e: e.operator,
    }
    for by, key in keys.items():
        for name in sorted({key(e) for e in eyes}):
            own = [e for e in eyes if key(e) == name]
            attempted = [e for e in own if e.answer != "not_examined"]
            found = measures(by_eye(own), "excluded")
            yield Group(
                by=by,
                name=name or "not recorded",
                participants=len({e.participant for e in own}),
                eyes=len(attempted),
                no_outcome=share_of(attempted, lambda e: e.answer in UNGRADED),
                sensitivity=found["sensitivity"],
                specificity=found["specificity"],
            )
