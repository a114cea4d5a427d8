"""A clock that jumps: to 1970, a day back, ten years ahead, while somebody is examined and between two starts.

Examinations keep their order, nothing is lost or removed for an age that it has not, and the instrument says that
its clock cannot be believed until it is right again or somebody confirms it. (docs/service.md)
"""

from __future__ import annotations

import time

import pytest

from hil_tests import archive as archives
from hil_tests.client import Client
from hil_tests.network import Fault, Network
from hil_tests.record import Record
from hil_tests.waiting import until

pytestmark = pytest.mark.needs("service", "clock")

DAY = 86400
JUMPS = {"to 1970": None, "back a day": -DAY, "ahead ten years": 3653 * DAY}
NOTICED = 75.0  # seconds: the board is looked at every 30
SENT = 90.0  # seconds: what is due is looked for every 20


def seconds(name: str) -> int:
    """Of a jump; 1970 is its second day, for no clock can be set before the machine's own start."""
    return JUMPS[name] or DAY - int(time.time())


@pytest.fixture
def started(instrument, clock):
    """Starts the instrument with that clock, on one record of the test's own; called again, anew."""
    instrument.stop()
    instrument.configure(store=f"{instrument.store}-clock-{time.monotonic_ns()}", environment=clock.environment())
    clients = []

    def start() -> Client:
        instrument.stop()
        instrument.start()
        clients.append(Client(instrument.url))
        return clients[-1]

    yield start
    for one in clients:
        one.close()


def doubted(client: Client) -> str:
    """What the instrument says of its clock; empty where it believes it."""
    status = client.status()
    said = [p for p in status["problems"] if "clock jumped" in p]
    assert bool(said) is bool(status["health"]["clock_doubted"])
    return said[0] if said else ""


def examined(client: Client) -> str:
    visit = client.visit()["uid"]
    client.capture(visit)
    client.finish(visit)
    return visit


@pytest.mark.parametrize("jump", JUMPS)
def test_while_somebody_is_examined(started, instrument, clock, jump):
    client = started()
    visits = [examined(client)]
    under_way = client.visit()["uid"]
    client.capture(under_way, "OD")
    before = instrument.pid()
    clock.jump(seconds(jump))
    client.capture(under_way, "OS")
    client.finish(under_way)
    visits += [under_way, examined(client)]
    said = until(lambda: doubted(client), NOTICED, "a word about the clock")
    assert "Compare it with a watch" in said
    visits.append(examined(client))
    clock.reset()
    until(lambda: not doubted(client), NOTICED, "the end of the doubt")
    visits.append(examined(client))
    assert instrument.pid() == before, "the service was started anew"
    in_order(client, instrument, visits)
    log = Record(instrument).log("clock doubted", "clock believed")
    assert [entry["action"] for entry in log] == ["clock doubted", "clock believed"]


def in_order(client: Client, instrument, visits: list[str]) -> None:
    """All of them are there, numbered as they were made, whatever their times say; and the log fits."""
    kept = Record(instrument).visits()
    assert [v["uid"] for v in kept] == visits
    assert [v["number"] for v in kept] == list(range(1, len(visits) + 1))
    assert [v["uid"] for v in client.visits()] == visits[::-1]
    assert all(v["finished"] and v["captures"] for v in kept)
    Record(instrument).verified()


@pytest.mark.parametrize("jump", JUMPS)
def test_between_two_starts(started, instrument, clock, jump):
    client = started()
    visits = [examined(client)]
    instrument.stop()
    clock.jump(seconds(jump))
    client = started()
    assert doubted(client), client.status()
    visits.append(examined(client))
    client = started()
    assert doubted(client), "a restart has ended the doubt"
    instrument.stop()
    clock.reset()
    client = started()
    assert doubted(client), "how long it was switched off, nobody knows: somebody must look at a watch"
    client.set(clock_right="yes")
    assert not doubted(client), client.status()
    visits.append(examined(client))
    in_order(client, instrument, visits)


def test_no_examination_is_removed_for_an_age_that_it_has_not(started, instrument, clock):
    """Removed are those that are held elsewhere, once they are too old: by a clock that somebody stands behind."""
    client = started()
    client.set(keep_days="30")
    old = examined(client)
    Record(instrument).export(f"{instrument.store}-exported")
    clock.jump(3653 * DAY)
    until(lambda: doubted(client), NOTICED, "a word about the clock")
    client = started()  # old examinations are looked for at the start, and every hour
    assert "no old examination is removed" in doubted(client)
    examined(client)
    time.sleep(5.0)
    assert len(client.visits()) == 2 and not Record(instrument).log("expire")
    client.set(clock_right="yes")
    assert not doubted(client)
    client = started()
    until(lambda: len(client.visits()) == 1, 20.0, "the removal, now that the clock was confirmed")
    (entry,) = Record(instrument).log("expire")
    assert entry["subject"] == old
    believed = Record(instrument).log("clock believed")
    assert [e["actor"] for e in believed] == ["operator"], believed
    Record(instrument).verified()
    clock.reset()
    client = started()
    assert doubted(client), "ten years back, and not a word"
    assert len(client.visits()) == 1


@pytest.mark.parametrize(("before", "after"), [("ahead ten years", None), (None, "to 1970")])
def test_what_could_not_be_sent_does_not_wait_for_the_time_to_come(
    started, instrument, clock, run, tmp_path, before, after
):
    """The next attempt was put off by a clock that was ahead of the one by which it is looked at."""
    if why := archives.absent():
        run.not_measurable(why, "network.*")
    archive = archives.Orthanc(tmp_path / "archive")
    with Network(archive.ports["dicom"], instrument.here) as network:
        network.fail(Fault("refuse"))
        clock.jump(seconds(before) if before else 0)
        client = started()
        client.set(pacs_kind="dimse", pacs_host=instrument.here, port=str(network.port))
        examined(client)
        until(lambda: any(client.status()["waiting"]), SENT, "an attempt to send")
        network.mend()
        clock.reset()
        clock.jump(seconds(after) if after else 0)
        until(lambda: not client.status()["waiting"], SENT, "the arrival")
        assert archive.digests()
    archive.close()
    Record(instrument).verified()
