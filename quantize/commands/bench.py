"""``tenohira bench``: bundles and the pipeline against named peers, as ratios within one run."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported: it greets at length
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # everything is measured on the CPU

import device
from device.errors import MissingExtraError, UsageError
from device.pipeline import GLAUCOMA
from quantize.bench import candidates, table
from quantize.bench import report as reports
from quantize.bench.candidates import REFERENCE, choose
from quantize.bench.compare import TOLERANCE, compare
from quantize.bench.estimate import estimate
from quantize.bench.evidence import (
    COUNTS,
    Measurements,
    read_counts,
    read_knowledge,
    read_measured,
)
from quantize.bench.machine import cores
from quantize.bench.machine import describe as describe_machine
from quantize.bench.report import SCHEMA, Report, Settings
from quantize.bench.rounds import measure
from quantize.bench.summary import summarize
from quantize.bench.worker import network_runs

REGRESSION = 1
ROUNDS, QUICK_ROUNDS = 30, 10
STARTS, QUICK_STARTS = 3, 1  # cold ones
NEEDED = ("torch", "tensorflow", "onnx", "onnxruntime", "onnxscript", "matplotlib")
EPILOG = """
Candidates run in processes of their own and take turns in random order; docs/bench-schema.md describes the
figures, docs/estimate.md the estimates. Peers are made once and kept in the user's cache. Exit codes: 0 done; 1
--compare found a regression larger than --tolerance; 2 wrong arguments, or a candidate that failed; 3 an extra is
missing; 130 interrupted.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = f"{EPILOG.strip()} {parser.epilog or ''}"
    parser.add_argument("--quick", action="store_true", help="about a minute: fewer rounds, candidates, threads")
    parser.add_argument(
        "--threads", metavar="N,N", help="numbers of threads (default: 1,2,4 as far as cores go; quick: 1)"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help=f"default: {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns (default: %(default)s)")
    parser.add_argument("--reference", metavar="NAME", help="candidate that ratios are taken to (default: U-Net)")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="of bundles (default: the shipped ones)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="of trusted keys (default: the shipped one)")
    parser.add_argument(
        "--tflite-runtime", metavar="PYTHON", help="measure tflite-runtime too: a Python whose environment has it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything, raw samples too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="write time and roof share by MACs")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="look for regressions since that run")
    parser.add_argument(
        "--estimate", action="store_true", help="measure nothing: what a Zero 2 W, Pi 4 and Pi 5 may take (ranges)"
    )
    parser.add_argument(
        "--instructions", type=Path, metavar="FILE.json",
        help="with --estimate: counts of 'tenohira hil --rig aarch64' (default: a checkout's baseline)",
    )
    parser.add_argument(
        "--measured", type=Path, metavar="FILE.json", action="append", default=[],
        help="with --estimate: a real board's hil results.json or bench --json, which replaces its estimates",
    )
    parser.add_argument(
        "--tolerance", type=float, default=TOLERANCE, metavar="F", help="of a regression (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, write. Returns 0, or 1 after a regression.

    Raises MissingExtraError, UsageError, BundleError, BenchError.
    """
    threads = _threads(args.threads, args.quick)
    _require_sense(args)
    if args.estimate:
        return _estimate(args)
    if args.tflite_runtime:
        _require_tflite_runtime(args.tflite_runtime)
    rounds = args.rounds if args.rounds is not None else QUICK_ROUNDS if args.quick else ROUNDS
    if rounds < 2:
        raise UsageError(f"--rounds {rounds}: give 2 or more, or there is no interval")
    if not args.tolerance >= 0:
        raise UsageError(f"--tolerance {args.tolerance:g}: give a share, such as 0.1 for a tenth slower")
    for path in (args.json, args.plot):
        if path is not None and not path.parent.is_dir():
            raise UsageError(f"the folder of {path} is not there; make it, or give another file")
    _require_extra()
    old = reports.read(args.compare) if args.compare else None

    measured = _measure(args, threads, rounds)
    print(table.markdown(measured))
    if args.json:
        reports.write(args.json, measured)
    if args.plot:
        from quantize.bench.plot import frontier

        frontier(args.plot, measured)
    if old is None:
        return 0
    changes, alone = compare(old, measured)
    print(f"\nAgainst {args.compare} of {old.created}:\n")
    print(table.comparison(old, measured, changes, alone, args.tolerance))
    return REGRESSION if any(c.exceeds(args.tolerance) for c in changes) else 0


def _estimate(args: argparse.Namespace) -> int:
    """Print, and write, what boards may take; nothing is measured here."""
    known, subjects = read_knowledge(), candidates.subjects(args.bundles, args.keys)
    counts_file = args.instructions or (COUNTS if COUNTS.is_file() else None)
    counts = read_counts(counts_file) if counts_file else None
    runs: dict[str, int] = {}
    if {s.bundle.manifest.task for s in subjects if s.bundle}.issuperset(GLAUCOMA):
        with tempfile.TemporaryDirectory(prefix="tenohira-bench-") as work:
            photograph = candidates.simulated_photograph(Path(work))
            runs = network_runs([str(photograph), *candidates.folders_of(args.bundles, args.keys)])
    measured: Measurements = {}
    for path in args.measured:
        measured |= read_measured(path, known, subjects, runs)
    estimates = estimate(subjects, runs, counts, measured, known)
    print(table.estimated(estimates))
    if args.json:
        reports.write(args.json, estimates)
    return 0


def _require_sense(args: argparse.Namespace) -> None:
    """Raises UsageError for arguments that do not go together."""
    measuring = ("quick", "threads", "rounds", "reference", "plot", "compare", "tflite_runtime")
    if args.estimate and (given := [name for name in measuring if getattr(args, name)]):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--estimate measures nothing, so it does not go with {flags}; leave one of them out")
    if not args.estimate and (args.measured or args.instructions):
        raise UsageError("--measured and --instructions belong to --estimate; give that too")


def _measure(args: argparse.Namespace, threads: tuple[int, ...], rounds: int) -> Report:
    machine = describe_machine()  # before this run's own load
    if machine.busy:
        print(
            f"tenohira: the machine is busy (load {machine.load:.2f} on {machine.cores} cores): figures will be "
            "wrong; measure again when it is idle",
            file=sys.stderr,
        )
    reference = args.reference or REFERENCE
    with tempfile.TemporaryDirectory(prefix="tenohira-bench-") as work:
        choice = choose(threads, args.quick, Path(work), args.bundles, args.keys, args.tflite_runtime)
        names = sorted({c.name for c in choice.candidates})
        if reference not in names:
            raise UsageError(f"--reference {reference!r} is not measured; choose from {', '.join(names)}")
        starts = QUICK_STARTS if args.quick else STARTS
        samples, order = measure(choice.candidates, rounds, args.seed, starts, _with_progress)
    left_out = list(choice.left_out)
    if args.quick and rounds < ROUNDS:
        left_out.append(f"--quick: {ROUNDS - rounds} of {ROUNDS} rounds")
    if absent := [n for n in (1, 2, 4) if n not in threads]:
        left_out.append(f"threads {', '.join(map(str, absent))}: not asked for, or more than the {cores()} cores")
    return Report(
        SCHEMA,
        datetime.now(UTC).isoformat(timespec="seconds"),
        device.__version__,
        machine,
        Settings(rounds, args.seed, threads, args.quick, reference),
        "a simulated photograph of 1024 x 1024 pixels",
        tuple(left_out),
        summarize(choice.candidates, samples, choice.macs, reference),
        order,
    )


def _threads(text: str | None, quick: bool) -> tuple[int, ...]:
    most = cores()
    if text is None:
        return (1,) if quick else tuple(n for n in (1, 2, 4) if n <= most)
    try:
        chosen = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"--threads {text!r}: give whole numbers with commas, such as 1,2") from None
    if not all(1 <= n <= most for n in chosen):
        raise UsageError(f"--threads {text}: give 1 to {most}; this process may use {most} cores")
    return chosen


def _require_extra() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"'tenohira bench' needs {', '.join(missing)} to make and measure the peers, which this installation "
            "does not carry; install it with: pip install 'tenohira[quantize]'"
        )


def _require_tflite_runtime(python: str) -> None:
    """Raises UsageError where that Python cannot import it."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", "import numpy, tflite_runtime.interpreter"], capture_output=True, text=True
        )
        said = done.stderr.strip().rpartition("\n")[2] if done.returncode else None
    except OSError as error:
        said = error.strerror or "it does not start"
    if said is not None:
        raise UsageError(
            f"--tflite-runtime {python}: {said}; give the bin/python of an environment that has tflite-runtime "
            "2.14 and numpy < 2 (.ci/tflite-runtime-check.sh makes one in build/tflite-runtime)"
        )


def _with_progress(rounds: Iterable[int]) -> Iterable[int]:
    if not sys.stderr.isatty():
        return rounds
    from rich.console import Console
    from rich.progress import track

    return track(list(rounds), "measuring", console=Console(stderr=True), transient=True)
