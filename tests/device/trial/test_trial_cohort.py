"""Who counts: every visit and every eye is somewhere, and the rules are those that the report states."""

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trial_records import press, reading, reference, visit

from device.record import EYES, Withdrawal
from device.trial import accuracy, analysis, cohort
from device.verdict import Outcome

YES, NO, NONE = Outcome.REFER, Outcome.NO_REFERRAL, Outcome.UNGRADABLE


def gathered(visits, references=()):
    return cohort.gather(visits, references, "T")


def answers(found):
    return {(e.participant, e.laterality): e.answer for e in found.eyes}


def test_the_first_finished_visit_with_consent_counts_and_the_rest_are_listed():
    found = gathered(
        [
            visit(5, "P-2", finished=None),
            visit(1, "P-1", consent=False),
            visit(2, "P-1", press(0.9), finished="2026-09-01T09:00:00+00:00"),
            visit(3, "P-1", press(0.1), finished="2026-09-01T04:00:00+00:00"),
            visit(4, "P-1", finished=None),
        ]
    )
    assert [v.number for v in found.visits] == [3]  # finished before number 2 was
    assert {v.number: v.reason for v in found.left_out} == {
        1: cohort.NO_CONSENT, 2: cohort.REPEAT, 4: cohort.UNFINISHED, 5: cohort.UNFINISHED,
    }  # fmt: skip
    flow = analysis.analyse(found, ["x"]).flow
    assert (flow.participants, flow.counted, flow.lost) == (2, 1, 1)


def test_a_visit_that_was_ended_by_mistake_stands_in_nobodys_place():
    """*Finish* before the first photograph, or after one of somebody else's eye; then the examination."""
    lost = press(0.9)
    found = gathered(
        [
            visit(1, "P-1"),
            visit(2, "P-1", lost, withdrawn=[Withdrawal(visit="v", capture=lost.uid, reason="", time="")]),
            visit(3, "P-1", gone=EYES),
            visit(4, "P-2", readings=(reading("OD", "refer"),)),
        ],
        [reference("P-1", "OD", True)],
    )
    assert [v.number for v in found.visits] == [3]
    assert {v.number: v.reason for v in found.left_out} == dict.fromkeys((1, 2, 4), cohort.UNATTEMPTED)
    flow = analysis.analyse(found, ["x"]).flow
    assert (flow.unattempted, flow.repeats, flow.not_examined, flow.lost) == (3, 0, 0, 1)


def test_a_code_from_another_device_or_site_may_be_of_another_person():
    found = gathered(
        [
            visit(1, "P-1", press(0.9)),
            visit(2, "P-1", press(0.1)),
            visit(1, "P-1", press(0.1), uid="other", device="two", finished="2026-09-01T09:00:00+00:00"),
            visit(4, "P-1", press(0.1), site="OSA"),
        ]
    )
    assert [v.uid for v in found.visits] == ["v1"]
    assert {v.visit: v.reason for v in found.left_out} == {
        "v2": cohort.REPEAT, "other": cohort.ELSEWHERE, "v4": cohort.ELSEWHERE,
    }  # fmt: skip
    report = analysis.analyse(found, ["x"])
    assert (report.flow.repeats, report.flow.elsewhere) == (1, 2)
    assert any("several devices or sites" in w and "references" in w and "P-1" in w for w in report.warnings)


def test_an_eye_is_refer_or_not_or_has_a_cause_or_was_not_tried():
    found = gathered(
        [
            visit(1, "P-1", press(0.9), press(0.1, eye="OS")),
            visit(2, "P-2", press(None, None, reason="pupil 2.5 mm"), gone=["OS"]),
            visit(3, "P-3", press(None), press(0.8), gone=["OD"]),
        ]
    )
    assert answers(found) == {
        ("P-1", "OD"): "refer", ("P-1", "OS"): "no_referral", ("P-2", "OD"): "ungradable",
        ("P-2", "OS"): "not_imaged", ("P-3", "OD"): "refer", ("P-3", "OS"): "not_examined",
    }  # fmt: skip
    assert [e.cause for e in found.eyes][2:4] == ["quality rejected: pupil … mm", "cataract"]


