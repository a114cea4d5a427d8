"""tenohira on its way to an instrument: as a wheel, as a folder to be carried to it, or over SSH.

What is done there is in ``service/provision.sh``, which needs nothing but a shell; this module brings it, and the
wheels, to the machine and starts it. The system's own OpenSSH does the rest, with its keys and its configuration.
"""

from __future__ import annotations

import email.parser
import importlib.metadata
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from device import __version__
from device.errors import DeployError

SERVICE = Path(__file__).with_name("service")  # provision.sh, units, settings
PYTHONS = ("3.11", "3.13")  # of Raspberry Pi OS 12 and 13
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}  # Debian's name -> the wheels' name
OLDEST_GLIBC = 36  # 2.36, of Debian 12
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "device", "train", "quantize")
CLOCKS_AGREE_S = 120
AS_TENOHIRA = "setpriv --reuid tenohira --regid tenohira --init-groups --reset-env"


@dataclass(frozen=True)
class Target:
    """A machine as OpenSSH knows it. ``config`` replaces the user's own ssh configuration (``ssh -F``)."""

    host: str
    user: str | None = None
    port: int | None = None
    config: Path | None = None

    @property
    def options(self) -> list[str]:
        """For ssh and scp alike. A key that is not known yet is never taken over by itself."""
        given = {"User": self.user, "Port": self.port, "StrictHostKeyChecking": "yes"}
        options = ["-F", str(self.config)] if self.config else []
        return options + [part for name, value in given.items() if value for part in ("-o", f"{name}={value}")]


@dataclass(frozen=True)
class Facts:
    """What a machine says of itself."""

    root: bool
    time: int  # seconds since 1970
    machine: str  # aarch64 or x86_64
    python: str  # 3.11


@dataclass(frozen=True)
class Order:
    """What is to be done. ``wheels`` is a folder of ``fetch``; without one the machine asks its own index."""

    wheels: Path | None = None
    camera: str | None = None
    kiosk: bool = False
    rollback: bool = False


def deploy(target: Target, order: Order, dry_run: bool = False) -> int:
    """Install or update tenohira on a machine, and run its self-test there. Returns 0, or 1 where that failed.

    Prints what happens. Raises DeployError where the machine cannot be reached or the installation failed; then
    the version that was there before goes on.
    """
    with _connection(target) as link:
        facts = link.facts()
        print(f"{target.host}: {facts.machine}, Python {facts.python}")
        _look_at_clock(facts)
        arguments = _arguments(order)
        if dry_run:
            link.look(arguments)
            return 0
        if order.wheels is not None:
            _must_fit(order.wheels, facts)
        with link.folder() as remote, tempfile.TemporaryDirectory(prefix="tenohira-") as scratch:
            if order.rollback:
                link.copy([SERVICE], remote)
            else:
                wheels = _payload(order.wheels, Path(scratch))
                print(f"copying {len(wheels)} wheels, {sum(w.stat().st_size for w in wheels) / 1e6:.0f} MB")
                link.copy([SERVICE, *wheels], remote)
                arguments += ["--wheels", remote]
            link.provision(facts, ["sh", f"{remote}/service/provision.sh", *arguments])
        return link.selftest(facts)


def fetch(folder: Path, python: str, machine: str) -> list[Path]:
    """Make a folder from which an instrument is installed without a network: tenohira's wheel, every library for
    ``python`` ("3.11") on ``machine`` ("aarch64"), and ``service/provision.sh``. Returns the wheels.

    Raises DeployError where something cannot be fetched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    shutil.copytree(SERVICE, folder / "service", dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    wheel = make_wheel(folder)
    limits = SERVICE / f"constraints-{python}.txt"
    options = ["--constraint", str(limits)] if limits.exists() else []
    wanted = [str(wheel)]
    while wanted:
        _download(wanted, folder, python, machine, options)
        # pip decides on this machine's markers what another machine needs, so its answer is looked through again.
        wanted = sorted(missing(folder, python, machine))
    return sorted(folder.glob("*.whl"))


def make_wheel(folder: Path) -> Path:
    """tenohira as it runs here, as a wheel in ``folder``: built from its source, or packed again from what is
    installed. Raises DeployError."""
    source = SERVICE.parents[1]
    if (source / "pyproject.toml").exists():
        return _built(source, folder)
    return _repacked(importlib.metadata.distribution("tenohira"), folder)


def missing(folder: Path, python: str, machine: str) -> set[str]:
    """The requirements that no wheel of a folder fulfils, for a Python version on a machine."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name, parse_wheel_filename

    there: dict[str, set[str]] = {}
    for path in folder.glob("*.whl"):
        name, version, _, _ = parse_wheel_filename(path.name)
        there.setdefault(name, set()).add(str(version))
    environment = {
        "python_version": python, "python_full_version": f"{python}.0", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
        "os_name": "posix", "platform_machine": machine, "extra": "",
    }  # fmt: skip
    wanted = (Requirement(line) for path in folder.glob("*.whl") for line in _requirements(path))
    return {
        str(r)
        for r in wanted
        if (r.marker is None or r.marker.evaluate(environment))
        and not any(r.specifier.contains(v, prereleases=True) for v in there.get(canonicalize_name(r.name), ()))
    }


