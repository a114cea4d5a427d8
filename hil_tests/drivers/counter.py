"""Instructions instead of milliseconds: qemu-system with ``-icount shift=0,sleep=off``, a core of each board.

Such a machine's clock goes on by one nanosecond with each instruction, so that a latency measured in there *is*
the number of instructions, the same on a busy machine and on an idle one. How many of them a real core does at a
time and how long it waits for memory, no emulator says.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory

from hil_tests.drivers import emulated
from hil_tests.drivers.protocols import CounterProtocol, InstrumentError
from hil_tests.images import kernel, root

PROGRAM = Path(__file__).with_name("counted.py")
CORES = ["a53", "a72", "a76"]  # of the Zero 2 W, the Pi 4 and the Pi 5
MEMORY_MB = 1024
NEEDED = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay")  # modules of the kernel
DEADLINE = 1500.0  # seconds; less than a minute where nothing else runs
AT_A_TIME = 2
# A photograph's 3 MB came on huge pages or small ones as chance had it at boot: 3 million instructions of faults.
REPEATABLE = "transparent_hugepage=never norandmaps"


@target_factory.reg_driver
@attr.s(eq=False)
class InstructionCounterDriver(Driver, CounterProtocol):
    """The arm64 root with the tenohira that EmulatedInstrumentDriver has put there, and no systemd."""

    bindings = {"command": "EmulatedCommandDriver", "instrument": "EmulatedInstrumentDriver"}
    cores = attr.ib(default=attr.Factory(lambda: list(CORES)), validator=attr.validators.instance_of(list))

    @Driver.check_active
    def count(self, photograph: bytes) -> dict[str, dict[str, Any]]:
        base = root.build()
        package = self.command.package
        job = {
            f"{emulated.PLACE.strip('/')}/{file.relative_to(package)}": file.read_bytes()
            for file in sorted(package.rglob("*"))
            if file.is_file()
        }
        job |= {"counted": PROGRAM.read_bytes(), "photograph.png": photograph}
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_A_TIME) as pool:
            archive = kernel.initramfs(base, Path(folder, "initramfs"), names=NEEDED, job=job)
            counted = pool.map(lambda core: _count(core, base, archive), self.cores)
            return dict(zip(self.cores, counted, strict=True))


def _count(core: str, base: Path, archive: Path) -> Mapping[str, Any]:
    command = [
        "qemu-system-aarch64", "-M", "virt", "-cpu", f"cortex-{core}", "-smp", "1", "-m", str(MEMORY_MB),
        "-icount", "shift=0,sleep=off", "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio",
        "-kernel", str(kernel.image(base)), "-initrd", str(archive),
        "-drive", f"file={kernel.disk(base)},format=raw,if=virtio,readonly=on",
        "-append", f"console=ttyAMA0 quiet panic=-1 {REPEATABLE} tenohira.run=/job/counted",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=DEADLINE,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        raise InstrumentError(f"the emulated {core} took longer than {DEADLINE:.0f} s:\n{late.stdout}") from late
    for line in done.stdout.splitlines():
        if line.startswith('{"screen"'):
            return json.loads(line)
    raise InstrumentError(f"the emulated {core} counted nothing:\n{done.stdout[-8000:]}")
