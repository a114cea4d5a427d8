"""Whether the board was slowed down: looked at before, between and after the tests (hil_tests/thermal.py)."""

from __future__ import annotations

import pytest


@pytest.mark.needs("throttling")
def test_the_firmware_tells_whether_it_slows_the_board_down(run):
    assert int(run.throttling["before"], 16) >= 0
