"""Malformed, huge and hostile requests for a while: the instrument refuses them, photographs meanwhile, and is
afterwards as large as before. Loopback only, few connections, so many requests as the rig's sizes say."""

from __future__ import annotations

import random
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from hil_tests.client import Client, Refused
from hil_tests.record import Record
from hil_tests.waiting import until

pytestmark = pytest.mark.needs("service", "memory")

REQUESTS = 3000  # hostile ones, unless the sizes have ``hostile_requests``
PATIENCE = 2.0  # seconds for an answer; what never ends is hung up on
IDLE = 40  # connections that begin a request and never end it
LARGEST = 4 << 20  # bytes of a request that the instrument takes
GROWTH_MB = 12.0  # in the second half: the heap makes room for a few of the largest size
KINDS = ("application/x-www-form-urlencoded", "application/json", "text/plain", "multipart/form-data")
ADDRESSES = (
    "/static/../../../etc/passwd", "/static/%2e%2e/%2e%2e/etc/passwd", "/fonts//etc/passwd", "/%00", "//", "/a%ff",
    f"/visits/VISIT/pictures/{'0' * 64}?side=99999999", "/visits/VISIT/OX/captures",
    "/visits/00000000-0000-0000-0000-000000000000", "/history?page=99999999999999999999&search=%27%22%25%5C_",
    f"/history?search={'x' * 5000}", "/live/frame?after=-1e309", f"/live/frame?after={'9' * 4000}",
    "/visits/VISIT/report.pdf?language=../../x", "/enter?back=//evil.example",
)  # fmt: skip
FORMS = (
    "/visits", "/settings", "/references", "/language", "/enter", "/visits/VISIT/OD/captures",
    "/visits/VISIT/OD/reading", "/visits/VISIT/OD/not-imaged",
)  # fmt: skip
BODIES = (
    b"&".join(b"a%d=1" % n for n in range(20_000)),
    b"participant=" + b"%f0%9f" * 200,
    b"uid=" + b"9" * 100_000,
    b"participant=a%00b&uid=x&reader=%0d%0aSet-Cookie:a&grade=refer&reason=media%27--",
)


