"""The record's disk is full, read-only, slow or broken: the instrument says so, loses nothing, and goes on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import pytest

from hil_tests.aftermath import problems, read
from hil_tests.client import Client, Refused
from hil_tests.ledger import NEVER, Ledger
from hil_tests.operators import begin, photograph

SLOW = 200_000  # bytes a second
PATIENCE = 5.0  # seconds for a page, whatever the disk does
READY = 60.0

pytestmark = pytest.mark.needs("disk", "service")


class Site(NamedTuple):
    """An instrument on a disk of its own, an examination that was begun with one photograph."""

    instrument: Any
    disk: Any
    client: Client
    ledger: Ledger
    visit: str
    record: str

    def photograph(self, uid: str = "") -> str:
        """One more; what is not answered may be sent again with its uid."""
        uid = uid or str(uuid.uuid4())
        self.ledger.step("capture", lambda: self.client.capture(self.visit, "OD", uid), uid=uid, visit=self.visit)
        return uid

    def refused(self, ask: Callable[[], object], *statuses: int) -> str:
        """That the instrument says no, in a sentence of its own; returns it."""
        with pytest.raises(Refused) as error:
            ask()
        assert error.value.status in statuses, error.value
        assert len(error.value.sentence.split()) > 4 and "report it" not in error.value.sentence, error.value
        return error.value.sentence

    def pages(self, or_else: str = "") -> None:
        """That what is recorded can be looked at meanwhile; with ``or_else``, or that a page says this."""
        for path in ("/", "/history", f"/visits/{self.visit}", f"/visits/{self.visit}/OD", "/api/status"):
            begun = time.monotonic()
            try:
                self.client.get(path)
            except Refused as error:
                assert or_else and or_else in error.sentence, (path, error)
            assert time.monotonic() - begun < PATIENCE, path

    def reboot(self) -> None:
        """What an operator does with a disk that has failed: off and on. The disk is checked on the way."""
        self.instrument.stop()
        self.disk.repair()
        self.instrument.start(READY)

    def nothing_lost(self) -> None:
        """Of all that was confirmed."""
        assert problems(self.ledger, NEVER - 1, read(self.instrument.tenohira, self.record)) == []


@pytest.fixture
def site(instrument, disk, run) -> Iterator[Site]:
    instrument.stop()
    disk.renew()
    record = f"{disk.folder}/record"
    instrument.configure(store=record)
    instrument.start(READY)
    client, ledger = Client(instrument.url), Ledger(lambda: 0)
    client.set(burst="1", keep_free_mb="50")
    visit = begin(client, ledger, "DISK-1")
    photograph(client, ledger, visit, "OD")
    yield Site(instrument, disk, client, ledger, visit, record)
    client.close()
    instrument.stop()
    disk.remove()


def test_below_the_free_space_that_is_to_be_kept_what_was_begun_can_be_finished(site, run):
    site.disk.fill(leave_mb=40)
    assert "must stay free" in site.refused(site.photograph, 507)
    assert "must stay free" in site.refused(lambda: begin(site.client, site.ledger, "DISK-2"), 507)
    site.pages()
    assert any("MB" in problem for problem in site.client.status()["problems"])
    site.ledger.step("finish", lambda: site.client.finish(site.visit), uid=site.visit)
    site.disk.free()
    visit = begin(site.client, site.ledger, "DISK-2")
    photograph(site.client, site.ledger, visit, "OS")
    site.nothing_lost()
    run.event("disk fault", fault="little room", outcome="nothing lost")


def test_a_disk_that_is_full(site, run):
    uid = str(uuid.uuid4())
    site.disk.fill()
    site.refused(lambda: site.photograph(uid), 507)
    site.refused(lambda: site.client.finish(site.visit), 507)
    site.refused(lambda: site.client.set(device="renamed"), 507)
    export = site.instrument.tenohira(
        "record", "export", "--store", site.record, "--out", f"{site.disk.folder}/export"
    )
    assert export.code == 2 and "full" in export.err, export
    site.pages()
    site.disk.free()
    site.photograph(uid)
    site.ledger.step("finish", lambda: site.client.finish(site.visit), uid=site.visit)
    site.nothing_lost()
    run.event("disk fault", fault="full", outcome="nothing lost")


def test_a_disk_that_turns_read_only_as_a_worn_card_does(site, run):
    uid = str(uuid.uuid4())
    site.disk.turn_read_only()
    sentence = site.refused(lambda: site.photograph(uid), 500)
    assert "read-only" in sentence or "cannot be read or written" in sentence
    site.refused(lambda: begin(site.client, site.ledger, "DISK-2"), 500)
    site.pages(or_else="switch the instrument off and on")  # Linux 6.12 throws away what SQLite shares in memory
    site.reboot()
    site.photograph(uid)
    site.nothing_lost()
    run.event("disk fault", fault="read-only", outcome="nothing lost")


def test_an_instrument_that_starts_on_a_read_only_disk_says_so_and_goes_on_when_that_is_over(site, run):
    site.instrument.stop()
    site.disk.mount(read_only=True)
    site.instrument.start(READY, wait=False)
    assert "read-only" in _why_not(site.client)
    site.disk.mount(read_only=False)
    if "systemd" in run.rig.features:  # which shows a unit the disks as they were when it started
        site.instrument.stop()
        site.instrument.start(READY)
    seconds = site.client.wait(READY)
    site.photograph()
    site.nothing_lost()
    run.event("disk fault", fault="read-only from the start", outcome="nothing lost", seconds_to_ready=seconds)


def _why_not(client: Client) -> str:
    """Why the instrument could not start, in its own words. Raises TimeoutError."""
    end = time.monotonic() + READY
    while time.monotonic() < end:
        try:
            client.status()
        except httpx.TransportError:  # the port is not open yet
            pass
        except Refused as refused:
            if refused.status == 503 and "starting" not in refused.sentence:
                return refused.sentence
        time.sleep(0.1)
    raise TimeoutError("the instrument did not say why it cannot start")


def test_a_slow_disk_is_waited_for_and_pages_are_not_kept_waiting(site, run):
    site.disk.slow(SLOW)
    times = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            begun = time.monotonic()
            work = pool.submit(site.photograph)
            while not work.done():
                site.pages()
            work.result()
            times.append(time.monotonic() - begun)
    site.disk.slow(0)
    run.samples("disk.slow.capture", "s", times)
    site.ledger.step("finish", lambda: site.client.finish(site.visit), uid=site.visit)
    site.nothing_lost()
    run.event("disk fault", fault="slow", outcome="nothing lost")


def test_writes_that_fail(site, run):
    uid = str(uuid.uuid4())
    site.disk.failing(True)
    site.refused(lambda: site.photograph(uid), 500)
    site.pages()
    site.disk.failing(False)
    try:  # the file system may have given up by now; what it confirms, it is to keep
        site.photograph(uid)
    except Refused as error:
        assert error.status == 500 and len(error.sentence.split()) > 4
    site.reboot()
    site.nothing_lost()
    site.photograph(uid)
    site.nothing_lost()
    run.event("disk fault", fault="failing writes", outcome="nothing lost")
