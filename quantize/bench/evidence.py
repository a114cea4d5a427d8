"""What is known of a Raspberry Pi that is not here: published measurements, counted instructions, real runs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

import quantize
from device.bundle import Bundle, order_of
from device.pipeline import GLAUCOMA
from quantize.bench import statistics
from quantize.bench.report import Report
from quantize.errors import BenchError

DATA = Path(__file__).with_name("boards.toml")
COUNTS = Path(quantize.__path__[0]).parent / "hil_tests" / "baselines" / "aarch64.json"  # where it is installed
PIPELINE, SCREENING = "pipeline: decoded photograph to verdict", "screening: file to verdict"


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds of known networks, by name, on ``threads`` threads at ``clock_ghz``."""

    source: str
    what: str
    clock_ghz: float
    threads: int
    ms: dict[str, float]


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A board; ``model`` is how its device tree begins to name it."""

    name: str
    model: str
    core: str
    counted: str
    clock_ghz: float
    issue_width: int
    sources: list[str]
    published: list[Published]


class KnownNetwork(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """1e9 multiply-accumulates of one inference."""

    gmac: float
    source: str


class Knowledge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``boards.toml``."""

    slow_share_of_width: float
    sources: dict[str, str]
    networks: dict[str, KnownNetwork]
    boards: list[Board]


class Counts(msgspec.Struct, frozen=True):
    """Millions of instructions of one screening by core and stage, and the bundles (file name to SHA-256) that
    ran."""

    origin: str
    stages: dict[str, dict[str, float]]
    bundles: dict[str, str]


class Real(msgspec.Struct, frozen=True):
    """What was measured on a board: the median with its 95 % interval in ms, and where."""

    ms: float
    low: float
    high: float
    source: str


class Subject(NamedTuple):
    """A network to estimate: what it is called, its multiply-accumulates, and the bundle where it is one's."""

    what: str
    macs: int
    bundle: Bundle | None = None


Measurements = dict[tuple[str, str, int], Real]  # by board, row and threads
Found = dict[tuple[str, int], statistics.Estimate]  # by row and threads


def read_knowledge(path: Path = DATA) -> Knowledge:
    """``boards.toml``. Raises BenchError where it is damaged, or names a source or network that it lacks."""
    try:
        known = msgspec.toml.decode(path.read_bytes(), type=Knowledge)
    except (OSError, msgspec.MsgspecError) as error:
        raise BenchError(f"{path} cannot be used ({error}); install tenohira again") from error
    named = {n.source for n in known.networks.values()} | {s for b in known.boards for s in b.sources}
    named |= {p.source for b in known.boards for p in b.published}
    if missing := named - known.sources.keys():
        raise BenchError(f"{path} has no address for {', '.join(sorted(missing))}; add it")
    if unknown := {n for b in known.boards for p in b.published for n in p.ms} - known.networks.keys():
        raise BenchError(f"{path} has no multiply-accumulates for {', '.join(sorted(unknown))}; add them")
    return known


def read_counts(path: Path) -> Counts:
    """Instruction counts of a baseline or of a run of ``tenohira hil --rig aarch64``. Raises BenchError."""
    run = _json(path)
    stages: dict[str, dict[str, float]] = {}
    for name, value in _values(run).items():
        match name.split("."):
            case ["screen", "instructions", core, stage]:
                stages.setdefault(core, {})[stage] = value
    if not stages:
        raise BenchError(
            f"{path} has no counted instructions; give the results.json of 'tenohira hil --rig aarch64', or a "
            "checkout's hil_tests/baselines/aarch64.json"
        )
    origin = f"{path.name} of {str(run.get('started'))[:10]}, commit {str(run.get('commit'))[:7]}"
    return Counts(origin, stages, run.get("bundles", {}))


