"""``tenohira evaluate WHAT``: tables and plots of a run, a bundle or the whole device on a fixed part."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from device import bundle
from device.errors import UsageError
from device.pipeline import NETWORKS, Pipeline
from train import predictors
from train.datasets import SETS, Sample, data_root, load_split
from train.errors import RunError
from train.evaluation import Case, device_cases, has_reference, network_cases
from train.report import (
    agreement_rows,
    decision_rows,
    markdown,
    marked_rows,
    overlap_rows,
    reliability_rows,
    write_cases,
    write_csv,
)
from train.run import Run, load_run

STAGES = ("torch", "onnx", "float", "int8")
FILES = {"onnx": "model.onnx", "float": "float.tflite", "int8": "int8.tflite"}  # what `tenohira quantize` leaves
DEVICE_SETS = {
    "glaucoma": ("drishti_gs1", "refuge_crops", "acrima", "airogs_subset"),
    "faz": ("octa_faz",),
    "haemorrhage": ("idrid_a", "idrid_b"),
}
System = Callable[[Sequence[Sample]], list[Case]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "what",
        help="run folder, or NAME for runs/NAME (else the released run); a bundle (.tnh); or 'device': all of it",
    )
    parser.add_argument("--task", choices=sorted(DEVICE_SETS), default="glaucoma", help="of the whole device")
    parser.add_argument("--part", choices=("train", "val", "test"), default="val", help="default: %(default)s")
    parser.add_argument("--sets", help="data sets, with commas (default: those it was trained on)")
    parser.add_argument("--stages", default=",".join(STAGES), help="of a run, with commas (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or ../shared/data)")
    parser.add_argument("--bundles", type=Path, help="folder of bundles for 'device' (default: the shipped ones)")
    parser.add_argument("--keys", type=Path, help="folder of trusted keys (default: the shipped ones)")
    parser.add_argument("--operating-point", metavar="NAME", help="of the device (default: the bundle's first)")
    parser.add_argument("--out", type=Path, help="folder (default: out/evaluation/WHAT-PART)")


def run(args: argparse.Namespace) -> int:
    """Write report.md, tables as CSV, every case, plots and the worst cases; print the tables. Returns 0."""
    from train import gallery, plots  # matplotlib takes a while

    systems, default_sets, title, task = _systems(args)
    root = data_root(args.data)
    names = args.sets.split(",") if args.sets else list(default_sets)
    if unknown := [n for n in names if n not in SETS]:
        raise UsageError(f"unknown data set {unknown[0]!r}; choose from {', '.join(SETS)}")
    samples = {name: load_split(root, name, args.part) for name in names}
    if task:  # what a network learnt from a teacher alone has nothing to be held against
        samples = {name: [x for x in s if has_reference(task, x)] for name, s in samples.items()}
    samples = {name: s for name, s in samples.items() if s}
    name = f"device-{args.task}" if args.what == "device" else Path(args.what).stem
    out = args.out or Path("out", "evaluation", f"{name}-{args.part}")
    out.mkdir(parents=True, exist_ok=True)

    names = ("overlap", "agreement", "decision", "reliability", "marked")
    tables: dict[str, list[dict[str, str]]] = {name: [] for name in names}
    every: list[tuple[str, Case]] = []
    for system, measure in systems.items():
        of_sets = {name: measure(s) for name, s in samples.items()}
        every += [(system, c) for of_set in of_sets.values() for c in of_set]
        cases = _with_strata(of_sets)
        for name, of_set in cases.items():
            tables["overlap"] += overlap_rows(system, name, of_set)
            tables["agreement"] += agreement_rows(system, name, of_set)
            tables["decision"] += decision_rows(system, name, of_set)
            tables["marked"] += marked_rows(system, name, of_set)
        tables["reliability"] += reliability_rows(system, [c for of_set in of_sets.values() for c in of_set])
        caption = f"{title}, {system}, {args.part} part"
        plots.dice_plot(out / f"dice_{system}.png", cases, caption)
        plots.roc_plot(out / f"roc_{system}.png", cases, caption)
        gallery.draw(out / f"worst_{system}.png", of_sets, samples, caption)
        plots.agreement_plots(out, of_sets, caption)  # of the last system: the one nearest to the device
    lines = [f"# {title}, {args.part} part\n"]
    for name, rows in tables.items():
        if rows:
            write_csv(out / f"{name}.csv", rows)
            lines.append(markdown(rows))
    write_cases(out / "cases.csv", every)
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    print(f"written to {out}")
    return 0


def _systems(args: argparse.Namespace) -> tuple[dict[str, System], Sequence[str], str, str]:
    """What to measure by name, the sets to measure it on by default, a title, and a network's task."""
    if args.what == "device":
        pipeline = Pipeline.load(args.bundles, args.keys, NETWORKS[args.task], point=args.operating_point)
        title = f"whole device ({', '.join(pipeline.bundles.values())})"
        return {"device": lambda s: device_cases(pipeline, args.task, s)}, DEVICE_SETS[args.task], title, ""
    if args.what.endswith(bundle.SUFFIX):
        loaded = bundle.load(Path(args.what), args.keys)
        m = loaded.manifest
        int8 = predictors.int8_stage(loaded.model)
        one: dict[str, System] = {"int8": lambda s: network_cases(m.task, s, int8, m.input.shape[1])}
        return one, list(m.data["sets"]), f"{m.name}-{m.version}", m.task
    trained = load_run(args.what)
    recipe = trained.recipe
    systems: dict[str, System] = {}
    for stage in args.stages.split(","):
        predictor = _stage(trained, stage)
        if predictor is not None:
            systems[stage] = lambda s, p=predictor: network_cases(recipe.task, s, p, recipe.size)
    if not systems:
        raise RunError(f"{trained.folder} has none of the stages asked for; make them, or add torch to --stages")
    return systems, list(recipe.data.sets), f"run {recipe.name}", recipe.task


def _stage(trained: Run, stage: str) -> predictors.Predictor | None:
    if stage == "torch":
        return predictors.torch_stage(trained.network)
    if stage not in FILES:
        raise UsageError(f"unknown stage {stage!r}; choose from {', '.join(STAGES)}")
    path = trained.folder / FILES[stage]
    if not path.is_file():
        print(f"{stage}: not there yet; 'tenohira quantize {trained.folder.name}' makes it")
        return None
    make = {"onnx": predictors.onnx_stage, "float": predictors.float_stage, "int8": predictors.int8_stage}[stage]
    return make(path.read_bytes())


def _with_strata(cases: dict[str, list[Case]]) -> dict[str, list[Case]]:
    """Each set, and for OCTA each plexus on its own: the two look different and were imaged differently."""
    result = dict(cases)
    for c in cases.get("octa_faz", ()):
        result.setdefault(f"octa_faz {c.stratum}", []).append(c)
    return result
