"""Plots of runs as SVG to be put into a page. Each has a title and a description for those who cannot see it.

Lines differ by dashes and points by shape as well as by colour.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from itertools import count, cycle
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from hil_tests import statistics
from hil_tests.statistics import Estimate

INK, SOFT, LINE = "#1a1a1a", "#4d4d4d", "#d6dade"
BLUE, RUST, GREEN = "#00588f", "#a63c00", "#00735a"
STATES = {"cold": (BLUE, ":"), "warm": (INK, "-"), "sustained": (GREEN, "--")}
MARKS = {"p50": "o", "p95": "s", "p99": "^"}
MOST = 400  # points of a curve: more cannot be seen
LEAST = 0.1  # of the middle, that a trend's axis has above and below it
WIDE = 8  # times from the smallest to the largest: then the axis is logarithmic
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tenohira",
    "font.size": 9.5,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
}
_numbers = count()


class Limit(NamedTuple):
    """A line that a figure should stay below (``at most``) or above."""

    value: float
    words: str


@matplotlib.rc_context(STYLE)
def distribution(name: str, unit: str, samples: dict[str, Sequence[float]], limits: Sequence[Limit]) -> str:
    """The share of samples up to each value, a curve for each state, with its percentiles."""
    figure, axes = _axes(5.6, 3.7)
    told = []
    for state, values in samples.items():
        colour, dashes = STATES.get(state, (INK, "-"))
        ordered = np.sort(np.asarray(values, dtype=float))
        share = np.arange(1, len(ordered) + 1) / len(ordered)
        some = np.unique(np.linspace(0, len(ordered) - 1, MOST).astype(int))
        axes.step(ordered[some], 100 * share[some], where="post", color=colour, ls=dashes, lw=1.6,
                  label=f"{state or 'all'}, n = {len(ordered)}")  # fmt: skip
        at = {p: float(np.quantile(ordered, float(p[1:]) / 100)) for p in MARKS}
        for p, x in at.items():
            axes.plot(x, float(p[1:]), MARKS[p], color=colour, ms=5.5, mec="white", mew=0.6)
        told.append(f"{state}: " + ", ".join(f"{p} {x:.4g} {unit}" for p, x in at.items()))
    for p, marker in MARKS.items():
        axes.plot([], [], marker, color=SOFT, ms=5.5, label=p)
    _upright(axes, limits)
    every = [v for values in samples.values() for v in values] + [limit.value for limit in limits]
    if min(every) > 0 and max(every) > WIDE * min(every):
        _logarithmic(axes.set_xscale, axes.xaxis)
    axes.set_xlabel(unit)
    axes.set_ylabel("% of the samples")
    axes.set_ylim(0, 104)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    return _svg(figure, f"{name}, distribution", "; ".join(told))


@matplotlib.rc_context(STYLE)
def percentiles(name: str, unit: str, rows: dict[str, Sequence[float]]) -> str:
    """A row of percentiles for each of many stages."""
    figure, axes = _axes(5.6, 0.9 + 0.3 * len(rows))
    told = []
    for y, (row, values) in enumerate(rows.items()):
        at = {p: float(np.quantile(values, float(p[1:]) / 100)) for p in MARKS}
        axes.plot([min(values), at["p99"]], [y, y], color=LINE, lw=3, solid_capstyle="butt", zorder=1)
        for p, x in at.items():
            axes.plot(x, y, MARKS[p], color=INK if p == "p50" else BLUE if p == "p95" else SOFT, ms=5.5,
                      label=p if y == 0 else None)  # fmt: skip
        told.append(f"{row}: " + ", ".join(f"{p} {x:.4g}" for p, x in at.items()))
    axes.set_yticks(range(len(rows)), rows, color=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    every = [v for values in rows.values() for v in values]
    if min(every) > 0 and max(every) > WIDE * min(every):
        _logarithmic(axes.set_xscale, axes.xaxis)
    axes.set_xlabel(unit)
    figure.legend(loc="outside upper right", ncols=3, fontsize=8.5)
    return _svg(figure, f"{name}, percentiles of each stage in {unit}", "; ".join(told))


@matplotlib.rc_context(STYLE)
def series(name: str, measurement: dict[str, Any], line: statistics.Line | None, limits: Sequence[Limit],
           steepest: Limit | None) -> str:  # fmt: skip
    """A series with the line through its second half. ``steepest``: a slope's limit, in the series' own units."""
    figure, axes = _axes(5.6, 3.1)
    x, y = (np.asarray(measurement[key], dtype=float) for key in ("x", "samples"))
    some = np.unique(np.linspace(0, len(x) - 1, 2 * MOST).astype(int))
    axes.plot(x[some], y[some], color=SOFT, lw=0.9, label="measured")
    told = f"from {y[0]:.4g} to {y[-1]:.4g} {measurement['unit']}"
    if line is not None:
        axes.axvspan(x[0], line.x[0], color=LINE, alpha=0.5, lw=0, label="warm-up, not in the slope")
        axes.plot(line.x, line.y, color=BLUE, lw=2.2, label="slope")
        told += f"; slope {line.slope.value:.3g} {measurement['unit']} a {measurement['x_unit'].removesuffix('s')}"
        if steepest is not None:
            end = line.y[0] + steepest.value * (line.x[1] - line.x[0])
            axes.plot(line.x, (line.y[0], end), color=RUST, lw=1.5, ls="--", label=steepest.words)
    for limit in limits:
        if limit.value <= y.max() + 2 * max(np.ptp(y), 0.02 * y.max()):
            axes.axhline(limit.value, color=RUST, lw=1.4, ls="-.", label=limit.words)
    axes.set_xlabel(measurement["x_unit"])
    axes.set_ylabel(measurement["unit"])
    axes.ticklabel_format(useOffset=False)
    axes.margins(x=0.01)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    return _svg(figure, f"{name} over {measurement['x_unit']}", told)


@matplotlib.rc_context(STYLE)
def dots(name: str, unit: str, samples: dict[str, Sequence[float]], limits: Sequence[Limit]) -> str:
    """Few samples, each as a point, a row for each measurement; the median is a bar."""
    figure, axes = _axes(5.6, 1.1 + 0.42 * len(samples))
    rng = np.random.default_rng(0)  # points beside each other are told apart
    for y, values in enumerate(samples.values()):
        axes.plot(values, y + rng.uniform(-0.18, 0.18, len(values)), "o", ms=4, mfc="none", mec=INK, alpha=0.6)
        axes.plot([np.median(values)] * 2, [y - 0.32, y + 0.32], color=BLUE, lw=2.4)
    axes.set_yticks(range(len(samples)), samples, color=INK)
    axes.set_ylim(len(samples) - 0.5, -0.6)
    _upright(axes, limits)
    axes.set_xlim(left=0)
    axes.set_xlabel(unit)
    if limits:
        figure.legend(loc="outside lower center", ncols=2, fontsize=8.5)
    told = "; ".join(f"{row}: median {np.median(v):.4g} {unit} of {len(v)}" for row, v in samples.items())
    return _svg(figure, name, told)


@matplotlib.rc_context(STYLE)
def power_cuts(events: Sequence[dict[str, Any]], good: str, limits: Sequence[Limit]) -> str:
    """Each cut at its time and phase, and how long the instrument then took to be ready."""
    phases = list(dict.fromkeys(e["phase"] for e in events))
    ready = [e for e in events if e.get("seconds_to_ready") is not None]
    figure = Figure(figsize=(11.4, 1.4 + 0.34 * len(phases) + (1.9 if ready else 0)), layout="constrained")
    ratios = [0.34 * len(phases) + 0.5, 1.9] if ready else [1]
    grid = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios})[:, 0]
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    rng = np.random.default_rng(0)
    for name, marker, css in (
        (good, "o", {"ms": 4.2, "mfc": "none", "mec": BLUE, "mew": 0.9, "alpha": 0.75}),
        ("otherwise", "X", {"ms": 10, "color": RUST, "mec": "white"}),
    ):
        some = [e for e in events if (e["outcome"] == good) == (name == good)]
        y = [phases.index(e["phase"]) + rng.uniform(-0.24, 0.24) for e in some]
        grid[0].plot([e["at"] for e in some], y, marker, label=f"{name}: {len(some)}", **css)
    grid[0].set_yticks(range(len(phases)), phases, color=INK)
    grid[0].set_ylim(len(phases) - 0.5, -0.5)
    for y in range(len(phases) - 1):
        grid[0].axhline(y + 0.5, color=LINE, lw=0.7)
    if ready:
        grid[1].plot(
            [e["at"] for e in ready], [e["seconds_to_ready"] for e in ready], "d", ms=4, color=INK, alpha=0.7
        )
        for limit in limits:
            grid[1].axhline(limit.value, color=RUST, ls="--", lw=1.4, label=limit.words)
        if limits:
            grid[1].legend(loc="upper right", fontsize=8.5)
        grid[1].set_ylim(bottom=0)
        grid[1].set_ylabel("s to ready")
    grid[-1].set_xlabel("seconds since the run began")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    bad = sum(e["outcome"] != good for e in events)
    return _svg(figure, "Power cuts over time", f"{len(events)} cuts in {len(phases)} phases, {bad} with losses")


@matplotlib.rc_context(STYLE)
def trend(name: str, unit: str, runs: Sequence[str], points: Sequence[tuple[int, Estimate, str]],
          void: Sequence[int]) -> str:  # fmt: skip
    """A figure over the runs, which are evenly apart; regressions and improvements are marked."""
    figure, axes = _axes(5.7, 2.9)
    x = [run for run, _, _ in points]
    axes.plot(x, [e.value for _, e, _ in points], color=SOFT, lw=1)
    for run, e, _ in points:
        axes.plot([run, run], [e.value if v is None else v for v in (e.low, e.high)], color=BLUE, lw=3, alpha=0.35)
    for verdict, marker, css in (
        ("no difference shown", "o", {"color": BLUE, "ms": 4.5}),
        ("improved", "v", {"color": "white", "mec": GREEN, "ms": 8, "mew": 1.6}),
        ("regression", "^", {"color": RUST, "ms": 10}),
    ):
        some = [(run, e.value) for run, e, word in points if word == verdict]
        if some:
            axes.plot(*zip(*some), marker, ls="", label=verdict, **css)
    if void:
        axes.plot(
            void, [0.02] * len(void), "x", color=SOFT, transform=axes.get_xaxis_transform(), label="left out"
        )
    low, high = axes.get_ylim()
    middle = (low + high) / 2
    half = max((high - low) / 2, LEAST * abs(middle))  # a change that cannot be told is not to look like one
    axes.set_ylim(middle - half, middle + half)
    shown = np.unique(np.linspace(0, len(runs) - 1, 6).astype(int))
    axes.set_xticks(shown, [runs[i] for i in shown], fontsize=7.5)
    axes.set_xlim(-0.5, len(runs) - 0.5)
    axes.set_ylabel(unit)
    figure.legend(loc="outside upper right", ncols=4, fontsize=8.5)
    marked = [runs[run].replace("\n", " ") for run, _, word in points if word == "regression"]
    return _svg(figure, f"{name} over {len(runs)} runs", f"regressions: {', '.join(marked) or 'none'}")


def _upright(axes: Any, limits: Sequence[Limit]) -> None:
    for limit, dashes in zip(limits, cycle(("-.", "--", ":"))):
        axes.axvline(limit.value, color=RUST, lw=1.6, ls=dashes, label=limit.words)


def _logarithmic(scale: Any, axis: Any) -> None:
    scale("log")
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any, title: str, told: str) -> str:
    """A figure as an element; its ids begin with a name of its own, for several share a page."""
    buffer, name = io.StringIO(), f"plot{next(_numbers)}"
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'(\bid="|="#|url\(#)', rf"\g<1>{name}-", svg)
    head = (
        f'<svg role="img" aria-labelledby="{name}-title {name}-told" \\1>'
        f'<title id="{name}-title">{_plain(title)}</title><desc id="{name}-told">{_plain(told)}</desc>'
    )
    return re.sub(r"<svg [^>]*?(width=\"[^\"]*\" height=\"[^\"]*\" viewBox=\"[^\"]*\")[^>]*>", head, svg, count=1)


def _plain(text: str) -> str:
    return escape(text).replace("\\", "\\\\")
