"""Every page in every state that matters, on a served instrument: for tests of what fits, and for screenshots.

``python tests/device/web/web_scenes.py docs/screens`` takes the screenshots of the docs (simulated eyes).
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient
from web_fake import Coaching, FakeInstrument, Take

from device.record import Pacs, Reading, Reference, Visit, now
from device.selftest import Check
from device.store import Store
from device.verdict import Outcome
from device.web.app import build, failure

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
SCREEN, PHONE = (800, 480), (390, 844)  # the instrument's own, and one in the operator's pocket
SMALL = (480, 320)  # a small one for a Pi
LARGEST = 80_000  # bytes of a screenshot

HEALTHY, GLAUCOMA = Take(0.35, 0.21), Take(0.75, 0.81)
BLURRED = Take(cause="defocus")
UNSURE = (
    "the outline of the optic disc does not settle",
    "nothing in the picture is an optic disc with any certainty",
    "the outlined disc is 52% of the field of view wide, which is implausible",
)
AIMING = Coaching()
READY = Coaching(focus=0.93, centre=(0.5, 0.5), radius=0.46, tip="", ready=True)
CHECKS = (
    Check("camera", True, "the camera simulated gives pictures of 1024 x 1024 pixels"),
    Check(
        "model glaucoma-0.1.0.tnh", True, "signed by development; answers to the bit, fast kernels at most 1 off"
    ),
    Check(
        "storage",
        False,
        "only 120 MB are free where records are kept; 500 MB are needed",
        "Export the records and remove old ones, or use a larger card.",
    ),
    Check("temperature", None, "this machine does not tell"),
)


@dataclass(frozen=True)
class Scene:
    """A page to look at. ``open`` makes what it shows and returns its address."""

    name: str
    open: Callable[[FakeInstrument], str]
    fits: bool = False  # on the instrument's screen without scrolling
    live: bool = False  # shows the camera's picture
    click: str = ""  # touched before one looks


def visit(instrument: FakeInstrument, code: str = "KAN-0012", *, od=(), os=(), finish=False) -> Visit:
    """A visit with captures of both eyes."""
    begun = instrument.store.begin(code, operator="op-07", consent=True)
    for eye, takes in (("OD", od), ("OS", os)):
        for take in takes:
            instrument.takes = [take]
            instrument.capture(begun.uid, eye)
    return instrument.store.finish(begun.uid) if finish else instrument.store.visit(begun.uid)


def change(instrument: FakeInstrument, **settings: object) -> None:
    instrument.store.change_settings(msgspec.structs.replace(instrument.store.settings, **settings), "test")


def _start(instrument: FakeInstrument) -> str:
    return "/"


def _start_in_study(instrument: FakeInstrument) -> str:
    change(instrument, study="KAN", site="S01", masked=True)
    visit(instrument, "KAN-0011")
    visit(instrument, "KAN-0012")
    instrument.problems = (
        "only 420 MB are free on the disk of the record, and 500 MB must stay free: "
        "export examinations and let old ones be removed, or put in a larger card",
    )
    return "/"


def _path(suffix: str = "", **captures: object) -> Callable[[FakeInstrument], str]:
    return lambda instrument: f"/visits/{visit(instrument, **captures).uid}{suffix}"


def _live(coaching: Coaching = AIMING, error: str = "", **captures: object) -> Callable[[FakeInstrument], str]:
    def opened(instrument: FakeInstrument) -> str:
        uid = visit(instrument, **captures).uid
        instrument.coaching, instrument.error = coaching, error
        return f"/visits/{uid}/OD?again=1"

    return opened


def _masked(suffix: str = "", reading: bool = False, **captures: object) -> Callable[[FakeInstrument], str]:
    def opened(instrument: FakeInstrument) -> str:
        change(instrument, study="KAN", site="S01", masked=True)
        uid = visit(instrument, **captures).uid
        if reading:
            instrument.store.add_reading(
                Reading(
                    uid="0f8fad5b-d9cb-469f-a165-70867728950e", visit=uid, laterality="OD", reader="reader-2",
                    grade=Outcome.REFER, vcdr=0.7, masked=True, time=now(),
                )
            )  # fmt: skip
        return f"/visits/{uid}{suffix}"

    return opened


def _history(instrument: FakeInstrument) -> str:
    visit(instrument, "KAN-0008", od=[HEALTHY], os=[HEALTHY], finish=True)
    visit(instrument, "KAN-0009", od=[GLAUCOMA], os=[HEALTHY], finish=True)
    visit(instrument, "KAN-0010", od=[BLURRED], finish=True)
    visit(instrument, "KAN-0011", od=[HEALTHY])
    return "/history"


def _record(instrument: FakeInstrument) -> str:
    change(instrument, pacs=Pacs(kind="dicomweb", url="https://pacs.example/dicom-web"))
    return f"/visits/{visit(instrument, od=[GLAUCOMA, GLAUCOMA], os=[HEALTHY], finish=True).uid}"


def _settings(instrument: FakeInstrument) -> str:
    change(
        instrument, site="S01", pacs=Pacs(kind="dimse", host="pacs.example", user="tenohira", password="secret")
    )
    return "/settings"


def _references(instrument: FakeInstrument) -> str:
    known = [Reference(participant=f"KAN-{n:04d}", laterality="OD", refer=n % 3 == 0) for n in range(40)]
    instrument.store.set_references(known, "test")
    return "/references"


SCENES = (
    Scene("start", _start, fits=True),
    Scene("start-study", _start_in_study, fits=True),
    Scene("scan", lambda _: "/scan", fits=True, live=True),
    Scene("visit", _path(), fits=True),
    Scene("visit-both", _path(od=[GLAUCOMA], os=[HEALTHY]), fits=True),
    Scene("eye-aim", _live(), fits=True, live=True),
    Scene("eye-ready", _live(READY), fits=True, live=True),
    Scene(
        "eye-no-camera",
        _live(error="the camera stopped sending pictures; check its cable and photograph again"),
        fits=True,
    ),
    Scene("result-refer", _path("/OD", od=[GLAUCOMA]), fits=True),
    Scene("result-near-threshold", _path("/OD", od=[Take(0.6, 0.48, 0.05)]), fits=True),
    Scene("result-usable", _path("/OD", od=[Take(0.35, 0.21, usable="motion")]), fits=True),
    Scene("result-usable-near", _path("/OD", od=[Take(0.6, 0.48, 0.05, usable="over-exposure")]), fits=True),
    Scene("result-last-failed", _path("/OD", od=[HEALTHY, BLURRED]), fits=True),
    Scene("result-not-found", _path("/OD", od=[Take(reasons=UNSURE)]), fits=True),
    Scene("result-close-up", _path("/OD", od=[GLAUCOMA]), fits=True, click="text=/Close-up|拡大/"),
    Scene("result-no-referral", _path("/OS", od=[GLAUCOMA], os=[HEALTHY]), fits=True),
    Scene("result-rejected", _path("/OD", od=[BLURRED]), fits=True),
    Scene("result-rejected-thrice", _path("/OD", od=[BLURRED] * 3), fits=True),
    Scene("result-mix-up", _path("/OD", od=[Take(other_eye=True)]), fits=True),
    Scene("cannot-image", _path("/OD/cannot", od=[BLURRED] * 3), fits=True),
    Scene("masked-result", _masked("/OD", od=[GLAUCOMA]), fits=True),
    Scene("masked-reading", _masked("/OD/reading", od=[GLAUCOMA]), fits=True),
    Scene("masked-shown", _masked("/OD", od=[GLAUCOMA], reading=True), fits=True),
    Scene("masked-visit", _masked("", od=[GLAUCOMA], os=[HEALTHY]), fits=True),
    Scene("record", _record),
    Scene("history", _history),
    Scene("settings", _settings),
    Scene("references", _references),
    Scene("self-test", lambda _: "/selftest", click="main button"),
    Scene("error", lambda _: "/visits/0f8fad5b-d9cb-469f-a165-70867728950e"),
    Scene("access-code", lambda _: "/enter"),
)


@contextlib.contextmanager
def served(app: Starlette, port: int = 0) -> Iterator[str]:
    """The application behind a real server, on a free port of this machine (or one that it had before)."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(10)


