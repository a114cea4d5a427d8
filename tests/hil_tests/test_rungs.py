"""The rungs that need no board and little time, whole: ``tenohira hil`` on this machine.

They run side by side: each keeps hardly more than one core busy.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hil_tests.images import root

ROOT = Path(__file__).resolve().parents[2]
AT_MOST = 3600  # seconds; a busy machine takes its time
EMULATED = pytest.mark.skipif(bool(root.missing()), reason=f"no emulation: {root.missing()}")
RIGS = ["host", pytest.param("aarch64", marks=EMULATED)]


@pytest.fixture(scope="module")
def rungs(request, tmp_path_factory) -> Iterator[Callable[[str], tuple[int, Path, str]]]:
    """Starts the rungs of all tests that were chosen. Called with a rig: exit code, folder, what was said."""
    chosen = {item.callspec.params["rig"] for item in request.session.items if "rungs" in item.fixturenames}
    if root.missing():
        chosen.discard("aarch64")
    out, running = tmp_path_factory.mktemp("rungs"), {}
    for rig in sorted(chosen):
        with (out / f"{rig}.log").open("wb") as log:
            command = [sys.executable, "-m", "device.cli", "hil", "--rig", rig, "--out", str(out / rig)]
            running[rig] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def ended(rig: str) -> tuple[int, Path, str]:
        code = running[rig].wait(AT_MOST)
        said = (out / f"{rig}.log").read_text(errors="replace")[-8000:]
        return code, next((out / rig).iterdir(), out), said

    yield ended
    for process in running.values():
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("rig", RIGS)
def test_a_rung_passes_whole(rungs, rig):
    code, folder, said = rungs(rig)
    assert code == 0, said + _limits(folder)
    results = json.loads((folder / "results.json").read_text())
    assert results["outcome"] == "passed" and results["whole"]
    for name in ("junit.xml", "journal.txt", "report.html"):
        assert (folder / name).stat().st_size, name
    for test in results["tests"]:  # nothing is passed over in silence
        assert test["outcome"] == "passed" or test["reason"], test


def _limits(folder: Path) -> str:
    """Those that were not held, for whoever reads the log of a machine that is gone by then."""
    file = folder / "results.json"
    verdicts = json.loads(file.read_text())["verdicts"] if file.is_file() else []
    return "\n".join(str(v) for v in verdicts if v["verdict"] in ("failed", "missing"))
