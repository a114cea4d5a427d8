"""The instrument: camera, pipeline and record together, without pages. One object a service.

From the shutter to the verdict: a burst of stills is taken and kept as JPEG; each is decoded again and screened,
so that what is kept is what was screened; the best is drawn and stored, and only then is anything said.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import msgspec
import numpy as np

from device import __version__, health, memory, overlay, rollback, selftest
from device.burst import best
from device.camera import Camera, Controls
from device.closing import Closing
from device.coaching import Coach
from device.codes import read_code
from device.errors import BusyError, StoreError
from device.field import find_field
from device.frame import Frame
from device.geometry import UInt8Image
from device.imaging import ENOUGH, decode, encode_jpeg, is_reduced
from device.laterality import seen
from device.live import Live, LivePreview
from device.outbox import UNREAD
from device.pipeline import GLAUCOMA, Examination, Pipeline, Stopwatch, internal_error
from device.record import Capture, Eye, NotImaged, Settings, Shot, Visit, now
from device.results import row_of
from device.selftest import Check
from device.store import Room, Store
from device.store.rows import conflict
from device.verdict import Outcome

STILL_PATIENCE = 10.0  # seconds for one photograph
KEPT_QUALITY = 95  # of the JPEG that is kept, and screened
OVERLAY_QUALITY = 88
NO_PIXELS: UInt8Image = np.empty((0, 0, 3), np.uint8)
MOST_REJECTED = 3  # captures in a row, after which the operator is offered to give up on an eye
SLOWEST_CAPTURE = 120.0  # seconds after which a capture under way counts as hanging (for the watchdog)
SLOWEST_PREVIEW = 30.0  # the same of the preview: a camera may take its time to start

log = logging.getLogger(__name__)


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the instrument is. ``problems`` are sentences for the operator, each with a way out."""

    device: str
    software: str
    camera: str  # its name
    camera_error: str  # empty while it works, and while nobody has looked through it yet
    bundles: dict[str, str]
    operating_points: tuple[str, ...]  # that the settings can name
    room: Room
    health: health.Health
    waiting: dict[str, int]  # examinations that were not sent yet, by the reason ("": not tried yet)
    problems: tuple[str, ...]


class Photograph(NamedTuple):
    """One still of a burst, as it is kept, and what was said of it."""

    jpeg: bytes
    frame: Frame  # decoded from it, as large as screening needs
    exam: Examination  # in pixels of the frame
    timings_ms: dict[str, float]

    @property
    def shot(self) -> Shot:
        """The same in numbers."""
        e = self.exam
        return Shot(
            outcome=e.outcome,
            grade=e.quality.grade,
            score=e.quality.score,
            vcdr=e.vcdr,
            glaucoma_probability=e.glaucoma_probability,
            reasons=e.reasons,
        )


