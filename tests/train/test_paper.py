"""The studies are fair, jobs resume and are not run twice, and tables say what the records say."""

from __future__ import annotations

import dataclasses

import msgspec
import numpy as np
import pytest
import torch
from msgspec import structs

from device.cli import main
from tests.train.toy import make_octa
from train.datasets import load_split
from train.errors import RunError
from train.loop import Machine, _some
from train.paper import report, runner, seeds
from train.paper.studies import (
    ABLATIONS,
    CAMERAS,
    FEW,
    NETWORKS,
    PROTOCOLS,
    SEEDS,
    STUDIES,
    TAUGHT,
    TEACHERS,
    UNSEEN,
    UNTRAINED,
    Job,
    distinct_images,
    jobs,
    training_images,
)
from train.recipe import DataSpec, NetworkSpec, Recipe, TrainingSpec
from train.run import RUNS

CPU = Machine(torch.device("cpu"))


@pytest.fixture(scope="module")
def octa(tmp_path_factory):
    return make_octa(tmp_path_factory.mktemp("data"))


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def job(network="U-Net", seed=1, study="faz", images=0, epochs=1) -> Job:
    spec = NetworkSpec(kind="lwbna", width=16, depth=2, stem=True)
    recipe = Recipe(
        name=f"toy-{study}-{network}-{images}-{seed}",
        task="faz",
        size=32,
        seed=seed,
        network=spec,
        data=DataSpec(sets={"octa_faz": 1}, images=images),
        training=TrainingSpec(epochs=epochs, batch=8),
    )
    return Job("cpu", study, network, seed, recipe)


def measured(dice: dict[str, float], of: Job) -> runner.Record:
    """A record with the given Dice of each image, and areas that agree as badly."""
    test = [
        runner.Values(
            "octa_faz",
            id,
            "deep",
            {
                "dice_faz": d,
                "iou_faz": d / (2 - d),
                "hd95_faz": 10 * (1 - d),
                "bf1_faz": d,
                "area": 1000 * d,
                "area_reference": 900.0 + 10 * i,
            },
        )
        for i, (id, d) in enumerate(dice.items())
    ]
    return runner.Record(of.recipe, {}, 1, 0, 0.9, [], 60.0, "2 CPU threads", "2", test)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_study_differs_in_networks_and_seeds_alone(protocol):
    found = jobs(protocol)
    assert len({j.name for j in found}) == len(found)
    assert {j.study for j in found} == set(STUDIES)
    for study in STUDIES:
        for images in {j.recipe.data.images for j in found if j.study == study}:
            same = [j for j in found if j.study == study and j.recipe.data.images == images]
            assert {j.seed for j in same} == set(SEEDS[:1] if study in UNTRAINED else SEEDS)
            if study in UNSEEN:  # there the sets differ, on purpose
                continue
            assert {j.network for j in same} == set(STUDIES[study][0])
            alike = {
                msgspec.json.encode(
                    structs.replace(
                        j.recipe,
                        name="",
                        seed=0,
                        network=NetworkSpec(kind="unet"),
                        training=structs.replace(j.recipe.training, teacher=""),  # each seed has its own
                    )
                )
                for j in same
            }
            assert len(alike) == 1
            assert [j.seed for j in same] == sorted(j.seed for j in same)  # cut short, every network has as many


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_few_images_are_seen_as_often_in_all(protocol):
    few = [j.recipe for j in jobs(protocol) if j.study == "few_images"]
    seen = [r.training.epochs * training_images(r.data) for r in few]
    assert np.allclose(seen, PROTOCOLS[protocol].images_seen, rtol=0.02)
    of_all = next(j.recipe.training.epochs for j in jobs(protocol) if j.study == "faz")
    assert np.allclose([r.training.epochs for r in few], of_all, rtol=0.1)  # looks at the validation part
    assert {distinct_images(r.data) for r in few} == {r.data.images for r in few} == set(FEW)


def test_fewer_training_images_are_a_subset_of_more(octa):
    samples = load_split(octa, "octa_faz", "train")
    few, more = ({s.id for s in _some(samples, n)} for n in (8, 16))
    assert len(few) == 8 and len(more) == 16 and few < more
    assert _some(samples, 0) == samples


def test_a_job_is_trained_measured_once_and_found_again(octa, in_folder):
    one = job()
    assert runner.read_record(one, [in_folder]) is None
    record = runner.run_job(one, octa, in_folder, CPU, lambda line: None)
    assert runner.read_record(one, [in_folder / "none", in_folder]) == record
    assert {c.id for c in record.cases} == {s.id for s in load_split(octa, "octa_faz", "test")}
    assert all(0 <= c.values["dice_faz"] <= 1 for c in record.cases)
    assert record.epochs == 1 and record.seconds > 0
    assert max(h["score"] for h in record.history) == record.validation


