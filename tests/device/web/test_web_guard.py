"""Who is let in, what is refused, and the headers of every answer."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient
from web_scenes import client_of, visit

from device.web.app import failure
from device.web.guard import PAUSE_SECONDS, TRIES, AccessCode

JSON = {"accept": "application/json"}


@pytest.mark.parametrize("path", ["/", "/nothing", "/static/style.css", "/live/frame", "/api/status", "/visits"])
def test_every_answer_has_the_headers(client, path):
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["referrer-policy"] == "same-origin" and headers["cache-control"] == "no-store"


def test_no_page_has_script_or_style_inside(client, instrument):
    uid = visit(instrument).uid
    for path in ("/", f"/visits/{uid}", f"/visits/{uid}/OD", "/settings", "/history", "/selftest"):
        text = client.get(path).text
        assert " style=" not in text and "<style" not in text and "onclick" not in text
        assert "<script>" not in text and "http://" not in text.replace("http://localhost", "")


@pytest.mark.parametrize("path", [f"/{'a' * 5000}", f"/history?search={'a' * 5000}", f"/{'é' * 2500}"])
def test_a_long_address_is_refused_and_not_kept(client, path):
    """Python's urlsplit keeps what it was given: 36 MB after some thousand long ones."""
    answer = client.get(path, headers=JSON)
    assert answer.status_code == 413 and "too long" in answer.json()["error"]
    assert client.get(path).status_code == 413
    assert client.get(f"/history?search={'a' * 4000}").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),  # a machine
        ({"origin": "http://localhost"}, 201),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin"}, 201),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://localhost"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://localhost"}, 403),
    ],
)
def test_forms_of_other_pages_are_refused(client, instrument, headers, status):
    answer = client.post("/visits", data={"participant": "A1"}, headers=JSON | headers)
    assert answer.status_code == status
    assert len(instrument.store.visits()) == (status == 201)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("192.168.1.20", 200),
        ("van-2.local", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("", 400),
        ("127.0.0.1.evil.example", 400),
        ("[::1", 400),
        ("localhost#.evil.example", 400),
        ("localhost/evil.example", 400),
    ],
)
def test_other_names_are_not_answered(instrument, host, status):
    client = client_of(instrument, hosts=["van-2.local"])
    assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize("length", ["99999999", "-1", "x"])
def test_too_much_is_refused(client, length):
    answer = client.post("/visits", data={"participant": "A1"}, headers={"content-length": length})
    assert answer.status_code == 413


def test_a_body_that_says_no_length_is_cut_off(client, instrument):
    def endless():
        for _ in range(200):
            yield b"x" * 65536

    answer = client.post(
        "/visits", content=endless(), headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 400 and "What was sent could not be read" in answer.text
    assert instrument.store.visits() == []


def test_a_form_that_cannot_be_read_is_told_in_words(client):
    kind = {"content-type": "multipart/form-data"}  # and no boundary
    answer = client.post("/references", content=b"--x\r\nnonsense", headers=kind)
    assert answer.status_code == 400 and "What was sent could not be read" in answer.text


def test_the_network_is_refused_without_an_access_code(instrument):
    answer = client_of(instrument, "192.168.1.7").get("/")
    assert answer.status_code == 403 and "own screen only" in answer.text


def test_the_access_code_lets_in(instrument):
    client = client_of(instrument, "192.168.1.7", access_code="7431-ab")
    assert client.get("/history").headers["location"] == "/enter?back=/history"
    assert client.get("/api/status", headers=JSON).status_code == 401
    assert client.post("/visits", data={"participant": "A1"}).status_code == 401
    assert "Access code" in client.get("/enter").text
    assert client.post("/enter", data={"code": "7431-AB"}).status_code == 403
    answer = client.post("/enter", data={"code": "7431-ab", "back": "/history"})
    assert answer.headers["location"] == "/history"
    assert "HttpOnly" in answer.headers["set-cookie"] and "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/history").status_code == 200
    client.cookies.clear()
    client.cookies.set("tenohira-session", "made-up")
    assert client.get("/history").status_code == 303


def test_a_session_that_ended_is_told_to_scripts(instrument):
    """Sessions end with the service. What a script asked for is no place for the page that asks for the code."""
    client = client_of(instrument, "192.168.1.7", access_code="7431-ab")
    uid = visit(instrument).uid
    part = {"hx-request": "true"}
    assert client.get("/live/frame").status_code == 401
    for answer, back in (
        (client.get("/history?search=KAN", headers=part), "/history"),
        (client.post(f"/visits/{uid}/OD/captures", headers=part), f"/visits/{uid}"),
        (client.post("/settings", headers=part), "/settings"),
    ):
        assert (answer.status_code, answer.headers["hx-redirect"]) == (204, f"/enter?back={back}")


def test_the_instruments_own_screen_needs_no_code(instrument):
    assert client_of(instrument, access_code="7431-ab").get("/").status_code == 200
    for own in ("::1", "::ffff:127.0.0.1"):
        assert client_of(instrument, own, access_code="7431-ab").get("/").status_code == 200
    for other in ("::ffff:192.168.1.7", "fe80::1", "testclient", ""):
        assert client_of(instrument, other, access_code="7431-ab").get("/").status_code == 303


def test_guessing_is_slowed_down(instrument):
    client = client_of(instrument, "192.168.1.7", access_code="7431-ab")
    for _ in range(TRIES):
        assert client.post("/enter", data={"code": "0"}).status_code == 403
    right = client.post("/enter", data={"code": "7431-ab"})
    assert right.status_code == 429 and "wait" in right.text


def test_pauses_and_sessions_end():
    clock = [0.0]
    access = AccessCode("right", lambda: clock[0])
    for _ in range(TRIES):
        assert access.enter("wrong", "a") is None
    assert access.pause("a") == PAUSE_SECONDS and access.pause("b") == 0
    clock[0] = PAUSE_SECONDS + 1
    assert access.pause("a") == 0
    token = access.enter("right", "a")
    assert access.knows(token)
    clock[0] += 13 * 3600
    assert not access.knows(token)


def test_an_empty_code_never_lets_in():
    access = AccessCode("")
    assert not access.needed and access.enter("", "a") is None


def test_an_instrument_that_did_not_start_says_why_everywhere():
    client = TestClient(
        failure("the disk is worn out <b>; replace it"), base_url="http://localhost", client=("127.0.0.1", 1)
    )
    for path in ("/", "/history", "/visits/x"):
        answer = client.get(path)
        assert answer.status_code == 503 and "The disk is worn out &lt;b&gt;; replace it." in answer.text
    assert client.get("/api/status", headers=JSON).json() == {"error": "the disk is worn out <b>; replace it"}
    assert client.get("/static/style.css").status_code == 200
    part = client.post("/visits", headers={"hx-request": "true"})  # from a page that was open before
    assert part.status_code == 503 and "<html" not in part.text and "The disk is worn out" in part.text
    switched = client.post("/language", data={"language": "ja"}, headers={"hx-request": "true"})
    assert (switched.status_code, switched.headers["hx-redirect"]) == (204, "/")
    assert "装置を起動できませんでした" in client.get("/").text
