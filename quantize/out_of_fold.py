"""What the classifier says of eyes that it was not trained on: ``python -m quantize.out_of_fold``.

The validation part is small, and it has chosen the epoch. So networks are trained by the released recipe, each
without one of FOLDS parts of the training part (groups whole), and screen that part as the device would, in float.
Probabilities and operating points are fitted to these eyes and to those of the validation part together (Platt,
Advances in Large Margin Classifiers, 1999: cross-validated scores for the sigmoid). Discs and cups are those of
the shipped disc_finder and disc_cup, which have seen some of these eyes (never whether they have glaucoma).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec
import torch
from msgspec import structs

from device.pipeline import Model, Pipeline
from quantize import gate
from quantize.decision import Eye, provisional, screened
from train.datasets import data_root, load_split
from train.loop import Machine, is_left_out, train
from train.predictors import torch_stage
from train.recipe import GateSpec, QuantizationSpec, Recipe
from train.run import RELEASED, Run, claim, load_run

FOLDS = 4
FILE = "out_of_fold.json"


class Screened(msgspec.Struct, frozen=True):
    """Eyes that networks of this recipe had not seen."""

    recipe: Recipe
    eyes: list[Eye]


def main() -> None:
    """Train what is not trained yet (resumable), screen, and write the eyes beside the released run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or shared/data)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    root = data_root(given.data)
    released = load_run(RELEASED / "glaucoma")
    eyes = [eye for part in range(FOLDS) for eye in _left_out(_trained(released, part, root), root)]
    write(RELEASED / "glaucoma" / FILE, Screened(released.recipe, eyes))
    print(f"{len(eyes)} eyes, {sum(eye.logit is None for eye in eyes)} of them ungradable")


def read(run: Run) -> list[Eye]:
    """The eyes beside a run; none where nobody has screened any by its recipe."""
    path = run.folder / FILE
    if not path.is_file():
        return []
    found = msgspec.json.decode(path.read_bytes(), type=Screened)
    return found.eyes if _training(found.recipe) == _training(run.recipe) else []


def write(path: Path, screened: Screened) -> None:
    """The same as JSON, a line an eye: ``[set, id, label, logit, vertical cup-to-disc ratio]``."""
    eyes = ",\n".join(msgspec.json.encode(eye).decode() for eye in screened.eyes)
    recipe = msgspec.json.encode(screened.recipe).decode()
    path.write_text(f'{{"recipe":{recipe},\n"eyes":[\n{eyes}\n]}}\n', encoding="utf-8")


def _training(recipe: Recipe) -> Recipe:
    """What of a recipe decides the trained network."""
    return structs.replace(recipe, gate=GateSpec(), quantization=QuantizationSpec(), note="")


def _trained(released: Run, part: int, root: Path) -> Run:
    """The network that has not seen a part: the best, on the validation part, of as many epochs as the released
    one took to its best. Raises RunError where its folder is another recipe's."""
    recipe = structs.replace(released.recipe, data=structs.replace(released.recipe.data, left_out=(part, FOLDS)))
    folder = claim(f"out_of_fold/{recipe.name}-{part}", recipe)
    train(recipe, root, folder, Machine.here("cpu"), in_all=released.metrics["best_epoch"] + 1)
    return load_run(folder)


def _left_out(run: Run, root: Path) -> list[Eye]:
    """What the device with a run's network, in float, says of the part that it has not seen."""
    models = Pipeline.load().models
    shipped = models["glaucoma"]
    network = gate.FloatNetwork(torch_stage(run.network), shipped.network)
    parts = {
        name: [s for s in load_split(root, name, "train") if is_left_out(run.recipe.data, name, s.id)]
        for name in run.recipe.data.sets
    }
    return screened(models | {"glaucoma": Model(network, provisional(shipped.manifest))}, parts)


if __name__ == "__main__":
    main()
