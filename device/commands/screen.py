"""``tenohira screen PATH...``: photographs to verdicts, with evidence."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path

import numpy as np
from PIL import Image

from device import memory, pipeline, results
from device.errors import UnreadableImageError, UsageError
from device.frame import Frame
from device.imaging import ENOUGH, encode_jpeg, read_image
from device.pipeline import Examination, Pipeline, Stopwatch, internal_error
from device.record import EYES
from device.results import OutputError, Row, Writer, failed_row, row_of
from device.samples import ATTRIBUTION_FILE

NOTHING_READ = 4
INTERNAL_ERROR = 5
MOST_THREADS = 64
OVERLAY_QUALITY = 90  # of the JPEG
LONGEST_NAME = 140  # bytes; "-2", ".disc.png" and ".PID.part" must fit into the 255 of file systems as well
WRITTEN = (".jpg", ".png", ".dcm", ".part")  # how what is written for an image ends
VIEWS = {"faz": "octa", "haemorrhage": "field"}  # where a task has one view only
NUMBERS = {  # columns of the table that is printed
    "glaucoma": ("vCDR", "probability"),
    "faz": ("area", "circularity"),
    "haemorrhage": ("marked", "of the field"),
}
EXIT_CODES = """
exit codes: 0 every image was answered, ungradable ones included; 2 wrong arguments, no image found, a bundle that
is refused, or results that cannot be written; 4 not one image could be read; 5 an internal error in one image or
more (the others were answered); 130 interrupted (rows written so far stay).
"""
FILES = """
Folders are walked recursively, without hidden files and folders, the samples' ATTRIBUTION.txt, DIR itself, and
what earlier runs wrote (a file .tenohira-results marks their folders). Every other file gets a row: what is no
image, or cannot be read, is ungradable with the reason, and the run goes on; so is a link to a folder, which is
not followed. docs/results-schema.md describes the rows.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = f"{FILES.strip()} {EXIT_CODES.strip()} {parser.epilog or ''}"
    parser.add_argument("paths", nargs="+", type=_path, metavar="PATH", help="image files or folders")
    parser.add_argument("--out", type=_path, metavar="DIR", help="write masks, overlays and results here")
    parser.add_argument("--json", action="store_true", help="write DIR/results.jsonl, a row an image")
    parser.add_argument("--csv", action="store_true", help="write DIR/results.csv, the same in short")
    parser.add_argument("--page", action="store_true", help="write DIR/index.html, which shows every image")
    parser.add_argument(
        "--dicom", action="store_true", help="write DIR/dicom/: photograph, outlines (SEG), report (SR)"
    )
    parser.add_argument("--no-overlay", action="store_true", help="write no overlay pictures")
    parser.add_argument("--task", choices=sorted(pipeline.NETWORKS, reverse=True), default="glaucoma")
    parser.add_argument(
        "--view", choices=pipeline.VIEWS, default="auto", help="full field, disc-centred crop, or find out (auto)"
    )
    parser.add_argument("--eye", choices=EYES, help="which eye is shown, where a file does not say (right: OD)")
    parser.add_argument(
        "--field-mm", type=float, metavar="F", help="width of an OCTA image in mm (faz; without it: pixels)"
    )
    parser.add_argument("--operating-point", metavar="NAME", help="of the glaucoma bundle (default: its first)")
    parser.add_argument(
        "--threads", type=int, metavar="N", default=_cores(), help="threads (default: %(default)s)"
    )
    parser.add_argument(
        "--bundles", type=Path, metavar="DIR", help="folder of bundles (default: the shipped ones)"
    )
    parser.add_argument(
        "--keys", type=Path, metavar="DIR", help="folder of trusted keys (default: the shipped one)"
    )


def run(args: argparse.Namespace) -> int:
    """Screen, write, print the table. Returns the exit codes that ``--help`` documents.

    Raises UsageError for arguments that contradict each other, for inputs where results are to be written and
    where there is nothing to screen, BundleError and KeyFileError for refused bundles, OutputError where results
    cannot be written.
    """
    _check(args)
    memory.keep_little()
    items = list(find_images(args.paths, args.out))
    if not items:
        places = ", ".join(map(results.printable, args.paths))
        raise UsageError(f"there is no image in {places}; name a folder with photographs")
    networks = pipeline.NETWORKS[args.task]
    machine = Pipeline.load(args.bundles, args.keys, networks, args.threads, args.operating_point)
    with nullcontext() if args.out is None else results.prepared(args.out):
        return _screen(items, machine, args)


