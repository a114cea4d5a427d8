"""Debian 13 with libcamera's virtual camera, in a folder: what a Raspberry Pi's camera stack is without a Pi.

``build()`` makes it from Debian packages and wheels, once for each content of this file, the shims and tenohira's
dependencies, and keeps it in a cache outside of the repository. ``command`` runs one in it, with the
checkout at /tenohira and pictures in front of the camera. Needs root, mmdebstrap, pip and a package registry that
each of the two reaches; nothing of tenohira is imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
SUITE, PYTHON = "trixie", "3.13"
PATH = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PACKAGES = (
    "python3-libcamera", "python3-prctl", "libarchive13t64",
    "python3-pip", "python3-setuptools", "python3-wheel", "python3-dev", "gcc", "libc6-dev",
)  # fmt: skip
# Debian has no package of picamera2. What it imports, without its windows (PyQt5, DRM):
WHEELS = (
    "picamera2==0.3.38", "simplejpeg", "piexif", "videodev2", "OpenEXR", "av", "libarchive-c", "tqdm",
    "jsonschema",
)  # fmt: skip
SOURCES = ("PiDNG",)  # has no wheel; picamera2 imports it for raw files
SHIMS = ("virtual_camera_shims.py", "pykms.py")
SIZES = (
    (2592, 1944),
    (640, 480),
)  # of a still and of a preview, in pixels; libcamera serves the former by default


def missing() -> str:
    """Why the environment cannot be built or run here; empty where it can."""
    if os.geteuid():
        return "needs root, for chroot and mounts"
    absent = [tool for tool in ("mmdebstrap", "chroot", "unshare", "mount") if shutil.which(tool) is None]
    return f"needs the programs {', '.join(absent)}; on Debian: apt install mmdebstrap" if absent else ""


def dependencies() -> list[str]:
    """What the bare install of tenohira asks for."""
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return list(tomllib.load(file)["project"]["dependencies"])


def cache() -> Path:
    """The folder of all environments."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenohira" / "virtual-camera"


def fingerprint() -> str:
    """Of everything that goes into the environment."""
    content = [
        Path(__file__).read_bytes(),
        *((HERE / s).read_bytes() for s in SHIMS),
        *map(str.encode, dependencies()),
    ]
    return hashlib.sha256(b"\0".join(content)).hexdigest()[:16]


def build() -> Path:
    """The environment's folder, made now unless it is there already."""
    root = cache() / fingerprint()
    if not root.exists():
        start = time.monotonic()
        cache().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache()) as folder:
            unfinished = Path(folder) / "root"
            _debian(unfinished)
            _python(unfinished)
            shims(unfinished)
            with contextlib.suppress(OSError):  # another run was faster
                unfinished.rename(root)
        print(f"built {root} in {time.monotonic() - start:.0f} s", file=sys.stderr)
    return root


def _debian(root: Path) -> None:
    _quietly(["mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(PACKAGES)}", SUITE, str(root)])


def _python(root: Path) -> None:
    """Wheels are fetched by this machine's pip, with its settings, and installed in there without a network."""
    wheels = root / "wheels"
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels)]
    binary = ["--python-version", PYTHON, "--only-binary=:all:"]
    needs = [w for w in WHEELS if not w.startswith("picamera2")] + dependencies()
    _quietly([*download, *binary, "--no-deps", *(w for w in WHEELS if w not in needs)])
    _quietly([*download, *binary, *needs])
    _quietly([*download, "--no-deps", "--no-binary=:all:", *SOURCES])
    install = ["env", "-i", PATH, "chroot", str(root), "pip", "install", "--quiet", "--root-user-action=ignore"]
    install += ["--no-index", "--find-links=/wheels", "--no-build-isolation", "--ignore-installed"]
    install += ["--break-system-packages"]
    _quietly([*install, *needs])
    _quietly([*install, "--no-deps", *WHEELS, *SOURCES])
    shutil.rmtree(wheels)


def shims(root: Path) -> None:
    """One line at the end of the installed picamera2 loads the shims; see there what they do and why."""
    folder = root / "usr/local/lib" / f"python{PYTHON}" / "dist-packages"
    for name in SHIMS:
        shutil.copy(HERE / name, folder)
    with (folder / "picamera2" / "__init__.py").open("a") as file:
        file.write("\nimport virtual_camera_shims  # appended by tenohira's hil_tests/virtual_camera\n")
    offer(root, SIZES)
    for name in ("tenohira", "pictures", "out"):
        (root / name).mkdir()


def offer(root: Path, sizes: Iterable[tuple[int, int]]) -> None:
    """The virtual camera has frames of these sizes, the still's first, and shows what lies in /pictures."""
    formats = "".join(
        f"  - width: {width}\n    height: {height}\n    frame_rates:\n    - 30\n" for width, height in sizes
    )
    config = root / "usr/share/libcamera/pipeline/virtual/virtual.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f'"Virtual0":\n  supported_formats:\n{formats}  frames:\n    path: "/pictures"\n'
        '  location: "CameraLocationBack"\n  model: "Virtual Eye"\n'
    )


def _quietly(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}")


def command(root: Path, pictures: Path, out: Path, arguments: list[str]) -> list[str]:
    """A command line that runs ``arguments`` in the environment: the checkout, read-only, is the working folder,
    the JPEG files 0.jpg, 1.jpg... of ``pictures`` are what the camera sees, and /out is ``out``.

    Mounts and processes are the environment's own, and end with it; the network is this machine's.
    """
    script = (
        "set -e; root=$1 pictures=$2 out=$3 checkout=$4; shift 4; "
        'mount --bind "$root" "$root"; '
        'mount --bind -o ro "$checkout" "$root/tenohira"; mount --bind -o ro "$pictures" "$root/pictures"; '
        'mount --bind "$out" "$root/out"; mount --rbind /dev "$root/dev"; mount -t tmpfs tmpfs "$root/tmp"; '
        'mount -t proc proc "$root/proc"; mount -t sysfs -o ro sysfs "$root/sys"; '
        'exec chroot "$root" sh -c \'cd /tenohira && exec "$@"\' sh "$@"'
    )
    return [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation=private",
        "env", "-i", PATH, "HOME=/root", "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
        "LIBCAMERA_LOG_LEVELS=*:FATAL",
        "sh", "-c", script, "sh", str(root), str(pictures.resolve()), str(out.resolve()), str(CHECKOUT),
        *arguments,
    ]  # fmt: skip


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    print(build())
