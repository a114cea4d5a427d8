"""The service in real memory control groups: it works, or it refuses in words; the kernel never ends it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hil_tests import memory_limits
from hil_tests.drivers.cgroup import MemoryGroup

needs_groups = pytest.mark.skipif(bool(MemoryGroup.missing()), reason=MemoryGroup.missing() or "there are some")
CAMERA = "simulated:3?size=512"


@needs_groups
def test_with_half_a_gigabyte_everything_works(tmp_path):
    row = memory_limits.at_limit(512, CAMERA, "3", tmp_path / "record")
    assert row.pop("held") > 100
    works = {"start": "ready", "photographs": "4 done", "report": "done", "dicom": "done"}
    assert row == {**works, "killed": 0, "record": "ok"}


@needs_groups
def test_with_less_it_is_refused_and_nobody_is_killed(tmp_path):
    row = memory_limits.at_limit(220, CAMERA, "3", tmp_path / "record")
    assert (row["start"], row["photographs"], row["killed"], row["record"]) == ("ready", "4 done", 0, "ok")
    assert row["dicom"] == "refused, 503"
    row = memory_limits.at_limit(100, CAMERA, "3", tmp_path / "other")
    assert (row["start"], row["killed"], row["record"]) == ("refused, 503", 0, "none")


@needs_groups
def test_who_takes_more_than_the_limit_is_seen_to_be_killed():
    """The counter that the others rest on."""
    with MemoryGroup(64) as group:
        done = subprocess.run([*group.prefix, sys.executable, "-c", "x = bytearray(200 << 20)"])
        assert done.returncode == -9 and group.killed == 1