def read_measured(path: Path, known: Knowledge, subjects: Sequence[Subject], runs: dict[str, int]) -> Measurements:
    """What a run on a real board measured of these networks, which run so often for a photograph (``runs``, by
    task): the file of ``bench --json`` made there, or the results.json of ``tenohira hil`` with that rig. Other
    versions of a bundle are passed over. Raises BenchError where it is neither, is void or of a busy board, is of
    a machine that is none of the boards, or has nothing of these."""
    run = _json(path)
    if "candidates" in run:
        report = _as_report(path, run)
        if report.machine.busy:
            raise BenchError(f"{path} was measured on a busy board: its times say nothing; measure it when idle")
        found, model = _of_bench(report, subjects), report.machine.processor
    elif "measurements" in run:
        if run.get("void"):
            raise BenchError(f"{path} is void ({run['void']}): its times say nothing; run the rig again")
        found, model = _of_hil(run, subjects, runs), str(run.get("machine", {}).get("model", ""))
    else:
        raise BenchError(f"{path} is no run; give a file of 'tenohira bench --json' or hil's results.json")
    board = next((b.name for b in known.boards if model.startswith(b.model)), None)
    if board is None:
        raise BenchError(
            f"{path} was measured on {model or 'a nameless machine'!r}, which is none of "
            f"{', '.join(b.model for b in known.boards)}; give a run that was made on the board"
        )
    if not found:
        raise BenchError(f"{path} has no time of these bundles; make a run with them on the board")
    return {(board, what, n): Real(*value, f"{path.name}, {model}") for (what, n), value in found.items()}


def same_file(bundle: Bundle, hashes: dict[str, str]) -> bool:
    """Whether ``hashes`` (file name to SHA-256) has this very bundle."""
    return hashes.get(bundle.path.name) == hashlib.sha256(bundle.path.read_bytes()).hexdigest()


def newest(subjects: Sequence[Subject]) -> dict[str, Subject]:
    """Of each task the bundle of the highest version: the one that the pipeline takes."""
    bundles = [(order_of(s.bundle.manifest.version), s.bundle.manifest.task, s) for s in subjects if s.bundle]
    return {task: s for _, task, s in sorted(bundles, key=lambda b: b[0])}


def _of_bench(report: Report, subjects: Sequence[Subject]) -> Found:
    whats = {f"bundle {s.bundle.manifest.name}-{s.bundle.manifest.version}": s for s in subjects if s.bundle}
    seen = {m.what for m in report.candidates}
    whole = all(what in seen for what, s in whats.items() if s.bundle and s.bundle.manifest.task in GLAUCOMA)
    found = {}
    for m in report.candidates:
        if m.summary is None:
            continue
        value = statistics.Estimate(m.summary.median_ms, m.summary.low_ms, m.summary.high_ms)
        if m.kind == "pipeline" and whole:
            found[PIPELINE, m.threads] = value
        elif m.kind == "int8" and m.what in whats:
            found[whats[m.what].what, m.threads] = value
    return found


def _of_hil(run: dict[str, Any], subjects: Sequence[Subject], runs: dict[str, int]) -> Found:
    """Of ``screen``, which runs on one thread there; a stage holds all runs of its network."""
    series = {name: m.get("samples") for name, m in run["measurements"].items() if isinstance(m, dict)}
    samples = {name: np.array(values) for name, values in series.items() if values}
    tasks = newest([s for s in subjects if s.bundle and same_file(s.bundle, run.get("bundles", {}))])
    found = {}
    for task, s in tasks.items():
        if (stage := samples.get(f"screen.stage.{task}.warm")) is not None:
            found[s.what, 1] = statistics.estimate(stage / runs.get(task, 1))
    total, decode = (samples.get(name) for name in ("screen.warm", "screen.stage.decode.warm"))
    if total is not None and tasks.keys() >= set(GLAUCOMA):
        found[SCREENING, 1] = statistics.estimate(total)
        if decode is not None and len(decode) == len(total):
            found[PIPELINE, 1] = statistics.estimate(total - decode)
    return found


def _values(run: dict[str, Any]) -> dict[str, float]:
    """Single figures by name, of a baseline (``NAME.value``: number) or a run (NAME: {"value": number})."""
    found = {}
    for name, m in run.get("measurements", {}).items():
        value = m.get("value") if isinstance(m, dict) else m
        if value is not None:
            found[name.removesuffix(".value")] = float(value)
    return found


def _as_report(path: Path, run: dict[str, Any]) -> Report:
    try:
        return msgspec.convert(run, Report)
    except msgspec.ValidationError as error:
        raise BenchError(f"{path} is of another tenohira's bench ({error}); measure with this one") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise BenchError(f"cannot read {path} ({error.strerror}); give another file") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is no JSON ({error}); give a file of a run") from error
