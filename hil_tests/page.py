"""What the pages of runs and of their history share: one self-contained HTML file, for the screen and for
paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("page.css")
# That of ``tenohira``'s command line and pages, word for word.
NOTICE = (
    "Research screening aid: not a diagnosis and not a cleared medical device. "
    "The network design is subject to patent application WO2023062764A1."
)
# An outcome is never told by its colour alone.
SIGNS = {"passed": "✓", "failed": "✗", "void": "∅", "missing": "?", "not measurable": "–", "skipped": "–",
         "regression": "▲", "improved": "▽"}  # fmt: skip


def frame(title: str, head: str, sections: Iterable[tuple[str, str, str]]) -> str:
    """The page: a head, then sections (id, title, content); those without content are left away."""
    kept = [each for each in sections if each[2]]
    links = "".join(f'<li><a href="#{name}">{escape(words)}</a></li>' for name, words, _ in kept)
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-h"><h2 id="{name}-h">{escape(words)}</h2>'
        f"{content}</section>"
        for name, words, content in kept
    )
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
<header>
{head}
<p class="notice">{escape(NOTICE)}</p>
<nav aria-label="Contents"><ul>{links}</ul></nav>
</header>
<main>
{body}
</main>
</html>
"""


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """Of cells that are HTML; the first heads its row, the columns ``numbers`` are set to the right."""
    right = set(numbers)
    css = lambda i: ' class="number"' if i in right else ""  # noqa: E731
    head = "".join(f'<th scope="col"{css(i)}>{c}</th>' for i, c in enumerate(columns))
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td{css(i)}>{c}</td>" for i, c in enumerate(rest, 1))}</tr>'
        for first, *rest in rows
    )
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        if body
        else ""
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and what they are (HTML); those that are empty are left away."""
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{words}</dd></div>" for name, words in pairs if words)
    return f'<dl class="facts">{items}</dl>'


def figure(svg: str, caption: str) -> str:
    """A plot with its caption (HTML)."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def outcome(word: str) -> str:
    """A verdict with its sign."""
    return f'<span class="outcome {escape(word.replace(" ", "-"))}">{SIGNS.get(word, "")} {escape(word)}</span>'


def number(value: float | None) -> str:
    """Four digits; a dash for what is not known."""
    if value is None:
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−").replace(",", "\u202f")


def interval(low: float | None, high: float | None) -> str:
    """``low to high``; an end that the samples do not tell is said to be open."""
    if low is None and high is None:
        return "too few samples"
    if low is None or high is None:
        return f"at least {number(low)}" if high is None else f"at most {number(high)}"
    return f"{number(low)} to {number(high)}"
