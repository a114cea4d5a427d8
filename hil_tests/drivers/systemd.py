"""The instrument as an operator has it: systemd's service on a machine that SSH reaches, virtual or a board.

What a test wants otherwise goes into one drop-in of the unit, which the next start writes, or takes away where
nothing is wanted; what is installed stays as ``tenohira deploy`` has laid it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.step import step

from hil_tests import faults
from hil_tests.drivers import processes
from hil_tests.drivers.protocols import Completed, InstrumentError, InstrumentProtocol, Memory

ROOT = Path(__file__).resolve().parents[2]
THERE = "/opt/tenohira-hil"  # what tests bring along, on the target
DROP_IN = "/etc/systemd/system/tenohira.service.d/hil.conf"
STATE = "/var/lib/tenohira"
TENOHIRA = "/opt/tenohira/current/bin/tenohira"
# The rest of the unit's own command line (device/service/tenohira.service): lights are the board's.
INSTALLED = " ".join(f"--{name} ${{TENOHIRA_{name.upper()}}}" for name in ("light", "port", "listen", "threads"))
LOOK_EVERY = 0.2  # seconds between two looks whether it is ready: the error of a start's time
STATE_EVERY = 2.0  # seconds between two looks whether it has ended
PATIENCE = 120.0  # seconds for one command; an emulated board is slow


@target_factory.reg_driver
@attr.s(eq=False)
class SystemdInstrumentDriver(Driver, InstrumentProtocol):
    """``deploy``: whether ``install`` has to bring tenohira there; an image of a guest has it already.
    ``keeps_time``: whether the target's clock goes right by itself; otherwise it gets this machine's time whenever
    the target is reached anew. ``rig``: this machine's address as the target has it; without one, that from which
    SSH comes."""

    bindings = {"ssh": "SSHDriver"}
    port = attr.ib(default=8080, validator=attr.validators.instance_of(int))
    deploy = attr.ib(default=True, validator=attr.validators.instance_of(bool))
    keeps_time = attr.ib(default=True, validator=attr.validators.instance_of(bool))

    rig = attr.ib(default="", validator=attr.validators.instance_of(str))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._root = ""  # what makes a command root's
        self._tunnel = None
        self._local = 0
        self._here = ""
        self._cursor = ""  # of the journal when the run began
        self._started = ""  # and at the last start
        self._drop_in = ""
        self.configure()

    def on_activate(self) -> None:
        self._root = "" if self._said("id -u").strip() == "0" else "sudo -n "
        self._here = self.rig or self._said("echo $SSH_CLIENT").split()[0]
        if not self.keeps_time:
            self.set_clock(time.time())
        self._tunnel = self.ssh.forward_local_port(self.port)
        self._local = self._tunnel.__enter__()
        self._cursor = self._cursor or self._now()

    def _now(self) -> str:
        """The journal's cursor."""
        return self.root("journalctl --no-pager -q -n 1 --show-cursor | sed -n 's/^-- cursor: //p'").strip()

    def on_deactivate(self) -> None:
        self._tunnel.__exit__(None, None, None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._local}"

    @property
    def here(self) -> str:
        return self._here

    @property
    def store(self) -> str:
        return self._settings["store"] or f"{STATE}/record"

    # --- commands ---

    def root(self, command: str, timeout: float = PATIENCE) -> str:
        """What a shell command of root's writes. Raises InstrumentError where it fails."""
        return self._said(self._as_root(command), timeout)

    def _as_root(self, command: str) -> str:
        return f"{self._root}sh -c {shlex.quote(command)}"

    def _said(self, command: str, timeout: float = PATIENCE) -> str:
        done = self._run(command, timeout)
        if done.code:
            raise InstrumentError(f"{command!r} ended with {done.code}:\n{done.out}{done.err}")
        return done.out

    def _run(self, command: str, timeout: float) -> Completed:
        try:
            out, err, code = self.ssh.run(command, decodeerrors="replace", timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise InstrumentError(f"{command!r} did not end in {timeout:.0f} s") from error
        return Completed(code, "".join(f"{x}\n" for x in out), "".join(f"{x}\n" for x in err))

    @Driver.check_active
    def tenohira(self, *arguments: str, timeout: float = PATIENCE) -> Completed:
        command = shlex.join([TENOHIRA, *arguments])
        return self._run(self._as_root(f"cd {STATE} && exec runuser -u tenohira -- {command}"), timeout)

    # --- installation ---

    @Driver.check_active
    @step()
    def install(self) -> None:
        """By ``tenohira deploy`` from this checkout, as the documentation has it; the target's key must be known.
        Afterwards the service is enabled and stopped, as the rig has configured it."""
        if self.deploy:
            self._deploy()
        elif self._run(f"test -x {TENOHIRA}", PATIENCE).code:
            raise InstrumentError(f"there is no {TENOHIRA} on the target; its image is not whole")
        self._lay()
        self.stop()

    def _deploy(self) -> None:
        service = self.ssh.networkservice
        command = [sys.executable, "-m", "device.cli", "deploy", service.address, "--port", str(service.port)]
        with self._ssh_config() as config:
            command += ["--user", self.ssh.username or service.username, *config]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise InstrumentError(f"tenohira deploy ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    @contextmanager
    def _ssh_config(self) -> Iterator[list[str]]:
        """deploy's option for a key of the rig's; without one, the user's own configuration is used."""
        if not self.ssh.keyfile:
            yield []
            return
        key = self.target.env.config.resolve_path(self.ssh.keyfile)
        with tempfile.NamedTemporaryFile("w", suffix=".config") as file:
            file.write(f"Host *\n  IdentityFile {key}\n")
            file.flush()
            yield ["--ssh-config", file.name]

    # --- configuration ---

    def configure(
        self, *, camera=None, store=None, bundles=None, environment=None, memory_mb=None, fault=None, unit=None
    ) -> None:  # fmt: skip
        """``unit``: lines of the unit's section [Service] beside those: ``{"WatchdogSec": "5"}``."""
        limits = {"MemoryMax": f"{memory_mb}M", "MemorySwapMax": "0"} if memory_mb else {}
        self._settings = {
            "camera": camera,
            "store": store,
            "bundles": bundles,
            "environment": dict(environment or {}),
            "fault": fault,
            "unit": limits | (unit or {}),
        }

    def _lines(self) -> list[str]:
        """The drop-in's; none where the service is to be as it was installed. The environment goes through a
        command, since EnvironmentFile= would win over a line of the drop-in."""
        chosen = self._settings
        if not any(chosen.values()):
            return []
        environment = chosen["environment"]
        if fault := chosen["fault"]:
            environment = environment | {"PYTHONPATH": f"{THERE}/faults", faults.SWITCH: fault}
        command = [*(f"{k}={v}" for k, v in environment.items()), TENOHIRA, "serve"]
        command += ["--store", self.store]
        command += ["--bundles", chosen["bundles"]] if chosen["bundles"] else []
        command += ["--camera", chosen["camera"]] if chosen["camera"] else []
        words = " ".join(_quoted(word) for word in ["/usr/bin/env", *command])
        words += "" if chosen["camera"] else " --camera ${TENOHIRA_CAMERA}"
        lines = ["[Service]", "ExecStart=", f"ExecStart={words} {INSTALLED}"]
        lines += [f"ReadWritePaths=-{chosen['store']}"] if chosen["store"] else []
        # PrivateTmp would hide a folder of /tmp.
        lines += [f"BindReadOnlyPaths={chosen['bundles']}"] if chosen["bundles"] else []
        return [*lines, *(f"{key}={value}" for key, value in chosen["unit"].items())]

    def _lay(self) -> None:
        """Make the drop-in as it should be. (A guest that is brought back has an older one.)"""
        wanted = "".join(f"{line}\n" for line in self._lines())
        if self._settings["fault"]:
            self._bring(faults.FOLDER)
        if not wanted:
            self.root(f"if [ -e {DROP_IN} ]; then rm {DROP_IN} && systemctl daemon-reload; fi")
            return
        given = f"printf %s {shlex.quote(wanted)}"
        write = f"install -D -m 0644 /dev/stdin {DROP_IN} && systemctl daemon-reload"
        self.root(f"{given} | cmp -s - {DROP_IN} || {{ {given} | {write}; }}")

    def _bring(self, folder: Path) -> None:
        """Copy a folder of this machine to the target, where the service may read it."""
        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / "files.tar"
            pack = ["tar", "-C", folder.parent, "--exclude=__pycache__", "-cf", archive, folder.name]
            subprocess.run(pack, check=True)
            self.ssh.put(str(archive), "/var/tmp/tenohira-hil.tar")
        unpack = f"mkdir -p {THERE} && tar -C {THERE} --no-same-owner -xf /var/tmp/tenohira-hil.tar"
        self.root(f"{unpack} && chmod -R a+rX {THERE}")

    def clean(self) -> None:
        """Take away what tests have laid; the service is again as it was installed, from its next start on."""
        self.root(f"rm -rf {DROP_IN} {THERE} && systemctl daemon-reload")

    # --- service ---

    @Driver.check_active
    @step()
    def start(self, deadline: float = 120.0, *, wait: bool = True) -> float:
        if self.pid() is not None:
            raise InstrumentError("the service runs already")
        self._lay()
        self._started = self._now()
        begun = time.monotonic()
        self.root("systemctl reset-failed tenohira; systemctl start --no-block tenohira")
        if wait:
            self.wait_ready(deadline)
        return time.monotonic() - begun

    @Driver.check_active
    @step()
    def come_up(self, deadline: float = 120.0) -> float:
        """After the target was switched on: until the service that it starts by itself answers. Returns the
        seconds from now on. (A guest that was brought back from its memory goes on to what a boot ends in.)"""
        begun = time.monotonic()
        self._lay()
        self.root("systemctl start --no-block default.target")
        self.wait_ready(deadline)
        return time.monotonic() - begun

    @Driver.check_active
    def wait_ready(self, deadline: float = 120.0) -> float:
        """Until the service answers, whoever has started it. Returns the seconds; raises InstrumentError."""
        restarts = self.show("NRestarts")["NRestarts"]
        begun = looked = time.monotonic()
        while not self.ready(10):
            now = time.monotonic()
            if now - looked > STATE_EVERY:
                looked = now
                state = self.show("ActiveState", "SubState", "NRestarts")
                if state["ActiveState"] == "failed" or state["NRestarts"] != restarts:
                    raise InstrumentError(f"the service ended by itself ({state}):\n{self.journal()}")
            if now - begun > deadline:
                raise InstrumentError(f"the service was not ready in {deadline:.0f} s:\n{self.journal()}")
            time.sleep(LOOK_EVERY)
        return time.monotonic() - begun

    @Driver.check_active
    def show(self, *properties: str) -> dict[str, str]:
        """What systemd knows of the service: ``show("ActiveState", "NRestarts", "Result")``."""
        said = self._said(f"systemctl show tenohira --property={','.join(properties)}")
        return dict(line.partition("=")[::2] for line in said.splitlines())

    @Driver.check_active
    @step()
    def stop(self) -> None:
        self.root("systemctl stop tenohira")

    @Driver.check_active
    @step(args=["signal", "whom"])
    def kill(self, signal: str = "KILL", whom: str = "service") -> None:
        """systemd starts a service anew that was killed, as it does on every instrument."""
        pid = self.pid(whom)
        if pid is None:
            raise InstrumentError(f"there is no process of the {whom}")
        self.root(f"kill -s {signal} {pid}")

    @Driver.check_active
    def pid(self, whom: str = "service") -> int | None:
        service = int(self.show("MainPID").get("MainPID") or 0)
        if not service:
            return None
        return service if whom == "service" else processes.camera_of(service, self.root)

    @Driver.check_active
    def memory(self, whom: str = "service") -> Memory:
        pid = self.pid(whom)
        if pid is None:
            raise InstrumentError(f"there is no process of the {whom}")
        return processes.memory_of(self.root(processes.memory_command(pid)))

    @Driver.check_active
    def killed_for_memory(self) -> int:
        return self._journal(self._started or self._cursor).count("has been killed by the OOM killer")

    @Driver.check_active
    def journal(self) -> str:
        return self._journal(self._cursor)

    def _journal(self, cursor: str) -> str:
        return self.root(f"journalctl --no-pager -q -u tenohira -o short-precise --after-cursor={cursor!r}")

    # --- the machine ---

    def clock(self) -> float:
        """The target's time, in seconds since 1970."""
        return float(self._said("date +%s.%N"))

    def set_clock(self, seconds: float) -> None:
        """Set the target's clock, in seconds since 1970. A real board's time service would set it right again."""
        self.root(f"date -s @{seconds:.3f}")

    @Driver.check_active
    def seconds_since_boot(self) -> float:
        """That the target has run: a number that falls tells of a restart in between."""
        return float(self._said("cut -d' ' -f1 /proc/uptime"))


def _quoted(word: str) -> str:
    """For a command line in a unit: systemd's own quotes, ``%`` and ``$`` as they are."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