@pytest.mark.parametrize(
    ("right", "left", "person"),
    [
        (0.9, 0.1, YES), (0.9, None, YES), (0.9, "gone", YES), (0.9, "", YES), (0.1, 0.1, NO), (0.1, None, NONE),
        (0.1, "gone", NONE), (None, "", NONE), (0.1, "", None),
    ],
)  # fmt: skip
def test_of_a_participant_either_eye_decides(right, left, person):
    eyes = dict(zip(EYES, (right, left)))
    captures = [press(chance, eye=e) for e, chance in eyes.items() if chance not in ("", "gone")]
    found = gathered([visit(1, "P-1", *captures, gone=[e for e, c in eyes.items() if c == "gone"])])
    assert [s.answer for s in accuracy.by_participant(found.eyes)] == [person]


@pytest.mark.parametrize(
    ("right", "left", "person"),
    [(True, False, True), (True, None, True), (False, False, False), (False, None, None), (None, None, None)],
)
def test_the_reference_of_a_participant_needs_both_eyes_to_be_negative(right, left, person):
    known = [reference("P-1", e, r) for e, r in zip(EYES, (right, left)) if r is not None]
    found = gathered([visit(1, "P-1", press(0.9))], known)
    assert [s.reference for s in accuracy.by_participant(found.eyes)] == [person]


def test_a_table_computed_by_hand_with_ungradable_eyes_both_ways():
    visits, known = [], []
    groups = {  # chance, reference, eyes
        (0.9, True): 8, (0.1, True): 2, (None, True): 2, (0.9, False): 3, (0.1, False): 12, (None, False): 1,
    }  # fmt: skip
    for (chance, ill), n in groups.items():
        for _ in range(n):
            code = f"P-{len(visits)}"
            visits.append(visit(len(visits), code, press(chance)))
            known.append(reference(code, "OD", ill))
    (part,) = analysis.analyse(gathered(visits, known), ["x"]).parts
    shares = {(a.unit, a.handling, a.measure): (a.share.k, a.share.n) for a in part.accuracy}
    assert shares["eye", "excluded", "sensitivity"] == (8, 10)
    assert shares["eye", "excluded", "specificity"] == (12, 15)
    assert shares["eye", "excluded", "positive predictive value"] == (8, 11)
    assert shares["eye", "excluded", "negative predictive value"] == (12, 14)
    assert shares["eye", "referred", "sensitivity"] == (10, 12)
    assert shares["eye", "referred", "specificity"] == (12, 16)
    assert shares["eye", "referred", "positive predictive value"] == (10, 14)
    assert shares["eye", "referred", "negative predictive value"] == (12, 14)
    assert (part.cross[0].refer, part.cross[0].no_referral, part.cross[0].no_outcome) == ((8, 3), (2, 12), (2, 1))
    assert part.cross[0].left_out == len(visits)  # the left eyes
    assert (part.prevalence.k, part.prevalence.n) == (12, 28) and (part.no_outcome.k, part.no_outcome.n) == (3, 28)


def test_a_changed_operating_point_or_network_splits_the_trial():
    other = {"disc_cup": "disc_cup-0.1.0", "glaucoma": "glaucoma-0.2.0"}
    found = gathered(
        [
            visit(1, "P-1", gone=EYES),  # before the first photograph on this device: what was in use next
            visit(2, "P-2", press(0.55)),
            visit(3, "P-3", press(0.55, threshold=0.6)),
            visit(4, "P-4", gone=EYES),  # what was in use before
            visit(5, "P-5", press(0.55, bundles=other)),
            visit(6, "P-6", press(0.55), device="two"),
            visit(7, "P-7", press(None, point=None), device="two"),
        ],
        [reference(f"P-{i}", e, i % 2 == 0) for i in range(1, 8) for e in EYES],
    )
    assert {e.participant: e.index_test for e in found.eyes} == {
        "P-1": "A", "P-2": "A", "P-3": "B", "P-4": "B", "P-5": "C", "P-6": "A", "P-7": "A",
    }  # fmt: skip
    assert [(t.threshold, t.bundles["glaucoma"]) for t in found.index_tests] == [
        (0.5, "glaucoma-0.1.0"), (0.6, "glaucoma-0.1.0"), (0.5, "glaucoma-0.2.0"),
    ]  # fmt: skip
    report = analysis.analyse(found, ["x"])
    assert [p.participants for p in report.parts] == [4, 2, 1]
    assert any("index test changed" in w and "not added up" in w for w in report.warnings)


