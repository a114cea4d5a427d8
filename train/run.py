"""Run folders: what a training leaves behind, and how the rest of the chain reads it."""

from __future__ import annotations

import hashlib
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
COPY = "released.sha256"  # in a copy of a released run: the SHA-256 of the weights that it came with
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

    A released run is copied to ``runs/NAME``: what is made of it does not end up among the sources. The copy is
    made anew when other weights were released, unless somebody has trained there since.

    Raises RunError where there is no such run, or none with weights yet.
    """
    path = Path(name)
    if not path.is_dir():
        path = RUNS / path
        if (RELEASED / name).is_dir():
            _copy(RELEASED / name, path)
    if not any((path / name).is_file() for name in RECIPES) or not (path / "best.pt").is_file():
        raise RunError(f"{name}: no finished training here (recipe.toml, best.pt); run: tenohira train RECIPE")
    return path


def _copy(released: Path, path: Path) -> None:
    """Keep ``path`` a copy of a released run; a run of one's own there is left alone."""
    note, weights = path / COPY, _sha256(released / "best.pt")
    if path.is_dir() and not (note.is_file() and note.read_text() == _sha256(path / "best.pt")):
        return
    if not path.is_dir() or note.read_text() != weights:
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(released, path)
        note.write_text(weights)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def claim(name: str, recipe: Recipe) -> Path:
    """The folder ``runs/NAME``, made where there is none, of a recipe that nobody wrote as a file. Raises RunError
    where it is another recipe's."""
    folder = RUNS / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.json"
    if path.is_file() and recipe_of(folder) != recipe:
        raise RunError(f"{folder} holds a run of another recipe; delete it to train anew")
    path.write_bytes(msgspec.json.encode(recipe))
    return folder


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
