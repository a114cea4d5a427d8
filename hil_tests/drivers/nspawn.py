"""The rung between a process and a board: Debian booted by systemd-nspawn on this machine, with SSH and the
service as ``tenohira deploy`` installs it, at this machine's own speed.

The machine is that of ``hil_tests/deploy``: ``sh hil_tests/deploy/build_root.sh`` builds its root once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.protocol import PowerProtocol
from labgrid.step import step

from hil_tests.deploy import machines
from hil_tests.deploy.machines import Machine, System
from hil_tests.drivers.protocols import InstrumentError
from hil_tests.drivers.systemd import SystemdInstrumentDriver
from hil_tests.errors import HilError

ROOT = Path(__file__).resolve().parents[2]
KEY = "TENOHIRA_NSPAWN_KEY"  # variable of the environment that names the key's file: rigs/nspawn.yaml has it
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenohira"
PYTHON = Path(os.path.realpath(machines.ROOT / "usr/bin/python3")).name.removeprefix("python")


@target_factory.reg_driver
@attr.s(eq=False)
class NspawnDriver(Driver, PowerProtocol):
    """Its card is fresh when the driver is activated, and survives ``off`` and ``cut``."""

    bindings = {"networkservice": "NetworkService"}

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._parts = ExitStack()
        self._system: System | None = None
        self._on = False
        self.machine: Machine

    def on_activate(self) -> None:
        if why := machines.lacking():
            raise HilError(f"this machine cannot boot another one: {why}")
        folder = Path(tempfile.mkdtemp(prefix="tenohira-nspawn-"))
        self._parts.callback(shutil.rmtree, folder, ignore_errors=True)
        self.machine = self._parts.enter_context(machines.card(folder))
        self._system = System(self.machine)
        self.networkservice.port = self.machine.port
        os.environ[KEY] = str(folder / "key")

    def on_deactivate(self) -> None:
        self.cut()
        self._parts.close()

    @Driver.check_active
    @step()
    def on(self) -> None:
        if not self._on:
            self._system.boot()
            self._on = True

    @Driver.check_active
    @step()
    def off(self) -> None:
        """In order."""
        if self._on:
            self._system.shut_down()
            self._on = False

    @Driver.check_active
    @step()
    def cycle(self) -> None:
        self.off()
        self.on()

    def cut(self) -> None:
        """Everything in it ends at once. What it wrote is on this machine's disk all the same."""
        if self._on:
            self._system.cut_power()
            self._on = False


@target_factory.reg_driver
@attr.s(eq=False)
class NspawnInstrumentDriver(SystemdInstrumentDriver):
    """The service on such a machine, installed from wheels that are fetched once."""

    bindings = {"ssh": "SSHDriver", "power": "NspawnDriver"}
    camera = attr.ib(default="simulated:3?size=512", validator=attr.validators.instance_of(str))

    def on_activate(self) -> None:
        self.port = self.power.machine.pages
        super().on_activate()

    def _deploy(self) -> None:
        machine, place = self.power.machine, self.ssh.networkservice
        command = ["deploy", place.address, "--port", str(place.port), "--user", machines.USER]
        command += ["--ssh-config", str(machine.config), "--wheels", str(_wheels()), "--camera", self.camera]
        _tenohira(*command)


def _wheels() -> Path:
    """What tenohira needs, without tenohira: that is built anew each time."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()[:12]
    folder = CACHE / f"wheels-{PYTHON}-{wanted}"
    if not folder.is_dir():
        made = folder.with_suffix(".part")
        shutil.rmtree(made, ignore_errors=True)
        _tenohira("deploy", "--fetch-wheels", str(made), "--python", PYTHON, "--machine", os.uname().machine)
        for own in made.glob("tenohira-*.whl"):
            own.unlink()
        made.rename(folder)
    return folder


def _tenohira(*arguments: str) -> None:
    command = [sys.executable, "-m", "device.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise InstrumentError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
