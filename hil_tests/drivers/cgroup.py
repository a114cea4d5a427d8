"""A memory limit: a control group of its own (version 1 or 2), in which a command is started on this machine."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MB = 2**20
LEAVING = 5.0  # seconds that processes may take to be gone after their end
_numbers = itertools.count()


class MemoryGroup:
    """A group that holds at most ``limit_mb``; no swap. A context manager, which removes it: end what runs in it
    before. OSError where this machine does not let us: ask ``missing`` first."""

    def __init__(self, limit_mb: int) -> None:
        self.limit_mb = limit_mb
        self._version = 1 if (ROOT / "memory" / "memory.limit_in_bytes").exists() else 2
        top = ROOT / "memory" if self._version == 1 else ROOT
        self.folder = top / f"tenohira-{os.getpid()}-{next(_numbers)}"

    @staticmethod
    def missing() -> str:
        """Why there are no memory limits here; empty where there are."""
        if os.geteuid() != 0:
            return "only root may make a memory control group"
        try:
            with MemoryGroup(64):
                return ""
        except OSError as error:
            return f"this machine has no memory control groups to make ({error.strerror})"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What a command is put behind to run in the group, and everything that it starts."""
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    @property
    def killed(self) -> int:
        """How many processes the kernel has ended in it because its memory was used up."""
        said = self._read("memory.oom_control" if self._version == 1 else "memory.events")
        return next((int(line.split()[1]) for line in said.splitlines() if line.startswith("oom_kill ")), 0)

    @property
    def peak_mb(self) -> float:
        """The most that was held at any time, copies of files included."""
        return int(self._read("memory.max_usage_in_bytes" if self._version == 1 else "memory.peak")) / MB

    def __enter__(self) -> MemoryGroup:
        self.folder.mkdir()
        try:
            if self._version == 1:
                self._write("memory.limit_in_bytes", self.limit_mb * MB)
                with contextlib.suppress(FileNotFoundError):  # where the kernel does not count swap
                    self._write("memory.memsw.limit_in_bytes", self.limit_mb * MB)
            else:
                self._write("memory.max", self.limit_mb * MB)
                with contextlib.suppress(FileNotFoundError):
                    self._write("memory.swap.max", 0)
        except OSError:
            self.folder.rmdir()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end = time.monotonic() + LEAVING
        while True:
            try:
                return self.folder.rmdir()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def _write(self, name: str, value: int) -> None:
        (self.folder / name).write_text(str(value))
