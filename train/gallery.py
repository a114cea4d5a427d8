"""The worst cases of an evaluation as one picture: where and how it fails, for a person to look at.

A row a set and structure, of the lowest Dice; and a row a set with labels, of the ill with the lowest scores and
the healthy with the highest. It shows photographs: it stays with whoever may see the data.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")  # no display is needed
import matplotlib.pyplot as plt
import numpy as np

from device.geometry import Square, UInt8Image, crop
from device.localization import extent_of
from device.segmentation import Region
from train.datasets import Sample
from train.evaluation import Case
from train.report import STRUCTURES

IN_A_ROW = 4
REFERENCE, FOUND = "#ffffff", "#56b4e9"  # as on the device's own overlay, over a black casing
AROUND = 1.4  # sides of the square that holds both outlines
SIDE = 2.7  # inches of a panel


class Row(NamedTuple):
    """The worst of one set, worst first."""

    title: str
    structure: str  # that was outlined; empty for decisions
    cases: Sequence[Case]


def rows(of_sets: Mapping[str, Sequence[Case]]) -> list[Row]:
    """What there is to show of each set's cases."""
    return [row for name, cases in of_sets.items() for row in (*_outlined(name, cases), *_decided(name, cases))]


def draw(
    path: Path, of_sets: Mapping[str, Sequence[Case]], samples: Mapping[str, Sequence[Sample]], title: str
) -> bool:
    """Write the picture; ``samples`` by set have those of the cases. Returns False where there are none."""
    shown = rows(of_sets)
    if not shown:
        return False
    by_id = {(s.set, s.id): s for of_set in samples.values() for s in of_set}
    figure, panels = plt.subplots(
        len(shown), IN_A_ROW, figsize=(SIDE * IN_A_ROW, 1.22 * SIDE * len(shown) + 0.6),
        layout="constrained", squeeze=False,
    )  # fmt: skip
    figure.suptitle(f"{title}: the worst cases\n{_legend(shown)}", fontsize=10, x=0.01, ha="left")
    for row, line in zip(shown, panels):
        for axes in line:
            axes.set_axis_off()
        for axes, case in zip(line, row.cases):
            _panel(axes, row, case, by_id[case.set, case.id])
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return True


def _outlined(name: str, cases: Sequence[Case]) -> Iterator[Row]:
    for structure, words in STRUCTURES.items():
        dice = f"dice_{structure}"
        having = [case for case in cases if dice in case.values]
        if having:
            worst = sorted(having, key=lambda case: (case.values[dice], case.id))[:IN_A_ROW]
            yield Row(f"{name}, {words}", structure, worst)


def _decided(name: str, cases: Sequence[Case]) -> Iterator[Row]:
    scored = sorted((c for c in cases if c.values.keys() >= {"label", "score"}), key=lambda c: c.values["score"])
    ill = [case for case in scored if case.values["label"] == 1][: IN_A_ROW // 2]
    healthy = [case for case in scored if case.values["label"] == 0][::-1][: IN_A_ROW // 2]
    if ill and healthy:
        yield Row(f"{name}, decisions", "", (*ill, *healthy))


def _legend(shown: Sequence[Row]) -> str:
    return "white: experts' outline; blue: found" if any(row.structure for row in shown) else "blue: disc found"


def _panel(axes: plt.Axes, row: Row, case: Case, sample: Sample) -> None:
    image = sample.image()
    nothing = np.zeros(image.shape[:2], np.uint8)
    found = {name: region.in_image(nothing.shape) for name, region in case.found.items()}
    if row.structure:
        reference = sample.masks().get(row.structure, nothing)
        lines = {REFERENCE: reference, FOUND: found.get(row.structure, nothing)}
        square = _around(np.maximum(*lines.values()), AROUND)
    else:
        lines = {FOUND: found.get("disc", nothing)}
        square = _around(lines[FOUND], 2 * AROUND)
    axes.imshow(crop(image, square))
    for colour, mask in lines.items():
        inside = crop(mask, square) > 0
        if inside.any() and not inside.all():
            for drawn, width in (("black", 2.6), (colour, 1.2)):
                axes.contour(inside, [0.5], colors=[drawn], linewidths=width)
    words = (row.title, textwrap.shorten(case.id, 34), _said(row, case))
    axes.set_title("\n".join(words), fontsize=7.5, loc="left")


def _around(mask: UInt8Image, times: float) -> Square:
    """A square so many times as wide as what is marked; the whole picture where nothing is, or were it larger."""
    marked = extent_of(Region(mask, 0, 0))
    if marked is None or times * marked.diameter >= max(mask.shape):
        return Square.whole(*mask.shape)
    return Square.around(marked.cx, marked.cy, times * marked.diameter)


def _said(row: Row, case: Case) -> str:
    """The figure that put the case here, or why it was refused."""
    if not row.structure:
        ill = "with glaucoma" if case.values["label"] == 1 else "without"
        return f"{ill}, score {case.values['score']:.3f}"
    if case.refused:
        return "\n".join(textwrap.wrap(f"refused: {case.refused}", 44)[:2])
    return f"Dice {case.values[f'dice_{row.structure}']:.3f}"
