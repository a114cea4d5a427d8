"""The clock of a process is moved while it runs, that of its children too, and steady time is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from labgrid.target import Target

from hil_tests.drivers.clock import LocalClockDriver

YEARS = 3653 * 86400
SCRIPT = """
import subprocess, sys, time
from datetime import datetime, timezone
while sys.stdin.readline():
    begun = time.monotonic()
    time.sleep(0.05)  # ends by steady time
    child = subprocess.run(["date", "+%s"], capture_output=True, text=True).stdout
    print(time.time(), datetime.now(timezone.utc).timestamp(), float(child), begun, flush=True)
"""


@pytest.fixture
def clock():
    target = Target("test")
    driver = LocalClockDriver(target, name=None)
    target.activate(driver)
    if why := driver.missing():
        pytest.skip(why)
    yield driver
    target.deactivate(driver)


def test_a_running_process_sees_the_jump_and_the_way_back(clock):
    environment = {**os.environ, **clock.environment()}
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def off() -> list[float]:
            print(file=process.stdin, flush=True)
            *walls, steady = (float(word) for word in process.stdout.readline().split())
            assert abs(steady - time.monotonic()) < 10.0
            return [round((wall - time.time()) / 10) for wall in walls]

        assert off() == [0, 0, 0]
        clock.jump(YEARS)
        assert off() == [YEARS // 10] * 3
        clock.jump(-2 * YEARS)
        assert off() == [-YEARS // 10] * 3
        clock.reset()
        assert off() == [0, 0, 0]
        process.stdin.close()
        assert process.wait(10) == 0
