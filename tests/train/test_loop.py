"""The loop learns, resumes exactly, and agrees between one process and two."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from msgspec import structs

from tests.train.toy import RECIPE, make_octa
from train import run as run_module
from train.datasets.splits import fold_of, read_split
from train.errors import DataError, RunError
from train.loop import Examples, Machine, _batches, learning_rate, train, validate
from train.networks import build
from train.recipe import read_recipe
from train.run import find_run, load_run

CPU = Machine(torch.device("cpu"))


def _quiet(_):
    pass


@pytest.fixture(scope="module")
def octa(tmp_path_factory):
    return make_octa(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "toy.toml"
    path.write_text(RECIPE)
    return read_recipe(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, octa, recipe):
    folder = tmp_path_factory.mktemp("run")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder, train(recipe, octa, folder, CPU, _quiet)


def test_it_learns(whole):
    _, state = whole
    assert state.epoch == 4
    assert state.history[-1]["loss"] < 0.8 * state.history[0]["loss"]
    assert state.best > 0.5


def test_a_killed_run_resumes_exactly(tmp_path, octa, recipe, whole):
    train(recipe, octa, tmp_path, CPU, _quiet, stop_after=2)
    state = train(recipe, octa, tmp_path, CPU, _quiet)
    assert state.history == whole[1].history
    a = torch.load(whole[0] / "best.pt", weights_only=True)["model"]
    b = torch.load(tmp_path / "best.pt", weights_only=True)["model"]
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_ends_after_so_many_epochs_in_all(tmp_path, octa, recipe, whole):
    train(recipe, octa, tmp_path, CPU, _quiet, stop_after=1)
    for _ in range(2):
        state = train(recipe, octa, tmp_path, CPU, _quiet, in_all=2)
        assert state.history == whole[1].history[:2]


def test_a_part_that_is_left_out_is_not_trained_on(tmp_path, octa, recipe, whole):
    said = []
    data = structs.replace(recipe.data, left_out=(0, 2))
    state = train(structs.replace(recipe, data=data), octa, tmp_path, CPU, said.append, stop_after=1)
    ids = [id for id, (_, part) in read_split("octa_faz").items() if part == "train"]
    kept = sum(fold_of("octa_faz", id, 2) != 0 for id in ids)
    assert said[0] == f"octa_faz: {kept} training images x 1" and 0 < kept < len(ids)
    assert state.history[0] != whole[1].history[0]


def test_what_a_run_leaves_behind(whole, octa, recipe):
    folder, state = whole
    figures = json.loads((folder / "metrics.json").read_text())
    assert figures["best_epoch"] == state.best_epoch
    assert (folder / "curves.png").stat().st_size > 1000
    run = load_run(folder)
    assert run.recipe == recipe
    again = validate(recipe, run.network, _validation(recipe, octa), CPU)
    assert again["score"] == pytest.approx(state.best, abs=1e-6)


def _validation(recipe, octa):
    from train.datasets import load_split
    from train.inputs import prepare

    return Examples(recipe, [prepare("faz", s) for s in load_split(octa, "octa_faz", "val")], False)


def test_another_recipes_folder_is_refused(tmp_path, whole, octa):
    path = tmp_path / "wide.toml"
    path.write_text(RECIPE.replace("width = 16", "width = 32"))
    with pytest.raises(RunError, match="another recipe"):
        train(read_recipe(path), octa, whole[0], CPU, _quiet)


def test_an_empty_folder_is_no_run(tmp_path):
    with pytest.raises(RunError, match="tenohira train"):
        load_run(tmp_path)


def test_a_released_run_is_copied_before_it_is_used(tmp_path, monkeypatch, whole):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_module, "RELEASED", tmp_path / "released")
    shutil.copytree(whole[0], tmp_path / "released" / "toy")
    assert load_run("toy").folder == run_module.RUNS / "toy"
    copied, released = (tmp_path / f / "toy" / "best.pt" for f in ("runs", "released"))
    released.write_bytes(released.read_bytes() + b"newer")  # a checkout has brought other weights
    assert find_run("toy") and copied.read_bytes() == released.read_bytes()
    copied.write_bytes(b"trained here")
    assert find_run("toy") and copied.read_bytes() == b"trained here"
    copied.unlink()
    with pytest.raises(RunError, match="tenohira train"):  # one's own run comes first, even an unfinished one
        find_run("toy")


def test_a_network_starts_from_another_run(tmp_path, monkeypatch, octa, whole):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole[0], tmp_path / "runs" / "toy")
    path = tmp_path / "again.toml"
    path.write_text(RECIPE.replace("[training]", '[training]\ninit = "toy"'))
    state = train(read_recipe(path), octa, tmp_path / "run", CPU, _quiet, stop_after=1)
    assert state.history[0]["loss"] < whole[1].history[1]["loss"]
    path.write_text(RECIPE.replace("[training]", '[training]\ninit = "nobody"'))
    with pytest.raises(RunError, match="nobody: no finished training"):
        train(read_recipe(path), octa, tmp_path / "other", CPU, _quiet, stop_after=1)


def test_validation_is_the_device_input(recipe, octa):
    from train.inputs import device_inputs

    data = _validation(recipe, octa)
    x, y = data[0]
    image, masks = device_inputs("faz", data.prepared[0].sample, recipe.size)
    assert np.array_equal(x.permute(1, 2, 0).numpy(), image)
    assert np.array_equal((y[0].numpy() > 127).astype(np.uint8), masks["faz"])


def test_schedule(recipe):
    assert learning_rate(recipe, 0) < 0.01 * recipe.training.lr
    assert learning_rate(recipe, 2) == pytest.approx(recipe.training.lr)
    assert learning_rate(recipe, 4) == pytest.approx(0.01 * recipe.training.lr)


def test_ranks_share_each_batch(recipe):
    one = list(_batches(30, recipe, 0, CPU))
    two = [list(_batches(30, recipe, 0, Machine(torch.device("cpu"), r, 2))) for r in (0, 1)]
    assert len(one) == 2  # the last, small batch is left out
    for i, batch in enumerate(one):
        assert sorted(two[0][i] + two[1][i]) == sorted(batch)


RANK = """
import sys, torch
from torch import nn
from train.loop import Machine
from train.losses import segmentation_loss
from train.recipe import NetworkSpec, TrainingSpec
from train.networks import build

