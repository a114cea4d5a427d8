"""The frontier: time against multiply-accumulates, with the roof."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np

from quantize.bench.report import Measured, Report
from quantize.bench.summary import ROOF, roof_by_threads
from quantize.errors import BenchError

# Okabe and Ito
LOOKS = {"int8": ("#0072b2", "o", "int8, LiteRT"), "pipeline": ("#d55e00", "D", "whole pipeline"),
         "torch": ("#cc79a7", "s", "float32, PyTorch eager"),
         "onnxruntime": ("#e69f00", "^", "float32, ONNX Runtime"),
         "onnxruntime_int8": ("#009e73", "v", "int8, ONNX Runtime"),
         "tflite_runtime": ("#56b4e9", "P", "int8, tflite-runtime"),
         ROOF: ("#999999", "x", "one convolution")}  # fmt: skip


def frontier(path: Path, report: Report) -> None:
    """Write a PNG: the time ratio to the reference by GMAC on the fewest threads, log axes. What lies on the line
    is as fast as the best convolution. Raises BenchError where there is no ratio or it cannot be written."""
    threads = min(report.settings.threads)
    points = [m for m in report.candidates if m.threads == threads and _shown(m)]
    roof = roof_by_threads(points).get(threads)
    if not points or roof is None:
        raise BenchError("there is no ratio to plot; choose a --reference that is measured on as many threads")
    figure, axes = plt.subplots(figsize=(8, 5.4), layout="constrained")
    for kind, (colour, marker, words) in LOOKS.items():
        of_kind = [m for m in points if m.kind == kind]
        if of_kind:
            x, y = zip(*(_place(m) for m in of_kind))
            low, high = zip(*((m.summary.ratio_low, m.summary.ratio_high) for m in of_kind if m.summary))
            axes.vlines(x, low, high, color=colour, lw=1.5)
            axes.plot(x, y, marker, color=colour, ms=7, label=words)
    for names, place in _labels(points):  # on the left: the roof is on the right
        axes.annotate(names, place, (-7, -3), textcoords="offset points", fontsize=8, ha="right")
    gmac, ratio = _place(roof)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = np.array([min(_place(m)[0] for m in points) / 4, max(_place(m)[0] for m in points) * 2.5])
    axes.plot(ends, ratio * ends / gmac, color="#444444", lw=1, ls="--", label="practical roof")
    axes.set_xlim(*ends)
    axes.set_xlabel("GMAC a run")
    axes.set_ylabel(f"time / time of {report.settings.reference}")
    axes.set_title(f"threads: {threads}, {report.machine.processor}", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    try:
        figure.savefig(path, dpi=130, format="png")
    except OSError as error:
        raise BenchError(f"cannot write {path} ({error.strerror}); give another file") from error
    finally:
        plt.close(figure)


def _shown(m: Measured) -> bool:
    return m.kind in LOOKS and m.macs is not None and m.summary is not None and m.summary.ratio is not None


def _labels(points: list[Measured]) -> list[tuple[str, tuple[float, float]]]:
    """Names and places: what lies together is named together."""
    labels: list[tuple[str, tuple[float, float]]] = []
    for m in sorted((m for m in points if m.kind != ROOF), key=_place):
        if labels and np.allclose(labels[-1][1], _place(m), rtol=0.1, atol=0):
            labels[-1] = (f"{labels[-1][0]}, {m.name}", labels[-1][1])
        else:
            labels.append((m.name, _place(m)))
    return labels


def _place(m: Measured) -> tuple[float, float]:
    assert m.macs is not None and m.summary is not None and m.summary.ratio is not None  # _shown
    return m.macs / 1e9, m.summary.ratio
