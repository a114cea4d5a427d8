"""The clinical gate: every bound stops a bundle on its own, and a faithful int8 network passes all of them."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import cv2
import flatbuffers
import msgspec
import numpy as np
import pytest
import torch

from device import bundle, pipeline
from device.cli import main
from device.geometry import to_int8
from device.pipeline import Pipeline
from device.quality import Quality
from quantize import gate, tflite
from quantize.chain import convert_network
from quantize.errors import GateError
from tests.device.eye import CUP_GREEN, DISC_GREEN, SPOT_GREEN, ColourNetwork, build, manifest, paint, point
from tests.quantize.conftest import SIZE, as_tensor
from train.datasets import MaskFile, Sample
from train.evaluation import Case
from train.inputs import device_inputs
from train.networks.lwbna import LWBNAUnet
from train.networks.narrow_classifier import NarrowClassifier
from train.predictors import float_stage
from train.recipe import GateSpec

SPEC = GateSpec()


def broken(rows):
    return [row.bound for row in rows if not row.passed]


def cases(**columns):
    rows = zip(*columns.values(), strict=True)
    return [Case("toy", str(i), values=dict(zip(columns, row))) for i, row in enumerate(rows)]


# --- the bounds on figures of the network alone


@pytest.mark.parametrize(
    ("floating", "int8", "bounds"),
    [
        ({"dice_disc": [0.9, 0.8]}, {"dice_disc": [0.899, 0.799]}, []),
        ({"dice_disc": [0.9, 0.8]}, {"dice_disc": [0.99, 0.89]}, []),  # a gain is no loss
        ({"dice_disc": [0.9, 0.8]}, {"dice_disc": [0.897, 0.797]}, ["dice_drop"]),
        ({"vcdr": [0.5, 0.6, 0.7]}, {"vcdr": [0.503, 0.601, 0.704]}, []),
        ({"vcdr": [0.5, 0.6, 0.7]}, {"vcdr": [0.492, 0.591, 0.693]}, ["vcdr_shift"]),
        ({"vcdr": [0.5, 0.6, 0.7]}, {"vcdr": [0.515, 0.6, 0.685]}, ["vcdr_limits"]),
        ({"area": [100.0, 200.0]}, {"area": [100.5, 201.2]}, []),
        ({"area": [100.0, 200.0]}, {"area": [98.0, 196.2]}, ["area_shift_percent"]),
        ({"area": [100.0, 200.0]}, {"area": [103.0, 194.0]}, ["area_limits_percent"]),
        ({"vcdr": [0.5, 0.6]}, {"vcdr": [math.nan, 0.6]}, ["vcdr_limits"]),  # too few to say: not passed
        ({"vcdr": [0.5, 0.6]}, {"vcdr": [math.nan, math.nan]}, ["vcdr_shift", "vcdr_limits"]),
        ({"dice_cup": [0.9]}, {"dice_cup": [math.nan]}, ["dice_drop"]),
    ],
)
def test_each_bound_on_the_network(floating, int8, bounds):
    rows = gate.network_rows(SPEC, cases(**floating), cases(**int8))
    assert rows and broken(rows) == bounds


def test_the_rows_say_what_was_measured():
    rows = gate.network_rows(
        SPEC, cases(dice_faz=[0.9, 0.7], area=[100.0, 300.0]), cases(dice_faz=[0.9, 0.6], area=[101.0, 300.0])
    )
    assert [row.bound for row in rows] == ["dice_drop", "area_shift_percent", "area_limits_percent"]  # no ratio
    dice, shift, limits = rows
    assert (dice.of, dice.images, dice.floating, dice.int8) == ("faz", 2, 0.8, pytest.approx(0.75))
    assert dice.value == pytest.approx(0.05) and dice.limit == SPEC.dice_drop
    assert (shift.floating, shift.int8, shift.value) == (200.0, 200.5, pytest.approx(0.5))
    assert limits.value == pytest.approx(1.96 * np.std([1.0, 0.0], ddof=1)) and limits.floating is None


def test_the_error_names_bounds_figures_and_operators():
    rows = gate.network_rows(SPEC, cases(dice_cup=[0.9]), cases(dice_cup=[0.8]))
    with pytest.raises(
        GateError, match=r"dice_drop of cup is 0\.1000, allowed 0\.002 \(float 0\.9000, int8 0\.8000\)"
    ):
        gate.require(rows, ["CONV_2D head (3.1 dB)"])
    with pytest.raises(GateError, match=r"lose most: CONV_2D head \(3\.1 dB\)\. No bundle is written"):
        gate.require(rows, ["CONV_2D head (3.1 dB)"])
    gate.require(gate.network_rows(SPEC, cases(dice_cup=[0.9]), cases(dice_cup=[0.9])), [])


# --- the bounds on verdicts: painted eyes, and networks that see their colours


class Painted:
    """A painted eye in the place of a sample."""

    def __init__(self, pixels, ill):
        self.pixels, self.labels = pixels, {"glaucoma": float(ill)}

    def image(self):
        return self.pixels


class CupClassifier:
    """A larger cup makes a larger logit; the answers to the first ``wrong`` screenings are turned round."""

    def __init__(self, wrong=0):
        self.input = ColourNetwork(1).input
        self.output = bundle.TensorSpec((1, 1), "float32", 1.0, 0)
        self.wrong = wrong * sum(len(turns) for _, turns in pipeline.LOOKS)

    def run(self, x):
        logit = 60 * (float((x[0, ..., 2] > 20).mean()) - 0.07)
        self.wrong -= 1
        return np.array([[-logit if self.wrong >= 0 else logit]], np.float32)


@pytest.fixture
def eyes():
    sizes = [(24, 26), (26, 28), (44, 48), (46, 50)]
    return [Painted(paint(cup=cup), cup[0] > 40) for cup in sizes for _ in range(2)]


@pytest.fixture
def shipped(monkeypatch):
    """The other networks are fakes, and painted eyes good photographs."""
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))
    fakes = build(points=(point("glaucoma_probability", 0.5), point("glaucoma_probability", 0.9, "strict"))).models
    monkeypatch.setattr(Pipeline, "load", lambda tasks: Pipeline({t: fakes[t] for t in tasks}))


def classifier_rows(eyes, int8, spec=SPEC):
    points = (point("glaucoma_probability", 0.5),)
    return gate.device_rows(spec, manifest("glaucoma", int8, points), CupClassifier(), int8, eyes)


def test_a_classifier_that_answers_the_same(eyes, shipped):
    rows = classifier_rows(eyes, CupClassifier())
    assert [(r.bound, r.of) for r in rows] == [
        ("auc_drop", "whole device"),
        ("sensitivity_drop", "balanced"),
        ("changed_verdicts", "balanced"),
    ]
    assert not broken(rows) and [r.value for r in rows] == [0, 0, 0]
    assert rows[0].floating == 1.0 and rows[1].int8 == 1.0 and [r.images for r in rows] == [24, 12, 24]


def test_a_classifier_that_answers_otherwise(eyes, shipped):
    rows = classifier_rows(eyes, CupClassifier(wrong=6))  # the first eyes are healthy: no sensitivity is lost
    assert broken(rows) == ["auc_drop", "changed_verdicts"] and rows[2].value == 6 / 24
    rows = classifier_rows(eyes[::-1], CupClassifier(wrong=6))
    assert broken(rows) == ["auc_drop", "sensitivity_drop", "changed_verdicts"]
    assert rows[1].value == pytest.approx(6 / 12)


def test_one_photograph_may_change_where_a_smaller_share_cannot_be_told(eyes, shipped):
    changed, more = (classifier_rows(eyes, CupClassifier(wrong))[2] for wrong in (3, 4))
    assert changed.passed and changed.value == changed.limit == 1 / 8
    assert not more.passed


def test_a_verdict_may_change_by_becoming_ungradable(eyes, shipped):
    good = ColourNetwork(DISC_GREEN, CUP_GREEN)
    blind = ColourNetwork(DISC_GREEN, CUP_GREEN, tamper=lambda green: green * 0)
    of_good = manifest("disc_cup", good)
    rows = gate.device_rows(SPEC, of_good, good, good, eyes)
    assert [(r.bound, r.of, r.value) for r in rows] == [
        ("changed_verdicts", "balanced", 0),
        ("changed_verdicts", "strict", 0),
    ]
    assert [r.value for r in gate.device_rows(SPEC, of_good, good, blind, eyes)] == [1, 1]


def test_of_haemorrhages_the_verdict_is_whether_any_is_marked(shipped):
    none = {"disc": (0, 0), "cup": (0, 0)}
    eyes = [Painted(paint(**none, spots=spots), False) for spots in ([], [(120, 200, 6)], [(150, 250, 8)])]
    good = ColourNetwork(SPOT_GREEN)
    blind = ColourNetwork(SPOT_GREEN, tamper=lambda green: green * 0)
    of_good = manifest("haemorrhage", good)
    (same,) = gate.device_rows(SPEC, of_good, good, good, eyes)
    (lost,) = gate.device_rows(SPEC, of_good, good, blind, eyes)
    assert same.bound == lost.bound == "changed_verdicts" and same.passed and not lost.passed
    assert (same.value, lost.value) == (0, pytest.approx(2 / 3))


def test_the_float_network_in_a_pipeline(segmenter, classifier):
    """A classifier's logits come as they are, those of outlines in the steps of the int8 network."""
    for tiny, dtype in ((classifier, np.float32), (segmenter, np.int8)):
        floating, int8 = gate.networks(float_stage(tiny.converted.float_tflite), tiny.converted.int8_tflite)
        x = to_int8(tiny.images[:1])
        exact, raw = float_stage(tiny.converted.float_tflite)(tiny.images[0]), floating.run(x)[0]
        assert raw.dtype == dtype and floating.input == int8.input and floating.output.shape == int8.output.shape
        real = (raw.astype(np.float32) - floating.output.zero_point) * floating.output.scale
        step = int8.output.scale if dtype == np.int8 else 0
        low, high = ((b - int8.output.zero_point) * int8.output.scale for b in (-128, 127))
        np.testing.assert_allclose(real, np.clip(exact, low, high) if step else exact, atol=0.51 * step)


