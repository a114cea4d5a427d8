"""What a process holds, read from /proc by plain shell commands: the same words on every target."""

from __future__ import annotations

import re
from collections.abc import Callable

from hil_tests.drivers.protocols import Memory

CAMERA = "device.camera.child"


def memory_command(pid: int) -> str:
    """A shell command whose output ``memory_of`` reads."""
    return (
        f"cat /proc/{pid}/smaps_rollup; grep VmHWM /proc/{pid}/status; "
        f"echo files $(ls /proc/{pid}/fd | wc -l); echo threads $(ls /proc/{pid}/task | wc -l)"
    )


def memory_of(output: str) -> Memory:
    """Raises ValueError where a figure is not there."""

    def kb(name: str) -> int:
        found = re.search(rf"^{name}:?\s+(\d+)", output, re.MULTILINE)
        if found is None:
            raise ValueError(f"no {name} in:\n{output}")
        return int(found[1])

    private = kb("Private_Dirty") + kb("Private_Clean")
    return Memory(kb("Rss"), kb("Pss"), private, kb("VmHWM"), kb("files"), kb("threads"))


def camera_of(service: int, run: Callable[[str], str]) -> int | None:
    """The process of the service's camera: a child of it whose command line says so."""
    children = run(f"cat /proc/{service}/task/*/children 2>/dev/null || true").split()
    for child in children:
        if CAMERA in run(f"tr '\\0' ' ' </proc/{child}/cmdline 2>/dev/null || true"):
            return int(child)
    return None
