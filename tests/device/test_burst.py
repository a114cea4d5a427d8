"""The best of a burst is kept, whatever it says of the eye."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device.burst import best
from device.record import Shot
from device.verdict import Outcome

REFER, NONE, BAD = Outcome.REFER, Outcome.NO_REFERRAL, Outcome.UNGRADABLE

shots = st.builds(
    lambda outcome, grade, score, chance: Shot(
        outcome=outcome, grade=grade, score=score, glaucoma_probability=None if outcome is BAD else chance
    ),
    st.sampled_from([REFER, NONE, BAD]),
    st.sampled_from(["good", "usable", "reject"]),
    st.floats(0, 1),
    st.floats(0, 1),
)


def shot(outcome, grade, score):
    return Shot(outcome=outcome, grade=grade, score=score)


@pytest.mark.parametrize(
    ("burst", "kept"),
    [
        ([shot(NONE, "good", 0.7), shot(REFER, "good", 0.9), shot(NONE, "good", 0.8)], 1),
        ([shot(REFER, "usable", 0.6), shot(NONE, "good", 0.7)], 1),
        ([shot(BAD, "good", 0.9), shot(REFER, "usable", 0.4)], 1),  # sharp, but the disc was missed
        ([shot(BAD, "reject", 0.1), shot(BAD, "usable", 0.4)], 1),
        ([shot(NONE, "good", 0.8), shot(REFER, "good", 0.8)], 0),
    ],
)
def test_the_rule(burst, kept):
    assert best(burst) == kept


@given(st.lists(shots, min_size=1, max_size=8))
def test_nothing_in_the_burst_is_better_and_the_answer_does_not_count(burst):
    kept = burst[best(burst)]
    graded = [s for s in burst if s.outcome is not BAD] or burst
    assert kept in graded
    assert not any(
        (s.grade == "good", s.score) > (kept.grade == "good", kept.score) and s.grade == "good" for s in graded
    )
    other = {REFER: NONE, NONE: REFER, BAD: BAD}
    turned = [Shot(outcome=other[s.outcome], grade=s.grade, score=s.score) for s in burst]
    assert best(turned) == best(burst)


def test_an_empty_burst_is_an_error():
    with pytest.raises(ValueError, match="take one"):
        best([])