def test_a_stopped_job_goes_on_where_it_was(octa, in_folder):
    from train.loop import train

    one = job(epochs=2)
    run = RUNS / "paper" / one.name
    run.mkdir(parents=True)
    train(one.recipe, octa, run, CPU, lambda line: None, stop_after=1)
    record = runner.run_job(one, octa, in_folder, CPU, lambda line: None)
    straight = runner.run_job(job(epochs=2, study="other"), octa, in_folder, CPU, lambda line: None)
    assert record.epochs == 2
    assert record.test == straight.test


def test_a_teacher_comes_from_its_own_study_and_is_trained_first_where_it_is_not_there(
    octa, in_folder, monkeypatch
):
    taught = [j for j in jobs("cpu") if j.recipe.training.teacher]
    assert {j.study for j in taught} == set(TEACHERS)
    known = {f"paper/{j.name}": j for j in jobs("cpu")}
    for one in taught:
        teacher = known[one.recipe.training.teacher]
        assert (teacher.study, teacher.network, teacher.seed) == (TEACHERS[one.study], "LWBNA-Unet", one.seed)
        assert teacher.recipe.data == one.recipe.data  # it knows nothing that the other does not see
    teacher, own = job(study="teacher"), job(study="taught")
    training = structs.replace(own.recipe.training, teacher=f"paper/{teacher.name}")
    one = dataclasses.replace(own, recipe=structs.replace(own.recipe, training=training))
    monkeypatch.setattr(runner, "jobs", lambda protocol: [teacher, one])
    first = runner.run_job(one, octa, in_folder, CPU, lambda line: None)
    assert (RUNS / "paper" / teacher.name / "best.pt").is_file()
    monkeypatch.setattr(
        runner,
        "jobs",
        lambda protocol: [dataclasses.replace(teacher, recipe=structs.replace(teacher.recipe, size=48))],
    )
    with pytest.raises(RunError, match="another recipe"):  # what lies there is not the teacher that was meant
        runner.run_job(one, octa, in_folder, CPU, lambda line: None)
    alone = dataclasses.replace(own, recipe=structs.replace(own.recipe, name="alone"))
    assert first.history != runner.run_job(alone, octa, in_folder, CPU, lambda line: None).history


def test_another_recipe_is_not_taken_for_the_job(octa, in_folder):
    runner.run_job(job(), octa, in_folder, CPU, lambda line: None)
    other = Job("cpu", "faz", "U-Net", 1, msgspec.structs.replace(job().recipe, size=48))
    with pytest.raises(RunError, match="another recipe"):
        runner.read_record(other, [in_folder])
    with pytest.raises(RunError, match="another recipe"):
        runner.run_job(other, octa, in_folder, CPU, lambda line: None)
    (in_folder / f"{other.name}.json").write_text("{")
    with pytest.raises(RunError, match="damaged"):
        runner.read_record(other, [in_folder])


def test_time_left_is_by_the_same_networks_work():
    done = [(job(), measured({"a": 0.9}, job()))]
    records = [r for _, r in done]
    assert runner.time_left([job()], []) is None
    assert runner.time_left([job(seed=2), job(seed=3)], records) == pytest.approx(120)
    assert runner.time_left([job(epochs=4)], records) == pytest.approx(240)


def test_time_left_of_the_taught_is_by_the_taught():
    alone = job()
    training = structs.replace(alone.recipe.training, teacher="paper/somebody")
    taught = dataclasses.replace(alone, recipe=structs.replace(alone.recipe, training=training))
    slower = structs.replace(measured({"a": 0.9}, taught), seconds=150.0)
    records = [measured({"a": 0.9}, alone), slower]
    assert runner.time_left([taught], records) == pytest.approx(2.5 * runner.time_left([alone], records))


def test_differences_are_paired_by_image_and_seeds_are_averaged_first():
    dice = {"a": 0.5, "b": 0.9, "c": 0.7}
    done = []
    for seed, shift in ((1, 0.02), (2, 0.04)):
        plain, better = job(seed=seed), job("LWBNA-Unet", seed)
        done.append((plain, measured(dice, plain)))
        done.append((better, measured({k: dice[k] + shift for k in reversed(dice)}, better)))
    assert seeds.by_image(done, "LWBNA-Unet", "dice_faz").values[0] == pytest.approx([0.52, 0.92, 0.72])
    rows = {row["network"]: row for row in report.accuracy_rows(done, "U-Net")}
    assert rows["U-Net"]["Dice less U-Net's [95 % CI]"] == ""
    # every image is better by the same: the images' own spread must not widen the interval
    assert rows["LWBNA-Unet"]["Dice less U-Net's [95 % CI]"] == "+0.0300 [0.0300, 0.0300]"
    assert rows["LWBNA-Unet"]["lowest and highest seed"] == "0.7200, 0.7400"
    assert rows["LWBNA-Unet"]["seeds"] == "2"


