"""What this project sets out to reach, beside what a run measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from quantize.bench.candidates import REFERENCE
from quantize.bench.report import Measured, Report

TIMES_FASTER = 15.0  # the screening of a photograph of 1024 pixels, than the U-Net's segmentation alone at 320
NETWORKS_SHARE = 0.6  # of the pipeline's time
PAPER, PAPER_ROOF, SMALL_ROOF = "paper 320 int8", 0.9, 0.6  # shares of the roof
COMMAND_MB = 120.0  # peak resident memory of `tenohira screen`


class Target(NamedTuple):
    """``held`` is of the measured value alone; read its interval in the table beside it."""

    words: str
    measured: str
    held: bool


def targets(report: Report) -> list[Target]:
    """The targets that this run can speak of, in the order of its candidates."""
    return [target for m in report.candidates for target in _of(m, report.settings.reference)]


def _of(m: Measured, reference: str) -> Iterator[Target]:
    s = m.summary
    assert s is not None  # the report is complete
    if m.kind == "pipeline":
        if reference == REFERENCE and s.ratio:
            faster = 1 / s.ratio
            words = f"{m.key}: at least {TIMES_FASTER:.0f} times faster than {REFERENCE} alone"
            yield Target(words, f"{faster:.3g} times", faster >= TIMES_FASTER)
        if m.network_share is not None:
            words = f"{m.key}: networks have at least {NETWORKS_SHARE:.0%} of its time"
            yield Target(words, f"{m.network_share:.0%}", m.network_share >= NETWORKS_SHARE)
    elif m.kind == "screen" and m.peak_mb is not None:
        words = f"{m.key}: peak resident memory at most {COMMAND_MB:.0f} MB"
        yield Target(words, f"{m.peak_mb:.0f} MB", m.peak_mb <= COMMAND_MB)
    elif s.roof_share is not None and (m.name == PAPER or (m.what.startswith("bundle ") and m.kind == "int8")):
        least = PAPER_ROOF if m.name == PAPER else SMALL_ROOF
        yield Target(f"{m.key}: at least {least:.0%} of the roof", f"{s.roof_share:.0%}", s.roof_share >= least)
