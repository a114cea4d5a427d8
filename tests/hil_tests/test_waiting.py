"""Waiting gives what came, and says what did not come."""

from __future__ import annotations

import pytest

from hil_tests.waiting import until


def test_what_comes_is_given():
    seen = iter([0, "", None, 7])
    assert until(lambda: next(seen), 5.0, "the number", every=0.01) == 7


def test_what_does_not_come_is_said_with_what_was_seen():
    with pytest.raises(AssertionError, match=r"the bell did not come within 0 s; last seen: ''"):
        until(lambda: "", 0.05, "the bell", every=0.01)