# --- the whole command, with an int8 network that was damaged on the way


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Painted eyes as files. What is labelled glaucoma is bluer, and has no larger cup: the classifier decides."""
    folder, found = tmp_path_factory.mktemp("eyes"), []
    rng = np.random.default_rng(0)
    for i in range(8):
        cup = 0.45 + 0.3 * (i // 2 % 2) + rng.uniform(-0.08, 0.08)
        size = rng.uniform(56, 70)
        shape = {"centre": tuple(rng.uniform(160, 240, 2)), "disc": (size, 1.1 * size), "cup": (cup * size,) * 2}
        pixels = paint(**shape)
        pixels[..., 2] += 80 * np.uint8(i % 2)
        cv2.imwrite(str(folder / f"{i}.png"), pixels[..., ::-1])
        masks = {}
        for name in ("disc", "cup"):
            mask = cv2.ellipse(np.zeros((400, 400), np.uint8), (shape["centre"], shape[name], 0), 255, -1)
            cv2.imwrite(str(folder / f"{i}_{name}.png"), mask)
            masks[name] = MaskFile(folder / f"{i}_{name}.png")
        labels = {"glaucoma": float(i % 2)}
        found.append(Sample("refuge_crops", str(i), str(i), folder / f"{i}.png", masks, labels))
    return found


@pytest.fixture(scope="module")
def trained(samples):
    """Task -> a tiny network that was trained on these eyes for a moment, and what the chain makes of it."""
    found = {}
    for task in ("disc_cup", "glaucoma"):
        prepared = [device_inputs(task, s, SIZE) for s in samples]
        images = np.stack([image for image, _ in prepared])
        torch.manual_seed(0)
        if task == "disc_cup":
            network = LWBNAUnet(width=16, outputs=2, depth=2, narrowing_steps=2, stem=True).eval()
            masks = np.stack([[m["disc"][::2, ::2], m["cup"][::2, ::2]] for _, m in prepared])
            target = torch.from_numpy(masks).float()
        else:
            network = NarrowClassifier(width=16, depth=2, narrowing_steps=2).eval()
            target = torch.tensor([[s.labels["glaucoma"]] for s in samples])
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(network(as_tensor(images)), target).backward()
            optimizer.step()
        found[task] = network, convert_network(network, SIZE, images, images)
    return found


def quantize(task, trained, samples, monkeypatch, folder: Path, int8: bytes, limits: dict) -> int:
    """``tenohira quantize`` of a run folder, but for the conversion and the data, which are given."""
    network, converted = trained[task]
    kind = "lwbna" if task == "disc_cup" else "narrow_classifier"
    text = f'name = "toy"\ntask = "{task}"\nsize = {SIZE}\n[network]\nkind = "{kind}"\nwidth = 16\n'
    text += "depth = 2\nnarrowing_steps = 2\nstem = true\n"
    text += "[data.sets]\nrefuge_crops = 1\n[gate]\n" + "".join(f"{k} = {v}\n" for k, v in limits.items())
    (folder / "recipe.toml").write_text(text)
    torch.save({"model": network.state_dict()}, folder / "best.pt")
    damaged = dataclasses.replace(converted, int8_tflite=int8, checks=[])  # parity has tests of its own
    monkeypatch.setattr("quantize.commands.quantize.convert_network", lambda *args: damaged)
    monkeypatch.setattr("quantize.measure.part", lambda *args: {"refuge_crops": samples})
    return main(["quantize", str(folder), "--data", str(folder)])


LOOSE = dict.fromkeys(msgspec.structs.asdict(SPEC), 1e9)
BOUNDS = {
    "disc_cup": ("dice_drop", "vcdr_shift", "vcdr_limits", "changed_verdicts"),
    "glaucoma": ("auc_drop", "sensitivity_drop", "changed_verdicts"),
}


@pytest.mark.parametrize("task", BOUNDS)
def test_a_faithful_int8_network_becomes_a_bundle(task, trained, samples, shipped, monkeypatch, tmp_path, capsys):
    limits = {"dice_drop": 0.05, "vcdr_shift": 0.05, "vcdr_limits": 0.1}  # painted coarsely, hardly trained
    assert quantize(task, trained, samples, monkeypatch, tmp_path, trained[task][1].int8_tflite, limits) == 0
    (path,) = tmp_path.glob("*.tnh")
    loaded = bundle.load(path)
    assert {row.bound for row in loaded.manifest.gate} == set(BOUNDS[task])
    assert all(row.passed and row.value <= row.limit for row in loaded.manifest.gate)
    assert "## Clinical gate" in loaded.card and f"| {BOUNDS[task][0]} |" in loaded.card
    said = capsys.readouterr().out
    assert "clinical gate, int8 against float" in said and "operators that lose most" in said
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes())
    assert report["gate"] == list(msgspec.to_builtins(loaded.manifest.gate)) and len(report["noise"]) > 20
    assert (tmp_path / "noise.png").is_file()


@pytest.mark.parametrize(("task", "bound"), [(task, bound) for task in BOUNDS for bound in BOUNDS[task]])
def test_a_damaged_int8_network_does_not(task, bound, trained, samples, shipped, monkeypatch, tmp_path, capsys):
    """Every other bound is loosened: this one alone holds the bundle back."""
    int8 = with_negated_head(trained[task][1].int8_tflite)
    limits = LOOSE | {bound: getattr(SPEC, bound)}
    assert quantize(task, trained, samples, monkeypatch, tmp_path, int8, limits) == 2
    said = capsys.readouterr().err
    assert f"{bound} of" in said and "CONV_2D head" in said
    assert not any(f"{other} of" in said for other in LOOSE if other != bound)
    assert not list(tmp_path.glob("*.tnh"))


def with_negated_head(model: bytes) -> bytes:
    """The model with the weights of its last convolution negated."""
    parsed = tflite.parse(model)
    (graph,) = parsed.subgraphs
    head = [operator for operator in graph.operators if len(operator.inputs) == 3][-1]
    weights = parsed.buffers[graph.tensors[head.inputs[1]].buffer]
    weights.data = (-np.array(weights.data, np.uint8).view(np.int8)).view(np.uint8)
    builder = flatbuffers.Builder(len(model))
    builder.Finish(parsed.Pack(builder), b"TFL3")
    return bytes(builder.Output())
