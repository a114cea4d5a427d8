"""Power cuts and killed services: what was confirmed is there, whole and once, and the instrument goes on.

Operators work while the disk of the record logs every write and flush. Then the power is cut, after the fact, at
hundreds of points of that log: for each, the disk is built as it might be left (``hil_tests.disk.replay``),
mounted, and its record read by the command line. On each tenth, the instrument is started as well, what was under
way is sent again, and a new photograph is taken.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import httpx
import pytest

from hil_tests.aftermath import problems, read
from hil_tests.client import Client, Refused
from hil_tests.cuts import Cut, choose
from hil_tests.disk import logged
from hil_tests.disk.replay import Replay, WriteLog
from hil_tests.ledger import NEVER, Ledger
from hil_tests.operators import again, begin, examine, export, office, photograph, read_eye

EXAMINATIONS = 24
SERVED = 10  # on one disk in so many, the instrument is started
WORKERS = 2
READY = 60.0  # seconds that a start may take
LONGEST_LIFE = 2.0  # seconds from one kill to the next
CAMERA = "simulated:3?size=384"
SETTINGS = {"burst": "1", "keep_free_mb": "50"}  # the disk is small

pytestmark = pytest.mark.needs("power", "service")


class Recording(NamedTuple):
    """Operators' work on a disk that has logged it."""

    log: Path
    pristine: Path  # the disk's image before it
    ledger: Ledger
    begun: float  # of the run


@pytest.fixture
def recording(tmp_path, instrument, disk, run) -> Recording:
    """Work, until all examinations are done and the service has stopped. The instrument is free again after it."""
    run.event("recording")
    instrument.stop()
    disk.renew()
    try:
        ledger = Ledger(disk.position)
        record, exports = f"{disk.folder}/record", f"{disk.folder}/exports"
        instrument.configure(store=record, camera=CAMERA)
        ledger.step("start", lambda: instrument.start(READY))
        _work(instrument, ledger, record, exports)
        ledger.step("stop", instrument.stop)
        return Recording(*disk.kept(tmp_path), ledger, run.events[-1]["at"])
    finally:
        instrument.stop()
        disk.remove()


def _work(instrument: Any, ledger: Ledger, record: str, exports: str) -> None:
    room, desk = Client(instrument.url), Client(instrument.url)
    ledger.step("settings", lambda: room.set(device="first", **SETTINGS), device="first")
    finished: queue.Queue[str | None] = queue.Queue()
    with ThreadPoolExecutor(1) as pool:
        keep = lambda name: export(ledger, instrument.tenohira, record, f"{exports}/{name}")  # noqa: E731
        clerk = pool.submit(office, desk, ledger, finished, keep)
        try:
            for number in range(EXAMINATIONS):
                finished.put(examine(room, ledger, number))
        finally:
            finished.put(None)
        clerk.result()
    room.close()
    desk.close()


