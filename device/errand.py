"""Errands: what is seldom done and needs large libraries (PDF, DICOM, sending), in a process of its own.

What an errand takes of the memory goes back when it ends, so the service stays as small after a thousand reports
as before the first. An errand is a call of ``tenohira``: what pages do, the command line can do as well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from PIL import Image

from device.errors import ErrandError, StoreError
from device.record import Visit

PACKAGES = Path(__file__).resolve().parents[1]  # where the process finds ``device``
LONGEST = 180.0  # seconds; a Zero 2 W imports for ten
MERCY = 3.0  # seconds that a process may take to end when it is told to
TOO_LONG = "it did not end in time; try it again, and restart the instrument if it stays so"
PREFIX = "tenohira: "  # of the sentence with which the command line explains an error


def run(*arguments: str, deadline: float = LONGEST, cancelled: Callable[[], bool] = lambda: False) -> None:
    """Run ``tenohira ARGUMENTS``; ask for its memory first (``device.memory.granted``). Raises ErrandError with
    what it said where it fails, takes longer than ``deadline`` seconds, or ``cancelled()`` says so."""
    path = os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", "-m", "device.cli", *arguments]
    with tempfile.TemporaryFile() as said:  # not a pipe: nobody reads it meanwhile
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env={**os.environ, "PYTHONPATH": path}
        )
        left = deadline
        try:
            while process.poll() is None:
                if left <= 0 or cancelled():
                    raise ErrandError(TOO_LONG)
                try:
                    process.wait(min(0.5, left))
                except subprocess.TimeoutExpired:
                    left -= 0.5
        finally:
            _end(process)
        if process.returncode:
            said.seek(0)
            raise ErrandError(_explanation(said.read().decode(errors="replace"), process.returncode))


def pixels_of(visits: Iterable[Visit], picture: Callable[[str], Path]) -> int:
    """Of the largest photograph of some visits, which decides how much memory an errand takes. One that cannot be
    read counts for nothing here: the errand will say so."""
    most = 0
    for capture in (c for visit in visits for c in visit.captures):
        with suppress(OSError, StoreError), Image.open(picture(capture.image)) as image:
            most = max(most, image.width * image.height)
    return most


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(MERCY)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _explanation(said: str, code: int) -> str:
    """The sentence of the command line, or that there is none."""
    lines = said.strip().splitlines()
    explained = [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)]
    if explained:
        return explained[-1]
    return f"internal error ({lines[-1] if lines else f'ended with {code}'}); please report it"
