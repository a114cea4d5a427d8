"""The service under systemd: what hangs or ends is started anew in the time that docs/service.md states, and what
was confirmed is there. With the deliberate fault ``watchdog`` (fed whatever happens) the first test fails."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid

import httpx
import pytest

from hil_tests.client import Client, Refused
from hil_tests.record import Record
from hil_tests.waiting import until

pytestmark = pytest.mark.needs("service", "systemd")

WATCHDOG, ABORT, RESTART = 30.0, 5.0, 2.0  # seconds: WatchdogSec, TimeoutAbortSec, RestartSec of the unit
BURST = 10  # starts in five minutes, and not one more
KILLS = 5


@pytest.fixture
def start_takes(instrument) -> float:
    """Seconds of a start, here and now; twice as long, and some, is allowed for one after a failure."""
    instrument.stop()
    return 2 * instrument.start() + 10.0


def comes_back(instrument, than: int, within: float) -> float:
    """Another process serves. Returns the seconds."""
    begun = time.monotonic()
    until(lambda: instrument.pid() not in (None, than), within, "another process of the service")
    client = Client(instrument.url)
    client.wait(max(1.0, within - (time.monotonic() - begun)))
    client.close()
    return time.monotonic() - begun


def given_up(machine) -> bool:
    """Whether systemd starts it no more."""
    return machine.run_check("systemctl show tenohira --property=ActiveState --value") == ["failed"]


def test_a_service_that_hangs_is_ended_and_started_anew(start_takes, instrument, client, run):
    """SIGSTOP: the process is there, and does nothing."""
    visit = client.visit()["uid"]
    client.capture(visit)
    hanging = instrument.pid()
    instrument.kill("STOP")
    took = comes_back(instrument, hanging, WATCHDOG + ABORT + RESTART + start_takes)
    run.samples("watchdog.restart", "s", [took])
    run.event("watchdog", outcome="started anew", seconds_to_ready=round(took, 1))
    assert "atchdog timeout" in instrument.journal()
    client.capture(visit, "OS")
    assert len(client.get(f"/visits/{visit}")["captures"]) == 2
    client.finish(visit)
    Record(instrument).verified()


def test_a_service_that_is_killed_comes_back_and_knows_what_it_confirmed(start_takes, instrument, client, run):
    """At random moments of a photograph, which is asked for again with the same uid: it is there, once."""
    draws = random.Random(run.seed)
    visit = client.visit()["uid"]
    begun = time.monotonic()
    uids = [client.capture(visit)["uid"]]
    length = time.monotonic() - begun
    for _ in range(KILLS):
        uid, before = str(uuid.uuid4()), instrument.pid()
        asking = threading.Thread(target=attempt, args=(client, visit, uid))
        asking.start()
        time.sleep(draws.uniform(0, length))
        instrument.kill("KILL")
        took = comes_back(instrument, before, RESTART + start_takes)
        asking.join(60)
        run.event("killed", outcome="started anew", seconds_to_ready=round(took, 1))
        client.capture(visit, "OD", uid)
        uids.append(uid)
        assert [c["uid"] for c in client.get(f"/visits/{visit}")["captures"]] == uids
    Record(instrument).verified()


def attempt(client: Client, visit: str, uid: str) -> None:
    """Photograph; the service may end meanwhile."""
    with contextlib.suppress(httpx.TransportError, Refused):
        client.capture(visit, "OD", uid)


def test_what_ends_again_and_again_is_left_alone(start_takes, instrument, machine):
    """Ten starts in five minutes wear a card out no further; a start by hand brings it back."""
    kills, gone = 0, False
    while not gone:
        assert kills < BURST + 2, "it is started for ever"
        before = instrument.pid()
        instrument.kill("KILL")
        kills += 1
        until(lambda old=before: given_up(machine) or instrument.pid() not in (None, old), RESTART + start_takes,
              "a restart, or an end of them")  # fmt: skip
        gone = given_up(machine)
    assert kills >= BURST - 2, "it was given up too early"
    time.sleep(2 * RESTART)
    assert instrument.pid() is None
    instrument.start()
    assert not given_up(machine)
