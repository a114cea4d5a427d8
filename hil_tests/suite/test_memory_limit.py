"""With less and less memory: the instrument works, or refuses in words; it is never killed at its work.

The service starts in a memory cgroup, which its camera's process shares, without swap. After the limit at which it
refuses to start, smaller ones are no longer tried. Whatever happens, what was confirmed is in the record, whole.
"""

from __future__ import annotations

import re
import time

import httpx
import pytest

from hil_tests.client import Client, Refused
from hil_tests.drivers.protocols import InstrumentError
from hil_tests.record import Record

pytestmark = pytest.mark.needs("service", "memory-limit")

ENOUGH = 300  # MB: here and above it must work
LIMITS = (512, ENOUGH, 200, 170, 150, 135, 120, 105, 90, 75, 60, 45)  # MB
CAPTURES, PER_VISIT = 10, 5
DEADLINE = 120.0  # seconds of a start: what has little memory reads its files again and again
WORKS, REFUSES, KILLED = "works", "refuses", "killed"


def test_with_less_and_less_memory_it_works_or_refuses(instrument, run):
    if why := instrument.no_memory_limit():
        run.not_measurable(why, "memory.least")
    confirmed: dict[str, str] = {}  # capture: examination
    worked = []
    for megabytes in LIMITS:
        instrument.stop()
        instrument.configure(memory_mb=megabytes)
        before = len(confirmed)
        outcome, said = _work(instrument, confirmed, run.sizes.get("limited_captures", CAPTURES))
        if kills := instrument.killed_for_memory():
            outcome, said = KILLED, f"the kernel killed {kills} of its processes; {said}"
        run.event("memory limit", limit_mb=megabytes, outcome=outcome, captures=len(confirmed) - before, said=said)
        instrument.stop()
        Record(instrument).verified()
        assert outcome != KILLED, f"with {megabytes} MB: {said}"
        if outcome == WORKS:
            worked.append(megabytes)
        elif len(confirmed) == before:  # it did not even start
            break
    run.value("memory.least", "MB", min(worked))
    assert set(worked) >= {each for each in LIMITS if each >= run.sizes.get("enough_mb", ENOUGH)}
    instrument.configure()
    instrument.start()
    _all_are_there(instrument, confirmed)


def _work(instrument, confirmed: dict[str, str], captures: int) -> tuple[str, str]:
    """Photograph; returns how it went, and the instrument's words or error."""
    client = Client(instrument.url)
    try:
        instrument.start(wait=False)
        _answers(instrument, client)
        for number in range(captures):
            if number % PER_VISIT == 0:
                visit = client.visit()["uid"]
            client.get("/live/frame")
            confirmed[client.capture(visit, ("OD", "OS")[number % 2])["uid"]] = visit
        client.page(f"/visits/{visit}")
        return WORKS, ""
    except Refused as refused:
        assert refused.status == 503 and re.search(r" MB of memory are .+[:;] ", refused.sentence), str(refused)
        assert instrument.pid() is not None, "it refused, and then it ended"
        return REFUSES, refused.sentence
    except (httpx.TransportError, InstrumentError, TimeoutError) as error:
        return KILLED, f"{type(error).__name__}: {error}"
    finally:
        client.close()


def _answers(instrument, client: Client) -> None:
    """Until it says anything at all. Raises Refused for what it says instead of being ready."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        try:
            client.status()
            return
        except httpx.TransportError:
            if instrument.pid() is None:
                raise InstrumentError("it ended while it started") from None
            time.sleep(0.1)
    raise TimeoutError(f"no answer within {DEADLINE:.0f} s")


def _all_are_there(instrument, confirmed: dict[str, str]) -> None:
    client = Client(instrument.url)
    there = {c["uid"]: visit["uid"] for visit in client.visits() for c in visit["captures"]}
    client.close()
    lost = confirmed.items() - there.items()
    assert not lost, f"confirmed, and not in the record: {lost}"