def _requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.count("/") == 1 and n.endswith(".dist-info/METADATA")]
        return email.parser.BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist") or []


def _download(wanted: Iterable[str], folder: Path, python: str, machine: str, options: list[str]) -> None:
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(OLDEST_GLIBC, 16, -1)]
    _pip(
        "download", "--quiet", "--dest", str(folder), "--find-links", str(folder), "--only-binary=:all:",
        "--python-version", python, "--implementation", "cp",
        *(part for p in (*platforms, f"manylinux2014_{machine}") for part in ("--platform", p)),
        *options, *wanted,
        way_out="connect a network, or look whether the libraries have wheels for this Python",
    )  # fmt: skip


def _built(source: Path, folder: Path) -> Path:
    """From a copy, so that nothing is left in the source and nothing old is taken from its build folder."""
    with tempfile.TemporaryDirectory(prefix="tenohira-") as scratch:
        for name in SOURCES:
            if (source / name).is_dir():
                shutil.copytree(source / name, Path(scratch, name), ignore=shutil.ignore_patterns("__pycache__"))
            elif (source / name).exists():
                shutil.copy(source / name, scratch)
        tools = [] if importlib.util.find_spec("setuptools") is None else ["--no-build-isolation"]
        _pip(
            "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *tools, scratch,
            way_out="install setuptools, or connect a network",
        )  # fmt: skip
    (wheel,) = folder.glob(f"tenohira-{__version__}-*.whl")
    return wheel


def _repacked(distribution: importlib.metadata.Distribution, folder: Path) -> Path:
    """The files that pip has installed, in a wheel again; the list of their hashes (RECORD) stays as it is for
    those, and installing writes it anew."""
    wheel = folder / f"tenohira-{distribution.version}-py3-none-any.whl"
    skipped = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")
    kept = [
        f
        for f in distribution.files or []
        if f.parts[0] != ".." and "__pycache__" not in f.parts and f.name not in skipped
    ]
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in kept:
            archive.write(Path(str(file.locate())), str(file))
            mark = "" if file.hash is None else f"{file.hash.mode}={file.hash.value}"
            record.append(f"{file},{mark},{file.size or ''}")
        (info,) = {f.parts[0] for f in kept if f.parts[0].endswith(".dist-info")}
        archive.writestr(f"{info}/RECORD", "\n".join([*record, f"{info}/RECORD,,"]) + "\n")
    return wheel


