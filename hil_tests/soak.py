"""A soak: as many examinations over HTTP as a busy site has in days, and whether the service grows by them.

    python hil_tests/soak.py --captures 1500
    python hil_tests/soak.py --captures 1500 --camera picamera2

It starts ``tenohira serve`` on a record of its own, photographs (burst of one), looks at pages and prints a report
now and then. After each visit it reads from /proc what the service and its camera's process hold: memory, open
files and threads. RSS is judged. PSS (shared pages count by their share) is what they cost the board, but it moves
when other programs that share their libraries come and go.

Caches fill at first, and memory wanders: the slope is that of the means of 20 blocks of the second half, with
Student's 95 % interval. Verdict and exit code: 0 passed (the interval lies below the budget), 1 failed (it lies
above, or files or threads pile up, or an answer was wrong), 2 undecided (take more captures).
"""

from __future__ import annotations

import argparse
import http.client
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

BUDGET_KB = 4.0  # a capture: 12 000 captures, a month of 200 participants a day, may take 50 MB
PER_VISIT, REPORT_EVERY = 10, 10  # captures, visits
WARM = 0.5  # share of the samples in which caches fill
BLOCKS, STUDENT = 20, 2.101  # 97.5 % of t with BLOCKS - 2 degrees of freedom
FEWEST = 1000  # captures: two samples in each block, and more
ROOT = Path(__file__).resolve().parents[1]


class Sample(NamedTuple):
    """What a process holds."""

    pss_kb: int
    rss_kb: int
    files: int
    threads: int


class Answers:
    """The service, as HTTP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> bytes:
        """A page or a picture."""
        return self._ask("GET", path, None)

    def post(self, path: str, **form: str) -> Any:
        """JSON, as machines get it."""
        return json.loads(self._ask("POST", path, urlencode(form)))

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"content-type": "application/x-www-form-urlencoded"} if body is not None else {}
        if body is not None or path.startswith("/api/"):
            headers["accept"] = "application/json"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {said[:200]!r}")
        return said


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=int, default=1500)
    parser.add_argument("--camera", default="simulated:3?size=512")
    parser.add_argument("--port", type=int, default=8977)
    parser.add_argument("--samples", type=Path, help="write every sample to this file, as CSV")
    given = parser.parse_args()
    if given.captures < FEWEST:
        parser.error(f"give {FEWEST} captures or more: fewer say nothing")
    with tempfile.TemporaryDirectory() as folder:
        command = (
            *("-m", "device.cli", "serve", "--store", f"{folder}/record"),
            *("--camera", given.camera, "--port", str(given.port)),
        )
        with open(f"{folder}/log", "wb") as log:
            service = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=log, stderr=log)
        try:
            samples = soak(service, Answers(given.port), given.captures)
        except (OSError, RuntimeError) as error:
            print(f"FAILED: {error}\n" + Path(folder, "log").read_text(errors="replace")[-2000:])
            return 1
        finally:
            service.terminate()
            service.wait(20)
    if given.samples:
        rows = [",".join(map(str, (*service, *camera))) for service, camera in samples]
        given.samples.write_text("\n".join(rows) + "\n")
    return verdict(samples)


def soak(service: subprocess.Popen[bytes], answers: Answers, captures: int) -> list[tuple[Sample, Sample]]:
    """Examine, and sample service and camera after each visit. Raises where an answer is an error."""
    wait_for(service, answers)
    answers.post("/settings", burst="1")
    samples: list[tuple[Sample, Sample]] = []
    start = time.monotonic()
    for number in range(math.ceil(captures / PER_VISIT)):
        visit = "/visits/" + answers.post("/visits", participant=f"SOAK-{number:05d}", consent="yes")["uid"]
        for i in range(PER_VISIT):
            eye = f"{visit}/{('OD', 'OS')[i % 2]}"
            answers.get("/live/frame")
            answers.post(f"{eye}/captures")
            answers.get(eye)
        answers.post(f"{visit}/finish")
        answers.get(visit)
        answers.get("/history")
        if number % REPORT_EVERY == 0:
            answers.get(f"{visit}/report.pdf")
        samples.append((sample(service.pid), sample(camera_of(service.pid))))
        if number % 10 == 9:
            done, (mine, camera) = (number + 1) * PER_VISIT, samples[-1]
            each = (time.monotonic() - start) / done
            print(f"{done:6d} captures, {each:.2f} s each; service {mine}; camera {camera}", flush=True)
    return samples


def wait_for(service: subprocess.Popen[bytes], answers: Answers) -> None:
    """Until the instrument runs. RuntimeError where it does not within a minute."""
    for _ in range(120):
        if service.poll() is not None:
            raise RuntimeError(f"the service ended by itself ({service.returncode})")
        try:
            answers.get("/api/status")
            return
        except (OSError, RuntimeError):
            time.sleep(0.5)
    raise RuntimeError("the instrument did not start within a minute")


def sample(process: int) -> Sample:
    """From /proc."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    pss, rss = (int(re.search(rf"^{name}:\s+(\d+)", rollup, re.M)[1]) for name in ("Pss", "Rss"))  # type: ignore[index]
    folder = Path("/proc", str(process))
    return Sample(pss, rss, len(os.listdir(folder / "fd")), len(os.listdir(folder / "task")))


