"""The report's figures as SVG to be put into a page: the STARD diagram, ROC curves, Bland-Altman plots.

Every figure has a title and a description for those who cannot see it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from device.trial.findings import Flow, Part, Ratios
from device.trial.statistics import Proportion

INK, SOFT, LINE = "#1a1a1a", "#4d4d4d", "#d6dade"
BLUE, RUST = "#00588f", "#a63c00"
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tenohira",
    "font.size": 10,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}


class Box(NamedTuple):
    """A box of the diagram: its first line is bold."""

    x: float
    y: float
    width: float
    lines: Sequence[str]
    css: str = ""

    @property
    def height(self) -> float:
        """Grows with the lines."""
        return 16 + 19 * len(self.lines)

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.x + self.width / 2


WIDTH, GAP = 940.0, 26.0
HEAD = ' class="head"'


def flow(f: Flow, verified: bool, added_up: bool) -> str:
    """The STARD 2015 diagram. Without any reference (``verified``) it ends at the index test; where there were
    several index tests (not ``added_up``) the last row tells only how many eyes have a reference."""
    main, side = 290.0, 610.0  # left edges
    boxes: list[Box] = []
    lines: list[tuple[float, float, float, float]] = []

    def centre(y: float, *text: str) -> Box:
        boxes.append(Box(main, y, 280, text))
        return boxes[-1]

    def aside(before: Box, *text: str) -> Box:
        y = before.y + before.height + GAP / 2
        boxes.append(Box(side, y, 320, text, "aside"))
        return boxes[-1]

    top = centre(1, f"Visits of the study: n = {f.visits}", f"of {f.participants} participants")
    out = aside(
        top,
        f"Left out: n = {f.visits - f.counted} visits",
        f"no consent: n = {f.no_consent}",
        f"not finished: n = {f.unfinished}",
        f"nothing attempted: n = {f.unattempted}",
        f"repeat of a participant: n = {f.repeats}",
        f"same code, other device or site: n = {f.elsewhere}",
        f"participants lost altogether: n = {f.lost}",
    )
    people = centre(
        out.y + out.height + GAP / 2, f"Participants: n = {f.counted}", f"one visit each, two eyes: n = {f.eyes}"
    )
    not_done = aside(people, f"Index test not attempted: n = {f.not_examined} eyes")
    examined = centre(
        not_done.y + not_done.height + GAP / 2, f"Eyes with index test: n = {f.eyes - f.not_examined}"
    )
    lines += [(top.middle, top.y + top.height, people.middle, people.y)]
    lines += [(people.middle, people.y + people.height, examined.middle, examined.y)]
    lines += [(top.middle, b.y + b.height / 2, b.x, b.y + b.height / 2) for b in (out, not_done)]

    y = examined.y + examined.height + 2 * GAP
    rail = y - GAP
    lines += [(examined.middle, examined.y + examined.height, examined.middle, rail)]
    third = (WIDTH - 2 * GAP) / 3
    none = f.not_imaged + f.ungradable
    heads = {
        "refer": (f"Refer: n = {f.refer}", "index test positive", ""),
        "no_referral": (f"No referral: n = {f.no_referral}", "index test negative", ""),
        "no_outcome": (
            f"No outcome: n = {none}",
            f"ungradable: n = {f.ungradable}",
            f"not imaged: n = {f.not_imaged}",
        ),
    }
    for i, (name, head) in enumerate(heads.items()):
        x = i * (third + GAP) + 1
        first = Box(x, y, third - 2, head, name)
        boxes.append(first)
        lines.append((first.middle, rail, first.middle, y))
        if not verified:
            continue
        known = f.verified[name]
        missing = Box(x + 0.38 * third, first.y + first.height + GAP / 2, 0.62 * third - 2,
                      [f"No reference: n = {known.none}"], "aside")  # fmt: skip
        text = [f"Reference standard: n = {known.refer + known.no_referral}"]
        if added_up:
            text += [f"refer: n = {known.refer}", f"no referral: n = {known.no_referral}"]
        last = Box(x, missing.y + missing.height + GAP / 2, third - 2, text)
        boxes += [missing, last]
        at = x + 0.19 * third
        lines += [(at, first.y + first.height, at, last.y)]
        lines += [(at, missing.y + missing.height / 2, missing.x, missing.y + missing.height / 2)]
    heads_at = [b.middle for b in boxes if b.css in heads]
    rail_line = f'<path class="arrow" d="M{heads_at[0]:g} {rail:g}H{heads_at[-1]:g}"/>'
    height = max(b.y + b.height for b in boxes) + 2
    told = "; ".join(", ".join(line for line in b.lines if line) for b in boxes)
    drawn = rail_line + "".join(_arrow(*line) for line in lines) + "".join(_box(b) for b in boxes)
    return (
        f'<svg class="flow" viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-labelledby="flow-title flow-told">'
        f'<title id="flow-title">Flow of participants and eyes</title><desc id="flow-told">{escape(told)}</desc>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{SOFT}"/></marker></defs>{drawn}</svg>'
    )


def _box(box: Box) -> str:
    text = "".join(
        f'<text x="{box.x + 12:g}" y="{box.y + 23 + 19 * i:g}"{"" if i else HEAD}>{escape(line)}</text>'
        for i, line in enumerate(box.lines)
    )
    return (
        f'<g class="box {box.css}"><rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" '
        f'height="{box.height:g}" rx="4"/>{text}</g>'
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="arrow" d="M{x1:g} {y1:g}H{x2:g}V{y2:g}" marker-end="url(#tip)"/>'


@matplotlib.rc_context(STYLE)
def roc(part: Part, sensitivity: Proportion, specificity: Proportion) -> str:
    """The curve, with the operating point and its adjusted intervals."""
    curve = part.roc
    if curve is None:
        raise ValueError("there is no curve without both classes")
    figure, axes = _axes(4.6, 4.4)
    axes.plot([0, 100], [0, 100], color=SOFT, lw=1, ls=":")
    x, y = 100 * np.array(curve.false_positive), 100 * np.array(curve.sensitivity)
    axes.plot(x, y, color=BLUE, lw=1.8)
    told = f"area under the curve {curve.auc.value:.3f}"
    if part.at_point and sensitivity.value is not None and specificity.value is not None:
        at = (100 * part.at_point[0], 100 * part.at_point[1])
        axes.plot([100 * (1 - (b or 0)) for b in specificity.interval], [at[1]] * 2, color=RUST)
        axes.plot([at[0]] * 2, [100 * (b or 0) for b in sensitivity.interval], color=RUST)
        axes.plot(*at, "o", color=RUST, ms=6)
        name = f"operating point {part.index_test.point} ({part.index_test.threshold:g})"
        axes.annotate(name, at, (10, -16), textcoords="offset points", color=RUST, fontsize=9)
        told += f"; {name} at {at[0]:.1f} % and {at[1]:.1f} %"
    axes.set_xlabel("100 − specificity, %")
    axes.set_ylabel("sensitivity, %")
    axes.set_xlim(-2, 102)
    axes.set_ylim(-2, 102)
    axes.set_aspect("equal")
    return _svg(figure, f"roc-{part.index_test.label}", f"ROC curve of {curve.n} eyes", told)


@matplotlib.rc_context(STYLE)
def bland_altman(ratios: Ratios, name: str) -> str:
    """Difference by mean, with bias, limits and their intervals. ``name`` tells it from others on the page."""
    found = ratios.limits
    if found is None:
        raise ValueError("there are no limits of fewer than three people")
    measured, other = np.array(ratios.pairs).T
    figure, axes = _axes(4.9, 3.6)
    axes.axhline(0, color=LINE, lw=1)
    for line, words in ((found.lower, "lower limit"), (found.bias, "bias"), (found.upper, "upper limit")):
        bias = words == "bias"
        axes.axhspan(line.low, line.high, color=BLUE if bias else RUST, alpha=0.12, lw=0)
        axes.axhline(line.value, color=BLUE if bias else RUST, lw=1.2, ls="-" if bias else "--")
        label = f"{words}\n{line.value:+.3f}".replace("-", "−")
        axes.annotate(
            label, (1, line.value), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            fontsize=9, va="center", color=BLUE if bias else RUST,
        )  # fmt: skip
    axes.plot((measured + other) / 2, measured - other, "o", ms=3.2, mfc="none", mec=INK, mew=0.7, alpha=0.65)
    axes.set_xlabel("mean of the two ratios")
    axes.set_ylabel("instrument − other")
    told = (
        f"bias {found.bias.value:+.3f}, limits of agreement {found.lower.value:+.3f} to {found.upper.value:+.3f}"
    )
    title = f"Vertical cup-to-disc ratio of {found.n} eyes: instrument and {ratios.against}"
    return _svg(figure, f"ba-{name}", title, told)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Any, name: str, title: str, told: str) -> str:
    """A figure as an element; its ids begin with ``name``, for several share a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|="#|url\(#)', rf"\g<1>{name}-", svg)
    head = (
        f'<svg class="plot" role="img" aria-labelledby="{name}-title {name}-told" '
        f'\\1><title id="{name}-title">{escape(title)}</title><desc id="{name}-told">{escape(told)}</desc>'
    )
    return re.sub(r"<svg [^>]*?(width=\"[^\"]*\" height=\"[^\"]*\" viewBox=\"[^\"]*\")[^>]*>", head, svg, count=1)
