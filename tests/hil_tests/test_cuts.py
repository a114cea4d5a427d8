"""Cuts fall where something is going on, in each phase as often as in any other."""

from __future__ import annotations

from collections import Counter
from random import Random
from types import SimpleNamespace

from hil_tests.cuts import choose
from hil_tests.ledger import Ledger, Step


def made(*steps: tuple[str, int, int]) -> Ledger:
    ledger = Ledger(lambda: 0)
    ledger.steps = [Step(phase, {}, begun, begun / 10, confirmed) for phase, begun, confirmed in steps]
    return ledger


LOG = SimpleNamespace(entries=[SimpleNamespace(end=512 * (n + 1)) for n in range(100)])


def test_each_phase_has_its_share_however_short_it_is():
    ledger = made(("begin", 0, 1024), ("capture", 1024, 40_000), ("finish", 45_000, 46_000))
    cuts = choose(ledger, LOG, 60, Random(1))
    assert Counter(c.phase for c in cuts) == {"begin": 20, "capture": 20, "finish": 20}
    assert [c.entry for c in cuts] == sorted(c.entry for c in cuts) and [c.number for c in cuts] == list(range(60))
    assert all(c.position == 512 * c.entry for c in cuts)
    assert all(45_000 <= c.position < 46_000 and c.at == 4500 for c in cuts if c.phase == "finish")


def test_a_write_belongs_to_the_step_that_writes_and_was_begun_last():
    ledger = made(("capture", 0, 20_000), ("report", 5_000, 30_000), ("settings", 6_000, 7_000))
    cuts = choose(ledger, LOG, 90, Random(1))
    assert {c.phase for c in cuts if 6_000 <= c.position < 7_000} == {"settings"}
    assert {c.phase for c in cuts if c.position < 6_000 or 7_000 <= c.position < 20_000} == {"capture"}
    assert {c.phase for c in cuts if c.position >= 20_000} == {"report"}


def test_the_same_seed_gives_the_same_cuts():
    ledger = made(("begin", 0, 60_000))
    one, again, other = (choose(ledger, LOG, 9, Random(seed)) for seed in (3, 3, 4))
    assert one == again != other
