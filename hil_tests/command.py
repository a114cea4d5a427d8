"""``tenohira hil``: the same tests on a rig, from a laptop to a real Pi."""

from __future__ import annotations

import argparse
import re
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hil_tests import baseline, compare, faults, history, report, results, rig
from hil_tests.errors import HilError

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "pyproject.toml"
SUITE = Path(__file__).with_name("suite")
ACTIONS = {
    "report": (report.report_arguments, report.report_command, "write the page of a run again"),
    "compare": (compare.compare_arguments, compare.compare_command, "whether a run is worse than another"),
    "history": (history.history_arguments, history.history_command, "all runs of a folder, and which were worse"),
    "baseline": (
        baseline.baseline_arguments,
        baseline.baseline_command,
        "hold later runs to the figures of this one",
    ),
}
EPILOG = """
Exit codes: 0 passed, 1 failed (or a regression, for compare and history), 2 wrong arguments or a rig that
cannot be had, 4 void: the board was throttled, so that its times say nothing.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = f"{EPILOG.strip()} {parser.epilog or ''}"
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", help="of finished runs; without one, a rig is run"
    )
    for name, (arguments, command, words) in ACTIONS.items():
        action = actions.add_parser(name, help=words, description=words, epilog=parser.epilog)
        arguments(action)
        action.set_defaults(command=command)
    parser.add_argument("--rig", metavar="NAME", help=f"{', '.join(rig.names())}, or the path of a YAML file")
    parser.add_argument("--out", type=Path, default=Path("out/hil"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--only", metavar="WORDS", help="tests whose names match, as pytest's -k")
    parser.add_argument("--fault", metavar="NAME", help="a deliberate fault in the instrument (hil_tests/faults)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of all that is random (default: %(default)s)"
    )
    parser.add_argument(
        "--size",
        action="append",
        default=[],
        metavar="NAME=N",
        help="another size than the rig has: captures=200",
    )


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    try:
        return args.command(args) if args.action else _run(args)
    except HilError as error:
        print(f"tenohira: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    if not args.rig:
        raise HilError(f"name a rig: tenohira hil --rig NAME, one of {', '.join(rig.names())}")
    if not CONFIGURATION.is_file():
        raise HilError("a rig is run from a checkout of tenohira, which it puts on the target; clone one")
    rig.load(args.rig)  # what is wrong is told in one line
    if args.fault and args.fault.partition(":")[0] not in faults.names():
        raise HilError(f"there is no fault {args.fault!r}; choose from {', '.join(faults.names())}")
    if wrong := [size for size in args.size if not re.fullmatch(r"\w+=\d+", size)]:
        raise HilError(f"--size {wrong[0]}: give a name and a number, as captures=200")
    name = Path(args.rig).stem
    folder = args.out / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True)
    options = ["--rig", args.rig, "--run-folder", str(folder.resolve()), "--seed", str(args.seed)]
    options += ["--fault", args.fault] if args.fault else []
    options += ["-k", args.only, "--part"] if args.only else []
    options += [part for size in args.size for part in ("--size", size)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as upon Ctrl-C: fixtures close, no service stays
    code = pytest.main(
        [str(SUITE), "--rootdir", str(ROOT), "-c", str(CONFIGURATION), "-p", "hil_tests.plugin",
         "-p", "no:cacheprovider",
         "-W", "ignore::pytest.PytestAssertRewriteWarning", "--junit-xml", str(folder / "junit.xml"), *options]
    )  # fmt: skip
    if (folder / results.FILE).is_file():
        report.write(folder)
    print(f"the run is in {folder}")
    return int(code)
