"""Examinations on their way to an archive (a real Orthanc) by a network that fails: each arrives, once, as it was
recorded; meanwhile the instrument goes on, and says how many wait and why. DIMSE and DICOMweb. (docs/dicom.md)"""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from hil_tests import archive as archives
from hil_tests.client import Client
from hil_tests.network import Fault, Network
from hil_tests.record import Record
from hil_tests.waiting import until

pytestmark = pytest.mark.needs("service")

BY_ITSELF = 120.0  # seconds: what is due is looked for every 20, and a second attempt is made after 30
CUTS = 15  # attempts that are cut off, for each way, unless the sizes have ``network_cuts``


@dataclass
class Clinic:
    """An instrument, the network, an archive."""

    client: Client
    record: Record
    network: Network
    archive: archives.Orthanc

    def examined(self) -> str:
        """An examination with both eyes, finished."""
        visit = self.client.visit()["uid"]
        for eye in ("OD", "OS"):
            self.client.capture(visit, eye)
        self.client.finish(visit)
        return visit

    def arrived(self, *visits: str) -> None:
        """The archive holds these examinations, each object once, as the instrument has it, and no more."""
        from pydicom import dcmread

        own = {}
        for visit in visits:
            with zipfile.ZipFile(io.BytesIO(self.client.get(f"/visits/{visit}/dicom.zip"))) as objects:
                for name in objects.namelist():
                    data = dcmread(io.BytesIO(objects.read(name)))
                    own[str(data.SOPInstanceUID)] = archives.digest(data)
        assert len(own) >= 2 * len(visits)
        assert self.archive.digests() == own
        assert self.client.status()["waiting"] == {}
        assert len(self.record.log("sent")) == len(visits)

    def sent(self) -> None:
        """Asks for it until all of it is: after many attempts in vain, the next one by itself is far away."""

        def nothing_waits() -> bool:
            self.record.send_now()
            return not self.client.status()["waiting"]

        until(nothing_waits, BY_ITSELF, "the arrival", every=2.0)

    def waiting(self) -> dict[str, int]:
        """Examinations that were tried in vain, by the reason."""
        return {why: n for why, n in self.client.status()["waiting"].items() if why}


@pytest.fixture(params=["dimse", "dicomweb"])
def clinic(request, instrument, run, tmp_path) -> Iterator[Clinic]:
    if why := archives.absent():
        run.not_measurable(why, "network.*")
    instrument.stop()
    instrument.configure(store=f"{instrument.store}-network-{time.monotonic_ns()}")
    instrument.start()
    archive = archives.Orthanc(tmp_path / "archive")
    way = "dicom" if request.param == "dimse" else "http"
    client = Client(instrument.url)
    try:
        with Network(archive.ports[way], instrument.here) as network:
            client.set(burst="1")
            if request.param == "dimse":
                client.set(pacs_kind="dimse", pacs_host=instrument.here, port=str(network.port))
            else:
                url = f"http://{instrument.here}:{network.port}/dicom-web"
                client.set(pacs_kind="dicomweb", pacs_url=url)
            yield Clinic(client, Record(instrument), network, archive)
    finally:
        client.close()
        archive.close()


def test_down_at_the_finish_and_back_again(clinic):
    """By itself: nobody presses anything."""
    clinic.network.fail(Fault("refuse"))
    first = clinic.examined()
    why = until(clinic.waiting, BY_ITSELF, "a word about what waits")
    assert list(why.values()) == [1]
    problems = clinic.client.status()["problems"]
    assert any("1 of the finished examinations could not be sent" in p and next(iter(why)) in p for p in problems)
    second = clinic.examined()
    assert sum(clinic.client.status()["waiting"].values()) == 2
    clinic.network.mend()
    until(lambda: not clinic.client.status()["waiting"], BY_ITSELF, "the arrival of what waited", every=1.0)
    clinic.arrived(first, second)


def test_a_black_hole_holds_nobody_up(clinic):
    """Each answer is waited for, for half a minute; the instrument photographs meanwhile, as fast as before."""
    visit = clinic.client.visit()["uid"]
    took = [timed(lambda: clinic.client.capture(visit)) for _ in range(5)]
    clinic.network.fail(Fault("swallow"))
    held = clinic.examined()
    sending = threading.Thread(target=clinic.record.send_now)
    begun = time.monotonic()
    sending.start()
    meanwhile = []
    while sending.is_alive():
        meanwhile.append(timed(lambda: clinic.client.capture(visit)))
        assert time.monotonic() - begun < 180, "an attempt never ends"
    assert len(meanwhile) >= 5
    # The first seconds have the sender's own start in them, on another processor or on the same. An instrument
    # that waits for the network would take 30.
    assert sorted(meanwhile)[len(meanwhile) // 2] < 5 * max(took) + 2.0, (took, meanwhile)
    assert clinic.waiting()
    clinic.client.finish(visit)
    clinic.network.mend()
    clinic.record.send_now()
    clinic.arrived(held, visit)


def timed(what) -> float:
    begun = time.monotonic()
    what()
    return time.monotonic() - begun


def test_a_slow_network_is_waited_for(clinic):
    clinic.network.fail(Fault("slow", bytes_per_second=60_000))
    visit = clinic.examined()
    begun = time.monotonic()
    clinic.record.send_now()
    until(lambda: not clinic.client.status()["waiting"], BY_ITSELF, "the arrival")
    assert time.monotonic() - begun > clinic.network.passed / 60_000 / 3, "the network was not slow"
    assert not clinic.record.log("send failed")
    clinic.arrived(visit)


def test_cut_off_again_and_again(clinic, run):
    """After a number of bytes that a seed draws, anywhere in it."""
    draws = random.Random(run.seed)
    visits = [clinic.examined()]
    for number in range(run.sizes.get("network_cuts", CUTS)):
        clinic.network.fail(Fault("cut", after=draws.randrange(1, 400_000)))
        clinic.record.send_now()
        if number % 5 == 4:
            visits.append(clinic.examined())
    clinic.network.mend()
    clinic.sent()
    assert clinic.record.log("send failed"), "no attempt was cut off: this has tested nothing"
    clinic.arrived(*visits)


def test_flapping_during_the_transfer(clinic):
    """Up for a second and a half, down for as long, and slow: no examination fits into one such time."""
    clinic.network.fail(Fault("flap", bytes_per_second=60_000, period=3.0))
    visits = []
    for _ in range(3):
        visits.append(clinic.examined())
        for _ in range(3):
            clinic.record.send_now()
    assert clinic.record.log("send failed"), "no attempt failed: this has tested nothing"
    clinic.network.mend()
    clinic.sent()
    clinic.arrived(*visits)
    clinic.record.verified()
