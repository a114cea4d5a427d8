"""Plots of an evaluation: Dice by set, agreement, ROC. One PNG each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import roc_curve

from train import metrics
from train.evaluation import Case, column, pairs, scored
from train.report import QUANTITIES, STRUCTURES

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
Cases = Mapping[str, Sequence[Case]]  # label of the set -> cases


def dice_plot(path: Path, cases: Cases, title: str) -> bool:
    """Dice of every image by set and structure, with the mean. Returns False where there is none."""
    groups = [
        (f"{name}\n{words}", values)
        for name, of_set in cases.items()
        for structure, words in STRUCTURES.items()
        if len(values := column(of_set, f"dice_{structure}"))
    ]
    if not groups:
        return False
    figure, axes = plt.subplots(figsize=(2.0 + 1.4 * len(groups), 4.2), layout="constrained")
    rng = np.random.default_rng(0)
    for i, (_, values) in enumerate(groups):
        axes.plot(i + rng.uniform(-0.18, 0.18, len(values)), values, "o", ms=4, alpha=0.5, color=COLOURS[0])
        axes.hlines(values.mean(), i - 0.3, i + 0.3, color=COLOURS[1], lw=2)
        axes.annotate(
            f"{values.mean():.3f}", (i + 0.32, values.mean()), color=COLOURS[1], va="center", fontsize=9
        )
    axes.set_xticks(range(len(groups)), [name for name, _ in groups], fontsize=9)
    axes.set_xlim(-0.6, len(groups) - 0.2)
    axes.set_ylabel("Dice (a point an image, line: mean)")
    finish(figure, axes, title, path)
    return True


def agreement_plots(folder: Path, cases: Cases, title: str) -> list[Path]:
    """A Bland-Altman plot for each measured quantity."""
    written = []
    for quantity, words in QUANTITIES.items():
        found = {name: pairs(of_set, quantity) for name, of_set in cases.items()}
        found = {name: p for name, p in found.items() if len(p[0])}
        if not found:
            continue
        figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
        for (name, (measured, reference)), colour in zip(found.items(), COLOURS):
            mean = (measured + reference) / 2
            axes.plot(mean, measured - reference, "o", ms=4, alpha=0.6, color=colour, label=name)
        measured, reference = (np.concatenate([p[i] for p in found.values()]) for i in (0, 1))
        bias, low, high = metrics.bland_altman(measured, reference)
        for value, style in ((bias, "-"), (low, "--"), (high, "--")):
            axes.axhline(value, color="#444444", ls=style, lw=1)
        axes.set_xlabel(f"{words}: mean of device and reference")
        axes.set_ylabel("device - reference")
        axes.legend(fontsize=9, frameon=False)
        path = folder / f"agreement_{quantity}.png"
        finish(figure, axes, f"{title}\nbias {bias:.3g}, 95 % limits {low:.3g} to {high:.3g}", path)
        written.append(path)
    return written


def roc_plot(path: Path, cases: Cases, title: str) -> bool:
    """ROC curves by set. Returns False where no set has both classes."""
    found = {name: scored(of_set) for name, of_set in cases.items()}
    found = {name: s for name, s in found.items() if len(set(s[0])) == 2}
    if not found:
        return False
    figure, axes = plt.subplots(figsize=(5, 4.8), layout="constrained")
    for (name, (label, score)), colour in zip(found.items(), COLOURS):
        false_positive, sensitivity, _ = roc_curve(label, score)
        text = f"{name}: AUC {metrics.auc(label, score):.3f} ({len(label)} eyes)"
        axes.plot(false_positive, sensitivity, color=colour, label=text)
    axes.plot([0, 1], [0, 1], color="#bbbbbb", lw=1, ls=":")
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.legend(fontsize=9, frameon=False, loc="lower right")
    finish(figure, axes, title, path)
    return True


def finish(figure: plt.Figure, axes: plt.Axes, title: str, path: Path) -> None:
    """Title, wrapped to the figure's width, and the look of all plots; saved and closed."""
    characters = int(11 * figure.get_figwidth())  # that fit into the figure's width
    lines = [textwrap.fill(line, characters) for line in title.splitlines()]
    axes.set_title("\n".join(lines), fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
