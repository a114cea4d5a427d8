"""The virtual Pi's disks: the arm64 root, made an instrument by provision.sh as an operator would, and a kernel.

``build()`` runs this checkout's provision.sh in a copy of the root (by qemu-user), with the folder that
``tenohira deploy --fetch-wheels`` makes, lays what a virtual machine has of its own (keys, networks, pictures in
front of the virtual camera), and makes disks of it. Unlike on a board, tenohira's libraries are the root's, with
its fixed versions (PIP_NO_DEPS): the same for all emulated rungs, and minutes faster for each commit.

    ~/.cache/tenohira/guest/HASH/system.raw   ext4, the system
    ~/.cache/tenohira/guest/HASH/record.raw   ext4, /var/lib/tenohira: power cuts and broken disks concern it alone
    ~/.cache/tenohira/guest/HASH/key          by which root of the guest is reached; made here, known nowhere else

The hash is that of the root, of tenohira's sources and of this file. By hand:
``python -m hil_tests.images.guest``.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pictures

from hil_tests.images import binfmt, chroot, kernel, root
from hil_tests.images.root import quietly
from hil_tests.virtual_camera import environment

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "device", "train", "quantize")  # what tenohira's wheel is made of
TOOLS = ("mke2fs", "qemu-img", "qemu-system-aarch64", "ssh-keygen")
DEBIAN = "e2fsprogs qemu-utils qemu-system-arm openssh-client"
SYSTEM_MB, RECORD_MB = 4096, 2048  # sparse
KEPT = 3  # images, the ones used last
MODULES = (*kernel.MODULES, "i6300esb")  # the watchdog that a board has
STILL = (1640, 1232)  # pixels, a Camera Module 2's of half resolution: five megapixels take half a minute here
PICTURES = 2  # simulated retinas, shown in turn; opening the virtual camera decodes and scales all of them
# What a virtual machine has no use for, or a test no time: each unit costs emulated seconds.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer",
    "e2scrub_reap.service", "fstrim.timer", "systemd-pstore.service", "systemd-hwdb-update.service",
    "getty@tty1.service", "serial-getty@ttyAMA0.service", "systemd-timesyncd.service",
    "systemd-random-seed.service", "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service",
    "ldconfig.service", "systemd-journal-catalog-update.service", "sshd-keygen.service",
    "systemd-networkd-wait-online.service", "systemd-logind.service", "user@.service",
    "user-runtime-dir@.service", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "modprobe@drm.service",
    "modprobe@fuse.service", "modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@loop.service",
    "modprobe@efi_pstore.service", "systemd-modules-load.service", "systemd-binfmt.service",
    "kmod-static-nodes.service",
)  # fmt: skip
# qemu's two user networks: by the first comes SSH, by the second goes what the instrument sends.
NETWORK = "[Match]\nMACAddress=52:54:00:00:00:0{n}\n[Network]\nAddress=10.0.{net}.15/24\nLinkLocalAddressing=no\n"
FILES = {
    "etc/hostname": "tenohira-virtual\n",
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/hosts": "127.0.0.1 localhost tenohira-virtual\n",
    # Whoever needs the folder (the service's StateDirectory=) has it mounted, after a look at its file system.
    "etc/fstab": "/dev/disk/by-id/virtio-record /var/lib/tenohira ext4 noauto,noatime,errors=remount-ro 0 2\n",
    "etc/systemd/network/ssh.network": NETWORK.format(n=1, net=2),
    "etc/systemd/network/site.network": NETWORK.format(n=2, net=3),
    "etc/ssh/sshd_config.d/rig.conf": "PermitRootLogin prohibit-password\nLogLevel FATAL\nMaxSessions 50\n",
    # The journal is seen from outside, too, so that what was said before a cut is not lost with it.
    "etc/systemd/journald.conf.d/rig.conf": "[Journal]\nForwardToConsole=yes\nTTYPath=/dev/ttyAMA0\n",
    # The state in which the guest is remembered: reachable, with nothing of the instrument (drivers/qemu.py).
    "etc/systemd/system/rig-waits.target": "[Unit]\nDescription=the rig waits\nRequires=basic.target\n"
    "After=basic.target ssh.service systemd-networkd.service\nWants=ssh.service systemd-networkd.service\n"
    "AllowIsolate=yes\n",
}


@dataclass(frozen=True)
class Image:
    """Files; the disks are to be copied or covered, never written to."""

    system: Path
    record: Path
    kernel: Path
    initramfs: Path
    key: Path


def missing() -> str:
    """Why the image cannot be built here; empty where it can."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"needs the programs {', '.join(absent)}; on Debian: apt install {DEBIAN}"
    return root.missing()


def cache() -> Path:
    """The folder of all images."""
    return root.cache().parent / "guest"


