"""An instrument for the pages' tests: the real record, and a camera whose answers are scripted.

The eyes are drawn by the simulated camera; the outlines are where they were drawn.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import threading
import time
import uuid
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import cv2
import msgspec
import numpy as np
from PIL import Image

from device.camera import simulated
from device.errors import CameraError
from device.eyes import eye_result
from device.quality import TIPS
from device.record import Capture, NotImaged, Settings, Shot, Visit, now
from device.results import Row
from device.store import Store
from device.verdict import Outcome

SIZE = 512
THRESHOLD = 0.47
POINT = {
    "name": "balanced",
    "threshold": THRESHOLD,
    "sensitivity": 0.9,
    "specificity": 0.88,
    "measured_on": "simulated",
}
BUNDLES = {t: f"{t}-0.1.0" for t in ("disc_finder", "disc_cup", "glaucoma")}


@dataclass(frozen=True)
class Take:
    """What the next press of the shutter gives. Without ``cause`` the photograph is good."""

    vcdr: float = 0.35
    chance: float = 0.21
    spread: float = 0.03
    cause: str = ""  # of a rejected photograph
    usable: str = ""  # cause of one that is graded all the same
    reasons: tuple[str, ...] = ()  # of one that is ungradable though its quality is good
    other_eye: bool = False  # the disc lies where the other eye has it


@dataclass(frozen=True)
class Coaching:
    focus: float = 0.4
    centre: tuple[float, float] | None = (0.44, 0.52)
    radius: float | None = 0.41
    tip: str = TIPS["off-centre"]
    ready: bool = False


@dataclass(frozen=True)
class Live:
    sequence: int = 0
    jpeg: bytes | None = None
    coaching: Coaching | None = None
    error: str = ""
    camera: str = "simulated"
    presses: int = 0


class Status(msgspec.Struct, frozen=True):
    camera: str = "simulated"
    camera_error: str = ""
    operating_points: tuple[str, ...] = ("balanced", "specificity_95")
    bundles: dict[str, str] = msgspec.field(default_factory=lambda: dict(BUNDLES))
    problems: tuple[str, ...] = ()


@dataclass
class FakeInstrument:
    """``takes`` are used up one by one; then good photographs follow."""

    store: Store
    takes: list[Take] = field(default_factory=list)
    coaching: Coaching = field(default_factory=Coaching)
    code: str | None = None
    error: str = ""  # of the camera
    problems: tuple[str, ...] = ()
    presses: int = 0
    slow: float = 0.0  # seconds that a capture takes
    fault: Exception | None = None  # raised by the next capture, or finish
    viewers: int = 0  # that wait for a picture now
    most_viewers: int = 0
    looks: int = 0  # so far
    _sequence: Any = field(default_factory=lambda: itertools.count(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def live(self, after: int = 0, wait: float = 1.0) -> Live:
        with self._lock:
            self.viewers += 1
            self.looks += 1
            self.most_viewers = max(self.viewers, self.most_viewers)
        time.sleep(min(wait, 0.05))
        with self._lock:
            self.viewers -= 1
            sequence = next(self._sequence)
        if self.error:
            return Live(sequence, error=self.error, presses=self.presses)
        return Live(sequence, preview(self.coaching.ready), self.coaching, presses=self.presses)

    def capture(self, visit: str, eye: str, uid: str = "") -> Capture:
        if known := next((c for c in self.store.visit(visit).captures if c.uid == uid), None):
            return known
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        if self.error:
            raise CameraError(self.error)
        time.sleep(self.slow)
        capture, pictures = photographed(visit, eye, self.takes.pop(0) if self.takes else Take(), uid)
        self.store.add_capture(capture, pictures)
        return capture

    def not_imaged(self, visit: str, eye: str, reason: str) -> Visit:
        self.store.add_not_imaged(NotImaged(visit=visit, laterality=eye, reason=reason, time=now()))
        return self.store.visit(visit)

    def finish(self, visit: str) -> Visit:
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return self.store.finish(visit)

    def rejected_in_a_row(self, visit: str, eye: str) -> int:
        outcomes = [c.result.outcome is Outcome.UNGRADABLE for c in self.store.visit(visit).of(eye)]
        return len(list(itertools.takewhile(bool, reversed(outcomes))))

    def scan(self) -> str | None:
        return self.code

    def status(self) -> Status:
        return Status(camera_error=self.error, problems=self.problems)

    def check(self, settings: Settings) -> None:
        from device.errors import UsageError

        if settings.operating_point not in ("", "balanced"):
            raise UsageError(
                f"bundle glaucoma has no operating point {settings.operating_point!r}; choose one of: balanced"
            )


@cache
def drawn(laterality: str, vcdr: float) -> tuple[simulated.Eye, Any]:
    eye = simulated.Eye(laterality=laterality, vcdr=vcdr, seed=3, pigment=0.4)
    return eye, simulated.Scene(simulated.draw(eye))


@cache
def picture_of(laterality: str, vcdr: float, blurred: bool, size: int = SIZE) -> np.ndarray:
    optics = simulated.Optics(defocus=0.02 if blurred else 0.0012)
    return simulated.photograph(drawn(laterality, vcdr)[1], optics, np.random.default_rng(1), size)


@cache
def preview(ready: bool) -> bytes:
    """The eye, a little aside and blurred while it is not ready."""
    picture = picture_of("OD", 0.35, not ready, 320)
    if not ready:
        picture = np.pad(picture, ((6, 0), (0, 19), (0, 0)))[: picture.shape[0], 19:]
    return encoded(picture, "JPEG")


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, quality=88)
    return out.getvalue()


def ellipse(eye: simulated.Eye, vertical: float, horizontal: float, shift: float = 0.0) -> bytes:
    """The mask of a structure of the drawn eye."""
    nasal = 1 if eye.laterality == "OD" else -1
    centre = (0.5 + nasal * (0.2 - shift * eye.disc_height)) * SIZE, 0.5 * SIZE
    box = (centre, (horizontal * eye.disc_height * SIZE, vertical * eye.disc_height * SIZE), 0)
    return encoded(cv2.ellipse(np.zeros((SIZE, SIZE), np.uint8), box, 255, -1), "PNG")


def photographed(visit: str, eye: str, take: Take, uid: str = "") -> tuple[Capture, list[bytes]]:
    """A capture as the instrument makes it, and its pictures."""
    shown = {"OD": "OS", "OS": "OD"}[eye] if take.other_eye else eye
    anatomy, _ = drawn(shown, take.vcdr)
    jpeg = encoded(picture_of(shown, take.vcdr, take.cause == "defocus"), "JPEG")
    overlay = encoded(picture_of(shown, take.vcdr, False, 240), "JPEG")
    good = not take.cause and not take.reasons
    masks = {"disc": ellipse(anatomy, 1, 0.9), "cup": ellipse(anatomy, take.vcdr, 0.88 * take.vcdr, 0.04)}
    masks = {} if take.cause else masks
    names = {name: hashlib.sha256(png).hexdigest() for name, png in masks.items()}
    shots = tuple(_shot(take, good, offset) for offset in (-take.spread, 0.0, take.spread))
    kept = shots[1]
    image = hashlib.sha256(jpeg).hexdigest()
    tip = TIPS.get(take.cause or take.usable, "")
    quality = {"grade": kept.grade, "score": kept.score, "cause": take.cause or take.usable, "tip": tip}
    row = Row(
        image=f"{image}.jpg", laterality=eye, outcome=kept.outcome, reasons=kept.reasons, tip=tip, quality=quality,
        vcdr=kept.vcdr, glaucoma_probability=kept.glaucoma_probability,
        operating_points={"glaucoma_probability": POINT} if good else {}, bundles=BUNDLES,
    )  # fmt: skip
    capture = Capture(
        uid=uid or str(uuid.uuid4()), visit=visit, laterality=eye, taken=now(), image=image,
        overlay=hashlib.sha256(overlay).hexdigest(), masks=names, result=row, shots=shots, kept=1,
        seen_laterality="unknown" if take.cause else shown, camera="simulated",
    )  # fmt: skip
    return capture, [jpeg, overlay, *masks.values()]


def _shot(take: Take, good: bool, offset: float) -> Shot:
    if not good:
        reasons = (f"quality rejected: {take.cause}",) if take.cause else take.reasons
        grade, score = ("reject", 0.2) if take.cause else ("good", 0.8)
        return Shot(outcome=Outcome.UNGRADABLE, grade=grade, score=score, reasons=reasons)
    chance = round(min(max(take.chance + offset, 0), 1), 4)
    refer = chance >= THRESHOLD
    words = "reaches" if refer else "is below"
    reason = f"glaucoma probability {chance:.2f} {words} the referral threshold {THRESHOLD:.2f} (balanced)"
    return Shot(
        outcome=Outcome.REFER if refer else Outcome.NO_REFERRAL,
        grade="usable" if take.usable else "good",
        score=0.5 if take.usable else 0.9,
        vcdr=round(take.vcdr + offset / 4, 4),
        glaucoma_probability=chance,
        reasons=(reason,),
    )


def answer_of(store: Store, visit: str, eye: str) -> Outcome | None:
    return eye_result(store.visit(visit), eye).outcome
