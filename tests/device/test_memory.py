"""What one screening costs in memory, and thousands: the device shares 512 MB with everything else.

``TENOHIRA_IMAGES=10000 pytest -s tests/device/test_memory.py -k flat`` screens as many as the issue asks for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import mean

import cv2
import pytest

from device.camera.simulated import SimulatedCamera
from hil_tests.statistics import estimate

OWN_MB = 66  # 59 to 61 on two x86-64 cores with a matrix unit, whose kernels pad weights most
# Pages of libraries are shared, and may be dropped at any time. How many count is the kernel's choice: it maps
# what lies in memory beside what was asked for, of late in large pieces. 55 to 62 on one machine, by when its
# files were written, and some 90 on another; TensorFlow's alone would be more than the limit.
LIBRARIES_MB = 110
# Libraries stay mapped until the end, but the kernel may take their pages back before: the most that were seen
# count. VmHWM, not ru_maxrss: that one starts at what the parent had at the fork.
CHILD = """
import json, re, sys, threading, time
from device.cli import main
def megabytes(key):
    return int(re.search(rf"{key}:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) / 1024
most = 0
def look():
    global most
    while True:
        most = max(most, megabytes("RssFile"))
        time.sleep(0.005)
threading.Thread(target=look, daemon=True).start()
code = main(sys.argv[1:])
peak, libraries = megabytes("VmHWM"), max(most, megabytes("RssFile"))
print(json.dumps([code, peak - libraries, libraries]))
"""

LIMIT = 1.0  # kB an image; caches still fill by less than half of that in the first two thousand, then no more
IMAGES = int(os.environ.get("TENOHIRA_IMAGES", 480))
# Images: the heap's end, which wanders by megabytes, depends on the photograph and on those before, and comes
# round after 8 or 12 of them.
PERIOD = 24
# From the files to rows and overlays, again and again; what is held after each, in pages of the process's own.
AGAIN = """
import json, sys
from pathlib import Path
import numpy as np
from device import memory, overlay
from device.imaging import encode_jpeg, read_image
from device.pipeline import Pipeline
from device.results import row_of
memory.keep_little()
machine, lost = Pipeline.load(), []
count, leak, *paths = int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:])
held = np.ones(count)  # a list of numbers would itself grow
for i in range(count):
    path = paths[i % len(paths)]
    frame = read_image(path)
    exam = machine.screen(frame)
    encode_jpeg(overlay.draw(frame.pixels, exam), 90, keep=False)
    row_of(path, exam, masks={}, overlay=None, timings_ms={}, bundles=machine.bundles)
    if leak:
        lost.append(b"x" * leak)
    resident, shared = Path("/proc/self/statm").read_text().split()[1:3]
    held[i] = (int(resident) - int(shared)) * 4 / 1024
print(json.dumps(held.tolist()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("leak", [0, 100_000])  # bytes an image: the second shows that a leak would be seen
def test_memory_is_flat_over_many_photographs(tmp_path, leak):
    paths = [tmp_path / f"{seed}.jpg" for seed in range(4)]
    for seed, path in enumerate(paths):
        picture = SimulatedCamera(seed=seed, size=(1024, 768, 512, 900)[seed]).still().pixels
        cv2.imwrite(str(path), picture[..., ::-1])
    count = IMAGES if not leak else 480
    command = [sys.executable, "-c", AGAIN, str(count), str(leak), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held = json.loads(done.stdout)
    starts = range(0, count - PERIOD + 1, PERIOD)
    means = [mean(held[i : i + PERIOD]) for i in starts]
    series = {"samples": means, "x": list(starts), "unit": "MB", "x_unit": "images"}
    slope, peak = estimate(series, "slope"), estimate(series, "peak")
    print(f"{count} images, leak {leak}: {slope.value:.3f} kB an image ({slope.low:.3f} to {slope.high:.3f}), "
          f"at most {peak.value:.1f} MB of its own")  # fmt: skip
    assert slope.low > LIMIT if leak else slope.high < LIMIT


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
    code, own, libraries = json.loads(done.stdout.splitlines()[-1])
    row = json.loads((out / "results.jsonl").read_text())
    assert code == 0 and row["outcome"] in ("refer", "no_referral", "ungradable")
    assert {"disc_finder", "disc_cup", "glaucoma"} <= row["timings_ms"].keys(), row["reasons"]
    print(f"peak resident memory {own + libraries:.0f} MB: {own:.0f} of its own, {libraries:.0f} of libraries")
    assert own <= OWN_MB and libraries <= LIBRARIES_MB
