"""What a bundle says of the runs that its network has learnt from."""

from quantize import provenance
from train.networks.pretrained import ORIGIN
from train.recipe import read_recipe

RECIPE = """
name = "{name}"
task = "disc_cup"
size = 64
[network]
kind = "{kind}"
[data.sets]
{set} = 1
[training]
{learnt}
"""


def recipe(folder, name, set, learnt="", kind="lwbna"):
    """The recipe of a finished run ``runs/NAME`` below a folder."""
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "best.pt").touch()
    (run / "recipe.toml").write_text(RECIPE.format(name=name, set=set, learnt=learnt, kind=kind))
    return read_recipe(run / "recipe.toml")


def test_of_random_weights_there_is_nothing_to_say(tmp_path):
    alone = recipe(tmp_path, "alone", "refuge_crops")
    assert provenance.lineage(alone) == [] and provenance.start(alone) == ""
    assert provenance.earlier_sets(alone) == {}


def test_weights_and_answers_are_followed_to_their_data(tmp_path, monkeypatch):
    """Also through several runs, and to where one started from itself."""
    monkeypatch.chdir(tmp_path)
    recipe(tmp_path, "first", "palm_disc", kind="narrowed_lite0")
    recipe(tmp_path, "teacher", "idrid_a", 'init = "teacher"')
    recipe(tmp_path, "second", "refuge_crops", 'init = "first"')
    last = recipe(tmp_path, "last", "refuge_crops", 'init = "second"\nteacher = "teacher"')
    assert [(what, r.name) for what, r in provenance.lineage(last)] == [
        ("weights", "second"), ("answers", "teacher"), ("weights", "first"),
    ]  # fmt: skip
    assert provenance.start(last) == (
        "the weights of second (trained on refuge_crops); and from the answers of teacher (trained on idrid_a); "
        f"and from the weights of first (trained on palm_disc); and from {ORIGIN}"
    )
    earlier = provenance.earlier_sets(last)
    assert {name: each["run"] for name, each in earlier.items()} == {"palm_disc": "first", "idrid_a": "teacher"}
    assert "research only" in earlier["palm_disc"]["terms"]
