"""What a benchmark measures: bundles, the pipeline, peers, frameworks, the roof, and ``tenohira screen``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from device import bundle
from device.bundle import Bundle
from device.camera.simulated import SimulatedCamera
from device.pipeline import GLAUCOMA
from quantize.bench import models
from quantize.bench.evidence import Subject
from quantize.errors import BenchError
from train.describe import size_of
from train.networks import build
from train.recipe import NetworkSpec, Recipe, read_recipe

# The narrowed network as published is no rival: it shows what of the roof a network of this family reaches.
PEERS = {
    "unet": NetworkSpec(kind="unet"),
    "deeplabv3plus": NetworkSpec(kind="deeplabv3plus"),
    "paper": read_recipe("paper").network,
}
PEER_SIZE = 320  # pixels, the published comparison's
REFERENCE = f"unet {PEER_SIZE} int8"
CONVOLUTIONS = ((32, 96), (64, 80), (128, 80), (256, 40))  # channels, side of the map; the roof is the best
PHOTOGRAPH_SEED = 0  # of the simulated eye
PREVIEW_WIDTH = 640  # pixels, as of the live picture


@dataclass(frozen=True)
class Candidate:
    """Something to measure: ``kind`` and ``options`` are a worker's, ``macs`` those of one run. It has a turn in
    each ``every``-th round. ``python`` is the interpreter of its process where that is not this one."""

    name: str
    kind: str
    what: str
    threads: int
    options: dict[str, Any]
    macs: int | None = None
    every: int = 1
    python: str | None = None

    @property
    def key(self) -> str:
        """What tells it from all others of a run."""
        return f"{self.name} x{self.threads}"


@dataclass(frozen=True)
class Choice:
    """The candidates, what was left out and why, and the MACs of each task's network."""

    candidates: list[Candidate]
    left_out: list[str]
    macs: dict[str, int]


def choose(
    threads: Iterable[int],
    quick: bool,
    work: Path,
    bundles: Path | None = None,
    keys: Path | None = None,
    tflite_runtime: str | None = None,
) -> Choice:
    """All candidates on this machine. ``work`` is a folder for the files that they read; ``bundles`` and ``keys``
    are folders (default: the shipped ones); ``tflite_runtime`` is a Python that has that runtime. Raises
    BundleError for a refused bundle, BenchError without one."""
    loaded = load(bundles, keys)
    recipes = [_recipe(b) for b in loaded]
    macs = [size_of(build(r.network, r.outputs), r.size).macs for r in recipes]
    photograph = simulated_photograph(work)
    left_out = []
    if tflite_runtime is None:
        left_out.append("tflite-runtime: it needs numpy < 2, a Python of its own; name one: --tflite-runtime")
    both = next((b for b in loaded if b.manifest.task == "disc_cup"), loaded[0])  # in quick runs
    if quick:
        left_out.append(f"--quick: other runtimes but for {both.manifest.name} on the fewest threads")
    if whole := {b.manifest.task for b in loaded}.issuperset(GLAUCOMA):
        folders = folders_of(bundles, keys)
    else:
        left_out.append(f"pipeline: it needs bundles for {', '.join(GLAUCOMA)}")
    names, threads = [b.manifest.name for b in loaded], sorted(set(threads))
    found: list[Candidate] = []
    for n in threads:
        if whole:
            found += _pipeline(photograph, n, folders)
            found += _instrument(photograph, n, folders, work)
        for each, recipe, count in zip(loaded, recipes, macs):
            unique = names.count(each.manifest.name) == 1
            others = not quick or (each is both and n == threads[0])
            found += _bundle(each, unique, recipe, n, count, work, others, tflite_runtime)
        found += _peers(n, every=2 if quick else 1)
        found += _roof(n)
    return Choice(found, left_out, {b.manifest.task: count for b, count in zip(loaded, macs)})


def subjects(bundles: Path | None = None, keys: Path | None = None) -> list[Subject]:
    """What is estimated: each bundle's network, and the peers. Raises as ``choose`` does."""
    found = []
    for each in load(bundles, keys):
        recipe, m = _recipe(each), each.manifest
        macs = size_of(build(recipe.network, recipe.outputs), recipe.size).macs
        found.append(Subject(f"{m.name}-{m.version}", macs, each))
    for name, spec in PEERS.items():
        macs = size_of(build(spec, models.OUTPUTS), PEER_SIZE).macs
        found.append(Subject(f"{name} {PEER_SIZE}", macs))
    return found


