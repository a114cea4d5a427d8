"""Run folders: what a training leaves behind, and how the rest of the chain reads it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from train.errors import RunError
from train.networks import build
from train.recipe import Recipe, read_recipe

RUNS = Path("runs")
RECIPES = ("recipe.toml", "recipe.json")  # as somebody wrote it, or as a study made it
RELEASED = Path(__file__).with_name("released")  # the runs that the shipped bundles were made of


@dataclass(frozen=True)
class Run:
    """A finished (or still running) training: ``network`` carries the best weights so far, in eval mode."""

    folder: Path
    recipe: Recipe
    network: nn.Module
    metrics: dict[str, Any]


def find_run(name: str | Path) -> Path:
    """The folder of a run: a path, NAME for ``runs/NAME``, or else the released run of that name.

    A released run is copied to ``runs/NAME``: what is made of it does not end up among the sources.

    Raises RunError where there is no such run, or none with weights yet.
    """
    path = Path(name)
    if not path.is_dir():
        path = RUNS / path
        if not path.is_dir() and (RELEASED / name).is_dir():
            shutil.copytree(RELEASED / name, path)
    if not any((path / name).is_file() for name in RECIPES) or not (path / "best.pt").is_file():
        raise RunError(f"{name}: no finished training here (recipe.toml, best.pt); run: tenohira train RECIPE")
    return path


def recipe_of(folder: Path) -> Recipe:
    """The recipe of a run's folder."""
    made = folder / "recipe.json"
    if made.is_file():
        return msgspec.json.decode(made.read_bytes(), type=Recipe)
    return read_recipe(folder / "recipe.toml")


def load_run(name: str | Path) -> Run:
    """Read the run that ``find_run`` finds. Raises RunError where there is none."""
    path = find_run(name)
    recipe = recipe_of(path)
    network = build(recipe.network, recipe.outputs)
    network.load_state_dict(torch.load(path / "best.pt", map_location="cpu", weights_only=True)["model"])
    metrics = path / "metrics.json"
    return Run(path, recipe, network.eval(), json.loads(metrics.read_text()) if metrics.is_file() else {})
