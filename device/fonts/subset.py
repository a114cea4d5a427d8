"""Cuts the fonts of this folder out of the full family; how they were made, and how to make them again.

    python device/fonts/subset.py FOLDER-OF-THE-UNPACKED-NPM-PACKAGE

Run by maintainers only (it needs fontTools, which comes with fpdf2); the wheel leaves it out. Characters: Latin as
far as the family has it (Western Europe, Vietnam), punctuation, symbols, kana and the kanji of JIS X 0208 level 1.
Names of people, places and hospitals use rarer kanji: the regular weight, in which pages set what somebody typed,
has level 2 and the vendors' extensions as well (cp932).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont

FOLDER = Path(__file__).parent
RANGES = (
    (0x20, 0x7E), (0xA0, 0xFF), (0x152, 0x153), (0x1A0, 0x1A1), (0x1AF, 0x1B0), (0x1EA0, 0x1EF9),
    (0x2010, 0x2026), (0x2030, 0x203A), (0x20AC, 0x20AC), (0x2103, 0x2122), (0x2190, 0x2199), (0x2200, 0x226B),
    (0x2460, 0x2473), (0x25A0, 0x25EF), (0x2600, 0x2606), (0x26A0, 0x26A0), (0x2713, 0x2713), (0x3000, 0x30FF),
    (0xFF01, 0xFF9F), (0xFFE0, 0xFFE6),
)  # fmt: skip
EYES = "窩翳鞏瞼睫眥眩暈嵌頓糜爛瘢攣霰"  # of level 2, in words of eye medicine
FEATURES = ["kern", "ccmp", "locl"]  # pages set neither vertical nor historical text


def characters(*, level_two: bool) -> set[str]:
    """What a font of this folder must hold, as far as the family has it."""
    chosen = {chr(code) for low, high in RANGES for code in range(low, high + 1)}
    chosen.update(_jis(range(1, 9)), _jis(range(16, 48)), EYES)
    if level_two:
        chosen.update(_jis(range(48, 85)), _extensions())
    return chosen


def _jis(rows: range) -> Iterator[str]:
    """The characters of rows of JIS X 0208."""
    for row in rows:
        for cell in range(1, 95):
            yield bytes([row + 0xA0, cell + 0xA0]).decode("euc_jp", errors="ignore")


def _extensions() -> Iterator[str]:
    """NEC's row 13 and IBM's kanji, which Japanese registers of names are full of."""
    for lead in (0x87, 0xFA, 0xFB, 0xFC):
        for trail in range(0x40, 0xFD):
            yield bytes([lead, trail]).decode("cp932", errors="ignore")


def cut(source: Path, target: Path, *, level_two: bool) -> None:
    """Write the subset of one weight."""
    options = subset.Options()
    options.layout_features = FEATURES
    options.hinting = False
    options.drop_tables += ["vhea", "vmtx", "BASE", "STAT"]
    options.recalc_timestamp = False
    font = TTFont(source, recalcTimestamp=False)
    cutter = subset.Subsetter(options)
    cutter.populate(text="".join(sorted(characters(level_two=level_two))))
    cutter.subset(font)
    font.save(target)


if __name__ == "__main__":
    package = Path(sys.argv[1])
    cut(package / "400Regular/NotoSansJP_400Regular.ttf", FOLDER / "NotoSansJP-Regular.ttf", level_two=True)
    cut(package / "700Bold/NotoSansJP_700Bold.ttf", FOLDER / "NotoSansJP-Bold.ttf", level_two=False)
