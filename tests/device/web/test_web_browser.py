"""The pages in real headless Chromium: journeys by touch, by keyboard, without scripts; sizes; contrast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from web_fake import FakeInstrument, Take
from web_scenes import (
    AIMING,
    BLURRED,
    CHECKS,
    CHROMIUM,
    FLAGS,
    GLAUCOMA,
    HEALTHY,
    PHONE,
    READY,
    SCENES,
    SCREEN,
    SMALL,
    change,
    served,
    settle,
    staged,
    visit,
)

import device.web
from device.language import Translator
from device.overlay import COLOURS, LINES
from device.web.app import build

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra 'dev')")
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM} (apt install chromium)")

STYLE = Path(device.web.__file__).with_name("static") / "style.css"
TARGET = 48  # pixels
GONE = "The instrument does not answer. Wait a moment and try again; what was confirmed on the screen is kept."


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def root(instrument: FakeInstrument) -> Iterator[str]:
    with served(build(instrument, selftest=lambda: CHECKS)) as address:
        yield address


def open_page(browser, size=SCREEN, **options):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, accept_downloads=True, **options)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: page.faults.append(r.url) if "127.0.0.1" not in r.url else None)
    return page


def test_new_participant_both_eyes_result_finish_report(browser, root, instrument):
    instrument.takes = [GLAUCOMA, HEALTHY]
    instrument.coaching = READY
    page = open_page(browser, locale="en")
    page.goto(root)
    page.click("text=New code")
    page.wait_for_selector("#participant[value='P-0001']")
    page.fill("#operator", "op-07")
    page.click("text=Begin")
    page.click(".card >> nth=0")
    page.wait_for_selector("section.ready")
    assert page.inner_text("[data-tip]") == "Ready: photograph now."
    page.click(".shutter")
    page.wait_for_selector(".outcome.refer")
    assert page.inner_text(".outcome") == "REFER"
    assert page.url.endswith("/OD")
    assert "0.78 to 0.84 in 3 photographs" in page.inner_text(".numbers")
    assert page.inner_text("#said").startswith("OD: REFER.")
    page.click("text=Next: left eye")
    page.wait_for_selector("[data-seen]")
    page.click(".shutter")
    page.wait_for_selector(".outcome.no_referral")
    page.click("text=Both eyes")
    assert page.locator(".card .outcome").all_inner_texts() == ["REFER", "NO REFERRAL"]
    page.click("text=Finish")
    page.wait_for_selector("text=Next participant")
    for language, button in (("en", "Report in English"), ("ja", "Report in Japanese")):
        with page.expect_download() as download:
            page.click(f"text={button}")
        assert download.value.suggested_filename == f"tenohira-00001-P-0001-{language}.pdf"
        assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    page.click("text=Next participant")
    assert page.url == f"{root}/"
    kept = instrument.store.visits()[0]
    assert kept.finished and kept.operator == "op-07" and len(kept.captures) == 2
    assert page.faults == []


def test_the_same_by_keyboard_alone(browser, root, instrument):
    instrument.takes = [GLAUCOMA, HEALTHY]
    page = open_page(browser)
    page.goto(root)
    page.keyboard.type("KAN-0031")  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_selector(".card:focus")
    page.keyboard.press("Enter")  # the right eye has it
    page.wait_for_selector("[data-seen]")
    page.keyboard.press("Space")  # the shutter has it
    page.wait_for_selector(".outcome.refer")
    page.wait_for_selector("a.primary:focus")  # shortly after it is seen: a hand is slower
    page.keyboard.press("Enter")  # "Next"
    page.wait_for_selector("[data-seen]")
    page.mouse.click(5, 300)  # nothing has it
    page.keyboard.press("Space")
    page.wait_for_selector(".outcome.no_referral")
    page.keyboard.press("Shift+Tab")  # back to the close-up and the outlines
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert not page.is_checked("[name=outlines]")
    assert page.locator(".whole .outlines").evaluate("e => getComputedStyle(e).display") == "none"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # "Finish"
    page.wait_for_selector("text=Next participant")
    assert instrument.store.visits()[0].finished
    assert page.faults == []


def test_what_has_the_focus_is_seen(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument, od=[GLAUCOMA]).uid}/OD")
    seen = {}
    for _ in range(12):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """(e => [e.innerText || e.name, getComputedStyle(e).outlineStyle + getComputedStyle(e).outlineWidth])
            (document.activeElement)"""
        )
        seen[name] = outline
    assert {"History", "日本語", "outlines", "close-up", "Photograph again", "Finish"} <= set(seen)
    assert {outline for name, outline in seen.items() if len(name) < 40} == {"solid3px"}  # the body is longer


def test_without_scripts_everything_but_the_coaching_works(browser, root, instrument):
    instrument.takes = [BLURRED, GLAUCOMA]
    page = open_page(browser, java_script_enabled=False)
    page.goto(root)
    page.fill("#participant", "KAN-0031")
    page.click("text=Begin")
    page.click(".card >> nth=0")
    assert page.locator("noscript img").count() == 1
    page.click(".shutter")
    page.wait_for_selector(".outcome.ungradable")
    page.click("text=Photograph again")
    page.click(".shutter")
    page.wait_for_selector(".outcome.refer")
    page.uncheck("[name=outlines]")
    assert page.locator(".whole .outlines").is_hidden()
    page.click("text=日本語")
    page.wait_for_selector("text=要精密検査")
    page.click("text=終了")
    page.wait_for_selector(".record")


def test_the_button_on_the_instrument_photographs(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    instrument.presses += 1
    page.wait_for_selector(".outcome")
    assert len(instrument.store.visits()[0].captures) == 1


def test_the_button_never_means_an_eye_that_nobody_chose(browser, root, instrument):
    first, second = visit(instrument, "KAN-0001").uid, visit(instrument, "KAN-0002").uid
    pages = [open_page(browser), open_page(browser)]
    for page, address in zip(pages, (f"{first}/OD", f"{second}/OS")):
        page.goto(f"{root}/visits/{address}")
        page.wait_for_selector("[data-seen]")
    instrument.presses += 1
    for page in pages:
        page.wait_for_selector("#problem >> text=Two screens are open")
    assert not [v for v in instrument.store.visits() if v.captures]
    pages[0].close()
    pages[1].wait_for_timeout(6000)  # the other is taken for closed 3 s after its last request was worked off
    instrument.presses += 1
    pages[1].wait_for_selector(".outcome")
    assert [v.uid for v in instrument.store.visits() if v.captures] == [second]


def nobody_looks(page, instrument):
    """Waits for the answer to what a page had asked before it was hidden."""
    for _ in range(100):
        before = instrument.looks
        page.wait_for_timeout(600)
        if instrument.looks == before and not instrument.viewers:
            return
    raise AssertionError("the hidden page looks on")


def test_a_press_that_the_page_did_not_see_is_not_answered_later(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    hide = "Object.defineProperty(document, 'hidden', {get: () => %s, configurable: true})"
    page.evaluate(hide % "true")
    nobody_looks(page, instrument)
    instrument.presses += 1
    page.wait_for_timeout(600)
    page.evaluate(hide % "false")
    page.wait_for_timeout(1000)
    assert not instrument.store.visits()[0].captures and page.locator(".shutter").is_visible()


def test_one_photograph_however_often_it_is_touched(browser, root, instrument):
    instrument.slow = 3.0  # so that the second and third touch come before the photograph
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    shutter = page.locator(".shutter")
    shutter.click()
    page.wait_for_selector(".shutter:disabled >> text=Hold still")
    shutter.dispatch_event("click")
    page.keyboard.press("Space")
    page.wait_for_selector(".outcome")
    assert len(instrument.store.visits()[0].captures) == 1


def test_a_camera_that_fails_and_comes_back(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    instrument.error = "the camera stopped sending pictures; check its cable and photograph again"
    page.wait_for_selector("[data-error] >> text=check its cable")
    page.wait_for_selector("canvas.stale")  # an old picture is not shown for a live one
    page.click(".shutter")
    page.wait_for_selector("#problem >> text=check its cable")
    instrument.error = ""
    page.wait_for_selector("canvas:not(.stale)")
    page.click(".shutter")
    page.wait_for_selector(".outcome")


def test_an_instrument_that_is_gone_is_not_shown_as_live(browser, instrument):
    page = open_page(browser)
    with served(build(instrument)) as root:
        page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
        page.wait_for_selector("[data-seen]")
    page.wait_for_selector("canvas.stale")
    assert page.is_visible("text=Waiting for the camera")
    page.click(".shutter")
    page.wait_for_selector("#problem >> text=The instrument does not answer")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_form_that_is_sent_while_the_service_restarts_can_be_sent_again(browser, instrument, language):
    """The instrument's screen has no way back from a browser's own page about a form that was not sent."""
    change(instrument, language=language)
    uid = visit(instrument, od=[GLAUCOMA]).uid
    page = open_page(browser)
    with served(build(instrument)) as root:
        page.goto(f"{root}/visits/{uid}")
    page.click(".finish button")
    said = page.get_by_text(Translator(language)(GONE))
    said.wait_for()
    assert page.url == f"{root}/visits/{uid}"
    page.click("header form button")  # every form, that of the language, too
    said.wait_for()
    with served(build(instrument), int(root.rsplit(":", 1)[1])):
        page.click(".finish button")
        page.wait_for_selector(".record")
    assert instrument.store.visit(uid).finished


def test_what_was_typed_stays_where_it_is_refused(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/settings")
    page.fill("#device", "van 2")
    page.fill("#exposure_us", "much")
    page.fill("#pacs_password", "hush-hush")
    page.click(".save button")
    said = page.locator("#problem >> text=Exposure in µs: enter a number")
    said.wait_for()
    assert said.bounding_box()["y"] >= 0, "it is said where nobody looks"
    assert page.input_value("#device") == "van 2" and page.input_value("#pacs_password") == "hush-hush"
    page.fill("#exposure_us", "12500")
    page.click(".save button")
    page.wait_for_selector("text=Saved.")
    assert instrument.store.settings.device == "van 2"
    assert instrument.store.settings.pacs.password == "hush-hush"


def test_a_file_is_sent_and_what_is_wrong_with_it_said_line_by_line(browser, root, instrument, tmp_path):
    sheet = tmp_path / "references.csv"
    sheet.write_text("participant,laterality,refer\nKAN-0001,XX,yes\nKAN-0002,OD,perhaps\n")
    page = open_page(browser)
    page.goto(f"{root}/references")
    page.set_input_files("#file", sheet)
    page.click("form.plain button")
    page.wait_for_selector("#problem >> text=row 2")
    assert page.input_value("#file") == "", "the browser would not send it once it was corrected"
    assert "\n" in page.inner_text("#problem p")
    sheet.write_text("participant,laterality,refer\nKAN-0001,OS,yes\n")
    page.set_input_files("#file", sheet)
    page.click("form.plain button")
    page.wait_for_selector("text=1 eyes of 1 participants")
    assert len(instrument.store.references()) == 1


def test_a_button_can_be_touched_twice(browser, root, instrument):
    uid = visit(instrument, od=[GLAUCOMA]).uid
    page = open_page(browser)
    page.goto(f"{root}/visits/{uid}/OD/reading")
    page.check("[value=refer]")
    page.fill("#reader", "reader-2")
    page.evaluate("() => { const b = document.querySelector('.reading button'); b.click(); b.click(); }")
    page.wait_for_url(f"{root}/visits/{uid}/OD")
    assert len(instrument.store.visit(uid).readings) == 1


def test_back_leads_to_a_whole_page_though_another_screen_finished_the_visit(browser, root, instrument):
    uid = visit(instrument).uid
    page = open_page(browser)
    page.goto(f"{root}/visits/{uid}")
    page.click(".card >> nth=0")
    page.wait_for_selector("[data-seen]")
    page.click(".shutter")
    page.wait_for_selector(".outcome")
    instrument.store.finish(uid)
    page.go_back()
    page.wait_for_selector(".record")
    assert page.url == f"{root}/visits/{uid}" and page.is_visible("nav")
    page.go_back()
    page.wait_for_selector(".record")
    assert page.faults == []


def test_nobody_is_told_to_photograph_what_is_not_seen(browser, instrument):
    instrument.coaching = READY
    page = open_page(browser)
    with served(build(instrument)) as root:
        page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
        page.wait_for_selector("section.ready >> text=Ready: photograph now.")
    page.wait_for_selector("canvas.stale")
    assert page.inner_text("[data-tip]") == "Bring the eye into the ring and focus."


def test_a_page_that_aims_asks_for_the_access_code_when_its_session_has_ended(browser, root, instrument):
    page = open_page(browser)
    address = f"{root}/visits/{visit(instrument).uid}/OD"
    page.goto(address)
    page.wait_for_selector("[data-seen]")
    reloaded = []
    page.on("framenavigated", lambda frame: reloaded.append(frame.url))
    page.route("**/live/frame*", lambda route: route.fulfill(status=401))
    page.wait_for_event("framenavigated")
    page.unroute("**/live/frame*")
    page.wait_for_selector("[data-seen]")
    assert set(reloaded) == {address}


def test_a_code_is_not_looked_for_where_nobody_looks(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/scan")
    page.wait_for_selector("text=No code is seen yet")
    page.evaluate("Object.defineProperty(document, 'hidden', {get: () => true, configurable: true})")
    page.wait_for_timeout(1000)  # for what was on its way
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2000)
    assert asked == []
    page.evaluate("delete document.hidden")
    instrument.code = "KAN-0042"
    page.wait_for_selector("#participant[value='KAN-0042']")


def test_long_words_stay_inside_of_the_page(browser, root, instrument):
    uid = instrument.store.begin("W" * 32, operator="W" * 40).uid
    instrument.capture(uid, "OD")
    instrument.not_imaged(uid, "OS", "x" * 200)
    page = open_page(browser)
    for finished in (False, True):
        if finished:
            instrument.store.finish(uid)
        for path in ("/", "/history", f"/visits/{uid}", f"/visits/{uid}/OD", f"/visits/{uid}/OS"):
            page.goto(f"{root}{path}")
            for size in (SCREEN, SMALL, PHONE):
                page.set_viewport_size({"width": size[0], "height": size[1]})
                (_, width), cut = page.evaluate(OVERFLOW)
                assert (finished, path, size, width <= size[0], cut) == (finished, path, size, True, [])


def test_a_mix_up_is_settled_before_anything_is_said(browser, root, instrument):
    instrument.takes = [Take(0.75, 0.81, other_eye=True), HEALTHY]
    page = open_page(browser)
    uid = visit(instrument).uid
    page.goto(f"{root}/visits/{uid}/OD")
    page.wait_for_selector("[data-seen]")
    page.click(".shutter")
    page.wait_for_selector("text=Right or left?")
    assert page.locator(".outcome").count() == 0
    page.click("text=It is the left eye")
    page.wait_for_selector("h1:has-text('Left eye')")
    page.wait_for_selector("[data-seen]")
    page.click(".shutter")
    page.wait_for_selector(".outcome.no_referral")
    page.click("text=Both eyes")
    assert "Touch to photograph" in page.inner_text(".card >> nth=0")


def test_a_reader_grades_before_the_answer_is_shown(browser, root, instrument):
    change(instrument, study="KAN", site="S01", masked=True)
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument, od=[GLAUCOMA]).uid}/OD")
    assert "0.81" not in page.content()
    page.click("text=Enter the reader's grade")
    page.check("[value=no_referral]")
    page.fill("#reader", "reader-2")
    page.click("text=Save the grade")
    page.wait_for_selector(".outcome.refer")
    assert "0.81" in page.inner_text(".numbers")


def test_history_is_searched_while_one_types(browser, root, instrument):
    for n in range(4):
        visit(instrument, f"KAN-000{n}", finish=True)
    page = open_page(browser)
    page.goto(f"{root}/history")
    page.type("#search", "kan-0002")
    page.wait_for_selector(".visits li:only-child >> text=KAN-0002")
    assert page.url.endswith("search=kan-0002")


def test_a_code_is_scanned_by_the_camera(browser, root, instrument):
    page = open_page(browser)
    page.goto(f"{root}/scan")
    page.wait_for_selector("text=No code is seen yet")
    instrument.code = "KAN-0042"
    page.wait_for_selector("#participant[value='KAN-0042']")
    assert page.url == f"{root}/"
    page.wait_for_selector("#begin button:focus")  # "Begin" has it as soon as the page is drawn
    page.keyboard.press("Enter")
    page.wait_for_selector(".card")


def test_the_picture_is_not_mirrored(browser, root, instrument):
    """The disc of the drawn right eye is on the right, on the screen as in the picture."""
    instrument.coaching = READY
    page = open_page(browser)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("section.ready")
    sides = page.evaluate(
        """() => { const c = document.querySelector('canvas'), g = c.getContext('2d');
        const mean = (x) => { const w = c.width / 10, d = g.getImageData(x * c.width, 4.5 * w, w, w).data;
          let s = 0; for (let i = 0; i < d.length; i += 4) s += d[i + 1]; return s; };
        return [mean(0.25), mean(0.65), getComputedStyle(c).transform]; }"""
    )
    assert sides[1] > sides[0] and sides[2] == "none"


MEASURE = """() => [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, summary')]
  .filter(e => e.offsetParent !== null || e.tagName === 'A')
  .map(e => { const l = e.closest('label'), b = (l ?? e).getBoundingClientRect();
    return [e.outerHTML.slice(0, 80), Math.round(b.width * 10) / 10, Math.round(b.height * 10) / 10] })"""
# what is wider than the screen, or sticks out of the boxes that clip it
OVERFLOW = """() => [[document.documentElement.scrollHeight, document.documentElement.scrollWidth],
  [...document.querySelectorAll('main *')]
    .filter(e => e.clientWidth > 0 && e.scrollWidth > e.clientWidth + 1 && !e.closest('.unseen'))
    .filter(e => getComputedStyle(e).overflowX !== 'visible').map(e => e.outerHTML.slice(0, 80))]"""


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s.name)
def test_targets_are_large_and_pages_fit(browser, scene):
    """In both languages: 48 px of everything that is touched; no scrolling on the instrument's screen where hands
    are full; nothing wider than a phone."""
    with staged(scene) as address:
        page = open_page(browser)
        for language in ("en", "ja"):
            origin = "/".join(address.split("/")[:3])
            page.context.add_cookies([{"name": "tenohira-language", "value": language, "url": origin}])
            page.goto(address)
            settle(page, scene)
            assert page.evaluate("document.documentElement.lang") == language
            for size in (SCREEN, PHONE):
                page.set_viewport_size({"width": size[0], "height": size[1]})
                small = [m for m in page.evaluate(MEASURE) if m[1] < TARGET or m[2] < TARGET]
                assert (language, size, small) == (language, size, [])
                (height, width), cut = page.evaluate(OVERFLOW)
                assert (language, width <= size[0], cut) == (language, True, [])
                assert not scene.fits or size == PHONE or height <= size[1], (language, height)
            page.set_viewport_size({"width": SCREEN[0], "height": SCREEN[1]})
        page.context.close()


def test_the_shutter_is_on_a_phones_screen_without_scrolling(browser, root, instrument):
    instrument.coaching = AIMING
    page = open_page(browser, PHONE)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    box = page.locator(".shutter").bounding_box()
    assert box["y"] + box["height"] <= PHONE[1]


@pytest.mark.parametrize("size", [SMALL, (640, 480), SCREEN], ids=lambda s: f"{s[0]}x{s[1]}")
def test_the_picture_is_beside_the_shutter_on_a_screen_that_lies(browser, root, instrument, size):
    """It has the focus, and a page is scrolled to what has."""
    instrument.coaching = AIMING
    page = open_page(browser, size)
    page.goto(f"{root}/visits/{visit(instrument).uid}/OD")
    page.wait_for_selector("[data-seen]")
    for seen in (page.locator(".stage").bounding_box(), page.locator(".shutter").bounding_box()):
        assert seen["y"] >= 0 and seen["y"] + seen["height"] <= size[1]
    instrument.takes = [GLAUCOMA]
    page.click(".shutter")
    page.wait_for_selector(".outcome")
    assert page.evaluate(OVERFLOW)[0][1] <= size[0]


@pytest.mark.parametrize("size", [SMALL, (640, 480), SCREEN], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("eyes", [1, 2])
def test_the_answer_is_read_first(browser, root, instrument, size, eyes):
    """What comes next has the focus, far below it on a small screen."""
    instrument.coaching = AIMING
    page = open_page(browser, size)
    page.goto(f"{root}/visits/{visit(instrument, od=[GLAUCOMA] * (eyes - 1)).uid}/OS")
    page.wait_for_selector("[data-seen]")
    instrument.takes = [GLAUCOMA]
    page.click(".shutter")
    for _ in range(2):  # as it comes, and opened anew
        page.wait_for_selector(".actions :focus")
        page.wait_for_timeout(300)
        box = page.locator(".outcome").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= size[1]
        page.reload()


def luminance(colour: str) -> float:
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def colours() -> dict[str, str]:
    root = re.search(r":root \{(.*?)\}", STYLE.read_text(), re.DOTALL)[1]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", root))


def test_contrast_is_known():
    assert round(contrast("#000000", "#ffffff"), 2) == 21
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48  # the classic that fails


@pytest.mark.parametrize(
    ("ink", "ground", "least"),
    [
        *(
            (ink, ground, 4.5)
            for ink in ("ink", "soft", "accent", "warning")
            for ground in ("ground", "panel", "raised")
        ),
        *(("on-outcome", outcome, 4.5) for outcome in ("refer", "no_referral", "ungradable")),
        ("on-accent", "accent", 4.5),
        ("ink", "warning-ground", 4.5),
        ("passed", "panel", 4.5),
        ("failed", "panel", 4.5),
        # borders of what is touched, the focus, the ring on black, the bar (WCAG 1.4.11: 3)
        *(("edge", ground, 3.0) for ground in ("ground", "panel", "raised", "line")),
        *(("focus", ground, 3.0) for ground in ("ground", "panel", "raised")),  # 2 px off what it is around
        *(("accent", ground, 3.0) for ground in ("line", "casing")),
        ("warning", "line", 3.0),
    ],
)
def test_contrast(ink, ground, least):
    known = colours()
    assert contrast(known[ink], known[ground]) >= least


def test_outcomes_and_outlines_have_the_colours_of_the_overlay():
    known = colours()
    assert {outcome.value: known[outcome.value] for outcome in COLOURS} == {o.value: c for o, c in COLOURS.items()}
    for name in ("disc", "cup"):
        assert known[name] == "#{:02x}{:02x}{:02x}".format(*LINES[name][0])
        assert ("dasharray" in re.search(rf"\.photo \.{name} \{{(.*?)\}}", STYLE.read_text())[1]) == LINES[name][1]


def test_nothing_moves_for_those_who_ask_for_it():
    style = STYLE.read_text()
    inside = style[style.index("(prefers-reduced-motion: no-preference)") :]
    assert "transition" in inside and "transition" not in style.replace(inside, "") and "animation" not in style


def test_a_touch_screen_without_a_keyboard_has_one(browser, root, instrument):
    page = open_page(browser, has_touch=True)
    page.goto(root)
    keys = page.locator("#keys")
    assert keys.is_hidden(), "who types on a plugged keyboard is not in need of it"
    page.locator("#participant").tap()
    keys.wait_for()
    for button in keys.locator("button").all():
        box = button.bounding_box()
        assert box["width"] >= TARGET and box["height"] >= TARGET, button.inner_text()
    field = page.locator("#participant").bounding_box()
    assert field["y"] + field["height"] <= keys.bounding_box()["y"], "the field is hidden by the keys"
    for sign in "KAX":
        keys.get_by_role("button", name=sign, exact=True).tap()
    keys.get_by_role("button", name="Erase").tap()
    for sign in "-07":
        keys.get_by_role("button", name=sign, exact=True).tap()
    assert page.locator("#participant").input_value() == "KA-07"
    page.locator("#operator").tap()
    turn = "Capital and small letters"
    for name in (turn, "Q", turn, "q", "Space", "Letters and signs", "#"):
        keys.get_by_role("button", name=name, exact=True).tap()
    assert page.locator("#operator").input_value() == "Qq #"
    keys.get_by_role("button", name="Done").tap()
    assert keys.is_hidden()
    page.get_by_role("button", name="Begin").tap()
    page.wait_for_url(re.compile("/visits/"))
    assert instrument.store.visits()[0].participant == "KA-07" and instrument.store.visits()[0].operator == "Qq #"

    page.goto(f"{root}/settings")
    page.locator("#burst").tap()
    keys.wait_for()
    assert keys.get_by_role("button", name=".", exact=True).count() == 0  # it would empty the field
    keys.get_by_role("button", name="Erase").tap()
    keys.get_by_role("button", name="5", exact=True).tap()
    keys.get_by_role("button", name="Done").tap()
    assert page.locator("#burst").input_value() == "5"
    assert page.faults == []


@pytest.mark.parametrize("size", [SCREEN, SMALL], ids=["800x480", "480x320"])
def test_a_field_that_is_typed_in_stands_above_the_keys(browser, root, instrument, size):
    here = f"/visits/{visit(instrument, od=[GLAUCOMA]).uid}/OD"
    page = open_page(browser, size, has_touch=True)
    for path, fields in (
        ("/", ("#participant", "#operator")),
        (f"{here}/reading", ("#reader", "#vcdr", "[name=remark]")),
        (f"{here}/cannot", ("[name=text]",)),
        ("/settings", ("#device", "#burst", "#pacs_password")),
    ):
        for field in fields:
            page.goto(f"{root}{path}")
            page.locator(field).tap()
            page.locator("#keys").wait_for()
            seen = page.locator(field).bounding_box()
            assert seen["y"] >= 0, (path, field)
            assert seen["y"] + seen["height"] <= page.locator("#keys").bounding_box()["y"], (path, field)
