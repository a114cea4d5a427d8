"""Commands in a root folder, among mounts and processes of their own that end with them.

``command`` is for one; ``entered`` for many that share what they write, which is forgotten at the end.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# A Pi's core. qemu's own choice ("max") has long vectors (SVE) that no Pi has; with them the width of a picture's
# edges comes out wrong, and it is rejected. (With those of a neoverse-v1, of 256 bits, it is right.)
CORE = "cortex-a72"
Binds = Sequence[tuple[Path, str, str]]  # a folder outside, a place inside (it exists), and "ro" or "rw"
ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private")
WITH_ITS_PARENT = ("setpriv", "--pdeathsig", "KILL")
# /sys is needed: without it LiteRT does not learn what the processor can do, and silently leaves XNNPACK out.
_MOUNTS = """
while [ "$1" != -- ]; do mount --bind -o "$1" "$2" "$root$3"; shift 3; done; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
"""
_ONE = f"""
set -e
root=$1; shift
mount --bind "$root" "$root"
{_MOUNTS}
exec chroot "$root" "$@"
"""
_MANY = f"""
set -e
base=$1 folder=$2; shift 2
mount -t tmpfs tmpfs "$folder"
mkdir "$folder/upper" "$folder/work" "$folder/root"
root=$folder/root
mount -t overlay -o "lowerdir=$base,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
{_MOUNTS}
echo entered
exec sleep infinity
"""


def command(
    root: Path, arguments: Sequence[str], *, binds: Binds = (), environment: Mapping[str, str] | None = None
) -> list[str]:
    """A command line that runs ``arguments`` in ``root``, as root. The network is this machine's."""
    script = ["sh", "-c", _ONE, "sh", str(root.resolve()), *_words(binds), "--", *arguments]
    return [*ALONE, *_clean(environment), *script]


@dataclass(frozen=True)
class Entered:
    """A root that is written to in memory only. ``pid`` is a process in it, ``folder`` its place in there."""

    pid: int
    folder: str

    def command(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
        """A command line that runs ``arguments`` in it."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "chroot", self.folder]
        return [*enter, *_clean(environment), *arguments]

    def path(self, inside: str) -> Path:
        """Where a file of it is, as seen from outside."""
        return Path(f"/proc/{self.pid}/root{self.folder}/{inside.lstrip('/')}")


@contextlib.contextmanager
def entered(root: Path, binds: Binds = ()) -> Iterator[Entered]:
    """The root with a layer of memory over it. All that runs in it ends with it."""
    with tempfile.TemporaryDirectory() as folder:
        script = ["sh", "-c", _MANY, "sh", str(root.resolve()), folder, *_words(binds), "--"]
        process = subprocess.Popen(
            [*WITH_ITS_PARENT, *ALONE, *script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        try:
            if process.stdout is None or process.stdout.readline() != "entered\n":
                raise SystemExit(f"no root could be mounted of {root}")
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            yield Entered(int(first), f"{folder}/root")
        finally:
            process.kill()
            process.wait()


def _words(binds: Binds) -> list[str]:
    return [word for outside, inside, mode in binds for word in (mode, str(outside.resolve()), inside)]


def _clean(environment: Mapping[str, str] | None) -> list[str]:
    variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "QEMU_CPU": CORE, **(environment or {})}
    return ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
