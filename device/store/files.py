"""Files that are there whole and stay when the power goes: written, fsynced, renamed, and the folder fsynced."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from device.errors import StoreBusyError, StoreError, StoreFullError

FULL = (errno.ENOSPC, errno.EDQUOT)
UNFINISHED = ".tenohira-unfinished"  # in a folder that is being filled
PATIENCE = 10.0  # seconds that one program waits for another


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until it is on the disk; its name in the folder may not be, yet. OSError."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. OSError."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems of memory sticks cannot, and need not
            raise
    finally:
        os.close(file)


def make_folder(folder: Path) -> None:
    """Make a folder that is there after a power cut as well. OSError."""
    with suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)


def sync_tree(folder: Path) -> None:
    """Wait until all names in a folder and in those below it are on the disk. OSError."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)


def is_file(path: Path) -> bool:
    """Whether a file is there. Raises StoreError where that cannot be known, as in a folder of another user."""
    try:
        return path.is_file()
    except PermissionError as error:
        raise StoreError(
            f"{path.parent} may not be read; check its owner and permissions, and on an instrument work as the "
            "user of its service: sudo -u tenohira tenohira ..."
        ) from error
    except OSError as error:
        raise explained(error, path.parent) from error


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder that is there whole or not at all: fill ``OUT.part``, which becomes ``OUT`` at the end.

    What a run that was cut short left as ``OUT.part`` is removed first. Raises StoreError where ``OUT`` is there
    already, or cannot be written.
    """
    part = out.with_name(out.name + ".part")
    if os.path.lexists(out):
        raise StoreError(f"{out} is there already and was left as it is; give a name that is free")
    if os.path.lexists(part) and not (part / UNFINISHED).is_file():
        raise StoreError(f"{part} is in the way and is not ours; move it away, or give another name")
    with in_words(out.parent):
        if part.exists():
            shutil.rmtree(part)
        out.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(mode=0o700)
        try:
            (part / UNFINISHED).touch()
            yield part
            sync_tree(part)
            os.rename(part, out)
            (out / UNFINISHED).unlink()
            sync_folder(out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def in_words(folder: Path) -> Iterator[None]:
    """An OSError that happens inside becomes StoreFullError or StoreError."""
    try:
        yield
    except OSError as error:
        raise explained(error, folder) from error


def explained(error: OSError, folder: Path) -> StoreError:
    """The sentence for a disk that is full, closed, or does not answer."""
    if error.errno in FULL:
        return full(folder)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return read_only(folder)
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreError(f"{folder} is in the place of a folder and is none; give another place for the record")
    return StoreError(
        f"{folder} cannot be read or written ({error.strerror}); check the disk and its connection, then try again"
    )


def full(folder: Path) -> StoreFullError:
    """The sentence for a full disk."""
    return StoreFullError(
        f"the disk that holds {folder} is full, and this step was not recorded; free space, then repeat the step"
    )


def read_only(folder: Path) -> StoreError:
    """The sentence for a folder that may not be written to."""
    return StoreError(
        f"{folder} may not be written to; check its owner and permissions, "
        "and that its disk is not mounted read-only"
    )


@contextmanager
def held(folder: Path, *, alone: bool = False, patience: float = PATIENCE) -> Iterator[None]:
    """Keep others from removing pictures meanwhile; with ``alone``, from adding and copying them as well.

    The lock is the kernel's (flock) and goes with the process, however that ends. Raises StoreBusyError where
    others hold it for longer than ``patience`` seconds.
    """
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    end = time.monotonic() + patience
    with in_words(folder):
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        while True:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise busy(folder) from error
                time.sleep(0.01)
        yield
    finally:
        os.close(file)


def damaged(folder: Path, why: object) -> StoreError:
    """The sentence for a database that cannot be understood."""
    return StoreError(
        f"the record in {folder} is damaged ({why}); keep the folder as it is, and go on with the last backup, "
        "which is a whole record"
    )


def failing(folder: Path, why: object) -> StoreError:
    """The sentence for a disk that has failed, or that the system let nobody write to any more because it did."""
    return StoreError(
        f"the disk that holds {folder} has failed ({why}), as a worn card does; switch the instrument off and on, "
        "and try again; if this comes back, replace the card"
    )


def has_failed(folder: Path) -> bool:
    """Whether nothing can be put on a folder's disk, for other reasons than a lack of space."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return False
    except OSError as error:
        return error.errno in (errno.EROFS, errno.EIO)


def busy(folder: Path) -> StoreBusyError:
    """The sentence for a record that another program does not let go of."""
    return StoreBusyError(
        f"another program is at work on the record in {folder}, such as an export or a backup; "
        "wait until it is done, then try again"
    )


def free_bytes(folder: Path) -> int:
    """Bytes that this process may still write to the disk of a folder. Raises StoreError."""
    with in_words(folder):
        disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize
