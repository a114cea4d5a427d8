"""Visits with their pictures in a folder, as the store keeps them; of painted eyes, or of any other photograph."""

from __future__ import annotations

import hashlib
import io
import random
import uuid
from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np
from PIL import Image

from device.frame import Frame
from device.pipeline import Examination, Pipeline
from device.record import Capture, Eye, NotImaged, Reading, Shot, Visit
from device.results import row_of
from tests.device.eye import build, paint

BUNDLES = {"disc_finder": "disc_finder-0.1.0", "disc_cup": "disc_cup-0.1.0", "glaucoma": "glaucoma-0.1.0"}


class Pictures:
    """The content-addressed folder of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, data: bytes, suffix: str) -> str:
        name = hashlib.sha256(data).hexdigest()
        (self.folder / f"{name}{suffix}").write_bytes(data)
        return name

    def __call__(self, name: str) -> Path:
        return next(self.folder.glob(f"{name}.*"), self.folder / name)


class Clinic:
    """Makes visits that are the same for the same seed."""

    def __init__(self, folder: Path, seed: int = 0, machine: Pipeline | None = None) -> None:
        self.pictures, self.random = Pictures(folder), random.Random(seed)
        self.machine = machine or build(logit=1.0)
        self.number = 0

    def uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def painted(self) -> np.ndarray:
        """An eye that differs from the others; a quiet grain keeps it from compressing to nothing."""
        size = self.random.randint(40, 70)
        eye = paint(centre=(self.random.randint(150, 250), 190), disc=(size, size), cup=(size // 2, size // 2))
        grain = np.random.default_rng(self.random.getrandbits(32)).integers(0, 3, eye.shape, np.uint8)
        return np.where(eye > 0, eye + grain, eye).astype(np.uint8)

    def capture(
        self, visit: str, eye: Eye, pixels: np.ndarray | None = None, jpeg: bytes | None = None, shots: int = 1
    ) -> Capture:
        """A capture of painted or given pixels, screened by the pipeline."""
        if jpeg is None:
            file = io.BytesIO()
            Image.fromarray(self.painted() if pixels is None else pixels).save(file, "JPEG", quality=92)
            jpeg = file.getvalue()
        pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        exam = self.machine.screen(Frame(np.ascontiguousarray(pixels), eye))
        row = row_of(Path("a.jpg"), exam, masks={}, overlay=None, timings_ms={}, bundles=BUNDLES)
        shot = Shot(
            outcome=row.outcome, grade=exam.quality.grade, score=exam.quality.score, vcdr=row.vcdr,
            glaucoma_probability=row.glaucoma_probability, reasons=row.reasons,
        )  # fmt: skip
        others = [self._another(shot, k) for k in range(1, shots)]
        image = self.pictures.add(jpeg, ".jpg")
        return Capture(
            uid=self.uid(), visit=visit, laterality=eye, taken="2026-11-24T08:15:00.123+00:00", image=image,
            overlay=image, masks=self._masks(exam, pixels.shape[:2]), result=row, shots=(shot, *others),
            camera="simulated:1", exposure_us=8000.0, gain=2.0,
        )  # fmt: skip

    def _another(self, shot: Shot, k: int) -> Shot:
        """The same photograph again, as a hand-held camera gives it: with slightly other numbers."""
        if shot.vcdr is None or shot.glaucoma_probability is None:
            return shot
        return msgspec.structs.replace(
            shot, vcdr=shot.vcdr + 0.01 * k, glaucoma_probability=min(1.0, shot.glaucoma_probability + 0.02 * k)
        )

    def _masks(self, exam: Examination, shape: tuple[int, int]) -> dict[str, str]:
        return {
            name: self.pictures.add(cv2.imencode(".png", region.in_image(shape))[1].tobytes(), ".png")
            for name, region in exam.masks.items()
        }

    def visit(
        self, eyes: Sequence[Eye] = ("OD", "OS"), *, lost: Sequence[Eye] = (), shots: int = 1,
        masked: bool = False, read: Sequence[Eye] = (), pixels: np.ndarray | None = None,
        jpeg: bytes | None = None,
    ) -> Visit:  # fmt: skip
        """A finished visit: a capture of each of ``eyes``; ``lost`` could not be imaged; ``read`` by a reader."""
        self.number += 1
        uid, at = self.uid(), "2026-11-24T08:14:00.000+00:00"
        return Visit(
            uid=uid, number=self.number, participant=f"KAN-{self.number:04}", operator="N07", site="KAN",
            started=at, finished="2026-11-24T08:17:00.000+00:00", device="tenohira 00000001", software="0.1.0",
            masked=masked, captures=tuple(self.capture(uid, eye, pixels, jpeg, shots) for eye in eyes),
            not_imaged=tuple(NotImaged(visit=uid, laterality=e, reason="cataract", time=at) for e in lost),
            readings=tuple(
                Reading(uid=self.uid(), visit=uid, laterality=e, reader="R1", grade="refer", masked=True, time=at)
                for e in read
            ),
        )  # fmt: skip
