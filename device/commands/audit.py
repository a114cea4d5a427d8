"""``tenohira audit verify|show``: the record against its log."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from device.store import audit
from device.store.audit import AuditResult

SOMETHING_WRONG = 1
LAST = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    text = (
        "check the log's chain, each record and each picture; nothing is changed. "
        "exit codes: 0 all is well, 1 something is wrong (each on a line), 2 the record cannot be read"
    )
    action = actions.add_parser("verify", help="check the record against its log", description=text)
    action.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the record")
    action.add_argument(
        "--head", metavar="SEQ:HASH", help="a head that an export, a backup or a report has: shows a log cut off"
    )
    text = "print the log, the newest entry last"
    action = actions.add_parser("show", help=text, description=text)
    action.add_argument("--store", type=Path, required=True, metavar="DIR", help="folder of the record")
    action.add_argument("--last", type=int, default=LAST, metavar="N", help=f"entries (default: {LAST}); 0: all")
    action.add_argument("--subject", default="", metavar="UID", help="of one examination only")
    action.add_argument("--json", action="store_true", help="entries to the byte, with their hashes")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 1 where something is wrong with the record."""
    if args.action == "show":
        _show(args)
        return 0
    result = audit.verify(args.store, args.head)
    for problem in result.problems:
        print(problem)
    print(summary(result))
    return 0 if result.ok else SOMETHING_WRONG


def summary(result: AuditResult) -> str:
    """One line: how it went, how much there is, and the head to keep."""
    found = "ok" if result.ok else f"{len(result.problems)} wrong"
    removed = f", {result.removed} more were removed" if result.removed else ""
    orphans = f", {result.orphans} pictures of a step that was cut short" if result.orphans else ""
    return (
        f"{found}: {result.entries} entries, {result.visits} examinations{removed}, {result.pictures} pictures"
        f"{orphans}\nhead {result.head}"
    )


def _show(args: argparse.Namespace) -> None:
    found = audit.entries(args.store, args.subject, args.last if args.last > 0 else None)
    if args.json:
        for entry, value in found:
            print(f'{{"hash":"{value}","entry":{audit.canonical(entry)}}}')
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("entry", justify="right", no_wrap=True)
    table.add_column("time", no_wrap=True)
    for column in ("actor", "action", "subject", "detail"):
        table.add_column(column, overflow="fold")
    for entry, _ in found:
        detail = audit.canonical({key: value for key, value in entry.detail.items() if key != "rows"})
        detail = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", "\\1…", detail)  # whole hashes: --json
        cells = (entry.actor, entry.action, entry.subject, "" if detail == "{}" else detail)
        table.add_row(str(entry.seq), entry.time[:19], *(Text(shown(cell)) for cell in cells))
    Console(width=160, highlight=False).print(table)


def shown(text: str) -> str:
    """A text for terminals, without what would steer them."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
