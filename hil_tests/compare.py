"""``tenohira hil compare OLD NEW``: whether a run is worse than another, by the test that hil_tests/change.py
states."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hil_tests import change, results, statistics
from hil_tests.change import REGRESSION, Change
from hil_tests.errors import HilError
from hil_tests.results import Results

HEAD = ("figure", "unit", "old", "new", "change (95 %)", "p", "verdict")


@dataclass(frozen=True)
class Row:
    """A figure of either run. ``change`` is None where nothing was compared, and ``verdict`` says why."""

    name: str
    unit: str
    old: float | None
    new: float | None
    change: Change | None
    p: float | None  # corrected for the number of rows
    verdict: str


def compare(old: Results, new: Results) -> list[Row]:
    """Each figure of both runs, regressions first; what only one of them has comes last."""
    before, after = old["measurements"], new["measurements"]
    asked = change.compared(new)
    both = [
        (f"{name}.{statistic}", before[name], after[name], statistic)
        for name, statistic in change.compared(old)
        if (name, statistic) in asked and _alike(before[name], after[name])
    ]
    changes = [change.two_runs(a, b, statistic) for _, a, b, statistic in both]
    rows = [
        Row(
            name,
            statistics.unit(a, of),
            *(statistics.estimate(m, of).value for m in (a, b)),
            found,
            p,
            word if found else "not compared: no ratio of such figures",
        )
        for (name, a, b, of), found, (word, p) in zip(both, changes, change.verdicts(changes), strict=True)
    ]
    rows.sort(key=lambda row: (row.verdict != REGRESSION, row.verdict == change.SAME))
    return rows + [_alone(name, before, after) for name in sorted(before.keys() ^ after.keys())]


def newly_failing(old: Results, new: Results) -> list[str]:
    """Tests and limits that passed in the old run and no longer do, in words."""
    found = []
    for what, key, outcome in (("tests", "id", "outcome"), ("verdicts", "budget", "verdict")):
        before = {each[key]: each[outcome] for each in old[what]}
        for each in new[what]:
            if before.get(each[key]) == "passed" and each[outcome] in ("failed", "missing"):
                found.append(f"{each[key]}: passed, now {each[outcome]}")
    return found


def differences(old: Results, new: Results) -> list[str]:
    """What else differs between the runs, in words: whoever reads the table must know."""
    notes = []
    for run, name in ((old, "old"), (new, "new")):
        if run["fault"]:
            notes.append(f"the {name} run has the deliberate fault {run['fault']!r}")
        if not run.get("whole", True):
            notes.append(f"the {name} run is of some of the tests only")
    for what in ("sizes", "bundles", "versions"):
        for key in sorted(old[what].keys() | new[what].keys()):
            a, b = (str(run[what].get(key, "none"))[:12] for run in (old, new))
            if a != b:
                notes.append(f"{what}: {key} {a}, now {b}")
    if change.THE_MACHINE in old["measurements"] and change.THE_MACHINE in new["measurements"]:
        a, b = (statistics.estimate(run["measurements"][change.THE_MACHINE], "p50").value for run in (old, new))
        notes.append(
            "others use the machine, so times by the clock are not compared but their ratios to a fixed piece of "
            f"work; that took {b / a:.2f} times as long in the new run"
        )
    return notes


def refuse(old: Results, new: Results) -> None:
    """Raises HilError where the runs are of other rigs or machines, or say nothing."""
    if old["rig"] != new["rig"]:
        why = f"the runs are of two rigs, {old['rig']} and {new['rig']}"
    elif results.machine(old) != results.machine(new):
        why = f"the runs are of two machines ({results.machine(old)}; {results.machine(new)})"
    elif void := old["void"] or new["void"]:
        why = f"a run is void ({void})"
    else:
        return
    raise HilError(f"{why}: their figures cannot tell a regression; --anyway compares them nevertheless")


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("old", type=Path, metavar="OLD", help="folder of a run")
    parser.add_argument("new", type=Path, metavar="NEW", help="folder of the run that may be worse")
    parser.add_argument("--anyway", action="store_true", help="though rigs or machines differ, or a run is void")
    parser.add_argument("--markdown", action="store_true", help="print Markdown")


def compare_command(args: argparse.Namespace) -> int:
    """Print the table. Returns 1 after a regression, otherwise 0. Raises HilError."""
    old, new = results.read(args.old), results.read(args.new)
    if not args.anyway:
        refuse(old, new)
    rows, failing, notes = compare(old, new), newly_failing(old, new), differences(old, new)
    if args.markdown:
        print(markdown(old, new, rows, failing, notes))
    else:
        _print(old, new, rows, failing, notes)
    return 1 if failing or any(row.verdict == REGRESSION for row in rows) else 0


def markdown(old: Results, new: Results, rows: Sequence[Row], failing: Sequence[str], notes: Sequence[str]) -> str:
    """All that the command prints."""
    lines = [_title(old, new), "", *_line_of(HEAD), *_line_of(["---"] * len(HEAD))]
    for row in rows:
        name, *cells, verdict = _cells(row)
        lines += _line_of([f"`{name}`", *cells, f"**{verdict}**" if verdict == REGRESSION else verdict])
    lines += ["", *(f"* **{each}**" for each in failing), *(f"* {note}" for note in notes)]
    return "\n".join([*lines, "", change.TEST, "", _summary(rows, failing)])


def _line_of(cells: Sequence[str]) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _print(old: Results, new: Results, rows: Sequence[Row], failing: Sequence[str], notes: Sequence[str]) -> None:
    # Whole rows are worth more than the terminal's width to whoever pipes them somewhere.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(title=_title(old, new), title_justify="left", caption=change.TEST, caption_justify="left")
    for i, name in enumerate(HEAD):
        table.add_column(name, justify="right" if 2 <= i <= 5 else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, _cells(row)), style="bold" if row.verdict == REGRESSION else None)
    console.print(table)
    for each in failing:
        console.print(f"! {escape(each)}", style="bold")
    for note in notes:
        console.print(f"* {escape(note)}")
    console.print(_summary(rows, failing), style="bold")


def _title(old: Results, new: Results) -> str:
    runs = [f"{results.day(run)} ({results.commit(run)})" for run in (old, new)]
    return f"rig {new['rig']}: {runs[0]} against {runs[1]}"


def _summary(rows: Sequence[Row], failing: Sequence[str]) -> str:
    worse = [row.name for row in rows if row.verdict == REGRESSION]
    compared = sum(row.change is not None for row in rows)
    told = f"{len(worse)} of {compared} figures compared are worse" + (f": {', '.join(worse)}" if worse else "")
    return f"{told}; {len(failing)} tests or limits that passed fail now"


def _cells(row: Row) -> tuple[str, ...]:
    old, new = ("–" if v is None else f"{v:.5g}" for v in (row.old, row.new))
    return row.name, row.unit, old, new, words(row.change), _p(row.p), row.verdict


def _p(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def words(found: Change | None) -> str:
    """A change with its interval."""
    if found is None:
        return "–"
    size, low, high = (
        f"{v:+.3g}" if found.neutral == 0 else f"{100 * (v - 1):+.1f} %"
        for v in (found.size, found.low, found.high)
    )
    return size if found.low == found.high else f"{size} ({low} to {high})"


def _alike(a: dict[str, object], b: dict[str, object]) -> bool:
    return a["unit"] == b["unit"] and a.keys() & {"x", "value"} == b.keys() & {"x", "value"}


def _alone(name: str, before: dict[str, dict[str, object]], after: dict[str, dict[str, object]]) -> Row:
    unit = str((before.get(name) or after[name])["unit"])
    return Row(name, unit, None, None, None, None, f"only in the {'old' if name in before else 'new'} run")