def _screen(items: list[Item], machine: Pipeline, args: argparse.Namespace) -> int:
    """Screen, write, print; what ``run`` returns and raises."""
    rows: list[Row] = []
    endings: Counter[Ending] = Counter()
    try:
        with Writer(args.out or Path(), as_json=args.json, as_csv=args.csv) as writer:
            for item in _with_progress(items):
                row, ending, unsaved = _answer(item, machine, args)
                writer.write(row)
                rows.append(row)
                endings[ending] += 1
                if unsaved is not None:
                    raise unsaved
    except BaseException:  # an interrupted run shows what it has; the first error is the one to be told
        with suppress(OutputError, OSError):
            _show(rows, args)
        raise
    _show(rows, args)
    if faults := endings[Ending.INTERNAL_ERROR]:
        print(f"tenohira: internal errors in {faults} of {len(rows)} images; please report them", file=sys.stderr)
        return INTERNAL_ERROR
    if not endings[Ending.READ]:
        print("tenohira: not one image could be read; the rows say why", file=sys.stderr)
        return NOTHING_READ
    return 0


@dataclass(frozen=True)
class Item:
    """A file to screen, and the stem (relative, unique in a run) of what is written for it."""

    path: Path
    stem: Path


class Ending(Enum):
    """How it went with one file."""

    READ = auto()
    UNREADABLE = auto()
    INTERNAL_ERROR = auto()


# Files are asked about with os.path, which answers False where pathlib raises: names too long, folders closed.
def find_images(paths: Iterable[Path], out: Path | None) -> Iterator[Item]:
    """Every file to screen, in a stable order. Results are never walked: masks are no photographs.

    Raises UsageError where ``out`` is to be walked, or where writing into it could overwrite an input.
    """
    taken: set[str] = set()
    written = [] if out is None else [os.path.realpath(out / n) for n in (*results.PICTURES, *results.LISTS)]
    for path in paths:
        if not os.path.isdir(path):
            found = [path]
        elif out is not None and os.path.realpath(out) == os.path.realpath(path):
            raise UsageError(f"--out {out} is also to be screened; give the results a folder of their own")
        else:
            found = list(_walk(path, out))
        for file in found:
            place = Path(os.path.realpath(file))
            if any(place.is_relative_to(w) for w in written):
                raise UsageError(
                    f"{results.printable(file)} lies where --out {out} is written to and could be overwritten; "
                    "give the results a folder of their own"
                )
            relative = Path(path.name) if file == path else file.relative_to(path)
            yield Item(file, _unique(relative, taken))


def _walk(root: Path, out: Path | None) -> Iterator[Path]:
    """The files below a folder, and the folders that cannot be walked: they get a row as well."""
    unlisted: list[Path] = []
    results_of_this_run = out and os.path.realpath(out)
    for folder, subfolders, files in os.walk(root, onerror=lambda e: unlisted.append(Path(e.filename))):
        here = Path(folder)
        written = (*results.PICTURES, *results.LISTS) if results.is_results(here) else ()
        kept = [
            s for s in subfolders if not s.startswith(".") and os.path.realpath(here / s) != results_of_this_run
        ]
        subfolders[:] = sorted(set(kept) - set(written))
        links = [s for s in subfolders if os.path.islink(here / s)]  # os.walk does not follow them
        for name in sorted({*files, *links} - {*written, ATTRIBUTION_FILE}):
            if not name.startswith("."):
                yield here / name
    yield from unlisted


def _unique(relative: Path, taken: set[str]) -> Path:
    """The path without its suffix, with it where that name is taken, or else numbered.

    Valid Unicode, so that rows can name the files exactly, and never too long for a file system.
    """
    relative = Path(results.text_of(relative))
    folder = Path(*map(_folder_name, relative.parent.parts))
    stem, number = folder / _shortened(relative.stem), 1
    while str(stem).casefold() in taken:
        stem = folder / (_shortened(relative.name) + (f"-{number}" if number > 1 else ""))
        number += 1
    taken.add(str(stem).casefold())
    return stem


def _folder_name(part: str) -> str:
    """Never that of a file: beside a folder ``x.jpg`` there may be a picture ``x.png``, whose overlay is x.jpg."""
    name = _shortened(part)
    return name + "_" if name.casefold().endswith(WRITTEN) else name


def _shortened(name: str) -> str:
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")


