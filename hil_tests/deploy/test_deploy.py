"""``tenohira deploy`` against a real machine: a Debian root under systemd-nspawn, reached by OpenSSH on loopback.

    sh hil_tests/deploy/build_root.sh          # once: half a minute, 300 MB
    python -m pytest hil_tests/deploy          # three to five minutes on two cores

It is Debian 12 (as Raspberry Pi OS 12) unless build_root.sh is given another suite: ``... FOLDER trixie``, and
TENOHIRA_DEPLOY_ROOT names that folder.

What a container cannot show: the board's own watchdog, the camera and the screen of a Pi, and its processor.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

import pytest

from hil_tests.deploy import machines
from hil_tests.deploy.machines import USER, Machine

CHECKOUT = Path(__file__).resolve().parents[2]
PYTHON = Path(os.path.realpath(machines.ROOT / "usr/bin/python3")).name.removeprefix("python")
CURRENT = "readlink /opt/tenohira/current"

pytestmark = pytest.mark.skipif(bool(machines.lacking()), reason=machines.lacking() or "everything is there")


def tenohira(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "device.cli", *map(str, arguments)],
        cwd=CHECKOUT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
    )  # fmt: skip


def deploy(machine: Machine, *arguments: object) -> subprocess.CompletedProcess[str]:
    options = ("--port", machine.port, "--user", USER, "--ssh-config", machine.config)
    done = tenohira("deploy", "127.0.0.1", *options, *arguments)
    print(done.stdout, done.stderr)
    return done


@pytest.fixture(scope="module")
def wheels(tmp_path_factory):
    """The folder that is carried to an instrument without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    done = tenohira("deploy", "--fetch-wheels", folder, "--python", PYTHON, "--machine", "x86_64")
    if done.returncode:
        pytest.skip(f"the wheels could not be fetched: {done.stderr}")
    return folder


@pytest.fixture(scope="module")
def booted(tmp_path_factory):
    with machines.booted(tmp_path_factory.mktemp("machine")) as both:
        yield both


@pytest.fixture(scope="module")
def instrument(booted, wheels):
    """The machine with the first version on it, and what deploy said."""
    machine, _ = booted
    looked = deploy(machine, "--wheels", wheels, "--dry-run")
    assert looked.returncode == 0 and "nothing was changed" in looked.stdout
    assert machine.ssh("ls /opt") == ""
    done = deploy(machine, "--wheels", wheels, "--camera", "simulated:3")
    assert done.returncode == 0, done.stderr
    return machine, done.stdout


def another(wheels: Path, folder: Path, version: str, **changes: bytes) -> Path:
    """The folder again with tenohira in another version; ``changes`` exchanges files by their name's stem."""
    shutil.copytree(wheels, folder)
    (old,) = folder.glob("tenohira-*.whl")
    was = old.name.split("-")[1]
    new = folder / old.name.replace(was, version, 1)
    with zipfile.ZipFile(old) as given, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as taken:
        for name in given.namelist():
            data = changes.get(Path(name).stem, given.read(name))
            if name.endswith("/METADATA"):
                data = data.replace(f"Version: {was}".encode(), f"Version: {version}".encode(), 1)
            taken.writestr(name.replace(f"tenohira-{was}.", f"tenohira-{version}."), data)
    old.unlink()
    return folder


def status(machine: Machine) -> dict:
    with urllib.request.urlopen(f"http://127.0.0.1:{machine.pages}/api/status", timeout=30) as answer:
        return json.load(answer)


