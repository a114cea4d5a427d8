"""One request as the pages see it: who asks, in which language, for a page, a part of one (htmx), or JSON.

A page is a plain function ``Call -> Response`` that may block: it runs in a thread, so that the preview goes on.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from device import __version__
from device.cli import NOTICE
from device.errors import TenohiraError
from device.language import LANGUAGES, Translator
from device.overlay import COLOURS, WORDS
from device.page import SHAPES
from device.record import EYES, Eye
from device.verdict import Outcome
from device.web.guard import AccessCode, is_loopback
from device.web.needs import Check, Instrument, Store

TEMPLATES = Path(__file__).with_name("templates")
OPERATOR, LANGUAGE = "tenohira-operator", "tenohira-language"  # cookies
EYE_WORDS: dict[Eye, str] = {"OD": "Right eye", "OS": "Left eye"}
EYE_IN_SENTENCE: dict[Eye, str] = {"OD": "right eye", "OS": "left eye"}

# What an error is in HTTP; every other TenohiraError is 400.
STATUS = {
    "NoSuchVisitError": 404,
    "NoSuchPictureError": 404,
    "VisitClosedError": 409,
    "BusyError": 409,
    "HiddenError": 403,
    "CameraError": 503,
    "MemoryLowError": 503,
    "StoreError": 500,
    "ErrandError": 500,
    "StoreFullError": 507,
}
INTERNAL = (
    "an error of our own happened, and what you last did may not have been kept; go back and look, and report it "
    "if it happens again"
)
NO_PAGE = "there is no such page; go back to the start"
UNREADABLE = "what was sent could not be read; go back and send it again"
WRONG_METHOD = "this address is not for opening in a browser; go back to the start"

log = logging.getLogger(__name__)


MOST_AT_ONCE = 20  # requests that are worked at; the threads of one that waits for an errand or a capture are held
UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Web:
    """What all requests share."""

    instrument: Instrument
    selftest: Callable[[], Sequence[Check]] | None
    access: AccessCode
    checks: tuple[str, Sequence[Check]] | None = None  # time and answers of the last self-test
    # Threads that stay. Starlette's end when they are idle, and OpenCV keeps 0.9 kB for each that used it.
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(MOST_AT_ONCE, "pages"))


@dataclass(frozen=True)
class Call:
    """One request. ``form`` is what was sent with it, ``files`` the files among it."""

    web: Web
    request: Request
    language: str
    form: Mapping[str, str]
    files: Mapping[str, bytes]

    @property
    def store(self) -> Store:
        return self.web.instrument.store

    @property
    def t(self) -> Translator:
        return Translator(self.language)

    @property
    def eye(self) -> Eye:
        """The eye in the address."""
        return "OD" if self.request.path_params["eye"] == "OD" else "OS"

    @property
    def visit_uid(self) -> str:
        """The visit in the address."""
        return str(self.request.path_params["visit"])

    @property
    def uid(self) -> str:
        """What the page, or a machine, wants the new record to be called; empty where it does not say. A form that
        is sent twice (a double tap, an answer that got lost) is then recorded once."""
        uid = self.form.get("uid", "")
        return uid if UID.fullmatch(uid) else ""

    @property
    def operator(self) -> str:
        """Who said last to be the operator, on this screen."""
        return unquote(self.request.cookies.get(OPERATOR, ""))

    @property
    def actor(self) -> str:
        """Who did it, for the audit log."""
        return self.operator or "operator"

    @property
    def by_htmx(self) -> bool:
        """Whether a page's script wants a part of a page."""
        return by_htmx(self.request)

    @property
    def wants_json(self) -> bool:
        return wants_json(self.request)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page, or a part of one."""
        return HTMLResponse(render(template, self.request, self.language, **values), status)

    def done(self, to: str, data: Mapping[str, Any], status: int = 200) -> Response:
        """After a POST: machines get ``data``, people are led to a page."""
        return self.json(data, status) if self.wants_json else self.redirect(to)

    def json(self, data: Any, status: int = 200) -> Response:
        """Records as JSON."""
        return JSONResponse(msgspec.to_builtins(data), status)

    def redirect(self, to: str) -> Response:
        """To a page."""
        return redirected(self.request, to)


Page = Callable[[Call], Response]


def endpoint(web: Web, page: Page) -> Callable[[Request], Awaitable[Response]]:
    """``page`` for Starlette: reads the form, runs in a thread; what is raised becomes a page in words."""

    async def answer(request: Request) -> Response:
        form, files = await _form(request)

        def work() -> Response:
            try:
                return page(Call(web, request, language_of(request, web.instrument.store), form, files))
            except HTTPException as error:
                return refused(request, error.status_code, NO_PAGE)
            except TenohiraError as error:
                return refused(request, status_of(error), str(error))
            except Exception:
                log.exception("%s %s failed", request.method, request.url.path)
                return refused(request, 500, INTERNAL)

        return await asyncio.get_running_loop().run_in_executor(web.threads, work)

    return answer


async def _form(request: Request) -> tuple[dict[str, str], dict[str, bytes]]:
    if request.method != "POST":
        return {}, {}
    form: dict[str, str] = {}
    files: dict[str, bytes] = {}
    async with request.form(max_files=1, max_fields=100) as sent:
        for name, value in sent.multi_items():
            if isinstance(value, UploadFile):
                files[name] = await value.read()
            else:
                form[name] = value.strip()
    return form, files


def language_of(request: Request, store: Store | None) -> str:
    """As chosen on this screen, or as the instrument is set."""
    chosen = request.cookies.get(LANGUAGE, "")
    if chosen in LANGUAGES:
        return chosen
    try:
        return store.settings.language if store else "en"
    except TenohiraError:  # a page that says what is wrong must not need what is wrong
        return "en"


def status_of(error: TenohiraError) -> int:
    """The HTTP status of an error."""
    return next((STATUS[c.__name__] for c in type(error).__mro__ if c.__name__ in STATUS), 400)


def refused(request: Request, status: int, message: str) -> Response:
    """An error in words, with a way back: as a page, as a part of one, or as JSON."""
    headers = {"retry-after": "5"} if status in (503, 507) else {}
    if wants_json(request):
        return JSONResponse({"error": message}, status, headers)
    web = getattr(request.app.state, "web", None)
    language = language_of(request, web.instrument.store if web else None)
    html = render(
        "problem.html" if by_htmx(request) else "error.html",
        request,
        language,
        message=message,
        back=way_back(request),
    )
    return HTMLResponse(html, status, headers)


def redirected(request: Request, to: str) -> Response:
    """To a page; htmx is told to load it as a whole."""
    if by_htmx(request):
        return Response(status_code=204, headers={"hx-redirect": to})
    return RedirectResponse(to, 303)


def by_htmx(request: Request) -> bool:
    """Whether a page's script asks."""
    return request.headers.get("hx-request") == "true"


