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
            running[rig] = subprocess.Popen(
                _command(rig, out / rig), cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def ended(rig: str) -> tuple[int, Path, str]:
        code = running[rig].wait(AT_MOST)
        said = (out / f"{rig}.log").read_text(errors="replace")[-8000:]
        return code, next((out / rig).glob("*"), out), said

    yield ended
    for process in running.values():
        process.terminate()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("rig", RIGS)
def test_a_rung_passes_whole(rungs, rig):
    code, folder, said = rungs(rig)
    broken = _broken(folder)
    if code == 1 and broken and all(v["budget"].endswith(".slope") for v in broken) and not _failed(folder):
        # Of a healthy service, a slope's interval reaches beyond the limit now and then: it must do so twice.
        again = _command(rig, folder.parent / "again", "--only", "many_captures")
        done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, timeout=AT_MOST)
        code, said = done.returncode, f"broken twice: {broken}\n" + done.stdout[-8000:]
    assert code == 0, said + "\n".join(map(str, broken))
    results = json.loads((folder / "results.json").read_text())
    assert results["whole"]
    for name in ("junit.xml", "report.html"):
        assert (folder / name).stat().st_size, name
    assert rig != "host" or (folder / "journal.txt").stat().st_size  # single programs may have nothing to say
    for test in results["tests"]:  # nothing is passed over in silence
        assert test["outcome"] == "passed" or test["reason"], test


def _command(rig: str, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "device.cli", "hil", "--rig", rig, "--out", str(out), *options]


def _results(folder: Path) -> dict:
    file = folder / "results.json"
    return json.loads(file.read_text()) if file.is_file() else {"verdicts": [], "tests": []}


def _broken(folder: Path) -> list[dict]:
    """Limits that were not held, also for whoever reads the log of a machine that is gone by then."""
    return [v for v in _results(folder)["verdicts"] if v["verdict"] in ("failed", "missing")]


def _failed(folder: Path) -> list[dict]:
    return [t for t in _results(folder)["tests"] if t["outcome"] == "failed"]