def asked(machine: Machine, path: str, **form: str) -> dict:
    """What the instrument answers to a form."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{machine.pages}{path}",
        urllib.parse.urlencode(form).encode(),
        {"Accept": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def shown(machine: Machine, what: str) -> str:
    return machine.ssh(f"systemctl show tenohira --property={what} --value")


def test_a_fresh_machine_becomes_an_instrument(instrument):
    machine, said = instrument
    assert "service: active" in said and said.rstrip().endswith("self-test passed")
    assert machine.ssh("systemctl is-enabled tenohira") == "enabled"
    assert status(machine)["camera_error"] == ""
    assert machine.ssh("cat /etc/tenohira/tenohira.env", check=False) == ""  # it may hold an access code
    assert "TENOHIRA_CAMERA=simulated:3" in machine.ssh("sudo cat /etc/tenohira/tenohira.env")
    assert machine.ssh("systemctl --failed --no-legend") == ""
    assert machine.ssh("ls /var/tmp | grep -c tenohira-", check=False) == "0"


def test_systemd_was_told_that_it_is_ready(instrument):
    machine, _ = instrument
    assert shown(machine, "Type") == "notify" and shown(machine, "SubState") == "running"
    assert shown(machine, "StatusText") == "ready"


def test_the_service_has_no_rights_that_it_does_not_need(instrument):
    machine, _ = instrument
    state = machine.ssh(f"sudo cat /proc/{shown(machine, 'MainPID')}/status")
    fields = dict(line.split(":\t", 1) for line in state.splitlines() if ":\t" in line)
    assert fields["CapEff"].strip("0") == "" and fields["NoNewPrivs"] == "1" and fields["Seccomp"] == "2"
    assert fields["Uid"].split()[0] == machine.ssh("id -u tenohira")
    assert machine.ssh("systemd-analyze verify tenohira.service 2>&1") == ""
    assert float(machine.ssh("sudo systemd-analyze security tenohira --no-pager").split(": ")[-1].split()[0]) < 2


def test_the_self_test_passes_inside_of_the_service(instrument):
    """Camera process, runtime and record under the unit's restrictions, with the golden vectors to the bit."""
    machine, _ = instrument
    checks = asked(machine, "/selftest")["checks"]
    assert checks[0]["name"] == "camera" and checks[0]["ok"] is True
    assert sum(check["name"].startswith("model ") for check in checks) == 4
    assert [check for check in checks if check["ok"] is False] == []


