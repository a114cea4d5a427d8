"""Run jobs, and keep what each of them measured.

A job is trained in ``runs/paper/NAME`` (resumable at every epoch) and then measured once on the test part. Its
record is one JSON file; jobs with a record of the same recipe are not run again.
"""

from __future__ import annotations

import functools
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import torch

from train.datasets import load_split
from train.datasets.splits import split_sha256
from train.describe import size_of
from train.errors import RunError
from train.evaluation import Case, network_cases
from train.loop import Machine, State, train
from train.networks import build
from train.paper.studies import UNTRAINED, Job, jobs, training_images
from train.paper.untrained import untrained_cases
from train.predictors import torch_stage
from train.recipe import NetworkSpec, Recipe
from train.run import claim

MEASURED = Path(__file__).with_name("measured")  # the records behind docs/paper.md
Report = Callable[[str], None]


class Values(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``Case`` as JSON can hold it: null stands for NaN."""

    set: str
    id: str
    stratum: str
    values: dict[str, float | None]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job left behind: enough for every table, and to tell whether it is the job that is asked for.
    ``seconds`` are of training; ``machine`` is the processor's kind."""

    recipe: Recipe
    splits: dict[str, str]  # SHA-256 of each split file
    epochs: int
    best_epoch: int
    validation: float | None  # score of the best epoch, whose weights were measured
    history: list[dict[str, float]]  # loss and validation figures of every epoch
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    machine: str
    torch: str
    test: list[Values]

    @property
    def cases(self) -> list[Case]:
        """The test part."""
        nan = math.nan
        return [
            Case(v.set, v.id, v.stratum, {k: nan if x is None else x for k, x in v.values.items()})
            for v in self.test
        ]


def read_record(job: Job, folders: Sequence[Path]) -> Record | None:
    """The record of exactly this job from the first folder that has it; None where there is none yet.

    Raises RunError where a file is damaged or belongs to another recipe or other splits.
    """
    for folder in folders:
        path = folder / f"{job.name}.json"
        if path.is_file():
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except msgspec.MsgspecError as error:
                raise RunError(f"{path} is damaged ({error}); delete it to have the job run again") from error
            if record.recipe != job.recipe or record.splits != _splits(job):
                raise RunError(f"{path} is of another recipe or split; delete it to have the job run again")
            return record
    return None


def run_job(
    job: Job, root: Path, folder: Path, machine: Machine, report: Report = print, workers: int = 0
) -> Record:
    """Train a job below ``RUNS/paper`` (continuing there), measure its test part, and write its record to
    ``folder``. Raises DataError where data are missing, RunError where the run is of another recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    if job.study in UNTRAINED:
        start = time.monotonic()
        cases = untrained_cases(job.recipe, root)
        return _write(job, folder, machine, cases, State(seconds=time.monotonic() - start))
    if job.recipe.training.teacher:
        teacher = next(j for j in jobs(job.protocol) if job.recipe.training.teacher == f"paper/{j.name}")
        run = _folder(teacher)
        if not (run / "best.pt").is_file() or (run / "last.pt").is_file():  # never begun, or not to its end
            train(teacher.recipe, root, run, machine, report=report, workers=workers)
            (run / "last.pt").unlink()
    run = _folder(job)
    state = train(job.recipe, root, run, machine, report=report, workers=workers)
    network = build(job.recipe.network, job.recipe.outputs)
    network.load_state_dict(torch.load(run / "best.pt", map_location="cpu", weights_only=True)["model"])
    samples = [s for name in job.test_sets for s in load_split(root, name, "test")]
    cases = network_cases(job.recipe.task, samples, torch_stage(network), job.recipe.size)
    record = _write(job, folder, machine, cases, state)
    (run / "last.pt").unlink()  # the optimizer's state, several times the weights' size
    return record


def _folder(job: Job) -> Path:
    """The run's. Raises RunError where it is another recipe's."""
    return claim(f"paper/{job.name}", job.recipe)


def _write(job: Job, folder: Path, machine: Machine, cases: Sequence[Case], state: State) -> Record:
    record = Record(
        recipe=job.recipe,
        splits=_splits(job),
        epochs=state.epoch,
        best_epoch=state.best_epoch,
        validation=state.best if state.epoch else None,
        history=state.history,
        seconds=round(state.seconds, 1),
        machine=_processor(machine),
        torch=str(torch.__version__),
        test=[
            Values(c.set, c.id, c.stratum, {k: None if math.isnan(x) else x for k, x in c.values.items()})
            for c in cases
        ],
    )
    part = folder / f"{job.name}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    os.replace(part, folder / f"{job.name}.json")
    return record


def time_left(todo: Sequence[Job], done: Sequence[Record]) -> float | None:
    """Seconds that ``todo`` will take, from what ``done`` took: by the same network (with or without a teacher,
    which takes its time too) where it ran, else by multiplications. None where nothing ran yet; what is untrained
    takes next to nothing."""
    done = [r for r in done if r.epochs]
    todo = [j for j in todo if j.study not in UNTRAINED]
    if not done:
        return None
    rates: dict[tuple[NetworkSpec, bool], list[float]] = {}  # seconds a GMAC
    for r in done:
        rates.setdefault(_kind(r.recipe), []).append(r.seconds / _work(r.recipe, r.epochs))
    average = sum(r.seconds for r in done) / sum(_work(r.recipe, r.epochs) for r in done)
    return sum(
        _work(j.recipe, j.recipe.training.epochs) * statistics.median(rates.get(_kind(j.recipe), [average]))
        for j in todo
    )


def _kind(recipe: Recipe) -> tuple[NetworkSpec, bool]:
    return recipe.network, bool(recipe.training.teacher)


def _work(recipe: Recipe, epochs: int) -> float:
    """GMAC of a run's forward passes."""
    return _macs(recipe.network, recipe.outputs, recipe.size) / 1e9 * epochs * training_images(recipe.data)


@functools.cache  # large networks are built for it, and it is asked for before every job
def _macs(network: NetworkSpec, outputs: int, size: int) -> int:
    return size_of(build(network, outputs), size).macs


def _splits(job: Job) -> dict[str, str]:
    return {name: split_sha256(name) for name in {**job.recipe.data.sets, **dict.fromkeys(job.test_sets)}}


def _processor(machine: Machine) -> str:
    if machine.device.type == "cuda":
        return torch.cuda.get_device_name(machine.device)
    count = torch.get_num_threads()
    return f"{count} CPU thread{'s' * (count > 1)}, {torch.backends.cpu.get_cpu_capability()}"
