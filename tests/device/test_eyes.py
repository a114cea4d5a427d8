"""One eye's answer from all of its photographs."""

import msgspec
import pytest

from device import verdict
from device.eyes import doubtful, eye_result, hidden
from device.record import Capture, NotImaged, Reading, Shot, Visit
from device.results import Row
from device.verdict import Outcome

POINT = {"glaucoma_probability": {"name": "balanced", "threshold": 0.4, "sensitivity": 0.9, "specificity": 0.8}}


def shot(chance: float | None) -> Shot:
    if chance is None:
        return Shot(outcome=Outcome.UNGRADABLE, grade="reject", score=0.1, reasons=("quality rejected: defocus",))
    outcome = Outcome.REFER if chance >= 0.4 else Outcome.NO_REFERRAL
    return Shot(
        outcome=outcome, grade="good", score=0.9, vcdr=chance + 0.1, glaucoma_probability=chance,
        reasons=(f"its own reason at {chance}",),
    )  # fmt: skip


def capture(*chances: float | None, eye: str = "OD", uid: str = "c") -> Capture:
    shots = tuple(shot(c) for c in chances)
    kept = next((s for s in shots if s.glaucoma_probability is not None), shots[0])
    row = Row(
        image="a.jpg", outcome=kept.outcome, reasons=kept.reasons, tip="Focus again.",
        quality={"grade": kept.grade}, vcdr=kept.vcdr, glaucoma_probability=kept.glaucoma_probability,
        operating_points=POINT,
    )  # fmt: skip
    return Capture(
        uid=uid, visit="v", laterality=eye, taken="", image="", overlay="", result=row, shots=shots,
        kept=shots.index(kept),
    )  # fmt: skip


def visit(*captures: Capture, not_imaged: tuple[NotImaged, ...] = ()) -> Visit:
    return Visit(uid="v", number=1, participant="P1", started="", captures=captures, not_imaged=not_imaged)


def test_an_eye_without_photograph_has_no_answer():
    assert eye_result(visit(), "OD").outcome is None
    assert eye_result(visit(capture(0.6)), "OS").outcome is None


def test_one_photograph_gives_its_own_verdict_and_no_spread():
    result = eye_result(visit(capture(0.6)), "OD")
    assert result.outcome is Outcome.REFER and result.reasons == ("its own reason at 0.6",)
    assert result.vcdr.n == 1 and result.vcdr.low == result.vcdr.high


def test_one_outlier_does_not_decide():
    result = eye_result(visit(capture(0.2, 0.9, 0.3)), "OD")
    assert result.outcome is Outcome.NO_REFERRAL
    assert (result.glaucoma_probability.low, result.glaucoma_probability.high) == (0.2, 0.9)
    assert result.glaucoma_probability.value == 0.3 and result.glaucoma_probability.n == 3
    assert result.reasons[-1] == "only 2 of 3 photographs say so by themselves: photograph again"


def test_what_is_close_to_the_threshold_says_so():
    assert eye_result(visit(capture(0.45, 0.45)), "OD").reasons[-1] == verdict.CLOSE
    assert eye_result(visit(capture(0.31, 0.32)), "OD").reasons[-1] == verdict.CLOSE
    assert eye_result(visit(capture(0.6, 0.7)), "OD").reasons == (
        "median glaucoma probability 0.65 reaches the referral threshold 0.40 (balanced)",
    )


def test_repeats_add_to_what_is_known_and_the_nearest_capture_is_the_evidence():
    result = eye_result(visit(capture(0.1, uid="a"), capture(0.5, 0.6, uid="b"), capture(0.9, uid="c")), "OD")
    assert result.outcome is Outcome.REFER and result.glaucoma_probability.value == pytest.approx(0.55)
    assert result.evidence.uid == "b" and result.shots == result.graded == 4


def test_a_ratio_that_reaches_its_own_threshold_refers_as_in_a_single_photograph():
    points = {**POINT, "vcdr": {"name": "wide", "threshold": 0.3}}
    one = capture(0.25, 0.26, 0.27)
    refers = tuple(msgspec.structs.replace(s, outcome=Outcome.REFER) for s in one.shots)
    result = msgspec.structs.replace(one.result, outcome=Outcome.REFER, operating_points=points)
    answer = eye_result(visit(msgspec.structs.replace(one, shots=refers, result=result)), "OD")
    assert answer.outcome is Outcome.REFER and answer.vcdr.value == pytest.approx(0.36)
    assert answer.reasons[0] == "median vertical cup-to-disc ratio 0.36 reaches the referral threshold 0.30 (wide)"
    assert not any("photograph again" in reason for reason in answer.reasons)


def test_the_operating_point_of_the_last_photographs_decides():
    strict = {"glaucoma_probability": {**POINT["glaucoma_probability"], "name": "strict", "threshold": 0.6}}
    first, last = capture(0.5, 0.5, 0.5, uid="first"), capture(0.55, uid="last")
    last = msgspec.structs.replace(last, result=msgspec.structs.replace(last.result, operating_points=strict))
    assert eye_result(visit(first), "OD").outcome is Outcome.REFER
    for captures, name in (((first, last), "strict"), ((last, first), "balanced")):
        answer = eye_result(visit(*captures), "OD")
        assert answer.evidence.result.operating_points["glaucoma_probability"]["name"] == name
        assert name in answer.reasons[0]
        assert answer.outcome is (Outcome.NO_REFERRAL if name == "strict" else Outcome.REFER)


def test_rejected_photographs_count_as_taken_and_not_as_graded():
    result = eye_result(visit(capture(None, 0.2, None)), "OD")
    assert result.outcome is Outcome.NO_REFERRAL and (result.shots, result.graded) == (3, 1)


def test_only_rejected_photographs_are_ungradable_without_a_number():
    result = eye_result(visit(capture(None), capture(None, None, uid="last")), "OD")
    assert result.outcome is Outcome.UNGRADABLE and result.vcdr is result.glaucoma_probability is None
    assert result.evidence.uid == "last" and result.reasons == ("quality rejected: defocus",)


def test_an_eye_that_cannot_be_imaged_says_why():
    gone = NotImaged(visit="v", laterality="OS", reason="the cornea is clouded", time="")
    result = eye_result(visit(not_imaged=(gone,)), "OS")
    assert result.outcome is Outcome.UNGRADABLE
    assert result.reasons == ("this eye could not be imaged: the cornea is clouded",)


def test_a_capture_that_was_kept_for_the_chosen_eye_is_doubted_no_more():
    one, two = (msgspec.structs.replace(capture(0.6, uid=uid), seen_laterality="OS") for uid in "ab")
    exam = visit(one, two, capture(0.2, eye="OS", uid="c"))
    assert doubtful(exam, "OD") == (one, two) and doubtful(exam, "OS") == ()
    assert doubtful(msgspec.structs.replace(exam, confirmed=("a",)), "OD") == (two,)


def test_a_masked_answer_is_hidden_until_its_eye_was_graded_unseen():
    def read(eye: str, masked: bool = True) -> Reading:
        grade = Outcome.REFER
        return Reading(uid=eye, visit="v", laterality=eye, reader="R", grade=grade, masked=masked, time="")

    def masked(*readings: Reading) -> Visit:
        return Visit(uid="v", number=1, participant="P1", started="", masked=True, readings=readings)

    assert hidden(masked(), "OD") and not hidden(visit(), "OD")
    assert not hidden(masked(read("OD")), "OD") and hidden(masked(read("OD")), "OS")
    assert hidden(masked(read("OD", masked=False)), "OD")
