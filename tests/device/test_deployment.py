"""Deploying, as far as no machine is needed for it; ``hil_tests/deploy`` does it to a real one."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from device import deployment
from device.cli import main
from device.deployment import SERVICE, Facts, Order, missing
from device.errors import DeployError

CHROMIUM = Path("/usr/bin/chromium")
PI = Facts(root=False, time=0, machine="aarch64", python="3.11")


def wheel(folder, name, version="1.0", requires=(), tag="py3-none-any"):
    """A wheel with nothing in it but what it asks for."""
    path = folder / f"{name}-{version}-{tag}.whl"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
    return path


def test_what_a_folder_of_wheels_lacks_on_another_machine(tmp_path):
    wheel(tmp_path, "tenohira", requires=["numpy>=1.26", "Type_Things", 'pytest; extra == "dev"'])
    wheel(
        tmp_path, "type_things", requires=['audio; python_version >= "3.13"', 'pi; platform_machine == "aarch64"']
    )
    wheel(tmp_path, "numpy", version="1.25", requires=['win; sys_platform == "win32"'])
    assert missing(tmp_path, "3.11", "x86_64") == {"numpy>=1.26"}
    assert missing(tmp_path, "3.11", "aarch64") == {"numpy>=1.26", 'pi; platform_machine == "aarch64"'}
    assert 'audio; python_version >= "3.13"' in missing(tmp_path, "3.13", "aarch64")
    wheel(tmp_path, "numpy", version="1.26.4")
    wheel(tmp_path, "pi")
    assert missing(tmp_path, "3.11", "aarch64") == set()


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any", "py2.py3-none-any", "cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64",
        "cp37-abi3-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_27_aarch64",
    ],
)  # fmt: skip
def test_wheels_that_fit(tmp_path, tag):
    wheel(tmp_path, "some", tag=tag)
    deployment._must_fit(tmp_path, PI)


@pytest.mark.parametrize(
    "tag", ["cp313-cp313-manylinux_2_28_aarch64", "cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-win_amd64"]
)
def test_wheels_that_do_not_fit_are_found_before_they_are_copied(tmp_path, tag):
    wheel(tmp_path, "some", tag=tag)
    with pytest.raises(DeployError, match=r"does not fit aarch64 with Python 3\.11.*--fetch-wheels"):
        deployment._must_fit(tmp_path, PI)


def test_folders_that_hold_no_wheels(tmp_path):
    with pytest.raises(DeployError, match="there is no wheel"):
        deployment._must_fit(tmp_path, PI)
    (tmp_path / "odd.whl").write_bytes(b"")
    with pytest.raises(DeployError, match="is no wheel"):
        deployment._must_fit(tmp_path, PI)


def test_the_source_becomes_a_wheel_with_all_that_the_instrument_needs(tmp_path):
    pytest.importorskip("setuptools", reason="building a wheel without a network needs setuptools")
    made = deployment.make_wheel(tmp_path)
    names = set(zipfile.ZipFile(made).namelist())
    assert {f"device/service/{path.name}" for path in SERVICE.iterdir() if path.is_file()} <= names
    assert {"device/commands/selftest.py", "device/languages/ja.toml", "device/keys/development.pub"} <= names
    assert {"device/fonts/NotoSansJP-Regular.ttf", "device/web/templates/base.html"} <= names
    assert not any("__pycache__" in name or name.startswith(("tests/", "hil_tests/")) for name in names)
    assert "device/fonts/subset.py" not in names


def test_what_is_installed_becomes_a_wheel_again(tmp_path):
    """From a wheel to an installation and back: the same files, and it can be installed anew."""
    source, first, second = tmp_path / "source", tmp_path / "first", tmp_path / "second"
    source.mkdir()
    with zipfile.ZipFile(source / "tenohira-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("device/thing.py", "VALUE = 7\n")
        archive.writestr(
            "tenohira-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tenohira\nVersion: 1.0\n"
        )
        archive.writestr(
            "tenohira-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tenohira-1.0.dist-info/RECORD", "")
    install(source / "tenohira-1.0-py3-none-any.whl", first)
    (installed,) = importlib.metadata.distributions(name="tenohira", path=[str(first)])
    again = deployment._repacked(installed, tmp_path)
    assert again.name == "tenohira-1.0-py3-none-any.whl"
    install(again, second)
    assert (second / "device/thing.py").read_text() == "VALUE = 7\n"


def install(path, folder):
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--target", folder, path]
    subprocess.run(command, check=True)


def test_the_order_in_provision_shs_words(tmp_path):
    assert deployment._arguments(Order()) == ["--index"]
    assert deployment._arguments(Order(tmp_path, "replay:/a b", kiosk=True)) == [
        "--camera",
        "replay:/a b",
        "--kiosk",
    ]
    assert deployment._arguments(Order(tmp_path, rollback=True)) == ["--rollback"]


def test_a_clock_that_is_off_is_told(capsys):
    deployment._look_at_clock(PI)
    assert "behind this machine's" in capsys.readouterr().out


def test_command_without_a_machine(tmp_path, capsys):
    assert main(["deploy"]) == 2
    assert main(["deploy", "pi", "--fetch-wheels", str(tmp_path)]) == 2
    assert main(["deploy", "pi", "--wheels", str(tmp_path / "none")]) == 2
    said = capsys.readouterr().err
    assert said.count("name a HOST") == 2 and "--fetch-wheels DIR" in said


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh (apt install openssh-client)")
def test_a_machine_that_does_not_answer(tmp_path, capsys):
    with socket.socket() as sock:  # bound, but nobody listens
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
        (tmp_path / "config").write_text("ConnectTimeout 5\n")
        assert main(["deploy", "127.0.0.1", "--port", port, "--ssh-config", str(tmp_path / "config")]) == 2
    assert "cannot be reached by ssh" in capsys.readouterr().err


# --- what is laid down on the instrument ----------------------------------------------------------------------


def provision(*arguments):
    return subprocess.run(["sh", SERVICE / "provision.sh", *arguments], capture_output=True, text=True)


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="no Debian")
def test_provision_looks_without_touching():
    done = provision("--dry-run", "--kiosk")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("machine: ") and done.stdout.rstrip().endswith("nothing was changed")


def test_provision_refuses_what_it_does_not_know():
    assert "unknown argument --fast" in provision("--dry-run", "--fast").stderr
    assert "--camera needs a value" in provision("--dry-run", "--camera").stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck (apt install shellcheck)")
def test_the_scripts_are_plain_posix_shell():
    subprocess.run(["shellcheck", "--shell=sh", *SERVICE.glob("*.sh")], check=True)


def test_every_file_of_the_service_is_used():
    texts = {path: path.read_text() for path in SERVICE.iterdir() if path.is_file()}
    for path in texts:
        users = [other for other, text in texts.items() if other != path and path.name in text]
        assert users or path.name == "provision.sh" or path.name.startswith("constraints-"), path.name


def test_the_settings_of_a_site_are_those_that_the_unit_reads():
    unit, settings = (SERVICE / "tenohira.service").read_text(), (SERVICE / "tenohira.env").read_text()
    read = set(re.findall(r"\$\{(TENOHIRA_\w+)\}", unit))
    assert read == set(re.findall(r"(?m)^(TENOHIRA_\w+)=", settings))
    assert all(re.search(rf"Environment=.*\b{name}=", unit) for name in read)  # each has a value without the file


@pytest.fixture
def analyze():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze (apt install systemd)")
    return lambda *arguments: subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["tenohira.service", "tenohira-kiosk.service"])
def test_systemd_understands_the_units(analyze, name):
    said = analyze("verify", "--man=no", SERVICE / name).stderr.splitlines()
    assert [line for line in said if "is not executable" not in line] == []  # nothing is installed here


@pytest.mark.parametrize(("name", "limit"), [("tenohira.service", 20), ("tenohira-kiosk.service", 40)])
def test_the_units_have_few_rights(analyze, name, limit):
    """The score of systemd-analyze, in tenths, of 100; an ordinary service has 96."""
    done = analyze("security", "--offline=true", f"--threshold={limit}", "--no-pager", SERVICE / name)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd is older than 250")
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_watchdogs_follow_one_another():
    """systemd watches the service, and the board systemd; a Pi's watchdog counts 15 seconds at most."""
    board = re.search(r"(?m)^RuntimeWatchdogSec=(\d+)s$", (SERVICE / "watchdog.conf").read_text())
    assert board is not None and int(board[1]) <= 15
    assert re.search(r"(?m)^WatchdogSec=\d+$", (SERVICE / "tenohira.service").read_text())


