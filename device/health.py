"""How the board is: temperature, throttling, memory, and whether its clock can be believed.

Each value is None where this machine does not tell it; what is unknown is not a problem, and never a guess.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Self

import msgspec

import device
from device import memory
from device.errors import TenohiraError

log = logging.getLogger(__name__)

HOT_C = 80.0  # a Pi slows down from here on (progressively, and hard at 85)
LITTLE_MEMORY_MB = 60  # a screening peaks at 133 MB, most of which the service holds already
LATEST_YEAR = 2100
SETBACK_S = 86400.0  # the clock may lie so far before the software's files: time zones of careless copies
RTC_AGREES_S = 300.0
DEADLINE_S = 2.0  # for vcgencmd and timedatectl

DIGITS = re.compile(r"\d+")  # a problem with other numbers is the same problem

# Bits of the firmware's get_throttled; the same 16 bits higher say that it happened since the start.
FLAGS = {
    0: "the supply voltage is too low",
    1: "the processor's frequency is capped",
    2: "the processor is slowed down",
    3: "the soft temperature limit is reached",
}
SINCE_START = 16


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The board at one moment. ``throttled_*`` are words of FLAGS, empty where all is well.

    ``clock_plausible`` is False where the clock says a time that cannot be; ``clock_source`` says what stands
    behind it: ``network``, ``rtc`` (a clock chip with a battery), or empty where nothing does.
    """

    temperature_c: float | None = None
    throttled_now: tuple[str, ...] | None = None
    throttled_since_start: tuple[str, ...] | None = None
    clock_plausible: bool | None = None
    clock_source: str | None = None
    time: str = ""  # what the clock says, ISO 8601 in UTC
    not_before: str = ""  # what it must not lie before: the software's files, or the last record
    clock_doubted: str = ""  # the last time that could be believed, where the clock jumped since (device.clock)
    memory_free_mb: int | None = None  # that the service may still take


def read(last_record: str = "", root: Path = Path("/"), now: datetime | None = None) -> Health:
    """Look at the board. ``last_record`` is the time of the newest record (ISO 8601), which the clock cannot lie
    before; ``root`` and ``now`` are for tests. It may ask two commands of the system and wait DEADLINE_S for each:
    a service has ``Watch`` do that."""
    now = now or datetime.now(UTC)
    flags = _throttled(root)
    not_before = max([_software_time(), *_times(last_record)])
    return Health(
        temperature_c=_temperature(root),
        throttled_now=None if flags is None else _words(flags),
        throttled_since_start=None if flags is None else _words(flags >> SINCE_START),
        clock_plausible=not_before <= now and now.year < LATEST_YEAR,
        clock_source=_clock_source(root, now),
        time=now.isoformat(timespec="seconds"),
        not_before=not_before.isoformat(timespec="seconds"),
        memory_free_mb=None if (free := memory.free(root)) is None else free // memory.MB,
    )


def problems(health: Health) -> list[str]:
    """What the operator must know, each with the way out; empty where all is well."""
    areas = (clock_problems, power_problems, temperature_problems, memory_problems)
    return [problem for area in areas for problem in area(health)]


class Watch:
    """Looks at the board again and again in a thread of its own, and logs what goes wrong and when it is over.

    ``doubted`` is told what stands behind the clock, and gives the last time that could be believed, or nothing
    (``device.clock.Clock.look``). ``health`` is the newest look, at once. Use it as a context manager.
    """

    def __init__(
        self,
        doubted: Callable[[str | None], str] = lambda source: "",
        every_s: float = 30.0,
        root: Path = Path("/"),
    ) -> None:
        self._doubted, self._every_s, self._root = doubted, every_s, root
        self._end, self._lock = threading.Event(), threading.Lock()
        self._said: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="health", daemon=True)
        self.health = Health()
        self.health = self._read()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(3 * DEADLINE_S)

    def look(self) -> None:
        """One look; what the thread does all the time."""
        with self._lock:
            self.health = self._read()
            found = {DIGITS.sub("{}", p): p for p in problems(self.health)}
            for kind in found.keys() - self._said:
                log.warning("%s", found[kind])
            for kind in self._said.keys() - found:
                log.info("over: %s", self._said[kind])
            self._said = found

    def _read(self) -> Health:
        seen = read(root=self._root)
        try:
            doubted = self._doubted(seen.clock_source)
        except TenohiraError as error:  # the record cannot be written; the rest can be told all the same
            log.warning("the clock could not be judged: %s", error)
            doubted = self.health.clock_doubted
        return msgspec.structs.replace(seen, clock_doubted=doubted)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:  # the store may be closing; the watch goes on
                log.exception("the look at the board failed")
            if self._end.wait(self._every_s):
                return


