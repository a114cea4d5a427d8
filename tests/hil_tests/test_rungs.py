"""The rungs that need no board and little time, whole: ``tenohira hil`` on this machine.

They take longest of all tests, so they run side by side from before the first test on (``tests/conftest.py``), and
are waited for here, after the last.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from hil_tests.images import root
from tests.hil_tests.rungs import AT_MOST, CHECKOUT, command

EMULATED = pytest.mark.skipif(bool(root.missing()), reason=f"no emulation: {root.missing()}")
RIGS = ["host", pytest.param("aarch64", marks=EMULATED)]


@pytest.mark.slow
@pytest.mark.parametrize("rig", RIGS)
def test_a_rung_passes_whole(rungs, rig):
    code, folder, said = rungs.ended(rig)
    broken = _broken(folder)
    if code == 1 and broken and all(v["budget"].endswith(".slope") for v in broken) and not _failed(folder):
        # Of a healthy service, a slope's interval reaches beyond the limit now and then: it must do so twice.
        again = command(rig, folder.parent / "again", "--only", "many_captures")
        done = subprocess.run(again, cwd=CHECKOUT, capture_output=True, text=True, timeout=AT_MOST)
        code, said = done.returncode, f"broken twice: {broken}\n" + done.stdout[-8000:]
    details = [f"{t['id']}\n{t['detail'][-3000:]}" for t in _failed(folder)]
    assert code == 0, "\n".join([said, *map(str, broken), *details])
    results = json.loads((folder / "results.json").read_text())
    assert results["whole"]
    for name in ("junit.xml", "report.html"):
        assert (folder / name).stat().st_size, name
    assert rig != "host" or (folder / "journal.txt").stat().st_size  # single programs may have nothing to say
    for test in results["tests"]:  # nothing is passed over in silence
        assert test["outcome"] == "passed" or test["reason"], test


def _results(folder: Path) -> dict:
    file = folder / "results.json"
    return json.loads(file.read_text()) if file.is_file() else {"verdicts": [], "tests": []}


def _broken(folder: Path) -> list[dict]:
    """Limits that were not held, also for whoever reads the log of a machine that is gone by then."""
    return [v for v in _results(folder)["verdicts"] if v["verdict"] in ("failed", "missing")]


def _failed(folder: Path) -> list[dict]:
    return [t for t in _results(folder)["tests"] if t["outcome"] == "failed"]
