"""A camera that is not there, goes away in the middle of a burst, or hangs: a sentence and 503, nothing half in
the record, the service goes on, and pictures come back by themselves (docs/service.md has the deadlines)."""

from __future__ import annotations

import contextlib
import random
import threading
import time
import uuid

import httpx
import pytest

from hil_tests.client import Client, Refused
from hil_tests.drivers.protocols import InstrumentError
from hil_tests.record import Record
from hil_tests.waiting import until

pytestmark = pytest.mark.needs("service")

KILLS = 30  # unless the sizes have ``camera_kills``
STOPS, STOPPED_CAPTURES, REMOVALS = 6, 4, 6  # how often
SLACK = 15.0  # seconds beside the instrument's own deadlines: of a board that is busy, or emulated
PREVIEW, STILL, OPENING = 3.0, 10.0, 30.0  # seconds, as docs/service.md has them
BACK = OPENING + 5.0 + SLACK  # until pictures are there again: a new start of the camera, and the pause before it


@pytest.fixture
def service(instrument):
    """The service, whose process must be the same afterwards."""
    before = instrument.pid()
    yield instrument
    assert instrument.pid() == before, "the service was started anew"


@pytest.fixture
def draws(run, request):
    """Random numbers of the run's seed, other ones for each test."""
    return random.Random(f"{run.seed} {request.node.name}")


def pictures(client: Client, within: float = BACK) -> None:
    """The live picture is there, and another one after it."""
    first = until(lambda: (seen := client.live())[1] and seen[0]["sequence"], within, "a live picture")
    until(lambda: client.live(first)[0]["sequence"] > first, within, "another live picture")
    assert client.status()["camera_error"] == ""


def refused(client: Client, visit: str, uid: str, eye: str = "OD") -> str:
    """Photograph, and be told that the camera cannot. The sentence."""
    with pytest.raises(Refused) as told:
        client.capture(visit, eye, uid)
    assert told.value.status == 503 and told.value.sentence, told.value
    return told.value.sentence


def kept(client: Client, visit: str) -> list[str]:
    """The uids of an examination's captures."""
    return [c["uid"] for c in client.get(f"/visits/{visit}")["captures"]]


class Shutter(threading.Thread):
    """Photographs, in a thread of its own; ``told`` is the answer: nothing, or what was refused."""

    def __init__(self, client: Client, visit: str, uid: str) -> None:
        super().__init__()
        self._ask = lambda: client.capture(visit, "OD", uid)
        self.told: Refused | None = None
        self.broken: Exception | None = None
        self.took = 0.0
        self.start()

    def run(self) -> None:
        begun = time.monotonic()
        try:
            self._ask()
        except Refused as answer:
            self.told = answer
        except httpx.TransportError as error:  # the service itself did not answer
            self.broken = error
        self.took = time.monotonic() - begun


def interrupt(client: Client, visit: str, after: float, fail, mend=lambda: None) -> Refused | None:
    """Photograph while ``fail`` happens ``after`` seconds, ``mend`` it, and ask again with the same uid until the
    photograph is there: once, whatever was answered first. That first answer, where it was a refusal."""
    uid, before = str(uuid.uuid4()), kept(client, visit)
    shutter = Shutter(client, visit, uid)
    time.sleep(after)
    fail()
    shutter.join(STILL + OPENING + SLACK)
    assert not shutter.is_alive(), "the answer does not come"
    assert shutter.broken is None, shutter.broken
    if shutter.told is None:
        assert kept(client, visit) == [*before, uid]
    else:
        assert shutter.told.status == 503 and shutter.told.sentence, shutter.told
        assert kept(client, visit) == before, "what was refused is in the record"
    mend()
    again(client, visit, uid)
    assert kept(client, visit) == [*before, uid], "the retry has recorded twice, or nothing"
    return shutter.told


def again(client: Client, visit: str, uid: str) -> None:
    """The same photograph once more, until it is there."""

    def taken() -> bool:
        try:
            client.capture(visit, "OD", uid)
        except Refused as answer:
            assert answer.status == 503, answer
            return False
        return True

    until(taken, BACK, "the photograph")


def burst_of_nine(client: Client) -> tuple[str, float]:
    """Long bursts from now on: an examination, and the seconds that one takes."""
    client.set(burst="9")
    visit, took = client.visit()["uid"], []
    for _ in range(3):
        begun = time.monotonic()
        client.capture(visit)
        took.append(time.monotonic() - begun)
    return visit, min(took)


