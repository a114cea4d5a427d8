"""The model card says what the data allow."""

import msgspec
import pytest

from quantize.card import LIMITS, LIMITS_OF_TASK, licence, model_card
from tests.device.eye import ColourNetwork, manifest
from train.networks.pretrained import ORIGIN


@pytest.mark.parametrize(
    ("terms", "research"),
    [
        ({"octa_faz": "CC BY 4.0"}, False),
        ({"octa_faz": "CC BY 4.0", "refuge_crops": "research only"}, True),
        ({"airogs_subset": "CC BY-NC-ND 4.0"}, True),
    ],
)
def test_research_only_data_make_research_only_weights(terms, research):
    assert ("research use only" in licence(terms)) == research


@pytest.mark.parametrize("task", ["haemorrhage", "faz"])
def test_the_limits_of_a_task_are_in_its_card(task):
    described = msgspec.structs.replace(manifest(task, ColourNetwork(1)), data={"sets": {}})
    card = model_card(described)
    assert all(line in card for line in (*LIMITS, *LIMITS_OF_TASK.get(task, ())))
    assert ("microaneurysms" in card) == (task == "haemorrhage")


def test_what_training_started_from_is_said():
    described = manifest("disc_cup", ColourNetwork(2))
    card = model_card(msgspec.structs.replace(described, data={"sets": {}, "start": ORIGIN}))
    assert f"Training started from {ORIGIN}." in card and "Apache 2.0" in ORIGIN
    assert "Training started" not in model_card(msgspec.structs.replace(described, data={"sets": {}}))


def test_a_figure_stands_with_its_interval():
    figures = {
        "images": 27.0,
        "dice_disc": 0.96661,
        "dice_disc_low": 0.9566,
        "dice_disc_high": 0.97361,
        "auc": 0.5,
    }
    described = msgspec.structs.replace(
        manifest("disc_finder", ColourNetwork(1)), data={"sets": {}}, metrics={"test": figures, "validation": {}}
    )
    card = model_card(described)
    assert "| part | auc | dice_disc | images |" in card  # no columns of their own for the ends
    assert "| test | 0.5000 | 0.9666 [0.9566, 0.9736] | 27 |" in card
    assert "| validation |  |  |  |" in card
