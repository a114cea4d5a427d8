"""How long an answer takes, by the clock: ``screen`` on a file, and from the shutter to the verdict over HTTP.

*Cold* is the first answer after a start, *warm* the following ones, *sustained* those of the test of the memory
(test_memory.py), with pages, reports and a live picture beside them. Stages are those of ``timings_ms``.
Milliseconds are as the clock has them. Where the target is this very machine, the quickest are also held against a
fixed piece of work (hil_tests/reference.py): that ratio can have a limit on a machine that others use as well.

The first captures after a start are in test_start.py.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict

import pytest

from hil_tests import reference
from hil_tests.suite.photographs import GRADED

pytestmark = pytest.mark.needs("wall-clock")

COLD_RUNS = 10
CHUNK = 20  # photographs of one ``screen``, after one that warms it up
WARMING = 10  # captures that are not counted
# Pieces of the reference between two measurements: as much as a photograph's, or a capture's, own work.
SCREEN_PIECES, CAPTURE_PIECES = 60, 150
PER_VISIT = 10


@pytest.fixture(scope="module")
def photograph(target):
    """A simulated photograph on the target; its folder goes afterwards."""
    machine, instrument = target.get_driver("CommandProtocol"), target.get_driver("InstrumentProtocol")
    folder = machine.run_check("folder=$(mktemp -d) && chmod 777 $folder && echo $folder")[0]
    said = instrument.tenohira("samples", "--simulated", "1", "--out", f"{folder}/in")
    assert said.code == 0, said.out + said.err
    yield f"{folder}/in/" + machine.run_check(f"ls {folder}/in")[0]
    machine.run_check(f"rm -rf {folder}")


def _screened(target, photograph, times: int) -> tuple[list[dict], float]:
    """The rows of one ``screen`` of a photograph, given so many times; and the milliseconds of the whole."""
    machine, instrument = target.get_driver("CommandProtocol"), target.get_driver("InstrumentProtocol")
    out = photograph.rpartition("/in/")[0] + "/out"
    begun = time.perf_counter()
    said = instrument.tenohira(
        "screen", *[photograph] * times, "--json", "--out", out, "--threads", "1", timeout=600
    )
    took = (time.perf_counter() - begun) * 1e3
    assert said.code == 0, said.out + said.err
    rows = [json.loads(line) for line in machine.run_check(f"cat {out}/results.jsonl && rm -rf {out}")]
    assert len(rows) == times and all(row["outcome"] in GRADED for row in rows), rows[0]["reasons"]
    return rows, took


def test_screen_cold(target, photograph, run):
    """From the start of the process to its end, with one photograph; the file cache is warm."""
    for _ in range(COLD_RUNS):
        run.samples("screen.cold", "ms", [_screened(target, photograph, 1)[1]])


def test_screen_warm(target, machine, photograph, run):
    """From a file to the verdict in a process that has screened one already, each stage by itself."""
    stages: dict[str, list[float]] = defaultdict(list)
    here, bursts = reference.is_here(machine), []
    while len(stages["total"]) < run.sizes["latency_runs"]:
        bursts += [reference.burst(SCREEN_PIECES) for _ in range(CHUNK) if here]
        for row in _screened(target, photograph, 1 + CHUNK)[0][1:]:
            for name, ms in row["timings_ms"].items():
                stages[name].append(ms)
    times = {"screen": stages.pop("total"), **{f"screen.stage.{name}": ms for name, ms in stages.items()}}
    _record(run, times, bursts, short=0)


def test_capture_to_verdict_warm(client, machine, run):
    """From the request to the answer that the capture is on the disk; the live picture rests meanwhile."""
    client.set(burst=str(run.sizes.get("burst", 3)))
    times: dict[str, list[float]] = defaultdict(list)
    here, bursts, graded = reference.is_here(machine), [], 0
    for number in range(WARMING + run.sizes["latency_runs"]):
        if number % PER_VISIT == 0:
            visit = client.visit()["uid"]
        bursts += [reference.burst(CAPTURE_PIECES)] if here else []
        begun = time.perf_counter()
        capture = client.capture(visit, ("OD", "OS")[number % 2])
        took = (time.perf_counter() - begun) * 1e3
        if number >= WARMING:
            times["capture-to-verdict"].append(took)
            for name, ms in capture["result"]["timings_ms"].items():
                times[f"capture.stage.{name}"].append(ms)
            graded += capture["result"]["outcome"] in GRADED
    _record(run, times, bursts)
    run.value("capture-to-verdict.graded", "share", graded / len(times["capture-to-verdict"]))


def _record(run, times: dict[str, list[float]], bursts: list[list[float]], **how: int) -> None:
    """Milliseconds and, where the target is this machine, ratios."""
    for name, ms in times.items():
        run.samples(f"{name}.warm", "ms", ms)
        if bursts:
            run.value(f"{name}.ratio", reference.UNIT, *reference.ratio(ms, bursts, **how))
    if bursts:
        run.samples("reference", "ms", [min(burst) for burst in bursts])
