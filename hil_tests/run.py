"""One run on one rig: what was measured, what happened, what the tests said; kept in a dated folder.

``results.json`` has the raw samples (README.md has its fields), ``junit.xml`` the tests, ``journal.txt`` what the
service wrote, ``failures/`` a file for each failed test, ``report.html`` all of it to look at.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hil_tests.results import FILE, SCHEMA
from hil_tests.rig import Rig

ROOT = Path(__file__).resolve().parents[1]


class Run:
    """Tests write into it, ``finish`` judges and saves."""

    def __init__(self, rig: Rig, folder: Path, *, seed: int, sizes: dict[str, int], fault: str | None) -> None:
        self.rig, self.folder, self.seed, self.fault = rig, folder, seed, fault
        self.sizes = {**rig.budget.sizes, **sizes}
        self.measurements: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.tests: list[dict[str, Any]] = []
        self.machine: dict[str, Any] = {}
        self.versions: dict[str, str] = {}
        self.bundles: dict[str, str] = {}
        self.throttling: dict[str, Any] = {}
        self.void: str | None = None
        self.whole = True  # False where only a part of the tests was asked for
        self.ended = True  # False where it was interrupted
        self.journal = ""
        self._excused: dict[str, str] = {}
        self._begun, self._started = time.monotonic(), _now()

    def samples(self, name: str, unit: str, samples: list[float]) -> None:
        """Repetitions of the same thing, in their order; more of them are added to what is there."""
        kept = self.measurements.setdefault(name, {"unit": unit, "samples": []})
        kept["samples"] += [float(s) for s in samples]

    def series(self, name: str, unit: str, x: list[float], samples: list[float], x_unit: str) -> None:
        """Something that is watched while ``x`` (captures, seconds) goes on."""
        self.measurements[name] = {
            "unit": unit, "x": [float(at) for at in x], "x_unit": x_unit, "samples": [float(s) for s in samples],
        }  # fmt: skip

    def value(self, name: str, unit: str, value: float, interval: tuple[float, float] | None = None) -> None:
        """One number, with its 95 % interval where there is one."""
        ends = {} if interval is None else dict(zip(("low", "high"), map(float, interval), strict=True))
        self.measurements[name] = {"unit": unit, "value": float(value), **ends}

    def event(self, kind: str, **what: Any) -> None:
        """Something that happened at a time: a power cut, a restart."""
        self.events.append({"kind": kind, "at": round(time.monotonic() - self._begun, 3), **what})

    def not_measurable(self, reason: str, *measurements: str) -> NoReturn:
        """End the test: this machine cannot do it, and limits of these measurements (patterns) are not judged."""
        self._excused |= dict.fromkeys(measurements, reason)
        raise NotMeasurable(reason)

    def finish(self) -> dict[str, Any]:
        """Judge, and write results.json. Returns what is in it."""
        verdicts = self.rig.budget.judge(self.measurements, self._excused)
        if not self.whole:  # whoever asks for a part is not told that the rest is missing
            verdicts = [v for v in verdicts if v.verdict != "missing"]
        broken = [v for v in verdicts if v.verdict in ("failed", "missing")]
        failed = [t for t in self.tests if t["outcome"] == "failed"]
        good = self.ended and self.tests and not broken and not failed
        results = {
            "schema": SCHEMA, "rig": self.rig.name, "started": self._started, "finished": _now(),
            "seed": self.seed, **_commit(), "fault": self.fault, "void": self.void,
            "whole": self.whole and self.ended,
            "machine": self.machine, "versions": self.versions, "bundles": self.bundles, "sizes": self.sizes,
            "throttling": self.throttling, "measurements": self.measurements, "events": self.events,
            "verdicts": [asdict(v) for v in verdicts], "tests": self.tests,
            "outcome": "void" if self.void else "passed" if good else "failed",
        }  # fmt: skip
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "journal.txt").write_text(self.journal)
        (self.folder / FILE).write_text(json.dumps(results, indent=1) + "\n")
        return results


class NotMeasurable(pytest.skip.Exception):  # pytest's own name for it
    """Not a failure, and never silent: it stands in the results with its reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, _use_item_location=True)
        self.reason = reason


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> dict[str, Any]:
    """Of the checkout; empty where it is none."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