def test_an_examination_after_a_power_cut(instrument, booted):
    """What was answered is there again, and the instrument by itself."""
    machine, system = booted
    visit = asked(machine, "/visits", participant="KAN-0012")["uid"]
    taken = asked(machine, f"/visits/{visit}/OD/captures")
    assert taken["laterality"] == "OD" and taken["result"]["outcome"] in ("refer", "no_referral", "ungradable")
    system.cut_power()
    system.boot()
    end = time.monotonic() + 60
    while shown(machine, "SubState") != "running":
        assert time.monotonic() < end, "the service did not come back"
        time.sleep(0.5)
    request = urllib.request.Request(f"http://127.0.0.1:{machine.pages}/visits/{visit}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert "KAN-0012" in answer.read().decode()
    assert machine.ssh("cd / && sudo -u tenohira tenohira audit verify --store /var/lib/tenohira/record")


def test_the_board_and_the_logs_are_looked_after(instrument):
    machine, _ = instrument
    assert machine.ssh("systemctl show --property=RuntimeWatchdogUSec --value") == "14s"
    assert "SystemMaxUse=64M" in machine.ssh("systemd-analyze cat-config systemd/journald.conf")
    assert machine.ssh("ls -d /var/log/journal") == "/var/log/journal"


def test_a_service_that_hangs_is_started_again(instrument):
    machine, _ = instrument
    drop_in = "/etc/systemd/system/tenohira.service.d"
    machine.ssh(
        f"sudo mkdir -p {drop_in} && printf '[Service]\\nWatchdogSec=4\\n' | sudo tee {drop_in}/quick.conf"
    )
    machine.ssh("sudo systemctl daemon-reload && sudo systemctl restart tenohira")
    time.sleep(6)  # longer than the watchdog's time: it is fed
    assert shown(machine, "NRestarts") == "0" and shown(machine, "SubState") == "running"
    hanging = shown(machine, "MainPID")
    machine.ssh(f"sudo kill -STOP {hanging}")
    end = time.monotonic() + 60
    while shown(machine, "NRestarts") == "0" or shown(machine, "SubState") != "running":
        assert time.monotonic() < end, "the service was not started again"
        time.sleep(0.5)
    assert shown(machine, "MainPID") != hanging
    assert "Watchdog timeout" in machine.ssh("sudo journalctl -u tenohira --no-pager")
    machine.ssh(f"sudo rm {drop_in}/quick.conf && sudo systemctl daemon-reload && sudo systemctl restart tenohira")


def test_a_service_that_is_killed_is_started_again(instrument):
    machine, _ = instrument
    killed = shown(machine, "MainPID")
    machine.ssh(f"sudo kill -ABRT {killed}")  # what the watchdog sends; the log then says where each thread was
    end = time.monotonic() + 60
    while shown(machine, "MainPID") in (killed, "0") or shown(machine, "SubState") != "running":
        assert time.monotonic() < end, "the service was not started again"
        time.sleep(0.5)
    said = machine.ssh("sudo journalctl -u tenohira --no-pager")
    assert "Fatal Python error: Aborted" in said and "in _look" in said


def test_the_same_again_changes_nothing(instrument, wheels):
    machine, _ = instrument
    before = machine.ssh(CURRENT)
    done = deploy(machine, "--wheels", wheels)
    assert done.returncode == 0 and "is installed already" in done.stdout
    assert machine.ssh(CURRENT) == before
    assert "TENOHIRA_CAMERA=simulated:3" in machine.ssh("sudo cat /etc/tenohira/tenohira.env")


def test_a_version_that_fails_its_self_test_changes_nothing(instrument, wheels, tmp_path):
    machine, _ = instrument
    before, running = machine.ssh(CURRENT), shown(machine, "MainPID")
    spoilt = another(wheels, tmp_path / "wheels", "9.0", **{"glaucoma-0.1.0": b"no bundle"})
    done = deploy(machine, "--wheels", spoilt)
    assert done.returncode == 2 and "self-test of the new version failed" in done.stderr
    assert "FAIL  model glaucoma-0.1.0.tnh" in done.stdout
    assert machine.ssh(CURRENT) == before and shown(machine, "MainPID") == running
    assert "9.0" not in machine.ssh("ls /opt/tenohira")


def test_a_version_that_does_not_start_is_taken_back(instrument, wheels, tmp_path):
    machine, _ = instrument
    before = machine.ssh(CURRENT)
    broken = another(wheels, tmp_path / "wheels", "9.1", serve=b"raise RuntimeError('on purpose')\n")
    done = deploy(machine, "--wheels", broken)
    assert done.returncode == 2 and "went back to" in done.stderr
    assert "on purpose" in done.stdout
    assert machine.ssh(CURRENT) == before and shown(machine, "SubState") == "running"


def test_an_update_and_the_way_back(instrument, wheels, tmp_path):
    machine, _ = instrument
    before = machine.ssh(CURRENT)
    kept = "/var/lib/tenohira/record/kept"
    machine.ssh(f"sudo -u tenohira touch {kept}")
    done = deploy(machine, "--wheels", another(wheels, tmp_path / "wheels", "9.2"))
    assert done.returncode == 0, done.stderr
    assert "/9.2-" in machine.ssh(CURRENT) and machine.ssh("readlink /opt/tenohira/previous") == before
    assert deploy(machine, "--rollback").returncode == 0
    assert machine.ssh(CURRENT) == before and shown(machine, "SubState") == "running"
    assert "9.2" in machine.ssh("readlink /opt/tenohira/previous")
    assert machine.ssh(f"sudo ls {kept}") == kept


def test_wheels_for_another_machine_are_not_even_copied(instrument, wheels, tmp_path):
    machine, _ = instrument
    shutil.copytree(wheels, tmp_path / "wheels")
    (path,) = (tmp_path / "wheels").glob("msgspec-*.whl")
    path.rename(path.with_name(path.name.replace("x86_64", "aarch64")))
    done = deploy(machine, "--wheels", tmp_path / "wheels")
    assert done.returncode == 2 and f"does not fit x86_64 with Python {PYTHON}" in done.stderr
    assert "copying" not in done.stdout


def test_an_incomplete_folder_changes_nothing(instrument, wheels, tmp_path):
    machine, _ = instrument
    before = machine.ssh(CURRENT)
    shutil.copytree(wheels, tmp_path / "wheels")
    next((tmp_path / "wheels").glob("msgspec-*.whl")).unlink()
    done = deploy(machine, "--wheels", tmp_path / "wheels")
    assert done.returncode == 2 and "nothing was changed" in done.stderr and "msgspec" in done.stderr
    assert machine.ssh(CURRENT) == before and shown(machine, "SubState") == "running"


def test_an_unknown_host_key_is_not_taken_over(instrument, tmp_path):
    machine, _ = instrument
    strange = machine.config.read_text().replace("known_hosts", "none")
    (tmp_path / "config").write_text(strange)
    other = Machine(machine.port, machine.pages, tmp_path / "config", machine.root)
    done = deploy(other, "--dry-run")
    assert done.returncode == 2 and "compare the fingerprint" in done.stderr
    assert not (machine.config.parent / "none").exists()


def test_a_root_without_systemd_is_prepared_and_told_so(wheels, tmp_path):
    with machines.without_systemd(tmp_path) as machine:
        done = deploy(machine, "--wheels", wheels, "--camera", "simulated", "--kiosk")
        assert done.returncode == 0, done.stderr
        assert "systemd does not run here" in done.stdout and "start with the next boot" in done.stdout
        wants = "/etc/systemd/system/multi-user.target.wants"
        assert machine.ssh(f"ls {wants} | grep tenohira") == "tenohira-kiosk.service\ntenohira.service"
        assert machine.ssh("tenohira --version").startswith("tenohira ")
