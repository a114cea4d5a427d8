"""Evaluation on painted eyes, whose outlines are known: networks, the whole device, tables, plots, the command."""

import csv
import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from device import bundle, pipeline, segmentation, signing
from device.bundle import Manifest, Probability
from device.cli import main
from device.geometry import Square
from device.quality import Quality
from device.runtime import Network
from tests.device.eye import CUP_GREEN, DISC_GREEN, SIZE, ColourNetwork, build, paint
from tests.device.test_runtime import TINY, picture
from tests.train.toy import RECIPE, make_octa
from train import evaluation, plots, report
from train.datasets import MaskFile, Sample, load_split
from train.datasets.splits import group_of, read_split
from train.evaluation import Case, device_cases, evaluate_predictor, has_reference, headline, network_cases
from train.inputs import device_inputs
from train.networks import build as build_network
from train.recipe import read_recipe

OCTA_SIZE = 32  # of toy.RECIPE


def eye_sample(folder, name, glaucoma=0.0, **how):
    """A painted eye and its true masks, as files."""
    image = paint(**how)
    files = {"": image}
    for structure, threshold in (("disc", DISC_GREEN), ("cup", CUP_GREEN)):
        files[f"_{structure}"] = (image[..., 1] > threshold).astype(np.uint8) * np.uint8(255)
    for suffix, pixels in files.items():
        Image.fromarray(pixels).save(folder / f"{name}{suffix}.png")
    masks = {s: MaskFile(folder / f"{name}_{s}.png") for s in ("disc", "cup")}
    return Sample("painted", name, name, folder / f"{name}.png", masks, {"glaucoma": glaucoma})


def by_colour(*thresholds, shift=0):
    """A predictor that answers from the green channel, at half resolution like a network with a stride-2 stem."""

    def predict(image):
        assert image.dtype == np.uint8
        green = cv2.resize(image[..., 1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA).astype(np.float32)
        return np.roll(np.stack([green - t for t in thresholds], axis=-1), shift, axis=1)

    return predict


@pytest.fixture
def samples(tmp_path):
    """Three eyes of which the last has a disc at the picture's edge: its region of interest reaches beyond."""
    return [
        eye_sample(tmp_path, "a"),
        eye_sample(tmp_path, "b", glaucoma=1.0, cup=(50, 56)),
        eye_sample(tmp_path, "edge", centre=(370, 200), surround=False),
    ]


def test_what_is_known_of_a_photograph_is_what_a_network_can_be_held_against(tmp_path):
    outlined = eye_sample(tmp_path, "a")
    labelled = dataclasses.replace(outlined, mask_files={})
    healthy = dataclasses.replace(labelled, absent=("haemorrhage",))
    assert has_reference("disc_cup", outlined) and has_reference("glaucoma", outlined)
    assert not has_reference("disc_cup", labelled) and has_reference("glaucoma", labelled)
    assert has_reference("haemorrhage", healthy) and not has_reference("haemorrhage", outlined)
    assert not has_reference("glaucoma", dataclasses.replace(outlined, labels={"dr_grade": 1.0}))


@pytest.fixture
def good_quality(monkeypatch):
    """Painted eyes are good photographs here."""
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))


# Networks alone


def test_a_network_that_sees_colours_outlines_nearly_perfectly(samples):
    cases = network_cases("disc_cup", samples, by_colour(DISC_GREEN, CUP_GREEN), SIZE)
    assert [c.id for c in cases] == ["a", "b", "edge"]
    for case, vcdr in zip(cases, (33 / 66, 56 / 66, 33 / 66)):
        v = case.values
        assert v["dice_disc"] > 0.97 and v["dice_cup"] > 0.95
        assert v["iou_disc"] == pytest.approx(v["dice_disc"] / (2 - v["dice_disc"]))
        assert v["hd95_disc"] <= 2 and v["bf1_disc"] > 0.9
        assert v["vcdr_reference"] == pytest.approx(vcdr, abs=0.02)
        assert v["vcdr"] == pytest.approx(vcdr, abs=0.03)
        assert not case.refused


