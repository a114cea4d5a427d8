"""One sheet of A4 and a pen: text that wraps in English and Japanese, boxes, pictures.

All lengths are millimetres from the top left corner, sizes of letters points. A sheet is written twice: once dry,
to learn how much room its content needs at a scale, then for good.
"""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path

from fontTools.ttLib import TTFont
from fpdf import FPDF

from device.overlay import LINES
from device.report.evidence import Panel

FONTS = Path(__file__).parents[1] / "fonts"
FAMILY = "NotoSansJP"
WIDTH, HEIGHT = 210.0, 297.0
LEADING = 1.32  # line height by size of the letters
MM = 25.4 / 72  # a point
MISSING = "〓"  # stands for a character that the font lacks, as Japanese printers do

INK, FAINT, HAIRLINE, PAPER = "#1a1a1a", "#4d4d4d", "#c4c9ce", "#ffffff"

# Japanese may break between any two characters, but not before what closes nor after what opens.
CLOSING = "、。，．・：；？！」』）】〕》〉％…‥ーゝゞ々ぁぃぅぇぉっゃゅょァィゥェォッャュョ）］｝),.:;?!%]}°"
OPENING = "「『（【〔《〈［｛([{"
WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"
WORDS = re.compile(
    rf"\s+|[{re.escape(OPENING)}]*(?:[{WIDE}]|[^\s{WIDE}]+?(?=[\s{WIDE}]|$))[{re.escape(CLOSING)}]*|[^\s]"
)


class Sheet:
    """``dry`` sheets measure and draw nothing. ``scale`` makes all letters and ``mm`` lengths smaller."""

    def __init__(self, language: str) -> None:
        self._pdf = FPDF(unit="mm", format="A4")
        self._pdf.set_auto_page_break(False)
        self._pdf.set_margin(0)
        for style, weight in (("", "Regular"), ("B", "Bold")):
            self._pdf.add_font(FAMILY, style, FONTS / f"{FAMILY}-{weight}.ttf")
        self._pdf.add_page()
        self._pdf.set_lang(language)
        self.scale, self.dry = 1.0, True

    def mm(self, length: float) -> float:
        """A length that shrinks with the letters."""
        return length * self.scale

    def line_height(self, size: float) -> float:
        """Of letters of a size, in mm."""
        return size * self.scale * MM * LEADING

    def width_of(self, text: str, size: float, bold: bool = False) -> float:
        """Of one line, in mm."""
        advances = _advances(_weight(bold))
        ems = sum(advances[c] for c in typesettable(text, bold))
        return ems * size * self.scale * MM

    def text(
        self, x: float, y: float, text: str, size: float, *, bold: bool = False, ink: str = INK, align: str = "L"
    ) -> None:
        """One line whose line box has its top at ``y``; ``align`` R: it ends at ``x``, C: it is centred on it."""
        if self.dry or not text:
            return
        text = typesettable(text, bold)
        shift = {"L": 0.0, "C": 0.5, "R": 1.0}[align]
        if shift:
            x -= shift * self.width_of(text, size, bold)
        self._font(size, bold)
        self._pdf.set_text_color(ink)
        self._pdf.text(x, y + self.line_height(size) * 0.77, text)

    def paragraph(
        self, x: float, y: float, width: float, text: str, size: float, *, bold: bool = False, ink: str = INK,
        lines: int | None = None,
    ) -> float:  # fmt: skip
        """Text wrapped to a width, cut after ``lines``; returns where it ends."""
        wrapped = self.wrapped(text, width, size, bold)
        if lines is not None and len(wrapped) > lines:
            wrapped = [*wrapped[: lines - 1], self._cut(wrapped[lines - 1] + "…", width, size, bold)]
        for line in wrapped:
            self.text(x, y, line, size, bold=bold, ink=ink)
            y += self.line_height(size)
        return y

    def wrapped(self, text: str, width: float, size: float, bold: bool = False) -> list[str]:
        """Text as lines that are no wider than ``width``."""
        lines, used = [""], 0.0
        for word in WORDS.findall(text):
            wide = self.width_of(word, size, bold)
            if used + wide <= width:
                lines[-1] += word
                used += wide
                continue
            if word.isspace():
                continue
            if lines[-1]:
                lines.append("")
                used = 0.0
            for character in word:  # one word that is wider than the line breaks anywhere
                wide = self.width_of(character, size, bold)
                if lines[-1] and used + wide > width:
                    lines.append("")
                    used = 0.0
                lines[-1] += character
                used += wide
        return [line.strip() for line in lines]

    def _cut(self, line: str, width: float, size: float, bold: bool) -> str:
        while len(line) > 2 and self.width_of(line, size, bold) > width:
            line = line[:-2] + "…"
        return line

    def rule(self, x0: float, x1: float, y: float, *, ink: str = HAIRLINE, thickness: float = 0.2) -> None:
        """A horizontal line."""
        if not self.dry:
            self._pdf.set_draw_color(ink)
            self._pdf.set_line_width(thickness)
            self._pdf.line(x0, y, x1, y)

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str | None = None, edge: str | None = None
    ) -> None:
        """A filled or outlined rectangle."""
        if self.dry:
            return
        if fill:
            self._pdf.set_fill_color(fill)
        if edge:
            self._pdf.set_draw_color(edge)
            self._pdf.set_line_width(0.3)
        self._pdf.rect(
            x, y, width, height, style={(True, True): "DF", (True, False): "F"}.get((bool(fill), bool(edge)), "D")
        )

    def polygon(self, points: Sequence[tuple[float, float]], fill: str) -> None:
        """A filled polygon."""
        if not self.dry:
            self._pdf.set_fill_color(fill)
            self._pdf.polygon(points, style="F")

    def circle(self, x: float, y: float, radius: float, fill: str) -> None:
        """A filled circle around (x, y)."""
        if not self.dry:
            self._pdf.set_fill_color(fill)
            self._pdf.circle(x, y, radius, style="F")

    def frame(self, x: float, y: float, side: float, ink: str) -> None:
        """An open square with a thick edge."""
        if not self.dry:
            self._pdf.set_draw_color(ink)
            self._pdf.set_line_width(side * 0.16)
            self._pdf.rect(x, y, side, side, style="D")

    def picture(self, panel: Panel, x: float, y: float, width: float, height: float, alt: str, layer: str) -> None:
        """A panel with its outlines, which are a layer that viewers can switch off; ``alt`` describes it."""
        if self.dry:
            return
        self._pdf.image(io.BytesIO(panel.jpeg), x, y, width, height, alt_text=alt)
        if not panel.outlines:
            return
        with self._pdf.optional_content(label=layer), self._pdf.rect_clip(x, y, width, height):
            for name, lines in panel.outlines.items():
                for line in lines:
                    points = [(x + u * width, y + v * height) for u, v in line]
                    self._outline(points, name, closed=True)

    def sample(self, x: float, y: float, length: float, structure: str) -> None:
        """A piece of the line that a structure is outlined with, on black as on a photograph."""
        self.box(x, y - 1.0, length, 2.0, fill="#000000")
        if not self.dry:
            self._outline([(x + 0.6, y), (x + length - 0.6, y)], structure, closed=False)

    def _outline(self, points: list[tuple[float, float]], structure: str, *, closed: bool) -> None:
        colour, dashed = LINES[structure]
        self._pdf.set_dash_pattern(*((1.3, 0.9) if dashed else (0, 0)))
        for ink, thickness in ((0, 0, 0), 0.65), (colour, 0.35):
            self._pdf.set_draw_color(*ink)
            self._pdf.set_line_width(thickness)
            self._pdf.polyline(points, polygon=closed)
        self._pdf.set_dash_pattern()

    @contextmanager
    def trial(self, scale: float) -> Iterator[None]:
        """Within it the sheet is dry, at a scale."""
        before, self.scale, self.dry = (self.scale, self.dry), scale, True
        try:
            yield
        finally:
            self.scale, self.dry = before

    def output(self, *, title: str, subject: str, author: str, created: datetime) -> bytes:
        """The PDF; its dates are ``created``, so that the same sheet is the same file to the byte."""
        pdf = self._pdf
        pdf.set_title(title)
        pdf.set_subject(subject)
        pdf.set_author(author)
        pdf.set_creator("tenohira")
        pdf.set_creation_date(created)
        pdf.set_xmp_metadata(_xmp(title, subject, author, created))
        return bytes(pdf.output())

    def _font(self, size: float, bold: bool) -> None:
        self._pdf.set_font(FAMILY, "B" if bold else "", size * self.scale)


