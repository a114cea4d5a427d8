"""Instructions of each stage on each core, of starting, and what tenohira takes in memory and on the card.

One number each: they repeat to a few parts in a thousand, so a limit of two parts in a hundred around the
committed baseline (hil_tests/baselines/aarch64.json) tells a change of the software from chance.
"""

from __future__ import annotations

import json
from statistics import fmean

import pytest

from hil_tests.suite import photographs

pytestmark = pytest.mark.needs("instructions")

M = 1e6
SIZES = """
import importlib.metadata, json
sizes = {}
for one in importlib.metadata.distributions():
    sizes[one.name.lower()] = sum(file.size or 0 for file in one.files or ())
print(json.dumps(sizes))
"""


def test_instructions_of_each_stage_and_core(target, run, tmp_path):
    photograph = photographs.simulated(tmp_path)
    for core, counted in target.get_driver("CounterProtocol").count(photograph.read_bytes()).items():
        screen, serve = counted["screen"], counted["serve"]
        timings = [row["timings_ms"] for row in screen["rows"]]  # a millisecond is a million instructions
        assert {row["outcome"] for row in screen["rows"]} == {"refer"}, "every stage is to be counted"
        assert len(timings) > 1 and {"disc_finder", "disc_cup", "glaucoma", "total"} <= timings[0].keys()
        for stage in timings[0]:
            warm = fmean(each[stage] for each in timings[1:])
            run.value(f"screen.instructions.{core}.{stage}", "Minstr", warm)
        run.value(f"screen.instructions.{core}.cold", "Minstr", timings[0]["total"])
        answers = sum(each["total"] + each["save"] for each in timings)
        run.value(f"start.instructions.{core}.screen", "Minstr", screen["nanoseconds"] / M - answers)
        run.value(f"start.instructions.{core}.serve", "Minstr", serve["nanoseconds"] / M)
        run.value(f"screen.memory.{core}.peak", "MB", screen["peak_kb"] / 1024)
        run.value(f"serve.memory.{core}.ready", "MB", serve["pss_kb"] / 1024)


def test_sizes_on_the_card(target, run):
    machine = target.get_driver("CommandProtocol")
    sizes = json.loads("".join(machine.run_check(f"PYTHONPATH=/opt python3 -c '{SIZES}'")))
    for name, size in sorted(sizes.items()):
        if size > M:
            run.value(f"size.package.{name}", "MB", size / M)
    run.value("size.packages", "MB", sum(sizes.values()) / M)
    listed = machine.run_check("find /opt/device/bundles -name '*.tnh' -printf '%f %s\\n'")
    assert listed
    for name, size in (line.split() for line in sorted(listed)):
        run.value(f"size.bundle.{name.partition('-')[0]}", "kB", int(size) / 1e3)
