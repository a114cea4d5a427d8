"""From the shutter to the record: what is kept is what was screened, and nothing is said before it is kept."""

import threading
from collections import deque
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image

from device import instrument as module
from device import memory
from device.camera import Controls
from device.camera.simulated import Eye, Optics, SimulatedCamera
from device.errors import (
    BusyError,
    CameraError,
    MemoryLowError,
    NoSuchVisitError,
    StoreError,
    StoreFullError,
    UsageError,
    VisitClosedError,
)
from device.eyes import eye_result
from device.imaging import read_image
from device.instrument import Instrument
from device.pipeline import GLAUCOMA, Pipeline
from device.record import now
from device.report.evidence import evidence_of
from device.store import Store
from device.verdict import Outcome

DARK = Optics(exposure=0.05)  # nobody would read it


class Patient(SimulatedCamera):
    """A simulated eye; ``stills`` holds optics for the next stills, or errors that they end with."""

    def __init__(self):
        super().__init__(Eye("OD", vcdr=0.5, seed=3), size=768)
        self.stills, self.taken, self.controls = deque(), 0, Controls()

    def set(self, controls):
        self.controls = controls

    def still(self, deadline=10.0, raw=False):
        self.taken += 1
        self.asked_for_raw = raw
        following = self.stills.popleft() if self.stills else Optics()
        if isinstance(following, Exception):
            raise following
        self.optics = following
        return replace(super().still(deadline), raw=b"II*\0sensor %d" % self.taken if raw else None)


@pytest.fixture
def camera():
    return Patient()


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record") as opened:
        yield opened


@pytest.fixture
def instrument(store, camera):
    with Instrument(store, camera) as made:
        yield made


def test_a_capture_is_kept_with_all_that_belongs_to_it(instrument, store):
    visit = store.begin("P-1")
    capture = instrument.capture(visit.uid, "OD")
    assert capture.result.outcome in (Outcome.REFER, Outcome.NO_REFERRAL)
    assert store.visit(visit.uid).captures == (capture,)
    assert len(capture.shots) == store.settings.burst == 3
    assert capture.camera == "simulated" and capture.gain == 1.0 and capture.seen_laterality in ("OD", "unknown")
    assert set(capture.masks) == {"disc", "cup"}
    for picture in (capture.image, capture.overlay, *capture.masks.values()):
        assert store.picture(picture).is_file()
    assert {"photograph", "decode", "quality", "disc_cup", "draw", "total"} <= capture.result.timings_ms.keys()
    disc = read_image(store.picture(capture.masks["disc"])).pixels[..., 0]
    assert set(np.unique(disc)) == {0, 255}


def test_screening_the_kept_file_again_says_the_same(instrument, store):
    capture = instrument.capture(store.begin("P-1").uid, "OD")
    frame = replace(read_image(store.picture(capture.image)), laterality="OD")
    again = Pipeline.load(tasks=GLAUCOMA).screen(frame)
    said = capture.result
    assert said.vcdr == pytest.approx(again.vcdr, abs=1e-4)
    assert said.glaucoma_probability == pytest.approx(again.glaucoma_probability, abs=1e-4)
    assert said.reasons == again.reasons and said.quality["score"] == pytest.approx(again.quality.score, abs=1e-4)


def test_a_large_still_is_screened_reduced_and_recorded_whole(instrument, store, monkeypatch):
    monkeypatch.setattr(module, "ENOUGH", 384)  # half of what the camera takes
    visit = store.begin("P-1")
    capture = instrument.capture(visit.uid, "OD")
    photograph = read_image(store.picture(capture.image))
    assert photograph.pixels.shape == (768, 768, 3)
    for name, picture in capture.masks.items():
        mask = np.asarray(Image.open(store.picture(picture)).convert("L"))
        assert mask.shape == (768, 768), name
    meant = Pipeline.load(tasks=GLAUCOMA).screen(photograph)
    assert capture.result.disc["diameter"] == pytest.approx(meant.disc.diameter, rel=0.05)
    assert capture.result.vcdr == pytest.approx(meant.vcdr, abs=0.12)  # 384 pixels are few
    assert evidence_of(capture, store.picture).panels  # outlines fit the photograph


def test_of_a_burst_the_best_is_kept_and_all_count(instrument, store, camera):
    camera.stills.extend([DARK, Optics(), DARK])
    visit = store.begin("P-1")
    capture = instrument.capture(visit.uid, "OD")
    assert [s.grade for s in capture.shots] == ["reject", capture.shots[1].grade, "reject"]
    assert capture.kept == 1 and capture.result.outcome is not Outcome.UNGRADABLE
    result = eye_result(store.visit(visit.uid), "OD")
    assert (result.shots, result.graded) == (3, 1)


