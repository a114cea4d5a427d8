"""``tenohira data list|check|split``: what sets there are, whether a copy is whole, and the fixed splits."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from device.errors import UsageError
from train.datasets import SETS, DataSet, Sample, data_root
from train.datasets.check import Report, check, listed
from train.datasets.splits import FOLDER, SHARES, read_split, write_split
from train.errors import DataError

MENTIONED = 5  # extra pictures by name; they may be many, and harm nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    where = "data root (default: TENOHIRA_DATA, or ../shared/data)"
    text = "every data set: images, terms, citation, how to obtain it"
    action = actions.add_parser("list", help=text, description=text)
    action.add_argument("--data", type=Path, metavar="ROOT", help="mark the sets that this data root holds")
    text = "decode every file of a data root and name what is missing or damaged"
    codes = "exit code 0: clean, 1: something is wrong"
    action = actions.add_parser("check", help=text, description=f"{text}; {codes}")
    action.add_argument("root", nargs="?", type=Path, metavar="ROOT", help=where)
    text = "write the fixed splits into train, validation and test parts"
    action = actions.add_parser("split", help=text, description=text)
    action.add_argument("names", nargs="*", metavar="NAME", help="data sets (default: all that the root holds)")
    action.add_argument("--data", type=Path, metavar="ROOT", help=where)
    action.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="default: train/splits")
    action.add_argument("--force", action="store_true", help="replace a split that differs")


def run(args: argparse.Namespace) -> int:
    """Returns 0; ``check`` returns 1 where something is missing or damaged."""
    if args.action == "list":
        _list(args.data)
        return 0
    if args.action == "check":
        return _check(data_root(args.root))
    return _split(args.names, data_root(args.data), args.out, args.force)


def _list(root: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    present = _present(data_root(root)) if root else {}
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("set", no_wrap=True)
    if root:
        table.add_column("here", no_wrap=True)
    table.add_column("images", justify="right", no_wrap=True)
    for name, ratio in (("terms", 3), ("citation", 4), ("to obtain it", 7)):
        table.add_column(name, overflow="fold", ratio=ratio)
    for name, kind in SETS.items():
        here = ["yes" if name in present else "no"] if root else []
        table.add_row(name, *here, str(kind.expected), kind.terms, kind.citation, kind.obtain)
    Console(width=None if sys.stdout.isatty() else 160, highlight=False, markup=False).print(table)


def _check(root: Path) -> int:
    present = _present(root)
    if not present:
        raise DataError(f"{root} holds none of the known data sets; 'tenohira data list' says how to obtain them")
    problems: list[str] = []
    notes: list[str] = []
    for name, kind in SETS.items():
        if name not in present:
            print(f"{name:<14} absent; to obtain it: {kind.obtain}")
            continue
        report = check(present[name], _with_progress)
        print(f"{name:<14} {_summary(report, kind.expected)}")
        problems += [f"{name}: {problem}" for problem in report.problems]
        if report.extra:
            more = f" and {len(report.extra) - MENTIONED} more" if report.extra[MENTIONED:] else ""
            notes.append(f"{name}: passed over, in no split: {', '.join(report.extra[:MENTIONED])}{more}")
    for line in (*problems, *notes):
        print(line)
    return 1 if problems else 0


def _summary(report: Report, expected: int) -> str:
    state = f"{len(report.problems)} wrong" if report.problems else "clean"
    return f"{report.images} of {expected} images, {report.masks} mask files: {state}"


def _split(names: list[str], root: Path, out: Path, force: bool) -> int:
    present = _present(root)
    if unknown := [name for name in names if name not in SETS]:
        raise UsageError(f"unknown data set {unknown[0]!r}; choose from {', '.join(SETS)}")
    if absent := [name for name in names if name not in present]:
        raise DataError(f"data set {absent[0]!r} is not in {root}: {SETS[absent[0]].obtain}")
    wanted = [name for name in present if not names or name in names]  # in the order of SETS: idrid_b follows A
    if not wanted:
        raise DataError(f"{root} holds none of the known data sets; 'tenohira data list' says how to obtain them")
    if strange := [name for name in wanted if name not in SHARES]:
        raise DataError(f"{strange[0]!r} has no shares yet; give them in SHARES of train/datasets/splits.py")
    with tempfile.TemporaryDirectory(prefix="tenohira-splits-") as scratch:
        before = out if (out / "idrid_a.csv").is_file() else FOLDER
        (Path(scratch) / "idrid_a.csv").write_bytes((before / "idrid_a.csv").read_bytes())  # idrid_b looks there
        made = {name: write_split(name, listed(present[name]), Path(scratch)).read_bytes() for name in wanted}
        if not force:  # all are compared before any is written
            for name in wanted:
                _refuse_change(name, out, Path(scratch))
    out.mkdir(parents=True, exist_ok=True)
    for name, content in made.items():
        target = out / f"{name}.csv"
        same = target.is_file() and target.read_bytes() == content
        if not same:
            target.write_bytes(content)
        print(f"{name:<14} {'as it was' if same else f'written to {target}'}")
    return 0


def _refuse_change(name: str, out: Path, made: Path) -> None:
    if not (out / f"{name}.csv").is_file():
        return
    old, new = read_split(name, out), read_split(name, made)
    if old == new:
        return
    gone, added = len(old.keys() - new.keys()), len(new.keys() - old.keys())
    moved = sum(old[id] != new[id] for id in old.keys() & new.keys())
    raise DataError(
        f"the split of {name} would change ({gone} images gone, {added} new, {moved} moved), and figures measured "
        "on the old one would no longer compare; nothing was written. 'tenohira data check' names what is "
        "missing; --force replaces the split all the same"
    )


def _present(root: Path) -> dict[str, DataSet]:
    """The sets that have a folder in the root, by name, in the order of SETS."""
    found = {}
    for name, kind in SETS.items():
        try:
            data_set = kind(root)
        except DataError:
            continue
        if data_set.folder.is_dir():  # the parts of IDRiD share a folder, and one may be absent
            found[name] = data_set
    return found


def _with_progress(samples: Sequence[Sample]) -> Iterable[Sample]:
    if not samples or not sys.stderr.isatty():
        return samples
    from rich.console import Console
    from rich.progress import track

    return track(samples, samples[0].set, console=Console(stderr=True), transient=True)
