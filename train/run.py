"""Run folders: what a training leaves behind, and how the rest of the chain reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.errors import RunError
from train.networks import build
from train.recipe import Recipe, read_recipe

RUNS = Path("runs")


@dataclass(frozen=True)
class Run:
    """A finished (or still running) training: ``network`` carries the best weights so far, in eval mode."""

    folder: Path
    recipe: Recipe
    network: nn.Module
    metrics: dict[str, Any]


def load_run(folder: str | Path) -> Run:
    """Read a run folder, or ``runs/NAME`` by its name. Raises RunError where it holds no weights yet."""
    path = Path(folder)
    if not path.is_dir() and (RUNS / path).is_dir():
        path = RUNS / path
    if not (path / "recipe.toml").is_file() or not (path / "best.pt").is_file():
        raise RunError(f"{folder}: no finished training here (recipe.toml, best.pt); run: tenohira train RECIPE")
    recipe = read_recipe(path / "recipe.toml")
    network = build(recipe.network, recipe.outputs)
    network.load_state_dict(torch.load(path / "best.pt", map_location="cpu", weights_only=True)["model"])
    metrics = path / "metrics.json"
    return Run(path, recipe, network.eval(), json.loads(metrics.read_text()) if metrics.is_file() else {})
