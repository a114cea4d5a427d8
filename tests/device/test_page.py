"""The HTML page: self-contained, escaped, complete."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from device import overlay, page
from device.cli import NOTICE
from device.results import Row, failed_row
from device.verdict import Outcome
from tests.device.test_overlay import contrast, of_hex

VOID = {"meta", "img", "input", "br", "path", "circle"}


def row(outcome=Outcome.REFER, **more):
    values = {
        "image": "photos/a.jpg",
        "outcome": outcome,
        "reasons": ("glaucoma probability 0.83 reaches 0.50",),
        "quality": {"grade": "good", "score": 1.0, "cause": "", "tip": ""},
        "vcdr": 0.71,
        "glaucoma_probability": 0.83,
        "overlay": "overlays/a.jpg",
    }
    return Row(**(values | more))


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text.append(data)


def test_a_threshold_comes_with_what_was_measured_there_and_weak_quality_is_in_sight():
    balanced = {"name": "balanced", "threshold": 0.62, "sensitivity": 0.861, "specificity": 0.93,
                "measured_on": "176 eyes"}  # fmt: skip
    quality = {"grade": "usable", "score": 0.5, "cause": "under-exposure", "tip": "Raise the flash."}
    text = " ".join(
        Page(page.render([row(operating_points={"glaucoma_probability": balanced}, quality=quality)])).text
    )
    assert "0.62 (balanced)" in text and "sensitivity 0.86, specificity 0.93 (176 eyes)" in text
    assert "Quality usable: under-exposure" in text
    assert "Quality" not in " ".join(Page(page.render([row()])).text)


def test_every_image_is_shown_with_outcome_numbers_and_reason():
    rows = [
        row(),
        row(Outcome.NO_REFERRAL, image="b", vcdr=0.31),
        failed_row(Path("c"), "glaucoma", "auto", "why", "x"),
    ]
    seen = Page(page.render(rows))
    text = " ".join(seen.text)
    assert seen.open == []
    assert [a["class"] for t, a in seen.tags if t == "article"] == ["refer", "no_referral", "ungradable"]
    for words in ("0.71", "0.31", "0.83 reaches 0.50", "Why.", NOTICE, "No referral", "photos/a.jpg"):
        assert words in text
    assert [a["src"] for t, a in seen.tags if t == "img"] == ["overlays/a.jpg"] * 2


def test_an_ungradable_image_shows_no_number():
    html = page.render([failed_row(Path("c"), "glaucoma", "auto", "why", "cause")])
    assert "cup-to-disc" not in html.split("<article")[1]


def test_nothing_is_fetched():
    html = page.render([row()])
    assert not re.search(r"(src|href)=\"(https?:)?//|url\(|@import|<script|<link", html)


@pytest.mark.parametrize("evil", ['<script>alert("x")</script>', '"><img src=x onerror=y>', "a&b'c.jpg"])
def test_names_cannot_become_markup(evil):
    clean = [t for t, _ in Page(page.render([row(tip="tip")])).tags]
    seen = Page(page.render([row(image=evil, overlay=f"overlays/{evil}", reasons=(evil,), tip=evil)]))
    assert [t for t, _ in seen.tags] == clean
    assert evil in "".join(seen.text)


def test_a_name_with_signs_is_still_linked():
    (picture,) = (a["src"] for t, a in Page(page.render([row(overlay="overlays/a b#1?.jpg")])).tags if t == "img")
    assert picture == "overlays/a%20b%231%3F.jpg"


def test_the_page_uses_the_overlays_colours_and_readable_contrast():
    css = page.STYLE.read_text()
    of_page = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", css))
    for outcome, colour in overlay.COLOURS.items():
        assert of_page[outcome] == colour
    for ink in ("ink", "soft"):
        for ground in (of_page["ground"], "#ffffff"):
            assert contrast(of_hex(of_page[ink].ljust(7, "0")), of_hex(ground)) >= 4.5


def test_faz_page():
    faz = {
        "area": 0.3,
        "unit": "mm2",
        "perimeter": 2.1,
        "length_unit": "mm",
        "circularity": 0.8,
        "axis_ratio": 1.2,
    }
    text = " ".join(
        Page(
            page.render([row(Outcome.NO_REFERRAL, task="faz", vcdr=None, glaucoma_probability=None, faz=faz)])
        ).text
    )
    assert "Measured" in text and "0.3 mm²" in text and "No referral" not in text