def typesettable(text: str, bold: bool = False) -> str:
    """Text in characters that the font has: without steering characters, accents left away where they must be."""
    held = _advances(_weight(bold))
    return "".join(c if c in held else _instead(c, held) for c in unicodedata.normalize("NFC", text))


def _instead(character: str, held: Mapping[str, float]) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cc", "Cf", "Mn", "Me"):
        return ""
    plain = "".join(c for c in unicodedata.normalize("NFKD", character) if c in held)
    return plain or MISSING


def _weight(bold: bool) -> str:
    return "Bold" if bold else "Regular"


@cache
def _advances(weight: str) -> dict[str, float]:
    """The characters that a font has, and how far each moves the pen, by the size of the letters."""
    font = TTFont(FONTS / f"{FAMILY}-{weight}.ttf", lazy=True)
    em, widths = font["head"].unitsPerEm, font["hmtx"].metrics
    return {chr(code): widths[glyph][0] / em for code, glyph in font.getBestCmap().items()}


def _xmp(title: str, subject: str, author: str, created: datetime) -> str:
    """The metadata once more, as archives want them."""
    when = created.isoformat(timespec="seconds")
    return f"""<x:xmpmeta xmlns:x="adobe:ns:meta/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmp:CreatorTool="tenohira" xmp:CreateDate="{when}" xmp:ModifyDate="{when}" xmp:MetadataDate="{when}">
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{escape(title)}</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(subject)}</rdf:li></rdf:Alt></dc:description>
<dc:creator><rdf:Seq><rdf:li>{escape(author)}</rdf:li></rdf:Seq></dc:creator>
</rdf:Description>
</rdf:RDF>
</x:xmpmeta>"""
