"""The virtual Pi's disk for the record: full, read-only, slow or failing, from one moment to the next."""

from __future__ import annotations

import errno

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory

from hil_tests.drivers.protocols import DiskProtocol
from hil_tests.drivers.systemd import STATE

DEVICE = "/dev/disk/by-id/virtio-record"
UNIT = "var-lib-tenohira.mount"
BALLAST = f"{STATE}/ballast"
NEARLY_MB = 4
FORMAT = "mkfs.ext4 -q -F -m 0 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard"


@target_factory.reg_driver
@attr.s(eq=False)
class GuestDiskDriver(Driver, DiskProtocol):
    """It is where the installed service has its record; ``renew`` takes that away as well."""

    bindings = {"guest": "QemuDriver", "instrument": "SystemdInstrumentDriver"}

    @property
    def folder(self) -> str:
        return STATE

    def missing(self) -> str:
        return ""

    @Driver.check_active
    def renew(self) -> None:
        self._sh(
            f"systemctl stop tenohira {UNIT}; {FORMAT} {DEVICE}; systemctl start {UNIT}; "
            f"chown tenohira: {STATE}; chmod 750 {STATE}"
        )

    @Driver.check_active
    def remove(self) -> None:
        self.renew()

    @Driver.check_active
    def fill(self, leave_mb: int = 0) -> None:
        """Nearly all at once; the map of the file needs room too, so the last blocks are written one by one."""
        leave = max(leave_mb, NEARLY_MB) << 20
        self._sh(f"fallocate -l $(($(df --output=avail -B1 {STATE} | tail -n 1) - {leave})) {BALLAST}")
        if leave_mb < NEARLY_MB:
            self._sh(f"cat /dev/zero >>{BALLAST} 2>/dev/null || true; sync -f {STATE}")

    @Driver.check_active
    def free(self) -> None:
        self._sh(f"rm -f {BALLAST}")

    @Driver.check_active
    def turn_read_only(self) -> None:
        self._sh(f"echo a test >/sys/fs/ext4/$(basename $(realpath {DEVICE}))/trigger_fs_error")

    @Driver.check_active
    def mount(self, *, read_only: bool) -> None:
        self._sh(f"mount -o remount,{'ro' if read_only else 'rw'} {STATE}")

    @Driver.check_active
    def slow(self, bytes_per_second: int) -> None:
        self.guest.slow(bytes_per_second)

    @Driver.check_active
    def failing(self, yes: bool) -> None:
        self.guest.fail_writes(errno.EIO if yes else 0)

    @Driver.check_active
    def repair(self) -> None:
        self._sh(f"systemctl stop tenohira {UNIT}; e2fsck -p {DEVICE} || [ $? = 1 ]; systemctl start {UNIT}")

    def _sh(self, command: str) -> None:
        self.instrument.root(f"set -e; {command}")
