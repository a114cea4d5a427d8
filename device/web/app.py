"""The application: every address of the pages, and the page that says why there is no application.

Dark everywhere: the room is dim so that pupils are wide, and a bright screen would narrow the participant's pupil
and dazzle the operator. The browser's own preference is not asked, for a kiosk's says "light".
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from device.errors import TenohiraError
from device.record import EYES
from device.web.call import (
    INTERNAL,
    NO_PAGE,
    UNREADABLE,
    WRONG_METHOD,
    Page,
    Web,
    by_htmx,
    endpoint,
    redirected,
    refused,
    render,
    status_of,
    wants_json,
    way_back,
)
from device.web.call import LANGUAGE as LANGUAGE_COOKIE
from device.web.guard import HEADERS, AccessCode, Guard
from device.web.live import LiveView
from device.web.needs import Check, Instrument
from device.web.pages import eye, history, machine, reading, settings, start, visit

STATIC = Path(__file__).with_name("static")
FONTS = Path(__file__).parent.with_name("fonts")
LOCAL = ("localhost", "localhost.localdomain")


class _Text(Convertor[str]):
    """A part of an address of one form; every other address is no page."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Record(_Text):
    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


class _Eye(_Text):
    regex = "|".join(EYES)


class _Sha(_Text):
    regex = "[0-9a-f]{64}"


register_url_convertor("record", _Record())
register_url_convertor("eye", _Eye())
register_url_convertor("sha", _Sha())

VISIT = "/visits/{visit:record}"
EYE = VISIT + "/{eye:eye}"
CAPTURE = EYE + "/captures/{capture:record}"

PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", "/", start.show),
    ("POST", "/visits", start.begin),
    ("POST", "/participants", start.new_code),
    ("GET", "/scan", start.scan),
    ("POST", "/scan", start.read_code),
    ("POST", "/language", start.language),
    ("GET", VISIT, visit.show),
    ("POST", VISIT + "/finish", visit.finish),
    ("GET", VISIT + "/report.pdf", visit.report),
    ("GET", VISIT + "/dicom.zip", visit.dicom),
    ("GET", VISIT + "/pictures/{sha:sha}", visit.picture),
    ("GET", EYE, eye.show),
    ("POST", EYE + "/captures", eye.capture),
    ("POST", CAPTURE + "/other-eye", eye.withdraw),
    ("POST", CAPTURE + "/keep", eye.keep),
    ("GET", EYE + "/cannot", eye.cannot),
    ("POST", EYE + "/not-imaged", eye.not_imaged),
    ("GET", EYE + "/reading", reading.show),
    ("POST", EYE + "/reading", reading.add),
    ("GET", "/history", history.show),
    ("GET", "/settings", settings.show),
    ("POST", "/settings", settings.change),
    ("GET", "/references", settings.references),
    ("POST", "/references", settings.import_references),
    ("GET", "/selftest", machine.selftest),
    ("POST", "/selftest", machine.run_selftest),
    ("GET", "/api/status", machine.status),
    ("GET", "/enter", machine.enter),
    ("POST", "/enter", machine.let_in),
)


def build(
    instrument: Instrument,
    *,
    selftest: Callable[[], Sequence[Check]] | None = None,
    access_code: str = "",
    hosts: Sequence[str] = (),
) -> Starlette:
    """The instrument's pages.

    ``access_code`` lets others in than the instrument's own screen (a loopback address); without it nobody else
    is. ``hosts`` are names that the instrument has besides its own and localhost; addresses are always known.
    """
    web = Web(instrument, selftest, AccessCode(access_code))
    live = LiveView(web)
    routes: list[BaseRoute] = [
        Route("/live/frame", live.frame, methods=["GET"]),
        Route("/live.mjpg", live.stream, methods=["GET"]),
        *(Route(path, endpoint(web, page), methods=[method]) for method, path, page in PAGES),
        *_files(),
    ]
    app = _application(routes, web.access, hosts)
    app.state.web = web
    return app


def failure(reason: str, *, access_code: str = "", hosts: Sequence[str] = (), language: str = "en") -> Starlette:
    """What is served instead where the instrument could not start: each address says why, in words (503)."""

    def page(request: Request) -> Response:
        if wants_json(request):
            return refused(request, 503, reason)
        chosen = request.cookies.get(LANGUAGE_COOKIE, language)
        template = "problem.html" if by_htmx(request) else "failure.html"
        html = render(template, request, chosen, message=reason)
        return Response(html, 503, media_type="text/html", headers={"retry-after": "10"})

    async def switch(request: Request) -> Response:
        async with request.form() as form:
            chosen = "ja" if form.get("language") == "ja" else "en"
            back = start.local_path(str(form.get("back", "/")))
        answer = redirected(request, back)
        answer.set_cookie(LANGUAGE_COOKIE, chosen, httponly=True, samesite="strict")
        return answer

    routes: list[BaseRoute] = [
        Route("/language", switch, methods=["POST"]),
        *_files(),
        Route("/{path:path}", page, methods=["GET", "POST"]),
    ]
    return _application(routes, AccessCode(access_code), hosts)


def _application(routes: Sequence[BaseRoute], access: AccessCode, hosts: Sequence[str]) -> Starlette:
    own = socket.gethostname()
    known = (*LOCAL, own, f"{own}.local", *hosts)

    def refuse(request: Request, status: int, message: str) -> Response:
        picture = request.url.path.startswith("/live")  # its page loads itself anew
        page = request.method == "GET" and not picture
        if status == 401 and (page or by_htmx(request)) and not wants_json(request):
            back = request.url.path if page else way_back(request)
            return redirected(request, f"/enter?back={quote(back)}")
        return refused(request, status, message)

    return Starlette(
        routes=list(routes),
        middleware=[Middleware(Guard, hosts=known, access=access, refuse=refuse)],
        exception_handlers={
            HTTPException: _no_page,
            ClientDisconnect: _unreadable,
            TenohiraError: _explained,
            Exception: _internal,
        },
    )


def _files() -> list[BaseRoute]:
    return [Mount("/static", StaticFiles(directory=STATIC)), Mount("/fonts", StaticFiles(directory=FONTS))]


def _no_page(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return refused(request, status, {400: UNREADABLE, 405: WRONG_METHOD}.get(status, NO_PAGE))


def _unreadable(request: Request, error: Exception) -> Response:
    """It hung up while it sent a form, or sent more than may be: no fault of ours, and nothing for the log."""
    return refused(request, 400, UNREADABLE)


def _explained(request: Request, error: Exception) -> Response:
    return refused(request, status_of(error) if isinstance(error, TenohiraError) else 500, str(error))


def _internal(request: Request, error: Exception) -> Response:
    """Outside of the guard, so with its headers; Starlette raises the error again, for the log."""
    answer = refused(request, 500, INTERNAL)
    answer.headers.update(HEADERS)
    return answer
