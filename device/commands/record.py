"""``tenohira record ACTION``: what an instrument has recorded, elsewhere."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

import msgspec

from device.commands.audit import SOMETHING_WRONG, shown, summary
from device.errors import NoSuchVisitError, StoreError
from device.eyes import eye_result
from device.language import LANGUAGES
from device.record import EYES, Visit, now
from device.results import write_file
from device.store import Store
from device.store.store import exists

ALL = 10**9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=text, description=text)
        one.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the record")
        return one

    one = action("list", "list examinations, the last recorded first")
    one.add_argument("--search", default="", metavar="WORDS", help="in participant and operator, or a number")
    one.add_argument("--study", metavar="CODE", help="of this study only")
    one.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many (default: 50); 0: all")
    one.add_argument("--json", action="store_true", help="complete records, one a line")
    one = action("export", "write examinations as a new folder: CSV, JSON, pictures, hashes (docs/record.md)")
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    one.add_argument("--study", metavar="CODE", help="of this study only")
    one = action("import", "take the examinations of an export into the record, all of them or none")
    one.add_argument("export", type=Path, metavar="EXPORT", help="folder that an export made")
    one = action(
        "backup",
        "copy the record into a new folder, which is a record itself, while the instrument works; "
        "exit code 1 where a check of the copy finds something wrong",
    )
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    one = action("report", "write the report of an examination as PDF (docs/report.md)")
    _visit_argument(one)
    one.add_argument("--out", type=Path, required=True, metavar="FILE", help="the PDF to write")
    one.add_argument("--language", choices=sorted(LANGUAGES), help="default: the instrument's")
    one = action("dicom", "write the DICOM objects of an examination (docs/dicom.md)")
    _visit_argument(one)
    one.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    one = action("send", "send what is due to the archive of the settings, as the instrument does by itself")
    one.add_argument("--now", action="store_true", help="do not wait after failures: the network is there again")


def _visit_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("visit", metavar="EXAMINATION", help="its uid, or its number on this instrument")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 where a backup was made of a record in which something is wrong."""
    if args.action == "import":
        _import(args)
        return 0
    if not exists(args.store):
        raise StoreError(
            f"there is no record in {args.store}; give the folder that the instrument keeps its record in"
        )
    with Store(args.store) as store:
        if args.action == "list":
            _list(store, args)
        elif args.action == "backup":
            result = store.backup(args.out)
            print(*result.problems, summary(result), sep="\n")
            return 0 if result.ok else SOMETHING_WRONG
        else:
            {"export": _export, "report": _report, "dicom": _dicom, "send": _send}[args.action](store, args)
    return 0


def _report(store: Store, args: argparse.Namespace) -> None:
    from device.report.pdf import render

    visit, settings = _visit(store, args.visit), store.settings
    pdf = render(visit, store.picture, settings, args.language or settings.language, audit_head=store.head())
    write_file(args.out, pdf)


def _dicom(store: Store, args: argparse.Namespace) -> None:
    from device.dicom.write import each, save

    save(each(_visit(store, args.visit), store.picture), args.out)


def _send(store: Store, args: argparse.Namespace) -> None:
    from device.outbox import Outbox

    told = threading.Event()  # to end: after the object under way
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    Outbox(store, told.is_set).run_once(now(), early=args.now)


def _visit(store: Store, name: str) -> Visit:
    """By uid, or by number."""
    if not name.isdecimal():
        return store.visit(name)
    found = [v for v in store.visits(name, ALL) if v.number == int(name)]
    if len(found) != 1:
        raise NoSuchVisitError(f"there is no one examination {name} in this record; give its uid")
    return found[0]


def _export(store: Store, args: argparse.Namespace) -> None:
    from device.store import export

    manifest = export.export_study(store, args.out, args.study)
    print(f"examinations: {manifest.visits}, in {args.out}\nhead {manifest.head}")


def _import(args: argparse.Namespace) -> None:
    from device.store import export

    given = export.opened(args.export)  # first: no record is made for what is no export
    with Store(args.store) as store:
        result = export.import_study(store, given)
        print(f"examinations: {result.added} added, {result.extended} extended, {result.known} known already")
        print(f"head {store.head()}")


def _list(store: Store, args: argparse.Namespace) -> None:
    visits = store.visits(args.search, args.limit if args.limit > 0 else ALL, study=args.study)
    if args.json:
        for visit in visits:
            sys.stdout.write(msgspec.json.encode(visit).decode() + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("number", justify="right", no_wrap=True)
    for column in ("participant", "begun", "", "OD", "OS", "operator", "device"):
        table.add_column(column, overflow="fold")
    for visit in visits:
        table.add_row(str(visit.number), *(Text(shown(cell)) for cell in _cells(visit)))
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


def _cells(visit: Visit) -> tuple[str, ...]:
    outcomes = [eye_result(visit, eye).outcome for eye in EYES]
    begun = visit.started[:16].replace("T", " ")
    return (
        visit.participant,
        begun,
        "finished" if visit.finished else "open",
        *("–" if outcome is None else outcome.value for outcome in outcomes),
        visit.operator,
        visit.device,
    )
