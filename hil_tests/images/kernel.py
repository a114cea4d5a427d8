"""Debian's kernel for the arm64 root, and an initramfs that starts it: busybox, a few modules, and ``init.sh``.

``image(root)`` is the kernel, ``disk(root)`` the root's files for it. ``initramfs(root, target)`` writes an
archive with which the machine boots the disk's systemd, or runs one program with the disk read-only
(``tenohira.run=/job/NAME`` in the kernel's command line, with the program's files given as ``job``). Nothing of
the kernel lies in the root itself.
"""

from __future__ import annotations

import lzma
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from hil_tests.images.root import quietly

HERE = Path(__file__).resolve().parent
# Of the disk, its file system, and the network; what they need comes along. crc32c is found by name, not linked.
MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4", "overlay", "virtio_net", "virtio_rng")
SIZE = "2500M"  # of the disk; its unused part takes no room
FILE, FOLDER = 0o100000, 0o040000


def image(root: Path) -> Path:
    """The kernel that belongs to the root."""
    (kernel,) = (_unpacked(root) / "boot").glob("vmlinuz-*")
    return kernel


def modules(root: Path, names: Iterable[str] = MODULES) -> list[Path]:
    """The files of these kernel modules and of what they need, in the order in which they can be loaded.

    A name that is compiled into the kernel has no file, and none is returned. SystemExit for an unknown one.
    """
    (folder,) = (_unpacked(root) / "usr/lib/modules").iterdir()
    files = {_name(file): file for file in folder.glob("kernel/**/*.ko*")}
    built_in = {_name(Path(line)) for line in (folder / "modules.builtin").read_text().split()}
    found: dict[str, Path] = {}

    def add(name: str) -> None:
        if name in found or name in built_in:
            return
        if name not in files:
            raise SystemExit(f"the kernel has no module {name}")
        needs = re.search(rb"\0depends=([^\0]*)\0", content(files[name]))
        for other in filter(None, needs[1].decode().split(",") if needs else ()):
            add(other.replace("-", "_"))
        found[name] = files[name]

    for name in names:
        add(name)
    return list(found.values())


def disk(root: Path) -> Path:
    """An image of the root's files, for a machine that does not write to it. Made once, beside the root."""
    image = root.parent / "disk.ext4"
    if not image.exists():
        with tempfile.TemporaryDirectory(dir=root.parent) as unfinished:
            new = Path(unfinished) / "disk.ext4"
            fixed = ["-U", "clear", "-E", "hash_seed=00000000-0000-4000-8000-000000000000"]
            quietly(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", *fixed, "-d", str(root), str(new), SIZE])
            new.rename(image)
    return image


def content(module: Path) -> bytes:
    """The bytes of a module, which Debian compresses."""
    return lzma.decompress(module.read_bytes()) if module.suffix == ".xz" else module.read_bytes()


def initramfs(
    root: Path, target: Path, *, names: Iterable[str] = MODULES, job: Mapping[str, bytes] | None = None
) -> Path:
    """Write the archive. ``names``: modules that are loaded, in this order; ``job``: files of the folder /job."""
    entries = {"bin/busybox": (0o755, _busybox(root)), "init": (0o755, (HERE / "init.sh").read_bytes())}
    for number, module in enumerate(modules(root, names)):
        entries[f"modules/{number:02}-{_name(module)}.ko"] = (0o644, content(module))
    for name, data in (job or {}).items():
        entries[f"job/{name}"] = (0o755, data)
    with target.open("wb") as archive:
        for place in sorted({str(parent) for name in entries for parent in Path(name).parents} - {"."}):
            archive.write(_record(place, FOLDER | 0o755, b""))
        for name, (mode, data) in entries.items():
            archive.write(_record(name, FILE | mode, data))
        archive.write(_record("TRAILER!!!", 0, b""))
    return target


def _record(name: str, mode: int, data: bytes) -> bytes:
    """One file in cpio's format "newc", as the kernel's documentation (initramfs buffer format) has it."""
    numbers = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _name(module: Path) -> str:
    return module.name.split(".ko")[0].replace("-", "_")


def _busybox(root: Path) -> bytes:
    return (_unpacked(root) / "usr/bin/busybox").read_bytes()


def _unpacked(root: Path) -> Path:
    """The packages beside the root, unpacked there once."""
    folder = root.parent / "kernel"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=root.parent) as unfinished:
            for package in (root.parent / "packages").glob("*.deb"):
                quietly(["dpkg-deb", "--extract", str(package), unfinished])
            whole = Path(unfinished) / "whole"
            whole.mkdir()
            for name in ("boot", "usr"):
                shutil.move(Path(unfinished) / name, whole)
            if not folder.exists():
                whole.rename(folder)
    return folder
