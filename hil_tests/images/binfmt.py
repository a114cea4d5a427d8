"""The kernel hands programs of aarch64 to qemu-user for as long as somebody asks for that.

A machine that is set up for this already (Debian's qemu-user-binfmt) is left as it is; otherwise the rule is ours,
has a name of its own and goes with its last user, and so does the mount.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAME = "tenohira-aarch64"
LOCK = Path("/run/tenohira-aarch64.lock")  # rules are the kernel's, so the lock is the machine's
RULES = Path("/proc/sys/fs/binfmt_misc")  # where it is mounted nowhere, rules go: it stays mounted meanwhile
MAGIC = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
OLDEST = 10  # qemu 7.2 crashes in LiteRT's kernels


def missing() -> str:
    """Why programs of aarch64 cannot run here; empty where they can."""
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        return "needs qemu-aarch64; on Debian: apt install qemu-user (12: from bookworm-backports)"
    version = subprocess.run([qemu, "--version"], capture_output=True, text=True).stdout
    if int(version.split("version ")[1].split(".")[0]) < OLDEST:
        return f"needs qemu {OLDEST} or later, here is: {version.splitlines()[0]}"
    return ""


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Programs of aarch64 can be started meanwhile, also inside of a chroot that holds no qemu."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if not (RULES / "register").exists():  # where systemd does not run they are mounted nowhere
            subprocess.run(["mount", "-t", "binfmt_misc", NAME, RULES], check=True)
        if not _usable(RULES / "qemu-aarch64") and not _usable(RULES / NAME):
            _register()
        try:
            yield
        finally:
            with contextlib.suppress(BlockingIOError):  # somebody else still uses it
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clean()


def _clean() -> None:
    if (RULES / NAME).exists():
        (RULES / NAME).write_text("-1")
    if f"{NAME} {RULES} " in Path("/proc/self/mounts").read_text():
        subprocess.run(["umount", RULES])


def _usable(rule: Path) -> bool:
    """The letter F: the kernel holds qemu open, so that it needs not lie in the chroot."""
    return rule.exists() and any(
        line.startswith("flags:") and "F" in line for line in rule.read_text().splitlines()
    )


def _register() -> None:
    qemu = shutil.which("qemu-aarch64") or ""
    with contextlib.suppress(FileExistsError):  # another run was faster
        (RULES / "register").write_bytes(
            b":".join([b"", NAME.encode(), b"M", b"", MAGIC, MASK, qemu.encode(), b"F"])
        )