class Instrument(Closing):
    """Camera, pipeline and record. It closes the camera, not the store.

    ``bundles`` and ``keys`` are folders (default: the shipped ones); ``board`` tells how the board is. Safe to
    call from several threads; one capture runs at a time. Raises BundleError and RuntimeUnavailableError where
    the networks cannot be loaded.
    """

    def __init__(
        self,
        store: Store,
        camera: Camera,
        *,
        bundles: Path | None = None,
        keys: Path | None = None,
        threads: int = 1,
        board: Callable[[], health.Health] = health.read,
    ) -> None:
        self.store, self._board = store, board
        self._bundles, self._keys = bundles, keys
        self._pipeline = Pipeline.load(bundles, keys, GLAUCOMA, threads)
        self._rolled_back = self._steps_back()
        self._capturing = threading.Lock()
        self._ending = threading.Lock()  # a visit is finished, or a capture of it begins: one after the other
        self._visit = ""  # that a capture under way belongs to
        # One thread for good: OpenCV keeps 0.9 kB for each thread that used it, also when that has ended.
        self._screening = ThreadPoolExecutor(1, "screening")
        self._since: float | None = None  # when the capture under way began
        self._preview = LivePreview(camera, Coach().see, self._controls)

    def live(self, after: int = 0, wait: float = 1.0) -> Live:
        """The newest preview; waits up to ``wait`` seconds for one whose sequence is above ``after``."""
        return self._preview.latest(after, wait)

    def press_shutter(self) -> None:
        """The instrument's own button was pressed: the page that is open answers it, for it knows the eye."""
        self._preview.press()

    def capture(self, visit: str, eye: Eye, uid: str = "") -> Capture:
        """Photograph an eye, screen it, and keep it: on the disk when this returns. With a ``uid`` that is in the
        record already, its capture is returned and nobody photographed: an answer that got lost may be asked for
        again.

        Raises BusyError while another capture runs, CameraError, StoreFullError, NoSuchVisitError,
        VisitClosedError where the visit was finished, and StoreError where the ``uid`` is that of a photograph of
        the other eye. Then nothing was kept.
        """
        if not self._capturing.acquire(blocking=False):
            raise BusyError("a photograph is being taken already; wait until its result is shown")
        self._since = time.monotonic()
        try:
            if known := next((c for c in self.store.visit(visit).captures if c.uid == uid), None):
                if known.laterality != eye:
                    raise conflict("capture", uid)
                return known
            with self._ending:
                self._visit = visit
                self.store.admit(visit)  # before the patient is asked to hold still for nothing
            settings = self.store.settings
            pipeline = self._pipeline.at(settings.operating_point or None)
            with ExitStack() as room:
                burst = self._burst(pipeline, eye, settings, room)
                capture, pictures = _record(uid or str(uuid.uuid4()), visit, eye, burst, pipeline.bundles)
                self.store.add_capture(capture, pictures)
            memory.give_back()
            return capture
        finally:
            self._since, self._visit = None, ""
            self._capturing.release()

    def not_imaged(self, visit: str, eye: Eye, reason: str) -> Visit:
        """Keep that an eye could not be photographed, and why; returns the visit."""
        self.store.add_not_imaged(NotImaged(visit=visit, laterality=eye, reason=reason, time=now()))
        return self.store.visit(visit)

    def finish(self, visit: str) -> Visit:
        """Close a visit. Raises BusyError while a photograph of it is taken, which would not be kept, and the
        page that asked for it may be gone."""
        with self._ending:
            if visit == self._visit:
                raise BusyError(
                    "a photograph of this visit is still being taken; wait some seconds, then finish again"
                )
            return self.store.finish(visit)

    def rejected_in_a_row(self, visit: str, eye: Eye) -> int:
        """How many of the last captures of an eye, one after the other, were ungradable."""
        count = 0
        for capture in reversed(self.store.visit(visit).of(eye)):
            if capture.result.outcome is not Outcome.UNGRADABLE:
                break
            count += 1
        return count

    def scan(self) -> str | None:
        """The text of a QR code or barcode in the live picture, None where there is none."""
        pixels = self.live(wait=0.0).pixels
        return None if pixels is None else read_code(pixels)

    def status(self) -> Status:
        """How camera, storage, clock and board are, now."""
        settings, live, room, board = (
            self.store.settings,
            self._preview.newest,
            self.store.room(),
            self._health(),
        )
        waiting = self.store.waiting() if settings.pacs.kind else {}
        problems = [*([live.error] if live.error else []), *rollback.problems(self._rolled_back)]
        problems += health.problems(board)
        if not room.enough:
            problems.append(
                f"only {room.free_mb} MB are free on the disk of the record, so no photograph can be kept: export "
                "examinations and let old ones be removed, or put in a larger card"
            )
        problems += [
            f"{count} of the finished examinations could not be sent to the archive yet: {error}"
            for error, count in waiting.items()
            if error and not error.startswith(UNREAD)
        ]
        return Status(
            device=settings.device,
            software=__version__,
            camera=live.camera,
            camera_error=live.error,
            bundles=self._pipeline.bundles,
            operating_points=tuple(
                p.name
                for p in self._pipeline.models["glaucoma"].manifest.operating_points
                if p.quantity == "glaucoma_probability"
            ),
            room=room,
            health=board,
            waiting=waiting,
            problems=tuple(problems),
        )

    def selftest(self) -> list[Check]:
        """Every check of ``tenohira selftest``, with the camera that is open. Takes a few seconds."""
        with self._preview.exclusive() as camera:
            free = self.store.settings.keep_free_mb
            return selftest.run(
                self._bundles, self._keys, self.store.folder, camera, keep_free_mb=free, board=self._health()
            )

    def _health(self) -> health.Health:
        """As the last look had it, but for what the record says of the clock now: it may have been confirmed."""
        return msgspec.structs.replace(self._board(), clock_doubted=self.store.clock_doubted)

    def alive(self) -> bool:
        """Whether neither the preview nor a capture hangs: what the watchdog asks."""
        since = self._since
        return self._preview.beats(SLOWEST_PREVIEW) and (
            since is None or time.monotonic() - since < SLOWEST_CAPTURE
        )

    def check(self, settings: Settings) -> None:
        """Raises UsageError where the networks have no such operating point as these settings name."""
        self._pipeline.at(settings.operating_point or None)

    def close(self) -> None:
        """Let go of the camera."""
        self._preview.close()
        self._screening.shutdown()

    def _steps_back(self) -> rollback.Steps:
        """The networks that are older than those of the newest capture; the log is told as well."""
        newest = self.store.newest_capture()
        steps = rollback.steps_back(newest.result.bundles if newest else {}, self._pipeline.bundles)
        if steps:
            log.warning("older networks than before: %s", steps)
            try:
                self.store.log("instrument", "older networks", "bundles", {"before and now": steps})
            except StoreError as error:  # a full disk must not keep the instrument from starting, and saying so
                log.warning("the log was not told: %s", error)
        return steps

    def _controls(self) -> Controls:
        settings = self.store.settings
        return Controls(settings.exposure_us, settings.gain, settings.focus)

    def _burst(self, pipeline: Pipeline, eye: Eye, settings: Settings, room: ExitStack) -> Burst:
        """So many stills, each screened while the next is taken, or before, where memory is short. They wait as
        JPEG: several as arrays would not fit into a small board's memory. ``room`` holds what all of it takes."""
        start = time.perf_counter()
        burst = Burst(pipeline, eye)
        waiting: list[Future[None]] = []
        try:
            with self._preview.exclusive() as camera:
                size, spare = camera.still_size(STILL_PATIENCE), memory.spare()
                for_all = memory.of_burst(size, is_reduced(max(size), ENOUGH))
                together = settings.burst > 1 and (spare is None or spare >= for_all)
                need = for_all if together else memory.of_capture(size)
                room.enter_context(memory.granted(need, "a photograph"))
                burst.taken = now()
                for _ in range(max(1, settings.burst)):
                    still = _still(camera, settings.keep_raw)
                    waiting.append(self._screening.submit(burst.add, *still))
                    if not together:
                        wait(waiting)
                burst.took_ms = (time.perf_counter() - start) * 1e3
        finally:
            wait(waiting)  # also where the camera failed meanwhile: the next capture begins afresh
        for each in waiting:
            each.result()
        return burst