def camera_of(service: int) -> int:
    """The process of the service's camera."""
    for task in Path("/proc", str(service), "task").iterdir():
        for child in (task / "children").read_text().split():
            if "device.camera.child" in Path("/proc", child, "cmdline").read_text():
                return int(child)
    raise RuntimeError("the service has no process for its camera")


def verdict(samples: list[tuple[Sample, Sample]]) -> int:
    """Print what was found; returns the exit code."""
    steady = samples[int(WARM * len(samples)) :]
    codes = [judged(name, [pair[i] for pair in steady]) for i, name in enumerate(("service", "camera"))]
    code = 1 if 1 in codes else max(codes)
    print(("PASSED", "FAILED", "UNDECIDED: take more captures")[code])
    return code


def judged(name: str, samples: list[Sample]) -> int:
    """The same of one process."""
    size = len(samples) // BLOCKS
    blocks = [samples[i * size : (i + 1) * size] for i in range(BLOCKS)]
    code = 0
    for what in ("pss_kb", "rss_kb"):
        means = [statistics.fmean(getattr(s, what) for s in block) for block in blocks]
        low, slope, high = slope_of(means, size * PER_VISIT)
        interval = f"{slope:+.2f} kB a capture, 95 % {low:+.2f} to {high:+.2f}"
        print(f"{name} {what}: {means[0]:.0f} to {means[-1]:.0f}, {interval}")
        if what == "rss_kb":
            code = 1 if low > BUDGET_KB else 2 if high > BUDGET_KB else 0
    for what in ("files", "threads"):
        first, last = (
            statistics.median(getattr(s, what) for s in part)
            for part in (samples[: len(samples) // 4], samples[-(len(samples) // 4) :])
        )
        print(f"{name} {what}: median {first:g} in the first quarter, {last:g} in the last")
        if last > first + 1:
            code = 1
    return code


def slope_of(values: list[float], step: float) -> tuple[float, float, float]:
    """Lower limit, slope and upper limit of a line through values that are ``step`` apart."""
    x = [step * i for i in range(len(values))]
    line = statistics.linear_regression(x, values)
    residual = sum((v - line.intercept - line.slope * at) ** 2 for at, v in zip(x, values, strict=True))
    spread = sum((at - statistics.fmean(x)) ** 2 for at in x)
    half = STUDENT * math.sqrt(residual / (len(x) - 2) / spread)
    return line.slope - half, line.slope, line.slope + half


if __name__ == "__main__":
    sys.exit(main())
