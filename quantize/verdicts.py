"""How often int8 changes what the device says: ``python -m quantize.verdicts [SET...]``.

The clinical gate counts this on validation parts, which are small. No label is needed for it, so here it is
counted on every photograph of whole sets (default: those without glaucoma labels, on which no rule was fitted):
each shipped network in turn is replaced by the float network that it was made of, all else stays.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import structs

from device.bundle import OperatingPoint
from device.frame import Frame
from device.pipeline import GLAUCOMA, Examination, Model, Pipeline
from quantize import gate
from train.datasets import SETS, data_root
from train.predictors import torch_stage
from train.run import RELEASED, load_run

UNLABELLED = ("idrid_b", "palm_disc")
POINTS = ("balanced", "specificity_95")
NEARBY = 1 / (1 + np.exp(-np.linspace(-1.2, 1.2, 49)))  # 0.23 to 0.77, evenly in log-odds


def main() -> None:
    """Print a row a network: changed outcomes at each operating point and on an average of thresholds about them
    (of a single one, chance has its part: a few photographs are close to it), and the ratio's shift."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=UNLABELLED, metavar="SET")
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or shared/data)")
    given = parser.parse_args()
    root = data_root(given.data)
    frames = (Frame(sample.image()) for name in given.sets for sample in SETS[name](root).samples())
    whole = Pipeline.load()
    floating = {task: with_float(whole, task) for task in GLAUCOMA}
    by_int8: list[Examination] = []
    by_float: dict[str, list[Examination]] = {task: [] for task in GLAUCOMA}
    for frame in frames:
        by_int8.append(whole.screen(frame))
        for task, pipeline in floating.items():
            by_float[task].append(pipeline.screen(frame))
    points = [whole.at(point).points for point in POINTS]
    columns = [*(f"changed, {point}" for point in POINTS), "mean of thresholds", "ratio: shift (SD)"]
    print(f"| network in float | photographs | {' | '.join(columns)} |")
    print("|---|---|" + "---|" * len(columns))
    for task, exams in by_float.items():
        shares = [changed(by_int8, exams, point) for point in points]
        shares.append(float(np.mean([changed(by_int8, exams, _at(points[0], t)) for t in NEARBY])))
        both = [(i.vcdr, f.vcdr) for i, f in zip(by_int8, exams) if i.vcdr is not None and f.vcdr is not None]
        shift = np.subtract(*np.array(both, np.float64).reshape(-1, 2).T)
        cells = " | ".join(f"{share:.2%}" for share in shares)
        print(f"| {task} | {len(exams)} | {cells} | {shift.mean():.4f} ({shift.std():.4f}) |")


def changed(
    first: Sequence[Examination], second: Sequence[Examination], points: dict[str, OperatingPoint]
) -> float:
    """The share of photographs that have another outcome in ``second``, both by these operating points."""
    return float(np.mean([gate.outcome(a, points) != gate.outcome(b, points) for a, b in zip(first, second)]))


def _at(points: dict[str, OperatingPoint], threshold: float) -> dict[str, OperatingPoint]:
    probability = structs.replace(points["glaucoma_probability"], threshold=float(threshold))
    return points | {"glaucoma_probability": probability}


def with_float(pipeline: Pipeline, task: str) -> Pipeline:
    """The same networks, but one task's is the released float network. Raises RunError where that is missing."""
    model = pipeline.models[task]
    trained = load_run(RELEASED / model.manifest.name)
    network = gate.FloatNetwork(torch_stage(trained.network), model.network)
    return Pipeline(pipeline.models | {task: Model(network, model.manifest)})


if __name__ == "__main__":
    main()
