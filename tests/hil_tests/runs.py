"""Run folders as a rig leaves them, with made-up samples: autocorrelated times, memory, power cuts."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import lfilter

STAGES = {"quality": 20, "disc": 70, "segmentation": 180, "glaucoma": 110, "overlay": 14}
PHASES = ("begin", "capture", "other eye", "finish", "export", "settings")


def autocorrelated(rng: np.random.Generator, count: int, memory: float = 0.5) -> np.ndarray:
    """An AR(1) sequence of unit variance."""
    noise = rng.standard_normal(count + 100) * np.sqrt(1 - memory**2)
    return lfilter([1], [1, -memory], noise)[100:]


def times(rng: np.random.Generator, median: float, count: int = 200, spread: float = 0.08) -> list[float]:
    """Latencies: log-normal, each like the one before, now and then much longer."""
    samples = median * np.exp(spread * autocorrelated(rng, count))
    samples[rng.random(count) < 0.02] *= 1.5
    return [round(float(s), 3) for s in samples]


def memory(
    rng: np.random.Generator, level: float = 148.0, leak: float = 0.0, captures: int = 2000
) -> dict[str, Any]:
    """RSS in MB after each tenth capture; ``leak`` is in kB a capture."""
    x = np.arange(10, captures + 1, 10.0)
    y = level - 18 * np.exp(-x / 120) + 0.25 * autocorrelated(rng, len(x), 0.6) + leak * x / 1024
    return {"unit": "MB", "x": list(x), "x_unit": "captures", "samples": [round(float(v), 3) for v in y]}


def cuts(rng: np.random.Generator, count: int = 312, lossy: int = 0) -> list[dict[str, Any]]:
    """Power cuts all through a run; one in ten was followed by a start."""
    at = np.sort(rng.uniform(40, 900, count))
    events = []
    for i, when in enumerate(at):
        ready = round(float(rng.normal(2.1, 0.3)), 2) if i % 10 == 0 else None
        events.append(
            {
                "kind": "power cut",
                "at": round(float(when), 3),
                "phase": PHASES[i % len(PHASES)],
                "entry": int(10 * when),
                "outcome": "nothing lost",
                "seconds_to_ready": ready,
            }
        )
    for i in rng.choice(count, lossy, replace=False):
        events[i]["outcome"] = "the capture 7f3a that was confirmed is not in the record; <audit> broken at 41"
    return events


def verdict(budget: str, unit: str, limit: str, value: float | None = None, **more: Any) -> dict[str, Any]:
    """One limit, passed unless told otherwise."""
    return {
        "budget": budget,
        "unit": unit,
        "limit": limit,
        "status": "confirmed",
        "verdict": "passed",
        "value": value,
        "low": value,
        "high": value,
        "reason": "",
        **more,
    }


def results(
    seed: int = 0,
    *,
    slower: float = 1.0,
    leak: float = 0.0,
    scatter: float = 0.02,
    shared: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A run that passed. ``slower`` multiplies the segmentation's time, ``scatter`` is from run to run. Others use
    a ``shared`` machine, so that there are ratios to a fixed piece of work."""
    rng = np.random.default_rng(seed)
    run = float(np.exp(scatter * rng.standard_normal()))
    stages = {name: ms * (slower if name == "segmentation" else 1) for name, ms in STAGES.items()}
    total = sum(stages.values())
    measurements: dict[str, Any] = {
        "capture-to-verdict.cold": {"unit": "ms", "samples": times(rng, run * (total + 350), 10)},
        "capture-to-verdict.warm": {"unit": "ms", "samples": times(rng, run * (total + 250))},
        "capture-to-verdict.sustained": {"unit": "ms", "samples": times(rng, run * (total + 280), 2000)},
        "screen.warm": {"unit": "ms", "samples": times(rng, run * total)},
        **{
            f"screen.stage.{name}.warm": {"unit": "ms", "samples": times(rng, run * ms)}
            for name, ms in stages.items()
        },
        "start.ready": {"unit": "s", "samples": times(rng, run * 2.0, 10)},
        "start.ready.full": {"unit": "s", "samples": times(rng, run * 2.6, 5)},
        "power.ready": {"unit": "s", "samples": times(rng, run * 2.1, 31)},
        "service.rss": memory(rng, 148, leak),
        "service.private": memory(rng, 110, leak),
        "service.files": {**memory(rng), "unit": "files", "samples": [31.0] * 200},
        "service.peak": {"unit": "MB", "value": 171.3},
        "power.cuts": {"unit": "cuts", "value": 312},
        "screen.instructions.a53.disc": {"unit": "Minstr", "value": 280.4},
        "screen.instructions.a72.disc": {"unit": "Minstr", "value": 205.2},
        "screen.instructions.a72.segmentation": {"unit": "Minstr", "value": 831.9 * slower},
    }
    if shared:
        measurements |= {
            "reference": {"unit": "ms", "samples": times(rng, 2.1, 400, 0.03)},
            "screen.ratio": {
                "unit": "times the reference",
                "value": total / 2.1,
                "low": total / 2.15,
                "high": total / 2.05,
            },
        }
    made = {
        "schema": 1,
        "rig": "host",
        "started": f"2026-11-{1 + seed % 28:02d}T09:30:00+00:00",
        "finished": f"2026-11-{1 + seed % 28:02d}T10:12:41+00:00",
        "seed": 1,
        "commit": f"{seed:07x}" + 33 * "a",
        "dirty": False,
        "fault": None,
        "void": None,
        "whole": True,
        "machine": {
            "model": "Raspberry Pi 4 Model B Rev 1.5",
            "cpu": "Cortex-A72",
            "cores": 4,
            "memory_mb": 1906,
            "kernel": "6.12.25+rpt-rpi-v8",
            "architecture": "aarch64",
            "os": "Debian GNU/Linux 13 (trixie)",
        },
        "versions": {"tenohira": "0.1.0", "python": "3.13.5", "ai-edge-litert": "2.1.6", "numpy": "2.4.6"},
        "bundles": {"disc_cup-1.0.0.tnh": "3f" * 32, "glaucoma-1.0.0.tnh": "a1" * 32},
        "sizes": {"captures": 2000, "cuts": 312, "latency_runs": 200},
        "throttling": {"before": "0x0", "during": ["0x0"] * 40, "after": "0x0"},
        "measurements": measurements,
        "events": [
            *cuts(rng),
            {"kind": "camera killed", "at": 950.2, "after": 0.41, "outcome": "refused in words"},
        ],
        "verdicts": [
            verdict(
                "capture-to-verdict.warm.p95", "ms", "at most 1000", 731.0, low=712.0, high=802.0, status="target"
            ),
            verdict("service.rss.slope", "kB a capture", "at most 0.5", 0.02, low=-0.11, high=0.15),
            verdict("service.rss.peak", "MB", "at most 250", 171.3, status="target"),
            verdict("power.cuts.value", "cuts", "at least 300", 312),
        ],
        "tests": [
            {
                "id": "hil_tests/suite/test_memory.py::test_many_captures",
                "outcome": "passed",
                "reason": "",
                "seconds": 1500.2,
                "detail": "",
            },
            {
                "id": "hil_tests/suite/test_power.py::test_nothing_is_lost",
                "outcome": "passed",
                "reason": "",
                "seconds": 903.0,
                "detail": "",
            },
        ],
        "outcome": "passed",
    }
    return copy.deepcopy({**made, **more})


