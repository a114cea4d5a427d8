"""The target's clock, moved as a hand, a flat battery or a wrong time server moves it."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory

from hil_tests.drivers.protocols import ClockProtocol, InstrumentError

SOURCE = Path(__file__).with_name("clock.c")


@target_factory.reg_driver
@attr.s(eq=False)
class LocalClockDriver(Driver, ClockProtocol):
    """The clock of this machine's instrument alone: a small library between it and the C library (clock.c)."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._folder: Path | None = None

    def on_activate(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tenohira-hil-clock-"))
        self._write(0)
        if not self.missing():
            command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise InstrumentError(f"clock.c could not be compiled:\n{done.stderr}")

    def on_deactivate(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _library(self) -> Path:
        return self._folder / "clock.so"

    @property
    def _ahead(self) -> Path:
        return self._folder / "ahead"

    def missing(self) -> str:
        return "" if shutil.which("cc") else "there is no C compiler here, for the library that moves the clock"

    @Driver.check_active
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "TENOHIRA_HIL_CLOCK": str(self._ahead)}

    @Driver.check_active
    def jump(self, seconds: int) -> None:
        self._write(struct.unpack("q", self._ahead.read_bytes())[0] + seconds)

    @Driver.check_active
    def reset(self) -> None:
        self._write(0)

    def _write(self, ahead: int) -> None:
        """In place: the instrument has the file mapped."""
        with self._ahead.open("r+b" if self._ahead.exists() else "wb") as file:
            file.write(struct.pack("q", ahead))


@target_factory.reg_driver
@attr.s(eq=False)
class SystemdClockDriver(Driver, ClockProtocol):
    """The clock of a whole machine. Its time service rests from the first jump to ``reset``."""

    bindings = {"instrument": "SystemdInstrumentDriver"}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._before: tuple[float, float] | None = None  # the clock, and the seconds since the start

    def missing(self) -> str:
        return ""

    def environment(self) -> dict[str, str]:
        return {}

    @Driver.check_active
    def jump(self, seconds: int) -> None:
        if self._before is None:
            self.instrument.root("timedatectl set-ntp false || true")
            self._before = self.instrument.clock(), self.instrument.seconds_since_boot()
        self.instrument.set_clock(self.instrument.clock() + seconds)

    @Driver.check_active
    def reset(self) -> None:
        if self._before is None:
            return
        clock, running = self._before
        gone = self.instrument.seconds_since_boot() - running
        if gone < 0:
            raise InstrumentError("the machine was started anew while its clock was wrong; set it by hand")
        self.instrument.set_clock(clock + gone)
        self.instrument.root("timedatectl set-ntp true || true")
        self._before = None
