"""``tenohira quantize RUN``: a trained run -> full-int8 TFLite, checked at every stage -> a signed bundle."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: it greets at length
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # the chain is checked on the CPU

import msgspec
import numpy as np
import onnx

import device
from device import bundle
from device.geometry import Int8Image, to_int8
from device.pipeline import Model, Pipeline, Runs
from device.runtime import Network
from device.signing import DEVELOPMENT_KEY, read_private_key
from quantize import certainty, decision, gate, measure, out_of_fold, parity, provenance, sensitivity
from quantize.card import gate_table, licence, model_card
from quantize.chain import Converted, Tuned, convert_network
from quantize.clipping import clip
from quantize.correction import correct
from quantize.finetune import finetune, simulate
from quantize.mcu import command as mcu
from quantize.onnx_to_tf import Graph
from quantize.tools import versions
from train.datasets import SETS, Sample, data_root
from train.datasets.splits import split_sha256
from train.errors import RecipeError
from train.evaluation import Case, has_reference, headline, network_cases
from train.predictors import Predictor, int8_stage, torch_stage
from train.recipe import Recipe, as_dict
from train.run import Run, load_run

PARITY_IMAGES = 32
NOISE_IMAGES = 16
INTENDED_USE = (
    "Research on screening with low-cost cameras: an aid that shows its evidence to a trained person. "
    "Not for diagnosis, not for any decision about a patient without one."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("run", help="run folder, or NAME for runs/NAME (else the released run of that name)")
    parser.add_argument("--out", type=Path, help="folder for the bundle (default: the run folder)")
    parser.add_argument(
        "--target", choices=("bundle", "mcu"), default="bundle",
        help="mcu: check a finished bundle (its file, its run, or a shipped one's name) for microcontrollers and "
        "write it as C (--out: default NAME-VERSION-mcu)",
    )  # fmt: skip
    parser.add_argument(
        "--key", type=Path, default=DEVELOPMENT_KEY, help="Ed25519 key (default: the development key)"
    )
    parser.add_argument("--version", default=device.__version__, help="of the bundle (default: %(default)s)")
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="ranges from so many training images (default: as the recipe's [quantization] says)",
    )
    parser.add_argument(
        "--finetune",
        type=int,
        metavar="EPOCHS",
        help="train so many epochs in int8 arithmetic first (default: likewise)",
    )
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or shared/data)")
    mcu.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Convert, check, measure, report, sign. Returns 0; any failure raises before a bundle is written."""
    if args.target == "mcu":
        return mcu.run(args)
    key = read_private_key(args.key)
    trained = with_settings(load_run(args.run), args.calibration, args.finetune)
    recipe, root = trained.recipe, data_root(args.data)
    parts = {name: measure.part(recipe, root, name) for name in ("train", "val", "test")}
    pooled = {name: [s for samples in sets.values() for s in samples] for name, sets in parts.items()}

    spec = recipe.quantization
    calibration = measure.inputs(recipe, pooled["train"], spec.calibration_images)
    tuned = None
    metrics: dict[str, dict[str, float]] = {}
    report: dict[str, Any] = {}
    if spec.clipping_images or spec.correction_images or spec.epochs:
        simulation = simulate(trained.network, recipe.size, calibration)
    if spec.clipping_images:
        images = measure.inputs(recipe, pooled["train"], spec.clipping_images)
        clipping = clip(simulation, trained.network, images)
        print(clipping)
        report["clipping"] = msgspec.to_builtins(clipping)
    if spec.correction_images:
        correction = correct(simulation, measure.inputs(recipe, pooled["train"], spec.correction_images))
        print(correction)
        report["correction"] = msgspec.to_builtins(correction)
    if spec.epochs:
        metrics["validation, int8 before fine-tuning"] = headline(
            network_cases(recipe.task, pooled["val"], torch_stage(simulation), recipe.size)
        )
        finetune(trained, root, simulation)
    if spec.clipping_images or spec.correction_images or spec.epochs:
        weights, ranges = simulation.export()
        tuned = Tuned(ranges, weights)
    parity_images = measure.inputs(recipe, pooled["val"], PARITY_IMAGES)
    converted = convert_network(
        trained.network, recipe.size, calibration, parity_images, tuned, recipe.task_spec.scattered
    )
    (trained.folder / "model.onnx").write_bytes(converted.onnx)
    (trained.folder / "float.tflite").write_bytes(converted.float_tflite)
    (trained.folder / "int8.tflite").write_bytes(converted.int8_tflite)
    report |= {
        "operators": converted.operators,
        "bytes": len(converted.int8_tflite),
        "parity": [check.as_dict() for check in converted.checks],
    }
    _write_report(trained.folder, report)
    for check in converted.checks:
        print(f"{check.stage:45} {check.quantity:45} {check.value:.4g}")
    parity.require(converted.checks)

    stages = {"float": torch_stage(trained.network), "int8": int8_stage(converted.int8_tflite)}
    cases = _cases(recipe, {"validation": pooled["val"]}, stages)
    metrics |= {name: headline(found) for name, found in cases.items()}
    exact = simulation.graph if tuned else Graph(onnx.load_from_string(converted.onnx))
    noises = sensitivity.operator_noise(
        exact, converted.int8_tflite, measure.inputs(recipe, pooled["val"], NOISE_IMAGES)
    )
    report |= {"metrics": metrics, "noise": [noise.as_dict() for noise in noises]}
    _write_report(trained.folder, report)
    sensitivity.plot(trained.folder / "noise.png", noises, f"{recipe.name} {args.version}")

    counts = {name: {part: len(parts[part][name]) for part in parts} for name in recipe.data.sets}
    floating, int8 = gate.networks(stages["float"], converted.int8_tflite)
    described = describe(recipe, converted, args.version, metrics, counts)
    unseen = out_of_fold.read(trained)
    manifest = with_rule(described, int8, recipe, parts["val"], unseen)
    for point in manifest.operating_points:
        print(
            f"operating point {point.name}: {point.threshold:.3f}, sensitivity {point.sensitivity:.3f}, "
            f"specificity {point.specificity:.3f} ({point.measured_on})"
        )
    if manifest.certainty is not None:
        print(f"least certainty of what is outlined: {manifest.certainty:.2f}")

    rule = with_rule(described, floating, recipe, parts["val"], unseen)
    rows = (
        *gate.network_rows(recipe.gate, cases["validation, float"], cases["validation, int8"]),
        *gate.device_rows(recipe.gate, rule, floating, int8, pooled["val"]),
    )
    _write_report(trained.folder, report | {"gate": msgspec.to_builtins(rows)})
    worst = [str(noise) for noise in noises[: sensitivity.NAMED]]
    print(f"clinical gate, int8 against float, validation part:\n{gate_table(rows)}")
    print("operators that lose most, signal to noise of their own:", *worst, sep="\n  ")
    gate.require(rows, worst)
    # Only now: what is refused, and tried again with other settings, must not have seen the test part.
    cases = _cases(recipe, {f"test {name}": s for name, s in parts["test"].items()}, stages)
    metrics |= {name: headline(found) for name, found in cases.items()}
    _write_report(trained.folder, report | {"gate": msgspec.to_builtins(rows), "metrics": metrics})
    manifest = msgspec.structs.replace(manifest, gate=rows, metrics=metrics)

    golden = golden_input(recipe.size)
    path = bundle.write(
        (args.out or trained.folder) / f"{recipe.name}-{args.version}.tnh",
        manifest,
        converted.int8_tflite,
        model_card(manifest),
        golden,
        Network(converted.int8_tflite, reference=True).run(golden),
        key,
    )
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {sum(converted.operators.values())} operators, all int8")
    return 0


