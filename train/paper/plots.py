"""Plots of the paper's claims, one PNG each; where there is nothing to draw, no file."""

from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np

from train import metrics
from train.describe import size_of
from train.evaluation import pairs
from train.networks import build
from train.paper.runner import Record
from train.paper.seeds import Done, by_image, mean_cases, networks, of_study
from train.paper.studies import ABLATIONS, NETWORKS, Job, distinct_images
from train.plots import COLOURS, dice_plot, finish
from train.report import QUANTITIES

MARKERS = "os^DvP*X<>pd"
FILLS = ("full", "none")  # the markers once filled, once hollow: no two alike


def accuracy(out: Path, done: Done) -> None:
    """Dice of every image by network: points are means over seeds."""
    for study in ("faz", "disc_cup", "haemorrhage", "vessels"):
        found = of_study(done, study)
        cases = {name: mean_cases(found, name) for name in networks(found)}
        dice_plot(out / f"dice_{study}.png", cases, f"{study}, test part: mean over seeds")


def few_images(out: Path, done: Done) -> None:
    """Dice against the number of training images; bars from the lowest to the highest seed."""
    found = of_study(done, "few_images", "faz")
    by_count: dict[int, list[tuple[Job, Record]]] = {}
    for j, r in found:
        by_count.setdefault(distinct_images(j.recipe.data), []).append((j, r))
    counts = sorted(by_count)
    if len(counts) < 2:
        return
    figure, axes = plt.subplots(figsize=(7.4, 4.2), layout="constrained")
    for i, (name, colour) in enumerate(zip(networks(found), COLOURS)):
        seeds = {n: by_image(by_count[n], name, "dice_faz") for n in counts}
        means = {n: s.of_seeds for n, s in seeds.items() if s}
        x = np.array(list(means)) * 1.02 ** (i - 1.5)  # beside each other
        y = np.array([m.mean() for m in means.values()])
        bars = np.abs(np.array([(m.min(), m.max()) for m in means.values()]).T - y)
        axes.errorbar(x, y, bars, marker="o", ms=4, capsize=3, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(n) for n in counts])
    axes.minorticks_off()
    axes.set_xlabel("training images")
    axes.set_ylabel("Dice of the FAZ, test part")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    title = "Dice by the number of training images; bars: lowest and highest seed"
    finish(figure, axes, title, out / "few_images.png")


def frontier(out: Path, done: Done, side: int) -> None:
    """Dice of the FAZ against multiply-accumulates and against parameters, all networks of both studies."""
    found = of_study(done, "faz", "longer", "ablations")
    if not found:
        return
    figure, both = plt.subplots(1, 2, figsize=(10.5, 4.4), layout="constrained", sharey=True)
    for name, (fill, marker) in zip(networks(found), itertools.product(FILLS, MARKERS)):
        dice = by_image(found, name, "dice_faz")
        low, high = dice.interval()
        bars = [[dice.mean - low], [high - dice.mean]]
        size = size_of(build(next(j.recipe.network for j, _ in found if j.network == name), 1), side)
        colour = COLOURS[2 if name in ABLATIONS else 1 if name in ("U-Net", "DeepLabV3+") else 0]
        for axes, x in zip(both, (size.macs / 1e9, size.trainable / 1e6)):
            style = {"fmt": marker, "fillstyle": fill, "ms": 6, "lw": 1, "alpha": 0.8, "color": colour}
            axes.errorbar([x], [dice.mean], bars, label=name, **style)
    for axes, words in zip(both, (f"GMAC an image at {side} pixels", "parameters, millions")):
        axes.set_xscale("log")
        axes.set_xlabel(words)
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_ylabel("Dice of the FAZ, test part")
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    finish(figure, both[0], "What accuracy costs; bars: 95 % interval over images", out / "frontier.png")


def agreement(out: Path, done: Done) -> None:
    """Bland-Altman plots side by side, a network each: first seeds."""
    for quantity, words in QUANTITIES.items():
        study = "disc_cup" if quantity == "vcdr" else "faz"
        first = {j.network: pairs(r.cases, quantity) for j, r in reversed(of_study(done, study))}
        found = {n: first[n] for n in NETWORKS if n in first and len(first[n][0]) > 1}
        if not found:
            continue
        figure, row = plt.subplots(
            1, len(found), figsize=(1 + 3 * len(found), 3.6), layout="constrained", sharey=True, squeeze=False
        )
        for axes, (name, (measured, reference)) in zip(row[0], found.items()):
            axes.plot((measured + reference) / 2, measured - reference, "o", ms=4, alpha=0.6, color=COLOURS[0])
            bias, low, high = metrics.bland_altman(measured, reference)
            for value, style in ((bias, "-"), (low, "--"), (high, "--")):
                axes.axhline(value, color="#444444", ls=style, lw=1)
            digits = 3 if quantity == "vcdr" else 0
            limits = f"limits {low:.{digits}f} to {high:.{digits}f}"
            axes.set_title(f"{name}\nbias {bias:.{digits}f}, {limits}", fontsize=9, loc="left")
            axes.spines[["top", "right"]].set_visible(False)
        row[0][0].set_ylabel(f"{words}:\nnetwork - manual")
        figure.supxlabel("mean of network and manual", fontsize=10)
        figure.savefig(out / f"agreement_{quantity}.png", dpi=130)
        plt.close(figure)
