"""Who may speak to the pages: hosts, origins, sizes, an access code beyond the instrument's own screen; and the
headers of every answer.

The instrument is used on its own screen, by a loopback address. Whoever comes over the network needs the access
code, and there is none by default: then nobody else is let in.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST = 4 << 20  # bytes of a request: a list of references, at most
LONGEST_ADDRESS = 4096  # characters; Python keeps the last hundreds that it has taken apart
SESSION = "tenohira-session"
SESSION_SECONDS = 12 * 3600  # a working day
OPEN_TO_ALL = ("/static/", "/fonts/", "/enter", "/language")  # without the access code
TRIES, PAUSE_SECONDS = 5, 60.0  # wrong codes from one address, and the pause after them
MOST_TRIES = 50  # from all addresses together in one pause: guessing from many is no way round

HEADERS = {
    # Nothing from outside, no script or style inside of a page.
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Nothing is told to other sites. Not "no-referrer": with it browsers send "Origin: null" from our own forms,
    # and over plain HTTP (a phone beside the instrument) the origin is all that we can check.
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}

Refusal = Callable[[Request, int, str], Response]


class AccessCode:
    """The code for those who come over the network, their sessions, and a brake on guessing. Sessions end with
    the process."""

    def __init__(self, code: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.needed = bool(code)
        self._digest, self._clock, self._lock = sha256(code.encode()).digest(), clock, threading.Lock()
        self._sessions: dict[str, float] = {}  # token: when it ends
        self._wrong: list[tuple[float, str]] = []  # (when, from where)

    def pause(self, address: str) -> float:
        """Seconds that this address has to wait before it may try again."""
        with self._lock:
            now = self._clock()
            self._wrong = [(at, who) for at, who in self._wrong if now - at < PAUSE_SECONDS]
            own = [at for at, who in self._wrong if who == address]
            if len(own) >= TRIES:
                return own[-1] + PAUSE_SECONDS - now
            return self._wrong[0][0] + PAUSE_SECONDS - now if len(self._wrong) >= MOST_TRIES else 0.0

    def enter(self, code: str, address: str) -> str | None:
        """A new session's token, None where the code is wrong. Ask ``pause`` first."""
        right = hmac.compare_digest(sha256(code.encode()).digest(), self._digest) and self.needed
        with self._lock:
            now = self._clock()
            if not right:
                self._wrong.append((now, address))
                return None
            self._sessions = {token: end for token, end in self._sessions.items() if end > now}
            token = secrets.token_urlsafe(32)
            self._sessions[token] = now + SESSION_SECONDS
            return token

    def knows(self, token: str) -> bool:
        """Whether a session's token is valid still."""
        with self._lock:
            return self._sessions.get(token, 0.0) > self._clock()


class Guard:
    """ASGI middleware. ``hosts`` are the names that the instrument answers to; addresses are always among them:
    a network may give it any, and only a name can be turned against us (DNS rebinding)."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], access: AccessCode, refuse: Refusal) -> None:
        self.app, self.access, self.refuse = app, access, refuse
        self.hosts = {h.lower() for h in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on and put our headers on the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")  # participants' data stay out of caches
            await send(message)

        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_ADDRESS:
            request = Request({**scope, "path": "/", "raw_path": b"/", "query_string": b""}, receive)
            refusal: tuple[int, str] | None = 413, "this address is too long; open the instrument's start page"
        else:
            request = Request(scope, receive)
            refusal = self._refusal(request)
        if refusal:
            answer = await run_in_threadpool(self.refuse, request, *refusal)
            await answer(scope, receive, with_headers)
            return
        await self.app(scope, _limited(receive), with_headers)

    def _refusal(self, request: Request) -> tuple[int, str] | None:
        headers = request.headers
        if not self._known_host(headers.get("host", "")):
            return 400, "this instrument is not called by this name; open it by its address"
        if request.method not in ("GET", "HEAD") and not same_origin(headers, request.url.scheme):
            return 403, "this form was sent from another page; open the instrument's own page and try again"
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST:
            return 413, f"more than {LARGEST >> 20} MB were sent; send less at once"
        if is_loopback(request) or request.url.path.startswith(OPEN_TO_ALL):
            return None
        if not self.access.needed:
            return 403, (
                "this instrument is used on its own screen only; to use it over the network, start it with an "
                "access code"
            )
        if not self.access.knows(request.cookies.get(SESSION, "")):
            return 401, "enter the access code of this instrument first"
        return None

    def _known_host(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name = (parts.hostname or "").lower() if host.isascii() and parts.netloc == host else ""
        except ValueError:  # "[" without an end
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self.hosts
        return True


def same_origin(headers: Headers, scheme: str) -> bool:
    """Whether a request was sent by one of our own pages, or by no browser at all (which sends neither header)."""
    site = headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = headers.get("origin")
    return origin is None or origin.lower() == f"{scheme}://{headers.get('host', '')}".lower()


def is_loopback(connection: HTTPConnection) -> bool:
    """Whether somebody speaks from the instrument itself. (Where "::" is listened on, IPv4 comes inside of IPv6,
    in which Python 3.11 knows no loopback.)"""
    try:
        address = ipaddress.ip_address(connection.client.host if connection.client else "")
    except ValueError:
        return False
    inside = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inside or address).is_loopback


def _limited(receive: Receive) -> Receive:
    """A body that says no length is cut off at the limit: the sender is gone, as far as the page can tell."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        return message if taken <= LARGEST else {"type": "http.disconnect"}

    return limited