class Burst:
    """The photographs of one press of the shutter, as they are screened; of the decoded ones the best is held."""

    def __init__(self, pipeline: Pipeline, eye: Eye) -> None:
        self._pipeline, self._eye = pipeline, eye
        self.shots: list[Shot] = []
        self.taken = ""  # when the first still was asked for
        self.took_ms = 0.0  # from the first still to the last
        self.kept: Photograph

    def add(self, frame: Frame, jpeg: bytes) -> None:
        """Screen one more; ``frame`` says what is known about it, and has no pixels."""
        photograph = _screened(self._pipeline, frame, jpeg, self._eye)
        self.shots.append(photograph.shot)
        if best(self.shots) == len(self.shots) - 1:
            self.kept = photograph


def _still(camera: Camera, raw: bool) -> tuple[Frame, bytes]:
    """A still as JPEG, and what the camera says of it; the sensor's own data go along where they are wanted."""
    frame = camera.still(STILL_PATIENCE, raw)
    return replace(frame, pixels=NO_PIXELS), encode_jpeg(frame.pixels, KEPT_QUALITY)


def digest(picture: bytes) -> str:
    """The name of a picture in the record."""
    return hashlib.sha256(picture).hexdigest()


def encode_png(mask: UInt8Image) -> bytes:
    """A mask of 0 and 255 as PNG of one bit a pixel: it takes a sixth of the time of eight, and says the same."""
    return bytes(cv2.imencode(".png", mask, [cv2.IMWRITE_PNG_BILEVEL, 1])[1].tobytes())


def _screened(pipeline: Pipeline, frame: Frame, jpeg: bytes, eye: Eye) -> Photograph:
    """Screen what is kept. A fault of ours makes the photograph ungradable and costs nothing else."""
    clock, total = Stopwatch(), Stopwatch()
    with total.stage("total"):
        with clock.stage("decode"):
            decoded = decode(jpeg, "the photograph", ENOUGH)
            frame = replace(frame, pixels=decoded.pixels, whole=decoded.whole, laterality=eye)
        try:
            exam = pipeline.screen(frame, clock=clock)
        except Exception as error:
            log.exception("a photograph was not screened")
            exam = internal_error(error, eye)
    return Photograph(jpeg, frame, exam, {**clock.ms, **total.ms})


def _record(uid: str, visit: str, eye: Eye, burst: Burst, bundles: dict[str, str]) -> tuple[Capture, list[bytes]]:
    """The record of a capture and its pictures, as bytes: photograph, overlay, masks."""
    kept, frame, exam = burst.kept, burst.kept.frame, burst.kept.exam
    start = time.perf_counter()
    drawn = encode_jpeg(overlay.draw(frame.pixels, exam), OVERLAY_QUALITY, keep=False)
    whole = exam.in_whole(frame)
    masks = {name: encode_png(region.in_image(frame.shape)) for name, region in whole.masks.items()}
    timings = {"photograph": burst.took_ms, **kept.timings_ms, "draw": (time.perf_counter() - start) * 1e3}
    image, raw = digest(kept.jpeg), [frame.raw] if frame.raw else []
    capture = Capture(
        uid=uid,
        visit=visit,
        laterality=eye,
        taken=burst.taken,
        image=image,
        overlay=digest(drawn),
        masks={name: digest(png) for name, png in masks.items()},
        raw=digest(frame.raw) if frame.raw else "",
        result=row_of(Path(f"{image}.jpg"), whole, masks={}, overlay=None, timings_ms=timings, bundles=bundles),
        shots=tuple(burst.shots),
        kept=best(burst.shots),
        seen_laterality=seen(frame.pixels, find_field(frame.pixels), exam.disc),
        camera=frame.camera,
        exposure_us=frame.exposure_us,
        gain=frame.gain,
        focus=frame.focus,
    )
    return capture, [kept.jpeg, drawn, *masks.values(), *raw]