def test_a_shift_is_measured_in_pixels_of_the_photograph(tmp_path):
    sample = eye_sample(tmp_path, "round", disc=(64, 64), cup=(32, 32))
    (case,) = network_cases("disc_cup", [sample], by_colour(DISC_GREEN, CUP_GREEN, shift=4), SIZE)
    r, d = 32.5, 4 * 130 / 48  # 48 cells cover two diameters of 65 pixels
    lens = 2 * r * r * math.acos(d / (2 * r)) - d / 2 * math.sqrt(4 * r * r - d * d)
    assert case.values["dice_disc"] == pytest.approx(lens / (math.pi * r * r), abs=0.03)
    assert 0.8 * d < case.values["hd95_disc"] < 1.1 * d
    assert case.values["bf1_disc"] < 0.4
    assert case.values["vcdr"] == pytest.approx(0.5, abs=0.03)  # extents do not move


def test_a_cup_beyond_the_disc_is_clipped_as_on_the_device(samples):
    (case,) = network_cases("disc_cup", samples[:1], by_colour(DISC_GREEN, 10), SIZE)
    assert case.values["vcdr"] == pytest.approx(1.0)


def test_a_blind_network_is_counted(samples):
    cases = network_cases("disc_cup", samples, by_colour(300, 300), SIZE)
    figures = headline(cases)
    nothing = {f"dice_{name}{end}": 0 for name in ("disc", "cup") for end in ("", "_low", "_high")}
    assert figures == {"images": 3, **nothing}  # no vCDR to have an error
    assert all(math.isnan(c.values["hd95_disc"]) and math.isnan(c.values["vcdr"]) for c in cases)
    (disc, cup) = report.overlap_rows("torch", "painted", cases)
    assert disc["Dice (mean ± SD)"] == "0.0000 ± 0.0000" and disc["HD95, px (median)"] == ""
    assert report.agreement_rows("torch", "painted", cases) == []
    assert cup["images"] == "3"


@pytest.mark.parametrize("square", [Square(10, 20, 90), Square(-30, 60, 121)])
def test_outlines_are_those_that_the_device_makes(square):
    """Float logits on the int8 grid must give the very masks of ``device.segmentation``."""
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(size=(24, 24, 2)).astype(np.float32), (0, 0), 3)
    raw = np.clip(np.round(noise / np.abs(noise).max() * 100) - 20, -128, 127).astype(np.int8)
    whole, cup = segmentation.regions(raw, -20, square, (140, 150))
    whole = segmentation.clean(whole)
    cup = segmentation.clean(segmentation.clip(cup, whole))
    ours = evaluation._outlines((raw.astype(np.float32) + 20) * 0.25, square, (140, 150), nested=True)
    for mine, theirs in zip(ours, (whole, cup)):
        assert (mine.x, mine.y, mine.mask.shape) == (theirs.x, theirs.y, theirs.mask.shape)
        assert theirs.area and np.mean(mine.mask != theirs.mask) < 0.005  # the device enlarges in 8 bits


def test_the_whole_field_for_the_disc_finder(samples):
    cases = network_cases("disc_finder", samples[:2], by_colour(DISC_GREEN), SIZE)
    assert all(c.values["dice_disc"] > 0.9 and "dice_cup" not in c.values for c in cases)


def test_classification_has_scores_labels_and_an_auc(samples):
    brightness = evaluate_predictor("glaucoma", samples, lambda x: np.array([x[..., 1].mean()], np.float32), SIZE)
    assert brightness["images"] == 3 and brightness["auc"] == 1.0  # the larger cup is the brighter region
    assert brightness["sensitivity_at_95_specificity"] == 1.0
    assert not {"dice_disc", "vcdr_mae"} & brightness.keys()


def test_faz_area_and_perimeter(tmp_path):
    octa = load_split(make_octa(tmp_path), "octa_faz", "val")[:5]
    cases = network_cases("faz", octa, lambda x: 110 - by_colour(0)(x), 64)
    for c in cases:
        assert c.values["dice_faz"] > 0.9
        assert c.values["area"] == pytest.approx(c.values["area_reference"], rel=0.1)
        assert c.values["perimeter"] == pytest.approx(c.values["perimeter_reference"], rel=0.1)
        assert c.stratum in ("deep", "superficial")
    assert headline(cases)["area_mae"] < 60


# The whole device