def _pip(*arguments: str, way_out: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
        raise DeployError(f"pip {arguments[0]} failed ({said[-1].removeprefix('ERROR: ')}); {way_out}")


def _payload(wheels: Path | None, scratch: Path) -> list[Path]:
    """The wheels to be copied: a folder's, with tenohira's own made now where the folder lacks it."""
    found = sorted(wheels.glob("*.whl")) if wheels else []
    if not any(path.name.startswith("tenohira-") for path in found):
        found.append(make_wheel(scratch))
    return found


def _arguments(order: Order) -> list[str]:
    """Those of provision.sh, but for the folder."""
    if order.rollback:
        return ["--rollback"]
    arguments = [] if order.wheels else ["--index"]
    if order.camera:
        arguments += ["--camera", order.camera]
    return [*arguments, "--kiosk"] if order.kiosk else arguments


def _must_fit(wheels: Path, facts: Facts) -> None:
    """Raises DeployError where a folder of wheels is for another Python or another processor."""
    from packaging.tags import Tag, cpython_tags
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    again = f"tenohira deploy --fetch-wheels DIR --python {facts.python} --machine {facts.machine}"
    paths = sorted(wheels.glob("*.whl"))
    if not paths:
        raise DeployError(f"there is no wheel in {wheels}; make the folder with: {again}")
    version = tuple(int(n) for n in facts.python.split("."))
    platforms = [f"manylinux_2_{minor}_{facts.machine}" for minor in range(60, 4, -1)]
    good = {*cpython_tags(version, platforms=[*platforms, f"manylinux2014_{facts.machine}"])}
    pure = {Tag("py3", "none", "any"), Tag("py2", "none", "any"), Tag(f"py3{version[1]}", "none", "any")}
    for path in paths:
        try:
            tags = parse_wheel_filename(path.name)[3]
        except InvalidWheelFilename as error:
            raise DeployError(f"{path.name} is no wheel; make the folder anew with: {again}") from error
        if not tags & (good | pure):
            raise DeployError(
                f"{path.name} does not fit {facts.machine} with Python {facts.python}; fetch others with: {again}"
            )


def _look_at_clock(facts: Facts) -> None:
    off = facts.time - int(time.time())
    if abs(off) > CLOCKS_AGREE_S:
        side = "ahead of" if off > 0 else "behind"
        way_out = f"set it with: sudo date -s @{int(time.time())}"
        print(f"note: its clock is {abs(off)} s {side} this machine's; {way_out}")


@contextmanager
def _connection(target: Target) -> Iterator[_Link]:
    """One connection for all commands, so that a password is asked for once."""
    for tool in ("ssh", "scp"):
        if shutil.which(tool) is None:
            raise DeployError(f"there is no {tool} on this machine; install OpenSSH's client")
    with tempfile.TemporaryDirectory(prefix="tnh-") as scratch:
        shared = ["-o", "ControlMaster=auto", "-o", f"ControlPath={scratch}/%C", "-o", "ControlPersist=yes"]
        link = _Link(target, [*target.options, *shared])
        try:
            yield link
        finally:
            subprocess.run(["ssh", *link.options, "-O", "exit", target.host], capture_output=True)


class _Link:
    def __init__(self, target: Target, options: list[str]) -> None:
        self.target, self.options = target, options

    def facts(self) -> Facts:
        """Ask the machine. Raises DeployError where it cannot be reached, or is none that tenohira runs on."""
        asked = 'id -u; date +%s; dpkg --print-architecture; python3 -c "import sys; print(*sys.version_info[:2])"'
        done = self._run(asked)
        answer = done.stdout.split("\n")
        if done.returncode or len(answer) < 4 or answer[2] not in MACHINES:
            raise DeployError(
                f"{self.target.host} is no 64-bit Raspberry Pi OS or Debian with python3; write Raspberry Pi OS "
                "64-bit onto its card"
            )
        return Facts(answer[0] == "0", int(answer[1]), MACHINES[answer[2]], ".".join(answer[3].split()))

    @contextmanager
    def folder(self) -> Iterator[str]:
        """A folder on the machine (not in /tmp, which may lie in memory), gone afterwards."""
        done = self._run("mktemp -d /var/tmp/tenohira-XXXXXXXX")
        remote = done.stdout.strip()
        if done.returncode or not remote:
            raise DeployError(f"{self.target.host} cannot keep a file in /var/tmp; look at its disk")
        try:
            yield remote
        finally:
            self._run(f"rm -rf {shlex.quote(remote)}")

    def copy(self, paths: list[Path], remote: str) -> None:
        """Copy files and folders into a folder of the machine."""
        done = subprocess.run(
            ["scp", "-q", "-r", *self.options, *map(str, paths), f"{self.target.host}:{remote}/"],
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise DeployError(
                f"the copy to {self.target.host} failed; look at its disk and its network, and repeat"
            )

    def look(self, arguments: list[str]) -> None:
        """Have provision.sh look at the machine; nothing is written there. Raises DeployError."""
        command = shlex.join(["sh", "-s", "--", "--dry-run", *arguments])
        if self._shown(command, (SERVICE / "provision.sh").read_bytes()):
            raise DeployError(f"tenohira cannot be installed on {self.target.host}; its reason stands above")

    def provision(self, facts: Facts, command: list[str]) -> None:
        """Run provision.sh as root; what it says is seen here. Raises DeployError."""
        if self._shown(_as_root(facts, shlex.join(command))):
            raise DeployError(
                f"{self.target.host} was not set up (its reason stands above; the whole log is there in "
                "/var/log/tenohira-provision.log)"
            )

    def selftest(self, facts: Facts) -> int:
        """The self-test as the service's user, shown here; its exit code."""
        command = "/opt/tenohira/current/bin/tenohira selftest --store /var/lib/tenohira/record"
        return self._shown(_as_root(facts, f"{AS_TENOHIRA} {command}"))

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        """What a command on the machine says; ssh's own complaints are seen here."""
        done = subprocess.run(
            ["ssh", *self.options, self.target.host, command], stdout=subprocess.PIPE, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode == 255:
            raise self._unreachable()
        return done

    def _shown(self, command: str, given: bytes | None = None) -> int:
        """Run a command whose words go straight to the terminal, from which sudo may ask for a password."""
        terminal = ["-t"] if given is None and sys.stdin.isatty() else []
        done = subprocess.run(
            ["ssh", "-q", *terminal, *self.options, self.target.host, command],
            input=given,
            **({} if given is not None or terminal else {"stdin": subprocess.DEVNULL}),  # type: ignore[call-overload]
        )
        if done.returncode == 255:
            raise self._unreachable()
        return int(done.returncode)

    def _unreachable(self) -> DeployError:
        by_hand = shlex.join(["ssh", *self.target.options[:-2], self.target.host])
        return DeployError(
            f"{self.target.host} cannot be reached by ssh (its reason stands above); connect once by hand with "
            f"'{by_hand}', compare the fingerprint that it shows with the machine's, then try again"
        )


def _as_root(facts: Facts, command: str) -> str:
    return f"cd / && {command}" if facts.root else f"cd / && sudo {command}"
