"""``tenohira paper``: train and measure what docs/paper.md compares, then write its tables and plots."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from device.errors import UsageError
from train.datasets import data_root
from train.loop import Machine
from train.paper.report import write_report
from train.paper.runner import MEASURED, Record, read_record, run_job, time_left
from train.paper.studies import PROTOCOLS, STUDIES, Job, jobs
from train.paper.table import read_table, table_rows
from train.report import markdown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--protocol", choices=sorted(PROTOCOLS), help="train and measure what the machine can afford"
    )
    what.add_argument(
        "--table", type=Path, help="CSV of measured values and labels: AUC of each value and of all together"
    )
    parser.add_argument("--columns", help="of the table, with commas")
    parser.add_argument(
        "--fit", type=Path, help="another such table, to fit the combination to (else: cross-validated)"
    )
    parser.add_argument("--studies", help=f"only these, with commas ({', '.join(STUDIES)}; default: all)")
    parser.add_argument("--jobs", type=int, help="stop after so many trainings this time (all is resumable)")
    parser.add_argument("--data", type=Path, help="data root (default: TENOHIRA_DATA, or ../shared/data)")
    parser.add_argument("--records", type=Path, help="folder of new records (default: out/paper/PROTOCOL)")
    parser.add_argument("--out", type=Path, help="folder of the report (default: out/paper)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: a GPU where there is one)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: torch's choice)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load and augment")


def run(args: argparse.Namespace) -> int:
    """Run what has no record yet, in order of value, then write the report. Returns 0."""
    if args.table:
        return _table(args)
    studies = args.studies.split(",") if args.studies else list(STUDIES)
    if unknown := [s for s in studies if s not in STUDIES]:
        raise UsageError(f"unknown study {unknown[0]!r}; choose from {', '.join(STUDIES)}")
    if args.threads:
        torch.set_num_threads(args.threads)
    out = args.out or Path("out", "paper")
    records = args.records or out / args.protocol
    done: list[tuple[Job, Record]] = []
    todo: list[Job] = []
    for job in (j for j in jobs(args.protocol) if j.study in studies):
        record = read_record(job, (records, MEASURED))
        if record is None:
            todo.append(job)
        else:
            done.append((job, record))
    print(f"{len(done)} of {len(done) + len(todo)} trainings are measured already")
    now = todo if args.jobs is None else todo[: args.jobs]
    for i, job in enumerate(now):
        left = time_left(now[i:], [record for _, record in done])
        print(f"{i + 1}/{len(now)}  {job.name}; {_words(left)} left", flush=True)
        record = run_job(
            job, data_root(args.data), records, Machine.here(args.device), lambda line: None, args.workers
        )
        done.append((job, record))
    if not done:
        raise UsageError("nothing is measured yet and --jobs 0 asks for no training")
    print(write_report(out, args.protocol, done))
    print(f"written to {out}")
    return 0


def _table(args: argparse.Namespace) -> int:
    if not args.columns:
        raise UsageError("--table needs --columns: the names of the measured values in it, with commas")
    columns = args.columns.split(",")
    rows = table_rows(read_table(args.table, columns), read_table(args.fit, columns) if args.fit else None)
    print(markdown(rows))
    return 0


def _words(seconds: float | None) -> str:
    if seconds is None:
        return "time unknown"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
