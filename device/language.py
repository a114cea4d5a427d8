"""English and Japanese. Everything that is said is written in English in the code; a file beside this one holds,
for each sentence, what it is in another language. Numbers in a sentence are ``{}`` there.

What has no translation stays English: a sentence that is understood by few is better than none, and
``tests/device/test_language.py`` fails for it.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("languages")
LANGUAGES = {"en": "English", "ja": "日本語"}


class Translator:
    """``Translator("ja")("Focus again")``: a sentence in the language; arguments fill its ``{}`` in order."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self._exact, self._patterns = _catalogue(self.language)

    def __call__(self, text: str, *values: object) -> str:
        """``text`` in the language. Given no values, sentences with the numbers already in them are known too:
        what the pipeline says (reasons) and what errors say."""
        if values:
            return _filled(self._exact.get(text, text), [str(v) for v in values])
        if text in self._exact:
            return self._exact[text]
        for pattern, translation in self._patterns:
            if match := pattern.fullmatch(text):
                return _filled(translation, [self(part) for part in match.groups()])
        return text

    def knows(self, text: str) -> bool:
        """Whether a sentence has a translation (or needs none, in English)."""
        return self.language == "en" or text in self._exact or any(p.fullmatch(text) for p, _ in self._patterns)


def _filled(text: str, values: list[str]) -> str:
    """``{}`` take the values in order; ``{0}``, ``{1}`` by number, where another order is natural."""
    return text.format(*values) if values else text


@cache
def _catalogue(language: str) -> tuple[dict[str, str], list[tuple[re.Pattern[str], str]]]:
    """Exact sentences, and patterns of those with ``{}``; the tables of the file are only for its readers.

    The pattern with the most words of its own is tried first: of two that fit, it says more. A value may be empty,
    such as a reason that nobody typed.
    """
    path = FOLDER / f"{language}.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    exact = {english: other for table in tables.values() for english, other in table.items()}
    patterns = [
        (re.compile("(.*?)".join(re.escape(part) for part in english.split("{}")), re.DOTALL), other)
        for english, other in sorted(exact.items(), key=lambda pair: -len(pair[0].replace("{}", "")))
        if "{}" in english
    ]
    return exact, patterns