def test_rejected_captures_in_a_row_are_counted(instrument, store, camera):
    visit = store.begin("P-1").uid
    store.change_settings(msgspec.structs.replace(store.settings, burst=1), "test")
    for expected in (1, 2):
        camera.stills.append(DARK)
        capture = instrument.capture(visit, "OD")
        assert capture.result.outcome is Outcome.UNGRADABLE and capture.result.vcdr is None
        assert instrument.rejected_in_a_row(visit, "OD") == expected
    assert instrument.rejected_in_a_row(visit, "OS") == 0
    instrument.capture(visit, "OD")
    assert instrument.rejected_in_a_row(visit, "OD") == 0


def test_a_camera_that_fails_in_the_burst_keeps_nothing_and_the_next_capture_works(instrument, store, camera):
    visit = store.begin("P-1").uid
    camera.stills.extend([Optics(), CameraError("the camera was unplugged; plug it in and photograph again")])
    with pytest.raises(CameraError, match="plug it in"):
        instrument.capture(visit, "OD")
    assert store.visit(visit).captures == ()
    assert instrument.capture(visit, "OD").result.outcome is not Outcome.UNGRADABLE


def test_without_the_memory_for_a_burst_nobody_is_photographed(instrument, store, camera, monkeypatch):
    store.change_settings(msgspec.structs.replace(store.settings, burst=1), "test")
    visit = store.begin("P-1").uid
    free = [memory.of_capture(camera.still_size()) - 1]
    monkeypatch.setattr(memory, "free", lambda: free[0])
    with pytest.raises(MemoryLowError, match="a photograph takes"):
        instrument.capture(visit, "OD")
    assert camera.taken == 0 and store.visit(visit).captures == ()
    free[0] += 1
    assert instrument.capture(visit, "OD").result.outcome is not Outcome.UNGRADABLE


@pytest.mark.parametrize("reduced", [True, False])
@pytest.mark.parametrize("enough", [True, False])
def test_where_memory_is_short_a_still_is_screened_before_the_next(
    instrument, store, camera, monkeypatch, enough, reduced
):
    monkeypatch.setattr(module, "ENOUGH", 384 if reduced else 385)  # the camera takes 768
    free = memory.of_burst(camera.still_size(), reduced) - (0 if enough else 1)
    monkeypatch.setattr(memory, "free", lambda: free)
    steps, still, screened, release = [], camera.still, module._screened, threading.Event()

    def taking(*arguments):
        steps.append("take")
        if steps.count("take") == 3:
            release.set()
        return still(*arguments)

    def screening(*arguments):
        if enough:
            assert release.wait(20), "no still was taken meanwhile"
        steps.append("screen")
        return screened(*arguments)

    monkeypatch.setattr(camera, "still", taking)
    monkeypatch.setattr(module, "_screened", screening)
    instrument.capture(store.begin("P-1").uid, "OD")
    assert steps == (["take"] * 3 + ["screen"] * 3 if enough else ["take", "screen"] * 3)


def test_every_photograph_is_screened_by_the_same_thread(instrument, store, monkeypatch):
    """OpenCV keeps memory for each thread that used it, also when that has ended."""
    screened, work = set(), module._screened

    def noting(*arguments):
        screened.add(threading.current_thread())
        return work(*arguments)

    monkeypatch.setattr(module, "_screened", noting)
    visit = store.begin("P-1").uid
    for _ in range(2):
        instrument.capture(visit, "OD")
    (thread,) = screened
    assert thread.is_alive()


def test_nobody_is_photographed_for_nothing(instrument, store, camera):
    finished = store.begin("P-1").uid
    store.finish(finished)
    with pytest.raises(VisitClosedError):
        instrument.capture(finished, "OD")
    with pytest.raises(NoSuchVisitError):
        instrument.capture("00000000-0000-4000-8000-000000000000", "OD")
    visit = store.begin("P-2").uid
    store.change_settings(msgspec.structs.replace(store.settings, keep_free_mb=10**9), "test")
    with pytest.raises(StoreFullError):
        instrument.capture(visit, "OD")
    assert camera.taken == 0
    assert any("MB are free" in problem for problem in instrument.status().problems)


def test_an_answer_that_got_lost_is_given_again(instrument, store, camera):
    visit, uid = store.begin("P-1").uid, "2d0c9b9e-3c0f-4b86-9a39-5e8a1ef4e3b1"
    capture = instrument.capture(visit, "OD", uid)
    taken = camera.taken
    assert capture.uid == uid and instrument.capture(visit, "OD", uid) == capture
    assert camera.taken == taken and store.visit(visit).captures == (capture,)


def test_an_answer_is_never_given_for_the_other_eye(instrument, store, camera):
    visit, uid = store.begin("P-1").uid, "2d0c9b9e-3c0f-4b86-9a39-5e8a1ef4e3b1"
    instrument.capture(visit, "OD", uid)
    taken = camera.taken
    with pytest.raises(StoreError, match="recorded already"):
        instrument.capture(visit, "OS", uid)
    assert camera.taken == taken and [c.laterality for c in store.visit(visit).captures] == ["OD"]