def test_every_network_is_held_against_every_other():
    done = []
    for name, shift in (("LWBNA-Unet", 0.03), ("U-Net", 0.0), ("DeepLabV3+", -0.1)):
        done.append((j := job(name), measured({"a": 0.5 + shift, "b": 0.8 + shift}, j)))
    assert [(r["network"], r["less"], r["Dice [95 % CI]"]) for r in report.difference_rows(done)] == [
        ("LWBNA-Unet", "U-Net", "+0.0300 [0.0300, 0.0300]"),
        ("LWBNA-Unet", "DeepLabV3+", "+0.1300 [0.1300, 0.1300]"),
        ("U-Net", "DeepLabV3+", "+0.1000 [0.1000, 0.1000]"),
    ]
    precision = {"LWBNA-Unet": 0.4, "U-Net": 0.3, "DeepLabV3+": 0.1}
    with_ap = [
        (
            j,
            structs.replace(
                r, test=[structs.replace(v, values=v.values | {"ap_faz": precision[j.network]}) for v in r.test]
            ),
        )
        for j, r in done
    ]
    column = "average precision of pixels [95 % CI]"
    assert [r[column][:7] for r in report.difference_rows(with_ap)] == ["+0.1000", "+0.3000", "+0.2000"]


def scores(of: Job, score: dict[str, float]) -> runner.Record:
    """A record of a classifier; names that begin with g have glaucoma."""
    test = [
        runner.Values("acrima", id, "", {"label": float(id[0] == "g"), "score": value})
        for id, value in score.items()
    ]
    return runner.Record(of.recipe, {}, 1, 0, 0.9, [], 60.0, "2 CPU threads", "2", test)


def test_classifiers_are_compared_on_the_same_eyes():
    perfect = {"g1": 3.0, "g2": 2.0, "n1": 1.0, "n2": 0.0}
    swapped = perfect | {"g2": 0.5}  # one pair of four in the wrong order
    done = []
    for seed in (1, 2):
        done += [(j := job("narrowed", seed, "classifiers"), scores(j, swapped))]
        done += [(j := job("not narrowed", seed, "classifiers"), scores(j, perfect if seed == 1 else swapped))]
    narrowed, plain = report.classifier_rows(done)
    assert (narrowed["AUC"], plain["AUC"]) == ("0.7500", "0.8750")
    assert narrowed["AUC less the narrowed one's [95 % CI]"] == ""
    assert plain["AUC less the narrowed one's [95 % CI]"].startswith("+0.1250 [")
    assert narrowed["images (glaucoma)"] == "4 (2)"


@pytest.mark.parametrize("study", UNSEEN)
def test_a_set_left_out_is_measured_and_nowhere_else(study):
    """Neither trained nor validated on; the network that knows all sets is measured on all of them."""
    found = [j for j in jobs("cpu") if j.study == study]
    assert {j.unseen for j in found} == {"", *CAMERAS.sets}
    for j in found:
        data = j.recipe.data
        assert set(data.sets) == set(CAMERAS.sets) - {j.unseen}
        assert data.validate and set(data.validate) <= set(data.sets)
        assert j.test_sets == ((j.unseen,) if j.unseen else tuple(CAMERAS.sets))


def test_the_drop_on_an_unseen_set_is_of_that_sets_images():
    known, new = job("all sets"), dataclasses.replace(job("without idrid_a"), unseen="idrid_a")

    def record(of: Job, dice: dict[tuple[str, str], float]) -> runner.Record:
        test = [runner.Values(s, id, "", {"dice_disc": d}) for (s, id), d in dice.items()]
        return structs.replace(measured({}, of), test=test)

    done = [
        (known, record(known, {("idrid_a", "x"): 0.9, ("palm_disc", "x"): 0.1, ("idrid_a", "y"): 0.8})),
        (new, record(new, {("idrid_a", "y"): 0.7, ("idrid_a", "x"): 0.8})),
    ]
    (row,) = report.unseen_rows(done)
    assert row["difference [95 % CI]"] == "-0.1000 [-0.1000, -0.1000]"
    assert (row["set"], row["images"], row["Dice, never seen"]) == ("idrid_a", "2", "0.7500")


