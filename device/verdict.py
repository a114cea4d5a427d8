"""From numbers to an outcome: refer, no referral, or ungradable, each with its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from device.bundle import Manifest, OperatingPoint
from device.errors import UsageError


class Outcome(StrEnum):
    """The three answers; ungradable is one of its own and never stands for either of the others."""

    REFER = "refer"
    NO_REFERRAL = "no_referral"
    UNGRADABLE = "ungradable"


@dataclass(frozen=True)
class Verdict:
    """An outcome and its reasons, short sentences with the numbers that decided."""

    outcome: Outcome
    reasons: tuple[str, ...]


def operating_point(manifest: Manifest, quantity: str, name: str | None = None) -> OperatingPoint | None:
    """The bundle's operating point for a quantity: the one called ``name``, or by default the first.

    None where the bundle has none for this quantity. Raises UsageError where it has some, but not that one.
    """
    known = [p for p in manifest.operating_points if p.quantity == quantity]
    chosen = [p for p in known if name in (None, p.name)]
    if known and not chosen:
        names = ", ".join(p.name for p in known)
        raise UsageError(f"bundle {manifest.name} has no operating point {name!r}; choose one of: {names}")
    return chosen[0] if chosen else None


def probability(manifest: Manifest, logit: float, vcdr: float) -> float:
    """Glaucoma probability: sigmoid(scale * logit + vcdr_weight * vcdr + bias), constants from the manifest."""
    p = manifest.probability
    z = logit if p is None else p.logit_scale * logit + p.vcdr_weight * vcdr + p.logit_bias
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def decide(measured: dict[str, float], points: dict[str, OperatingPoint]) -> Verdict:
    """Refer where any measured quantity reaches its operating point; keys are quantities of OperatingPoint.

    A verdict that a slightly different photograph could turn says so, as its last reason.
    """
    over: list[str] = []
    under: list[str] = []
    for quantity, point in points.items():
        (over if measured[quantity] >= point.threshold else under).append(
            comparison(quantity, measured[quantity], point.threshold, point.name)
        )
    above = [(measured[quantity] - point.threshold) / NEAR[quantity] for quantity, point in points.items()]
    close = (CLOSE,) if above and -1 < max(above) < 1 else ()
    return Verdict(Outcome.REFER if over else Outcome.NO_REFERRAL, (*(over or under), *close))


def comparison(quantity: str, value: float, threshold: float, point: str) -> str:
    """The sentence that holds a quantity (a key of NAMES) against its operating point: with two decimals, or as
    many as tell them apart (0.469 is below 0.470, not 0.47 below 0.47)."""
    digits = next((d for d in range(2, 6) if f"{value:.{d}f}" != f"{threshold:.{d}f}"), 2)
    limit = f"the referral threshold {threshold:.{digits}f} ({point})"
    if value >= threshold:
        return f"{NAMES[quantity]} {value:.{digits}f} reaches {limit}"
    return f"{NAMES[quantity]} {value:.{digits}f} is below {limit}"


NAMES = {
    "glaucoma_probability": "glaucoma probability",
    "median": "median glaucoma probability",  # of several photographs
    "vcdr": "vertical cup-to-disc ratio",
    "median_vcdr": "median vertical cup-to-disc ratio",
}
NEAR = {"glaucoma_probability": 0.1, "vcdr": 0.05}  # the mean error of the ratio; what a repeat easily changes
CLOSE = "this is close to the threshold: repeat the photograph and see whether the answer stays"