def test_a_change_in_the_middle_of_a_visit_is_told():
    report = analysis.analyse(gathered([visit(1, "P-1", press(0.6), press(0.6, threshold=0.7, eye="OS"))]), ["x"])
    assert any("between two photographs" in w and "P-1" in w for w in report.warnings)


def test_only_a_readers_first_and_masked_reading_stands_with_the_instrument():
    early, late = "2026-09-01T00:00:00+00:00", "2026-09-01T01:00:00+00:00"
    seen = visit(
        1, "P-1", press(0.9), press(0.1, eye="OS"),
        readings=(
            reading("OD", "no_referral", time=late), reading("OD", "refer", time=early, masked=False),  # set back
            reading("OS", "refer", "R2", masked=False, time=early), reading("OS", "no_referral", "R2", time=late),
        ),
    )  # fmt: skip
    report = analysis.analyse(gathered([seen]), ["x"])
    both = {r.second: r.kappa.table for r in report.parts[0].ratings if r.what == "both graded"}
    assert both == {"R1": ((0, 1), (0, 0)), "R2 (not masked)": ((0, 0), (1, 0))}
    assert (report.masked_readings.k, report.masked_readings.n) == (2, 4)
    assert any("had seen the instrument's answer" in w for w in report.warnings)


def test_an_ungradable_eye_is_a_grade_of_its_own_beside_a_reader():
    seen = visit(1, "P-1", press(None), readings=(reading("OD", "refer"),), gone=["OS"])
    (rating,) = analysis.analyse(gathered([seen]), ["x"]).parts[0].ratings
    assert rating.what == "ungradable as a third grade" and rating.kappa.n == 1 and rating.kappa.agree == 0


def test_bursts_and_presses_are_told_apart():
    seen = visit(1, "P-1", press(0.50, 0.52, None), press(0.60, 0.62), press(0.1, eye="OS"))
    part = analysis.analyse(gathered([seen]), ["x"]).parts[0]
    within, between = (r.found for r in part.repeats if r.quantity == "vertical cup-to-disc ratio")
    assert (within.groups, within.values) == (2, 4) and within.sd.value == pytest.approx(0.02 / 2**0.5)
    assert (between.groups, between.values) == (1, 2) and between.sd.value == pytest.approx(0.1 / 2**0.5)


def test_times_photographs_and_laterality():
    found = gathered(
        [
            visit(1, "P-1", press(0.1, 0.2, seen="OS"), press(0.1), press(0.1, eye="OS", seen="OS")),
            visit(2, "P-2", gone=EYES, finished="2026-08-01T00:00:00+00:00"),
        ]
    )
    report = analysis.analyse(found, ["x"])
    photographs, presses, minutes = report.spreads
    assert (photographs.n, photographs.median) == (4, 0.5) and presses.median == 0.5
    assert (minutes.n, minutes.median) == (1, pytest.approx(59 / 60))
    assert [(m.participant, m.laterality) for m in report.laterality] == [("P-1", "OD")]
    (listed,) = (v for v in found.visits if v.participant == "P-1")
    kept = gathered([msgspec.structs.replace(listed, confirmed=("c",))])  # the operator has said that it is OD
    assert analysis.analyse(kept, ["x"]).laterality == ()
    assert any("wrong order" in m.what and m.participant == "P-2" for m in report.missing)


def test_what_is_missing_is_listed_and_warned_of():
    report = analysis.analyse(
        gathered(
            [
                visit(1, "P-1", press(0.9), operator=""),
                visit(2, "P-2", press(0.2), site="OSA", consent=False),
                visit(3, "P-2", press(0.2), readings=(reading("OD", "refer", reader="panel"),)),
            ],
            [reference("P-2", "OD", False), reference("P-9", "OD", True)],
        ),
        ["x"],
    )
    told = {(m.what, m.participant, m.laterality) for m in report.missing}
    assert ("operator not recorded", "P-1", "") in told and ("no reference", "P-1", "OD") in told
    assert ("reference not used: no visit of this participant in the study", "P-9", "OD") in told
    words = " ".join(report.warnings)
    for part in (
        "1 of 2 examined eyes have no reference",
        "1 reference of nobody",
        "same participant code",
        "panel",
    ):
        assert part in words


