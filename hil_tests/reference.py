"""How fast this machine is: fixed work of one thread, timed between a test's own measurements.

Milliseconds of a machine that others use say little: whoever is interrupted takes twice as long. What neither the
work nor the reference can escape from is the time that they take undisturbed. So each is taken at its quickest
twentieth, and their ratio says what the instrument's work costs on a machine of this kind. It means something only
where the target is this machine (``is_here``).
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
RESAMPLED = 1000  # of the bootstrap

_BYTES = bytes(range(256)) * 2048
_PLANE = np.linspace(0, 255, 256 * 512, dtype=np.float32).reshape(256, 512)


class Ratio(NamedTuple):
    """A ratio with its 95 % interval (bootstrap)."""

    value: float
    interval: tuple[float, float]


def work_ms() -> float:
    """Do the work; returns its milliseconds (some 2 on a server of 2023: less than a scheduler's slice). Hashes as
    the record does, passes over pixels, and a loop of Python: no BLAS, which would take more threads."""
    begun = time.perf_counter()
    hashlib.sha256(_BYTES).digest()
    plane = _PLANE
    for _ in range(6):
        plane = np.sqrt(plane * np.float32(0.5) + _PLANE)
    np.sort(plane[:32].ravel())
    sum(i & 3 for i in range(10_000))
    return (time.perf_counter() - begun) * 1e3


def is_here(machine: Any) -> bool:
    """Whether the target runs on this machine's own kernel. ``machine`` is its CommandProtocol."""
    return machine.run_check(f"cat {BOOT}")[0].strip() == Path(BOOT).read_text().strip()


def ratio(times_ms: Sequence[float], references_ms: Sequence[float]) -> Ratio:
    """The quickest times by the quickest references."""
    rng = np.random.default_rng(0)

    def quickest(samples: Sequence[float], resampled: int) -> np.ndarray:
        drawn = rng.choice(np.asarray(samples), (resampled, len(samples)))
        return np.percentile(drawn, QUICKEST, axis=1)

    value = float(np.percentile(times_ms, QUICKEST) / np.percentile(references_ms, QUICKEST))
    spread = quickest(times_ms, RESAMPLED) / quickest(references_ms, RESAMPLED)
    low, high = np.percentile(spread, (2.5, 97.5))
    return Ratio(value, (float(low), float(high)))