@pytest.fixture
def answering():
    """Stands for the instrument's port: bound at first, and answering after ``server_activate``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page, bind_and_activate=False) as server:
        server.server_bind()
        yield server


class Page(BaseHTTPRequestHandler):
    """The instrument's page, for its own origin alone as the real one."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()
        self.wfile.write(b"here it is")

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(server):
    """Shut down only here: for a server that never ran, ``shutdown`` would wait for ever."""
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()


def test_the_kiosk_leads_to_the_instrument_once_it_answers(tmp_path, answering):
    """kiosk.sh with a cage that only keeps its arguments."""
    for name in ("cage", "chromium"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$@" >"{tmp_path}/said"\n')
        (tmp_path / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(tmp_path),
        "TENOHIRA_PORT": str(answering.server_port),
    }  # fmt: skip
    ready = tmp_path / "tenohira-kiosk" / "ready.js"
    waiting = subprocess.Popen(["sh", SERVICE / "kiosk.sh"], env=environment, stderr=subprocess.PIPE)
    assert waiting.wait(30) == 0  # cage is gone at once; who waits for the instrument stays
    assert f"--kiosk file://{SERVICE}/starting.html#{ready}" in (tmp_path / "said").read_text()
    assert not ready.exists()
    with serving(answering):
        end = time.monotonic() + 30
        while not ready.exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert ready.read_text() == f'location.replace("http://127.0.0.1:{answering.server_port}/");\n'


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM} (apt install chromium)")
def test_the_touch_screen_waits_and_says_so_where_the_instrument_does_not_come(tmp_path, answering):
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra 'dev')")
    sync_api.expect.set_options(timeout=60_000)
    ready = tmp_path / "ready.js"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 800, "height": 480})
        page.clock.install()
        page.goto(f"file://{SERVICE}/starting.html#{ready}")
        sync_api.expect(page.get_by_text("The instrument is starting.")).to_be_visible()
        page.clock.fast_forward("03:00")
        sync_api.expect(page.get_by_text("The instrument does not start.")).to_be_visible()
        sync_api.expect(page.get_by_text("起動できません。")).to_be_visible()
        with serving(answering):
            ready.write_text(f'location.replace("http://127.0.0.1:{answering.server_port}/");')
            page.clock.fast_forward("00:05")
            sync_api.expect(page.get_by_text("here it is")).to_be_visible()
        browser.close()