def failed(seed: int = 5) -> dict[str, Any]:
    """A run with everything that can go wrong and is not void."""
    run = results(seed, leak=1.0, fault="leak-1kB", outcome="failed", dirty=True)
    run["events"] = cuts(np.random.default_rng(seed), lossy=3)
    run["verdicts"] += [
        verdict(
            "service.private.slope", "kB a capture", "at most 0.5", 1.03, low=0.91, high=1.15, verdict="failed"
        ),
        verdict(
            "screen.instructions.a72.total.value",
            "Minstr",
            "1900 ± 2%",
            verdict="missing",
            status="baseline",
            reason="nothing was measured; the test that measures it did not run or failed",
        ),
        verdict(
            "screen.cold.p95",
            "ms",
            "at most 4000",
            verdict="not measurable",
            reason="wall-clock time under emulation is not a board's",
        ),
        verdict("capture-to-verdict.warm.p99", "ms", "at most 1500", 951.0, low=802.0, high=None),
    ]
    run["tests"] += [
        {
            "id": "hil_tests/suite/test_watchdog.py::test_a_wedged_service_restarts",
            "outcome": "failed",
            "reason": "",
            "seconds": 62.0,
            "detail": "E   AssertionError: not back within 30 s <b>\n--- journal\nstarted\n" * 5,
        },
        {
            "id": "hil_tests/suite/test_camera.py::test_unplugged",
            "outcome": "not measurable",
            "reason": "libcamera is not installed here; the virtual Pi has it",
            "seconds": 0.0,
            "detail": "",
        },
    ]
    return run


def void(seed: int = 6) -> dict[str, Any]:
    """A run on a board that was too hot, with its temperature."""
    run = results(seed, outcome="void", void="the firmware throttled the board (0x50005)")
    run["throttling"] = {"before": "0x0", "during": ["0x0"] * 12 + ["0x50005"] * 28, "after": "0x50000"}
    x = np.arange(0.0, 2400, 10)
    run["measurements"]["board.temperature"] = {
        "unit": "°C",
        "x": list(x),
        "x_unit": "seconds",
        "samples": list(np.minimum(82, 48 + x / 40)),
    }
    return run


def folder(parent: Path, run: dict[str, Any], journal: str = "") -> Path:
    """Its folder, as ``tenohira hil`` leaves it."""
    path = parent / f"{run['rig']}-{run['started'][:10].replace('-', '')}-{run['started'][11:19].replace(':', '')}"
    path.mkdir(parents=True)
    (path / "results.json").write_text(json.dumps(run))
    (path / "journal.txt").write_text(journal)
    return path
