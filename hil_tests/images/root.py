"""Debian 13 for arm64 in a folder: systemd, SSH, libcamera with picamera2, and the libraries that tenohira needs.

One root serves both emulators: programs run in it by qemu-user (``chroot.py``, ``binfmt.py``), and a disk made of
it boots under qemu-system. tenohira itself is not in it, since it changes with each commit. ``build()`` makes it
from Debian packages and wheels, once for each content of the files that go into it, outside of the repository:

    ~/.cache/tenohira/arm64-root/HASH/root        the root
    ~/.cache/tenohira/arm64-root/HASH/packages    Debian packages of the kernel and of busybox (see kernel.py)

Libraries have fixed versions (``libraries.txt``): instruction counts are compared between machines and months.
By hand: ``python -m hil_tests.images.root``. Needs root, mmdebstrap, qemu-user and registries for apt and pip.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hil_tests.images import binfmt, chroot
from hil_tests.virtual_camera import environment

HERE = Path(__file__).resolve().parent
SUITE, PYTHON = "trixie", "3.13"
LIBRARIES = f"usr/local/lib/python{PYTHON}/dist-packages"
PACKAGES = (
    "systemd", "systemd-sysv", "libpam-systemd", "udev", "dbus", "openssh-server", "sudo", "procps",
    "iproute2", "kmod", "e2fsprogs", "python3", "python3-venv",
    "python3-libcamera", "python3-prctl", "libarchive13t64",
)  # fmt: skip
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
INPUTS = ("root.py", "hooks.sh", "libraries.txt")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
TOOLS = ("mmdebstrap", "chroot", "unshare", "mount")


def missing() -> str:
    """Why the root cannot be built or used here; empty where it can."""
    if os.geteuid():
        return "needs root, for chroot and mounts"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"needs the programs {', '.join(absent)}; on Debian: apt install mmdebstrap"
    return binfmt.missing()


def cache() -> Path:
    """The folder of all roots."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenohira" / "arm64-root"


def fingerprint() -> str:
    """Of everything that goes into the root."""
    files = [HERE / name for name in INPUTS]
    files += [environment.HERE / name for name in ("environment.py", *environment.SHIMS)]
    content = [file.read_bytes() for file in files] + [line.encode() for line in environment.dependencies()]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def build() -> Path:
    """The root's folder, made now unless it is there already. Two that build wait for each other."""
    folder = cache() / fingerprint()
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            start = time.monotonic()
            with _unfinished() as unfinished:
                _make(unfinished)
                unfinished.rename(folder)
            print(f"built {folder / 'root'} in {time.monotonic() - start:.0f} s", file=sys.stderr)
    return folder / "root"


@contextlib.contextmanager
def _unfinished() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache()) as holder:
        folder = Path(holder) / "image"
        folder.mkdir()
        yield folder


def _make(folder: Path) -> None:
    root, wheels = folder / "root", folder / "wheels"
    with binfmt.registered():
        with ThreadPoolExecutor() as pool:  # of which one mostly computes and the other mostly waits for a network
            tasks = [pool.submit(_debian, root, folder / "packages"), pool.submit(_libraries, wheels)]
            for task in tasks:
                task.result()
        shutil.copytree(wheels, root / LIBRARIES, dirs_exist_ok=True)
        shutil.rmtree(wheels)
        environment.shims(root)
        _anonymous(root)
        _byte_compiled(root)


def _debian(root: Path, packages: Path) -> None:
    hooks = f"sh {HERE / 'hooks.sh'}"
    quietly(
        [
            "mmdebstrap", "--quiet", "--mode=root", "--architectures=arm64", "--variant=minbase",
            "--skip=check/qemu",  # asks Debian's own set-up of binfmt; ours is registered
            f"--include={','.join(PACKAGES)}",
            "--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
            f'--essential-hook={hooks} stub "$1"', f'--customize-hook={hooks} unstub "$1"',
            f'--customize-hook={hooks} fetch "$1" {packages}',
            SUITE, str(root),
        ]
    )  # fmt: skip


def _libraries(folder: Path) -> None:
    """Wheels for the root, fetched and unpacked by this machine's pip with its settings."""
    alone = [name for name in environment.WHEELS if name.startswith("picamera2")]
    others = sorted(set(environment.WHEELS) - set(alone))
    # pip does not know by itself that a newer glibc (trixie has 2.41) takes the wheels for older ones.
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 42)]
    foreign = ["--only-binary=:all:", "--python-version", PYTHON, *platforms, "--platform=manylinux2014_aarch64"]
    with tempfile.TemporaryDirectory(dir=folder.parent) as wheels:
        fetch = [*PIP, "download", *foreign, "--constraint", str(HERE / "libraries.txt"), "--dest", wheels]
        quietly([*fetch, *environment.dependencies(), *others])
        quietly([*fetch, "--no-deps", *alone])
        unpack = [*PIP, "install", *foreign, "--no-index", "--no-deps", "--ignore-requires-python", "--no-compile"]
        quietly([*unpack, "--target", str(folder), *map(str, Path(wheels).iterdir())])
    shutil.rmtree(folder / "bin", ignore_errors=True)  # start scripts for this machine's Python
    for name in environment.SOURCES:
        _source(name, folder)


def _source(name: str, folder: Path) -> None:
    """The Python modules of a package without a wheel; picamera2 imports them, and calls nothing compiled."""
    with tempfile.TemporaryDirectory() as place:
        fetch = [*PIP, "download", "--no-deps", "--no-binary=:all:", "--constraint", str(HERE / "libraries.txt")]
        quietly([*fetch, "--dest", place, name])
        (archive,) = Path(place).iterdir()
        shutil.unpack_archive(archive, place)
        for module in Path(place).glob("*/src/*/__init__.py"):
            shutil.copytree(module.parent, folder / module.parent.name)


def _anonymous(root: Path) -> None:
    """What each machine has of its own is made at its first start."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")


def _byte_compiled(root: Path) -> None:
    """As pip and dpkg leave it on a board: without that, each start would compile."""
    places = ("/usr/lib/python3", f"/usr/lib/python{PYTHON}", f"/{LIBRARIES}")
    compile_all = ["python3", "-m", "compileall", "-q", "-j", str(os.cpu_count() or 1)]
    quietly(chroot.command(root, [*compile_all, *places]))


def quietly(command: list[str]) -> None:
    """Run a command; its output is shown where it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}")


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    print(build())
