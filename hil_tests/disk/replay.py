"""What a power cut leaves on a disk, out of its log of writes and flushes.

The log has the format of Linux' dm-log-writes, as QEMU's blklogwrites writes it: a sector with the super block,
then for each request a sector (first sector, number of them, flags, length: 64 bits each, little-endian) and data.
(https://docs.kernel.org/admin-guide/device-mapper/log-writes.html)

A disk keeps what it had acknowledged before the last flush that it answered, and what came with FUA. Of all later
writes it may have put down any, in any order, each whole or a part of its sectors: a seeded draw decides. A write
over the same place as an earlier one that it also put down comes after it.
"""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import NamedTuple

MAGIC, VERSION = 0x6A736677736872, 1
SUPER, HEADER = struct.Struct("<QQQI"), struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
ATOMS = (512, 4096)  # bytes that a disk writes whole: old cards, and those of today
KEPT = (0.0, 0.25, 0.5, 0.75, 1.0)  # share of the unflushed writes that are put down; drawn for each cut
TORN = 0.25  # share of those that are put down in part only


class LogError(RuntimeError):
    """A file is no log of writes."""


class Entry(NamedTuple):
    """A request that the disk has answered. ``offset`` and ``length`` in bytes, on the disk; ``at`` is where its
    data stand in the log, ``end`` where the next entry begins."""

    offset: int
    length: int
    flags: int
    at: int
    end: int


class Left(NamedTuple):
    """What became of the writes since the last flush. ``atom``: bytes that the disk writes whole."""

    atom: int
    whole: int
    torn: int
    lost: int


class WriteLog:
    """A log as it is now. What is not whole at its end (it is being written) is left out."""

    def __init__(self, path: Path) -> None:
        """Raises LogError for what is none, OSError."""
        with open(path, "rb") as file:
            try:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise LogError(f"{path} is empty; nothing was written to its disk") from error
        magic, version, _, sector = SUPER.unpack_from(self._bytes)
        if (magic, version) != (MAGIC, VERSION) or sector < 512:
            raise LogError(f"{path} is no log of writes (dm-log-writes, version 1)")
        self.entries = list(self._read(sector))
        self._ends = [entry.end for entry in self.entries]

    def _read(self, sector: int) -> Iterator[Entry]:
        # Not as many as the super block says: it is written at flushes only.
        at = sector
        while at + sector <= len(self._bytes):
            first, count, flags, length = HEADER.unpack_from(self._bytes, at)
            # A mark's data are its text; those of a discard are not in the log.
            stored = length if flags & MARK else 0 if flags & DISCARD else count * sector
            end = at + sector + -(-stored // sector) * sector
            if (first, count, flags) == (0, 0, 0) or end > len(self._bytes):
                return
            if not flags & MARK:
                yield Entry(first * sector, count * sector, flags, at + sector, end)
            at = end

    def count_at(self, position: int) -> int:
        """How many entries were in the log when it was so long (bytes)."""
        return bisect_right(self._ends, position)

    def data(self, entry: Entry) -> bytes:
        """What was written. A discard leaves zeros here; a disk may leave anything."""
        if entry.flags & DISCARD:
            return bytes(entry.length)
        return self._bytes[entry.at : entry.at + entry.length]

    def flushed(self, cut: int) -> int:
        """How many of the first ``cut`` entries are safe by a flush."""
        return next((i for i in range(cut - 1, -1, -1) if self.entries[i].flags & FLUSH), 0)


class Replay:
    """Disks after cuts. Each goes on from the one before, so ask for them in ascending order."""

    def __init__(self, log: WriteLog, pristine: Path, folder: Path) -> None:
        """``pristine`` is the image before the first entry; ``folder`` is for one more image."""
        self._log, self._pristine, self._safe = log, pristine, folder / "safe.img"
        self._at = 0
        copy(pristine, self._safe)

    def build(self, cut: int, image: Path, rng: Random) -> Left:
        """Write the disk that is left when the power goes after ``cut`` entries."""
        flushed = self._log.flushed(cut)
        if flushed < self._at:
            copy(self._pristine, self._safe)
            self._at = 0
        with open(self._safe, "r+b") as file:
            for entry in self._log.entries[self._at : flushed]:
                os.pwrite(file.fileno(), self._log.data(entry), entry.offset)
        self._at = flushed
        copy(self._safe, image)
        with open(image, "r+b") as file:
            return self._put_down(file.fileno(), self._log.entries[flushed:cut], rng)

    def _put_down(self, file: int, entries: list[Entry], rng: Random) -> Left:
        atom, share = rng.choice(ATOMS), rng.choice(KEPT)
        whole = torn = lost = 0
        for entry in (e for e in entries if e.length):
            data = self._log.data(entry)
            if entry.flags & FUA:
                os.pwrite(file, data, entry.offset)
                whole += 1
            elif rng.random() >= share:
                lost += 1
            elif rng.random() >= TORN:
                os.pwrite(file, data, entry.offset)
                whole += 1
            else:
                for start, end in _atoms(entry, atom):
                    if rng.random() < 0.5:
                        os.pwrite(file, data[start:end], entry.offset + start)
                torn += 1
        return Left(atom, whole, torn, lost)


def _atoms(entry: Entry, atom: int) -> list[tuple[int, int]]:
    """Where the parts of a write begin and end in its data: at multiples of ``atom`` on the disk."""
    first = entry.offset // atom * atom
    edges = range(first, entry.offset + entry.length + atom, atom)
    inside = [min(max(edge - entry.offset, 0), entry.length) for edge in edges]
    return [(a, b) for a, b in pairwise(inside) if a < b]


def copy(source: Path, to: Path) -> None:
    """Copy a sparse file, into a new one."""
    to.unlink(missing_ok=True)
    subprocess.run(["cp", "--sparse=auto", "--reflink=auto", source, to], check=True, stdin=subprocess.DEVNULL)