def load(bundles: Path | None, keys: Path | None) -> list[Bundle]:
    """All bundles of a folder. Raises BundleError for a refused one, BenchError where there is none."""
    shipped = bundles or bundle.SHIPPED
    loaded = [bundle.load(path, keys) for path in sorted(shipped.glob(f"*{bundle.SUFFIX}"))]
    if not loaded:
        raise BenchError(f"there is no bundle (*{bundle.SUFFIX}) in {shipped}; name a folder that has one")
    return loaded


def folders_of(bundles: Path | None, keys: Path | None) -> list[str]:
    """The arguments of ``tenohira screen`` for these folders."""
    return ["--bundles", str(bundles or bundle.SHIPPED), *(["--keys", str(keys)] if keys else [])]


def simulated_photograph(work: Path) -> Path:
    """A JPEG of a simulated eye, 1024 x 1024 pixels, as a camera would hand it over."""
    path = work / "photograph.jpg"
    with SimulatedCamera(seed=PHOTOGRAPH_SEED) as camera:
        Image.fromarray(camera.still().pixels).save(path, quality=95)
    return path


def _pipeline(photograph: Path, threads: int, folders: list[str]) -> list[Candidate]:
    arguments = [str(photograph), "--threads", str(threads), *folders]
    return [
        Candidate("pipeline", "pipeline", "decoded photograph to verdict", threads, {"arguments": arguments}),
        Candidate(
            "tenohira screen", "screen", "cold: from the start of the process to the printed verdict on a JPEG",
            threads, {"arguments": arguments}, every=2,
        ),
    ]  # fmt: skip


def _instrument(photograph: Path, threads: int, folders: list[str], work: Path) -> list[Candidate]:
    arguments = ["--threads", str(threads), *folders]
    options = {"photograph": str(photograph), "arguments": arguments, "folder": str(work / f"record-{threads}")}
    preview = {"photograph": str(photograph), "width": PREVIEW_WIDTH}
    return [
        Candidate(
            "capture to verdict", "capture", "a burst of three photographs, kept, screened, drawn, on the disk",
            threads, options,
        ),
        Candidate(
            "live preview", "coaching", f"coaching and JPEG of a preview {PREVIEW_WIDTH} pixels wide",
            threads, preview,
        ),
    ]  # fmt: skip


def _bundle(
    each: Bundle,
    unique: bool,
    recipe: Recipe,
    threads: int,
    macs: int,
    work: Path,
    others: bool,
    tflite: str | None,
) -> list[Candidate]:
    release = f"{each.manifest.name}-{each.manifest.version}"
    name = each.manifest.name if unique else release
    model = work / f"{release}.tflite"
    model.write_bytes(each.model)
    what, fresh = f"bundle {release}", f"the network of {release} with fresh weights"
    same = {"model": str(model), "threads": threads}
    found = [Candidate(f"{name} int8", "int8", what, threads, same, macs)]
    if not others:
        return found
    recipe_of = {"recipe": each.manifest.recipe, "threads": threads}
    floating, int8 = ({"model": str(make(recipe)), "threads": threads} for make in (models.onnx, models.onnx_int8))
    found += [
        Candidate(f"{name} torch", "torch", f"{fresh}, float32, PyTorch eager", threads, recipe_of, macs),
        Candidate(f"{name} onnx", "onnxruntime", f"{fresh}, float32, ONNX Runtime", threads, floating, macs),
        Candidate(f"{name} onnx int8", "onnxruntime_int8", f"{fresh}, int8, ONNX Runtime", threads, int8, macs),
    ]
    if tflite is not None:
        older = f"{what} in tflite-runtime"
        found.append(Candidate(f"{name} tflite", "tflite_runtime", older, threads, same, macs, python=tflite))
    return found


def _peers(threads: int, every: int) -> list[Candidate]:
    found = []
    for name, spec in PEERS.items():
        options = {"model": str(models.peer(name, spec, PEER_SIZE)), "threads": threads}
        what = f"{name} with random weights, int8 by the same chain"
        macs = size_of(build(spec, models.OUTPUTS), PEER_SIZE).macs
        found.append(Candidate(f"{name} {PEER_SIZE} int8", "int8", what, threads, options, macs, every))
    return found


def _roof(threads: int) -> list[Candidate]:
    found = []
    for width, size in CONVOLUTIONS:
        options = {"model": str(models.convolution(width, size)), "threads": threads}
        what = f"one 3 x 3 convolution, {width} channels on {size} x {size}, int8"
        name, macs = f"convolution {width} on {size}", 9 * width**2 * size**2
        found.append(Candidate(name, "roof", what, threads, options, macs))
    return found


def _recipe(each: Bundle) -> Recipe:
    try:
        return msgspec.convert(each.manifest.recipe, Recipe)
    except msgspec.ValidationError as error:
        raise BenchError(
            f"the recipe in {each.path.name} is not understood ({error}); make it again with 'tenohira quantize'"
        ) from error
