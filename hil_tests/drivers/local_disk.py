"""The record's disk of the host rung: a logged disk of this machine (``hil_tests.disk.logged``)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import attr
from labgrid.driver.common import Driver
from labgrid.factory import target_factory

from hil_tests.disk import logged
from hil_tests.drivers.protocols import DiskProtocol


@target_factory.reg_driver
@attr.s(eq=False)
class LocalDiskDriver(Driver, DiskProtocol):
    """There is no disk until ``renew`` makes one."""

    size_mb = attr.ib(default=512, validator=attr.validators.instance_of(int))

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._disk: logged.LoggedDisk | None = None
        self._place: Path | None = None
        self._private = False

    def on_deactivate(self) -> None:
        self.remove()

    def missing(self) -> str:
        return logged.missing()

    @property
    def logged(self) -> logged.LoggedDisk:
        """The disk that there is, with its log."""
        assert self._disk is not None, "renew() makes a disk"
        return self._disk

    @property
    def folder(self) -> str:
        return str(self.logged.root)

    @Driver.check_active
    def renew(self) -> None:
        self.remove()
        if not self._private:
            logged.private_mounts()
            self._private = True
        self._place = Path(tempfile.mkdtemp(prefix="tenohira-hil-disk-"))
        self._disk = logged.LoggedDisk(self._place, self.size_mb)
        self._disk.attach()

    def remove(self) -> None:
        if self._disk is not None:
            self._disk.detach()
            shutil.rmtree(self._place, ignore_errors=True)
            self._disk = None

    def position(self) -> int:
        return self.logged.position()

    def kept(self, folder: Path) -> tuple[Path, Path]:
        """The log of all writes, and the disk's image before the first, moved to another folder for good."""
        disk = self.logged
        disk.detach()
        return Path(shutil.move(disk.log, folder)), Path(shutil.move(disk.pristine, folder))

    def fill(self, leave_mb: int = 0) -> None:
        self.logged.fill(leave_mb * 2**20)

    def free(self) -> None:
        self.logged.free()

    def turn_read_only(self) -> None:
        self.logged.turn_read_only()

    def mount(self, *, read_only: bool) -> None:
        self.logged.remount(read_only=read_only)

    def slow(self, bytes_per_second: int) -> None:
        self.logged.slow(bytes_per_second or None)

    def failing(self, yes: bool) -> None:
        self.logged.fail_writes(yes)

    def repair(self) -> None:
        self.logged.repair()
