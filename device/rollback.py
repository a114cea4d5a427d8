"""Networks that are older than those of the newest photograph in the record.

Who goes back to an older software or bundle may mean it. It must not happen unseen: the operator is told, and the
log keeps when it was.
"""

from __future__ import annotations

from collections.abc import Mapping

from device.bundle import order_of

Steps = dict[str, tuple[str, str]]  # task: name and version of before, and of now


def steps_back(before: Mapping[str, str], now: Mapping[str, str]) -> Steps:
    """The tasks whose network is older now than before; both are NAME-VERSION by task. Networks of different names
    have no order."""
    return {task: (before[task], now[task]) for task in now if task in before and _older(now[task], before[task])}


def problems(steps: Steps) -> list[str]:
    """What the operator must know, each with the way out."""
    return [
        f"The network {now} is older than {before}, which the newest photograph in the record was screened with; "
        "if nobody meant to go back, copy the newer bundle into its folder again, or update tenohira."
        for before, now in steps.values()
    ]


def _older(one: str, other: str) -> bool:
    (name, _, version), (of, _, newer) = one.partition("-"), other.partition("-")
    return name == of and order_of(version) < order_of(newer)