@contextlib.contextmanager
def staged(scene: Scene) -> Iterator[str]:
    """A scene on an instrument of its own; yields its full address."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "record") as store:
        instrument = FakeInstrument(store)
        path = scene.open(instrument)
        with served(build(instrument, selftest=lambda: CHECKS, access_code="")) as root:
            yield root + path


def settle(page, scene: Scene) -> None:  # type: ignore[no-untyped-def]
    """Wait until a page shows what it is there for."""
    if scene.click:
        page.click(scene.click)
    if scene.live:
        page.wait_for_selector("[data-seen]")
    page.wait_for_load_state("load")
    page.evaluate("document.fonts.ready.then(() => null)")


def client_of(instrument: FakeInstrument, address: str = "127.0.0.1", **options: object) -> TestClient:
    """A client at an address; answers are not followed to other pages."""
    app = build(instrument, selftest=lambda: CHECKS, **options)  # type: ignore[arg-type]
    return TestClient(
        app,
        base_url="http://localhost",
        client=(address, 5),
        follow_redirects=False,
        raise_server_exceptions=False,
    )


def shoot(folder: Path, only: str = "") -> None:
    """Screenshots of every scene, in both languages, and of some on a phone."""
    from playwright.sync_api import sync_playwright

    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)

        def take(name: str, address: str, language: str, size: tuple[int, int], scene: Scene) -> None:
            context = browser.new_context(viewport={"width": size[0], "height": size[1]})
            root = "/".join(address.split("/")[:3])
            context.add_cookies([{"name": "tenohira-language", "value": language, "url": root}])
            page = context.new_page()
            page.goto(address)
            settle(page, scene)
            page.wait_for_timeout(300)  # for what moves
            _save(page.screenshot(full_page=not scene.fits), folder / f"{name}-{language}.jpg")
            context.close()

        for scene in SCENES:
            if only and only not in scene.name:
                continue
            with staged(scene) as address:
                for language in ("en", "ja"):
                    take(scene.name, address, language, SCREEN, scene)
                    if scene.name in ("start", "eye-aim", "result-refer", "visit-both"):
                        take(f"phone-{scene.name}", address, language, PHONE, scene)
        if not only or only in "failure":
            reason = (
                "/var/lib/tenohira may not be written to; check its owner and permissions, and that its disk is "
                "not mounted read-only"
            )
            with served(failure(reason)) as address:
                for language in ("en", "ja"):
                    take("failure", address, language, SCREEN, Scene("failure", _start))
        browser.close()


def _save(png: bytes, path: Path) -> None:
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (72, 64, 56, 48, 40):
        picture.save(path, "JPEG", quality=quality, optimize=True)
        if path.stat().st_size < LARGEST:
            return


if __name__ == "__main__":
    shoot(Path(sys.argv[1]), *sys.argv[2:])
