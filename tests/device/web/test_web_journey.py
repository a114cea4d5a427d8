"""New participant, both eyes, report, in real Chromium with the real instrument: on real photographs (the replay
camera) and on a simulated eye."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from web_scenes import CHROMIUM, FLAGS, SCREEN, served

from device.camera.supervised import SupervisedCamera
from device.eyes import eye_result
from device.instrument import Instrument
from device.report import pdf
from device.store import Store
from device.verdict import Outcome
from device.web.app import build

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra 'dev')")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM} (apt install chromium)"),
]

PATIENCE = 60_000  # ms: a busy machine is slow, and that is not what is tested here


def journey(camera: str, folder: Path) -> tuple[Store, list[str]]:
    """A visit by touch, from the start page to the PDF; returns the record and what the pages said."""
    store = Store(folder / "record")
    with (
        Instrument(store, SupervisedCamera(camera), threads=1) as instrument,
        served(build(instrument, selftest=instrument.selftest)) as root,
        sync_api.sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = browser.new_page(viewport={"width": SCREEN[0], "height": SCREEN[1]})
        page.set_default_timeout(PATIENCE)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        assert page.request.get(f"{root}/api/status").json()["problems"] is not None
        page.goto(root)
        page.click("text=New code")
        page.wait_for_selector("#participant[value='P-0001']")
        page.click("text=Begin")
        said = []
        for number, eye in enumerate(("OD", "OS")):
            page.click(f".card >> nth={number}")
            page.wait_for_selector("[data-seen]")
            page.click(".shutter")
            page.wait_for_selector(".result")
            if page.locator(".mix-up").count():
                page.click("button:has-text(': keep')")
            page.wait_for_selector(".outcome")
            assert page.url.endswith(f"/{eye}")
            said.append(page.inner_text(".answer"))
            page.click("text=Both eyes")
        page.click("text=Finish")
        page.wait_for_selector("text=Next participant")
        with page.expect_download() as download:
            page.click("text=Report in Japanese")
        assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
        browser.close()
        assert faults == []
    return store, said


def check(store: Store, said: list[str]) -> list[Outcome]:
    """What the pages said is what was recorded; returns the outcomes."""
    visit = store.visits()[0]
    assert visit.finished and visit.participant == "P-0001"
    outcomes = []
    for eye, text in zip(("OD", "OS"), said, strict=True):
        result = eye_result(visit, eye)
        assert result.outcome is not None
        assert result.outcome.value.replace("_", " ").upper() in text
        if result.vcdr is not None:
            assert f"{result.vcdr.value:.2f}" in re.findall(r"\d\.\d\d", text)
        assert store.picture(visit.of(eye)[0].image).stat().st_size > 10_000
        outcomes.append(result.outcome)
    assert pdf.render(visit, store.picture, store.settings, "en").startswith(b"%PDF")
    store.close()
    return outcomes


def test_a_simulated_eye(tmp_path):
    assert set(check(*journey("simulated:3", tmp_path))) <= {Outcome.REFER, Outcome.NO_REFERRAL}


@pytest.mark.data
def test_real_photographs(data_root, tmp_path):
    """Both eyes of one child of CHASEDB1, right eye first; a burst is three stills of one photograph."""
    eyes = tmp_path / "eyes"
    eyes.mkdir()
    for number, side in enumerate("RL"):
        shutil.copy(data_root / "chase_db1" / f"Image_01{side}.jpg", eyes / f"{number}-{side}.jpg")
    outcomes = check(*journey(f"replay:{eyes}?repeat=3", tmp_path))
    assert set(outcomes) <= {Outcome.REFER, Outcome.NO_REFERRAL}  # good photographs: both are graded
