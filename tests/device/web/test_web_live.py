"""The live preview: pictures with their coaching, viewers that vanish, and pages that are served meanwhile."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request

import anyio
import pytest
from web_fake import Coaching
from web_scenes import READY, served, visit

from device.web import live
from device.web.app import build


def test_a_picture_comes_with_its_coaching(client, instrument):
    answer = client.get("/live/frame?after=0")
    assert answer.content[:2] == b"\xff\xd8" and answer.headers["content-type"] == "image/jpeg"
    state = json.loads(answer.headers["x-live"])
    assert (state["focus"], state["ready"], state["centre"], state["error"]) == (0.4, False, [0.44, 0.52], "")
    assert state["tip"].startswith("Align the camera")
    assert state["sequence"] > 0 and state["presses"] == 0
    instrument.coaching = READY
    assert json.loads(client.get("/live/frame").headers["x-live"])["ready"] is True


def test_the_tip_is_in_the_language_of_the_screen(client, instrument):
    instrument.coaching = Coaching(tip="Too bright: lower the light.")
    client.cookies.set("tenohira-language", "ja")
    assert (
        json.loads(client.get("/live/frame").headers["x-live"])["tip"] == "明るすぎます。照明を弱くしてください。"
    )


def test_without_a_picture_the_reason_comes(client, instrument):
    instrument.error = "no camera was found; check its cable"
    answer = client.get("/live/frame")
    assert answer.status_code == 204
    assert json.loads(answer.headers["x-live"])["error"] == "No camera was found; check its cable."


@pytest.mark.parametrize("after", ["", "-1", "x", "9" * 40, "²"])
def test_odd_numbers_are_taken_for_none(client, after):
    assert client.get("/live/frame", params={"after": after}).status_code == 200


def test_viewers_wait_in_a_pool_of_their_own(instrument):
    with served(build(instrument)) as root:

        def look() -> None:
            for _ in range(5):
                urllib.request.urlopen(f"{root}/live/frame").read()

        threads = [threading.Thread(target=look) for _ in range(12)]
        for thread in threads:
            thread.start()
        pages = [urllib.request.urlopen(f"{root}/history").status for _ in range(5)]
        for thread in threads:
            thread.join()
    assert pages == [200] * 5
    assert instrument.most_viewers <= live.VIEWERS


def test_viewers_that_vanish_in_the_queue_keep_nobody_waiting(instrument):
    """A phone that asks and goes, again and again: whoever comes after it is served at once."""
    looks, ended = [], threading.Event()

    def looking(after, wait):
        looks.append(after)
        ended.wait(30)
        return instrument_live(after, 0)

    instrument_live, instrument.live = instrument.live, looking
    with served(build(instrument)) as root:
        host, port = root.removeprefix("http://").split(":")
        lines = [socket.create_connection((host, int(port))) for _ in range(live.VIEWERS + 20)]
        for line in lines:
            line.sendall(b"GET /live/frame?after=7 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert wait_until(lambda: len(looks) == live.VIEWERS)
        urllib.request.urlopen(f"{root}/history").read()  # all have been read by now
        for line in lines:
            line.close()
        urllib.request.urlopen(f"{root}/history").read()
        ended.set()
        assert urllib.request.urlopen(f"{root}/live/frame?after=0").status == 200
    assert looks == [7] * live.VIEWERS + [0]


def test_the_preview_goes_on_while_a_photograph_is_taken(instrument):
    instrument.slow = 5.0
    uid = visit(instrument).uid  # without captures
    with served(build(instrument)) as root:
        request = urllib.request.Request(f"{root}/visits/{uid}/OD/captures", b"", {"accept": "application/json"})
        taking = threading.Thread(target=lambda: urllib.request.urlopen(request).read())
        taking.start()
        seen = 0
        while taking.is_alive():
            seen += urllib.request.urlopen(f"{root}/live/frame").status == 200
        taking.join()
    assert seen > 2


def open_stream(root: str) -> socket.socket:
    host, port = root.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)))
    line.sendall(b"GET /live.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return line


def wait_until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(condition())


def test_the_stream_ends_with_its_viewer(instrument, monkeypatch):
    views: list[live.LiveView] = []
    made = live.LiveView.__init__
    monkeypatch.setattr(
        live.LiveView, "__init__", lambda self, *a, **k: (made(self, *a, **k), views.append(self))[0]
    )
    with served(build(instrument)) as root:
        lines = [open_stream(root) for _ in range(live.STREAMS)]
        heads = [line.recv(4096) for line in lines]
        assert all(b"multipart/x-mixed-replace" in head for head in heads)
        assert wait_until(lambda: views[0]._streams == live.STREAMS)
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{root}/live.mjpg")
        for line in lines:
            line.close()
        assert wait_until(lambda: views[0]._streams == 0 and instrument.viewers == 0)


def test_a_viewer_that_takes_nothing_is_let_go(instrument, monkeypatch):
    monkeypatch.setattr(live, "STALLED", 0.1)
    view = live.LiveView(build(instrument).state.web)

    async def pictures():
        while True:
            yield b"picture"

    async def receive():
        await anyio.sleep_forever()

    async def send(message):
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    async def watch():
        stream = live._Stream(view, pictures(), "multipart/x-mixed-replace")
        with anyio.fail_after(5):
            await stream({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)

    anyio.run(watch)
    assert view._streams == 0


def test_a_button_on_the_instrument_is_told_to_the_page(client, instrument):
    instrument.presses = 3
    assert json.loads(client.get("/live/frame").headers["x-live"])["presses"] == 3
