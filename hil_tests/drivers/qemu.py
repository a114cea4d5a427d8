"""The virtual Pi: a machine with a Cortex-A72 in qemu, with a disk for the system and one for the record.

It is a labgrid power driver (``on``, ``off``, ``cycle``, ``reset``) with what a board on a bench does not have:
its power can be cut in the middle of a write, its disks can be made to fail, and it can be put back to where it
had booted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory
from labgrid.protocol import PowerProtocol, ResetProtocol
from labgrid.step import step
from labgrid.util.helper import get_free_port

from hil_tests.images import guest
from hil_tests.qmp import Qmp, QmpError

QEMU = "qemu-system-aarch64"
PATIENCE = 60.0  # seconds for the answer of a monitor
KEY = "TENOHIRA_GUEST_KEY"  # variable of the environment that names the key's file: rigs/pi-virtual.yaml has it
# The record's disk has this serial number; its uppermost block node, a throttle, has it as its name.
RECORD, SPEED = "record", "record-speed"
# As little as possible is written to the console: the journal goes there as well (images/guest.py).
KERNEL = "root=/dev/vda rw console=ttyAMA0 loglevel=4 systemd.show_status=false net.ifnames=0 audit=0 panic=5"
WAITS = "systemd.unit=rig-waits.target"  # SSH and nothing of the instrument (images/guest.py)


class GuestError(Exception):
    """qemu did not do as it was told; the text has its output and the end of the console."""


def record_disk(file: Path) -> list[dict[str, Any]]:
    """Block nodes over the record's file, the lowest first. Whoever wants others there (a log of writes) puts
    another function in its place: ``QemuDriver.record_disk``. ``slow`` and ``fail_writes`` go before the last one.
    """
    return [{"driver": "raw", "node-name": "record-file", "file": {"driver": "file", "filename": str(file)}}]


@target_factory.reg_driver
@attr.s(eq=False)
class QemuDriver(Driver, PowerProtocol, ResetProtocol):
    """``memory`` in MB. Disks are fresh when the driver is activated, and survive ``off`` and ``cut`` as a card
    does. The network service gets the port by which the guest's SSH server is reached."""

    bindings = {"networkservice": "NetworkService"}
    cpu = attr.ib(default="cortex-a72", validator=attr.validators.instance_of(str))
    cores = attr.ib(default=2, validator=attr.validators.instance_of(int))
    memory = attr.ib(default=1024, validator=attr.validators.instance_of(int))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.record_disk: Callable[[Path], list[dict[str, Any]]] = record_disk
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: Qmp | None = None
        self._folder: Path | None = None
        self._image: guest.Image | None = None
        self._remembered = False

    def on_activate(self) -> None:
        self._image = guest.build()
        os.environ[KEY] = str(self._image.key)
        self._folder = Path(tempfile.mkdtemp(prefix="tenohira-guest-"))
        self._overlay(self._image.system, "raw")
        _run(["cp", "--sparse=always", "--reflink=auto", str(self._image.record), str(self.record)])
        self.networkservice.port = get_free_port()

    def on_deactivate(self) -> None:
        self.cut()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._remembered = False

    # --- what is where ---

    @property
    def record(self) -> Path:
        """The file that holds the record's disk (raw, ext4)."""
        return self._folder / "record.raw"

    @property
    def system(self) -> Path:
        """The file that holds what the guest changed of its system (qcow2)."""
        return self._folder / "system.qcow2"

    @property
    def _console(self) -> Path:
        return self._folder / "console.log"

    def console(self) -> str:
        """What the serial console said since the driver was activated: kernel, systemd and journal, through all
        cuts. qemu itself writes it to a file, so that the guest never waits for a reader."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    # --- power ---

    @Driver.check_active
    @step()
    def on(self) -> None:
        """Switch on: to boot from the system's disk or, after ``remember``, to go on from there."""
        if self._process is None and self._remembered:
            self._recall()
        elif self._process is None:
            self._start([])
            self.qmp("cont")

    @Driver.check_active
    @step()
    def off(self) -> None:
        """Pull the plug. qemu ends by itself; for the guest it is as hard as ``cut``."""
        if self._process is not None:
            self.qmp("quit")
            self._ended()

    @Driver.check_active
    @step()
    def cycle(self) -> None:
        """Off and on."""
        self.off()
        self.on()

    @Driver.check_active
    @step()
    def reset(self) -> None:
        """The reset line: processor and devices begin anew, nothing of the memory is kept."""
        self.qmp("system_reset")

    def cut(self) -> None:
        """End qemu with SIGKILL, in the middle of whatever it does. Writes that the guest's disks had taken are in
        their files; what of them a card would have lost is for the block node of the record to say."""
        if self._process is not None:
            self._process.kill()
            self._ended()

    def running(self) -> bool:
        """Whether there is a machine. A guest that has halted or panicked may still be one."""
        return self._process is not None and self._process.poll() is None

    def _ended(self) -> None:
        self._process.wait(PATIENCE)
        self._process = None
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None

    # --- memory ---

    @Driver.check_active
    @step()
    def boot_to_wait(self) -> None:
        """Switch on and boot to where the guest is reachable, its record's disk is not mounted, and nothing of the
        instrument runs: the place to ``remember``."""
        if self._process is not None or self._remembered:
            raise GuestError("the guest must be switched off, with nothing remembered")
        self._start([], f"{KERNEL} {WAITS}")
        self.qmp("cont")

    @Driver.check_active
    @step()
    def remember(self) -> None:
        """Keep the guest as it is now, memory and system's disk, and switch it off. From here on, ``on`` brings it
        back within a second or two, with the record's disk as that is by then.

        So a power cut can be tried often: what was in memory is gone, the record's disk is as the cut left it, and
        file system and service find it so. What is left out is the boot itself (kernel, systemd, the system's disk
        after a cut), and the guest's clock stands where it stood. ``forget`` brings the true boot back.
        """
        self.qmp("stop")
        self.qmp("migrate", uri=f"file:{self._folder / 'memory'}")
        end = time.monotonic() + PATIENCE
        while (how := self.qmp("query-migrate").get("status")) != "completed":
            if how in ("failed", "cancelled") or time.monotonic() > end:
                raise self._error(f"the guest's memory could not be kept ({how})")
            time.sleep(0.05)
        self.off()
        self.system.rename(self._folder / "remembered.qcow2")
        self._overlay(self._folder / "remembered.qcow2", "qcow2")
        self._remembered = True

    @Driver.check_active
    def forget(self) -> None:
        """``on`` boots again. The system's disk is that of the last ``on``. The guest must be off."""
        self._remembered = False

    def _recall(self) -> None:
        self._overlay(self._folder / "remembered.qcow2", "qcow2")
        self._start(["-incoming", f"file:{self._folder / 'memory'}"])
        end = time.monotonic() + PATIENCE
        while self.qmp("query-status")["status"] == "inmigrate":
            if time.monotonic() > end:
                raise self._error("the guest's memory could not be brought back")
            time.sleep(0.02)
        self.qmp("cont")

    def _overlay(self, below: Path, kind: str) -> None:
        self.system.unlink(missing_ok=True)
        _run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", kind, "-b", str(below), str(self.system)])

    # --- monitor ---

    @Driver.check_active
    def qmp(self, command: str, **arguments: Any) -> Any:
        """Ask qemu's monitor. Raises GuestError where it refuses or is gone."""
        return self._asked(lambda monitor: monitor(command, **arguments))

    def _asked(self, ask: Callable[[Qmp], Any]) -> Any:
        if self._monitor is None:
            raise GuestError("the guest is switched off")
        try:
            return ask(self._monitor)
        except (QmpError, OSError, ValueError) as error:
            raise self._error(str(error)) from error

    def slow(self, bytes_per_second: int) -> None:
        """So slow is the record's disk from now on; 0 takes it away."""
        self._asked(lambda monitor: monitor.limit(SPEED, bps_total=bytes_per_second))

    def fail_writes(self, error: int) -> None:
        """Each write to the record's disk ends with this error (errno); 0 takes it away. Flushes pass."""
        below = self.record_disk(self.record)[-1]["node-name"]
        self._asked(lambda monitor: monitor.fail_writes(error, below, _throttled))

    def network(self, connected: bool) -> None:
        """Plug or unplug the second network, by which the guest reaches this machine as 10.0.3.2. SSH has its
        own."""
        self.qmp("set_link", name="site", up=connected)

    # --- qemu ---

    def _arguments(self, kernel: str) -> list[str]:
        image, site, nodes = self._image, "user,id=site,net=10.0.3.0/24", self.record_disk(self.record)
        ssh = f"user,id=net,hostfwd=tcp:127.0.0.1:{self.networkservice.port}-:22"
        file = {"driver": "file", "filename": str(self.system)}
        system = {"driver": "qcow2", "node-name": "system", "file": file}
        return [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-S",
            "-M", "virt", "-cpu", self.cpu, "-smp", str(self.cores), "-m", str(self.memory),
            "-accel", "tcg,thread=multi",
            "-kernel", str(image.kernel), "-initrd", str(image.initramfs), "-append", kernel,
            "-chardev", f"file,id=console,path={self._console},append=on", "-serial", "chardev:console",
            "-qmp", f"unix:{self._folder / 'monitor'},server=on,wait=off",
            *_blockdevs([system]), "-device", "virtio-blk-pci,drive=system",
            "-object", f"throttle-group,id={SPEED}", *_blockdevs([*nodes, _throttled(nodes[-1]["node-name"])]),
            "-device", f"virtio-blk-pci,drive={RECORD},serial={RECORD},werror=report,rerror=report",
            "-netdev", ssh, "-device", "virtio-net-pci,netdev=net,mac=52:54:00:00:00:01,romfile=",
            "-netdev", site, "-device", "virtio-net-pci,netdev=site,mac=52:54:00:00:00:02,romfile=",
            "-device", "virtio-rng-pci", "-device", "i6300esb", "-action", "watchdog=reset",
        ]  # fmt: skip

    def _start(self, more: list[str], kernel: str = KERNEL) -> None:
        (self._folder / "monitor").unlink(missing_ok=True)
        with (self._folder / "qemu.log").open("ab") as said:
            self._process = subprocess.Popen(
                [*self._arguments(kernel), *more], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        try:
            self._monitor = Qmp(self._folder / "monitor", PATIENCE, PATIENCE, self.running)
        except (QmpError, OSError) as error:
            raise self._error("qemu did not start") from error

    def _error(self, what: str) -> GuestError:
        log = (self._folder / "qemu.log").read_text(errors="replace") if self._folder else ""
        return GuestError(f"{what}\n{log[-2000:]}\n--- console\n{self.console()[-4000:]}")


def _throttled(below: str) -> dict[str, Any]:
    """The uppermost node of the record's disk, over another one."""
    return {"driver": "throttle", "node-name": RECORD, "throttle-group": SPEED, "file": below}


def _blockdevs(nodes: list[dict[str, Any]]) -> list[str]:
    return [part for node in nodes for part in ("-blockdev", json.dumps(node))]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise GuestError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
