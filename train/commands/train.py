"""``tenohira train RECIPE``: train one recipe (resumable), or describe its network."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from train.datasets import data_root
from train.errors import RecipeError, RunError
from train.loop import Machine, train
from train.recipe import FOLDER, read_recipe
from train.run import RUNS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    shipped = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
    parser.add_argument("recipe", help=f"a shipped recipe ({shipped}) or a .toml file")
    parser.add_argument("--describe", action="store_true", help="print parameters and MACs, then stop")
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or ../shared/data)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/NAME); an unfinished run continues")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load and augment")
    parser.add_argument("--epochs", type=int, help="stop after so many epochs this time (the run stays resumable)")


def run(args: argparse.Namespace) -> int:
    """Train or describe. Returns 0."""
    recipe = read_recipe(args.recipe)
    if args.epochs is not None and args.epochs < 1:
        raise RecipeError(f"--epochs is {args.epochs}; give a number of at least 1")
    if args.describe:
        from train.describe import describe

        print(describe(recipe))
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    machine = Machine.here(args.device)
    folder = args.out or RUNS / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(args.recipe) if args.recipe.endswith(".toml") else FOLDER / f"{args.recipe}.toml"
    copy = folder / "recipe.toml"
    if copy.is_file() and read_recipe(copy) != recipe:
        raise RunError(f"{folder} holds a run of a recipe that differs; give --out another folder, or delete it")
    if machine.rank == 0 and not copy.is_file():
        shutil.copyfile(source, copy)
    state = train(recipe, data_root(args.data), folder, machine, workers=args.workers, stop_after=args.epochs)
    if machine.rank == 0:
        print(f"best validation score {state.best:.4f} in epoch {state.best_epoch}; {folder}/best.pt")
    machine.leave()
    return 0
