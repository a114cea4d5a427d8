"""The instrument itself: how it is, its self-test, and the way in over the network."""

from __future__ import annotations

import math

import msgspec
from starlette.responses import Response

from device.errors import UsageError
from device.record import now
from device.web.call import Call, refused
from device.web.guard import SESSION, SESSION_SECONDS
from device.web.pages.start import local_path


def status(call: Call) -> Response:
    """``GET /api/status``"""
    return call.json(call.web.instrument.status())


def selftest(call: Call) -> Response:
    """``GET /selftest``: what the last one said."""
    return _selftest(call)


def run_selftest(call: Call) -> Response:
    """``POST /selftest``: run it now."""
    if call.web.selftest is None:
        raise UsageError("this instrument was started without its self-test; run 'tenohira selftest' instead")
    call.web.checks = (now(), tuple(call.web.selftest()))
    return _selftest(call)


def _selftest(call: Call) -> Response:
    time, checks = call.web.checks or ("", ())
    if call.wants_json:
        return call.json({"time": time, "checks": [msgspec.to_builtins(c) for c in checks]})
    state = call.web.instrument.status()
    template = "checks.html" if call.by_htmx else "selftest.html"
    return call.page(template, time=time, checks=checks, status_now=state)


def enter(call: Call) -> Response:
    """``GET /enter``: asks for the access code."""
    return call.page("enter.html", back=local_path(call.request.query_params.get("back", "/")))


def let_in(call: Call) -> Response:
    """``POST /enter``: code. After some wrong ones there is a pause."""
    address = call.request.client.host if call.request.client else ""
    if pause := call.web.access.pause(address):
        return refused(call.request, 429, f"too many wrong codes; wait {math.ceil(pause)} seconds and try again")
    token = call.web.access.enter(call.form.get("code", ""), address)
    if token is None:
        return refused(
            call.request, 403, "this is not the access code; look at the instrument's papers and try again"
        )
    answer = call.done(local_path(call.form.get("back", "/")), {"entered": True})
    secure = call.request.url.scheme == "https"
    answer.set_cookie(SESSION, token, httponly=True, samesite="strict", secure=secure, max_age=SESSION_SECONDS)
    return answer