@pytest.fixture
def screened(tmp_path, good_quality):
    """Four eyes, one without a disc that the device could find, though the reference has one."""
    eyes = [
        eye_sample(tmp_path, "normal", 0.0, cup=(24, 26)),
        eye_sample(tmp_path, "healthy", 0.0),
        eye_sample(tmp_path, "cupped", 1.0, cup=(50, 56)),
        eye_sample(tmp_path, "hidden", 1.0),
    ]
    Image.fromarray(paint(disc=(0, 0), cup=(0, 0))).save(eyes[3].path)
    machine = build(probability=Probability(logit_scale=0.0, logit_bias=-7.0, vcdr_weight=10.0))
    return device_cases(machine, "glaucoma", eyes)


def test_what_the_device_refuses_counts_with_a_dice_of_0(screened):
    hidden = screened[3]
    assert hidden.refused == "no optic disc found"
    assert hidden.values["dice_disc"] == hidden.values["dice_cup"] == hidden.values["bf1_disc"] == 0
    assert math.isnan(hidden.values["vcdr"]) and hidden.values["vcdr_reference"] == pytest.approx(0.5, abs=0.02)
    assert hidden.values["label"] == 1 and "score" not in hidden.values and "refer" not in hidden.values
    assert all(not c.refused and c.values["dice_disc"] > 0.95 for c in screened[:3])
    figures = headline(screened)
    assert {name for name in figures if not name.endswith(("_low", "_high"))} == {
        "images", "dice_disc", "dice_cup", "vcdr_mae", "auc", "sensitivity_at_95_specificity"
    }  # fmt: skip
    assert figures["images"] == 4
    assert figures["dice_disc"] == pytest.approx(sum(c.values["dice_disc"] for c in screened[:3]) / 4)
    assert figures["dice_disc"] < 0.75
    assert figures["vcdr_mae"] < 0.03


def test_outlines_of_an_ungradable_examination_do_not_count(tmp_path, good_quality):
    """A cup as high as the disc: outlines are there as evidence, but the device does not vouch for them."""
    sample = eye_sample(tmp_path, "full")
    machine = build(outliner=ColourNetwork(DISC_GREEN, DISC_GREEN))
    exam = machine.screen(pipeline.Frame(sample.image()))
    assert exam.masks["disc"].area
    (case,) = device_cases(machine, "glaucoma", [sample])
    assert "cup is as high as the disc" in case.refused
    assert case.values["dice_disc"] == 0 and "score" not in case.values


def test_decisions_of_the_device(screened):
    (row,) = report.decision_rows("device", "painted", screened)
    assert (row["images"], row["with glaucoma"], row["refused"]) == ("4", "2", "1")
    assert row["AUC"] == "1.0000" and row["95 % CI"] == "[1.0000, 1.0000]"  # of the three that were graded
    assert row["at the operating point: sensitivity / specificity"] == "1.000 / 1.000"
    assert row["AUC of the vCDR alone"] == "1.0000"
    assert report.decision_rows("device", "painted", screened[:2]) == []  # one class


def test_reliability_compares_probabilities_with_shares():
    said = [(0.05, 0), (0.95, 1), (0.95, 1), (0.95, 0), (0.9, 1), (1.0, 1)]
    cases = [Case("s", str(p), values={"score": p, "label": float(y), "refer": 1.0}) for p, y in said]
    low, high, every = report.reliability_rows("device", [*cases, Case("s", "refused", values={"label": 1.0})])
    assert (low["probability"], low["images"], low["mean probability"]) == ("0 to 0.1", "1", "0.050")
    assert (high["probability"], high["images"], high["with glaucoma"]) == ("0.9 to 1", "5", "0.800")
    assert (every["probability"], every["images"], every["Brier score"]) == ("0 to 1", "6", "0.153")
    assert report.reliability_rows("torch", [Case("s", "1", values={"score": 3.0, "label": 1.0})]) == []


def test_distances_that_are_undefined_are_counted():
    assert report.median_of_defined(np.array([1.0, math.nan, 3.0])) == "2.0 (1 of 3 undefined)"
    assert report.median_of_defined(np.array([1.0, 3.0])) == "2.0"
    assert report.median_of_defined(np.array([math.nan])) == ""