machine = Machine.here("cpu")
torch.manual_seed(0)
network = build(NetworkSpec(width=16, depth=2, dropout=0.0), 1).eval()  # BatchNorm frozen
x = torch.rand(4, 3, 16, 16)
y = (torch.rand(4, 1, 16, 16) > 0.5).float()
model = nn.parallel.DistributedDataParallel(network) if machine.world > 1 else network
rows = slice(machine.rank, None, machine.world)
segmentation_loss(model(x[rows]), y[rows], TrainingSpec()).backward()
if machine.rank == 0:
    torch.save([p.grad for p in network.parameters()], sys.argv[1])
machine.leave()
"""


def in_ranks(world, script, *arguments):
    """Run a script in so many processes, to the end of each."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    ranks = []
    for rank in range(world):
        env = {
            **os.environ,
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(script), *map(str, arguments)]
        ranks.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE))
    try:
        for process in ranks:
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors.decode()[-2000:]
    finally:
        for process in ranks:
            process.kill()


AGREED = """
from train.loop import Machine

machine = Machine.here("cpu")
assert machine.agreed({"score": 0.5 + machine.rank}) == {"score": 0.5}
machine.leave()
"""


def test_all_processes_stop_by_the_same_figures(tmp_path):
    """Each validates with BatchNorm statistics of its own; one that stopped earlier would leave others waiting."""
    script = tmp_path / "agreed.py"
    script.write_text(AGREED)
    in_ranks(2, script)


def test_two_processes_have_the_gradients_of_one(tmp_path):
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    for world in (1, 2):
        in_ranks(world, script, tmp_path / f"{world}.pt")
    one, two = (torch.load(tmp_path / f"{w}.pt") for w in (1, 2))
    for a, b in zip(one, two):
        assert torch.allclose(a, b, atol=1e-6), (a - b).abs().max()


def test_bfloat16_trains_as_well_and_keeps_float32_weights(octa, tmp_path, whole):
    path = tmp_path / "half.toml"
    path.write_text(RECIPE.replace("[training]", '[training]\nprecision = "bfloat16"'))
    state = train(read_recipe(path), octa, tmp_path / "run", CPU, _quiet)
    weights = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    assert all(w.dtype == torch.float32 for w in weights.values() if w.is_floating_point())
    assert state.history[0]["loss"] != whole[1].history[0]["loss"]  # it was another arithmetic
    assert state.history[-1]["loss"] == pytest.approx(whole[1].history[-1]["loss"], rel=0.1)


def test_outputs_beyond_the_classes_learn_the_same_mask(octa, recipe, tmp_path):
    path = tmp_path / "three.toml"
    path.write_text(RECIPE.replace("width = 16", "width = 16\noutputs = 3"))
    state = train(read_recipe(path), octa, tmp_path / "run", CPU, _quiet, stop_after=1)
    assert state.epoch == 1
    assert build(read_recipe(path).network, 3)(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 16, 16)


def test_a_teacher_is_a_target_beside_the_labels(octa, tmp_path, whole):
    path = tmp_path / "taught.toml"
    path.write_text(RECIPE.replace("[training]", f'[training]\nteacher = "{whole[0]}"\nteacher_weight = 1.0'))
    state = train(read_recipe(path), octa, tmp_path / "run", CPU, _quiet)
    assert state.history[0]["loss"] != whole[1].history[0]["loss"]  # its target was another one
    assert state.best > 0.5  # and the other's word alone taught it
    path.write_text(RECIPE.replace("[training]", f'[training]\nteacher = "{tmp_path / "nobody"}"'))
    with pytest.raises(RunError, match="no finished training here"):
        train(read_recipe(path), octa, tmp_path / "other", CPU, _quiet)
    other = tmp_path / "other"
    shutil.copytree(whole[0], other)
    (other / "recipe.toml").write_text(RECIPE.replace('"faz"', '"disc_finder"'))
    path.write_text(RECIPE.replace("[training]", f'[training]\nteacher = "{other}"'))
    with pytest.raises(RunError, match="has learnt disc_finder, this is faz"):
        train(read_recipe(path), octa, tmp_path / "third", CPU, _quiet)


@pytest.mark.parametrize("validate", ["", 'validate = ["octa_faz"]'])
def test_a_set_without_labels_is_refused_where_nobody_teaches(octa, tmp_path, validate):
    path = tmp_path / "unlabelled.toml"
    toy = RECIPE.replace('"faz"', '"glaucoma"').replace("width = 16", 'kind = "narrow_classifier"\nwidth = 16')
    path.write_text(toy.replace("[data.sets]", f"[data]\n{validate}\n[data.sets]"))
    with pytest.raises(DataError, match="octa_faz has no labels of glaucoma"):
        train(read_recipe(path), octa, tmp_path / "run", CPU, _quiet)
