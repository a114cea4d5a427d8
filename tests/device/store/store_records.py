"""Records for tests of the store: small pictures that are real JPEG and PNG files, and captures that name them."""

import errno
import io
import uuid
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from device.record import Capture, NotImaged, Reading, Shot, Withdrawal
from device.results import Row
from device.verdict import Outcome

TIME = "2026-11-24T08:15:00.123+00:00"


def picture(seed: int, kind: str = "JPEG") -> bytes:
    """A small picture; another one for each seed."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def name(data: bytes) -> str:
    return sha256(data).hexdigest()


def capture(visit: str, seed: int = 0, eye: str = "OD", uid: str = "") -> tuple[Capture, list[bytes]]:
    """A capture and its pictures; the same ones for a seed."""
    image, overlay, disc = picture(3 * seed), picture(3 * seed + 1), picture(3 * seed + 2, "PNG")
    shot = Shot(outcome=Outcome.REFER, grade="good", score=0.9, vcdr=0.71, glaucoma_probability=0.62)
    row = Row(
        image=name(image), outcome=Outcome.REFER, reasons=("glaucoma probability 0.62 reaches",),
        quality={"grade": "good", "score": 0.9, "cause": ""}, vcdr=0.71, glaucoma_probability=0.62,
        disc={"cx": 812.5, "cy": 640.25, "diameter": 311.0},
    )  # fmt: skip
    shown = Capture(
        uid=uid or str(uuid.UUID(int=seed + 1)), visit=visit, laterality=eye, taken=TIME, image=name(image),
        overlay=name(overlay), masks={"disc": name(disc)}, result=row, shots=(shot,), camera="simulated",
    )  # fmt: skip
    return shown, [image, overlay, disc]


def not_imaged(visit: str, eye: str = "OS", reason: str = "dense cataract") -> NotImaged:
    return NotImaged(visit=visit, laterality=eye, reason=reason, time=TIME)


def reading(visit: str, uid: str = "r1", eye: str = "OD", **other) -> Reading:
    known = {"reader": "reader 2", "grade": Outcome.NO_REFERRAL, "vcdr": 0.5, "masked": True, "time": TIME}
    return Reading(uid=uid, visit=visit, laterality=eye, **(known | other))


def withdrawal(capture: Capture, reason: str = "it shows the other eye") -> Withdrawal:
    return Withdrawal(visit=capture.visit, capture=capture.uid, reason=reason, time=TIME)


def close_folder(monkeypatch, folder: Path, error: OSError | None = None) -> None:
    """To ask about a file in the folder fails from now on, as for another user (tests may run as root)."""
    stat = Path.stat

    def closed(path, **more):
        if path.is_relative_to(folder) and path != folder:
            raise error or PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", closed)
