"""A photograph to screen, the same on every machine: drawn here by the simulated camera, and carried over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

GRADED = ("refer", "no_referral")  # an answer without a verdict is a shorter one
ROOT = Path(__file__).resolve().parents[2]


def simulated(folder: Path) -> Path:
    """A PNG file in the folder."""
    command = [sys.executable, "-m", "device.cli", "samples", "--simulated", "1", "--out", str(folder / "drawn")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = (folder / "drawn").iterdir()
    return file
