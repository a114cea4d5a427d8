"""``tenohira hil`` as processes of their own, beside whatever else runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
AT_MOST = 3600  # seconds; a busy machine takes its time


def command(rig: str, out: Path, *options: str) -> list[str]:
    """Runs a rig, whole where no option says otherwise."""
    return [sys.executable, "-m", "device.cli", "hil", "--rig", rig, "--out", str(out), *options]


class Rungs:
    """Rigs that run side by side from now on: each keeps hardly more than one core busy."""

    def __init__(self, rigs: set[str], out: Path) -> None:
        self._out, self._running = out, {}
        for rig in sorted(rigs):
            with (out / f"{rig}.log").open("wb") as log:
                self._running[rig] = subprocess.Popen(
                    command(rig, out / rig), cwd=CHECKOUT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
                )

    def ended(self, rig: str) -> tuple[int, Path, str]:
        """Waits for a rig: its exit code, its run's folder, what it said."""
        code = self._running[rig].wait(AT_MOST)
        said = (self._out / f"{rig}.log").read_text(errors="replace")[-8000:]
        return code, next((self._out / rig).glob("*"), self._out), said

    def end(self) -> None:
        """Ends what still runs."""
        for process in self._running.values():
            process.terminate()
            process.wait()
