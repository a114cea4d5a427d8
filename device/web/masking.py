"""Masked studies: what the instrument says of an eye stays on the server until a reader has graded that eye.

Pages and JSON are made of what passes here, so that nothing hidden is in their source either. The quality of a
photograph is always told: the operator has to know whether to take another.
"""

from __future__ import annotations

from typing import Any

import msgspec

from device.errors import HiddenError
from device.eyes import conceals, eye_result, hidden, unread
from device.record import EYES, Capture, Visit


def concealed(visit: Visit, capture: Capture) -> bool:
    """Whether what the instrument says of a capture is hidden. One that was withdrawn shows the other eye: it
    tells of either."""
    if capture.uid in {w.capture for w in visit.withdrawn}:
        return any(hidden(visit, eye) for eye in EYES)
    return hidden(visit, capture.laterality)


def require_shown(visit: Visit) -> None:
    """Before a report or an export of a whole visit. Raises HiddenError."""
    if waiting := unread(visit):
        raise HiddenError(
            f"the instrument's answer on {' and '.join(waiting)} is hidden until a reader has graded it; "
            "enter the reader's grade first"
        )


def visible_pictures(visit: Visit) -> set[str]:
    """Names of the pictures that may be shown: photographs always; outlines and overlays are not while hidden."""
    names = set()
    for capture in visit.captures:
        names.add(capture.image)
        if not concealed(visit, capture):
            names |= {capture.overlay, *capture.masks.values()}
    return names


def capture_json(visit: Visit, capture: Capture) -> dict[str, Any]:
    """A capture for machines; ``hidden`` says that the answer was left out."""
    built: dict[str, Any] = msgspec.to_builtins(capture)
    built["hidden"] = concealed(visit, capture)
    if built["hidden"]:
        quality = built["result"]["quality"]
        built = {k: v for k, v in built.items() if k not in ("result", "shots", "kept", "overlay", "masks")}
        built["quality"] = quality
    return built


def visit_json(visit: Visit) -> dict[str, Any]:
    """A visit for machines, with each eye's answer where it may be shown."""
    built: dict[str, Any] = msgspec.to_builtins(visit)
    built["captures"] = [capture_json(visit, c) for c in visit.captures]
    built["eyes"] = {eye: {"laterality": eye, "hidden": conceals(visit, eye)} for eye in EYES}
    for eye in EYES:
        if not conceals(visit, eye):
            answer = msgspec.to_builtins(eye_result(visit, eye))
            evidence = answer.pop("evidence")
            built["eyes"][eye] |= answer | {"evidence": evidence and evidence["uid"]}
    return built
