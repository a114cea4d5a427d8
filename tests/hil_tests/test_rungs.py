"""The rungs that need no board and little time, whole: ``tenohira hil`` on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.images import root

ROOT = Path(__file__).resolve().parents[2]
AT_MOST = 1800  # seconds; a busy machine takes its time


def run(rig: str, out: Path, *options: str) -> tuple[int, dict, str]:
    """Exit code, results and what was printed."""
    command = [sys.executable, "-m", "device.cli", "hil", "--rig", rig, "--out", str(out), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=AT_MOST)
    folders = list(out.glob(f"{rig}-*"))
    results = json.loads((folders[0] / "results.json").read_text()) if folders else {}
    return done.returncode, results, done.stdout[-6000:] + done.stderr[-2000:]


EMULATED = pytest.mark.skipif(bool(root.missing()), reason=f"no emulation: {root.missing()}")


@pytest.mark.slow
@pytest.mark.parametrize("rig", ["host", pytest.param("aarch64", marks=EMULATED)])
def test_a_rung_passes_whole(rig, tmp_path):
    code, results, said = run(rig, tmp_path)
    assert code == 0, said
    assert results["outcome"] == "passed" and results["whole"]
    (folder,) = tmp_path.iterdir()
    for name in ("junit.xml", "journal.txt", "report.html"):
        assert (folder / name).stat().st_size, name
    for test in results["tests"]:  # nothing is passed over in silence
        assert test["outcome"] == "passed" or test["reason"], test
