"""The machine that a benchmark ran on."""

from __future__ import annotations

import os
import platform
import re
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from quantize.bench.report import Machine

STAT = Path("/proc/stat")
CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe() -> Machine:
    """This machine, now. What cannot be read is 'unknown' or None."""
    return Machine(
        processor=_processor(),
        architecture=platform.machine(),
        cores=cores(),
        governor=_text(GOVERNOR).strip() or None,
        load=os.getloadavg()[0],
        others=_others(),
        python=platform.python_version(),
        runtime=_runtime(),
    )


def _processor() -> str:
    """x86 calls it "model name"; a Raspberry Pi has only the board's "Model"."""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", _text(CPUINFO), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def _others(seconds: float = 1.0) -> float | None:
    """The share of the cores' time that is used while this process sleeps."""
    counts = []
    for pause in (seconds, 0):
        fields = [int(n) for n in _text(STAT).partition("\n")[0].split()[1:9]]  # user nice system idle iowait ...
        if len(fields) < 5:
            return None
        counts.append((sum(fields), fields[3] + fields[4]))
        time.sleep(pause)
    passed, idle = (after - before for before, after in zip(*counts))
    return 1 - idle / passed if passed else None


def _runtime() -> str:
    for name in ("ai-edge-litert", "tflite-runtime"):  # the order in which device.runtime looks for them
        with suppress(metadata.PackageNotFoundError):
            return f"{name} {metadata.version(name)}"
    return "unknown"


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
