"""Each deliberate fault does what it says, in a Python of its own, and nothing without the switch."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests import faults

ROOT = Path(__file__).resolve().parents[2]

LEAK = """
import contextlib, tracemalloc
from device.instrument import Instrument
tracemalloc.start()
for _ in range(200):
    with contextlib.suppress(Exception):
        Instrument.capture(None, "", "OD")
print(tracemalloc.get_traced_memory()[0] // 200)
"""
# A clock that goes on by a millisecond whenever it is read: what a stage takes does not hang on the machine.
SLOW = """
import itertools, time
ticks = itertools.count()
time.perf_counter = lambda: next(ticks) / 1000
from device.pipeline import Stopwatch
for name in ("quality", "disc_cup"):
    clock = Stopwatch()
    with clock.stage(name):
        for _ in range(1000):
            time.perf_counter()
    print(name, round(clock.ms[name] / 100))
"""
WATCHDOG = """
import os
from device.notify import Heartbeat, Notifier
notifier = Notifier()
notifier.ready("here")
Heartbeat(notifier, lambda: False).beat()
"""


def python(script: str, fault: str = "", **environment: str) -> str:
    """What a script says in a Python that has a fault."""
    given = {**os.environ, "PYTHONPATH": str(faults.FOLDER), faults.SWITCH: fault, **environment}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("fault", "least", "most"), [("", 0, 100), ("leak", 1000, 1200), ("leak:4", 4000, 4300)])
def test_a_leak_keeps_so_much_of_each_capture(fault, least, most):
    assert least <= int(python(LEAK, fault)) <= most


@pytest.mark.parametrize(("fault", "tenths"), [("", (10, 10)), ("slow", (12, 10)), ("slow:disc_cup", (10, 12))])
def test_a_slow_stage_takes_a_fifth_more(fault, tenths):
    quality, disc_cup = (int(line.split()[1]) for line in python(SLOW, fault).splitlines())
    assert (quality, disc_cup) == tenths


@pytest.mark.parametrize("fault", ["", "watchdog"])
def test_a_disabled_watchdog_is_fed_by_a_wedged_service_and_waits_for_ever(fault, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        python(WATCHDOG, fault, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="30000000")
        systemd.setblocking(False)
        ready, beat = systemd.recv(4096).decode(), systemd.recv(4096).decode()
    assert ready.startswith("READY=1") and ("WATCHDOG_USEC=31536000000000" in ready) == bool(fault)
    assert beat.startswith("WATCHDOG=1" if fault else "STATUS=stuck")