def test_without_references_nothing_is_said_of_accuracy():
    report = analysis.analyse(gathered([visit(1, "P-1", press(0.9))]), ["x"])
    (part,) = report.parts
    assert part.accuracy == part.cross == () and part.roc is None and part.at_point is None
    assert any("no reference standard" in w for w in report.warnings)


def test_a_trial_in_which_nobody_counts_is_a_report_that_says_so():
    report = analysis.analyse(gathered([visit(1, "P-1", press(0.9), consent=False)]), ["x"])
    assert report.flow.counted == 0 and report.flow.no_consent == 1
    assert report.warnings[0].startswith("No visit counts")


CHANCES = st.sampled_from([0.9, 0.2, None])
PRESSES = st.lists(
    st.builds(press, CHANCES, CHANCES, eye=st.sampled_from(EYES), threshold=st.sampled_from([0.5, 0.5, 0.6])),
    max_size=3,
)
PEOPLE = [f"P-{i}" for i in range(5)]


@st.composite
def trials(draw):
    """A few visits of a few people with everything that may happen, and some of the references."""
    visits = []
    for number in range(draw(st.integers(1, 9))):
        made = visit(
            number,
            draw(st.sampled_from(PEOPLE)),
            *draw(PRESSES),
            gone=draw(st.sets(st.sampled_from(EYES))),
            consent=draw(st.booleans()),
            device=draw(st.sampled_from(["one", "two"])),
        )
        visits.append(made if draw(st.booleans()) else msgspec.structs.replace(made, finished=None))
    eyes = st.tuples(st.sampled_from(PEOPLE), st.sampled_from(EYES))
    known = [reference(p, e, draw(st.booleans())) for p, e in draw(st.sets(eyes))]
    return visits, known


@given(trials())
def test_every_visit_and_every_eye_is_counted_exactly_once(trial):
    visits, known = trial
    found = gathered(visits, known)
    report = analysis.analyse(found, ["x"])
    f = report.flow
    assert sorted([*(v.uid for v in found.visits), *(v.visit for v in found.left_out)]) == sorted(
        v.uid for v in visits
    )
    assert f.visits == len(visits)
    assert f.visits - f.counted == f.no_consent + f.unfinished + f.unattempted + f.repeats + f.elsewhere
    assert f.counted + f.lost == f.participants == len({v.participant for v in visits})
    assert len({v.participant for v in found.visits}) == f.counted
    assert f.eyes == 2 * f.counted == f.not_examined + f.refer + f.no_referral + f.not_imaged + f.ungradable
    assert {n: v.refer + v.no_referral + v.none for n, v in f.verified.items()} == {
        "refer": f.refer, "no_referral": f.no_referral, "no_outcome": f.not_imaged + f.ungradable,
    }  # fmt: skip
    for unit, total in (("eye", f.eyes), ("participant", f.counted)):
        crosses = [c for p in report.parts for c in p.cross if c.unit == unit]
        counted = sum(sum(map(sum, (c.refer, c.no_referral, c.no_outcome))) + c.left_out for c in crosses)
        without = [p for p in report.parts if not p.cross]
        assert counted + sum(p.eyes if unit == "eye" else p.participants for p in without) == total
    unused = sum(m.what.startswith("reference not used") for m in report.missing)
    assert unused + sum(e.reference is not None for e in found.eyes) == len(known)


@given(trials())
def test_an_eye_without_outcome_is_never_taken_for_no_referral_nor_dropped(trial):
    found = gathered(*trial)
    report = analysis.analyse(found, ["x"])
    verified = Counter(e.answer for e in found.eyes if e.reference is not None)
    shares = Counter()
    for a in (a for p in report.parts for a in p.accuracy):
        if a.unit == "eye" and a.measure in ("sensitivity", "specificity"):
            shares[a.handling] += a.share.n
    ungraded = verified["ungradable"] + verified["not_imaged"]
    assert shares["excluded"] == verified["refer"] + verified["no_referral"]
    assert shares["referred"] == shares["excluded"] + ungraded
    assert sum(c.n for p in report.parts for c in p.causes if c.of.startswith("eye")) == sum(
        e.answer in cohort.UNGRADED for e in found.eyes
    )
    negative = [s for s in accuracy.by_participant(found.eyes) if s.answer is NO]
    of_person = {(e.participant): set() for e in found.eyes}
    for e in found.eyes:
        of_person[e.participant].add(e.answer)
    assert all(of_person[s.participant] == {"no_referral"} for s in negative)
