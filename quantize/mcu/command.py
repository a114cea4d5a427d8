"""``tenohira quantize BUNDLE --target mcu``: checked for microcontrollers, then written as C for a firmware."""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import msgspec

from device import bundle
from device.bundle import Bundle
from device.cli import NOTICE
from device.errors import MissingExtraError, UsageError
from quantize import tflite
from quantize.errors import McuError
from quantize.mcu import micro, source, vela
from quantize.mcu.maps import widest
from quantize.mcu.report import SCHEMA, Report, markdown, tools
from train.run import RUNS

ACCELERATORS = "ethos-u55-128,ethos-u55-256,ethos-u65-256"
NEEDED = {"tflite_micro": "tflite-micro", "ethosu": "ethos-u-vela"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that ``--target mcu`` has of its own."""
    group = parser.add_argument_group("with --target mcu")
    group.add_argument(
        "--accelerators", default=ACCELERATORS, metavar="A,B",
        help=f"of {', '.join(vela.SYSTEMS)}, or none (default: %(default)s)",
    )  # fmt: skip
    group.add_argument("--keys", type=Path, metavar="DIR", help="of trusted keys (default: the shipped one)")


def run(args: argparse.Namespace) -> int:
    """Check, write, print. Returns 0; nothing is written where a check fails.

    Raises MissingExtraError, UsageError, BundleError, McuError.
    """
    accelerators = _accelerators(args.accelerators)
    _require_extra()
    loaded = find_bundle(args.run, args.keys)
    m, model = loaded.manifest, loaded.model
    names = tflite.operators(tflite.parse(model))
    checked = micro.check(loaded)
    estimates = [vela.estimate(m.name, model, each) for each in accelerators]
    folder = args.out or Path(f"{m.name}-{m.version}-mcu")
    name = source.identifier(m.name)
    texts = {
        f"{name}_model.c": source.array(loaded),
        f"{name}.h": source.header(loaded, checked.arena, names),
    }
    counts = dict(sorted(Counter(names).items()))
    report = Report(
        SCHEMA, m.name, m.version, hashlib.sha256(model).hexdigest(), len(model), counts, checked, widest(model),
        estimates, tools(), [str(folder / each) for each in texts], NOTICE,
    )  # fmt: skip
    texts[f"{name}_mcu.json"] = msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            (folder / file).write_text(text)
    except OSError as error:
        raise McuError(f"cannot write to {folder} ({error.strerror}); choose another folder with --out") from error
    print(markdown(report))
    return 0


def find_bundle(name: str, keys: Path | None = None) -> Bundle:
    """A bundle: a file, or the highest version in a run's folder (a path, or NAME for ``runs/NAME``), or else the
    shipped one of that name. Raises UsageError, BundleError."""
    path = Path(name)
    if path.suffix == bundle.SUFFIX:
        return bundle.load(path, keys)
    places = ((path, "*"), (RUNS / path, "*"), (bundle.SHIPPED, f"{path.name}-*"))
    for folder, pattern in places:
        if found := [bundle.load(each, keys) for each in folder.glob(pattern + bundle.SUFFIX)]:
            return max(found, key=lambda each: bundle.order_of(each.manifest.version))
    raise UsageError(
        f"{name}: neither a bundle (*{bundle.SUFFIX}), nor a run with one in its folder, nor a shipped one's "
        "name; make it first: tenohira quantize RUN"
    )


def _accelerators(text: str) -> list[str]:
    chosen = [] if text == "none" else text.split(",")
    if unknown := [each for each in chosen if each not in vela.SYSTEMS]:
        raise UsageError(f"--accelerators {', '.join(unknown)}: choose from {', '.join(vela.SYSTEMS)}, or none")
    return chosen


def _require_extra() -> None:
    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise MissingExtraError(
            f"'tenohira quantize --target mcu' needs {', '.join(missing)}, which this installation does not "
            "carry; on Linux on x86-64, for which alone tflite-micro has wheels, install it with: "
            "pip install 'tenohira[mcu]'"
        )
