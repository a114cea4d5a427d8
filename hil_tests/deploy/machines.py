"""Machines to deploy to, on this one: a Debian root booted by systemd-nspawn, or entered without systemd.

Each is a fresh copy (overlay) of the root that build_root.sh has built, with OpenSSH's server on a port of the
loopback and keys that live as long as the test.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ.get("TENOHIRA_DEPLOY_ROOT", Path.home() / ".cache" / "tenohira" / "deploy-root"))
USER = "admin"
BOOT_S = 90.0

SSHD = """
Port {port}
ListenAddress 127.0.0.1
PasswordAuthentication no
"""
CONFIG = """
Host *
  IdentityFile {folder}/key
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile none
"""
# The loopback is shared with the host, so the pages get a port of their own.
SETTINGS = "TENOHIRA_CAMERA=picamera2\nTENOHIRA_PORT={pages}\nTENOHIRA_LISTEN=127.0.0.1\nTENOHIRA_THREADS=1\n"


@dataclass(frozen=True)
class Machine:
    """One that runs. ``config`` is for ``ssh -F``."""

    port: int
    pages: int
    config: Path
    root: Path

    def ssh(self, command: str, check: bool = True) -> str:
        """What a command says there."""
        done = subprocess.run(
            ["ssh", "-F", self.config, "-p", str(self.port), f"{USER}@127.0.0.1", command],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip
        if check and done.returncode:
            raise AssertionError(f"{command} -> {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()


def lacking() -> str:
    """What is missing for these tests on this machine; empty where nothing is."""
    if not (ROOT / "usr").is_dir():
        return "no Debian root; build it with: sh hil_tests/deploy/build_root.sh"
    if os.geteuid() != 0:
        return "mounting and booting need root"
    absent = [tool for tool in ("ssh", "scp", "ssh-keygen", "systemd-nspawn") if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


class System:
    """systemd on a card, in a container."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start, and wait until it answers."""
        command = ["systemd-nspawn", "--quiet", "--directory", self._machine.root, "--boot", "--keep-unit"]
        command += ["--register=no", "--machine", f"tenohira-{self._machine.port}"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        with (self._machine.root.parent / "console.log").open("ab") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        reachable(self._machine)

    def cut_power(self) -> None:
        """Everything in it ends at once, by SIGKILL; nothing is written any more."""
        assert self._process is not None
        # The first process of the container, with which the kernel ends all others; without it nspawn ends, too.
        for first in Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split():
            os.kill(int(first), signal.SIGKILL)
        self._process.wait(30)

    def shut_down(self) -> None:
        """In order; by force where that takes too long."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self.cut_power()


@contextmanager
def booted(folder: Path) -> Iterator[tuple[Machine, System]]:
    """A machine on which systemd runs."""
    with card(folder) as machine:
        system = System(machine)
        try:
            system.boot()
            yield machine, system
        finally:
            system.shut_down()


@contextmanager
def without_systemd(folder: Path) -> Iterator[Machine]:
    """A machine on which nothing runs but OpenSSH's server: a root that is being prepared."""
    with card(folder) as machine:
        mounts = [("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "run")]
        for kind, place in mounts:
            subprocess.run(["mount", "-t", kind, kind, machine.root / place], check=True)
        subprocess.run(["mount", "--bind", "/dev", machine.root / "dev"], check=True)
        (machine.root / "run/sshd").mkdir(mode=0o755)
        server = subprocess.Popen(["chroot", machine.root, "/usr/sbin/sshd", "-D"])
        try:
            reachable(machine)
            yield machine
        finally:
            server.terminate()
            server.wait()
            for place in ("dev", *(place for _, place in mounts)):
                subprocess.run(["umount", "--lazy", machine.root / place])


@contextmanager
def card(folder: Path) -> Iterator[Machine]:
    """A copy of the root with a user, keys and settings."""
    root = folder / "root"
    for name in ("root", "upper", "work"):
        (folder / name).mkdir(parents=True)
    layers = f"lowerdir={ROOT},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
    try:
        machine = Machine(_free_port(), _free_port(), folder / "config", root)
        _keys(machine, folder)
        (root / "etc/ssh/sshd_config.d/test.conf").write_text(SSHD.format(port=machine.port))
        (root / "etc/sudoers.d/admin").write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
        (root / "etc/hostname").write_text("tenohira-deploy\n")
        (root / "etc/hosts").write_text("127.0.0.1 localhost tenohira-deploy\n")
        (root / "etc/tenohira").mkdir()
        (root / "etc/tenohira/tenohira.env").write_text(SETTINGS.format(pages=machine.pages))
        machine.config.write_text(CONFIG.format(folder=folder))
        yield machine
    finally:
        subprocess.run(["umount", "--lazy", root])


def _keys(machine: Machine, folder: Path) -> None:
    for path in (folder / "key", machine.root / "etc/ssh/ssh_host_ed25519_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    subprocess.run(["chroot", machine.root, "useradd", "--create-home", "--shell", "/bin/sh", USER], check=True)
    home = machine.root / "home" / USER
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy(folder / "key.pub", home / ".ssh/authorized_keys")
    subprocess.run(["chroot", machine.root, "chown", "-R", f"{USER}:", f"/home/{USER}"], check=True)
    public = (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{machine.port} {public}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def reachable(machine: Machine) -> None:
    """Wait until it answers."""
    end = time.monotonic() + BOOT_S
    while time.monotonic() < end:
        try:
            if machine.ssh("echo up", check=False) == "up":
                return
        except subprocess.TimeoutExpired:
            pass
        time.sleep(0.5)
    raise AssertionError(
        f"the machine did not answer within {BOOT_S:.0f} s; see console.log beside {machine.root}"
    )
