"""Every figure of a trial's report, from its cohort. Where the index test changed, each is analysed by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from device import __version__
from device.record import now
from device.trial import accuracy, agreement, conduct, statistics
from device.trial.cohort import (
    ELSEWHERE,
    NO_CONSENT,
    REPEAT,
    UNATTEMPTED,
    UNFINISHED,
    UNGRADED,
    Answer,
    Cohort,
    IndexTest,
    TrialEye,
    cause_of,
)
from device.trial.findings import Cause, Flow, Part, Report, Verified
from device.trial.statistics import Proportion
from device.verdict import Outcome


def analyse(cohort: Cohort, sources: Sequence[str], simulated: bool = False) -> Report:
    """The report on a cohort."""
    readings = [r for v in cohort.visits for r in v.readings]
    ends = sorted(v.started[:10] for v in cohort.visits) or ["", ""]
    return Report(
        created=now(),
        version=__version__,
        study=cohort.study,
        sources=tuple(sources),
        simulated=simulated,
        first=ends[0],
        last=ends[-1],
        flow=_flow(cohort),
        left_out=cohort.left_out,
        warnings=tuple(conduct.warnings(cohort)),
        parts=tuple(_part(test, cohort.of(test.label)) for test in cohort.index_tests),
        readers=tuple(agreement.among_readers(cohort.eyes)),
        reference_sources=conduct.counts(
            "reference", [e.reference_source or "not stated" for e in cohort.eyes if e.reference is not None]
        ),
        masked_visits=_plain([v.masked for v in cohort.visits]),
        masked_readings=_plain([r.masked for r in readings]),
        spreads=tuple(conduct.spreads(cohort)),
        versions=tuple(conduct.versions(cohort)),
        laterality=tuple(
            conduct.about(e, "the photograph shows the other eye") for e in cohort.eyes if e.mixed_up
        ),
        missing=tuple(conduct.missing(cohort)),
    )


def _plain(flags: Sequence[bool]) -> Proportion:
    return statistics.proportion(flags, range(len(flags)))


def _flow(cohort: Cohort) -> Flow:
    left = Counter(v.reason for v in cohort.left_out)
    answers = Counter(e.answer for e in cohort.eyes)
    people = {v.participant for v in cohort.all_visits}
    return Flow(
        outside=cohort.outside,
        visits=len(cohort.all_visits),
        participants=len(people),
        no_consent=left[NO_CONSENT],
        unfinished=left[UNFINISHED],
        unattempted=left[UNATTEMPTED],
        repeats=left[REPEAT],
        elsewhere=left[ELSEWHERE],
        counted=len(cohort.visits),
        lost=len(people - {v.participant for v in cohort.visits}),
        eyes=len(cohort.eyes),
        not_examined=answers["not_examined"],
        refer=answers["refer"],
        no_referral=answers["no_referral"],
        not_imaged=answers["not_imaged"],
        ungradable=answers["ungradable"],
        verified={name: _verified(cohort.eyes, kinds) for name, kinds in ROWS.items()},
    )


ROWS: dict[str, tuple[Answer, ...]] = {
    "refer": ("refer",),
    "no_referral": ("no_referral",),
    "no_outcome": UNGRADED,
}


def _verified(eyes: Iterable[TrialEye], answers: Sequence[Answer]) -> Verified:
    counts = Counter(e.reference for e in eyes if e.answer in answers)
    return Verified(counts[True], counts[False], counts[None])


def _part(test: IndexTest, eyes: Sequence[TrialEye]) -> Part:
    attempted = [e for e in eyes if e.answer != "not_examined"]
    shots = [(s, e) for e in eyes for c in e.bursts for s in c.shots]
    verified = any(e.reference is not None for e in eyes)
    scored = [e for e in eyes if e.reference is not None and e.probability is not None]
    return Part(
        index_test=test,
        participants=len({e.participant for e in eyes}),
        eyes=len(eyes),
        no_outcome=accuracy.share_of(attempted, lambda e: e.answer in UNGRADED),
        causes=tuple(_causes(eyes)),
        photographs=statistics.proportion(
            [s.outcome is Outcome.UNGRADABLE for s, _ in shots], [e.participant for _, e in shots]
        ),
        prevalence=accuracy.share_of([e for e in eyes if e.reference is not None], lambda e: e.reference is True),
        cross=(
            accuracy.cross("eye", accuracy.by_eye(eyes)),
            accuracy.cross("participant", accuracy.by_participant(eyes)),
        )
        if verified
        else (),
        accuracy=tuple(accuracy.accuracies(eyes)) if verified else (),
        roc=statistics.roc(
            [e.reference is True for e in scored],
            [e.probability or 0.0 for e in scored],
            [e.participant for e in scored],
        ),
        at_point=accuracy.at_point(scored),
        ratings=tuple(agreement.of_instrument(eyes)),
        ratios=tuple(agreement.ratios(eyes)),
        repeats=tuple(agreement.repeats(eyes)),
        groups=tuple(accuracy.groups(eyes)),
    )


def _causes(eyes: Sequence[TrialEye]) -> Iterable[Cause]:
    tables = {
        "eye, not imaged": Counter(e.cause for e in eyes if e.answer == "not_imaged"),
        "eye, ungradable": Counter(e.cause for e in eyes if e.answer == "ungradable"),
        "photograph": Counter(
            cause_of(s.reasons) for e in eyes for c in e.bursts for s in c.shots if s.outcome is Outcome.UNGRADABLE
        ),
    }
    for of, counts in tables.items():
        for cause, n in counts.most_common():
            yield Cause(of, cause, n)
