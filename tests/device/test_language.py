"""English and Japanese: everything that the instrument says has a translation, and translations are sound."""

from __future__ import annotations

import re
import string
import tomllib
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from device import coaching, overlay, quality
from device.language import FOLDER, LANGUAGES, Translator, _catalogue
from device.record import Settings
from tests.device.report.visits import Pictures, every_kind
from tests.device.sentences import templates

TABLES = tomllib.loads((FOLDER / "ja.toml").read_text(encoding="utf-8"))
FONTS = Path(__file__).resolve().parents[2] / "device" / "fonts"
READING = "UnreadableImageError"  # its message is the reason of a row


def reasons() -> set[str]:
    """What a result's reasons, tip and cause can be."""
    said = templates("device.pipeline") | templates("device.verdict") | templates("device.measurement")
    said |= templates("device.eyes") | templates("device.imaging", READING)
    said |= templates("device.commands.screen", READING, functions=("_answer", "_read", "_name"))
    said |= templates("device.results", functions=("UNREADABLE_TIP", "failed_row"))
    said -= {"tenohira: internal error in {}", "PALETTE COLOR"}  # on the standard error; a word of DICOM
    return said


def test_every_cause_grade_and_tip_of_quality_is_in_the_catalogue_and_nothing_else():
    said = {*quality.TIPS, *quality.TIPS.values(), *coaching.TIPS, "good", "usable", "reject"}
    assert set(TABLES["quality"]) == said


def test_every_reason_is_in_the_catalogue_and_nothing_else():
    said, known = reasons(), set(TABLES["reasons"])
    assert not said - known, f"sentences of the code without a translation: {sorted(said - known)}"
    assert not known - said, f"translations of what no code says: {sorted(known - said)}"


def test_a_new_reason_would_be_noticed(tmp_path, monkeypatch):
    """The reader of sources is a net with small meshes: every way of the code to say something is caught."""
    (tmp_path / "speaking.py").write_text(SPEAKING)
    monkeypatch.syspath_prepend(tmp_path)
    assert templates("speaking", READING) == {
        "a constant of it", "large thing", "small thing", "in a list", "with {} and {}",
        "large thing {} is over the limit {} here", "small thing {} is over the limit {} here",
        "an error with {}", "as a keyword", "in a method",
    }  # fmt: skip


SPEAKING = '''"""Not a sentence of it."""
TIP = "a constant of it"
NAMES = {"a": "large thing", "b": "small thing"}


def f(x, faults):
    """Nor this one."""
    limit = f"the limit {x}"
    faults.append(f"{NAMES[x]} {x:.2f} is over {limit} here")
    if x:
        raise UnreadableImageError(f"an error with {x}")
    raise ValueError("another error is not a reason")


def g(x) -> list[str]:
    """Nor this."""
    return ["in a list", f"with {x} and {x:.0%}", h(reason="as a keyword")]


class C:
    def m(self):
        return "in a method"
'''


def test_every_outcome_is_in_the_catalogue():
    assert set(TABLES["outcomes"]) == {*overlay.WORDS.values(), "MEASURED"}


def test_the_report_says_nothing_without_a_translation_and_no_translation_is_unused(tmp_path, monkeypatch):
    from device.report import pdf

    said: set[str] = set()

    class Listening(Translator):
        listens = True

        def __call__(self, text: str, *values: object) -> str:
            if not self.listens:  # a part of a sentence
                return super().__call__(text, *values)
            said.add(text)
            self.listens = False
            try:
                return super().__call__(text, *values)
            finally:
                self.listens = True

    monkeypatch.setattr(pdf, "Translator", Listening)
    pictures = Pictures(tmp_path)
    for exam in every_kind(pictures).values():
        pdf.render(exam, pictures, Settings(), "ja", audit_head="ab" * 32)
    ours = {text for text in said if "word word" not in text}  # what a test typed has no translation
    assert not [text for text in ours if not Translator("ja").knows(text)]
    assert not [english for english in TABLES["report"] if not any(_fits(english, text) for text in said)]


