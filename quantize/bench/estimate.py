"""How long a Raspberry Pi may take that nobody has measured yet: ranges, from two kinds of evidence.

* **Published throughput**: what others measured of known int8 networks on the board, or its core, gives
  multiply-accumulates a second, and so the time of a network (``boards.toml`` has each figure's address).
* **Counted instructions**: ``tenohira hil --rig aarch64`` counts what a screening takes on each board's core, by
  stage; divided by the clock and by instructions a cycle, from the core's width down to a quarter of it.

Neither knows a board's memory, heat or supply. A real board's figure (``--measured``) replaces the estimate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

import device
from quantize.bench.evidence import (
    PIPELINE,
    SCREENING,
    Board,
    Counts,
    Knowledge,
    Measurements,
    Real,
    Subject,
    newest,
    same_file,
)

SCHEMA = 1
THREADS = (1, 4)  # what is published


class Range(NamedTuple):
    """Milliseconds, from the fastest to the slowest that the evidence allows."""

    low: float
    high: float


class Row(msgspec.Struct, frozen=True):
    """One line for one board. ``estimate_ms`` spans both kinds of evidence; None where ``measured`` replaces it,
    or where there is none."""

    what: str
    threads: int
    published_ms: Range | None
    counted_ms: Range | None
    estimate_ms: Range | None
    measured: Real | None


class BoardEstimate(msgspec.Struct, frozen=True):
    """A board's rows, and the least and the most GMAC/s that others measured, by threads."""

    board: str
    core: str
    clock_ghz: float
    gmacs: dict[int, tuple[float, float]]
    rows: list[Row]


class Estimates(msgspec.Struct, frozen=True):
    """What ``--estimate --json`` writes (docs/estimate.md)."""

    schema: int
    kind: str
    created: str
    version: str
    boards: list[BoardEstimate]
    counts: str | None
    sources: dict[str, str]
    left_out: list[str]


def estimate(
    subjects: Sequence[Subject],
    runs: dict[str, int],
    counts: Counts | None,
    measured: Measurements,
    known: Knowledge,
) -> Estimates:
    """Rows of every board. ``runs`` has how often each task's network runs for a photograph (empty: there is no
    pipeline)."""
    boards = []
    for board in known.boards:
        gmacs = {n: speed for n in THREADS if (speed := throughput(board, known, n))}
        rows = [
            _row(what, n, published, counted, measured.get((board.name, what, n)))
            for n in THREADS
            for what, published, counted in _evidence(board, n, gmacs.get(n), subjects, runs, counts, known)
        ]
        boards.append(BoardEstimate(board.name, board.core, board.clock_ghz, gmacs, rows))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    origin = counts.origin if counts else None
    left_out = _left_out(subjects, runs, counts)
    return Estimates(SCHEMA, "estimate", now, device.__version__, boards, origin, known.sources, left_out)


def throughput(board: Board, known: Knowledge, threads: int) -> tuple[float, float] | None:
    """The least and the most GMAC/s that were published for so many threads, scaled to the board's clock; None
    where nothing was. One thread does at least its share of what several do: that may be the most."""
    speeds, shares = [], []
    for published in board.published:
        for name, ms in published.ms.items():
            speed = known.networks[name].gmac / ms * 1e3 * board.clock_ghz / published.clock_ghz
            if published.threads == threads:
                speeds.append(speed)
            elif published.threads > threads:
                shares.append(speed * threads / published.threads)
    return (min(speeds), max(speeds + shares)) if speeds else None


def by_throughput(macs: float, gmacs: tuple[float, float]) -> Range:
    """Time of ``macs`` multiply-accumulates at the least and the most GMAC/s."""
    slow, fast = gmacs
    return Range(macs / fast / 1e6, macs / slow / 1e6)


def by_instructions(millions: float, board: Board, known: Knowledge) -> Range:
    """Time of so many million instructions on one core of the board."""
    fast = millions / board.clock_ghz / board.issue_width
    return Range(fast, fast / known.slow_share_of_width)


def _evidence(
    board: Board,
    threads: int,
    gmacs: tuple[float, float] | None,
    subjects: Sequence[Subject],
    runs: dict[str, int],
    counts: Counts | None,
    known: Knowledge,
) -> Iterator[tuple[str, Range | None, Range | None]]:
    """Each row's name, with its range by published throughput and by counted instructions. Those are of one
    thread; around its networks the pipeline runs on one anyway."""
    stages = counts.stages.get(board.counted, {}) if counts else {}
    networks: list[tuple[Range | None, Range | None]] = []
    tasks = {s.what: task for task, s in newest(subjects).items()}  # of the networks that a pipeline takes
    for s in subjects:
        task = tasks.get(s.what, "")
        published, counted = by_throughput(s.macs, gmacs) if gmacs else None, None
        if counts and s.bundle and task in stages and threads == 1 and same_file(s.bundle, counts.bundles):
            counted = by_instructions(stages[task] / runs.get(task, 1), board, known)
        yield s.what, published, counted
        networks += [(published, counted)] * runs.get(task, 0)
    if not runs or not {"total", "decode", *runs} <= stages.keys():
        return
    screening = stages["total"] - sum(stages[task] for task in runs)
    for what, millions in ((PIPELINE, screening - stages["decode"]), (SCREENING, screening)):
        rest = by_instructions(millions, board, known)
        yield what, _sum(rest, [p for p, _ in networks]), _sum(rest, [c for _, c in networks])


def _sum(rest: Range, parts: Sequence[Range | None]) -> Range | None:
    """None where a part is not known."""
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    return Range(rest.low + sum(p.low for p in known), rest.high + sum(p.high for p in known))


def _row(what: str, threads: int, published: Range | None, counted: Range | None, real: Real | None) -> Row:
    known = [r for r in (published, counted) if r]
    spans = Range(min(r.low for r in known), max(r.high for r in known)) if known and real is None else None
    return Row(what, threads, published, counted, spans, real)


def _left_out(subjects: Sequence[Subject], runs: dict[str, int], counts: Counts | None) -> list[str]:
    if counts is None:
        return ["pipeline, and networks by their instructions: no file of counts here; give one: --instructions"]
    bundles = [s.bundle for task, s in newest(subjects).items() if task in runs]
    others = [b.path.name for b in bundles if b and not same_file(b, counts.bundles)]
    left_out = []
    if not runs:
        left_out.append("pipeline: it needs bundles of all its tasks")
    if others:
        left_out.append(
            f"{', '.join(others)} by instructions: {counts.origin} counted other files; count these with "
            "'tenohira hil --rig aarch64' and give its results.json: --instructions"
        )
    return left_out
