"""``tenohira serve`` says why it cannot begin, heals by itself, and ends in order when it is told to."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from starlette.testclient import TestClient

from device import memory
from device.commands.serve import Running, Service
from device.errors import UsageError

STOPPED = 20.0  # TimeoutStopSec= of device/service/tenohira.service; then systemd kills
EXHAUSTED = "out of system resource"  # in the log, where a connection cannot be taken for want of files


def start(store, port: int, stdout=subprocess.PIPE, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "device.cli", "serve", "--store", str(store), "--port", str(port)),
            *("--camera", "simulated:3?size=384", "--threads", "1"),
        ],
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def wait_for(service: subprocess.Popen, port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            assert httpx.get(f"http://127.0.0.1:{port}/api/status").status_code == 200
            return
        except httpx.TransportError:
            assert service.poll() is None and time.monotonic() < end, "the service did not start"
            time.sleep(0.1)


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_service_closes_camera_and_record_before_it_ends(tmp_path, port, told):
    service = start(tmp_path / "record", port)
    try:
        wait_for(service, port)
        with httpx.stream("GET", f"http://127.0.0.1:{port}/live.mjpg", timeout=60) as stream:
            next(stream.iter_raw())  # somebody looks, and the camera's process runs
            assert (tmp_path / "record" / "record.db-wal").exists()
            service.send_signal(told)
            said, _ = service.communicate(timeout=STOPPED)
    finally:
        service.kill()
    assert service.returncode == 0, said
    assert not (tmp_path / "record" / "record.db-wal").exists(), "the record was not closed"
    assert "Traceback" not in said


def test_more_connections_than_files_are_outlived_without_flooding_the_log(tmp_path, port):
    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    log = tmp_path / "log"
    with log.open("wb") as out:
        service = start(tmp_path / "record", port, stdout=out, preexec_fn=few_files)
    try:
        wait_for(service, port)
        lines = [socket.socket() for _ in range(100)]
        for line in lines:
            line.setblocking(False)  # those beyond the backlog are not answered
            line.connect_ex(("127.0.0.1", port))
        end = time.monotonic() + 30
        while EXHAUSTED not in log.read_text():
            assert time.monotonic() < end, "it did not run out of files: this has tested nothing"
            time.sleep(0.1)
        time.sleep(1.5)  # in which it would flood the log
        for line in lines:
            line.close()
        wait_for(service, port)
        service.terminate()
        service.wait(STOPPED)
    finally:
        service.kill()
    assert log.read_text().count(EXHAUSTED) < 500


def test_a_port_that_another_program_has_is_told_in_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(tmp_path / "record", taken.getsockname()[1])
        said, _ = service.communicate(timeout=60)
    assert service.returncode == UsageError.exit_code
    assert said.startswith("tenohira: port ") and "give another --port" in said
    assert not (tmp_path / "record").exists(), "a record was begun for nothing"


def test_an_instrument_without_enough_memory_is_a_page_until_there_is(tmp_path, monkeypatch):
    args = argparse.Namespace(
        store=tmp_path / "record", camera="simulated:3?size=384", light="none", bundles=None, keys=None, threads=1
    )
    monkeypatch.setattr(memory, "START", 10**15)
    with Service(lambda: Running(args), again=0.05) as service:
        client = TestClient(service, base_url="http://localhost", client=("127.0.0.1", 5))
        answer = client.get("/", headers={"accept": "application/json"})
        assert answer.status_code == 503 and "MB of memory are there, and the instrument needs" in answer.text
        assert not (tmp_path / "record").exists() and service.alive()
        monkeypatch.undo()
        end = time.monotonic() + 60
        while client.get("/api/status").status_code != 200:
            assert time.monotonic() < end, "the service did not heal"
            time.sleep(0.1)


def test_what_hinders_the_start_is_a_page_until_it_is_gone(tmp_path):
    """Here a file lies where the record belongs, in a folder whose name is no UTF-8."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.touch()
    args = argparse.Namespace(
        store=folder, camera="simulated:3?size=384", light="none", bundles=None, keys=None, threads=1
    )
    told: list[str] = []
    with Service(lambda: Running(args), again=0.05, tell=told.append) as service:
        client = TestClient(service, base_url="http://localhost", client=("127.0.0.1", 5))
        for accept in ("application/json", "text/html"):
            answer = client.get("/", headers={"accept": accept})
            assert answer.status_code == 503 and "is in the place of a folder" in answer.text
        assert service.alive()  # a restart would not help it
        folder.unlink()
        end = time.monotonic() + 60
        while client.get("/api/status").status_code != 200:
            assert time.monotonic() < end, "the service did not heal"
            time.sleep(0.1)
        assert service.alive()
    assert told[0].startswith("not started: ") and told[-1] == "ready"
    told[0].encode()
