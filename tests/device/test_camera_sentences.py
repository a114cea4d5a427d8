"""Every error that a camera or a light can raise has a Japanese sentence, also those that no test provokes."""

import ast
from pathlib import Path

import pytest

from device.language import Translator

DEVICE = Path(__file__).resolve().parents[2] / "device"
SOURCES = [*sorted((DEVICE / "camera").glob("*.py")), DEVICE / "light.py"]
ERRORS = {"CameraError", "LightError", "UsageError"}


def text(node: ast.expr) -> str | None:
    """A string as it is written, with X for what is filled in; None where it is no literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("{}", "X")
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "X" for v in node.values)
    return None


def sentences(path: Path) -> set[str]:
    """What is raised, and the sentences that are kept in constants, returned or handed on: all with a way out."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS:
            found |= {said for argument in node.args if (said := text(argument))}
        elif isinstance(node, ast.Assign | ast.Return | ast.Call):
            values = node.args if isinstance(node, ast.Call) else [node.value]
            found |= {said for v in values if v and (said := text(v)) and "; " in said}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_every_sentence_has_a_translation(path):
    ja = Translator("ja")
    assert not [said for said in sentences(path) if not ja.knows(said)]


def test_there_are_sentences_to_check():
    assert len(set().union(*map(sentences, SOURCES))) > 35
