"""A target computes what this machine computes: the same verdict, the same measurements, on the fast kernels.

Golden vectors on the reference kernels are test_selftest.py's. The fast kernels of two architectures may round the
last bits of a network's output differently, which moves a pixel at the border of a mask here and there.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.suite import photographs

ROOT = Path(__file__).resolve().parents[2]
RATIOS = 0.02  # a row of the outlines' map, which has 96 for two disc diameters
PIXELS = 1
PROBABILITY = 0.07  # four of the 256 steps of the classifier's output and that row, where the curve is steepest


@pytest.fixture(scope="module")
def rows(target, tmp_path_factory) -> tuple[dict, dict]:
    """What the target, and this machine, say about one photograph."""
    folder = tmp_path_factory.mktemp("golden")
    photograph = photographs.simulated(folder)
    machine, instrument = target.get_driver("CommandProtocol"), target.get_driver("InstrumentProtocol")
    there = machine.run_check("mktemp -d")[0]
    machine.run_check(f"chmod 777 {there}")
    machine.put(str(photograph), f"{there}/{photograph.name}")
    command = ["screen", "--json", "--threads", "1", "--out"]
    said = instrument.tenohira(*command, f"{there}/out", f"{there}/{photograph.name}")
    assert said.code == 0, said.out + said.err
    theirs = json.loads("".join(machine.run_check(f"cat {there}/out/results.jsonl && rm -rf {there}")))
    here = [sys.executable, "-m", "device.cli", *command, str(folder / "out"), str(photograph)]
    done = subprocess.run(here, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return theirs, json.loads((folder / "out/results.jsonl").read_text())


def test_the_verdict_is_the_same(rows):
    theirs, ours = rows
    assert ours["outcome"] in photographs.GRADED, "this photograph is to go through every stage"
    for field in ("outcome", "tip", "view", "bundles", "operating_points"):
        assert theirs[field] == ours[field], field
    assert list(map(_wording, theirs["reasons"])) == list(map(_wording, ours["reasons"]))
    assert theirs["quality"] == ours["quality"]


def test_the_measurements_are_the_same_but_for_the_last_bits(rows):
    theirs, ours = (dict(_numbers({key: row[key] for key in MEASURED})) for row in rows)
    assert len(ours) > 10 and theirs.keys() == ours.keys()
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, abs=_tolerance(name)), name


MEASURED = ("vcdr", "glaucoma_probability", "disc", "measurements")


def _wording(reason: str) -> str:
    """Without its numbers, which are compared below."""
    return re.sub(r"[0-9.]+", "", reason)


def _numbers(row: dict, prefix: str = ""):
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, float | int):
            yield prefix + name, value


def _tolerance(name: str) -> float:
    if name == "glaucoma_probability":
        return PROBABILITY
    return PIXELS if name.startswith("disc.") or name.endswith("_px") else RATIOS
