"""``tenohira serve`` ends in order when it is told to, and says why it cannot begin."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from device.errors import UsageError

STOPPED = 20.0  # TimeoutStopSec= of device/service/tenohira.service; then systemd kills


def start(store, port: int) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "device.cli", "serve", "--store", str(store), "--port", str(port)),
            *("--camera", "simulated:3?size=384", "--threads", "1"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_service_closes_camera_and_record_before_it_ends(tmp_path, port, told):
    service = start(tmp_path / "record", port)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                status = httpx.get(f"http://127.0.0.1:{port}/api/status").status_code
                break
            except httpx.TransportError:
                assert service.poll() is None and time.monotonic() < end, "the service did not start"
                time.sleep(0.1)
        assert status == 200
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


def test_a_port_that_another_program_has_is_told_in_words(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = start(tmp_path / "record", taken.getsockname()[1])
        said, _ = service.communicate(timeout=60)
    assert service.returncode == UsageError.exit_code
    assert said.startswith("tenohira: port ") and "give another --port" in said
    assert not (tmp_path / "record").exists(), "a record was begun for nothing"