def _cases(
    recipe: Recipe, parts: Mapping[str, Sequence[Sample]], stages: Mapping[str, Predictor]
) -> dict[str, list[Case]]:
    """What each stage of the network does on the samples of each part that have a reference."""
    measured = {name: [s for s in of if has_reference(recipe.task, s)] for name, of in parts.items()}
    return {
        f"{part}, {stage}": network_cases(recipe.task, samples, predictor, recipe.size)
        for part, samples in measured.items()
        for stage, predictor in stages.items()
        if samples
    }


def with_settings(trained: Run, calibration: int | None, epochs: int | None) -> Run:
    """The run with what was given in its recipe: the manifest says what was done. Raises RecipeError."""
    changed = {}
    for option, name, value, least in (
        ("--calibration", "calibration_images", calibration, 1),
        ("--finetune", "epochs", epochs, 0),
    ):
        if value is None:
            continue
        if value < least:
            raise RecipeError(f"{option} is {value}; give a number of at least {least}")
        changed[name] = value
    quantization = msgspec.structs.replace(trained.recipe.quantization, **changed)
    return replace(trained, recipe=msgspec.structs.replace(trained.recipe, quantization=quantization))


def describe(
    recipe: Recipe,
    converted: Converted,
    version: str,
    metrics: dict[str, dict[str, float]],
    images: dict[str, dict[str, int]],
) -> bundle.Manifest:
    """The bundle's manifest, but for the members' hashes. ``images``: set -> part -> how many."""
    task = recipe.task_spec
    network = Network(converted.int8_tflite)
    sets = {
        name: {
            "terms": SETS[name].terms,
            "citation": SETS[name].citation,
            "split_sha256": split_sha256(name),
            "images": images[name],
        }
        for name in recipe.data.sets
    }
    data: dict[str, Any] = {"sets": sets}
    if started := provenance.start(recipe):
        data["start"] = started
    earlier = provenance.earlier_sets(recipe)
    if earlier:
        data["earlier"] = earlier
    return bundle.Manifest(
        schema=1,
        name=recipe.name,
        version=version,
        task=task.name,
        modality=task.modality,
        kind=task.kind,
        classes=task.classes,
        input=network.input,
        output=network.output,
        operating_points=(),
        probability=None,
        metrics=metrics,
        data=data,
        recipe=as_dict(recipe),
        operators=converted.operators,
        tools=versions(),
        licence=licence({name: s["terms"] for name, s in (sets | earlier).items()}),
        intended_use=INTENDED_USE,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        members={},
    )


