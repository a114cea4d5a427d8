"""The host rung: the instrument as a child process of this machine, from this checkout."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal as signals
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.protocol import FileTransferProtocol

from hil_tests import faults
from hil_tests.drivers import processes
from hil_tests.drivers.cgroup import MemoryGroup
from hil_tests.drivers.commands import Commands
from hil_tests.drivers.protocols import Completed, InstrumentError, InstrumentProtocol, Memory

ROOT = Path(__file__).resolve().parents[2]
GRACE = 20.0  # seconds to end in order
LOOK_EVERY = 0.02  # seconds between two looks whether it is ready: the error of a start's time


@target_factory.reg_driver
@attr.s(eq=False)
class LocalCommandDriver(Commands, FileTransferProtocol):
    """Commands of this machine."""

    def completed(self, arguments: list[str], timeout: float | None) -> Completed:
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout)
        return Completed(done.returncode, done.stdout, done.stderr)

    @Driver.check_active
    def put(self, filename: str, remotepath: str) -> None:
        shutil.copy(filename, remotepath)

    @Driver.check_active
    def get(self, filename: str, destination: str) -> None:
        shutil.copy(filename, destination)


@target_factory.reg_driver
@attr.s(eq=False)
class LocalInstrumentDriver(Driver, InstrumentProtocol):
    """``tenohira serve`` of this checkout. Its record and journal live in a folder that ends with the driver."""

    bindings = {"command": "CommandProtocol"}
    camera = attr.ib(default="simulated:3?size=512", validator=attr.validators.instance_of(str))
    threads = attr.ib(default=1, validator=attr.validators.instance_of(int))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._port = 0
        self._settings: dict[str, object] = {}
        self._limited = contextlib.ExitStack()  # holds the memory group of a start
        self._group: MemoryGroup | None = None

    def on_activate(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tenohira-hil-"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.configure()

    def on_deactivate(self) -> None:
        self.stop()
        self._limited.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def store(self) -> str:
        return str(self._settings["store"])

    def install(self) -> None:
        """Nothing is to be done: the checkout is here."""

    def configure(
        self, *, camera=None, store=None, bundles=None, environment=None, memory_mb=None, fault=None
    ) -> None:  # fmt: skip
        self._settings = {
            "camera": camera or self.camera,
            "store": store or str(self._folder / "record"),
            "bundles": bundles,
            "environment": environment or {},
            "memory_mb": memory_mb,
            "fault": fault,
        }

    @Driver.check_active
    def start(self, deadline: float = 120.0, *, wait: bool = True) -> float:
        if self.pid() is not None:
            raise InstrumentError("the service runs already")
        self._limited.close()  # of the start before
        limit = self._settings["memory_mb"]
        self._group = self._limited.enter_context(MemoryGroup(limit)) if limit else None
        begun = time.monotonic()
        self._process = subprocess.Popen(
            [*(self._group.prefix if self._group else ()), *self._tenohira(), *self._serve()],
            cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=self._log(), stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        while wait and not self.ready():
            if self._process.poll() is not None:
                raise InstrumentError(
                    f"the service ended by itself ({self._process.returncode}):\n{self.journal()}"
                )
            if time.monotonic() - begun > deadline:
                raise InstrumentError(f"the service was not ready in {deadline:.0f} s:\n{self.journal()}")
            time.sleep(LOOK_EVERY)
        return time.monotonic() - begun

    def _tenohira(self) -> list[str]:
        return [sys.executable, "-m", "device.cli"]

    def _serve(self) -> list[str]:
        chosen = self._settings
        arguments = ["serve", "--store", chosen["store"], "--camera", chosen["camera"], "--port", str(self._port)]
        arguments += ["--threads", str(self.threads)]
        return arguments + (["--bundles", chosen["bundles"]] if chosen["bundles"] else [])

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONFAULTHANDLER": "1", **self._settings["environment"]}
        if fault := self._settings["fault"]:
            environment |= {"PYTHONPATH": str(faults.FOLDER), faults.SWITCH: fault}
        return environment

    def _log(self):
        return (self._folder / "journal").open("ab")

    def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signals.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._end_group()
        self._process = None

    def kill(self, signal: str = "KILL", whom: str = "service") -> None:
        pid = self.pid(whom)
        if pid is None:
            raise InstrumentError(f"there is no process of the {whom}")
        os.kill(pid, getattr(signals, f"SIG{signal}"))
        if whom == "service" and signal == "KILL":
            self._process.wait()
            self._end_group()

    def _end_group(self) -> None:
        """Errands that were under way: the power would be gone for them as well."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signals.SIGKILL)

    def pid(self, whom: str = "service") -> int | None:
        if self._process is None or self._process.poll() is not None:
            return None
        # What enters a memory group becomes the service (exec), so the process is the service's in any case.
        service = self._process.pid
        return service if whom == "service" else processes.camera_of(service, self._shell)

    def _shell(self, command: str) -> str:
        return "\n".join(self.command.run(command)[0])

    def memory(self, whom: str = "service") -> Memory:
        pid = self.pid(whom)
        if pid is None:
            raise InstrumentError(f"there is no process of the {whom}")
        return processes.memory_of(self._shell(processes.memory_command(pid)))

    def killed_for_memory(self) -> int:
        return self._group.killed if self._group else 0

    def no_memory_limit(self) -> str:
        return MemoryGroup.missing()

    def journal(self) -> str:
        file = self._folder / "journal"
        return file.read_text(errors="replace") if file.exists() else ""

    @Driver.check_active
    def tenohira(self, *arguments: str, timeout: float = 120.0) -> Completed:
        command = [*self._tenohira(), *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, timeout=timeout
        )
        return Completed(done.returncode, done.stdout, done.stderr)