def test_nothing_confirmed_is_lost_or_doubled_by_power_cuts(recording, instrument, run, tmp_path):
    log = WriteLog(recording.log)
    cuts = choose(recording.ledger, log, run.sizes["cuts"], Random(run.seed))
    served = [c for c in cuts if c.number % SERVED == 0]
    others = [c for c in cuts if c.number % SERVED]
    share = -(-len(others) // WORKERS)
    parts = [others[i : i + share] for i in range(0, len(others), share)]
    aftermath = Aftermath(recording, log, instrument, run.seed)
    with ThreadPoolExecutor(WORKERS + 1, initializer=logged.private_mounts) as pool:
        work = [pool.submit(aftermath.serve_all, served, tmp_path / "served")]
        work += [pool.submit(aftermath.read_all, part, tmp_path / f"worker{i}") for i, part in enumerate(parts)]
        events = [event for each in work for event in each.result()]
    events.sort(key=lambda event: event["at"])
    for event in events:
        run.event("power cut", **event)
    wrong = [event for event in events if event["outcome"] != "nothing lost"]
    run.value("power.cuts", "cuts", len(events))
    run.value("power.cuts.lossy", "cuts", len(wrong))
    if ready := [e["seconds_to_ready"] for e in events if e["seconds_to_ready"] is not None]:
        run.samples("power.ready", "s", ready)
    assert len(events) == run.sizes["cuts"]
    assert not wrong, "\n".join(f"{e['phase']} at {e['at']} s: {e['outcome']}" for e in wrong[:20])


def test_nothing_confirmed_is_lost_or_doubled_by_killing_the_service(instrument, run, tmp_path):
    """Killed at random moments, with an operator who asks again until there is an answer."""
    instrument.stop()
    instrument.configure(store=f"{instrument.store}-killed", camera=CAMERA)
    instrument.start(READY)
    killer = Killer(instrument, run, Random(run.seed), run.sizes["kills"])
    client, ledger, number = Stubborn(instrument.url, killer), Ledger(lambda: 0), 0
    client.set(**SETTINGS)
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(killer.run)
        while not work.done():
            number += 1
            visit = examine(client, ledger, number)
            read_eye(client, ledger, visit, f"reading {number}")
        work.result()
    found = read(instrument.tenohira, instrument.store)
    wrong = problems(ledger, NEVER - 1, found)
    run.value("power.kills", "kills", killer.done)
    run.samples("power.kills.ready", "s", killer.seconds)
    assert not wrong and len(found.visits) == number, wrong[:20]


class Killer:
    """Kills the service, and brings it back where nothing else on the target does."""

    def __init__(self, instrument: Any, run: Any, rng: Random, kills: int) -> None:
        self._instrument, self._run, self._rng, self._kills = instrument, run, rng, kills
        self._itself = "systemd" in run.rig.features
        self.done, self.seconds, self.doing = 0, [], ""

    def run(self) -> None:
        """All kills, each within the first seconds of a service's life."""
        for _ in range(self._kills):
            time.sleep(self._rng.uniform(0.0, LONGEST_LIFE))
            phase = self.doing
            self._instrument.kill()
            ready = Client(self._instrument.url).wait(READY) if self._itself else self._instrument.start(READY)
            self.done += 1
            self.seconds.append(ready)
            self._run.event("service killed", phase=phase, seconds_to_ready=round(ready, 3))


class Stubborn(Client):
    """Asks until there is an answer, as an operator does."""

    def __init__(self, url: str, killer: Killer) -> None:
        super().__init__(url)
        self._killer = killer

    def get(self, path: str) -> Any:
        return self._until_answered(lambda: Client.get(self, path), path)

    def post(self, path: str, **form: str) -> Any:
        return self._until_answered(lambda: Client.post(self, path, **form), path)

    def _until_answered(self, ask: Callable[[], Any], path: str) -> Any:
        self._killer.doing = path.rpartition("/")[2]
        end = time.monotonic() + 2 * READY
        while True:
            try:
                return ask()
            except httpx.TransportError:
                if time.monotonic() > end:
                    raise
            except Refused as refused:
                if refused.status != 503 or time.monotonic() > end:
                    raise
            time.sleep(0.05)


class Aftermath:
    """Looks at the disks that cuts have left. Each call of ``read_all`` and ``serve_all`` is for one thread."""

    def __init__(self, recording: Recording, log: WriteLog, instrument: Any, seed: int) -> None:
        self._recording, self._log, self._instrument, self._seed = recording, log, instrument, seed

    def read_all(self, cuts: list[Cut], folder: Path) -> list[dict[str, Any]]:
        """Read each record by the command line. Returns the events."""
        folder.mkdir()
        replay = Replay(self._log, self._recording.pristine, folder)
        return [self._one(replay, cut, folder, serve=False) for cut in cuts]

    def serve_all(self, cuts: list[Cut], folder: Path) -> list[dict[str, Any]]:
        """The same, and go on working with each. Returns the events."""
        folder.mkdir()
        replay = Replay(self._log, self._recording.pristine, folder)
        return [self._one(replay, cut, folder, serve=True) for cut in cuts]

    def _one(self, replay: Replay, cut: Cut, folder: Path, serve: bool) -> dict[str, Any]:
        image, ready = folder / "disk.img", None
        left = replay.build(cut.entry, image, Random(f"{self._seed} {cut.number}"))
        wrong: list[str] = []
        try:
            with logged.mounted(image, folder / "root") as root:
                wrong = self._read(root, self._recording.ledger, cut.position)
                if serve and not wrong:
                    ready, wrong = self._go_on(root, cut)
        except logged.DiskError as error:
            wrong.append(str(error))
        wrong += [flaws] if (flaws := logged.flaws(image)) else []
        image.unlink()
        return {
            "at": round(self._recording.begun + cut.at, 3), "phase": cut.phase, "entry": cut.entry,
            "unflushed": left._asdict(), "seconds_to_ready": ready and round(ready, 3),
            "outcome": "; ".join(wrong[:5]) or "nothing lost",
        }  # fmt: skip

    def _read(self, root: Path, ledger: Ledger, position: int) -> list[str]:
        return problems(ledger, position, read(self._instrument.tenohira, str(root / "record"), root))

    def _go_on(self, root: Path, cut: Cut) -> tuple[float, list[str]]:
        """Start, send again what was under way, examine somebody new. Returns the seconds to ready, problems."""
        after = Ledger(lambda: NEVER - 1)  # what is confirmed from now on, over what was confirmed before
        after.steps += [s for s in self._recording.ledger.steps if s.begun <= cut.position]
        self._instrument.configure(store=str(root / "record"), camera=CAMERA)
        ready = self._instrument.start(READY)
        client = Client(self._instrument.url)
        try:
            client.set(device="after", **SETTINGS)
            for step in [s for s in after.steps if s.confirmed > cut.position]:
                after.steps.remove(step)
                again(client, after, step)
            visit = begin(client, after, f"AFTER-{cut.number}")
            photograph(client, after, visit, "OD")
            after.step("finish", lambda: client.finish(visit), uid=visit)
        finally:
            client.close()
            self._instrument.stop()
        after.steps = [s for s in after.steps if s.phase != "settings"]
        return ready, self._read(root, after, NEVER - 1)
