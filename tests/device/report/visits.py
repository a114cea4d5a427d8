"""Visits to report on: painted eyes with outlines, and the pictures behind them in a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import msgspec
import numpy as np

from device.record import Capture, Eye, NotImaged, Reading, Shot, Visit
from device.results import Row
from device.verdict import Outcome
from tests.device.eye import paint

UID = "7b5d1f0e-52ab-4c3e-9a51-0c1f0c9f3a11"
POINT = {
    "name": "balanced", "threshold": 0.47, "sensitivity": 0.92, "specificity": 0.91,
    "measured_on": "whole pipeline, acrima, refuge_crops: 174 validation eyes (int8), "
    "700 training eyes out of fold (float)",
}  # fmt: skip
BUNDLES = {"disc_cup": "disc_cup-0.1.0", "glaucoma": "glaucoma-0.1.0"}
REACHES = "glaucoma probability {:.2f} reaches the referral threshold 0.47 (balanced)"
BELOW = "glaucoma probability {:.2f} is below the referral threshold 0.47 (balanced)"
DEFOCUS = "quality rejected: defocus"
TIP = "Focus again on the vessels at the edge of the optic disc, and wipe the lens."


class Pictures:
    """A folder of pictures by their hash, as a store has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, picture: np.ndarray, suffix: str) -> str:
        data = cv2.imencode(suffix, picture)[1].tobytes()
        sha256 = hashlib.sha256(data).hexdigest()
        (self.folder / f"{sha256}{suffix}").write_bytes(data)
        return sha256

    def __call__(self, sha256: str) -> Path:
        found = list(self.folder.glob(f"{sha256}.*"))
        if not found:
            raise FileNotFoundError(sha256)
        return found[0]


def shot(chance: float | None) -> Shot:
    if chance is None:
        return Shot(outcome=Outcome.UNGRADABLE, grade="reject", score=0.1, reasons=(DEFOCUS,))
    refer = chance >= POINT["threshold"]
    return Shot(
        outcome=Outcome.REFER if refer else Outcome.NO_REFERRAL, grade="good", score=0.9, vcdr=chance - 0.1,
        glaucoma_probability=chance, reasons=((REACHES if refer else BELOW).format(chance),),
    )  # fmt: skip


def capture(
    pictures: Pictures, eye: Eye, *chances: float | None, disc: float = 60, seen: str = "unknown", uid: str = ""
) -> Capture:
    """A burst; ``disc`` is the disc's diameter in a photograph of 400 x 400 pixels."""
    centre = (260, 190) if eye == "OD" else (140, 190)
    image = pictures.put(paint(centre=centre, disc=(disc, disc), cup=(disc / 2, disc / 2))[..., ::-1], ".jpg")
    masks = {}
    for name, size in (("disc", disc), ("cup", disc / 2)):
        mask = cv2.circle(np.zeros((400, 400), np.uint8), centre, round(size / 2), 255, -1)
        masks[name] = pictures.put(mask, ".png")
    shots = tuple(shot(c) for c in chances)
    kept = next((s for s in shots if s.glaucoma_probability is not None), shots[0])
    graded = kept.glaucoma_probability is not None
    rim = {"inferior": 0.71, "superior": 0.72, "nasal": 0.73, "temporal": 0.74}
    row = Row(
        image="photograph.jpg", outcome=kept.outcome, reasons=kept.reasons, tip="" if graded else TIP,
        laterality=eye,
        quality={"grade": kept.grade, "score": kept.score, "cause": "" if graded else "defocus", "tip": ""},
        vcdr=kept.vcdr, glaucoma_probability=kept.glaucoma_probability,
        disc={"cx": float(centre[0]), "cy": float(centre[1]), "diameter": float(disc)},
        measurements={"vcdr": kept.vcdr, "hcdr": 0.55, "area_cdr": 0.3, "rim_disc_ratio": rim} if graded else {},
        operating_points={"glaucoma_probability": POINT}, bundles=BUNDLES,
    )  # fmt: skip
    return Capture(
        uid=uid or f"00000000-0000-4000-8000-00000000000{'12'[eye == 'OS']}", visit=UID, laterality=eye,
        taken="2026-11-24T08:16:10.000+00:00", image=image, overlay="", masks=masks, result=row, shots=shots,
        kept=shots.index(kept), seen_laterality=seen,
    )  # fmt: skip


