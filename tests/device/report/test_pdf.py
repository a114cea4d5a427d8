"""The one-page report, looked at from outside: with the tools that read PDF files (Debian's poppler-utils)."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from device.cli import NOTICE
from device.language import Translator
from device.record import Settings, Visit, Withdrawal
from device.report.pdf import render
from device.report.sheet import Sheet, typesettable
from device.verdict import Outcome
from tests.device.report.visits import Pictures, capture, every_kind, extreme, not_imaged, reading, visit

A4 = (595.28, 841.89)  # points


def tool(name: str, *arguments: str, data: bytes) -> bytes:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (Debian: apt install poppler-utils)")
    return subprocess.run([name, *arguments], input=data, capture_output=True, check=True).stdout


def text_of(pdf: bytes) -> str:
    """The page's text on one line, in reading order; without spaces it can be compared in Japanese."""
    return " ".join(tool("pdftotext", "-raw", "-", "-", data=pdf).decode().split())


def words_of(pdf: bytes) -> list[tuple[str, float, float, float, float]]:
    """(word, left, top, right, bottom) in points."""
    xml = tool("pdftotext", "-bbox", "-", "-", data=pdf).decode()
    box = r'<word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>'
    return [(m[5], *(float(m[k]) for k in (1, 2, 3, 4))) for m in re.finditer(box, xml)]


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def disc_pixels(pdf: bytes) -> int:
    """Pixels in the colour that discs are outlined with, on the printed page."""
    png = tool("pdftoppm", "-r", "100", "-png", "-", data=pdf)
    page = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    return int((np.abs(page - (86, 180, 233)).max(axis=2) < 25).sum())


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path)