def with_rule(
    manifest: bundle.Manifest,
    network: Runs,
    recipe: Recipe,
    validation: dict[str, list[Sample]],
    unseen: Sequence[decision.Eye] = (),
) -> bundle.Manifest:
    """The manifest with what is fitted to a network on the validation part: a classifier's probability constants
    and operating points, measured by the whole device pipeline (with the shipped disc_finder and disc_cup), there
    and on ``unseen`` eyes of the training part (quantize.out_of_fold); or how certain disc_cup and haemorrhage
    must be."""
    validation = {name: [s for s in of if has_reference(recipe.task, s)] for name, of in validation.items()}
    if recipe.task_spec.kind == "classification":
        classifier = Model(network, decision.provisional(manifest))
        models = Pipeline.load(tasks=("disc_finder", "disc_cup")).models | {manifest.task: classifier}
        shown = decision.screened(models, validation)
        evidence = decision.weighed([*shown, *unseen])
        constants = decision.fit_probability(evidence)
        where = (
            f"whole pipeline, {', '.join(validation)}: {_graded(shown)} validation eyes (int8), "
            f"{_graded(unseen)} training eyes out of fold (float)"
        )
        points = decision.operating_points(
            decision.probabilities(evidence, constants), evidence.label, where, evidence.weight
        )
        return msgspec.structs.replace(manifest, probability=constants, operating_points=points)
    samples = [s for of_set in validation.values() for s in of_set]
    if recipe.task == "haemorrhage":  # a healthy fovea, dust and ends of vessels look a little like them
        return msgspec.structs.replace(manifest, certainty=certainty.least_peak(recipe, network, samples))
    if recipe.task == "disc_cup":  # its region comes from another network, and may hold no disc at all
        least = certainty.least_certainty(network, measure.inputs(recipe, samples, len(samples)))
        return msgspec.structs.replace(manifest, certainty=least)
    return manifest


def _graded(eyes: Sequence[decision.Eye]) -> int:
    return sum(eye.logit is not None for eye in eyes)


def golden_input(size: int) -> Int8Image:
    """A made-up input, 1 x size x size x 3: grey ramps with a bright disc. No photograph travels in a bundle."""
    y, x = np.mgrid[:size, :size] / size
    disc = 90 * (np.hypot(x - 0.5, y - 0.5) < 0.3)
    return to_int8(np.stack([90 + disc + 60 * x, 40 + disc + 60 * y, 30 + disc], axis=-1).astype(np.uint8)[None])


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
