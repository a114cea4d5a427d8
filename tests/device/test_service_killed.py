"""The service is told to end, or killed at random moments: what it had confirmed is there, once."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid

import httpx
import msgspec
import pytest

from device.store import Store
from device.store.audit import verify

EXAMINATIONS, KILLS = 200, 20
STARTED = 60.0  # seconds that a start may take on a busy machine, before the test gives up
JSON = {"accept": "application/json"}


class Instrument:
    """``tenohira serve`` in a process of its own, which is started again whenever it was killed."""

    def __init__(self, store) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [
            sys.executable, "-m", "device.cli", "serve", "--store", str(store), "--port", str(self.port),
            "--camera", "simulated:3?size=384", "--threads", "1",
        ]  # fmt: skip
        self.process: subprocess.Popen | None = None
        self.kills = 0
        self._turn = threading.Lock()  # killer and examiner both look whether it runs

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        with self._turn:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.kills += 1

    def ask(self, method: str, path: str, **form: str) -> httpx.Response:
        """Ask until there is an answer, as an operator does: the service may be down and come back."""
        end = time.monotonic() + STARTED
        while True:
            with self._turn:
                if self.process.poll() is not None:
                    self.start()
            try:
                address = f"http://127.0.0.1:{self.port}{path}"
                answer = httpx.request(method, address, data=form or None, headers=JSON, timeout=STARTED)
                if answer.status_code != 503:  # 503: it is starting
                    return answer
            except httpx.TransportError:
                pass
            assert time.monotonic() < end, "the service did not come back"
            time.sleep(0.05)


@pytest.mark.parametrize("told_to_end", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_told_to_end_ends_in_order_with_an_open_preview(tmp_path, told_to_end):
    service = Instrument(tmp_path / "record")
    service.start()
    visit = service.ask("POST", "/visits", participant="KAN-1").json()["uid"]
    assert service.ask("POST", f"/visits/{visit}/OD/captures").status_code == 201
    (camera,) = subprocess.check_output(["pgrep", "-P", str(service.process.pid)], text=True).split()
    with httpx.stream("GET", f"http://127.0.0.1:{service.port}/live.mjpg", timeout=STARTED) as preview:
        next(preview.iter_bytes())
        service.process.send_signal(told_to_end)
        assert service.process.wait(STARTED) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(camera), 0)
    assert not verify(tmp_path / "record").problems


@pytest.mark.slow
def test_nothing_confirmed_is_lost_and_nothing_is_doubled(tmp_path):
    folder, rng = tmp_path / "record", random.Random(20261124)
    with Store(folder) as store:
        store.change_settings(msgspec.structs.replace(store.settings, burst=1), "test")
    service = Instrument(folder)
    service.start()
    confirmed, ended = {}, threading.Event()

    def killer() -> None:
        """Kill at a random moment of its work, again and again: examinations take a quarter of a second."""
        for _ in range(KILLS):
            service.ask("GET", "/api/status")
            if ended.wait(rng.uniform(0.0, 2.0)):
                return
            service.kill()

    service.ask("GET", "/api/status")
    killing = threading.Thread(target=killer, daemon=True)
    killing.start()
    try:
        for number in range(EXAMINATIONS):
            visit, capture, participant = str(uuid.uuid4()), str(uuid.uuid4()), f"KAN-{number:04}"
            assert service.ask("POST", "/visits", uid=visit, participant=participant).is_success
            taken = service.ask("POST", f"/visits/{visit}/OD/captures", uid=capture)
            assert taken.status_code == 201, taken.text
            assert service.ask("POST", f"/visits/{visit}/finish").is_success
            confirmed[visit] = taken.json()
    finally:
        ended.set()
        killing.join()  # it would start the service again
        service.kill()

    assert service.kills > KILLS / 2, "the examinations were over before they had been disturbed"
    with Store(folder) as store:
        kept = {v.uid: v for v in store.visits(limit=EXAMINATIONS + 1)}
        assert kept.keys() == confirmed.keys()
        assert sorted(v.number for v in kept.values()) == list(range(1, EXAMINATIONS + 1))
        for uid, said in confirmed.items():
            (capture,) = kept[uid].captures
            assert kept[uid].finished and capture.uid == said["uid"] and capture.image == said["image"]
            assert capture.result.glaucoma_probability == said["result"]["glaucoma_probability"]
            assert store.picture(capture.image).is_file()
    assert not verify(folder).problems
