"""``tenohira trial references|report``: the reference standard of a field trial, and what it says."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import msgspec

from device import results
from device.cli import missing_extra
from device.record import Reference
from device.trial import references, source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = "take a reference standard over into a store: all rows of a CSV file, or none"
    action = actions.add_parser("references", help=text, description=text, epilog=COLUMNS)
    action.add_argument("store", type=Path, metavar="STORE", help="folder of the instrument's store")
    action.add_argument("csv", type=Path, metavar="CSV")
    text = "report.html, report.json and tables (CSV) of a study"
    action = actions.add_parser("report", help=text, description=text, epilog="docs/trial.md says what is in it.")
    action.add_argument(
        "sources", nargs="+", type=Path, metavar="STORE-or-EXPORT",
        help="folder of a store or of an exported study; several devices of one trial: several folders",
    )  # fmt: skip
    action.add_argument("--references", type=Path, metavar="CSV", help=f"instead of those in the store. {COLUMNS}")
    action.add_argument("--study", metavar="CODE", help="default: the only one that there is")
    action.add_argument("--out", type=Path, required=True, metavar="DIR")


COLUMNS = "Columns: participant, laterality (OD or OS), refer (yes, no, 1 or 0), and optionally vcdr and source."


def run(args: argparse.Namespace) -> int:
    """Returns 0. Raises ReferencesError, TrialError, StoreError or OutputError."""
    return _references(args.store, args.csv) if args.action == "references" else _report(args)


def _references(folder: Path, path: Path) -> int:
    sheet = _sheet(path)
    with source.opened(folder) as store:
        visits = source.visits_of(store)
        store.set_references(list(sheet.references), "trial references")
    print(f"{len(sheet.references)} references taken over from {path}")
    _tell_unknown(references.unknown(sheet.references, visits))
    return 0


def _report(args: argparse.Namespace) -> int:
    try:
        from device.trial import analysis, cohort, page, tables
    except ModuleNotFoundError as error:
        raise missing_extra("trial report", "trial", error) from error
    read = source.read(args.sources)
    study, visits, outside = source.of_study(read.visits, args.study)
    known = _sheet(args.references).references if args.references else read.references
    found = cohort.gather(visits, known, study, outside)
    report = analysis.analyse(found, [source.name(s) for s in args.sources], read.simulated)
    results.write_file(
        args.out / "report.json", msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    )
    tables.write(args.out, found, report)
    results.write_file(args.out / "report.html", page.render(report).encode())
    f = report.flow
    print(f"study {study or '(no code)'}: {f.counted} of {f.visits} visits count, {f.eyes} eyes")
    if read.doubled:
        print(f"{read.doubled} visits stand in several of the folders and count once")
    for warning in report.warnings:
        print(f"note: {warning}")
    print(f"Open {args.out / 'report.html'} in a browser.")
    return 0


def _sheet(path: Path) -> references.Sheet:
    sheet = references.read(path)
    if sheet.ignored:
        print(f"columns of {path} that mean nothing here: {', '.join(sheet.ignored)}")
    return sheet


def _tell_unknown(unknown: Sequence[Reference]) -> None:
    if unknown:
        print(f"{len(unknown)} of them are of participants without a visit in this store; compare the codes:")
        for r in unknown:
            print(f"  {r.participant} {r.laterality}")
