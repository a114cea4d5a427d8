"""What is said of an eye after all of its photographs: one outcome, numbers with the spread of the repeats."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from device import verdict
from device.record import EYES, Capture, Eye, NotImaged, Shot, Visit
from device.verdict import Outcome


class Interval(msgspec.Struct, frozen=True):
    """The median of repeated photographs, and the lowest and highest of them. With one photograph (``n`` is 1)
    nothing is known of the spread, and pages say so instead of showing an interval."""

    value: float
    low: float
    high: float
    n: int


class EyeResult(msgspec.Struct, frozen=True, kw_only=True):
    """One eye's answer. ``outcome`` is None while there is neither a photograph nor a reason for none; numbers
    are None unless it is ``refer`` or ``no_referral``. ``evidence`` is the capture whose outlines belong to it."""

    laterality: Eye
    outcome: Outcome | None
    reasons: tuple[str, ...] = ()
    tip: str = ""
    vcdr: Interval | None = None
    glaucoma_probability: Interval | None = None
    evidence: Capture | None = None
    shots: int = 0  # photographs taken
    graded: int = 0  # of which so many could be graded


def eye_result(visit: Visit, eye: Eye) -> EyeResult:
    """The answer for one eye from every photograph of it in a visit.

    Photographs that could be graded are taken together: the median probability is held against the operating
    point, that of the last of them where it was changed in between. (The median, for one bad photograph must not
    decide.) Without any, the eye is ungradable for the reason
    of its last capture, or because it could not be imaged.
    """
    captures = visit.of(eye)
    given_up = [n for n in visit.not_imaged if n.laterality == eye]
    graded = [(c, s) for c in captures for s in c.shots if s.outcome is not Outcome.UNGRADABLE]
    shots = sum(len(c.shots) for c in captures)
    if not graded:
        return _ungradable(eye, captures, given_up, shots)
    vcdr = _interval([s.vcdr for _, s in graded])
    chance = _interval([s.glaucoma_probability for _, s in graded])
    evidence = _nearest(graded, None if chance is None else chance.value)
    outcome, reasons = _outcome(graded, evidence, chance, vcdr)
    return EyeResult(
        laterality=eye,
        outcome=outcome,
        reasons=reasons,
        tip=evidence.result.tip,
        vcdr=vcdr,
        glaucoma_probability=chance,
        evidence=evidence,
        shots=shots,
        graded=len(graded),
    )


def _ungradable(eye: Eye, captures: Sequence[Capture], given_up: Sequence[NotImaged], shots: int) -> EyeResult:
    last = captures[-1] if captures else None
    if given_up:
        reasons: tuple[str, ...] = (f"this eye could not be imaged: {given_up[-1].reason}",)
    elif last is not None:
        reasons = last.result.reasons
    else:
        return EyeResult(laterality=eye, outcome=None)
    return EyeResult(
        laterality=eye,
        outcome=Outcome.UNGRADABLE,
        reasons=reasons,
        tip=last.result.tip if last else "",
        evidence=last,
        shots=shots,
    )


def _interval(values: Sequence[float | None]) -> Interval | None:
    known = [v for v in values if v is not None]
    return Interval(statistics.median(known), min(known), max(known), len(known)) if known else None


def _nearest(graded: Sequence[tuple[Capture, Shot]], value: float | None) -> Capture:
    """The capture whose kept photograph was graded and lies nearest to the answer; the latest of equals. Only
    those at the last operating point, which decides."""

    def distance(capture: Capture) -> tuple[bool, float]:
        chance = capture.result.glaucoma_probability
        return chance is None, 0.0 if chance is None or value is None else abs(chance - value)

    points = graded[-1][0].result.operating_points
    captures = list({c.uid: c for c, _ in graded if c.result.operating_points == points}.values())
    return min(reversed(captures), key=distance)


def _outcome(
    graded: Sequence[tuple[Capture, Shot]], evidence: Capture, chance: Interval | None, vcdr: Interval | None
) -> tuple[Outcome, tuple[str, ...]]:
    """With one photograph its own verdict; of several, that of the median, with how many of them agree."""
    if len(graded) == 1:
        return graded[0][1].outcome, graded[0][1].reasons
    point = evidence.result.operating_points.get("glaucoma_probability")
    refer = [s for _, s in graded if s.outcome is Outcome.REFER]
    if chance is None or point is None:
        outcome = Outcome.REFER if 2 * len(refer) >= len(graded) else Outcome.NO_REFERRAL
        return outcome, (f"{len(refer)} of {len(graded)} photographs were graded for referral",)
    held = [("median", chance.value, point, verdict.NEAR["glaucoma_probability"])]
    if vcdr is not None and (of_vcdr := evidence.result.operating_points.get("vcdr")) is not None:
        held.append(("median_vcdr", vcdr.value, of_vcdr, verdict.NEAR["vcdr"]))
    over = [h for h in held if h[1] >= h[2]["threshold"]]
    outcome = Outcome.REFER if over else Outcome.NO_REFERRAL
    reasons = [verdict.comparison(name, value, p["threshold"], p["name"]) for name, value, p, _ in over or held]
    agree = sum(s.outcome is outcome for _, s in graded)
    if agree < len(graded):
        reasons.append(f"only {agree} of {len(graded)} photographs say so by themselves: photograph again")
    elif abs(max((value - p["threshold"]) / near for _, value, p, near in held)) < 1:
        reasons.append(verdict.CLOSE)
    return outcome, tuple(reasons)


def doubtful(visit: Visit, eye: Eye) -> tuple[Capture, ...]:
    """The captures of an eye that count though the disc lies where the other eye has it, and of which nobody has
    said that it is the chosen eye all the same."""
    other = [c for c in visit.of(eye) if c.seen_laterality in EYES and c.seen_laterality != eye]
    return tuple(c for c in other if c.uid not in visit.confirmed)


def hidden(visit: Visit, eye: Eye) -> bool:
    """Whether the instrument's answer on an eye must stay hidden: in a masked visit, until a reader graded it."""
    return visit.masked and not any(r.laterality == eye and r.masked for r in visit.readings)


def conceals(visit: Visit, eye: Eye) -> bool:
    """Whether there is an answer on an eye and it is hidden. (That an eye could not be imaged at all is no answer
    of the instrument's, and nobody can grade an eye without a photograph that counts.)"""
    return hidden(visit, eye) and bool(visit.of(eye))


def unread(visit: Visit) -> list[Eye]:
    """The photographed eyes whose answer is hidden."""
    return [eye for eye in EYES if conceals(visit, eye)]
