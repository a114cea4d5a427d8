"""Commands in a root folder, among mounts and processes of their own that end with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# /sys is needed: without it LiteRT does not learn what the processor can do, and silently leaves XNNPACK out.
_SCRIPT = """
set -e
root=$1; shift
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mount --bind -o "$1" "$2" "$root$3"; shift 3; done; shift
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/run"
exec chroot "$root" "$@"
"""


def command(
    root: Path,
    arguments: Sequence[str],
    *,
    binds: Sequence[tuple[Path, str, str]] = (),
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """A command line that runs ``arguments`` in ``root``, as root.

    ``binds``: folder outside, place inside (it exists), and "ro" or "rw". The network is this machine's.
    """
    mounts = [text for outside, inside, mode in binds for text in (mode, str(outside.resolve()), inside)]
    variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **(environment or {})}
    return [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private",
        "env", "-i", *(f"{name}={value}" for name, value in variables.items()),
        "sh", "-c", _SCRIPT, "sh", str(root.resolve()), *mounts, "--", *arguments,
    ]  # fmt: skip