def test_what_pretraining_gains_is_paired_by_image():
    def pair(study: str, known: float, new: float) -> list[tuple[Job, runner.Record]]:
        jobs_of = [job("all sets", study=study), job("without idrid_a", study=study)]
        jobs_of[1] = dataclasses.replace(jobs_of[1], unseen="idrid_a")
        test = [
            [runner.Values("idrid_a", i, "", {"dice_disc": d + shift}) for i, shift in (("x", 0.0), ("y", 0.1))]
            for d in (known, new)
        ]
        return [(j, structs.replace(measured({}, j), test=t)) for j, t in zip(jobs_of, test)]

    done = pair("unseen_sets", 0.7, 0.5) + pair("unseen_sets_narrowed_lite0", 0.75, 0.6)
    assert report.pretrained_rows(done[:2]) == report.pretrained_rows(done[2:]) == []
    both = report.pretrained_rows(done)
    assert [r["trained on"] for r in both] == ["all sets", "without idrid_a"]
    assert [r["difference [95 % CI]"][:7] for r in both] == ["+0.0500", "+0.1000"]
    assert both[0]["difference [95 % CI]"] == "+0.0500 [0.0500, 0.0500]"
    assert {r["network"] for r in both} == {"narrowed Lite0, pretrained"}


def test_agreement_on_an_unseen_set_is_of_that_sets_images():
    known, new = job("all sets"), dataclasses.replace(job("without idrid_a"), unseen="idrid_a")

    def record(of: Job, ratios: dict[str, tuple[float, ...]]) -> runner.Record:
        test = [
            runner.Values(s, str(i), "", {"vcdr": v, "vcdr_reference": i / 10})
            for s, values in ratios.items()
            for i, v in enumerate(values)
        ]
        return structs.replace(measured({}, of), test=test)

    done = [
        (known, record(known, {"palm_disc": (0.9, 0.9, 0.9), "idrid_a": (0.0, 0.1, 0.2)})),
        (new, record(new, {"idrid_a": (0.3, 0.4, 0.5)})),
    ]
    rows = report.unseen_agreement_rows(done)
    assert [(row["set"], row["network"]) for row in rows] == [
        ("idrid_a", "all sets"),
        ("idrid_a", "without idrid_a"),
    ]
    assert [row["mean absolute error"] for row in rows] == ["0.0000", "0.3000"]
    assert rows[1]["bias [95 % limits]"].startswith("0.3000 [")


def test_agreement_is_the_mean_over_seeds():
    one, two = job(), job(seed=2)
    done = [
        (one, measured({"a": 0.9, "b": 0.91, "c": 0.92}, one)),
        (two, measured({"a": 0.8, "b": 0.9, "c": 1}, two)),
    ]
    (row,) = report.agreement_rows(done)
    assert row["quantity"] == "FAZ area, px"
    assert row["bias [95 % limits]"].startswith("-5 [")  # areas 910 and 900 against 910
    assert row["Pearson r"] == "1.000"


def test_a_report_has_a_section_and_a_plot_a_study(tmp_path):
    dice = {"a": 0.8, "b": 0.9, "c": 0.85}
    done = [(j, measured(dice, j)) for j in (job(n) for n in NETWORKS)]
    done += [(j, measured(dice, j)) for j in (job(n, study="few_images", images=8) for n in NETWORKS)]
    done += [(j, measured(dice, j)) for j in (job(n, study="ablations") for n in ABLATIONS)]
    begun = job("all sets", study="unseen_sets")  # no set was left out yet
    done.append((begun, measured(dice, begun)))
    text = report.write_report(tmp_path, "cpu", done)
    assert "unseen_sets" not in text
    for section in ("size", "faz", "faz agreement", "few_images", "ablations"):
        assert f"\n## {section}\n" in text
    written = {p.name for p in tmp_path.iterdir()}
    assert written >= {
        "report.md",
        "size.csv",
        "dice_faz.png",
        "few_images.png",
        "frontier.png",
        "agreement_area.png",
    }


def test_what_a_teacher_gains_is_paired_by_image():
    alone = {"a": 0.5, "b": 0.9}
    jobs_of = {name: job(name) for name in ("LWBNA-Unet", "width 32, stem")} | {
        TAUGHT: job(TAUGHT, study="taught_faz")
    }
    shifts = {"LWBNA-Unet": 0.1, "width 32, stem": 0.0, TAUGHT: 0.02}
    done = [(j, measured({k: d + shifts[n] for k, d in alone.items()}, j)) for n, j in jobs_of.items()]
    assert report.taught_rows(done[:2]) == []
    (row,) = report.taught_rows(done)
    assert (row["Dice of the teacher"], row["taught"], row["by labels alone"]) == ("0.8000", "0.7200", "0.7000")
    assert row["difference [95 % CI]"].startswith("+0.0200 [0.0200, 0.0200]")


def test_the_published_sizes_stand_in_the_table():
    rows = {row["network"]: row for row in report.size_rows(96)}
    assert rows["U-Net"]["parameters"] == "31,037,633"
    assert rows["LWBNA-Unet"]["of U-Net's"] == "1/10.5"


def test_the_verb_explains_what_it_cannot_do(in_folder, capsys):
    assert main(["paper", "--protocol", "cpu", "--studies", "nonsense"]) == 2
    assert "faz" in capsys.readouterr().err
