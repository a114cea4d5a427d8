"""Whether this instrument can be trusted today: camera, models, storage, clock, power, temperature, memory.

What is wrong is said in words with the way out; no check stops the others.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from device import bundle, health
from device.camera import Camera
from device.errors import TenohiraError
from device.health import Health
from device.pipeline import GLAUCOMA
from device.record import Settings
from device.runtime import open_bundle

MOST_DIFFERENCE = 4  # int8 steps between optimized and reference kernels, as measured across machines
FIRST_PICTURE_S = 15.0  # a camera may take its time to start
LEAST_CONTRAST = 8  # grey values between the darkest and the brightest pixel of a picture that shows something
PROBE_BYTES = 65536
COPY_AGAIN = "Do not use it: copy the bundle again from its source, or install tenohira again."
INSTALL_AGAIN = "Install ai-edge-litert in the version that tenohira asks for, or install tenohira again."


class Check(msgspec.Struct, frozen=True):
    """One finding. ``ok`` is None where the check does not apply here; ``tip`` is the way out, or a remark on
    something that is good enough."""

    name: str
    ok: bool | None
    said: str
    tip: str = ""


def run(
    bundles: Path | None = None,
    keys: Path | None = None,
    store: Path | None = None,
    camera: str | Camera | None = None,
    *,
    light: str | None = None,
    keep_free_mb: int = Settings().keep_free_mb,
    board: Health | None = None,
) -> list[Check]:
    """Every check, in the order in which an operator reads them. Takes a few seconds.

    ``bundles`` and ``keys`` are folders (default: the shipped ones), ``store`` the folder of records, ``camera`` a
    spec ("picamera2", "simulated"), or a camera that is open already and stays open; ``light`` is the spec of one
    (``device.light``) that nobody uses at the moment. What is None is not there to be checked. ``board`` is a look
    that was taken already.
    """
    return [
        _made("camera", lambda: _camera(camera)),
        *([] if light is None else [_made("light", lambda: _light(light))]),
        *software(bundles, keys, store, keep_free_mb=keep_free_mb),
        *_board(board or health.read(last_written(store))),
    ]


def software(
    bundles: Path | None = None,
    keys: Path | None = None,
    store: Path | None = None,
    *,
    keep_free_mb: int = Settings().keep_free_mb,
) -> list[Check]:
    """The checks that an installation must pass whatever is connected and wherever it stands: models, storage."""
    folder = bundles or bundle.SHIPPED
    paths = sorted(folder.glob(f"*{bundle.SUFFIX}"))
    return [
        _made("models", lambda: _complete(folder, paths)),
        *(_made(f"model {path.name}", partial(_network, path, keys)) for path in paths),
        _made("storage", lambda: _storage(store, keep_free_mb)),
    ]


def passed(checks: list[Check]) -> bool:
    """Whether no check failed."""
    return all(check.ok is not False for check in checks)


def last_written(store: Path | None) -> str:
    """When a file of the record was last written, by the clock of then (ISO 8601); empty where there is none."""
    try:
        times = [p.stat().st_mtime for p in store.iterdir() if p.is_file()] if store else []
    except OSError:
        times = []
    return datetime.fromtimestamp(max(times), UTC).isoformat() if times else ""


def _made(name: str, check: Callable[[], Check]) -> Check:
    """The check, or what kept it from being made."""
    try:
        return check()
    except TenohiraError as error:
        return Check(name, False, str(error))
    except Exception as error:
        return Check(
            name,
            False,
            f"internal error ({type(error).__name__}): this check could not be made",
            "Please report it with the instrument's log.",
        )


def _camera(camera: str | Camera | None) -> Check:
    if camera is None:
        return Check("camera", None, "no camera was named for this check")
    if not isinstance(camera, str):
        return _seen(camera)
    from device.camera.supervised import SupervisedCamera

    with SupervisedCamera(camera) as opened:
        return _seen(opened)


def _seen(camera: Camera) -> Check:
    """What a preview picture shows. Raises CameraError."""
    pixels = camera.preview(FIRST_PICTURE_S).pixels
    height, width = pixels.shape[:2]
    if int(pixels.max()) - int(pixels.min()) < LEAST_CONTRAST:
        return Check(
            "camera",
            False,
            f"the camera {camera.name} gives pictures in which nothing can be seen",
            "Take off the lens cap, switch the light on, and check the cable of the camera.",
        )
    return Check("camera", True, f"the camera {camera.name} gives pictures of {width} x {height} pixels")


def _light(spec: str) -> Check:
    """Whether the pins can be had; nothing is switched on. Raises LightError."""
    from device.light import NoLight, open_light

    opened = open_light(spec)
    opened.close()
    if isinstance(opened, NoLight):
        return Check("light", None, "no lights and no button are configured")
    return Check("light", True, "the pins of lights and button can be used")


def _complete(folder: Path, paths: list[Path]) -> Check:
    """Whether there is a file for each network that a screening needs."""
    missing = [task for task in GLAUCOMA if not any(path.name.startswith(task) for path in paths)]
    if missing:
        return Check(
            "models",
            False,
            f"no model for {', '.join(missing)} in {folder}",
            "Copy the missing .tnh files into this folder, or install tenohira again.",
        )
    return Check("models", True, f"models installed: {len(paths)}")


def _network(path: Path, keys: Path | None) -> Check:
    """A bundle that is whole, signed, and answers as it did when it was made. Raises BundleError,
    RuntimeUnavailableError."""
    name = f"model {path.name}"
    loaded = bundle.load(path, keys)
    reference, optimized = open_bundle(loaded, reference=True), open_bundle(loaded)
    if not np.array_equal(reference.run(loaded.golden_input), loaded.golden_output):
        return Check(name, False, "it does not answer as it did when it was made", COPY_AGAIN)
    answer = optimized.run(loaded.golden_input).astype(int)
    difference = int(np.abs(answer - loaded.golden_output).max())
    if difference > MOST_DIFFERENCE:
        said = f"this machine's fast kernels answer {difference} steps off, more than {MOST_DIFFERENCE}"
        return Check(name, False, said, INSTALL_AGAIN)
    if not optimized.delegated():
        return Check(name, False, "the fast kernels (XNNPACK) are not used: answers come too late", INSTALL_AGAIN)
    return Check(
        name, True, f"signed by {loaded.signer}; answers to the bit, fast kernels at most {difference} off"
    )


def _storage(store: Path | None, keep_free_mb: int) -> Check:
    """Writes, syncs, reads and removes a file where the records are; looks at the free space first."""
    if store is None:
        return Check("storage", None, "no folder for records was named for this check")
    try:
        room = os.statvfs(store)
        free_mb = room.f_bavail * room.f_frsize // 2**20
        _probe(store)
    except OSError as error:
        return Check("storage", False, *_storage_fault(store, error))
    if free_mb < keep_free_mb:
        return Check(
            "storage",
            False,
            f"only {free_mb} MB are free where records are kept; {keep_free_mb} MB are needed",
            "Export the records and remove old ones, or use a larger card.",
        )
    return Check("storage", True, f"records can be written and read back; {free_mb} MB are free")


def _probe(store: Path) -> None:
    """Raises OSError where a file cannot be written, brought onto the disk, and read back."""
    path, data = store / f".selftest-{uuid.uuid4()}", os.urandom(PROBE_BYTES)
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if path.read_bytes() != data:
            raise OSError(errno.EIO, "what was written is not what is read")
    finally:
        path.unlink(missing_ok=True)


def _storage_fault(store: Path, error: OSError) -> tuple[str, str]:
    """In words, with the way out."""
    if error.errno == errno.ENOENT:
        return f"there is no folder {store}", "Start the service once, or name the folder of the records."
    if error.errno == errno.EROFS:
        return (
            f"the disk under {store} can only be read",
            "The card is worn out or was taken out too early: save the records, then use a new card.",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not write to {store}", "Run it as the user of the service (tenohira)."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full", "Export the records and remove old ones, or use a larger card."
    return f"the disk does not work: {error.strerror}", "Save the records, then use a new card."


def _board(board: Health) -> list[Check]:
    low = board.throttled_now and health.FLAGS[0] in board.throttled_now
    voltage = None if board.throttled_now is None else not low
    heat = None if board.temperature_c is None else board.temperature_c < health.HOT_C
    memory = None if board.memory_free_mb is None else board.memory_free_mb >= health.LITTLE_MEMORY_MB
    supply = "the supply voltage is too low" if low else "the supply voltage is enough"
    return [
        _told(
            "clock",
            board.clock_plausible if not board.clock_doubted else False,
            f"the clock says {health.readable(board.time)}",
            health.clock_problems(board),
        ),
        _told("power", voltage, supply, health.power_problems(board)),
        _told(
            "temperature",
            heat,
            f"the processor is at {board.temperature_c or 0:.0f} °C",
            health.temperature_problems(board),
        ),
        _told("memory", memory, f"{board.memory_free_mb} MB of memory are free", health.memory_problems(board)),
    ]


def _told(name: str, ok: bool | None, said: str, problems: list[str]) -> Check:
    if ok is None:
        return Check(name, None, "this machine does not tell")
    return Check(name, ok, said, problems[0] if problems else "")
