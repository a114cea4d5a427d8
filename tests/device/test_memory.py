"""What one screening costs in memory: the device shares 512 MB with everything else."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import pytest

from device.camera.simulated import SimulatedCamera

BUDGET_MB = 125  # 119 on two x86-64 cores; how much of the libraries is mapped depends on the processor
# VmHWM, not ru_maxrss: that one starts at what the parent had when it forked.
CHILD = """
import json, re, sys
from device.cli import main
code = main(sys.argv[1:])
peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([code, peak]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_screening_a_photograph_of_1024_pixels_stays_in_its_budget(tmp_path):
    picture = SimulatedCamera(seed=3, size=1024).still().pixels
    cv2.imwrite(str(tmp_path / "eye.jpg"), picture[..., ::-1])
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "screen", str(tmp_path / "eye.jpg"), "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    code, peak = json.loads(done.stdout.splitlines()[-1])
    row = json.loads((out / "results.jsonl").read_text())
    assert code == 0 and row["outcome"] in ("refer", "no_referral", "ungradable")
    assert {"disc_finder", "disc_cup", "glaucoma"} <= row["timings_ms"].keys(), row["reasons"]
    print(f"peak resident memory {peak:.0f} MB")
    assert peak <= BUDGET_MB