def _answer(item: Item, machine: Pipeline, args: argparse.Namespace) -> tuple[Row, Ending, OutputError | None]:
    """The row of one file, how it went, and why its pictures could not be written. One bad file never stops a run;
    a full disk does, after the row."""
    clock, total = Stopwatch(), Stopwatch()
    masks: dict[str, str] = {}
    overlay: str | None = None
    dicom: dict[str, str] = {}
    unsaved: OutputError | None = None
    view = VIEWS.get(args.task, args.view)
    try:
        with total.stage("total"):
            with clock.stage("decode"):
                frame = _read(item.path, ENOUGH if args.task == "glaucoma" else None)
                if args.eye and frame.laterality == "unknown":
                    frame = replace(frame, laterality=args.eye)
            if args.task == "faz":
                exam = machine.measure_faz(frame, args.field_mm, clock)
            elif args.task == "haemorrhage":
                exam = machine.mark_haemorrhages(frame, clock)
            else:
                exam = machine.screen(frame, args.view, clock)
        with clock.stage("save"):
            whole = exam.in_whole(frame)
            try:
                masks = _save_masks(item, frame, whole, args)
                overlay = _save_overlay(item, frame, exam, args)
                if args.dicom:
                    known = row_of(
                        item.path, whole, masks=masks, overlay=overlay, timings_ms={}, bundles=machine.bundles
                    )
                    dicom = _save_dicom(item, frame, whole, known, args)
            except OutputError as error:
                unsaved = error
    except UnreadableImageError as error:
        row = failed_row(item.path, args.task, view, str(error), "the file cannot be read")
        return row, Ending.UNREADABLE, None
    except MemoryError:
        reason = f"{_name(item.path)} does not fit into memory; export it smaller"
        tip = "Export the photograph at a lower resolution."
        return failed_row(item.path, args.task, view, reason, "too large", tip), Ending.UNREADABLE, None
    except Exception as error:  # a fault of ours in one image must not cost the others
        print(f"tenohira: internal error in {results.printable(item.path)}", file=sys.stderr)
        traceback.print_exc()
        said = internal_error(error)
        row = failed_row(item.path, args.task, view, said.reasons[0], said.quality.cause, said.tip)
        return row, Ending.INTERNAL_ERROR, None
    timings = {**clock.ms, **total.ms}
    row = row_of(
        item.path, whole, masks=masks, overlay=overlay, timings_ms=timings, bundles=machine.bundles, dicom=dicom
    )
    return row, Ending.READ if dicom or not args.dicom else Ending.INTERNAL_ERROR, unsaved


def _read(path: Path, enough: int | None) -> Frame:
    """Raises UnreadableImageError, also for what only looks like a file: a pipe would block for ever."""
    name, is_link = _name(path), os.path.islink(path)
    if os.path.isdir(path) and is_link:
        raise UnreadableImageError(f"{name} is a link to a folder, which is not followed; name that folder itself")
    if os.path.isdir(path):
        raise UnreadableImageError(f"{name} is a folder that may not be listed; check its permissions")
    if is_link and not os.path.exists(path):
        raise UnreadableImageError(f"{name} is a link to nothing that can be reached; copy the photograph itself")
    if os.path.exists(path) and not os.path.isfile(path):
        raise UnreadableImageError(f"{name} is not a regular file; copy the photograph itself")
    return read_image(path, enough)


def _name(path: Path) -> str:
    return results.text_of(Path(path.name))


def _save_masks(item: Item, frame: Frame, whole: Examination, args: argparse.Namespace) -> dict[str, str]:
    """Write the masks of the photograph; returns their paths relative to the output folder."""
    if args.out is None:
        return {}
    masks = {}
    for name, region in whole.masks.items():
        relative = Path("masks", f"{item.stem}.{name}.png")
        mask = io.BytesIO()
        Image.fromarray(region.in_image(frame.shape)).save(mask, "PNG", compress_level=1)
        results.write_file(args.out / relative, mask.getvalue())
        masks[name] = str(relative)
    return masks


def _save_overlay(item: Item, frame: Frame, exam: Examination, args: argparse.Namespace) -> str | None:
    """Write the overlay; returns its path relative to the output folder."""
    if args.out is None or args.no_overlay:
        return None
    from device import overlay

    relative = Path("overlays", f"{item.stem}.jpg")
    memory.trim()  # a run's peak is here
    drawn = overlay.draw(frame.pixels, exam)
    results.write_file(args.out / relative, encode_jpeg(drawn, OVERLAY_QUALITY, keep=False))
    return str(relative)


