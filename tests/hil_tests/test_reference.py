"""The reference of a machine's speed: what it is robust against, and what it must show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil_tests import reference

RNG = np.random.default_rng(6)


def busy(ms: float, n: int = 200, share: float = 0.8) -> np.ndarray:
    """Times of a piece of work on a machine where others interrupt most of it for a while."""
    undisturbed = ms * RNG.normal(1, 0.01, n)
    return undisturbed + np.where(RNG.random(n) < share, RNG.exponential(10, n), 0)


def test_a_ratio_is_the_same_on_a_busy_machine_and_its_interval_says_how_well_it_is_known():
    found = [reference.ratio(busy(8, share=share), busy(2, share=share)) for share in (0, 0.5, 0.8)]
    assert [each.value for each in found] == pytest.approx([4] * 3, rel=0.03)
    for each in found:
        low, high = each.interval
        assert low <= each.value <= high and high / low < 1.1


def test_a_fifth_more_work_shows():
    healthy, slow = (reference.ratio(busy(ms), busy(2)) for ms in (8, 9.6))
    assert slow.interval[0] > healthy.interval[1]


def test_the_reference_takes_time_and_a_machine_knows_itself():
    class Here:
        def run_check(self, command: str) -> list[str]:
            return Path(command.split()[1]).read_text().splitlines()

    class There:
        def run_check(self, command: str) -> list[str]:
            return ["00000000-0000-0000-0000-000000000000"]

    assert 0.1 < reference.work_ms() < 1000
    assert reference.is_here(Here()) and not reference.is_here(There())
