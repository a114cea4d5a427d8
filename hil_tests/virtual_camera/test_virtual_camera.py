"""The real camera code on the real picamera2 and libcamera, with the virtual camera showing pictures.

    python -m pytest hil_tests/virtual_camera

The first run builds the environment (see README.md); later ones take seconds.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
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


def difference(picture: Path, source: np.ndarray) -> float:
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


def test_a_real_photograph_comes_through(root, data_root, tmp_path):
    source = show(min((data_root / "drishti_gs1" / "images").iterdir()), tmp_path / "pictures")
    check(tmp_path, source, photograph(root, tmp_path, 10))
