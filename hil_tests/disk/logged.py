"""An ext4 file system on a disk that logs every write and flush, and that can be slow, broken, full or read-only.

The block device is a graph of qemu-storage-daemon: throttle -> blklogwrites -> image, exported as a file by FUSE,
with a loop device over it. What was looked at, so that the log tells the truth:

* fsync on ext4 sends a flush to the loop device, which has a write-back cache (``queue/write_cache``); loop
  answers it by fsync on the exported file, and that is a FLUSH entry. Loop offers no FUA: the kernel sends flushes
  instead.
* Loop without direct I/O works off its requests one after the other, so a write that stands before a FLUSH entry
  had come back before the flush was sent. FUSE writes through: nothing of a write waits in the page cache.
* The image itself is never flushed (``no-flush``): the log is what counts, and a run is faster.
* QEMU leaves out flushes with no write since the last one. They change nothing.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hil_tests.qmp import Qmp

TOOLS = ("qemu-storage-daemon", "mkfs.ext4", "e2fsck", "losetup", "mount", "umount")
MOUNT = ("-t", "ext4", "-o", "noatime,errors=remount-ro")  # as the card of a Raspberry Pi is mounted
# No initialization goes on in the background after the first mount: it would fill the log.
FORMAT = ("-q", "-F", "-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")
THROTTLE, TOP, LOG = "speed", "top", "log"  # names in QEMU's graph
BALLAST = "ballast"
GRACE = 60.0  # seconds that a program has to let go of a disk; on a busy machine it takes a while to end
CLONE_NEWNS, MS_REC, MS_SLAVE = 0x20000, 0x4000, 0x80000  # linux/sched.h, linux/mount.h


class DiskError(RuntimeError):
    """A disk could not be attached, mounted or changed."""


def missing() -> str:
    """What this machine lacks for a logged disk, in words; empty where nothing is missing."""
    if os.geteuid() != 0:
        return "mounting a disk needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: qemu-utils, qemu-system-common, e2fsprogs, mount)"
    for device, why in (("/dev/fuse", "FUSE"), ("/dev/loop-control", "loop devices")):
        if not os.path.exists(device):
            return f"no {device}: this kernel or container has no {why}"
    return ""


def make(image: Path, size_mb: int) -> None:
    """A sparse image with an empty ext4 file system of ``size_mb`` megabytes (2**20)."""
    with open(image, "wb") as file:
        file.truncate(size_mb * 2**20)
    run("mkfs.ext4", *FORMAT, str(image))


def graph(image: Path, log: Path) -> list[dict[str, Any]]:
    """The block nodes, children first, for qemu-storage-daemon or for a guest's ``-blockdev``; TOP is what to use.
    They need the throttle group THROTTLE. ``log`` is a file, empty at first."""
    file = {"driver": "file", "cache": {"no-flush": True}}
    return [
        {**file, "node-name": "image", "filename": str(image)},
        {**file, "node-name": "log-file", "filename": str(log)},
        {"driver": "raw", "node-name": "log-raw", "file": "log-file"},
        {"driver": "raw", "node-name": "disk", "file": "image"},
        {"driver": "blklogwrites", "node-name": LOG, "file": "disk", "log": "log-raw", "log-sector-size": 512},
        throttle(LOG),
    ]


def throttle(below: str) -> dict[str, Any]:
    """The uppermost node, over another one."""
    return {"driver": "throttle", "node-name": TOP, "throttle-group": THROTTLE, "file": below}


def run(*command: str) -> str:
    """What a command says. Raises DiskError with its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise DiskError(f"{' '.join(command)}: {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def private_mounts() -> None:
    """Let what this thread mounts from now on be seen by it and by what it starts, and by nobody else. OSError.

    Otherwise whoever makes a mount namespace meanwhile (a container, a sandbox) has our disks for as long as it
    lives, and they are in use though they are unmounted here.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace of our own could be made")


@contextmanager
def mounted(image: Path, root: Path) -> Iterator[Path]:
    """An image, mounted at ``root``, which is made; ext4 goes through its journal. Raises DiskError.

    With a loop device of its own: ``mount -o loop`` takes one that still has the file, and with it what the
    kernel remembers of the image that the file was before.
    """
    root.mkdir(exist_ok=True)
    loop = run("losetup", "--find", "--show", str(image)).strip()
    try:
        run("mount", *MOUNT, loop, str(root))
        try:
            yield root
        finally:
            unmount(root, loop)
    finally:
        run("losetup", "--detach", loop)


def unmount(root: Path, device: str) -> None:
    """Unmount, and wait until nobody has the file system. Raises DiskError where a program has files open there.

    Not at once: a program that is being started has, for a moment, all files of the one that starts it.
    """
    _patiently(lambda: run("umount", str(root)))
    _patiently(lambda: os.close(os.open(device, os.O_RDWR | os.O_EXCL)))


def _patiently(do: Callable[[], object]) -> None:
    end = time.monotonic() + GRACE
    while True:
        try:
            do()
            return
        except (DiskError, OSError) as error:
            if time.monotonic() > end:
                raise DiskError(f"the disk is still in use: {error}") from error
            time.sleep(0.05)


def flaws(image: Path) -> str:
    """What e2fsck would have to mend in an image that is not mounted; empty where nothing is."""
    done = subprocess.run(["e2fsck", "-f", "-n", image], capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


class LoggedDisk:
    """The disk, mounted at ``root``, in a folder of its own; its parts are files there.

    ``pristine`` is the image as it was before anything in the log: what ``replay`` starts from.
    """

    def __init__(self, folder: Path, size_mb: int = 256) -> None:
        self.folder, self.size_mb = Path(folder), size_mb
        self.root = self.folder / "root"
        self.log, self.pristine = self.folder / "writes.log", self.folder / "pristine.img"
        self._exported = self.folder / "disk"
        self._daemon: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._loop = ""

    def __enter__(self) -> LoggedDisk:
        self.attach()
        return self

    def __exit__(self, *_: object) -> None:
        self.detach()

    def attach(self) -> None:
        """Make the disk and mount it. Raises DiskError, QmpError."""
        image, socket = self.folder / "disk.img", self.folder / "monitor"
        self.root.mkdir(parents=True)
        make(self.pristine, self.size_mb)
        run("cp", "--sparse=always", str(self.pristine), str(image))
        self.log.touch()
        self._exported.touch()
        command = ["qemu-storage-daemon", "--object", f"throttle-group,id={THROTTLE}"]
        for node in graph(image, self.log):
            command += ["--blockdev", json.dumps(node)]
        command += ["--chardev", f"socket,id=monitor,path={socket},server=on,wait=off", "--monitor", "monitor"]
        export = {"type": "fuse", "id": "export", "node-name": TOP, "mountpoint": str(self._exported)}
        command += ["--export", json.dumps({**export, "writable": True})]
        with open(self.folder / "daemon.log", "wb") as said:
            self._daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            self._qmp = Qmp(socket)
            self._mounted()
        except BaseException:
            self.detach()
            raise

    def _mounted(self) -> None:
        end = time.monotonic() + 10
        while not os.path.ismount(self._exported):
            if time.monotonic() > end or self._process.poll() is not None:
                raise DiskError((self.folder / "daemon.log").read_text(errors="replace") or "no FUSE export came")
            time.sleep(0.02)
        self._loop = run("losetup", "--find", "--show", "--direct-io=off", str(self._exported)).strip()
        cache = Path("/sys/block", Path(self._loop).name, "queue/write_cache").read_text().strip()
        if cache != "write back":
            raise DiskError(f"{self._loop} passes no flush on (its cache is {cache!r}); the log would lack them")
        self.mount()

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        assert self._daemon is not None
        return self._daemon

    @property
    def _monitor(self) -> Qmp:
        assert self._qmp is not None
        return self._qmp

    def mount(self) -> None:
        """Mount; ext4 goes through its journal. Raises DiskError."""
        run("mount", *MOUNT, self._loop, str(self.root))

    def unmount(self) -> None:
        """Raises DiskError where a program has files open there."""
        unmount(self.root, self._loop)

    def remount(self, *, read_only: bool) -> None:
        """Raises DiskError where a program has files open for writing there."""
        run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", str(self.root))

    def repair(self) -> None:
        """What a boot does: unmount, check, mount. Whoever uses the disk must be stopped before.
        Raises DiskError."""
        self.unmount()
        done = subprocess.run(["e2fsck", "-p", self._loop], capture_output=True, text=True)
        if done.returncode > 1:  # 1: errors were corrected
            raise DiskError(f"e2fsck could not repair the disk: {done.stdout}{done.stderr}")
        self.mount()

    def detach(self) -> None:
        """Unmount, and end everything. The log and the images stay."""
        if os.path.ismount(self.root):
            try:
                self.unmount()
            except DiskError:
                subprocess.run(["umount", "--lazy", self.root], capture_output=True)
        if self._loop:
            subprocess.run(["losetup", "--detach", self._loop], capture_output=True)
            self._loop = ""
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(10)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._daemon = None
        if os.path.ismount(self._exported):
            subprocess.run(["umount", "--lazy", self._exported], capture_output=True)

    def position(self) -> int:
        """Length of the log, bytes: what was confirmed before this call was written before it."""
        return os.stat(self.log).st_size

    # faults

    def slow(self, bytes_per_second: int | None) -> None:
        """Write no faster than this; None: as fast as it can."""
        self._monitor.limit(THROTTLE, bps_write=bytes_per_second or 0)

    def fail_writes(self, fail: bool) -> None:
        """Let every write end with an input/output error, or no longer. Flushes pass."""
        self._monitor.fail_writes(errno.EIO if fail else 0, LOG, throttle)

    def fill(self, leave: int = 0) -> None:
        """Fill the disk but for about ``leave`` bytes; without any, to the last block."""
        disk = os.statvfs(self.root)
        with open(self.root / BALLAST, "wb") as file:
            size, step = 0, 2 ** (disk.f_bavail * disk.f_frsize).bit_length()
            while step >= disk.f_frsize:  # not all at once: the map of the file needs room too
                step //= 2
                disk = os.statvfs(self.root)
                if leave and disk.f_bavail * disk.f_frsize - step < leave:
                    continue
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
            os.fsync(file.fileno())

    def free(self) -> None:
        """Take the ballast away."""
        (self.root / BALLAST).unlink(missing_ok=True)

    def turn_read_only(self) -> None:
        """What ext4 does when a card fails: it goes read-only with files open for writing. ``repair`` ends it."""
        Path("/sys/fs/ext4", Path(self._loop).name, "trigger_fs_error").write_text("a test\n")
