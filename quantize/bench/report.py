"""What a benchmark says, as it stands in its JSON file (``docs/bench-schema.md``)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from quantize.errors import BenchError

SCHEMA = 2
BUSY = 0.15  # share of the cores


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it was measured. ``load`` is the load average of the last minute when the run began, ``others`` the
    share of the cores' time that other work took just before it (None where that cannot be read)."""

    processor: str
    architecture: str
    cores: int
    governor: str | None
    load: float
    others: float | None
    python: str
    runtime: str

    @property
    def busy(self) -> bool:
        """Whether other work took part of the cores. It interrupts long runs and slips between short ones: then
        even ratios are wrong."""
        return self.others > BUSY if self.others is not None else self.load > BUSY * self.cores


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it was measured; ``reference`` is the name of the candidate that ratios are taken to."""

    rounds: int
    seed: int
    threads: tuple[int, ...]
    quick: bool
    reference: str


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Milliseconds of a run, and the ratio to the reference's on as many threads in the same rounds (None without
    one). ``low`` and ``high`` bound the bootstrap 95 % interval of the median before them."""

    median_ms: float
    low_ms: float
    high_ms: float
    p50_ms: float  # of all runs, and so the next two
    p95_ms: float
    p99_ms: float
    cold_ms: float | None  # median of the starts
    ratio: float | None
    ratio_low: float | None
    ratio_high: float | None
    gmacs: float | None  # 1e9 multiply-accumulates a second
    roof_share: float | None  # of the best convolution on as many threads


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate on a number of threads. ``turns`` has the milliseconds of each run by round, an empty list where
    it took no part; ``starts`` those from the start of its process to the end of its first run. Memory is of its
    own process, in MB (2**20 bytes)."""

    name: str
    kind: str
    what: str
    threads: int
    macs: int | None
    turns: list[list[float]]
    starts: list[float]
    peak_mb: float | None
    steady_mb: float | None
    network_share: float | None  # of the pipeline's time
    network_runs: dict[str, int] | None  # of the pipeline, by task, for one photograph
    summary: Summary | None = None

    @property
    def key(self) -> str:
        """What tells it from all others of a run."""
        return f"{self.name} x{self.threads}"


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run. ``order`` has the keys of each round's candidates in the order in which they had their turn."""

    schema: int
    created: str
    version: str
    machine: Machine
    settings: Settings
    photograph: str
    left_out: tuple[str, ...]
    candidates: list[Measured]
    order: list[list[str]]

    def by_key(self) -> dict[str, Measured]:
        """The candidates by ``key``."""
        return {m.key: m for m in self.candidates}


def write(path: Path, report: msgspec.Struct) -> None:
    """Write a report, or estimates, as JSON, at once or not at all. Raises BenchError."""
    unfinished = path.with_name(path.name + ".part")
    try:
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        os.replace(unfinished, path)
    except OSError as error:
        raise BenchError(f"cannot write {path} ({error.strerror}); give another file") from error


def read(path: Path) -> Report:
    """Read what ``write`` wrote. Raises BenchError for a file that is absent, damaged or of another schema."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BenchError(f"cannot read {path} ({error.strerror}); give a file that --json wrote") from error
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema != SCHEMA:
            raise BenchError(f"{path} is of schema {schema}, this tenohira reads {SCHEMA}; measure it again")
        return msgspec.json.decode(data, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BenchError(f"{path} is no benchmark ({error}); give a file that --json wrote") from error


class _Schema(msgspec.Struct):
    schema: int
