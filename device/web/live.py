"""The live preview, over HTTP: one picture a request with its coaching beside it, or a stream for browsers without
scripts.

A page asks for the next picture when it has shown the last: a slow line then sees fewer pictures, not older ones,
and a page that is gone costs nothing. Waiting for a picture holds a thread of a small pool of its own, so that any
number of viewers leaves threads for captures.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator

import anyio
import anyio.from_thread
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from device.language import Translator
from device.web.call import Web, language_of, sentence
from device.web.needs import Live

VIEWERS = 4  # that wait for pictures at the same time
WAIT = 1.0  # seconds for the next picture, at most
STREAMS = 2  # without scripts
AIMING = 3.0  # seconds since a page with a shutter last asked, after which it is taken for closed
STALLED = 10.0  # seconds after which a viewer of a stream who takes nothing is taken for gone
BOUNDARY = "tenohira-picture"


class LiveView:
    """The routes of the preview. ``pace`` is the least time between the pictures of a stream, in seconds."""

    def __init__(self, web: Web, pace: float = 0.1) -> None:
        self._web, self._pace = web, pace
        self._waiting: anyio.CapacityLimiter | None = None  # made in the event loop, which it belongs to
        self._streams = 0
        self._aiming: dict[str, float] = {}  # pages with a shutter: when each asked last

    async def frame(self, request: Request) -> Response:
        """The picture after number ``after`` as JPEG, coaching as JSON in the header ``x-live``; 204 without a
        picture (the header then says why, or that there is no new one). A page with a shutter gives its name in
        ``page``: with two of them open, nobody knows which eye the instrument's button means."""
        given = request.query_params.get("after", "0")
        after = int(given) if given.isdecimal() and given.isascii() and len(given) < 16 else 0

        def look() -> tuple[Live, dict[str, object]] | None:
            if anyio.from_thread.run(request.is_disconnected):  # while it stood in the queue
                return None
            live = self._web.instrument.live(after, WAIT)
            state = state_of(live, Translator(language_of(request, self._web.instrument.store)))
            return live, state | {"alone": self._alone(request.query_params.get("page", "")[:40])}

        await request.body()  # empty; what may come after it is that the viewer has gone
        seen = await anyio.to_thread.run_sync(look, limiter=self._limiter)
        if seen is None:
            return Response(status_code=204)
        live, state = seen
        headers = {"x-live": json.dumps(state)}  # ASCII, as headers are
        if live.jpeg is None or live.sequence == after:
            return Response(status_code=204, headers=headers)
        return Response(live.jpeg, media_type="image/jpeg", headers=headers)

    async def stream(self, request: Request) -> Response:
        """The preview as ``multipart/x-mixed-replace``."""
        if self._streams >= STREAMS:
            return Response("the preview is open elsewhere already; close it there", 503, {"retry-after": "5"})
        return _Stream(self, self._pictures(), media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    def _alone(self, page: str) -> bool:
        """Whether no other page than ``page`` aims at an eye."""
        now = time.monotonic()
        heard = {name: at for name, at in self._aiming.items() if now - at < AIMING}
        self._aiming = heard | ({page: now} if page else {})
        return not self._aiming.keys() - {page}

    @property
    def _limiter(self) -> anyio.CapacityLimiter:
        self._waiting = self._waiting or anyio.CapacityLimiter(VIEWERS)
        return self._waiting

    async def _pictures(self) -> AsyncIterator[bytes]:
        seen = 0
        while True:
            live = await anyio.to_thread.run_sync(self._web.instrument.live, seen, WAIT, limiter=self._limiter)
            if live.jpeg is not None and live.sequence != seen:
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(live.jpeg)}\r\n\r\n"
                yield head.encode() + live.jpeg + b"\r\n"
            seen = live.sequence
            await anyio.sleep(self._pace)


class _Stream(StreamingResponse):
    """Counted, and ended when the viewer takes no more: a phone that went to sleep says no good-bye."""

    def __init__(self, view: LiveView, content: AsyncIterator[bytes], media_type: str) -> None:
        super().__init__(content, media_type=media_type)
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def in_time(message: Message) -> None:
            with anyio.fail_after(STALLED):
                await send(message)

        self._view._streams += 1
        try:
            await super().__call__(scope, receive, in_time)
        except (TimeoutError, BaseExceptionGroup) as error:
            if not _timed_out(error):
                raise
        finally:
            self._view._streams -= 1


def _timed_out(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_timed_out(e) for e in error.exceptions)
    return isinstance(error, TimeoutError)


def state_of(live: Live, t: Translator) -> dict[str, object]:
    """What goes with a preview picture: numbers for the ring and the bar, words in the language."""
    coaching = live.coaching
    return {
        "sequence": live.sequence,
        "presses": live.presses,
        "error": sentence(t, live.error) if live.error else "",
        "focus": None if coaching is None else round(coaching.focus, 3),
        "centre": None if coaching is None else coaching.centre,
        "radius": None if coaching is None else coaching.radius,
        "ready": coaching is not None and coaching.ready,
        "tip": sentence(t, coaching.tip) if coaching is not None and coaching.tip else "",
    }
