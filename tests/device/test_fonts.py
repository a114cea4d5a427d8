"""The fonts that reports and pages are set in."""

import runpy
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parents[2] / "device" / "fonts"


def held(weight: str) -> set[str]:
    return {chr(code) for code in TTFont(FONTS / f"NotoSansJP-{weight}.ttf", lazy=True).getBestCmap()}


@pytest.mark.parametrize("weight", ["Regular", "Bold"])
def test_both_weights_hold_latin_kana_and_the_kanji_of_level_one(weight):
    of_level_one = {
        bytes([r + 0xA0, c + 0xA0]).decode("euc_jp", "ignore") for r in range(16, 48) for c in range(1, 95)
    }
    of_level_one.discard("")
    assert len(of_level_one) == 2965  # JIS X 0208
    wanted = of_level_one | set("ABCxyz0189äéñøßœếư±≤≥×·–…°µ▲●□■○△→①℃、。・「」（）ァアいろはゝ％＋")
    assert not wanted - held(weight)


def test_names_of_people_and_places_can_be_set_in_regular():
    assert not set("髙橋﨑濵齋藤邊彌澤髙槻檜葛飾祇園厩橋") - held("Regular")


@pytest.mark.parametrize(("weight", "level_two"), [("Regular", True), ("Bold", False)])
def test_the_files_are_what_the_script_cuts(weight, level_two):
    """But for the few characters that the family itself does not have."""
    chosen = runpy.run_path(str(FONTS / "subset.py"))["characters"](level_two=level_two)
    missing = chosen - held(weight)
    assert not held(weight) - chosen
    assert len(missing) < 0.05 * len(chosen)


def test_they_may_be_embedded_and_carry_their_licence():
    for weight in ("Regular", "Bold"):
        font = TTFont(FONTS / f"NotoSansJP-{weight}.ttf", lazy=True)
        assert font["OS/2"].fsType == 0  # embedding and subsetting allowed
        assert font["name"].getBestFamilyName() == "Noto Sans JP"
        assert (font["OS/2"].usWeightClass >= 700) == (weight == "Bold")
    assert "SIL OPEN FONT LICENSE Version 1.1" in (FONTS / "OFL.txt").read_text()
