"""The whole target loses its power while an operator works: it comes back by itself, nothing confirmed is lost.

A cut falls at a random moment of an examination. The target then starts its service without help; what was under
way is sent again with its uid, and what the record holds is held against all that was ever confirmed
(hil_tests/aftermath.py). Cuts at each point of a log of the disk's writes are in test_power.py.

A virtual target boots for the first cuts; for the others it is brought back from its memory to just before the
record's disk is mounted, which leaves out nothing but the boot (``QemuDriver.remember``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from random import Random
from typing import Any

import httpx
import pytest

from hil_tests.aftermath import Found, problems
from hil_tests.client import Client, Refused
from hil_tests.ledger import Ledger
from hil_tests.operators import again, begin, examine, photograph
from hil_tests.record import Record
from hil_tests.waiting import until

COLD = 2  # cuts after which a target boots that could be brought back from its memory
CAMERA = 120.0  # seconds until it delivers, after a start
WATCHDOG = 60.0  # seconds until a system that hangs has restarted at the latest: 14, and what a shutdown takes

pytestmark = pytest.mark.needs("plug", "service")


class Operator:
    """Examines one after the other, until the target no longer answers."""

    def __init__(self, url: str, ledger: Ledger, number: int) -> None:
        self._client, self._ledger, self.number = Client(url), ledger, number
        self._refused = ""
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        try:
            while True:
                examine(self._client, self._ledger, self.number)
                self.number += 1
        except httpx.TransportError:
            pass  # the power is gone
        except Refused as refused:
            self._refused = str(refused)

    def gone(self) -> int:
        """Wait until the operator has noticed. Returns the number of the next examination."""
        self._thread.join()
        self._client.close()
        assert not self._refused, f"before the cut, the instrument refused: {self._refused}"
        return self.number + 1


@pytest.fixture
def power(target) -> Any:
    """Afterwards, the target boots again when it is switched on."""
    one = target.get_driver("PowerProtocol")
    yield one
    if hasattr(one, "forget"):
        one.forget()


def test_nothing_is_lost_when_the_power_goes_and_the_service_comes_back(power, instrument, client, target, run):
    strategy, random = target.get_driver("Strategy"), Random(run.seed)
    ledger, number, outcomes = Ledger(time.monotonic_ns), 1, []
    client.set(burst="1", keep_free_mb="50")
    before = frozenset(v["uid"] for v in client.visits())  # other tests' examinations
    begun = time.monotonic()
    examine(client, ledger, 0)
    length = time.monotonic() - begun
    for cut in range(run.sizes["plugs"]):
        if cut == COLD and hasattr(power, "remember"):
            _remember(strategy, power)
        operator = Operator(instrument.url, ledger, number)
        time.sleep(random.uniform(0, length))
        strategy.cut()
        number = operator.gone()
        under_way = ledger.under_way(time.monotonic_ns())
        ready = strategy.come_back()
        wrong = _looked_through(instrument, ledger, under_way, before)
        outcomes.append("; ".join(wrong[:5]) or "nothing lost")
        phase = ", ".join(step.phase for step in under_way) or "between two requests"
        run.event(
            "power cut", phase=phase, outcome=outcomes[-1],
            boot="from the disk" if cut < COLD or not hasattr(power, "remember") else "from memory",
            seconds_to_ready=round(ready, 1),
        )  # fmt: skip
        run.samples("plug.ready", "s", [ready])
    run.value("plug.cuts", "cuts", len(outcomes))
    run.value("plug.cuts.lossy", "cuts", sum(each != "nothing lost" for each in outcomes))
    Record(instrument).verified()
    assert set(outcomes) == {"nothing lost"}


def _remember(strategy: Any, power: Any) -> None:
    strategy.cut()
    power.boot_to_wait()
    strategy.transition("reachable")
    power.remember()
    strategy.lost()


def _looked_through(instrument: Any, ledger: Ledger, under_way: list[Any], before: frozenset[str]) -> list[str]:
    """What is wrong with the record: as the cut has left it, and after what was under way was sent again."""
    client = Client(instrument.url)
    try:
        wrong = problems(ledger, time.monotonic_ns(), _found(instrument, client, before))
        until(lambda: client.get("/live/frame"), CAMERA, "a live picture")
        for step in under_way:
            ledger.steps.remove(step)
            again(client, ledger, step)
        visit = begin(client, ledger, f"AFTER-{len(ledger.steps)}")
        photograph(client, ledger, visit, "OD")
        return wrong + problems(ledger, time.monotonic_ns(), _found(instrument, client, before))
    finally:
        client.close()


def _found(instrument: Any, client: Client, before: frozenset[str]) -> Found:
    """The record over HTTP, but for what was there ``before``, and its pictures by the target's own sha256sum."""
    sums = instrument.root(f"cd {instrument.store}/pictures && find . -type f -exec sha256sum {{}} +").splitlines()
    whole = {sha for sha, path in (line.split() for line in sums) if sha in path}
    return Found([v for v in client.visits() if v["uid"] not in before], [], frozenset(whole), {}, [])


@pytest.mark.needs("systemd")
def test_a_system_that_hangs_is_restarted_by_the_watchdog_of_the_board(power, instrument, target, run):
    """systemd crashes, and freezes: nobody feeds the watchdog any more."""
    strategy = target.get_driver("Strategy")
    before = instrument.seconds_since_boot()
    begun = time.monotonic()
    instrument.root("kill -SEGV 1")
    _no_answer(instrument, WATCHDOG)
    strategy.lost()
    strategy.come_back()
    run.samples("watchdog.board", "s", [time.monotonic() - begun])
    assert instrument.seconds_since_boot() < before + time.monotonic() - begun


def _no_answer(instrument: Any, seconds: float) -> None:
    """Until the service answers no longer."""
    client, end = Client(instrument.url, patience=5.0), time.monotonic() + seconds
    with contextlib.suppress(httpx.TransportError), contextlib.closing(client):
        while time.monotonic() < end:
            client.status()
            time.sleep(0.5)
        pytest.fail(f"the system hung for {seconds:.0f} s, and nothing restarted it")