def clock_problems(health: Health) -> list[str]:
    """A time that cannot be, or that nothing stands behind."""
    if health.clock_doubted:
        return [
            f"The clock jumped from {readable(health.clock_doubted)} to {readable(health.time)}: times in records "
            "may be wrong, and no old examination is removed meanwhile. Compare it with a watch: let an "
            "administrator set it right, or confirm it in the settings."
        ]
    if health.clock_plausible is False:
        return [
            f"The clock says {readable(health.time)}, which cannot be; "
            "connect the network for a minute, or let an administrator set the time before you go on."
        ]
    if health.clock_source == "":
        return [
            "Neither a network nor a clock chip stands behind the clock: times in records may be wrong; "
            f"compare {readable(health.time)} with a watch, or connect the network for a minute."
        ]
    return []


def power_problems(health: Health) -> list[str]:
    """Too low a voltage, now or since the start; a processor that is slowed down though it is not hot."""
    voltage = FLAGS[0]
    if voltage in (health.throttled_now or ()):
        return [
            "The supply voltage is too low: pictures and records are at risk; "
            "use the instrument's own power supply and a short cable, or charge the battery."
        ]
    found = []
    if voltage in (health.throttled_since_start or ()):
        found.append(
            "The supply voltage was too low at least once since the start; "
            "use the instrument's own power supply and a short cable, or charge the battery."
        )
    slow = [f for f in health.throttled_now or () if f != voltage]
    if slow and not _hot(health):
        found.append("The processor runs slower than it can; answers take longer: let the instrument cool down.")
    return found


def temperature_problems(health: Health) -> list[str]:
    """Too hot."""
    if not _hot(health):
        return []
    return [
        f"The instrument is hot ({health.temperature_c:.0f} °C) and slows down; "
        "keep its vents free, take it out of the sun, and let it cool down."
    ]


def memory_problems(health: Health) -> list[str]:
    """Too little memory for another examination."""
    if health.memory_free_mb is None or health.memory_free_mb >= LITTLE_MEMORY_MB:
        return []
    return [
        f"Little memory is free ({health.memory_free_mb} MB); finish this participant, then start the "
        "instrument anew."
    ]


def _hot(health: Health) -> bool:
    return health.temperature_c is not None and health.temperature_c >= HOT_C


def _temperature(root: Path) -> float | None:
    """The processor's thermal zone in °C; a machine with one zone of any name has that one."""
    zones = {}
    for folder in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        kind, value = _text(folder / "type"), _text(folder / "temp")
        if value and value.lstrip("-").isdecimal():
            zones[kind or folder.name] = int(value) / 1000
    named = [t for kind, t in zones.items() if any(word in kind for word in ("cpu", "soc", "x86_pkg"))]
    return max(named or zones.values(), default=None)


def _throttled(root: Path) -> int | None:
    """The firmware's flags, from the kernel's file where it is (any Pi), else asked by ``vcgencmd``."""
    for path in sorted(root.glob("sys/devices/platform/soc*/soc*:firmware/get_throttled")):
        if (value := _hexadecimal(_text(path))) is not None:
            return value
    return _hexadecimal(_said("vcgencmd", "get_throttled").removeprefix("throttled="))


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text, 16)
    except ValueError:
        return None


def _words(flags: int) -> tuple[str, ...]:
    return tuple(words for bit, words in FLAGS.items() if flags >> bit & 1)


def _software_time() -> datetime:
    """When this software's files were laid down, less SETBACK_S: the clock cannot lie before that."""
    laid = Path(device.__file__).stat().st_mtime - SETBACK_S
    return datetime.fromtimestamp(laid, UTC)


def _times(text: str) -> list[datetime]:
    """The time that a record holds, or none; one without an offset is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return []
    return [time if time.tzinfo else time.replace(tzinfo=UTC)]


def _clock_source(root: Path, now: datetime) -> str | None:
    """timesyncd touches a file when it has set the clock; other services are known to ``timedatectl``."""
    if _set_since_boot(root / "run/systemd/timesync/synchronized", now):
        return "network"
    said = _said("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if said == "yes":
        return "network"
    for clock in sorted(root.glob("sys/class/rtc/rtc*")):
        seconds = _text(clock / "since_epoch")
        if seconds.isdecimal() and abs(int(seconds) - now.timestamp()) <= RTC_AGREES_S:
            return "rtc"
    return "" if said == "no" else None


def _set_since_boot(file: Path, now: datetime) -> bool:
    """The file cannot be older than the machine's start, after which it was made, nor newer than now: a clock by
    which it is was moved since, by a hand."""
    try:
        age = now.timestamp() - file.stat().st_mtime
    except OSError:
        return False
    return -RTC_AGREES_S <= age <= clock_gettime(CLOCK_BOOTTIME) + RTC_AGREES_S


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _said(*command: str) -> str:
    """What a command of the system prints; empty where it is absent, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
            env=os.environ | {"LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def readable(time: str) -> str:
    """``2026-11-24 17:15 JST`` of an ISO time: what a watch on the wall says."""
    return datetime.fromisoformat(time).astimezone().strftime("%Y-%m-%d %H:%M %Z")