def wants_json(request: Request) -> bool:
    """Whether a machine asks."""
    return request.headers.get("accept", "").startswith("application/json")


def way_back(request: Request) -> str:
    """The page that an error leads back to: that of the visit, where there is one."""
    parts = request.url.path.split("/")
    inside = len(parts) > 3 and parts[1] == "visits"
    return "/".join(parts[:3]) if inside else f"/{parts[1]}" if parts[1] in ("settings", "references") else "/"


def render(template: str, request: Request, language: str, **values: Any) -> str:
    """A template with what all of them know."""
    t = Translator(language)
    place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return ENVIRONMENT.get_template(template).render(
        t=t,
        language=language,
        other="en" if language == "ja" else "ja",
        place=place if request.method == "GET" else way_back(request),
        path=request.url.path,
        own_screen=is_loopback(request),
        say=lambda text: sentence(t, text),
        **values,
    )


def sentence(t: Translator, text: str) -> str:
    """A sentence of the instrument's in the language, with a capital and a full stop."""
    said = t(text)
    if t.language == "ja" and t.knows(text):
        return said if said.endswith(("。", "？", "！")) else f"{said}。"
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "?", "!")) else ".")


def _local(time: str, form: str = "%Y-%m-%d %H:%M") -> str:
    """A record's time in the instrument's time zone."""
    return datetime.fromisoformat(time).astimezone().strftime(form)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"local": _local, "quote": lambda text: quote(text, safe="")}
    environment.globals |= {
        "version": __version__,
        "notice": NOTICE,
        "languages": LANGUAGES,
        "eyes": EYES,
        "eye_words": EYE_WORDS,
        "eye_named": EYE_IN_SENTENCE,
        "outcome_words": WORDS,
        "shapes": SHAPES,
        "colours": COLOURS,
        "Outcome": Outcome,
    }
    return environment


ENVIRONMENT = _environment()
