"""From samples to figures: each candidate against the reference, and against the roof."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from quantize.bench import statistics
from quantize.bench.candidates import Candidate
from quantize.bench.report import Measured, Summary
from quantize.bench.rounds import Samples

ROOF = "roof"
COMMAND = "screen"  # each of its runs is a cold start


def summarize(
    candidates: Sequence[Candidate], samples: dict[str, Samples], macs: dict[str, int], reference: str
) -> list[Measured]:
    """Everything that was measured, with its figures. ``macs`` are those of each task's network."""
    measured = [_measured(c, samples[c.key], macs) for c in candidates]
    by_key = {m.key: m for m in measured}
    roofs = roof_by_threads(measured)
    return [
        msgspec.structs.replace(
            m, summary=_summary(m, by_key.get(f"{reference} x{m.threads}"), roofs.get(m.threads))
        )
        for m in measured
    ]


def roof_by_threads(measured: Sequence[Measured]) -> dict[int, Measured]:
    """The convolution with the most multiply-accumulates a second, for each number of threads."""
    best: dict[int, Measured] = {}
    for m in measured:
        if m.kind == ROOF and (m.threads not in best or _speed(m) > _speed(best[m.threads])):
            best[m.threads] = m
    return best


def _speed(m: Measured) -> float:
    """1e9 multiply-accumulates a second."""
    return (m.macs or 0) / statistics.estimate(statistics.by_round(m.turns)).value / 1e6


def _measured(c: Candidate, samples: Samples, macs: dict[str, int]) -> Measured:
    told = samples.told
    runs: dict[str, int] | None = told.get("network_runs")
    return Measured(
        name=c.name,
        kind=c.kind,
        what=c.what,
        threads=c.threads,
        macs=sum(count * macs[task] for task, count in runs.items()) if runs else c.macs,
        turns=samples.turns,
        starts=[] if c.kind == COMMAND else samples.starts,
        peak_mb=told.get("peak_mb"),
        steady_mb=told.get("steady_mb"),
        network_share=told.get("network_share"),
        network_runs=runs,
    )


def _summary(m: Measured, reference: Measured | None, roof: Measured | None) -> Summary:
    median = statistics.estimate(statistics.by_round(m.turns))
    ratio = statistics.ratio(m.turns, reference.turns) if reference else None
    p50, p95, p99 = statistics.percentiles(m.turns)
    cold = float(np.median(m.starts)) if m.starts else None
    speed = _speed(m) if m.macs else None
    share = speed / _speed(roof) if speed and roof else None
    value, low, high = ratio or (None, None, None)
    return Summary(*median, p50, p95, p99, cold, value, low, high, speed, share)
