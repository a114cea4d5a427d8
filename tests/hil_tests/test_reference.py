"""The reference of a machine's speed: what it is robust against, and what it must show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_tests import reference

RNG = np.random.default_rng(6)


SLICE = 4.0  # ms after which another's turn comes on a machine where many wait


def took(ms: float, others: int) -> float:
    """A piece of work of so many ms on a machine where so many others want to work as well: each slice of it is
    followed by some of theirs, and the first one begins anywhere."""
    own = ms * RNG.normal(1, 0.01)
    waits = int((own + RNG.uniform(0, SLICE)) // SLICE)
    return own + RNG.poisson(others, waits).sum() * SLICE


def measured(ms: float, others: int) -> reference.Ratio:
    """200 of them, with bursts of 120 pieces of 1 ms between them."""
    bursts = []
    for _ in range(200):
        ends = np.cumsum(RNG.normal(1, 0.01, 120))
        waits = np.diff(np.floor((ends + RNG.uniform(0, SLICE)) / SLICE), prepend=0)
        bursts.append(np.diff(ends, prepend=0) + RNG.poisson(others * waits) * SLICE)
    return reference.ratio([took(ms, others) for _ in range(200)], bursts)


@pytest.mark.parametrize(("ms", "error"), [(2, 0.05), (60, 0.25)])
def test_a_ratio_is_the_same_on_a_busy_machine(ms, error):
    for others in (0, 1, 3):
        assert measured(ms, others).value == pytest.approx(ms, rel=error)


def test_a_fifth_more_work_shows():
    healthy, slow = measured(8, 0), measured(9.6, 0)
    assert healthy.interval[0] <= healthy.value <= healthy.interval[1] < slow.interval[0]
    assert slow.value / healthy.value == pytest.approx(1.2, rel=0.03)


def test_the_reference_takes_time_and_a_machine_knows_itself():
    class Here:
        def run_check(self, command: str) -> list[str]:
            return Path(command.split()[1]).read_text().splitlines()

    class There:
        def run_check(self, command: str) -> list[str]:
            return ["00000000-0000-0000-0000-000000000000"]

    assert 0.1 < reference.work_ms() < 1000
    assert reference.is_here(Here()) and not reference.is_here(There())