class Hostile:
    """One who sends what no browser would."""

    def __init__(self, url: str, visit: str, draws: random.Random) -> None:
        parts = urlsplit(url)
        self._address, self._visit, self._draws = (parts.hostname, parts.port), visit, draws
        self.answers: dict[int, int] = {}  # status: how often; 0: none

    def send(self) -> None:
        """One request, and as much of an answer as says its status."""
        words = self._draws.choice(self.WAYS)(self)
        status = self._ask(words)
        self.answers[status] = self.answers.get(status, 0) + 1
        assert status != 500, words[:200]

    def _ask(self, words: bytes) -> int:
        try:
            with socket.create_connection(self._address, timeout=PATIENCE) as one:
                one.sendall(words)
                return int(one.recv(64).split(b" ")[1])
        except (OSError, IndexError, ValueError):  # it was hung up on
            return 0

    def _noise(self, most: int = 400) -> bytes:
        return self._draws.randbytes(self._draws.randrange(1, most))

    def _request(self, line: str, body: bytes = b"", *headers: str, host: str = "127.0.0.1") -> bytes:
        head = [line + " HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body and not any(h.lower().startswith(("content-length", "transfer-encoding")) for h in headers):
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body

    def no_http(self) -> bytes:
        return self._noise() + b"\r\n\r\n"

    def another_name(self) -> bytes:
        host = self._draws.choice(["evil.example", "[", "a" * 300, "127.0.0.1@evil", ""])
        return self._request("GET /", host=host)

    def long_line(self) -> bytes:
        return self._request("GET /" + "a" * self._draws.randrange(1000, 200_000))

    def many_headers(self) -> bytes:
        return self._request("GET /", b"", *(f"X-{n}: {'b' * 500}" for n in range(self._draws.randrange(1, 300))))

    def address(self) -> bytes:
        path = self._draws.choice(ADDRESSES).replace("VISIT", self._visit)
        return self._request(f"{self._draws.choice(['GET', 'POST', 'PUT', 'TRACE', 'X'])} {path}")

    def form(self) -> bytes:
        path = self._draws.choice(FORMS).replace("VISIT", self._visit)
        body = self._draws.choice([*BODIES, self._noise(5000)])
        kind = self._draws.choice(KINDS)
        return self._request(f"POST {path}", body, f"Content-Type: {kind}", f"Accept: {KINDS[1]}")

    def broken_multipart(self) -> bytes:
        part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + self._noise(200) + b'"\r\n\r\n'
        body = part + self._noise(50_000) + self._draws.choice([b"", b"\r\n--b--", b"\r\n--b\r\n" * 500])
        return self._request("POST /references", body, "Content-Type: multipart/form-data; boundary=b")

    def huge(self) -> bytes:
        """Larger than what is taken: by its own word, or in pieces that say no length."""
        if self._draws.random() < 0.5:
            return self._request("POST /references", b"a" * 1000, f"Content-Length: {LARGEST + 1}")
        piece = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
        pieces = piece * self._draws.choice([2, 40, 80])
        return self._request("POST /references", pieces, "Transfer-Encoding: chunked")

    def contradicting(self) -> bytes:
        other = self._draws.choice(["Content-Length: 6", "Transfer-Encoding: chunked", "Content-Length: -1"])
        body = b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        return self._request("POST /visits", body, "Content-Length: 5", other)

    def from_elsewhere(self) -> bytes:
        return self._request(f"POST /visits/{self._visit}/finish", b"a=1", "Origin: http://evil.example",
                             "Content-Type: application/x-www-form-urlencoded")  # fmt: skip

    WAYS = (
        no_http, another_name, long_line, many_headers, address, form, broken_multipart, huge, contradicting,
        from_elsewhere,
    )  # fmt: skip


def photograph(client: Client, visit: str) -> None:
    """In its turn: one of the others may have sent a form that photographs, and hung up."""

    def taken() -> bool:
        try:
            client.capture(visit)
        except Refused as answer:
            assert answer.status == 409, answer
            return False
        return True

    until(taken, 30.0, "a photograph among hostile requests")


def test_hostile_requests_are_refused_and_leave_nothing(instrument, client, run):
    draws = random.Random(run.seed)
    visit, before = client.visit()["uid"], instrument.pid()
    client.capture(visit)
    hostile = Hostile(instrument.url, visit, draws)
    many = run.sizes.get("hostile_requests", REQUESTS)
    memory, photographs = [], 0
    for number in range(many):
        if number == many // 2:
            memory.append(instrument.memory())
        hostile.send()
        if number % 100 == 50:  # somebody examines meanwhile
            photograph(client, visit)
            photographs += 1
    time.sleep(2.0)
    memory.append(instrument.memory())
    run.event("hostile requests", outcome=", ".join(f"{s}: {n}" for s, n in sorted(hostile.answers.items())))
    assert instrument.pid() == before, "the service was started anew"
    refused = sum(n for status, n in hostile.answers.items() if status == 0 or 400 <= status < 500)
    assert refused > many // 2, hostile.answers
    growth = (memory[1].private_kb - memory[0].private_kb) / 1024
    run.value("hostile.growth", "MB", growth)
    assert growth < GROWTH_MB, f"{growth:.1f} MB more after {many} requests"
    assert memory[1].files <= memory[0].files + 8, "files or connections were left open"
    assert len(client.finish(visit)["captures"]) > photographs
    Record(instrument).verified()


def test_connections_that_never_say_anything_hold_nobody_up(instrument, client):
    """As many as a careless program may leave open: each begins a request, or says nothing."""
    parts, visit = urlsplit(instrument.url), client.visit()["uid"]
    files = instrument.memory().files
    idle = []
    try:
        for number in range(IDLE):
            one = socket.create_connection((parts.hostname, parts.port), timeout=20)
            idle.append(one)
            if number % 2:
                one.sendall(b"POST /visits HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nparticipant=")
        asked = threading.Thread(target=client.capture, args=(visit,))
        asked.start()
        begun = time.monotonic()
        other = Client(instrument.url)
        other.status()
        assert time.monotonic() - begun < 10.0
        asked.join(60)
        assert not asked.is_alive()
    finally:
        for one in idle:
            one.close()
    until(lambda: instrument.memory().files <= files + 8, 20.0, "the end of the connections")
    assert len(other.get(f"/visits/{visit}")["captures"]) == 1
    other.close()
