"""Visits for tests of the trial: only what a report reads."""

from device.record import Capture, NotImaged, Reading, Reference, Shot, Visit
from device.results import Row
from device.verdict import Outcome

BUNDLES = {"disc_cup": "disc_cup-0.1.0", "glaucoma": "glaucoma-0.1.0"}


def press(*chances, eye="OD", threshold=0.5, point="balanced", bundles=BUNDLES, seen="unknown", reason="defocus"):
    """A burst; None is a photograph that could not be graded."""
    shots = tuple(
        Shot(outcome=Outcome.UNGRADABLE, grade="reject", score=0.1, reasons=(f"quality rejected: {reason}",))
        if c is None
        else Shot(
            outcome=Outcome.REFER if c >= threshold else Outcome.NO_REFERRAL,
            grade="good", score=0.9, vcdr=c, glaucoma_probability=c, reasons=("why",),
        )
        for c in chances
    )  # fmt: skip
    kept = next((s for s in shots if s.vcdr is not None), shots[0])
    points = {} if point is None else {"glaucoma_probability": {"name": point, "threshold": threshold}}
    row = Row(
        image="a.jpg", outcome=kept.outcome, reasons=kept.reasons, quality={"grade": kept.grade, "cause": ""},
        vcdr=kept.vcdr, glaucoma_probability=kept.glaucoma_probability, operating_points=points, bundles=bundles,
    )  # fmt: skip
    return Capture(
        uid="c", visit="v", laterality=eye, taken="", image="", overlay="", result=row, shots=shots,
        kept=shots.index(kept), seen_laterality=seen,
    )  # fmt: skip


def visit(number=1, participant="P-1", *captures, gone=(), **other):
    """A finished visit of study T with consent, a minute long."""
    hour, minute = divmod(number, 60)
    known = {
        "uid": f"v{number}", "site": "KAN", "study": "T", "consent": True, "device": "one", "operator": "N1",
        "software": "0.1.0", "started": f"2026-09-01T{hour:02d}:{minute:02d}:00+00:00",
        "finished": f"2026-09-01T{hour:02d}:{minute:02d}:59+00:00",
        "not_imaged": tuple(NotImaged(visit="v", laterality=e, reason="cataract", time="") for e in gone),
    }  # fmt: skip
    return Visit(number=number, participant=participant, captures=tuple(captures), **(known | other))


def reference(participant, eye, refer, vcdr=None, source="panel"):
    return Reference(participant=participant, laterality=eye, refer=refer, vcdr=vcdr, source=source)


def reading(eye, grade, reader="R1", masked=True, time="2026-09-01T00:00:00+00:00", vcdr=None):
    return Reading(
        uid=f"{eye}{reader}{time}", visit="v", laterality=eye, reader=reader, grade=Outcome(grade), masked=masked,
        time=time, vcdr=vcdr,
    )  # fmt: skip