def test_the_device_measures_octa(tmp_path):
    octa = load_split(make_octa(tmp_path), "octa_faz", "val")[:4]
    machine = build()
    machine.models["faz"] = pipeline.Model(dark := ColourNetwork(DISC_GREEN, tamper=lambda g: 210 - g), None)
    cases = device_cases(machine, "faz", octa)
    assert dark.calls >= len(octa)
    assert all(not c.refused and c.values["dice_faz"] > 0.9 for c in cases), [c.refused for c in cases]
    assert all(c.values.keys() >= {"area", "area_reference", "perimeter"} for c in cases)
    assert not any({"label", "score"} & c.values.keys() for c in cases)


def test_the_device_marks_haemorrhages(tmp_path, monkeypatch):
    """Also where there are none: nothing marked is right then, and a crop is refused."""
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))
    samples = []
    for name, spots, surround in (("some", [(120, 200, 8)], True), ("none", [], True), ("crop", [], False)):
        picture = paint(disc=(0, 0), cup=(0, 0), spots=spots, surround=surround)
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
        Image.fromarray((picture == 255).all(2).astype(np.uint8) * np.uint8(255)).save(tmp_path / f"{name}_m.png")
        mask = {"haemorrhage": MaskFile(tmp_path / f"{name}_m.png")} if spots else {}
        absent = () if spots else ("haemorrhage",)
        grade = {"dr_grade": float(len(spots) * 2)}
        file = tmp_path / f"{name}.png"
        samples.append(Sample("painted", name, name, file, mask, grade, absent=absent, stratum=name))
    some, none, crop = device_cases(build(), "haemorrhage", samples)
    assert some.values["dice_haemorrhage"] > 0.85 and some.values["bf1_haemorrhage"] == 1
    assert none.values["dice_haemorrhage"] == 1 and not none.refused
    assert "crop" in crop.refused
    assert not any("disc" in name or name == "score" for name in some.values)
    assert (some.values["haemorrhages_device"], none.values["haemorrhages_device"]) == (1, 0)
    assert [c.values["label"] for c in (some, none, crop)] == [1, 0, 0]
    rows = report.marked_rows("device", "painted", [some, none, crop])
    assert [(r["grade of retinopathy"], r["refused"], r["with any marked"]) for r in rows] == [
        ("crop", "1", ""),
        ("none", "0", "0%"),
        ("some", "0", "100%"),
    ]
    assert report.marked_rows("device", "painted", [crop]) == []


# Tables


def test_overlap_and_agreement_rows(screened):
    disc, cup = report.overlap_rows("device", "painted", screened)
    assert (disc["structure"], cup["structure"]) == ("optic disc", "optic cup")
    assert (disc["images"], disc["refused"]) == ("4", "1")
    dice = np.array([c.values["dice_disc"] for c in screened])
    assert disc["Dice (mean ± SD)"] == f"{dice.mean():.4f} ± {dice.std():.4f}"
    low, high = (float(v) for v in disc["95 % CI"].strip("[]").split(","))
    assert 0 <= low < dice.mean() < high <= 1
    (vcdr,) = report.agreement_rows("device", "painted", screened)
    assert (vcdr["images"], vcdr["not measured"]) == ("3", "1")
    assert float(vcdr["mean absolute error"]) < 0.03 and float(vcdr["Pearson r"]) > 0.99


def test_markdown_and_csv_hold_the_same_cells(tmp_path):
    rows = [{"system": "torch", "AUC": "0.9"}, {"system": "device", "AUC": "0.8", "refused": "2"}]
    lines = report.markdown(rows).splitlines()
    assert lines == [
        "| system | AUC | refused |",
        "| --- | --- | --- |",
        "| torch | 0.9 |  |",
        "| device | 0.8 | 2 |",
    ]
    report.write_csv(tmp_path / "t.csv", rows)
    assert read_csv(tmp_path / "t.csv") == [rows[0] | {"refused": ""}, rows[1]]


