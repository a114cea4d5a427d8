"""How much memory there is, and whether it is enough for what is about to begin.

Where memory runs out, the kernel kills the largest process wherever it is. So whatever takes much of it asks
first, and is refused in words. What each takes was measured: the most that was held meanwhile, less what was held
before (docs/service.md).
"""

from __future__ import annotations

import ctypes
import gc
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from device.errors import MemoryLowError

MB = 2**20

START = 195 * MB  # service and camera together, ready, and with the smallest photograph
CAPTURE, CAPTURE_PIXEL = 48 * MB, 12  # bytes, and bytes for each pixel of a still
BURST_PIXEL = 32  # where each still is screened while the next is taken ...
BURST_REDUCED_PIXEL = 16  # ... and is so large that it is decoded at half of its size or less
REPORT, REPORT_PIXEL = 85 * MB, 9
DICOM, DICOM_PIXEL = 185 * MB, 13

# A limit, what is held, and in memory.stat the share of it that is a copy of files and can be dropped at once.
VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
VERSION_2 = "memory.max", "memory.current", "inactive_file"

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # <malloc.h>
LARGE, SPARE = 1_000_000, 8_000_000  # bytes

_libc = ctypes.CDLL(None)
_glibc = _libc if hasattr(_libc, "malloc_trim") else None
_lock = threading.Lock()
_under_way: list[int] = []  # bytes that steps of this process were granted


def free(root: Path = Path("/")) -> int | None:
    """Bytes that this process and its children may still take: what the machine has, or the control group that
    they live in, or one above it. None where nothing tells. ``root`` is for tests."""
    return min([*_of_machine(root), *_of_groups(root)], default=None)


def spare() -> int | None:
    """Of those the bytes that nobody was granted yet."""
    there = free()
    return None if there is None else max(0, there - sum(_under_way))


def keep_little() -> None:
    """To be called at the start. Large blocks are returned to the system when they are done with, as pictures are:
    glibc learns to keep them otherwise, and a report's process needs the room. Of small ones some megabytes are
    kept: fetching them again for each photograph makes a screening a quarter slower. And all threads share one
    arena: with one each, memory that is free in one is missing in another, and what is held wanders by megabytes
    (mallopt(3)). Other C libraries are left as they are."""
    if _glibc is not None:
        _glibc.mallopt(M_MMAP_THRESHOLD, LARGE)
        _glibc.mallopt(M_TRIM_THRESHOLD, SPARE)
        _glibc.mallopt(M_ARENA_MAX, 1)


def give_back() -> None:
    """After much work: Python's lists of spare objects are emptied, which would grow for thousands of captures,
    and glibc returns the free pages between what is in use (malloc_trim(3)). Takes some milliseconds."""
    gc.collect()
    trim()


def trim() -> None:
    """The second half of it, which takes no time to speak of: before what takes much memory."""
    if _glibc is not None:
        _glibc.malloc_trim(0)


def need_for_start(root: Path = Path("/")) -> None:
    """Raises MemoryLowError where an instrument would not fit in."""
    there = free(root)
    if there is None:
        return
    there += _held(root)
    if there < START:
        raise MemoryLowError(
            f"{there // MB} MB of memory are there, and the instrument needs {START // MB}: end other programs, "
            "raise the memory limit of the service, or use a board with more"
        )


@contextmanager
def granted(need: int, what: str) -> Iterator[None]:
    """Do something that takes ``need`` bytes at its highest. Raises MemoryLowError where they are not free; what
    others were granted and do now counts as taken."""
    with _lock:
        left = spare()
        if left is not None and left < need:
            raise MemoryLowError(
                f"only {left // MB} MB of memory are free, and {what} takes {need // MB}, so it was not begun: "
                "wait until other work is done, or restart the instrument; if it stays so, give it more memory"
            )
        _under_way.append(need)
    try:
        yield
    finally:
        with _lock:
            _under_way.remove(need)


def of_capture(size: tuple[int, int]) -> int:
    """Bytes that a press of the shutter takes, by the width and height of a still: one still after the other."""
    return CAPTURE + CAPTURE_PIXEL * size[0] * size[1]


def of_burst(size: tuple[int, int], reduced: bool) -> int:
    """The same where each still is screened while the next is taken; ``reduced``, where it is decoded smaller."""
    return CAPTURE + (BURST_REDUCED_PIXEL if reduced else BURST_PIXEL) * size[0] * size[1]


def of_report(pixels: int) -> int:
    """Bytes that a report takes, by the pixels of the largest photograph in it."""
    return REPORT + REPORT_PIXEL * pixels


def of_dicom(pixels: int) -> int:
    """The same of DICOM objects, to be downloaded or to be sent."""
    return DICOM + DICOM_PIXEL * pixels


def _of_machine(root: Path) -> Iterator[int]:
    if (found := _number(r"^MemAvailable:\s+(\d+) kB", root / "proc/meminfo")) is not None:
        yield found * 1024


def _held(root: Path) -> int:
    """Bytes of this process."""
    return (_number(r"^VmRSS:\s+(\d+) kB", root / "proc/self/status") or 0) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """What is free in this process's control group and in each above it. A container may show only its own, as if
    it were the top."""
    tops: tuple[str, ...]
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            names, tops = VERSION_2, ("sys/fs/cgroup", "sys/fs/cgroup/unified")
        elif "memory" in controllers.split(","):
            names, tops = VERSION_1, ("sys/fs/cgroup/memory",)
        else:
            continue
        for top in tops:
            below = Path(path.strip("/"))
            for group in (below, *below.parents):
                yield from _of_group(root / top / group, names)


def _of_group(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used, cache = names
    most, now = _text(folder / limit), _text(folder / used)
    if most.isdecimal() and now.isdecimal():  # "max", or no file, where there is no limit
        spare = _number(rf"^{cache} (\d+)$", folder / "memory.stat") or 0
        yield max(0, int(most) - int(now) + spare)


def _number(pattern: str, file: Path) -> int | None:
    found = re.search(pattern, _text(file), re.MULTILINE)
    return None if found is None else int(found[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
