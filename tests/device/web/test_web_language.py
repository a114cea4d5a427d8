"""Every sentence of the pages has a Japanese translation, and no page shows English beside it."""

from __future__ import annotations

import ast
import html.parser
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_fake import FakeInstrument
from web_scenes import CHECKS, SCENES, Scene

import device.web
from device.language import Translator
from device.store import Store
from device.web.app import build, failure

FOLDER = Path(device.web.__file__).parent
JA = Translator("ja")

# What a Japanese operator reads in Latin letters: names, codes, units, file types.
LATIN = re.compile(
    r"(?<![A-Za-z])(OD|OS|MB|AE|PDF|ZIP|CSV|UTF-8|DICOM|PACS|DIMSE|DICOMweb|QR|C-STORE|STOW-RS|English|tenohira|WO\d+A1|ORTHANC|"
    r"participant|laterality|refer|yes|no|vcdr|source|KAN(-\d+)?|S01|op-07|reader-2|balanced|"
    r"(disc_finder|disc_cup|glaucoma)-[\d.]+(tnh)?|simulated|development|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"
    r"[0-9a-f]{8}|pacs\.example|https?://\S+)(?![A-Za-z])"
)


def literals() -> set[str]:
    """Sentences in ``t("...")`` of the templates."""
    found = set()
    for path in (FOLDER / "templates").glob("*.html"):
        found |= set(re.findall(r'\bt\("((?:[^"\\]|\\.)*)"', path.read_text(encoding="utf-8")))
    return found


def spoken() -> set[str]:
    """Sentences of errors and tables in the code: texts of five words and more that are no docstrings."""
    found = set()
    for path in FOLDER.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body and isinstance(node.body[0], ast.Expr)
        }  # fmt: skip
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                text = "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = "" if id(node) in docstrings | inside else node.value
            else:
                continue
            if len(re.findall(r"[a-z]{2,}", text)) >= 5 and not text.startswith(
                ("default-src", "multipart/", "--{}")
            ):
                found.add(text)
    return found


def test_every_sentence_of_the_templates_is_translated():
    assert not {text for text in literals() if not JA.knows(text)}


def test_every_sentence_of_the_code_is_translated():
    assert len(spoken()) > 20
    assert not {text for text in spoken() if not JA.knows(text)}


class Shown(html.parser.HTMLParser):
    """What of a page is read: text, names for screen readers, placeholders."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._aside: list[str] = []  # tags inside of which nothing is read, or another language

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag in ("style", "script") or (tag != "html" and known.get("lang") not in (None, "ja")):
            self._aside.append(tag)
        for name in ("aria-label", "placeholder", "alt", "data-ready", "data-gone"):
            self.texts.append(known.get(name) or "")

    def handle_endtag(self, tag: str) -> None:
        if self._aside and self._aside[-1] == tag:
            self._aside.pop()

    def handle_data(self, data: str) -> None:
        if not self._aside:
            self.texts.append(data)


def english(page: str) -> list[str]:
    """The words of a page that are not Japanese."""
    shown = Shown()
    shown.feed(page)
    return [w for text in shown.texts for w in re.findall(r"[A-Za-z][A-Za-z-]+", LATIN.sub(" ", text))]


@pytest.mark.parametrize("scene", SCENES, ids=lambda s: s.name)
def test_a_japanese_page_has_no_english(scene: Scene, tmp_path: Path):
    with Store(tmp_path / "record") as store:
        instrument = FakeInstrument(store)
        path = scene.open(instrument)
        client = TestClient(
            build(instrument, selftest=lambda: CHECKS), base_url="http://localhost", client=("127.0.0.1", 1)
        )
        client.cookies.set("tenohira-language", "ja")
        answer = client.post(path) if scene.name == "self-test" else client.get(path)
        assert '<html lang="ja">' in answer.text
        assert english(answer.text) == []


def test_the_failure_page_speaks_japanese():
    client = TestClient(
        failure("the camera is in use by another program; close that program and try again", language="ja"),
        base_url="http://localhost",
        client=("127.0.0.1", 1),
    )
    assert english(client.get("/").text) == []


def test_english_is_found_where_it_is_shown():
    assert english('<p aria-label="close">開始 Start <b lang="en">English</b></p>') == ["close", "Start"]
