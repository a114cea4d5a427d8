"""Runs inside the environment: previews and stills by ``device.camera.supervised``, as the service takes them.

    python3 hil_tests/virtual_camera/photograph.py [STILLS [KILLS]]

Leaves /out/preview.png, /out/still.png and /out/report.json. With KILLS, the camera's process is killed so often
between stills.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, "/tenohira")

import cv2

from device.camera.supervised import SupervisedCamera
from device.errors import CameraError

OUT = Path("/out")


def rss(pid: int) -> list[float]:
    """Resident memory in MB: the most so far, and now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [round(int(x.split()[1]) / 1024, 1) for x in lines if x.startswith(("VmHWM", "VmRSS"))]


def children() -> list[int]:
    """The camera's process, if there is one."""
    tasks = Path("/proc/self/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def timed(action, *arguments):
    """What it returns, and the milliseconds that it took."""
    start = time.perf_counter()
    result = action(*arguments)
    return result, round(1e3 * (time.perf_counter() - start), 1)


def write(name: str, frame) -> None:
    """Losslessly."""
    cv2.imwrite(str(OUT / name), cv2.cvtColor(frame.pixels, cv2.COLOR_RGB2BGR))


def main(stills: int = 10, kills: int = 0) -> dict:
    """Take pictures; returns the report."""
    report: dict = {"errors": []}
    with SupervisedCamera("picamera2", pause=0) as camera:
        preview, report["open_ms"] = timed(camera.preview, 10)
        write("preview.png", preview)
        report["camera"] = camera.name
        still, report["first_still_ms"] = timed(camera.still)
        write("still.png", still)
        fields = ("laterality", "exposure_us", "gain", "focus", "camera", "source")
        report["frame"] = {name: getattr(still, name) for name in fields}
        report["raw"] = camera.still(raw=True).raw is not None
        times = [timed(camera.preview)[1] for _ in range(60)]
        report["previews_per_s"] = round(1e3 * len(times) / sum(times), 1)
        report["rss_mb"] = {"after previews": rss(children()[0])}
        descriptors = len(os.listdir("/proc/self/fd"))
        times = [timed(camera.still)[1] for _ in range(stills)]
        report["still_ms"] = sorted(times)[len(times) // 2]
        report["rss_mb"]["after stills"] = rss(children()[0])
        for _ in range(kills):
            os.kill(children()[0], 9)
            try:
                camera.still()
            except CameraError as error:
                report["errors"].append(str(error))
            _, report["restart_ms"] = timed(camera.still)
        report["processes"] = len(children())
        report["descriptors"] = len(os.listdir("/proc/self/fd")) - descriptors
    report["left"] = len(children())
    return report


if __name__ == "__main__":
    try:
        result = main(*map(int, sys.argv[1:]))
    except CameraError as trouble:
        result = {"error": str(trouble)}
    (OUT / "report.json").write_text(json.dumps(result, indent=1))