def test_a_photograph_was_taken_when_the_shutter_was_pressed(instrument, store, camera, monkeypatch):
    screened, screen = [], Pipeline.screen

    def late(*arguments, **options):
        screened.append(now())
        return screen(*arguments, **options)

    monkeypatch.setattr(Pipeline, "screen", late)
    before = now()
    assert before <= instrument.capture(store.begin("P-1").uid, "OD").taken <= screened[0]


def test_one_capture_at_a_time(instrument, store, camera):
    visit = store.begin("P-1").uid
    inside, go_on = threading.Event(), threading.Event()

    def wait_for_it(deadline=10.0, raw=False):
        inside.set()
        assert go_on.wait(30)
        return SimulatedCamera.still(camera)

    camera.still = wait_for_it
    first = threading.Thread(target=instrument.capture, args=(visit, "OD"))
    first.start()
    assert inside.wait(30)
    with pytest.raises(BusyError):
        instrument.capture(visit, "OD")
    with pytest.raises(BusyError, match="finish again"):  # it would be lost, and nobody told
        instrument.finish(visit)
    assert instrument.finish(store.begin("P-2").uid).finished
    assert instrument.alive()
    go_on.set()
    first.join(30)
    assert len(store.visit(visit).captures) == 1
    assert instrument.finish(visit).finished and instrument.finish(visit).finished


def test_a_capture_that_hangs_is_not_alive(instrument, store, camera, monkeypatch):
    monkeypatch.setattr(module, "SLOWEST_CAPTURE", -1.0)
    assert instrument.alive()
    alive = []
    camera.still = lambda *_: alive.append(instrument.alive()) or SimulatedCamera.still(camera)
    instrument.capture(store.begin("P-1").uid, "OD")
    assert alive and not any(alive) and instrument.alive()


def test_a_fault_of_ours_is_ungradable_and_kept(instrument, store, monkeypatch):
    monkeypatch.setattr(Pipeline, "screen", lambda *_, **__: 1 / 0)
    visit = store.begin("P-1")
    capture = instrument.capture(visit.uid, "OD")
    assert capture.result.outcome is Outcome.UNGRADABLE and capture.result.vcdr is None
    assert capture.result.reasons == ("internal error (ZeroDivisionError): the image was not screened",)
    assert store.visit(visit.uid).captures == (capture,)


def test_the_camera_is_set_as_the_settings_say_from_the_next_picture_on(instrument, store, camera):
    visit = store.begin("P-1").uid
    instrument.capture(visit, "OD")
    assert camera.controls == Controls()
    settings = msgspec.structs.replace(store.settings, exposure_us=12_000.0, gain=2.0, focus=1.5)
    store.change_settings(settings, "test")
    instrument.capture(visit, "OD")
    assert camera.controls == Controls(exposure_us=12_000.0, gain=2.0, focus=1.5)


def test_the_sensors_own_data_are_kept_on_demand_of_the_photograph_that_is_kept(instrument, store, camera):
    visit = store.begin("P-1").uid
    assert instrument.capture(visit, "OD").raw == "" and not camera.asked_for_raw
    store.change_settings(msgspec.structs.replace(store.settings, keep_raw=True), "test")
    camera.stills.extend([DARK, Optics(), DARK])
    capture = instrument.capture(visit, "OD")
    assert capture.kept == 1 and store.picture(capture.raw).read_bytes() == b"II*\0sensor 5"


def test_the_operating_point_of_the_settings_decides(instrument, store):
    settings = store.settings
    names = [p.name for p in Pipeline.load().models["glaucoma"].manifest.operating_points]
    for name in names:
        store.change_settings(msgspec.structs.replace(settings, operating_point=name), "test")
        capture = instrument.capture(store.begin("P-1").uid, "OD")
        assert capture.result.operating_points["glaucoma_probability"]["name"] == name
    with pytest.raises(UsageError, match="no operating point"):
        instrument.check(msgspec.structs.replace(settings, operating_point="no such"))


def test_an_eye_that_cannot_be_imaged(instrument, store):
    visit = instrument.not_imaged(store.begin("P-1").uid, "OS", "the cornea is clouded")
    assert eye_result(visit, "OS").outcome is Outcome.UNGRADABLE
    assert eye_result(visit, "OS").reasons == ("this eye could not be imaged: the cornea is clouded",)


def test_the_status_tells_what_runs_and_what_is_wrong(instrument, camera):
    assert instrument.live(wait=30).jpeg
    status = instrument.status()
    assert status.camera == "simulated" and set(status.bundles) == set(GLAUCOMA) and not status.camera_error
    msgspec.json.encode(status)
    camera.close()
    sequence = instrument.live().sequence
    while not (live := instrument.live(after=sequence, wait=30)).error:
        sequence = live.sequence
    assert live.error in instrument.status().problems
