"""Whose weights and answers a run has learnt from, and the data of these: a licence follows the weights."""

from __future__ import annotations

from typing import Any

from train.datasets import SETS
from train.datasets.splits import split_sha256
from train.networks import origin
from train.recipe import Recipe
from train.run import find_run, recipe_of


def lineage(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """What a run has learnt from, nearest first: ("weights" or "answers", the recipe that these come from). Runs
    are read where ``train.run.find_run`` finds them. Raises RunError where one is not there."""
    found: list[tuple[str, Recipe]] = []
    seen = set()
    waiting = [recipe]
    while waiting:
        spec = waiting.pop(0).training
        for what, name in (("weights", spec.init), ("answers", spec.teacher)):
            if name and name not in seen:
                seen.add(name)
                waiting.append(recipe_of(find_run(name)))
                found.append((what, waiting[-1]))
    return found


def start(recipe: Recipe) -> str:
    """The same in words, after "Training started from"; empty where that was random weights alone."""
    before = lineage(recipe)
    words = [f"the {what} of {r.name} (trained on {', '.join(r.data.sets)})" for what, r in before]
    origins = dict.fromkeys(origin(r.network) for r in (recipe, *(r for _, r in before)))
    return "; and from ".join([*words, *filter(None, origins)])


def earlier_sets(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Sets that only those have seen: name -> terms, citation, hash of the split, and the run."""
    return {
        name: {
            "terms": SETS[name].terms,
            "citation": SETS[name].citation,
            "split_sha256": split_sha256(name),
            "run": before.name,
        }
        for _, before in reversed(lineage(recipe))
        for name in before.data.sets
        if name not in recipe.data.sets
    }
