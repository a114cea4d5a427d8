"""Deliberate faults are put into a Python from outside."""

from __future__ import annotations

import os
import subprocess
import sys

from hil_tests import faults

PROGRAM = """
import os, sqlite3, sys
db = sqlite3.connect(":memory:")
db.execute("PRAGMA synchronous = FULL")
try:
    os.fsync(999)
    print("no fsync")
except OSError:
    print("fsync")
print(*db.execute("PRAGMA synchronous").fetchone(), any(p.endswith("faults") for p in sys.path))
"""


def said(fault: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(faults.FOLDER), faults.SWITCH: fault}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    return " ".join(done.stdout.split()) if done.returncode == 0 else done.stderr


def test_fsync_is_dropped_for_whom_it_is_to_be_dropped():
    assert said("") == "fsync 2 False"
    assert said("fsync") == "no fsync 0 False"
    assert said("fsync:pictures") == "no fsync 2 False"
    assert said("fsync:database") == "fsync 0 False"
    assert said("fsync:commits") == "fsync 1 False"


def test_a_fault_that_there_is_not_stops_the_program():
    assert "nonsense.py is no deliberate fault" in said("nonsense")


def test_faults_have_names():
    assert "fsync" in faults.names() and "sitecustomize" not in faults.names()
