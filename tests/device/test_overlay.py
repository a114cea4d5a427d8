"""Overlays: size, outlines where they belong, captions for every outcome."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import ImageFont

from device import overlay, pipeline
from device.overlay import COLOURS, LONGEST, draw
from device.quality import Quality
from device.verdict import Outcome
from tests.device.eye import DISC_GREEN, ColourNetwork, build, frame, paint, point
from tests.device.sentences import templates


@pytest.fixture(autouse=True)
def quality(monkeypatch):
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))


def luminance(colour):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.asarray(colour) / 255]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def of_hex(text):
    return tuple(int(text[i : i + 2], 16) for i in (1, 3, 5))


@pytest.mark.parametrize("size", [256, 700, 3000])
def test_photograph_close_up_and_caption_fit(size):
    k = size / 400
    picture = paint(size, (250 * k, 190 * k), (60 * k, 66 * k), (30 * k, 33 * k))
    drawn = draw(picture, build().screen(frame(picture)))
    photograph = min(max(size, overlay.SHORTEST), LONGEST)
    assert drawn.shape[1] == photograph + 8 + min(photograph, LONGEST // 2)
    assert photograph < drawn.shape[0] < 1.5 * photograph


def test_the_outline_runs_along_the_disc():
    picture = paint(1000, (500, 500), (400, 440), (200, 220), surround=False)
    drawn = draw(picture, build().screen(frame(picture)))[:1000]
    blue = np.all(np.abs(drawn.astype(int) - (86, 180, 233)) < 40, axis=2)
    ys, xs = np.nonzero(blue)
    radius = np.hypot((xs - 500) / 200, (ys - 500) / 220)
    assert len(xs) > 1000 and np.percentile(np.abs(radius - 1), 95) < 0.04


def test_the_cups_line_is_dashed_and_the_discs_is_not():
    picture = paint(1000, (500, 500), (400, 440), (240, 260), surround=False)
    drawn = draw(picture, build().screen(frame(picture)))
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)

    drawn_over = np.any(drawn[:1000] != picture, axis=2)

    def covered(rx, ry):
        return drawn_over[
            np.round(500 + ry * np.sin(angles)).astype(int), np.round(500 + rx * np.cos(angles)).astype(int)
        ].mean()

    assert covered(200, 220) > 0.99
    assert 0.3 < covered(120, 130) < 0.9


@pytest.mark.parametrize("corners", [12, 60, 2000])  # a small mask enlarged has few, far apart
def test_dashes_are_even_however_far_apart_the_points_are(corners):
    angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    canvas = np.zeros((600, 600, 3), np.uint8)
    overlay._stroke(canvas, 300 + 200 * np.stack([np.cos(angles), np.sin(angles)], axis=1), (9, 9, 9), 2, True)
    drawn = np.argwhere(canvas.any(axis=2)) - 300
    covered = np.histogram(np.arctan2(drawn[:, 0], drawn[:, 1]), 24, (-np.pi, np.pi))[0]
    assert covered.min() > 0.5 * covered.max()


@pytest.mark.parametrize(("logit", "outcome"), [(3.0, Outcome.REFER), (-3.0, Outcome.NO_REFERRAL)])
def test_the_band_has_the_outcomes_colour(logit, outcome):
    picture = paint(600, (300, 300), (300, 300), (150, 150), surround=False)
    exam = build(logit=logit).screen(frame(picture))
    assert exam.outcome is outcome
    assert tuple(draw(picture, exam)[604, 2]) == of_hex(COLOURS[outcome])


def test_ungradable_shows_no_number():
    picture = paint(600)
    nothing = build(finder=ColourNetwork(DISC_GREEN, tamper=lambda g: g * 0)).screen(frame(picture))
    assert overlay.numbers_of(nothing) == []
    assert tuple(draw(picture, nothing)[604, 2]) == of_hex(COLOURS[Outcome.UNGRADABLE])
    measured = build(vcdr_points=(point("vcdr", 0.7),)).screen(frame(picture))
    assert f"{measured.vcdr:.2f}" in overlay.numbers_of(measured)[0]


def test_every_character_of_a_caption_is_in_its_font():
    font = ImageFont.load_default(20)

    def drawn(character):
        return bytes(font.getmask(character))

    modules = ("pipeline", "verdict", "measurement", "quality")
    said = [text for module in modules for text in templates(f"device.{module}")]
    assert any("²" in text for text in said)
    exam = build().screen(frame(paint()))
    octa = np.repeat(paint(200, (104, 98), (40, 40), (0, 0), surround=False)[..., 1:2], 3, axis=2)
    measured = build().measure_faz(frame(octa), 3.0)
    assert measured.faz.unit == "mm2"
    texts = [t for reason in said for t in overlay.sentences_of(replace(exam, reasons=(reason,), tip=reason))]
    texts += [*overlay.numbers_of(measured), *overlay.numbers_of(exam), overlay._legend(exam)]
    assert not {c for text in texts for c in text if c.isprintable() and drawn(c) == drawn("\uffff")}


def test_text_is_readable():
    for colour in COLOURS.values():
        assert contrast(of_hex(colour), (255, 255, 255)) >= 4.5
    assert contrast(of_hex(overlay.FAINT), of_hex(overlay.PAPER)) >= 4.5
