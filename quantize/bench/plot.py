"""Two views of one run: the frontier (time against multiply-accumulates) and the roofline (shares of the roof)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import matplotlib.ticker
import numpy as np

from quantize.bench.report import Measured, Report, Summary
from quantize.bench.summary import ROOF, roof_by_threads
from quantize.bench.targets import PAPER_ROOF, SMALL_ROOF
from quantize.errors import BenchError

# Okabe and Ito
LOOKS = {"int8": ("#0072b2", "o", "int8, LiteRT"), "pipeline": ("#d55e00", "D", "whole pipeline"),
         "torch": ("#cc79a7", "s", "float32, PyTorch eager"),
         "onnxruntime": ("#e69f00", "^", "float32, ONNX Runtime"),
         "onnxruntime_int8": ("#009e73", "v", "int8, ONNX Runtime"),
         "tflite_runtime": ("#56b4e9", "P", "int8, tflite-runtime"),
         ROOF: ("#999999", "x", "one convolution")}  # fmt: skip
NAMED = ("int8", "pipeline")  # the others lie above or below the int8 network of the same name
# Points nearer than this factor, or this share of the roof, are named together.
TOGETHER, SHARES_TOGETHER = 1.3, 0.15
NAME_WIDTH = 3.0  # a factor, on the axis of GMAC
Place = tuple[float, float]


def frontier(path: Path, report: Report) -> None:
    """Write a PNG of the fewest threads. Left: time as a ratio to the reference's by GMAC, log axes; what lies on
    the line is as fast as the best convolution. Right: the share of that roof. Raises BenchError where there is no
    ratio or it cannot be written."""
    threads = min(report.settings.threads)
    points = [m for m in report.candidates if m.threads == threads and _shown(m)]
    roof = roof_by_threads(points).get(threads)
    if not points or roof is None:
        raise BenchError("there is no ratio to plot; choose a --reference that is measured on as many threads")
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 5.4), layout="constrained")
    named = [m for m in points if m.kind in NAMED]
    gmacs = np.array([_gmac(m) for m in points])
    ends = np.array([gmacs.min() / 4, gmacs.max() * 2.5])
    _draw(left, points, _times)
    for names, place in _labels([(_name(m), (_gmac(m), _times(m)[0])) for m in named], _near):
        at, side = ((8, -3), "left") if _crowded(place, points) else ((-7, -3), "right")
        left.annotate(names, place, at, textcoords="offset points", fontsize=8, ha=side)
    left.plot(ends, _times(roof)[0] * ends / _gmac(roof), color="#444444", lw=1, ls="--", label="practical roof")
    left.set_yscale("log")
    left.set_ylabel(f"time / time of {report.settings.reference}")
    on = f"{threads} thread{'s' * (threads > 1)}, {report.machine.processor}"
    left.set_title(f"time, {on}", fontsize=10, loc="left")
    left.legend(fontsize=9, frameon=False)
    _draw(right, points, _shares)
    for names, place in _labels([(_name(m), (_gmac(m), _shares(m)[0])) for m in named], _near_shares):
        dy, side = (-8, "top") if place[1] > 0.5 else (8, "bottom")
        right.annotate(
            names, place, (0, dy), textcoords="offset points", fontsize=8, ha="center", va=side, rotation=90
        )
    for share, words in ((1.0, "practical roof"), (PAPER_ROOF, "target, paper"), (SMALL_ROOF, "target, small")):
        right.axhline(share, color="#444444", lw=1, ls="--" if share == 1 else ":")
        right.annotate(words, (ends[0], share), (4, 3), textcoords="offset points", fontsize=8)
    right.set_ylim(0, max(1.15, 1.05 * max(_shares(m)[2] for m in points)))
    right.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    right.set_ylabel("share of the practical roof")
    peak = _summary(roof).gmacs or 0
    right.set_title(f"throughput; the roof is {peak:.4g} GMAC/s", fontsize=10, loc="left")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlim(*ends)
        axes.set_xlabel("GMAC a run")
        axes.spines[["top", "right"]].set_visible(False)
    if report.machine.busy:
        figure.suptitle("The machine was busy: these figures are wrong", color="#d55e00")
    try:
        figure.savefig(path, dpi=130, format="png")
    except OSError as error:
        raise BenchError(f"cannot write {path} ({error.strerror}); give another file") from error
    finally:
        plt.close(figure)


def _draw(axes: Any, points: list[Measured], of: Callable[[Measured], tuple[float, float, float]]) -> None:
    """Points with their intervals; ``of`` gives a candidate's value, low and high."""
    for kind, (colour, marker, words) in LOOKS.items():
        if of_kind := [m for m in points if m.kind == kind]:
            x = [_gmac(m) for m in of_kind]
            y, low, high = zip(*(of(m) for m in of_kind))
            axes.vlines(x, low, high, color=colour, lw=1.5)
            axes.plot(x, y, marker, color=colour, ms=7, label=words)


def _labels(named: list[tuple[str, Place]], near: Callable[[Place, Place], bool]) -> list[tuple[str, Place]]:
    """Names and places: what lies together is named together, at the leftmost."""
    labels: list[tuple[str, Place]] = []
    for name, place in sorted(named, key=lambda n: n[1]):
        for i, (names, other) in enumerate(labels):
            if near(place, other):
                labels[i] = (f"{names}, {name}", other)
                break
        else:
            labels.append((name, place))
    return labels


def _crowded(place: Place, points: list[Measured]) -> bool:
    """Whether a name on the left of a place would lie on another point."""
    others = [(_gmac(m), _times(m)[0]) for m in points]
    return any(1 < place[0] / x < NAME_WIDTH and 1 / TOGETHER < place[1] / y < TOGETHER for x, y in others)


def _near(a: Place, b: Place) -> bool:
    """Of two log axes."""
    return all(1 / TOGETHER < p / q < TOGETHER for p, q in zip(a, b))


def _near_shares(a: Place, b: Place) -> bool:
    return 1 / TOGETHER < a[0] / b[0] < TOGETHER and abs(a[1] - b[1]) < SHARES_TOGETHER


def _name(m: Measured) -> str:
    return m.name.removesuffix(" int8")


def _shown(m: Measured) -> bool:
    return m.kind in LOOKS and m.macs is not None and m.summary is not None and m.summary.ratio is not None


def _gmac(m: Measured) -> float:
    return (m.macs or 0) / 1e9


def _times(m: Measured) -> tuple[float, float, float]:
    s = _summary(m)
    assert s.ratio is not None and s.ratio_low is not None and s.ratio_high is not None  # _shown
    return s.ratio, s.ratio_low, s.ratio_high


def _shares(m: Measured) -> tuple[float, float, float]:
    """The interval is that of the candidate's own time; the roof's is not in it."""
    s = _summary(m)
    share = s.roof_share or 0.0
    return share, share * s.median_ms / s.high_ms, share * s.median_ms / s.low_ms


def _summary(m: Measured) -> Summary:
    assert m.summary is not None  # the report is complete
    return m.summary