def _save_dicom(
    item: Item, frame: Frame, whole: Examination, row: Row, args: argparse.Namespace
) -> dict[str, str]:
    """Write the DICOM objects; returns their paths relative to the output folder, none where they could not be
    made: a fault there takes nothing from the answer."""
    from device.dicom import write

    masks = {name: region.in_image(frame.shape) for name, region in whole.masks.items()}
    try:
        found = write.of_file(item.path, frame, row, masks)
        encoded = {name: (data.Modality, write.encode(data)) for name, data in found.items()}
    except Exception:
        print(f"tenohira: internal error: no DICOM objects of {results.printable(item.path)}", file=sys.stderr)
        traceback.print_exc()
        return {}
    paths = {}
    for name, (modality, data) in encoded.items():
        relative = Path("dicom", f"{item.stem}.{modality}.dcm")
        results.write_file(args.out / relative, data)
        paths[name] = str(relative)
    return paths


def _show(rows: list[Row], args: argparse.Namespace) -> None:
    """The table, then the page: printing needs no room on the disk. Raises OutputError for the page."""
    if not rows:
        return
    try:
        _print_table(rows)
    finally:
        if args.page:
            from device import page

            results.write_file(args.out / "index.html", page.render(rows).encode())


def _with_progress(items: list[Item]) -> Iterable[Item]:
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, "screening", console=Console(stderr=True), transient=True)


def _print_table(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from device.overlay import words_of

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("image", overflow="fold")
    for name in ("quality", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in (*NUMBERS[rows[0].task], "ms"):
        table.add_column(name, justify="right", no_wrap=True)
    styles = {"refer": ("▲", "bold red"), "no_referral": ("●", "blue"), "ungradable": ("□", "yellow")}
    for row in rows:
        symbol, style = styles[row.outcome]
        table.add_row(
            Text(results.printable(Path(row.image))),  # Text: a path in brackets is no markup
            row.quality["grade"],
            Text(f"{symbol} {words_of(row.task, row.outcome).lower()}", style),
            *_numbers(row),
            f"{row.timings_ms['total']:.0f}" if "total" in row.timings_ms else "–",
        )
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal without these symbols
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    with console.capture() as captured:
        console.print(table)
    print(captured.get(), end="")  # rich would end the process by itself where the reader has gone
    total = [row.timings_ms["total"] for row in rows if "total" in row.timings_ms]
    if total:
        networks = sum(row.timings_ms.get(name, 0.0) for row in rows for name in row.bundles)
        share = networks / sum(total)
        print(f"median {np.median(total):.0f} ms from file to verdict, {share:.0%} in networks")


def _numbers(row: Row) -> tuple[str, ...]:
    if row.faz:
        return f"{row.faz['area']:.4g} {row.faz['unit']}", f"{row.faz['circularity']:.2f}"
    if row.haemorrhages:
        return f"{row.haemorrhages['count']}", f"{row.haemorrhages['field_percent']:.2g} %"
    return tuple("–" if v is None else f"{v:.2f}" for v in (row.vcdr, row.glaucoma_probability))


def _check(args: argparse.Namespace) -> None:
    if args.out is None and (args.json or args.csv or args.page or args.dicom):
        raise UsageError("--json, --csv, --page and --dicom write files; say where with --out DIR")
    if args.dicom and args.task != "glaucoma":
        raise UsageError(f"--dicom is for glaucoma screening; leave it away with --task {args.task}")
    if args.page and args.no_overlay:
        raise UsageError("--page shows the overlays; leave --no-overlay away")
    if args.field_mm is not None and args.task != "faz":
        raise UsageError("--field-mm is the width of an OCTA image; give it together with --task faz")
    if args.field_mm is not None and not 0.5 <= args.field_mm <= 50:
        raise UsageError(f"--field-mm {args.field_mm:g} is no width of an OCTA image; give millimetres, such as 3")
    if args.task in VIEWS and args.view != "auto":
        raise UsageError(f"--view is for glaucoma screening; leave it away with --task {args.task}")
    if args.task != "glaucoma" and args.operating_point is not None:
        raise UsageError(f"--operating-point is for glaucoma screening; leave it away with --task {args.task}")
    if not 1 <= args.threads <= MOST_THREADS:
        raise UsageError(f"--threads {args.threads}: give 1 to {MOST_THREADS}; more than the cores do not help")


def _path(text: str) -> Path:
    """Raises UsageError for an empty text, which pathlib takes for the current folder: nobody has meant that."""
    if not text:
        raise UsageError(
            "a file or folder is named by an empty text, as of a variable that is not set; "
            "name it, the current folder by a dot"
        )
    return Path(text)


def _cores() -> int:
    """Cores that this process may use, four at most: more do not help networks of this size."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(4, mine)
