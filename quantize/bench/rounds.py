"""The measuring itself: every candidate has a turn in each round, in an order drawn anew.

The machine's clock and temperature change over seconds and minutes: they meet all candidates of a round alike, and
ratios within rounds hold where milliseconds do not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from quantize.bench import worker
from quantize.bench.candidates import Candidate
from quantize.errors import BenchError

TURN_MS = 60.0  # a turn repeats short runs until about so much time is spent ...
MOST_RUNS = 25  # ... or so many runs
WARM_UP_MS = 200.0  # before the first round, at least two runs
SETTLE_S = 0.01  # pause before a turn: the threads of the candidate before may still be spinning
PATIENCE_S = 300.0  # for one answer


@dataclass
class Samples:
    """What was measured of one candidate: milliseconds by round and run, what its process told last, and the
    milliseconds of each cold start."""

    turns: list[list[float]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    starts: list[float] = field(default_factory=list)


class Worker:
    """A candidate in a process that lives as long as the benchmark."""

    def __init__(self, candidate: Candidate) -> None:
        self.candidate, self.runs, self._rest = candidate, 1, False
        spec = json.dumps({"kind": candidate.kind, "options": candidate.options})
        ours = [sys.executable, "-m", worker.__name__]
        # -I: beside worker.py lies a statistics.py that is not the standard library's
        start = ours if candidate.python is None else [candidate.python, "-I", worker.__file__]
        self._began = time.perf_counter()
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # __exit__ closes it
        self._process = subprocess.Popen(
            [*start, spec],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def load(self) -> float:
        """Wait until it is loaded and has run once: the milliseconds since its process was started. Raises
        BenchError where it fails."""
        self._answer()
        self._ask(1)
        return (time.perf_counter() - self._began) * 1e3

    def warm_up(self) -> None:
        """Run until caches and clocks have settled, and learn how long a run takes."""
        spent: list[float] = []
        while len(spent) < 2 or sum(spent) < WARM_UP_MS:
            spent += self._ask(1)["ms"]
        self.runs = int(np.clip(TURN_MS / np.median(spent), 1, MOST_RUNS))
        self._rest = self.runs > 1  # a long run needs no run before it to fill the caches

    def turn(self) -> dict[str, Any]:
        """One turn: an untimed run where runs are short, then the timed ones. Raises BenchError."""
        time.sleep(SETTLE_S)
        if self._rest:
            self._ask(1)
        return self._ask(self.runs)

    def _ask(self, runs: int) -> dict[str, Any]:
        assert self._process.stdin is not None  # it was asked for
        with suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(f"{runs}\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        watchdog = threading.Timer(PATIENCE_S, self._process.kill)
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            self._said.seek(0)
            raise _stopped(self.candidate, self._said.read())
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(
    candidates: Sequence[Candidate],
    rounds: int,
    seed: int,
    starts: int = 1,
    watch: Callable[[Iterable[int]], Iterable[int]] = lambda numbers: numbers,
) -> tuple[dict[str, Samples], list[list[str]]]:
    """Samples by candidate's key, and the order of each round, which the seed decides. Each is started ``starts``
    times, alone; its last process stays. ``watch`` may show the rounds as they pass. Raises BenchError where a
    candidate stops."""
    samples = {c.key: Samples() for c in candidates}
    orders: list[list[str]] = []
    with ExitStack() as stack:
        for _ in range(starts - 1):
            for c in candidates:
                with Worker(c) as process:
                    samples[c.key].starts.append(process.load())
        processes = {}
        for c in candidates:
            processes[c.key] = stack.enter_context(Worker(c))
            samples[c.key].starts.append(processes[c.key].load())
        for process in processes.values():
            process.warm_up()
        for number in watch(range(rounds)):
            order = schedule(candidates, number, seed)
            orders.append(order)
            for key in order:
                told = processes[key].turn()
                samples[key].turns.append(told.pop("ms"))
                samples[key].told = told
            for absent in samples.keys() - set(order):
                samples[absent].turns.append([])
    return samples, orders


def schedule(candidates: Sequence[Candidate], number: int, seed: int) -> list[str]:
    """The keys of round ``number``'s candidates, shuffled by the seed."""
    present = [c.key for c in candidates if number % c.every == 0]
    np.random.default_rng((seed, number)).shuffle(present)
    return present


def _stopped(candidate: Candidate, said: str) -> BenchError:
    last = (said.strip().splitlines() or ["it said nothing; perhaps the memory was full"])[-1]
    return BenchError(
        f"the candidate {candidate.key} stopped ({last}); repair what it says, or measure with fewer --threads"
    )
