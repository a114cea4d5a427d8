"""A run on a board that was slowed down is void, with the reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hil_tests.rig import RIGS
from hil_tests.thermal import void

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("readings", "why"),
    [
        (("", [""], ""), None),  # no such firmware
        (("0x0", ["0x0"], "0x0"), None),
        (("0x50000", ["0x50000", ""], "0x50000"), None),  # it was so before the run, and is over
        (("0x0", ["0x0"], "0x1"), "the supply voltage was too low"),
        (("0x0", ["0x20002", "0x20000"], "0x20000"), "the processor's frequency was capped"),
        (("0x4", [], ""), "the processor was throttled"),
        (("0x50000", ["0x80000"], "0xd0000"), "the soft temperature limit was reached"),  # between two readings
        (
            ("0x0", ["0x50000"], "0x0"),
            "the supply voltage was too low, the processor was throttled",
        ),  # and a restart
    ],
)
def test_what_the_firmware_says_decides(readings, why):
    said = void(dict(zip(("before", "during", "after"), readings)))
    assert (said is None) if why is None else said.startswith(f"{why} (get_throttled: ")


@pytest.fixture
def board(tmp_path):
    """A rig whose firmware answers from a list, one line a question; it is this machine with another vcgencmd."""
    for name in ("yaml", "budget.toml"):
        text = (RIGS / f"host.{name}").read_text()
        text = text.replace("features: [", "features: [throttling, ")
        lines = [line for line in text.splitlines() if not line.startswith("throttling =")]
        (tmp_path / f"board.{name}").write_text("\n".join(lines))
    program = tmp_path / "bin" / "vcgencmd"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "throttled=$(sed -n 1p {tmp_path}/flags)"\n[ $(wc -l <{tmp_path}/flags) = 1 ] || '
        f"sed -i 1d {tmp_path}/flags\n"
    )
    program.chmod(0o755)
    return tmp_path


def run(board: Path, *flags: str) -> tuple[int, dict]:
    (board / "flags").write_text("\n".join(flags) + "\n")
    command = [sys.executable, "-m", "device.cli", "hil", "--rig", str(board / "board.yaml"), "--out", str(board)]
    environment = os.environ | {"PATH": f"{board / 'bin'}:{os.environ['PATH']}"}
    only = ["--only", "firmware_tells or software_passes"]
    done = subprocess.run([*command, *only], cwd=ROOT, env=environment, capture_output=True, text=True)
    (results,) = board.glob("board-*/results.json")
    found = json.loads(results.read_text())
    results.unlink()
    return done.returncode, found


def test_a_run_that_was_slowed_down_is_void(board):
    code, results = run(board, "0x50000", "0x50000", "0x70002", "0x70000")
    assert code == 4 and results["outcome"] == "void"
    assert results["void"].startswith("the processor's frequency was capped")
    assert results["throttling"] == {"before": "0x50000", "during": ["0x50000", "0x70002"], "after": "0x70000"}


def test_a_run_that_was_not_is_none(board):
    code, results = run(board, "0x50000")
    assert code == 0 and results["outcome"] == "passed" and results["void"] is None
    assert results["throttling"] == {"before": "0x50000", "during": ["0x50000"] * 2, "after": "0x50000"}