def visit(*captures: Capture, **fields: object) -> Visit:
    common: dict[str, object] = {
        "uid": UID, "number": 12, "participant": "KAN-0012", "operator": "nurse 3", "site": "Site 03",
        "started": "2026-11-24T08:15:00.123+00:00", "finished": "2026-11-24T08:17:02.000+00:00",
        "device": "tenohira 1234", "software": "0.1.0",
    }  # fmt: skip
    return Visit(**{**common, "captures": captures, **fields})


def reading(eye: Eye, grade: Outcome, remark: str = "", *, masked: bool = True, reader: str = "R1") -> Reading:
    return Reading(
        uid=f"reading of {eye}", visit=UID, laterality=eye, reader=reader, grade=grade, vcdr=0.61, remark=remark,
        masked=masked, time="2026-11-24T09:00:00.000+00:00",
    )  # fmt: skip


def not_imaged(eye: Eye, reason: str) -> NotImaged:
    return NotImaged(visit=UID, laterality=eye, reason=reason, time="2026-11-24T08:16:30.000+00:00")


def extreme(pictures: Pictures, text: str) -> Visit:
    """A visit in which everything that can be long is very long."""
    captures = []
    for eye, other in (("OD", "OS"), ("OS", "OD")):
        one = capture(pictures, eye, 0.8, seen=other)
        reasons = tuple(f"{number} {text[:500]}" for number in range(12))
        result = msgspec.structs.replace(one.result, tip=text)
        shots = (msgspec.structs.replace(one.shots[0], reasons=reasons),)
        captures += [msgspec.structs.replace(one, result=result, shots=shots, uid=f"{eye} capture")]
    readings = [reading(eye, Outcome.REFER, text, reader=text) for eye in ("OD", "OS") for _ in range(6)]
    typed = dict.fromkeys(("participant", "operator", "site", "study", "device", "software"), text)
    return visit(*captures, readings=tuple(readings), finished=None, **typed)


def every_kind(pictures: Pictures) -> dict[str, Visit]:
    """Visits that between them make a report say everything that it can say."""
    right, left = capture(pictures, "OD", 0.8, 0.81, 0.3), capture(pictures, "OS", 0.2)
    blurred = capture(pictures, "OD", None, None)
    gone = msgspec.structs.replace(right, image="0" * 64)
    changed = msgspec.structs.replace(left, masks={"disc": pictures.put(np.zeros((9, 9), np.uint8), ".png")})
    unknown = msgspec.structs.replace(
        left,
        result=msgspec.structs.replace(
            left.result, measurements={**left.result.measurements, "rim_disc_ratio": {"left": 0.7, "right": 0.6}}
        ),
    )
    read = (reading("OD", Outcome.REFER, "a notch"), reading("OS", Outcome.UNGRADABLE))
    return {
        "both": visit(right, left, study="GLOBE", consent=True),
        "unfinished": visit(right, finished=None, study="GLOBE"),
        "ungradable": visit(blurred, left),
        "not imaged": visit(right, not_imaged=(not_imaged("OS", "dense cataract"),)),
        "masked": visit(right, left, masked=True),
        "read": visit(right, left, masked=True, readings=read),
        "read often": visit(right, left, readings=read[:1] * 5),
        "mixed up": visit(capture(pictures, "OD", 0.8, seen="OS"), capture(pictures, "OS", 0.8, seen="OD")),
        "perhaps mixed up": visit(
            msgspec.structs.replace(capture(pictures, "OD", 0.8, seen="OS"), uid="a"), right, right
        ),
        "repeated": visit(right, right, right, unknown),
        "no picture": visit(gone, changed),
        "long": extreme(pictures, "word " * 300),
    }
