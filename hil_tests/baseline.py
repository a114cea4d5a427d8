"""``tenohira hil baseline RUN``: the figures of a run that later ones are held to (``baseline =`` in a budget).

One small file for each name that the rig's budget gives, in hil_tests/baselines/, to be committed. It says
which run it is of, and how to make it again.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from hil_tests import results, statistics
from hil_tests.budget import Budget
from hil_tests.errors import HilError
from hil_tests.results import Results

RIGS = Path(__file__).with_name("rigs")
FOLDER = Path("hil_tests/baselines")  # of the checkout, wherever tenohira is installed
DIGITS = 6


def write(run: Results, budget: Budget, folder: Path) -> list[Path]:
    """Returns the files. Raises HilError where the run is none to be held to, or lacks a figure."""
    _must_be_sound(run)
    known: dict[str, dict[str, float]] = defaultdict(dict)
    for name, limit in budget.limits.items():
        if "baseline" not in limit or budget.excuse(name.rpartition(".")[0]):
            continue
        measured, _, statistic = name.rpartition(".")
        if measured not in run["measurements"]:
            raise HilError(f"the run has not measured {measured}; make a baseline of a whole run")
        value = statistics.estimate(run["measurements"][measured], statistic).value
        known[limit["baseline"]][name] = float(f"{value:.{DIGITS}g}")
    if not known:
        raise HilError(f"the budget of {run['rig']} holds nothing to a baseline; see hil_tests/README.md")
    return [_write(folder / f"{name}.json", run, values) for name, values in sorted(known.items())]


def baseline_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")


def baseline_command(args: argparse.Namespace) -> int:
    """Write, and say what. Raises HilError."""
    if not args.out.parent.is_dir():
        raise HilError(f"{args.out.parent} is not here: go to the root of a checkout, or give a folder with --out")
    run = results.read(args.run)
    for path in write(run, Budget.read(RIGS / f"{run['rig']}.budget.toml"), args.out):
        print(f"{path}: {len(json.loads(path.read_text())['measurements'])} figures; commit it")
    return 0


def _must_be_sound(run: Results) -> None:
    """A limit may have failed: a baseline that is out of date is the reason for a new one."""
    failed = [test["id"] for test in run["tests"] if test["outcome"] == "failed"]
    for wrong, what in (
        (run["void"], f"is void ({run['void']})"),
        (run["fault"], f"has the deliberate fault {run['fault']!r}"),
        (failed, f"has tests that failed ({', '.join(failed[:3])})"),
        (run["dirty"], "is of a checkout with changes that no commit has"),
    ):
        if wrong:
            raise HilError(f"a run that {what} is nothing to hold others to; run the rig again")


def _write(path: Path, run: Results, values: dict[str, float]) -> Path:
    content = {
        "rig": run["rig"],
        "command": f"tenohira hil --rig {run['rig']} --seed {run['seed']}",
        **{name: run[name] for name in ("started", "commit", "machine", "versions", "bundles", "sizes")},
        "measurements": values,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path
