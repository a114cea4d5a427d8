"""Recipes refuse what they do not know."""

import pytest

from train.errors import RecipeError
from train.networks import build
from train.recipe import FOLDER, as_dict, read_recipe
from train.run import RELEASED

SHIPPED = sorted(p.stem for p in FOLDER.glob("*.toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_are_valid(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    assert as_dict(recipe)["training"]["epochs"] == recipe.training.epochs


def test_the_paper_recipe_is_the_published_network():
    recipe = read_recipe("paper")
    network = build(recipe.network, recipe.outputs)
    trainable = sum(p.numel() for p in network.parameters())
    statistics = sum(b.numel() for name, b in network.named_buffers() if "running" in name)
    assert (trainable, trainable + statistics) == (2_954_211, 2_958_819)
    assert (recipe.size, recipe.training.lr, recipe.training.batch) == (320, 1e-4, 4)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("size =", "sise = 1\nsize ="), "sise"),
        (("width = 32", "width = 'wide'"), "width"),
        (('task = "faz"', 'task = "ear"'), "ear"),
        (("[network]", "[network]\nskips = 'maybe'"), "maybe"),
        (("octa_faz = 2", "octa_faz = 2\n[data]\nimages = -1"), "images"),
        (("[training]", "[training]\noptimizer = 'sgd'"), "sgd"),
        (("[network]", "[network"), "TOML"),
        (("[gate]", "[gate]\ndice_dorp = 0.1"), "dice_dorp"),
        (("dice_drop = 0.002", "dice_drop = -0.002"), "dice_drop"),
    ],
)
def test_mistakes_are_named(tmp_path, change, word):
    text = (FOLDER / "faz.toml").read_text()
    path = tmp_path / "r.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(RecipeError, match=word):
        read_recipe(path)


@pytest.mark.parametrize("path", sorted(RELEASED.glob("*/recipe.toml")), ids=lambda path: path.parent.name)
def test_released_runs_are_held_to_the_gate_of_their_recipe(path):
    """They are from before the gate: its defaults are the shipped recipes' bounds."""
    assert read_recipe(path).gate == read_recipe(path.parent.name).gate


def test_unknown_recipe_lists_the_shipped_ones():
    with pytest.raises(RecipeError, match="paper"):
        read_recipe("nothing")


def test_width_off_the_kernels_step_is_refused(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text((FOLDER / "faz.toml").read_text().replace("width = 32", "width = 33"))
    recipe = read_recipe(path)
    with pytest.raises(RecipeError, match="multiple of 16"):
        build(recipe.network, recipe.outputs)
