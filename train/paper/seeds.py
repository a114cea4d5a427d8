"""What several seeds of one network say together.

Of each image the mean over seeds is taken first, so that a bootstrap over images compares networks and not lucky
starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from train import metrics
from train.evaluation import Case, groups, having
from train.paper.runner import Record
from train.paper.studies import Job

Done = Sequence[tuple[Job, Record]]


def of_study(done: Done, *studies: str) -> Done:
    """The jobs of these studies."""
    return [(j, r) for j, r in done if j.study in studies]


def networks(done: Done) -> list[str]:
    """Names of the networks, in the jobs' order."""
    return list(dict.fromkeys(j.network for j, _ in done))


@dataclass(frozen=True)
class Figure:
    """A figure of one network: seeds x images (0 x 0 where none has it; the images in one order for all networks),
    and whose each image is (patient, child, eye), which is what an interval draws."""

    values: metrics.Floats
    whose: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.values.size)

    @property
    def of_seeds(self) -> metrics.Floats:
        """The mean of each seed."""
        seeds: metrics.Floats = self.values.mean(1)
        return seeds

    @property
    def of_images(self) -> metrics.Floats:
        """The mean of each image."""
        images: metrics.Floats = self.values.mean(0)
        return images

    @property
    def mean(self) -> float:
        """Of all seeds and images."""
        return float(self.values.mean())

    def interval(self) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean."""
        return metrics.interval(np.mean, self.of_images, groups=self.whose)

    def less(self, other: Figure) -> Figure:
        """Image by image, means over seeds: a figure of one row."""
        return Figure((self.of_images - other.of_images)[None], self.whose)


def by_image(done: Done, network: str, figure: str) -> Figure:
    """A figure of a network in these jobs."""
    of_network = [having(r.cases, figure) for j, r in done if j.network == network]
    if not of_network or not of_network[0]:
        return Figure(np.empty((0, 0)), ())
    first = sorted(of_network[0], key=_image)
    by_key = [{_image(c): c.values[figure] for c in of_seed} for of_seed in of_network]
    return Figure(np.array([[values[_image(c)] for c in first] for values in by_key]), groups(first))


def mean_cases(done: Done, network: str) -> list[Case]:
    """One case an image: every figure is the mean over the network's seeds."""
    records = [r.cases for j, r in done if j.network == network]
    return [
        Case(
            same[0].set,
            same[0].id,
            same[0].stratum,
            {k: float(np.mean([c.values[k] for c in same])) for k in same[0].values},
        )
        for same in zip(*records)
    ]


def _image(case: Case) -> tuple[str, str]:
    return case.set, case.id
