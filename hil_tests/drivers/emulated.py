"""The aarch64 rung: this checkout's tenohira in the arm64 root, each of its programs run by qemu-user.

What it computes is what a board computes. Its times and its memory are the emulator's, and say nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.protocol import FileTransferProtocol

from hil_tests import faults
from hil_tests.drivers.commands import Commands
from hil_tests.drivers.protocols import Completed, InstrumentError, InstrumentProtocol, Memory
from hil_tests.errors import HilError
from hil_tests.images import binfmt, chroot, package, root

PLACE = "/opt"  # where tenohira lies in the root
START = """#!/bin/sh
export PYTHONPATH=%(place)s/faults:%(place)s %(switch)s='%(fault)s'
exec python3 -m device.cli "$@"
"""
SLOWER = 5  # than the machine that emulates; a timeout is meant for a board


@target_factory.reg_driver
@attr.s(eq=False)
class EmulatedCommandDriver(Commands, FileTransferProtocol):
    """Commands in the arm64 root, as root. What they write is gone when the driver is deactivated."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._open = contextlib.ExitStack()
        self._entered: chroot.Entered | None = None
        self.package = Path()  # of tenohira, as a folder of this machine; the root has it at PLACE

    def on_activate(self) -> None:
        if why := root.missing():
            raise HilError(f"this machine cannot run programs of aarch64: {why}")
        base = root.build()
        self._open.enter_context(binfmt.registered())
        self.package = Path(self._open.enter_context(tempfile.TemporaryDirectory()))
        self._entered = self._open.enter_context(chroot.entered(base, [(self.package, PLACE, "rw")]))

    def on_deactivate(self) -> None:
        self._open.close()

    def completed(self, arguments: list[str], timeout: float | None) -> Completed:
        done = subprocess.run(
            self._entered.command(arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=timeout and timeout * SLOWER,
        )  # fmt: skip
        return Completed(done.returncode, done.stdout, done.stderr)

    @Driver.check_active
    def put(self, filename: str, remotepath: str) -> None:
        shutil.copy(filename, self._entered.path(remotepath))

    @Driver.check_active
    def get(self, filename: str, destination: str) -> None:
        shutil.copy(self._entered.path(filename), destination)


@target_factory.reg_driver
@attr.s(eq=False)
class EmulatedInstrumentDriver(Driver, InstrumentProtocol):
    """tenohira's command line. A service is not started here: the virtual Pi does that as a board does."""

    bindings = {"command": "EmulatedCommandDriver"}
    url, here, store = "", "127.0.0.1", "/var/lib/tenohira/record"

    @Driver.check_active
    def install(self) -> None:
        folder = self.command.package
        if any(folder.iterdir()):
            return
        package.unpack(folder)
        shutil.copytree(faults.FOLDER, folder / "faults", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "bin").mkdir()
        self.configure()
        # Times of files are not kept on the way into the counting machine, so they are not asked for.
        compiled = "python3 -m compileall -q --invalidation-mode unchecked-hash"
        self.command.run_check(f"{compiled} {PLACE}/device && ln -s {PLACE}/bin/tenohira /usr/local/bin/")

    @Driver.check_active
    def configure(self, *, fault=None, **settings) -> None:
        """A fault is the only thing that can be set here, where no service runs."""
        start = self.command.package / "bin" / "tenohira"
        start.write_text(START % {"place": PLACE, "switch": faults.SWITCH, "fault": fault or ""})
        start.chmod(0o755)

    def start(self, deadline: float = 120.0, *, wait: bool = True) -> float:
        raise InstrumentError("this rig starts no service")

    def stop(self) -> None:
        """There is nothing to stop."""

    def kill(self, signal: str = "KILL", whom: str = "service") -> None:
        raise InstrumentError("this rig starts no service")

    def pid(self, whom: str = "service") -> int | None:
        return None

    def memory(self, whom: str = "service") -> Memory:
        raise InstrumentError("memory of an emulated process is the emulator's")

    def killed_for_memory(self) -> int:
        raise InstrumentError("this rig starts no service")

    def journal(self) -> str:
        return ""

    @Driver.check_active
    def tenohira(self, *arguments: str, timeout: float = 120.0) -> Completed:
        return self.command.completed(["tenohira", *arguments], timeout)