def _fits(english: str, text: str) -> bool:
    """Whether a text is an entry, or one with its blanks filled in."""
    return re.fullmatch("(.*)".join(re.escape(part) for part in english.split("{}")), text) is not None


@pytest.mark.parametrize("table", TABLES)
def test_translations_have_the_same_blanks(table):
    for english, other in TABLES[table].items():
        blanks = english.count("{}")
        named = [name for _, name, *_ in string.Formatter().parse(other) if name is not None]
        numbered = [str(k) for k in range(blanks)]
        assert named == [""] * blanks or sorted(named) == numbered, english
        assert english.replace("{}", "").strip(" .:;()"), f"{english!r} would fit everything"


def test_a_sentence_of_two_tables_has_one_translation():
    """The tables are only for who reads the file: the last one would win everywhere."""
    seen: dict[str, str] = {}
    for table in TABLES.values():
        for english, other in table.items():
            assert seen.setdefault(english, other) == other, english


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_every_character_of_the_catalogue_is_in_the_fonts(weight):
    held = {chr(code) for code in TTFont(FONTS / f"NotoSansJP-{weight}.ttf", lazy=True).getBestCmap()}
    used = {c for table in TABLES.values() for pair in table.items() for text in pair for c in text}
    assert not used - held


def test_japanese_sentences_end_as_japanese_sentences_do():
    """Advice of ours ends in a full stop; it must in Japanese, too, with theirs."""
    for table in TABLES.values():
        for english, other in table.items():
            if english.endswith(".") and not english.endswith("..."):
                assert other.endswith("。"), english
            assert not other.endswith((".", " ")), english


def test_a_formatted_reason_is_translated_with_its_numbers_and_its_parts():
    ja = Translator("ja")
    assert ja("quality rejected: defocus") == "画質不良のため判定できません（ピントぼけ）。"
    assert ja("glaucoma probability 0.92 reaches the referral threshold 0.47 (balanced)") == (
        "緑内障の可能性 0.92 は紹介基準値 0.47（balanced）以上。"
    )
    assert ja("only 2 of 3 photographs say so by themselves: photograph again").startswith(
        "単独でも同じ判定になる写真は3枚中2枚"
    )


def test_sentences_end_in_the_stop_of_their_language():
    assert overlay.sentence("no disc") == "No disc." and overlay.sentence("cut…") == "cut…".capitalize()
    assert overlay.sentence("白内障") == "白内障。" and overlay.sentence("切れています。") == "切れています。"


def test_english_is_as_it_is_written():
    en = Translator("en")
    assert en("quality rejected: defocus") == "quality rejected: defocus"
    assert en("median of {} photographs", 3) == "median of 3 photographs"


def test_what_has_no_translation_stays_english():
    ja = Translator("ja")
    assert ja("nobody has said this before") == "nobody has said this before"
    assert not ja.knows("nobody has said this before")


def test_an_unknown_language_is_english_and_opens_no_file():
    _catalogue.cache_clear()
    assert Translator("../languages/ja").language == "en"
    assert Translator("../languages/ja")("REFER") == "REFER"
    assert set(LANGUAGES) == {"en", "ja"}


def test_braces_in_what_was_typed_stay(monkeypatch):
    ja = Translator("ja")
    assert (
        ja("this eye could not be imaged: {cataract} {0} {}") == "この眼は撮影できませんでした：{cataract} {0} {}"
    )
    assert ja("Reader {}: {}", "{x}", "{") == "読影者 {x}：{"


def test_a_reason_that_was_left_empty_is_still_translated():
    assert Translator("ja")("this eye could not be imaged: ") == "この眼は撮影できませんでした："


def test_of_two_patterns_that_fit_the_one_that_says_more_is_taken(tmp_path, monkeypatch):
    (tmp_path / "ja.toml").write_text(
        '[a]\n"{} {} {} {} {} end" = "wrong {}{}{}{}{}"\n"the {} is at the end" = "{}"\n'
    )
    monkeypatch.setattr("device.language.FOLDER", tmp_path)
    _catalogue.cache_clear()
    try:
        assert Translator("ja")("the cup of an eye is at the end") == "cup of an eye"
    finally:
        _catalogue.cache_clear()
