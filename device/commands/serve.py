"""``tenohira serve``: the instrument with its pages, until it is told to stop."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from device import errand, memory
from device.camera import parse_spec
from device.camera.supervised import SupervisedCamera
from device.clock import Clock
from device.errors import TenohiraError, UsageError
from device.health import Watch
from device.instrument import Instrument
from device.light import LitCamera, open_light
from device.notify import Heartbeat, Notifier
from device.record import now
from device.repeating import Repeating
from device.store import Store
from device.web import app as pages

LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE = 3  # seconds for requests under way when the service is told to stop; a live preview would never end
BACKLOG = 32  # connections that wait to be taken; asyncio logs each of them, again and again, when files run out
AGAIN = 10.0  # seconds until an instrument that could not start is tried again
SEND = 20.0  # seconds between two looks whether something is to be sent
LONGEST_SENDING = 3600.0  # seconds; then it is started anew
TIDY = 3600.0  # seconds between two looks for examinations whose time is over
EPILOG = """
The pages are for this machine alone, unless --listen says otherwise; then an access code is asked for: the one in
TENOHIRA_ACCESS_CODE, or one that is made up and printed. Where the instrument cannot start, a page says why, and
the start is tried again by itself. Exit codes: 0 told to stop, 1 the port could not be had, 2 wrong arguments.
"""

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = f"{EPILOG.strip()} {parser.epilog or ''}"
    parser.add_argument(
        "--store", type=Path, metavar="DIR", default=_default_store(), help="folder of the record (%(default)s)"
    )
    parser.add_argument(
        "--camera",
        metavar="SPEC",
        default="picamera2",
        help="picamera2, replay:PATH (photographs or a video) or simulated:SEED (default: %(default)s)",
    )
    parser.add_argument(
        "--light",
        metavar="SPEC",
        default="none",
        help="LEDs and shutter button, as gpio:preview=17,flash=27,button=22 (default: %(default)s)",
    )
    parser.add_argument("--listen", metavar="ADDRESS", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="default: %(default)s")
    parser.add_argument("--bundles", type=Path, metavar="DIR", help="bundles (default: the shipped ones)")
    parser.add_argument("--keys", type=Path, metavar="DIR", help="trusted keys (default: the shipped one)")
    parser.add_argument(
        "--threads", type=int, metavar="N", default=os.cpu_count() or 1, help="threads (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0.

    Raises UsageError for arguments that are wrong in themselves and for a port that cannot be had: everything else
    becomes a page.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    if not 1 <= args.port <= 65535:
        raise UsageError(f"--port {args.port}: give a number from 1 to 65535")
    parse_spec(args.camera)  # a slip of the pen is told at once
    memory.keep_little()
    port = _bound(args.listen, args.port)  # before anything is started for nothing
    notifier = Notifier()
    service = Service(lambda: Running(args), _access_code(args.listen), tell=notifier.status)
    config = uvicorn.Config(
        service, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=GRACE,
        server_header=False, backlog=BACKLOG,
    )  # fmt: skip
    server = _Server(config, ready=lambda: notifier.ready(service.state))
    with port, service, Heartbeat(notifier, service.alive):
        server.run([port])
        notifier.stopping()
    return 0


class _Server(uvicorn.Server):
    """Tells when the port is open, and comes back when it has ended."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Open the port, then say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop upon a signal, and no more. uvicorn would raise it again afterwards, and SIGTERM would end the
        process before lights, camera, errands and record are closed."""
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


class Running:
    """Everything that runs while the instrument does, closed in the reverse order.

    Raises a TenohiraError where a part cannot start; the parts that had started are closed then.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        memory.need_for_start()
        with ExitStack() as parts:
            light = open_light(args.light)
            parts.callback(light.close)
            camera = LitCamera(SupervisedCamera(args.camera), light)
            store = parts.enter_context(Store(args.store))
            self._watch = watch = parts.enter_context(Watch(Clock(store).look))
            self.instrument = parts.enter_context(
                Instrument(
                    store, camera, bundles=args.bundles, keys=args.keys, threads=args.threads,
                    board=lambda: watch.health,
                )
            )  # fmt: skip
            light.on_shutter(self.instrument.press_shutter)
            for every, what, name in ((SEND, self._send, "sending"), (TIDY, self._tidy, "tidying up")):
                parts.callback(Repeating(every, what, name).close)
            self._parts = parts.pop_all()

    def _send(self, cancelled: Callable[[], bool]) -> None:
        """What is due goes out in a process of its own: DICOM's libraries are as large as the instrument."""
        store = self.instrument.store
        if store.settings.pacs.kind and (due := store.due(now())):
            command = ("record", "send", "--store", str(store.folder))
            pixels = errand.pixels_of((store.visit(parcel.visit) for parcel in due), store.picture)
            with memory.granted(memory.of_dicom(pixels), "sending to the archive"):
                errand.run(*command, deadline=LONGEST_SENDING, cancelled=cancelled)

    def _tidy(self, cancelled: Callable[[], bool]) -> None:
        self._watch.look()  # a clock that jumped a moment ago is doubted before anything is removed by it
        for uid in self.instrument.store.expire(now()):
            log.info("examination %s was removed: its time was over", uid)

    def close(self) -> None:
        """End all of it; what is recorded stays."""
        self._parts.close()