@pytest.fixture(autouse=True)
def in_tokyo(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def report(exam: Visit, pictures: Pictures, language: str = "en", **more: str) -> bytes:
    return render(exam, pictures, Settings(), language, **more)


def test_a_withdrawn_photograph_waits_for_no_reader(pictures):
    wrong, left = capture(pictures, "OD", 0.8), capture(pictures, "OS", 0.2)
    gone = Withdrawal(visit=left.visit, capture=wrong.uid, reason="it shows the other eye", time=left.taken)
    exam = visit(wrong, left, masked=True, withdrawn=(gone,), readings=(reading("OS", Outcome.NO_REFERRAL),))
    text = text_of(report(exam, pictures))
    assert "HIDDEN" not in text and "NOT EXAMINED" in text and "NO REFERRAL" in text and "0.80" not in text


def test_it_says_what_was_found_and_how(pictures):
    exam = visit(capture(pictures, "OD", 0.8, 0.9, 0.7), capture(pictures, "OS", 0.2), study="GLOBE", consent=True)
    text = text_of(report(exam, pictures, audit_head="ab" * 32))
    for said in (
        NOTICE, "KAN-0012", "nurse 3", "Site 03", "GLOBE", "given", "tenohira 1234", "tenohira 0.1.0",
        "2026-11-24 17:15 (UTC+09:00)", "REFER", "NO REFERRAL", "0.80", "[0.70, 0.90]", "median of 3 photographs",
        "0.20", "one photograph: spread not known", "referral threshold 0.47",
        "Median glaucoma probability 0.80 reaches the referral threshold 0.47 (balanced).",
        "Glaucoma probability 0.20 is below the referral threshold 0.47 (balanced).",
        "disc_cup-0.1.0, glaucoma-0.1.0", "sensitivity 0.92, specificity 0.91",
        "acrima, refuge_crops: 174 validation eyes (int8), 700 training eyes out of fold (float)",
        "superior 0.72 inferior 0.71 nasal 0.73 temporal 0.74", exam.uid, exam.captures[0].uid,
        exam.captures[0].image, exam.captures[1].image, "ab" * 32, "Quality of the one shown: good",
        "the right eye is on the left of this page",
    ):  # fmt: skip
        assert said in text, said


def test_it_says_it_in_japanese_as_real_text(pictures):
    exam = visit(capture(pictures, "OD", 0.8), capture(pictures, "OS", None), site="髙橋眼科医院")
    text = text_of(report(exam, pictures, "ja")).replace(" ", "")
    for said in (
        Translator("ja")(NOTICE), "右眼（OD）", "左眼（OS）", "要精密検査", "判定不能", "髙橋眼科医院",
        "緑内障の可能性0.80は紹介基準値0.47（balanced）以上。", "画質不良のため判定できません（ピントぼけ）。",
        "視神経乳頭縁の血管にピントを合わせ直し、レンズを拭いてください。", "鼻側",
        "写真1枚のため、ばらつきは不明",
    ):  # fmt: skip
        assert said.replace(" ", "") in text, said


def test_the_right_eye_stands_on_the_left_as_one_looks_at_a_patient(pictures):
    exam = visit(capture(pictures, "OS", 0.2), capture(pictures, "OD", 0.8))  # whatever came first
    at = {word: left for word, left, *_ in words_of(report(exam, pictures))}
    assert at["(OD)"] < A4[0] / 2 < at["(OS)"]
    assert at["REFER"] < A4[0] / 2 < at["REFERRAL"]


def test_the_same_visit_is_the_same_file(pictures):
    exam = visit(capture(pictures, "OD", 0.8), capture(pictures, "OS", 0.2))
    first = report(exam, pictures)
    time.sleep(1.1)  # PDF dates have seconds
    assert report(exam, pictures) == first
    assert report(msgspec.structs.replace(exam, operator="nurse 4"), pictures) != first


def test_fonts_are_embedded_and_metadata_tell_title_and_language(pictures):
    exam = visit(capture(pictures, "OD", 0.8))
    for language, title in (("en", "Eye screening report"), ("ja", "眼底スクリーニング報告書")):
        pdf = report(exam, pictures, language)
        rows = tool("pdffonts", "-", data=pdf).decode().splitlines()[2:]
        assert rows and all(re.search(r"CID TrueType\s+\S+\s+yes yes yes", row) for row in rows), rows
        assert f"/Lang ({language})".encode() in pdf
        info = tool("pdfinfo", "-", data=pdf).decode()
        assert re.search(rf"Title:\s+{title} KAN-0012", info)
        assert "Page size:       595.28 x 841.89 pts (A4)" in info
        assert re.search(r"CreationDate:\s+Tue Nov 24 17:17:02 2026 JST", info)  # when the visit was finished


def test_pictures_are_described_and_outlines_are_a_layer(pictures):
    pdf = report(visit(capture(pictures, "OD", 0.8)), pictures)
    alternatives = re.findall(rb"/Alt \((.*?)\)", pdf)
    assert len(alternatives) == 2  # photograph and close-up
    assert b"outlines of optic disc and cup" in alternatives[0].replace(b"\x00", b"")
    assert b"/Type /OCG" in pdf


def test_outlines_lie_on_the_disc_of_the_photograph(pictures):
    """The disc is painted at (260, 190) of 400 x 400, and outlined there on the page."""
    one = capture(pictures, "OD", 0.2, disc=130)  # so large that there is no close-up
    pdf = report(visit(one), pictures)
    png = tool("pdftoppm", "-r", "200", "-png", "-", data=pdf)
    page = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    page = page[: page.shape[0] // 2]
    rows, columns = np.nonzero(np.abs(page - (150, 50, 20)).max(axis=2) < 12)  # the painted retina
    ys, xs = np.nonzero(np.abs(page - (86, 180, 233)).max(axis=2)[: rows.max()] < 25)
    size = np.ptp(columns) / 0.96  # the painted field is 0.96 of the picture
    left, top = columns.min() - 0.02 * size, rows.min() - 0.02 * size
    assert ((xs.min() + xs.max()) / 2 - left) / size == pytest.approx(260 / 400, abs=0.01)
    assert ((ys.min() + ys.max()) / 2 - top) / size == pytest.approx(190 / 400, abs=0.01)
    assert np.ptp(xs) / size == pytest.approx(130 / 400, abs=0.01)


def test_an_ungradable_eye_has_no_number_but_its_reason_and_tip(pictures):
    text = text_of(report(visit(capture(pictures, "OD", None, None)), pictures))
    assert "UNGRADABLE" in text and "Quality rejected: defocus." in text
    assert "What to do: Focus again on the vessels" in text
    assert "outlines not trusted" in text
    assert "Vertical cup-to-disc ratio" not in text and "Glaucoma probability" not in text
    assert "NOT EXAMINED" in text  # the other eye


def test_an_eye_that_could_not_be_imaged_says_why(pictures):
    exam = visit(capture(pictures, "OD", 0.2), not_imaged=(not_imaged("OS", "dense cataract"),))
    text = text_of(report(exam, pictures))
    assert "UNGRADABLE" in text and "This eye could not be imaged: dense cataract." in text


def test_a_mixed_up_eye_is_warned_of(pictures):
    warned = text_of(report(visit(capture(pictures, "OD", 0.2, seen="OS")), pictures))
    assert "The picture looks like a left eye" in warned
    assert "looks like" not in text_of(report(visit(capture(pictures, "OD", 0.2, seen="OD")), pictures))
    kept = msgspec.structs.replace(visit(capture(pictures, "OD", 0.2, seen="OS", uid="a")), confirmed=("a",))
    assert "looks like" not in text_of(report(kept, pictures))
    hidden_behind = (capture(pictures, "OD", 0.9, seen="OS", uid="a"), capture(pictures, "OD", 0.2, 0.2, uid="b"))
    assert "looks like the other eye" in text_of(report(visit(*hidden_behind), pictures))


def test_a_masked_visit_shows_nothing_of_the_instrument_before_each_eye_was_read(pictures):
    eyes = (capture(pictures, "OD", 0.81), capture(pictures, "OS", None))
    tells = (
        "REFER",
        "UNGRADABLE",
        "0.81",
        "0.71",
        "optic disc",
        "threshold 0.47",
        "defocus",
        "What to do",
        "good",
    )
    one_read = (reading("OD", Outcome.NO_REFERRAL),)
    for readings in ((), one_read):
        exam = visit(*eyes, masked=True, readings=readings)
        pdf = report(exam, pictures)
        text = text_of(pdf).replace("NO REFERRAL; vertical cup-to-disc ratio 0.61", "")  # the reader's own
        text = text.replace("“No referral” does not rule out disease.", "")
        assert text.count("HIDDEN UNTIL THE READER HAS GRADED") == 2
        assert [t for t in tells if t in text] == []
        assert disc_pixels(pdf) == 0
        assert b"/OCG" not in pdf
    exam = visit(*eyes, masked=True, readings=(*one_read, reading("OS", Outcome.REFER)))
    pdf = report(exam, pictures)
    text = text_of(pdf)
    assert "HIDDEN" not in text and "0.81" in text and "Reader R1: NO REFERRAL" in text
    assert disc_pixels(pdf) > 100


def test_a_masked_eye_that_could_not_be_imaged_needs_no_reading(pictures):
    exam = visit(not_imaged=(not_imaged("OD", "no fixation"),), masked=True)
    assert "no fixation" in text_of(report(exam, pictures))


def test_a_picture_that_is_gone_or_changed_is_said_to_be_so(pictures):
    one, other = capture(pictures, "OD", 0.8), capture(pictures, "OS", 0.2)
    pictures(one.image).unlink()
    path = pictures(other.image)
    path.write_bytes(path.read_bytes() + b"\x00")
    pdf = report(visit(one, other), pictures)
    text = text_of(pdf)
    assert "The photograph is not in the record's folder any more." in text
    assert "The stored pictures are not those that were screened: they are not shown." in text
    assert "REFER" in text and "0.80" in text  # what the record says is still said
    assert not re.search(rb"/Alt\b", pdf)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    "text", ["word " * 400, "w" * 2000, "眼" * 2000, "((((「「「" * 300, "line\nbreak\t\x07\x00 " * 99]
)
def test_it_stays_on_one_page_whatever_was_typed(pictures, language, text):
    pdf = report(extreme(pictures, text), pictures, language, audit_head="ab" * 32)
    assert pages(pdf) == 1
    words = words_of(pdf)
    assert min(w[1] for w in words) > 0 and max(w[3] for w in words) < A4[0]
    assert min(w[2] for w in words) > 0 and max(w[4] for w in words) < A4[1]
    assert any("ab" * 32 in word[0] for word in words)  # the last line is there
    foot = next(word for word in words if "SHA-256" in word[0])
    body = [w for w in words if w[2] < foot[2] - 60]
    assert max(w[4] for w in body) < foot[2]  # nothing runs into the records


def test_every_kind_of_visit_is_one_page_in_both_languages(pictures):
    for name, exam in every_kind(pictures).items():
        for language in ("en", "ja"):
            assert pages(report(exam, pictures, language)) == 1, (name, language)


def test_an_unfinished_visit_is_preliminary(pictures):
    assert "12 (not finished: preliminary)" in text_of(report(visit(finished=None), pictures))


def test_what_the_font_lacks_is_shown_as_such():
    assert typesettable("Łódź 김 髙\x07\u202e") == "〓ódz 〓 髙"


def test_japanese_lines_neither_begin_with_a_stop_nor_end_with_a_bracket():
    sheet = Sheet("ja")
    text = "視神経乳頭（ディスク）の輪郭が、定まりません。" * 6
    for width in np.arange(12.0, 60.0, 1.7):
        lines = sheet.wrapped(text, width, 9)
        assert "".join(lines) == text
        assert all(sheet.width_of(line, 9) <= width for line in lines)
        assert not [line for line in lines if line[0] in "、。）" or line[-1] == "（"]


def test_english_lines_break_at_spaces_and_words_that_are_too_long_anywhere():
    sheet = Sheet("en")
    lines = sheet.wrapped("a photograph of " + "x" * 90, 30, 9)
    assert lines[0] == "a photograph of" and "".join(lines[1:]) == "x" * 90
    assert all(sheet.width_of(line, 9) <= 30 for line in lines)
