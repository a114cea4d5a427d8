"""``tenohira hil history``: all runs of a folder, rig by rig, and which of them was worse than those before it.

A run is held against the earlier ones of its rig and machine that have the same sizes, newest RECENT of them:
with four or more by their prediction interval, with fewer by the test of two runs against the newest
(hil_tests/change.py). A figure that regressed joins no comparison, so that a regression stays visible until it
is gone. One that improved joins when the next run has improved as well: the two then begin a new reference,
without what was before. Void runs, runs with a deliberate fault and runs of some of the tests are listed, and
compared with nothing.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hil_tests import change, results, statistics
from hil_tests.change import EARLIER, IMPROVED, REGRESSION, SAME, Change
from hil_tests.errors import HilError
from hil_tests.results import Results
from hil_tests.statistics import Estimate

RECENT = 20  # runs
PAGE = "history.html"


@dataclass(frozen=True)
class Point:
    """A figure of one run. ``change`` is against the earlier runs, None where there is nothing to compare with."""

    run: int  # of the rig's runs
    value: Estimate
    change: Change | None
    p: float | None
    verdict: str
    against: int  # how many earlier runs


@dataclass(frozen=True)
class Trend:
    """A figure over the runs."""

    name: str
    unit: str
    points: list[Point]


@dataclass(frozen=True)
class Rig:
    """All runs of a rig on one machine, oldest first, and what their figures did."""

    name: str
    machine: str
    runs: list[Results]
    trends: list[Trend] = field(default_factory=list)

    def worse(self, run: int) -> list[str]:
        """The figures of a run that regressed."""
        return [t.name for t in self.trends for p in t.points if p.run == run and p.verdict == REGRESSION]

    def newest_regressed(self) -> list[str]:
        """Those of the newest run that can be compared."""
        last = self.newest()
        return [] if last is None else self.worse(last)

    def newest(self) -> int | None:
        """The newest run that can be compared; None where there is none."""
        return max((i for i, run in enumerate(self.runs) if not left_out(run)), default=None)


def left_out(run: Results) -> str:
    """Why a run is compared with nothing; empty where it is."""
    if run["void"]:
        return f"void: {run['void']}"
    if run["fault"]:
        return f"deliberate fault: {run['fault']}"
    return "" if run.get("whole", True) else "some of the tests only"


def read(folder: Path) -> tuple[list[Rig], list[str]]:
    """The rigs of all runs below a folder, and what could not be read. Raises HilError where there is no run."""
    by_rig: dict[tuple[str, str], list[Results]] = defaultdict(list)
    damaged = []
    for file in sorted(folder.glob(f"*/{results.FILE}")):
        try:
            run = results.read(file.parent)
        except HilError as error:
            damaged.append(str(error))
            continue
        by_rig[run["rig"], results.machine(run)].append({**run, "folder": file.parent.name})
    if not by_rig:
        raise HilError(f"{folder} holds no runs; make one with: tenohira hil --rig NAME --out {folder}")
    rigs = [Rig(*key, sorted(runs, key=lambda run: run["started"])) for key, runs in sorted(by_rig.items())]
    return [Rig(rig.name, rig.machine, rig.runs, trends(rig.runs)) for rig in rigs], damaged


def trends(runs: Sequence[Results]) -> list[Trend]:
    """Each figure's way through the runs, oldest first."""
    units: dict[str, str] = {}
    points: dict[str, list[Point]] = defaultdict(list)
    references: dict[str, _Reference] = defaultdict(_Reference)
    for number, run in enumerate(runs):
        if left_out(run):
            continue
        figures = [
            (f"{name}.{statistic}", run["measurements"][name], statistic)
            for name, statistic in change.compared(run)
        ]
        # Other sizes and units make other figures: memory of 200 captures is not that of 2000.
        keys = [f"{name} {measurement['unit']} {run['sizes']}" for name, measurement, _ in figures]
        changes = [references[k].change(m, s) for k, (_, m, s) in zip(keys, figures, strict=True)]
        for k, (name, m, s), found, (word, p) in zip(
            keys, figures, changes, change.verdicts(changes), strict=True
        ):
            against = references[k].count
            points[name].append(Point(number, statistics.estimate(m, s), found, p, word, against))
            units[name] = statistics.unit(m, s)
            references[k].take(m, s, word)
    return [Trend(name, units[name], found) for name, found in points.items()]