def test_absent_at_the_start_and_plugged_in_later(instrument):
    folder = f"{instrument.store}-photographs-{time.monotonic_ns()}"
    instrument.stop()
    instrument.configure(camera=f"replay:{folder}")
    instrument.start()
    before, client = instrument.pid(), Client(instrument.url)
    visit, uid = client.visit()["uid"], str(uuid.uuid4())
    for _ in range(3):
        assert "there is nothing at" in refused(client, visit, uid)
        assert kept(client, visit) == []
    until(lambda: client.live()[0]["error"], PREVIEW + SLACK, "a word about it")
    state, picture = client.live()
    assert picture is None and state["ready"] is False
    assert client.status()["camera_error"] and client.status()["problems"]
    made = instrument.tenohira("samples", "--simulated", "3", "--out", folder)
    assert made.code == 0, made.out + made.err
    pictures(client)
    again(client, visit, uid)
    client.capture(visit, "OD", uid)  # the answer got lost, say
    assert kept(client, visit) == [uid] and client.finish(visit)["finished"]
    assert instrument.pid() == before
    Record(instrument).verified()
    client.close()


def test_the_photographs_go_away_in_the_middle_of_a_burst(instrument, machine, draws):
    """As a camera on a cable does: the process goes on, and has no pictures any more."""
    folder = f"{instrument.store}-photographs-{time.monotonic_ns()}"
    root = '$([ "$(id -u)" = 0 ] || echo sudo -n)'
    plug = lambda: instrument.tenohira("samples", "--simulated", "3", "--out", folder)  # noqa: E731
    assert plug().code == 0
    instrument.stop()
    instrument.configure(camera=f"replay:{folder}")
    instrument.start()
    before, client = instrument.pid(), Client(instrument.url)
    visit, took = burst_of_nine(client)
    told = []
    for _ in range(REMOVALS):
        unplug = lambda: machine.run_check(f"{root} rm -rf {folder}")  # noqa: E731
        told.append(interrupt(client, visit, draws.uniform(0, took / 2), unplug, plug))
        pictures(client)
    assert any(told), "no photograph was refused: this has tested nothing"
    client.set(burst="3")
    assert instrument.pid() == before
    Record(instrument).verified()
    client.close()


def test_killed_at_random_moments_of_a_burst(service, client, draws, run):
    visit, took = burst_of_nine(client)
    told = []

    def kill() -> None:
        with contextlib.suppress(InstrumentError):  # it is being started just now
            service.kill("KILL", whom="camera")

    for _ in range(run.sizes.get("camera_kills", KILLS)):
        after = draws.uniform(0, took)
        told.append(interrupt(client, visit, after, kill))
        outcome = "refused" if told[-1] else "taken"
        run.event("camera killed", after=round(after, 3), outcome=outcome)
    assert any(told), "no photograph was refused: this has tested nothing"
    assert all("camera" in answer.sentence for answer in told if answer)
    client.set(burst="3")
    pictures(client)
    Record(service).verified()


def test_hanging_while_somebody_looks(service, client):
    """SIGSTOP: the process is there, and does nothing."""
    for _ in range(STOPS):
        pictures(client)
        hanging = service.pid("camera")
        service.kill("STOP", whom="camera")
        until(
            lambda: client.live()[0]["error"] and client.status()["camera_error"],
            PREVIEW + SLACK,
            "a word about the camera that hangs, and the same in the status",
        )
        pictures(client)
        assert service.pid("camera") not in (hanging, None)


def test_hanging_while_it_photographs(service, client, draws):
    visit, took = burst_of_nine(client)
    elsewhere = client.visit()["uid"]  # a second photograph may be taken, where the first was done before the stop

    def hang() -> None:
        service.kill("STOP", whom="camera")
        time.sleep(0.5)
        begun = time.monotonic()  # the instrument has other things to answer meanwhile
        client.status()
        assert time.monotonic() - begun < 5.0
        answers.append(one_more())

    def one_more() -> int:
        """The status of a second photograph, while the first is not answered."""
        try:
            client.capture(elsewhere, "OS")
        except Refused as answer:
            return answer.status
        return 201

    told: list[Refused | None] = []
    answers: list[int] = []
    for _ in range(STOPPED_CAPTURES):
        pictures(client)
        told.append(interrupt(client, visit, draws.uniform(0, took / 2), hang))
    assert any(told), "no photograph was refused: this has tested nothing"
    assert all("did not answer within" in answer.sentence for answer in told if answer)
    assert all(status == 409 for status, answer in zip(answers, told) if answer), answers
    client.set(burst="3")
    Record(service).verified()


@pytest.mark.needs("camera-stack")
def test_a_sensor_that_is_not_there(instrument):
    """The real stack, asked for one camera more than there are."""
    instrument.stop()
    instrument.configure(camera="picamera2:9")
    instrument.start()
    client = Client(instrument.url)
    visit = client.visit()["uid"]
    assert "no camera" in refused(client, visit, str(uuid.uuid4()))
    assert kept(client, visit) == [] and client.status()["camera_error"] == ""
    until(lambda: client.live()[0]["error"], OPENING + SLACK, "a word about it")
    client.close()
