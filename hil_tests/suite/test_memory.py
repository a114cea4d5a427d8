"""As many examinations as a busy site has in days: whether the service grows by them, and whether all are there.

An operator photographs both eyes with the live picture before each, and looks at pages and now and then a report.
Memory, open files and threads of the service are read after each capture; of each examination the least counts,
for pictures under way come and go by megabytes. Those of the camera's process are read once an examination. What a
capture leaves behind for good is the slope of the second half (hil_tests/statistics.py): caches fill in the first.

The budget has the limits; RSS is judged, for PSS moves when other programs that share libraries come and go.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter

import pytest

from hil_tests.drivers.protocols import Memory
from hil_tests.record import Record

pytestmark = pytest.mark.needs("service", "memory")

PER_VISIT, REPORT_EVERY = 10, 10  # captures, examinations
PROCESSES = ("service", "camera")
KB_A_MB = 1024


def test_many_captures_leave_nothing_behind_and_all_are_there(instrument, client, run):
    client.set(burst=str(run.sizes.get("burst", 3)))
    confirmed: dict[str, list[str]] = {}
    held: dict[str, list[Memory]] = {name: [] for name in PROCESSES}
    times: list[float] = []
    try:
        for number in range(-(-run.sizes["captures"] // PER_VISIT)):
            held["service"].append(_least(_examine(client, number, confirmed, times, instrument)))
            held["camera"].append(instrument.memory("camera"))
    finally:
        for name in PROCESSES:
            _record(run, name, held[name])
    run.value("captures", "captures", len(times))
    if "wall-clock" in run.rig.features:
        run.samples("capture-to-verdict.sustained", "ms", times)
    _all_are_there_once(client, confirmed)
    assert Record(instrument).verified(timeout=600).startswith("ok: ")


def _examine(client, number: int, confirmed, times: list[float], instrument) -> list[Memory]:
    """One examination; adds its captures and how long they took in ms. Returns what the service held."""
    readings: list[Memory] = []
    visit = client.visit(participant=f"SOAK-{number:05d}")["uid"]
    captures = confirmed.setdefault(visit, [])
    for i in range(PER_VISIT):
        eye = ("OD", "OS")[i % 2]
        client.get("/live/frame")
        begun = time.perf_counter()
        captures.append(client.capture(visit, eye)["uid"])
        times.append((time.perf_counter() - begun) * 1e3)
        client.page(f"/visits/{visit}/{eye}")
        readings.append(instrument.memory())
    client.finish(visit)
    client.page(f"/visits/{visit}")
    client.page("/history")
    if number % REPORT_EVERY == 0:
        assert client.get(f"/visits/{visit}/report.pdf").startswith(b"%PDF")
    return readings


def _least(readings: list[Memory]) -> Memory:
    """Of each figure the least; of the peak, which only rises, the last."""
    return Memory(*map(min, zip(*readings)))._replace(peak_kb=readings[-1].peak_kb)


def _record(run, process: str, held: list[Memory]) -> None:
    """What a process held, as series over the captures; and how many files and threads it has gained."""
    x = [PER_VISIT * (i + 1) for i in range(len(held))]
    for name in ("rss", "pss", "private"):
        megabytes = [getattr(each, f"{name}_kb") / KB_A_MB for each in held]
        run.series(f"{process}.{name}", "MB", x, megabytes, "captures")
    for name in ("files", "threads"):
        counts = [getattr(each, name) for each in held]
        run.series(f"{process}.{name}", name, x, counts, "captures")
        quarter = max(1, len(counts) // 4)
        gained = statistics.median(counts[-quarter:]) - statistics.median(counts[:quarter])
        run.value(f"{process}.{name}.gained", name, gained)
    run.value(f"{process}.peak", "MB", max(each.peak_kb for each in held) / KB_A_MB)


def _all_are_there_once(client, confirmed: dict[str, list[str]]) -> None:
    there = {visit["uid"]: [capture["uid"] for capture in visit["captures"]] for visit in client.visits()}
    for visit, captures in confirmed.items():
        assert there[visit] == captures, f"examination {visit} holds other captures than were confirmed"
    every = Counter(uid for captures in there.values() for uid in captures)
    assert not [uid for uid, times in every.items() if times > 1], "a capture is there twice"
