"""dciodvfy, painted eyes that count as good photographs, and a real Orthanc."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from device import pipeline
from device.quality import Quality
from tests.device.dicom.visits import Clinic


@pytest.fixture
def clinic(tmp_path, monkeypatch) -> Clinic:
    """Visits of painted eyes."""
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))
    return Clinic(tmp_path / "pictures")


@pytest.fixture(scope="session")
def verify():
    """Assert that files have no error for dciodvfy (Debian package dicom3tools)."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian package dicom3tools)")

    def check(paths: list[Path]) -> list[str]:
        """The other lines, for those who want to know of the warnings."""
        rest = []
        for path in paths:
            done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, timeout=60)
            lines = (done.stdout + done.stderr).splitlines()
            assert not [line for line in lines if line.startswith(("Error", "Abort"))], (path.name, lines)
            assert lines, f"dciodvfy said nothing of {path.name}"
            rest += [line for line in lines if line.startswith("Warning")]
        return rest

    return check


@pytest.fixture
def orthanc(tmp_path):
    """A real archive; skips with the reason where none can run."""
    from tests.device.dicom.orthanc import Orthanc, absent

    if reason := absent():
        pytest.skip(reason)
    server = Orthanc(tmp_path / "orthanc")
    yield server
    server.close()
