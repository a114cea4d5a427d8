"""This checkout's tenohira as a folder for the arm64 root: its wheel, unpacked, for PYTHONPATH."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from hil_tests.images.root import quietly

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "device", "train", "quantize")


def unpack(folder: Path) -> None:
    """Build the wheel from a copy of its sources (setuptools leaves things in there), and unpack it."""
    with tempfile.TemporaryDirectory() as place:
        sources, wheels = Path(place, "sources"), Path(place, "wheels")
        sources.mkdir()
        for name in SOURCES:
            if (CHECKOUT / name).is_dir():
                shutil.copytree(
                    CHECKOUT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(CHECKOUT / name, sources)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels)]
        quietly([*pip, str(sources)])
        (wheel,) = wheels.glob("tenohira-*.whl")
        shutil.unpack_archive(wheel, folder, "zip")
