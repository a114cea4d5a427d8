"""What several seeds of one network say together.

Of each image the mean over seeds is taken first, so that a bootstrap over images compares networks and not lucky
starts.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def by_image(done: Done, network: str, figure: str) -> metrics.Floats:
    """A figure of a network: seeds x images, the images in one order for all networks; 0 x 0 where none has it."""
    found = [
        {(c.set, c.id): c.values[figure] for c in r.cases if figure in c.values}
        for j, r in done
        if j.network == network
    ]
    if not found or not found[0]:
        return np.empty((0, 0))
    return np.array([[of_seed[key] for key in sorted(found[0])] for of_seed in found])


def groups_by_image(done: Done, network: str, figure: str) -> list[str]:
    """Whose each of these images is (patient, child, eye): what an interval draws."""
    for j, r in done:
        if j.network == network:
            return groups(sorted(having(r.cases, figure), key=lambda c: (c.set, c.id)))
    return []


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
