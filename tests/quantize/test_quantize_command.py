"""``tenohira quantize`` from a run folder to a bundle that the device loads; and no bundle where a step fails."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
import torch

from device import bundle
from device.cli import main
from device.runtime import Network
from tests.quantize.conftest import SIZE, as_tensor
from tests.train.toy import make_octa
from train.networks.lwbna import LWBNAUnet
from train.recipe import GateSpec

RECIPE = f"""
name = "toy"
task = "faz"
size = {SIZE}
[network]
width = 16
stem = true
[data.sets]
octa_faz = 1
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_octa(tmp_path_factory.mktemp("data"), SIZE)


@pytest.fixture(scope="module")
def state(root):
    """A tiny network after a few steps on the images that it will be checked with: its masks are clear."""
    torch.manual_seed(0)
    network = LWBNAUnet(width=16, outputs=1, stem=True).eval()
    files = sorted((root / "octa_faz" / "images").iterdir())[:8]
    images = np.stack([cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files])
    x, dark = as_tensor(images), torch.from_numpy(images[:, None, ::2, ::2].mean(-1) < 100).float()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(x), dark).backward()
        optimizer.step()
    return network.state_dict()


@pytest.fixture
def run_folder(tmp_path, state):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    torch.save({"model": state}, folder / "best.pt")
    return folder


def quantize(folder, root, *more):
    return main(["quantize", str(folder), "--data", str(root), "--calibration", "8", "--version", "1.2.3", *more])


def test_a_run_becomes_a_bundle_that_the_device_loads(run_folder, root, tmp_path):
    assert quantize(run_folder, root, "--out", str(tmp_path / "out")) == 0
    loaded = bundle.load(tmp_path / "out" / "toy-1.2.3.tnh")
    manifest = loaded.manifest
    assert (manifest.task, manifest.classes, manifest.version) == ("faz", ("faz",), "1.2.3")
    assert manifest.operators["CONV_2D"] == 37
    assert manifest.metrics["validation, int8"].keys() == manifest.metrics["validation, float"].keys()
    assert manifest.metrics.keys() > {"test octa_faz, float", "test octa_faz, int8"}
    assert [row.bound for row in manifest.gate] == [
        "dice_drop", "area_shift_percent", "area_limits_percent", "changed_verdicts"
    ]  # fmt: skip
    assert manifest.data["sets"]["octa_faz"]["images"]["train"] > 0
    network = Network(loaded.model, reference=True)
    assert network.input == manifest.input
    np.testing.assert_array_equal(network.run(loaded.golden_input), loaded.golden_output)
    for said in ("octa_faz", "CC BY 4.0", "WO2023062764A1", "CONV_2D 37", "validation, int8"):
        assert said in loaded.card
    assert {"model.onnx", "float.tflite", "int8.tflite", "report.json"} <= {p.name for p in run_folder.iterdir()}
    assert all(check["passed"] for check in json.loads((run_folder / "report.json").read_text())["parity"])


@pytest.mark.parametrize("bound", ["area_shift_percent", "area_limits_percent"])
def test_a_broken_bound_writes_a_report_but_no_bundle(bound, run_folder, root, capsys):
    """Int8 never outlines exactly what float does: a bound of 0 is broken, and no other."""
    limits = {key: 0 if key == bound else 1e9 for key in GateSpec.__struct_fields__}
    gate = "[gate]\n" + "".join(f"{key} = {limit}\n" for key, limit in limits.items())
    (run_folder / "recipe.toml").write_text(RECIPE + gate)
    assert quantize(run_folder, root) == 2
    said = capsys.readouterr().err
    assert f"clinical gate failed on the validation part: {bound} of" in said and "CONV_2D" in said
    assert not list(run_folder.glob("*.tnh"))
    report = json.loads((run_folder / "report.json").read_text())
    assert report["metrics"].keys() == {"validation, float", "validation, int8"}  # the test part stays closed
    assert [row["bound"] for row in report["gate"] if not row["passed"]] == [bound]
    assert report["noise"] and (run_folder / "noise.png").is_file()


def test_fine_tuning_is_in_the_manifest(run_folder, root):
    assert quantize(run_folder, root, "--finetune", "1") == 0
    manifest = bundle.load(run_folder / "toy-1.2.3.tnh").manifest
    assert manifest.recipe["quantization"]["epochs"] == 1
    parts = {"validation, float", "validation, int8 before fine-tuning", "validation, int8"}
    assert parts <= manifest.metrics.keys()
    assert (run_folder / "finetuned" / "best.pt").is_file()
    assert quantize(run_folder, root, "--finetune", "-1") == 2


def test_what_is_narrowed_and_corrected_is_in_the_report_and_the_bundle(run_folder, root, monkeypatch, capsys):
    monkeypatch.setattr("quantize.clipping.NARROWER", 0.5)  # coarse, but quicker
    asked = "[quantization]\nclipping_images = 2\ncorrection_images = 4\n"
    (run_folder / "recipe.toml").write_text(RECIPE + asked)
    assert quantize(run_folder, root) == 0
    assert "ranges narrowed" in capsys.readouterr().out
    report = json.loads((run_folder / "report.json").read_text())
    clipping, correction = report["clipping"], report["correction"]
    assert correction["after"] <= correction["before"]
    assert clipping["after"] <= clipping["before"] and all(share < 1 for share in clipping["left"].values())
    loaded = bundle.load(run_folder / "toy-1.2.3.tnh")
    assert loaded.manifest.recipe["quantization"]["clipping_images"] == 2
    assert "validation, int8 before fine-tuning" not in loaded.manifest.metrics


def test_failed_parity_writes_a_report_but_no_bundle(run_folder, root, monkeypatch, capsys):
    monkeypatch.setattr("quantize.parity.MIN_MASK_IOU", 1.01)
    assert quantize(run_folder, root) == 2
    assert "parity failed at int8 against float TFLite" in capsys.readouterr().err
    assert not list(run_folder.glob("*.tnh"))
    assert not all(check["passed"] for check in json.loads((run_folder / "report.json").read_text())["parity"])


def test_broken_weights_are_named(run_folder, root, capsys):
    state = torch.load(run_folder / "best.pt", weights_only=True)
    state["model"]["head.conv.bias"][0] = float("inf")
    torch.save(state, run_folder / "best.pt")
    assert quantize(run_folder, root) == 2
    assert "head.conv.bias" in capsys.readouterr().err
    assert not list(run_folder.glob("*.tnh"))


def test_a_missing_key_is_found_out_first(run_folder, root, tmp_path, capsys):
    assert quantize(run_folder, root, "--key", str(tmp_path / "none.key")) == 2
    assert "none.key" in capsys.readouterr().err
    assert not (run_folder / "model.onnx").exists()


def test_no_calibration_input_is_an_error(run_folder, root, capsys):
    assert main(["quantize", str(run_folder), "--data", str(root), "--calibration", "0"]) == 2
    assert "--calibration is 0; give a number of at least 1" in capsys.readouterr().err