class _Reference:
    """The earlier runs that a figure is held against."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._newest: dict[str, object] | None = None
        self._improved: float | None = None

    @property
    def count(self) -> int:
        """How many runs the next change is against."""
        return len(self._values) if len(self._values) >= EARLIER else min(1, len(self._values))

    def change(self, measurement: dict[str, object], statistic: str) -> Change | None:
        """Of a new run's measurement; None where there is nothing before it."""
        if self._newest is None:
            return None
        if len(self._values) < EARLIER:
            return change.two_runs(self._newest, measurement, statistic)
        value = statistics.estimate(measurement, statistic).value
        if statistic == "slope":
            return change.slope_history(self._values, value, change.least_slope(self._newest))
        return change.history(self._values, value, str(measurement["unit"]))

    def take(self, measurement: dict[str, object], statistic: str, verdict: str) -> None:
        """Let the run be one of the earlier ones, if its verdict allows it."""
        value = statistics.estimate(measurement, statistic).value
        improved, self._improved = self._improved, None
        if verdict == SAME:
            self._values, self._newest = [*self._values, value][-RECENT:], measurement
        elif verdict == IMPROVED and improved is not None:
            self._values, self._newest = [improved, value], measurement
        elif verdict == IMPROVED:
            self._improved = value


def history_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("folder", type=Path, nargs="?", default=Path("out/hil"), metavar="DIR",
                        help="of the runs (default: %(default)s)")  # fmt: skip


def history_command(args: argparse.Namespace) -> int:
    """Print a table for each rig and write the page. Returns 1 where a rig's newest run regressed.

    Raises HilError.
    """
    from hil_tests import history_page

    rigs, damaged = read(args.folder)
    console = Console(highlight=False)
    for rig in rigs:
        console.print(_table(rig))
    for each in damaged:
        console.print(f"! {escape(each)}")
    page = args.folder / PAGE
    page.write_text(history_page.render(rigs, damaged), encoding="utf-8")
    worse = {f"{rig.name} ({rig.machine})": names for rig in rigs if (names := rig.newest_regressed())}
    for name, names in worse.items():
        console.print(f"the newest run of {escape(name)} regressed: {escape(', '.join(names))}", style="bold")
    console.print(f"trends: {escape(str(page))}", soft_wrap=True)
    return 1 if worse else 0


def _table(rig: Rig) -> Table:
    table = Table(title=escape(f"{rig.name} on {rig.machine}"), title_justify="left")
    for name in ("begun, UTC", "commit", "outcome", "against the runs before it"):
        table.add_column(name, overflow="fold")
    for i, run in enumerate(rig.runs):
        words = told(rig, i)
        table.add_row(results.day(run), results.commit(run), run["outcome"], escape(words),
                      style="bold" if rig.worse(i) else "dim" if left_out(run) else None)  # fmt: skip
    return table


def told(rig: Rig, run: int) -> str:
    """What became of a run's figures, in words."""
    if why := left_out(rig.runs[run]):
        return f"left out, {why}"
    if names := rig.worse(run):
        return f"regression: {', '.join(names)}"
    mine = [p for t in rig.trends for p in t.points if p.run == run]
    compared = [p for p in mine if p.change is not None]
    if not compared:
        return "nothing to compare with"
    better = sum(p.verdict == IMPROVED for p in compared)
    return f"no regression in {len(compared)} figures" + (f", {better} improved" if better else "")
