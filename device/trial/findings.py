"""What a trial's report holds: the shapes of ``report.json`` and of the CSV files."""

from __future__ import annotations

from typing import Literal

import msgspec

from device.trial.cohort import IndexTest, LeftOut
from device.trial.statistics import Kappa, Limits, Proportion, Repeatability, Roc

SCHEMA = 1
Unit = Literal["eye", "participant"]
Handling = Literal["excluded", "referred"]  # what becomes of an index test without an outcome


class Verified(msgspec.Struct, frozen=True):
    """How many eyes have a reference that says refer, one that says no referral, and none."""

    refer: int
    no_referral: int
    none: int


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """The STARD diagram's numbers. Visits: ``visits`` = ``no_consent`` + ``unfinished`` +
    ``unattempted`` + ``repeats`` + ``elsewhere`` + ``counted``. Eyes: 2 x ``counted`` = ``not_examined`` +
    ``refer`` + ``no_referral`` + ``not_imaged`` + ``ungradable``; ``verified`` has them by answer (``refer``,
    ``no_referral``, ``no_outcome``)."""

    outside: int
    visits: int
    participants: int
    no_consent: int
    unfinished: int
    unattempted: int  # ended without a photograph that counts and without a reason for none
    repeats: int
    elsewhere: int  # with the code of one that counts, from another device or site
    counted: int  # visits, one a participant
    lost: int  # participants none of whose visits count
    eyes: int
    not_examined: int
    refer: int
    no_referral: int
    not_imaged: int
    ungradable: int
    verified: dict[str, Verified]


class Cross(msgspec.Struct, frozen=True):
    """Index test (rows ``refer``, ``no_referral``, ``no_outcome``) by reference (refer, no referral), as Schuetz
    et al. (BMJ 345:e6717, 2012) ask for. ``left_out`` has neither, or no complete one."""

    unit: Unit
    refer: tuple[int, int]
    no_referral: tuple[int, int]
    no_outcome: tuple[int, int]
    left_out: int


class Accuracy(msgspec.Struct, frozen=True):
    """One measure of accuracy."""

    unit: Unit
    handling: Handling
    measure: str
    share: Proportion


class Cause(msgspec.Struct, frozen=True):
    """Why there was no outcome, and how often."""

    of: str  # eye, not imaged; eye, ungradable; photograph
    cause: str
    n: int


class Rating(msgspec.Struct, frozen=True):
    """How far two ratings of the same eyes agree."""

    first: str
    second: str
    what: str
    kappa: Kappa


class Ratios(msgspec.Struct, frozen=True):
    """Vertical cup-to-disc ratios: the instrument's against another's. ``limits`` is None for fewer than three
    people."""

    against: str
    pairs: tuple[tuple[float, float], ...]
    limits: Limits | None


class Repeats(msgspec.Struct, frozen=True):
    """How far repeated photographs agree; None where none was repeated."""

    quantity: str
    level: str
    found: Repeatability | None


class Group(msgspec.Struct, frozen=True):
    """One site, device or operator."""

    by: str
    name: str
    participants: int
    eyes: int
    no_outcome: Proportion
    sensitivity: Proportion
    specificity: Proportion


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What was found with one index test. Accuracy is empty without any reference."""

    index_test: IndexTest
    participants: int
    eyes: int
    no_outcome: Proportion
    causes: tuple[Cause, ...]
    photographs: Proportion  # that could not be graded
    prevalence: Proportion
    cross: tuple[Cross, ...]
    accuracy: tuple[Accuracy, ...]
    roc: Roc | None
    at_point: tuple[float, float] | None  # false-positive rate and sensitivity of the eyes in ``roc``
    ratings: tuple[Rating, ...]
    ratios: tuple[Ratios, ...]
    repeats: tuple[Repeats, ...]
    groups: tuple[Group, ...]


class Spread(msgspec.Struct, frozen=True):
    """Median and quartiles (linear interpolation) of ``n`` values; None where there are none."""

    what: str
    n: int
    median: float | None
    q1: float | None
    q3: float | None


class Count(msgspec.Struct, frozen=True):
    """How many visits had this version or setting."""

    what: str
    value: str
    visits: int


class Missing(msgspec.Struct, frozen=True):
    """Something that the report would have needed."""

    what: str
    participant: str
    number: int  # of the visit, 0 where there is none
    laterality: str  # empty where it concerns the whole visit


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A trial's report: what ``report.json`` holds and the page shows."""

    schema: int = SCHEMA
    created: str
    version: str  # of the tenohira that wrote it
    study: str
    sources: tuple[str, ...]
    simulated: bool  # no people took part
    first: str  # date of the first and of the last visit that counts
    last: str
    flow: Flow
    left_out: tuple[LeftOut, ...]
    warnings: tuple[str, ...]
    parts: tuple[Part, ...]
    readers: tuple[Rating, ...]  # among each other and with the reference
    reference_sources: tuple[Count, ...]
    masked_visits: Proportion
    masked_readings: Proportion
    spreads: tuple[Spread, ...]
    versions: tuple[Count, ...]
    laterality: tuple[Missing, ...]
    missing: tuple[Missing, ...]
