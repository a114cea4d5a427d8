"""Eyes that networks had not seen: which they are, and how they come back from their table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from msgspec import structs

from quantize import out_of_fold
from quantize.decision import Eye, weighed
from quantize.errors import CalibrationError
from train.datasets.splits import fold_of, group_of, read_split
from train.loop import is_left_out
from train.recipe import DataSpec, GateSpec
from train.run import RELEASED, Run, load_run, recipe_of

SETS = tuple(recipe_of(RELEASED / "glaucoma").data.sets)


def test_each_eye_is_left_out_once_and_groups_stay_whole():
    whole = DataSpec(dict.fromkeys(SETS, 1))
    parts = [DataSpec(whole.sets, left_out=(part, out_of_fold.FOLDS)) for part in range(out_of_fold.FOLDS)]
    for name in SETS:
        ids = [id for id, (_, part) in read_split(name).items() if part == "train"]
        assert not any(is_left_out(whole, name, id) for id in ids)
        assert all(sum(is_left_out(part, name, id) for part in parts) == 1 for id in ids)
        by_group = {}
        for id in ids:
            by_group.setdefault(group_of(name, id), set()).add(fold_of(name, id, out_of_fold.FOLDS))
        assert all(len(folds) == 1 for folds in by_group.values())
        shares = [sum(is_left_out(part, name, id) for id in ids) / len(ids) for part in parts]
        assert max(shares) < 0.4 and min(shares) > 0.1, name


def test_eyes_come_back_for_runs_of_their_recipe_alone(tmp_path):
    recipe = recipe_of(RELEASED / "glaucoma")
    run = Run(
        tmp_path, structs.replace(recipe, note="another", gate=GateSpec(auc_drop=0.1)), torch.nn.Identity(), {}
    )
    assert out_of_fold.read(run) == []
    eyes = [Eye("acrima", "a", 1.0, -0.1 / 3, 0.7), Eye("acrima", "b", 0.0, None, None)]
    out_of_fold.write(tmp_path / out_of_fold.FILE, out_of_fold.Screened(recipe, eyes))
    assert out_of_fold.read(run) == eyes
    longer = structs.replace(recipe, training=structs.replace(recipe.training, epochs=41))
    assert out_of_fold.read(Run(tmp_path, longer, torch.nn.Identity(), {})) == []


def test_classes_weigh_the_same_and_sets_by_their_root():
    eyes = [Eye("large", str(i), float(i < 4), 0.0, 0.5) for i in range(16)]
    eyes += [Eye("small", str(i), float(i < 2), 0.0, 0.5) for i in range(4)] + [Eye("small", "x", 1.0, None, None)]
    found = weighed(eyes)
    assert found.ungradable == 1 and len(found.label) == 20
    ill, healthy = (found.weight[:16][found.label[:16] == label].sum() for label in (1, 0))
    assert ill == pytest.approx(healthy) == pytest.approx(4.0)
    assert found.weight[16:].sum() == pytest.approx(2 * 2.0)
    with pytest.raises(CalibrationError, match="both classes"):
        weighed([eye for eye in eyes if eye.label])


def test_the_released_table_is_of_the_training_part():
    """Nothing that chose the network, or that it is measured on, is in it."""
    eyes = out_of_fold.read(load_run(RELEASED / "glaucoma"))
    assert len({(eye.set, eye.id) for eye in eyes}) == len(eyes) > 0
    assert all(read_split(eye.set)[eye.id][1] == "train" for eye in eyes)
    assert {eye.set for eye in eyes} == set(SETS)
    assert np.isfinite([eye.logit for eye in eyes if eye.logit is not None]).all()