class Service:
    """The ASGI application: the instrument's pages, or the page that says why there are none.

    ``start`` makes what runs. Where it raises, it is tried again every ``again`` seconds; ``tell`` is told the
    state each time. A context manager, which starts and ends it.
    """

    def __init__(
        self,
        start: Callable[[], Running],
        access_code: str = "",
        again: float = AGAIN,
        tell: Callable[[str], None] = lambda state: None,
    ) -> None:
        self._start, self._code, self._again, self._tell = start, access_code, again, tell
        self._running: Running | None = None
        self._ended = threading.Event()
        self._app: ASGIApp = pages.failure("the instrument is starting; wait a moment", access_code=access_code)
        self.state = "starting"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the pages of the moment."""
        await self._app(scope, receive, send)

    def alive(self) -> bool:
        """Whether nothing hangs. An instrument that could not start is alive: a restart would not help it."""
        return self._running is None or self._running.instrument.alive()

    def __enter__(self) -> Service:
        if not self._try():
            threading.Thread(target=self._keep_trying, name="start", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._running:
            self._running.close()

    def _keep_trying(self) -> None:
        while not self._ended.wait(self._again) and not self._try():
            pass

    def _try(self) -> bool:
        try:
            running = self._start()
        except Exception as error:
            if isinstance(error, TenohiraError):
                reason = str(error)
            else:
                log.exception("the instrument could not start")
                reason = f"an internal error ({type(error).__name__}); the journal has its details"
            self.state = f"not started: {reason}"
            log.error("%s", self.state)
            self._app = pages.failure(reason, access_code=self._code)
            self._tell(self.state)
            return False
        gc.collect()
        gc.freeze()  # what is there now stays: no later collection has to look through it
        self._running = running
        instrument = running.instrument
        self._app = pages.build(instrument, selftest=instrument.selftest, access_code=self._code)
        self.state = "ready"
        self._tell(self.state)
        return True


def _default_store() -> Path:
    """systemd's folder for the service's state, or the user's own."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.split(":")[0], "record")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "tenohira", "record")


def _bound(address: str, port: int) -> socket.socket:
    """The port, which is opened when the instrument is there. Raises UsageError."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise UsageError(
            f"port {port} of {address} cannot be had ({error.strerror}); end the program that has it, or give "
            "another --port or --listen"
        ) from error
    return sock


def _access_code(address: str) -> str:
    """Needed by whoever is not on this machine; printed where nobody has set one."""
    code = os.environ.get("TENOHIRA_ACCESS_CODE", "")
    if address not in LOOPBACK and not code:
        code = secrets.token_hex(4)
        print(f"access code for other machines: {code}", flush=True)
    return code
