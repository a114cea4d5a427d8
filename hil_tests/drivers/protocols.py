"""What the tests may ask of a target, besides labgrid's own protocols (command, file transfer, power)."""

from __future__ import annotations

import abc
import urllib.error
import urllib.request
from typing import Any, NamedTuple


class Completed(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class Memory(NamedTuple):
    """What a process holds at one moment. ``private_kb`` is anonymous memory that it shares with nobody."""

    rss_kb: int
    pss_kb: int
    private_kb: int
    peak_kb: int
    files: int
    threads: int


class InstrumentError(Exception):
    """The instrument on the target did not do as it was told; the text has its output and journal."""


class InstrumentProtocol(abc.ABC):
    """``tenohira serve`` on a target."""

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """Where the pages are, as seen from this machine: http://127.0.0.1:PORT."""

    @property
    def here(self) -> str:
        """This machine's address, as the target has it."""
        return "127.0.0.1"

    @property
    @abc.abstractmethod
    def store(self) -> str:
        """The record's folder, on the target."""

    @abc.abstractmethod
    def install(self) -> None:
        """Put this checkout's tenohira on the target. Doing it again changes nothing."""

    @abc.abstractmethod
    def configure(
        self,
        *,
        camera: str | None = None,
        store: str | None = None,
        bundles: str | None = None,
        environment: dict[str, str] | None = None,
        memory_mb: int | None = None,
        fault: str | None = None,
    ) -> None:
        """What the next start takes; whatever is not given is the rig's own. ``memory_mb``: so much for the
        service and all that it starts, without swap. ``fault`` is one of ``hil_tests.faults``."""

    @abc.abstractmethod
    def start(self, deadline: float = 120.0, *, wait: bool = True) -> float:
        """Start the service; with ``wait``, until it says that it is ready. Returns the seconds that it took.

        Raises InstrumentError with the journal where it ends by itself, or is not ready in ``deadline`` seconds.
        """

    def ready(self, patience: float = 5.0) -> bool:
        """Whether the instrument answers within so many seconds."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/status", timeout=patience) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop the service in order, and forget it if it is not running."""

    @abc.abstractmethod
    def kill(self, signal: str = "KILL", whom: str = "service") -> None:
        """Send a signal to the service, or to its camera's process (``whom="camera"``)."""

    @abc.abstractmethod
    def pid(self, whom: str = "service") -> int | None:
        """The process on the target; None where there is none."""

    @abc.abstractmethod
    def memory(self, whom: str = "service") -> Memory:
        """What the service's, or its camera's, process holds."""

    def no_memory_limit(self) -> str:
        """Why ``memory_mb`` cannot be had here; empty where it can."""
        return ""

    @abc.abstractmethod
    def killed_for_memory(self) -> int:
        """How many of its processes the kernel has ended since the last start, for want of memory."""

    @abc.abstractmethod
    def journal(self) -> str:
        """What the service wrote since the run began."""

    @abc.abstractmethod
    def tenohira(self, *arguments: str, timeout: float = 120.0) -> Completed:
        """The command line on the target, as the service's user."""


class ClockProtocol(abc.ABC):
    """The clock that the instrument goes by."""

    @abc.abstractmethod
    def missing(self) -> str:
        """Why this clock cannot be moved; empty where it can."""

    @abc.abstractmethod
    def environment(self) -> dict[str, str]:
        """What the instrument is to be started with, so that it goes by this clock."""

    @abc.abstractmethod
    def jump(self, seconds: int) -> None:
        """Set it so much ahead; back, where it is negative. Time that runs on steadily stays as it is."""

    @abc.abstractmethod
    def reset(self) -> None:
        """Set it right again."""


class DiskProtocol(abc.ABC):
    """A disk for the record, and what can go wrong with it. There is none until ``renew``."""

    @property
    @abc.abstractmethod
    def folder(self) -> str:
        """Where it is mounted, on the target."""

    @abc.abstractmethod
    def missing(self) -> str:
        """Why this target cannot do such things to a disk; empty where it can."""

    @abc.abstractmethod
    def renew(self) -> None:
        """An empty disk, mounted, in the place of the one before."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Whoever uses it must be stopped before."""

    @abc.abstractmethod
    def fill(self, leave_mb: int = 0) -> None:
        """Until so much is left."""

    @abc.abstractmethod
    def free(self) -> None:
        """Take away what ``fill`` has put there."""

    @abc.abstractmethod
    def turn_read_only(self) -> None:
        """As a card does that is worn out, while files are open; ``repair`` ends it."""

    @abc.abstractmethod
    def mount(self, *, read_only: bool) -> None:
        """Mount it again, so or so, while nobody writes to it."""

    @abc.abstractmethod
    def slow(self, bytes_per_second: int) -> None:
        """So slow; 0 takes it away."""

    @abc.abstractmethod
    def failing(self, yes: bool) -> None:
        """Each write ends with an error of the device."""

    @abc.abstractmethod
    def repair(self) -> None:
        """What a boot does: check, and mount anew. Whoever uses the disk must be stopped before."""


class CounterProtocol(abc.ABC):
    """A machine on which a nanosecond is an instruction."""

    @abc.abstractmethod
    def count(self, photograph: bytes) -> dict[str, dict[str, Any]]:
        """What screening this photograph (PNG) and starting the service cost on each core, by the core's name:
        the answer of ``drivers/counted.py``. Raises InstrumentError with the machine's console."""
