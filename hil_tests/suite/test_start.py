"""How long a start takes until the instrument is ready, and the first capture after it."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.needs("service", "wall-clock")

STARTS = 10
EXAMINATIONS = 1000  # of a record that has been in use
DEADLINE = 120.0  # seconds; the budget has the limit


def _started(instrument) -> float:
    instrument.stop()
    return instrument.start(DEADLINE)


def test_start_to_ready_and_the_first_capture(instrument, client, run):
    client.set(burst=str(run.sizes.get("burst", 3)))
    for _ in range(run.sizes.get("starts", STARTS)):
        run.samples("start.ready", "s", [_started(instrument)])
        visit = client.visit()["uid"]
        begun = time.perf_counter()
        client.capture(visit)
        run.samples("capture-to-verdict.cold", "ms", [(time.perf_counter() - begun) * 1e3])


def test_start_with_a_record_of_many_examinations(instrument, client, run):
    for number in range(EXAMINATIONS):
        client.visit(participant=f"START-{number:04d}")
    for _ in range(run.sizes.get("starts", STARTS)):
        run.samples("start.ready.full", "s", [_started(instrument)])
    (newest,) = client.get(f"/history?search=START-{EXAMINATIONS - 1:04d}")
    assert newest["number"] >= EXAMINATIONS