def fingerprint() -> str:
    """Of everything that goes into the image."""
    digest = hashlib.sha256(f"{root.fingerprint()}\0".encode() + Path(__file__).read_bytes())
    for name in SOURCES:
        top = CHECKOUT / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\0{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build() -> Image:
    """The image, made now unless it is there already. Two that build wait for each other."""
    folder = cache() / fingerprint()
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            base, start = root.build(), time.monotonic()
            with tempfile.TemporaryDirectory(prefix="unfinished-", dir=cache()) as scratch:
                _make(base, Path(scratch))
                (Path(scratch) / "image").rename(folder)
            print(f"built {folder} in {time.monotonic() - start:.0f} s", file=sys.stderr)
        folder.touch()
    _prune()
    return Image(*(folder / name for name in ("system.raw", "record.raw", "kernel", "initramfs", "key")))


def _prune() -> None:
    """Each commit makes an image of its own; the old ones go."""
    images = [path for path in cache().iterdir() if path.is_dir() and not path.name.startswith("unfinished-")]
    for old in sorted(images, key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _make(base: Path, scratch: Path) -> None:
    image = scratch / "image"
    image.mkdir()
    _fetch(scratch / "wheels")
    _photographs(scratch / "pictures")
    shutil.copy(kernel.image(base), image / "kernel")
    kernel.initramfs(base, image / "initramfs", names=MODULES)
    with _copy(base, scratch) as card:
        _lay(card, image)
        shutil.copytree(scratch / "pictures", card / "pictures", dirs_exist_ok=True)
        with binfmt.registered():
            binds = [(scratch / "wheels", "/mnt", "ro")]
            provision = ["sh", "/mnt/service/provision.sh", "--wheels", "/mnt", "--camera", "picamera2"]
            quietly(chroot.command(card, provision, binds=binds, environment={"PIP_NO_DEPS": "1"}))
        _disk(image / "record.raw", card / "var/lib/tenohira", RECORD_MB)
        for path in (card / "var/lib/tenohira").iterdir():
            shutil.rmtree(path)
        _disk(image / "system.raw", card, SYSTEM_MB)


@contextmanager
def _copy(base: Path, scratch: Path) -> Iterator[Path]:
    """The root with a layer over it that takes all changes."""
    card = scratch / "card"
    for name in ("card", "upper", "work"):
        (scratch / name).mkdir()
    layers = f"lowerdir={base},upperdir={scratch / 'upper'},workdir={scratch / 'work'}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, card], check=True)
    try:
        yield card
    finally:
        subprocess.run(["umount", "--lazy", card], check=True)


def _fetch(folder: Path) -> None:
    """The folder that is carried to an instrument without a network."""
    quietly([sys.executable, "-m", "device.cli", "deploy", "--fetch-wheels", str(folder), "--python", root.PYTHON])


def _photographs(folder: Path) -> None:
    """JPEG files of the size and shape of the camera's frames, with the colours of NV12."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as drawn:
        command = ["samples", "--simulated", str(PICTURES), "--seed", "6", "--out", drawn]
        quietly([sys.executable, "-m", "device.cli", *command])
        for n, path in enumerate(sorted(Path(drawn).glob("*.png"))):
            picture = Pictures.open(path).convert("RGB")
            canvas = Pictures.new("RGB", STILL)
            scale = min(canvas.width / picture.width, canvas.height / picture.height)
            size = (int(picture.width * scale), int(picture.height * scale))
            place = ((canvas.width - size[0]) // 2, (canvas.height - size[1]) // 2)
            canvas.paste(picture.resize(size, Pictures.Resampling.LANCZOS), place)
            canvas.save(folder / f"{n}.jpg", quality=95, subsampling="4:2:0")


def _lay(card: Path, image: Path) -> None:
    """What this machine has of its own."""
    environment.offer(card, (STILL, environment.SIZES[1]))
    for name, text in FILES.items():
        (card / name).parent.mkdir(parents=True, exist_ok=True)
        (card / name).write_text(text)
    # What update-ca-certificates makes, in a minute under emulation; pip wants it even where it asks no network.
    certificates = sorted((card / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (card / "etc/ssl/certs/ca-certificates.crt").write_text("".join(file.read_text() for file in certificates))
    for unit in MASKED:
        place = card / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to("/dev/null")
    wants = card / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "systemd-networkd.service").unlink(missing_ok=True)
    (wants / "systemd-networkd.service").symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    for key in (image / "key", card / "etc/ssh/ssh_host_ed25519_key"):
        quietly(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tenohira rig", "-f", str(key)])
    (card / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copy(image / "key.pub", card / "root/.ssh/authorized_keys")
    (card / "etc/machine-id").write_text(hashlib.sha256((image / "key.pub").read_bytes()).hexdigest()[:32] + "\n")


def _disk(file: Path, folder: Path, megabytes: int) -> None:
    """A sparse file with a file system that holds what the folder holds; its top belongs to the folder's owner."""
    top = folder.stat()
    owner = f"root_owner={top.st_uid}:{top.st_gid}"
    quietly(["mke2fs", "-q", "-t", "ext4", "-E", owner, "-d", str(folder), str(file), f"{megabytes}M"])


if __name__ == "__main__":
    if why := missing():
        sys.exit(why)
    print(build())
