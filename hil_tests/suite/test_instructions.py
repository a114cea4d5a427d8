"""Instructions of each stage on each core, of starting, and what tenohira takes in memory and on the card.

One number each: they repeat to a few parts in a thousand, so a limit of two parts in a hundred around the
committed baseline (hil_tests/baselines/aarch64.json) tells a change of the software from chance.
"""

from __future__ import annotations

import json

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
        processes, services = counted["screen"], counted["serve"]
        rows = [process["rows"] for process in processes]
        (outcome,) = {row["outcome"] for each in rows for row in each}
        assert outcome in photographs.GRADED, "every stage is to be counted"
        timings = [[row["timings_ms"] for row in each] for each in rows]  # a millisecond is a million instructions
        for stage in timings[0][0]:
            warm = min(row[stage] for each in timings for row in each[1:])
            run.value(f"screen.instructions.{core}.{stage}", "Minstr", warm)
        run.value(f"screen.instructions.{core}.cold", "Minstr", min(each[0]["total"] for each in timings))
        starts = [
            process["nanoseconds"] / M - sum(row["total"] + row["save"] for row in each)
            for process, each in zip(processes, timings, strict=True)
        ]
        run.value(f"start.instructions.{core}.screen", "Minstr", min(starts))
        run.value(f"start.instructions.{core}.serve", "Minstr", min(one["nanoseconds"] for one in services) / M)
        run.value(f"screen.memory.{core}.peak", "MB", min(one["peak_kb"] for one in processes) / 1024)
        run.value(f"serve.memory.{core}.ready", "MB", min(one["pss_kb"] for one in services) / 1024)


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
