"""How fast this machine is: fixed work of one thread, timed between a test's own measurements.

Milliseconds of a machine that others use say little: whoever is interrupted takes twice as long. So the quickest
twentieth of the times is taken, the least disturbed, and held against the quickest of the reference: of one
piece, where the time is so short that some of them are not interrupted at all, else of as much of the work in one
go, which is interrupted as often. The ratio says what the instrument's work costs on a machine of this kind. It
means something only where the target is this machine (``is_here``).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

UNIT = "times the reference"
BOOT = "/proc/sys/kernel/random/boot_id"
QUICKEST = 5  # per cent
RESAMPLED, DRAWN = 1000, 1000  # of the bootstrap: how often, and from how many at most
SHORT = 40  # pieces of the reference: what takes no longer is not always interrupted

_BYTES = bytes(range(256)) * 2048
_PLANE = np.linspace(0, 255, 256 * 512, dtype=np.float32).reshape(256, 512)


class Ratio(NamedTuple):
    """A ratio with its 95 % interval (bootstrap)."""

    value: float
    interval: tuple[float, float]


def work_ms() -> float:
    """Do the work; returns its milliseconds (some 1 on a server of 2023: less than a scheduler's slice). Hashes as
    the record does, passes over pixels, and a loop of Python: no BLAS, which would take more threads."""
    begun = time.perf_counter()
    hashlib.sha256(_BYTES).digest()
    plane = _PLANE
    for _ in range(6):
        plane = np.sqrt(plane * np.float32(0.5) + _PLANE)
    np.sort(plane[:32].ravel())
    sum(i & 3 for i in range(10_000))
    return (time.perf_counter() - begun) * 1e3


def burst(pieces: int) -> list[float]:
    """So much of the work without a pause; each piece's milliseconds."""
    return [work_ms() for _ in range(pieces)]


def is_here(machine: Any) -> bool:
    """Whether the target runs on this machine's own kernel. ``machine`` is its CommandProtocol."""
    return machine.run_check(f"cat {BOOT}")[0].strip() == Path(BOOT).read_text().strip()


def ratio(times_ms: Sequence[float], bursts: Sequence[Sequence[float]], short: int = SHORT) -> Ratio:
    """The quickest times by the quickest of the reference; all bursts have equal length. A process that never
    waits has worn the scheduler's patience out, and nothing in it is ``short``."""
    quickest = float(np.percentile(times_ms, QUICKEST))
    pieces = np.asarray(bursts)
    length = min(round(quickest / float(np.percentile(pieces, QUICKEST))), pieces.shape[1])
    length = 1 if length <= short else max(1, length)
    whole = pieces[:, : pieces.shape[1] // length * length].reshape(len(pieces), -1, length)
    stretches = whole.mean(axis=2).ravel()
    value = quickest / float(np.percentile(stretches, QUICKEST))
    low, high = np.percentile(_resampled(np.asarray(times_ms)) / _resampled(stretches), (2.5, 97.5))
    return Ratio(value, (float(low), float(high)))


def _resampled(samples: np.ndarray) -> np.ndarray:
    """The quickest of the bootstrap's samples. Its seed is fixed: the same times give the same interval."""
    some = samples[:: max(1, len(samples) // DRAWN)]
    drawn = np.random.default_rng(len(some)).choice(some, (RESAMPLED, len(some)))
    return np.percentile(drawn, QUICKEST, axis=1)