def test_cases_are_written_with_what_is_undefined(tmp_path):
    cases = [
        ("torch", Case("chase_db1", "Image_01L", values={"dice_disc": 0.25, "hd95_disc": math.nan})),
        ("device", Case("s", "2", values={"dice_disc": 0.0}, refused="no optic disc found")),
    ]
    report.write_cases(tmp_path / "cases.csv", cases)
    first, second = read_csv(tmp_path / "cases.csv")
    assert (first["dice_disc"], first["hd95_disc"], first["refused"]) == ("0.25", "nan", "")
    assert (first["patient"], second["patient"]) == (group_of("chase_db1", "Image_01R"), "s 2")
    assert (second["dice_disc"], second["hd95_disc"], second["refused"]) == ("0", "", "no optic disc found")


# The command


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def is_a_plot(path):
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return min(pixels.shape[:2]) > 300 and pixels.std() > 5 and pixels.mean() > 150


@pytest.fixture(scope="module")
def octa(tmp_path_factory):
    return make_octa(tmp_path_factory.mktemp("octa"))


@pytest.fixture(scope="module")
def run_folder(octa, tmp_path_factory):
    """A run of a few steps on the very images that it will be measured on."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    folder.mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    recipe = read_recipe(folder / "recipe.toml")
    torch.manual_seed(0)
    network = build_network(recipe.network, recipe.outputs)
    inputs = [device_inputs("faz", s, recipe.size) for s in load_split(octa, "octa_faz", "val")]
    x = torch.from_numpy(np.stack([i for i, _ in inputs]).transpose(0, 3, 1, 2) / 255).float()
    truth = torch.from_numpy(np.stack([m["faz"][None, ::2, ::2] for _, m in inputs])).float()
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(x), truth).backward()
        optimizer.step()
    torch.save({"model": network.state_dict()}, folder / "best.pt")
    return folder


def test_evaluate_a_run(run_folder, octa, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", str(run_folder), "--data", str(octa), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "int8: not there yet; 'tenohira quantize toy' makes it" in said
    assert {p.name for p in out.iterdir()} == {
        "report.md", "overlap.csv", "agreement.csv", "cases.csv", "dice_torch.png", "agreement_area.png",
        "agreement_perimeter.png", "worst_torch.png",
    }  # fmt: skip
    assert all(is_a_plot(p) for p in out.glob("*.png"))
    cases, overlap = read_csv(out / "cases.csv"), read_csv(out / "overlap.csv")
    wanted = {id for id, (_, part) in read_split("octa_faz").items() if part == "val"}
    assert {c["id"] for c in cases} == wanted and len(cases) == len(wanted)
    assert [row["set"] for row in overlap] == ["octa_faz", "octa_faz deep", "octa_faz superficial"]
    assert int(overlap[0]["images"]) == len(wanted) == sum(int(row["images"]) for row in overlap[1:])
    mean = np.mean([float(c["dice_faz"]) for c in cases])
    assert mean > 0.8
    assert overlap[0]["Dice (mean ± SD)"].startswith(f"{mean:.4f} ±")
    text = (out / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# run toy, val part") and text in said
    assert overlap[0]["Dice (mean ± SD)"] in text and read_csv(out / "agreement.csv")[0]["Pearson r"] in text


def test_no_image_is_drawn_twice(run_folder, octa, tmp_path, monkeypatch):
    """The plexuses have rows of their own in the tables, but limits of agreement are of images, each once."""
    drawn = {}
    monkeypatch.setattr(plots, "agreement_plots", lambda folder, cases, title: drawn.update(cases))
    assert main(["evaluate", str(run_folder), "--data", str(octa), "--out", str(tmp_path)]) == 0
    ids = [c.id for of_set in drawn.values() for c in of_set]
    assert ids and len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def crops(tmp_path_factory):
    """Painted crops laid out as ``refuge_crops``, of the validation part: cups are larger with glaucoma."""
    root = tmp_path_factory.mktemp("crops")
    for kind in ("images", "masks"):
        (root / "refuge_crops" / kind).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for id in sorted(id for id, (_, part) in read_split("refuge_crops").items() if part == "val"):
        ratio = rng.uniform(0.7, 0.85) if id.startswith("g") else rng.uniform(0.3, 0.5)
        image = paint(200, (100, 100), (96, 100), (96 * ratio, 100 * ratio), surround=False)
        mask = np.where(image[..., 1] > CUP_GREEN, 0, np.where(image[..., 1] > DISC_GREEN, 128, 255))
        Image.fromarray(image).save(root / "refuge_crops" / "images" / f"{id}.jpg", quality=98)
        Image.fromarray(mask.astype(np.uint8)).save(root / "refuge_crops" / "masks" / f"{id}.png")
    return root


def test_evaluate_the_device(crops, tmp_path, monkeypatch, good_quality):
    machine = build(probability=Probability(logit_scale=0.0, logit_bias=-6.0, vcdr_weight=10.0))
    monkeypatch.setattr(pipeline.Pipeline, "load", lambda *args, **more: machine)
    arguments = ["evaluate", "device", "--data", str(crops), "--sets", "refuge_crops", "--out", str(tmp_path)]
    assert main(arguments) == 0
    (decision,) = read_csv(tmp_path / "decision.csv")
    glaucoma = sum(c["label"] == "1" for c in read_csv(tmp_path / "cases.csv"))
    assert (decision["system"], decision["refused"], decision["AUC"]) == ("device", "0", "1.0000")
    assert int(decision["with glaucoma"]) == glaucoma > 0
    assert decision["at the operating point: sensitivity / specificity"] == "1.000 / 1.000"
    assert {row["structure"] for row in read_csv(tmp_path / "overlap.csv")} == {"optic disc", "optic cup"}
    assert float(read_csv(tmp_path / "agreement.csv")[0]["mean absolute error"]) < 0.03
    for name in ("dice_device", "roc_device", "agreement_vcdr", "worst_device"):
        assert is_a_plot(tmp_path / f"{name}.png")


def test_evaluate_a_bundle(crops, tmp_path):
    """Of random weights, so any figure will do; the sets are those that its manifest names, and have outlines."""
    for id in (id for id, (_, part) in read_split("airogs_subset").items() if part == "val"):
        photograph = crops / "airogs_subset" / id.split("-")[-2] / f"{id}.jpg"
        photograph.parent.mkdir(parents=True, exist_ok=True)
        photograph.touch()  # it is not even opened
    network = Network(TINY, reference=True)
    manifest = Manifest(
        schema=bundle.SCHEMA, name="tiny", version="1.0", task="disc_cup", modality="fundus", kind="segmentation",
        classes=("disc", "cup"), input=network.input, output=network.output, operating_points=(), probability=None,
        metrics={}, data={"sets": {"refuge_crops": {}, "airogs_subset": {}}}, recipe={}, operators={}, tools={},
        licence="", intended_use="", created="", members={},
    )  # fmt: skip
    signing.generate(tmp_path, "clinic")
    key = signing.read_private_key(tmp_path / "clinic.key")
    path = bundle.write(tmp_path / "tiny-1.0.tnh", manifest, TINY, "", picture(), network.run(picture()), key)
    out = tmp_path / "out"
    assert main(["evaluate", str(path), "--keys", str(tmp_path), "--data", str(crops), "--out", str(out)]) == 0
    assert (out / "report.md").read_text().startswith("# tiny-1.0, val part")
    cases = read_csv(out / "cases.csv")
    assert {c["system"] for c in cases} == {"int8"} and {c["set"] for c in cases} == {"refuge_crops"}
    assert all(0 <= float(c["dice_disc"]) <= 1 for c in cases)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--sets", "nothing"], "unknown data set 'nothing'"),
        (["--stages", "tensor"], "unknown stage 'tensor'"),
        (["--stages", "onnx"], "none of the stages"),
    ],
)
def test_mistakes_are_explained(run_folder, octa, tmp_path, capsys, more, said):
    assert main(["evaluate", str(run_folder), "--data", str(octa), "--out", str(tmp_path / "out"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_explained(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "no finished training here" in capsys.readouterr().err


def test_headline_figures_have_intervals():
    cases = [Case("eyes", str(i), "", {"dice_disc": 0.9 + i / 100, "label": i % 2, "score": i}) for i in range(8)]
    figures = headline(cases)
    for name in ("dice_disc", "auc"):
        assert figures[f"{name}_low"] < figures[name] < figures[f"{name}_high"]
    assert figures["dice_disc"] == pytest.approx(0.935)
    assert headline(cases[:1]).keys() >= {"dice_disc"} and "dice_disc_low" not in headline(cases[:1])
