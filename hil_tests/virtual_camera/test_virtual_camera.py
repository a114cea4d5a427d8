"""The real camera code on the real picamera2 and libcamera, with the virtual camera showing pictures.

    python -m pytest hil_tests/virtual_camera

The first run builds the environment (see README.md); later ones take seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

HERE = Path(__file__).resolve().parent


def _environment():
    """By its path: this folder is no package of the tests'."""
    spec = importlib.util.spec_from_file_location("environment", HERE / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environment = _environment()
STILL, PREVIEW = environment.SIZES
PHOTOGRAPH = ["python3", "hil_tests/virtual_camera/photograph.py"]


@pytest.fixture(scope="session")
def root() -> Path:
    if why := environment.missing():
        pytest.skip(f"the virtual camera's environment cannot be made here: {why}")
    return environment.build()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A picture of the simulated camera."""
    folder = tmp_path_factory.mktemp("simulated")
    command = [sys.executable, "-m", "device.cli", "samples", "--simulated", "1", "--seed", "4", "--out", folder]
    subprocess.run(command, cwd=environment.CHECKOUT, check=True, capture_output=True)
    return next(folder.glob("*.png"))


def show(picture: Path, pictures: Path) -> np.ndarray:
    """Put a picture before the camera, in the size and shape of its frames. Returns it as it was written."""
    image = Image.open(picture).convert("RGB")
    image.thumbnail(STILL, Image.Resampling.LANCZOS)
    scale = min(STILL[0] / image.width, STILL[1] / image.height)
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", STILL)
    canvas.paste(image, ((STILL[0] - image.width) // 2, (STILL[1] - image.height) // 2))
    pictures.mkdir()
    canvas.save(pictures / "0.jpg", quality=95, subsampling="4:2:0")  # as NV12 has it
    return np.asarray(Image.open(pictures / "0.jpg").convert("RGB"))


def photograph(root: Path, folder: Path, *arguments: object) -> dict:
    """Run photograph.py; returns its report."""
    (folder / "out").mkdir()
    (folder / "pictures").mkdir(exist_ok=True)
    command = environment.command(root, folder / "pictures", folder / "out", [*PHOTOGRAPH, *map(str, arguments)])
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((folder / "out" / "report.json").read_text())
    print(json.dumps(report))
    return report


def difference(picture: Path | io.BytesIO, source: np.ndarray) -> float:
    """Mean difference in grey levels, of a picture and the source at its size."""
    seen = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    reduced = Image.fromarray(source).resize((seen.shape[1], seen.shape[0]), Image.Resampling.BOX)
    return float(np.abs(seen - np.asarray(reduced)).mean())


def check(folder: Path, source: np.ndarray, report: dict) -> None:
    assert Image.open(folder / "out" / "still.png").size == STILL
    assert Image.open(folder / "out" / "preview.png").size == PREVIEW
    # The stream of a still has the source's size; the other is reduced by libyuv, which rounds chroma downwards.
    assert difference(folder / "out" / "still.png", source) < 1.5
    assert difference(folder / "out" / "preview.png", source) < 4
    assert report["camera"] == "picamera2 Virtual Eye" == report["frame"]["camera"]
    unknown = {name: report["frame"][name] for name in ("exposure_us", "gain", "focus")}
    assert set(unknown.values()) == {None} and report["raw"] is False  # it has neither sensor metadata nor raw
    assert (report["descriptors"], report["left"]) == (0, 0)


def test_pictures_come_through_as_they_are(root, simulated, tmp_path):
    source = show(simulated, tmp_path / "pictures")
    check(tmp_path, source, photograph(root, tmp_path, 30))


def test_a_killed_camera_comes_back(root, simulated, tmp_path):
    source = show(simulated, tmp_path / "pictures")
    report = photograph(root, tmp_path, 5, 5)
    check(tmp_path, source, report)
    assert len(report["errors"]) == 5 and all("signal SIGKILL" in error for error in report["errors"])
    assert report["processes"] == 1


def test_no_camera_is_said_in_words(root, tmp_path):
    """Without pictures, libcamera has no virtual camera."""
    assert photograph(root, tmp_path)["error"].startswith("no camera was found; switch the instrument off")


def test_a_camera_that_is_taken_says_so(root, simulated, tmp_path):
    """Within one process: between processes, the virtual camera locks nothing."""
    show(simulated, tmp_path / "pictures")
    script = """
from device.camera import open_camera
from device.errors import CameraError
with open_camera("picamera2") as camera:
    try:
        open_camera("picamera2")
    except CameraError as error:
        print(error)
    assert camera.preview(20).pixels.any()  # the first one goes on
"""
    command = environment.command(root, tmp_path / "pictures", tmp_path, ["python3", "-c", script])
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = "the camera is in use by another program; close that program and try again\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_a_real_photograph_comes_through(root, data_root, tmp_path):
    source = show(min((data_root / "drishti_gs1" / "images").iterdir()), tmp_path / "pictures")
    check(tmp_path, source, photograph(root, tmp_path, 10))


class Service:
    """A running ``tenohira serve``, spoken to as a machine."""

    def __init__(self, port: int, process: subprocess.Popen) -> None:
        self.base, self.process = f"http://127.0.0.1:{port}", process

    def get(self, path: str, accept: str = "application/json") -> bytes:
        request = urllib.request.Request(self.base + path, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def post(self, path: str, **form: str) -> dict:
        data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(self.base + path, data, {"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def status(self) -> dict:
        return json.loads(self.get("/api/status"))


@contextlib.contextmanager
def serve(root: Path, folder: Path) -> Iterator[Service]:
    """``tenohira serve --camera picamera2`` in the environment, until it answers."""
    (folder / "out").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["python3", "-m", "device.cli", "serve", "--camera", "picamera2", "--store", "/out/store"]
    command = environment.command(root, folder / "pictures", folder / "out", [*arguments, "--port", str(port)])
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            service = Service(port, process)
            end = time.monotonic() + 60
            while True:
                try:
                    service.status()
                    break
                except (urllib.error.URLError, ConnectionError):
                    said = (folder / "log").read_text()
                    assert process.poll() is None and time.monotonic() < end, said
                    time.sleep(0.2)
            yield service
        finally:
            process.kill()  # unshare takes everything in there with it


def eventually(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(0.2)
    return result


def test_the_instrument_photographs_screens_and_records(root, simulated, tmp_path):
    source = show(simulated, tmp_path / "pictures")
    with serve(root, tmp_path) as service:
        start = time.monotonic()
        live = eventually(lambda: service.get("/live/frame", "image/jpeg"))
        print(f"first preview after {time.monotonic() - start:.2f} s")
        assert Image.open(io.BytesIO(live)).size == PREVIEW and difference(io.BytesIO(live), source) < 5
        assert service.status()["camera"].startswith("picamera2") and not service.status()["camera_error"]

        visit = service.post("/visits", participant="KAN-0001", operator="N1")
        start = time.monotonic()
        capture = service.post(f"/visits/{visit['uid']}/OD/captures")
        print(f"capture to verdict {time.monotonic() - start:.2f} s: {json.dumps(capture['result'])[:500]}")
        assert capture["camera"] == "picamera2 Virtual Eye" and capture["exposure_us"] is None
        jpeg = service.get(f"/visits/{visit['uid']}/pictures/{capture['image']}", "image/jpeg")
        assert hashlib.sha256(jpeg).hexdigest() == capture["image"]
        assert Image.open(io.BytesIO(jpeg)).size == STILL and difference(io.BytesIO(jpeg), source) < 3

        # The camera's process is killed while somebody looks: it is said in words, and goes on by itself.
        before, (camera,) = service.status(), cameras(service.process.pid)
        os.kill(camera, signal.SIGKILL)
        assert eventually(lambda: cameras(service.process.pid) not in ([], [camera]) or look(service) is None)
        assert eventually(lambda: look(service) and cameras(service.process.pid) not in ([], [camera]))
        again = service.post(f"/visits/{visit['uid']}/OD/captures")
        assert again["uid"] != capture["uid"] and again["camera"] == capture["camera"]
        assert service.status()["camera_error"] == "" == before["camera_error"]


def look(service: Service) -> bytes | None:
    """A preview, or None where there is none."""
    return service.get("/live/frame", "image/jpeg") or None


def cameras(pid: int) -> list[int]:
    """The camera's processes among the descendants of a process."""
    found, todo = [], [pid]
    while todo:
        this = todo.pop()
        try:
            if b"device.camera.child" in Path(f"/proc/{this}/cmdline").read_bytes().split(b"\0"):
                found.append(this)
            tasks = Path(f"/proc/{this}/task").iterdir()
            todo += [int(p) for task in tasks for p in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
