"""One HTML page that shows every image of a run: overlay, outcome, numbers, reasons, tip.

Self-contained: style and symbols are inside, pictures are relative files, nothing is fetched. Outcomes
differ in word, shape and colour; contrast is WCAG AA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from device import __version__
from device.cli import NOTICE
from device.overlay import sentence, words_of
from device.results import Row
from device.verdict import Outcome

TITLES = {
    "glaucoma": "Glaucoma screening",
    "faz": "Foveal avascular zone",
    "haemorrhage": "Haemorrhages",
}
STYLE = Path(__file__).with_name("page.css")
SHAPES = {
    Outcome.REFER: '<path d="M12 3 22 21H2z" fill="currentColor"/>',
    Outcome.NO_REFERRAL: '<circle cx="12" cy="12" r="9" fill="currentColor"/>',
    Outcome.UNGRADABLE: '<path d="M4 4h16v16H4z" fill="none" stroke="currentColor" stroke-width="3"/>',
}


def render(rows: Sequence[Row]) -> str:
    """The page of a run, as HTML; pictures are looked for beside it."""
    task = rows[0].task if rows else "glaucoma"
    title = TITLES[task]
    bundles = sorted({name for row in rows for name in row.bundles.values()})
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: {len(rows)} images</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
<header>
<h1>{title}</h1>
<p>{_count(len(rows), "image")}. tenohira {__version__}. Bundles: {escape(", ".join(bundles) or "none")}.</p>
<p class="notice">{escape(NOTICE)}</p>
{_filter(rows, task)}
</header>
<main>
{"".join(_article(row) for row in rows)}</main>
<footer>
<p>Solid line: optic disc, foveal avascular zone or (yellow) haemorrhages. Dashed line: cup. Ungradable means that
no statement is made, neither refer nor no referral. Numbers are measured on the outlines shown; judge them
together.</p>
</footer>
</html>
"""


def _filter(rows: Sequence[Row], task: str) -> str:
    """The counts, which also choose what is shown."""
    counts = Counter(row.outcome for row in rows)
    labels = [
        f'<label><input type="radio" name="show" id="show-all" checked><strong>{len(rows)}</strong> all</label>'
    ]
    for outcome in Outcome:
        labels.append(
            f'<label><input type="radio" name="show" id="show-{outcome}">{_symbol(outcome, f"{outcome}-ink")}'
            f"<strong>{counts[outcome]}</strong> {words_of(task, outcome).lower()}</label>"
        )
    return f"<fieldset><legend>Show images by outcome</legend>{''.join(labels)}</fieldset>"


def _article(row: Row) -> str:
    name = escape(row.image)
    words = words_of(row.task, row.outcome).capitalize()
    if row.overlay:
        link = escape(quote(row.overlay))
        picture = f'<a href="{link}"><img src="{link}" loading="lazy" alt="{name}, with outlines: {words}"></a>'
    else:
        picture = '<div class="no-picture">No picture: the file could not be screened</div>'
    reasons = "".join(f"<li>{escape(sentence(r))}</li>" for r in row.reasons)
    tip = f'<p class="tip"><strong>What to do:</strong> {escape(sentence(row.tip))}</p>' if row.tip else ""
    return f"""<article class="{row.outcome}">
{picture}
<div class="text">
<h2>{name}</h2>
<p class="outcome">{_symbol(row.outcome)}{words}</p>
{_quality(row)}
{_figures(row)}
<ul>{reasons}</ul>
{tip}
{_details(row)}
</div>
</article>
"""


def _quality(row: Row) -> str:
    """What was wrong with a photograph that was measured all the same: its numbers deserve less trust."""
    if row.outcome is Outcome.UNGRADABLE or row.quality["grade"] == "good":
        return ""
    return f'<p class="quality">Quality {escape(row.quality["grade"])}: {escape(row.quality["cause"])}</p>'


def _figures(row: Row) -> str:
    """The numbers that carry the verdict; none for an ungradable image."""
    figures: list[tuple[str, str]] = []
    if row.faz:
        unit = {"mm2": "mm²"}.get(row.faz["unit"], row.faz["unit"])
        figures += [
            ("area", f"{row.faz['area']:.4g} {unit}"),
            ("perimeter", f"{row.faz['perimeter']:.4g} {row.faz['length_unit']}"),
            ("circularity", f"{row.faz['circularity']:.2f}"),
            ("axis ratio", f"{row.faz['axis_ratio']:.2f}"),
        ]
    if row.haemorrhages:
        figures += [
            ("haemorrhages marked", f"{row.haemorrhages['count']}"),
            ("of the field of view", f"{row.haemorrhages['field_percent']:.2g} %"),
        ]
    if row.vcdr is not None:
        figures.append(("vertical cup-to-disc ratio", f"{row.vcdr:.2f}"))
    if row.glaucoma_probability is not None:
        figures.append(("glaucoma probability", f"{row.glaucoma_probability:.2f}"))
    if not figures:
        return ""
    return f'<dl class="figures">{"".join(_figure(*f) for f in figures)}</dl>'


def _figure(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _details(row: Row) -> str:
    quality = f"{row.quality['grade']} ({row.quality['score']:.2f})"
    if row.quality["cause"]:
        quality += f": {row.quality['cause']}"
    lines: list[tuple[str, str]] = [("quality", quality), ("eye", row.laterality), ("view", row.view)]
    if row.measurements:
        m = row.measurements
        lines += [
            ("horizontal cup-to-disc ratio", f"{m['hcdr']:.2f}"),
            ("area cup-to-disc ratio", f"{m['area_cdr']:.2f}"),
            ("rim-to-disc ratio", ", ".join(f"{k} {v:.2f}" for k, v in m["rim_disc_ratio"].items())),
        ]
    for quantity, p in row.operating_points.items():
        lines += [
            (f"threshold of {quantity.replace('_', ' ')}", f"{p['threshold']:.2f} ({p['name']})"),
            (
                "measured there",
                f"sensitivity {p['sensitivity']:.2f}, specificity {p['specificity']:.2f} ({p['measured_on']})",
            ),
        ]
    if "total" in row.timings_ms:
        lines.append(("time", f"{row.timings_ms['total']:.0f} ms"))
    cells = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in lines)
    return f"<details><summary>Details</summary><table>{cells}</table></details>"


def _symbol(outcome: Outcome, css: str = "") -> str:
    return f'<svg viewBox="0 0 24 24" class="{css}" aria-hidden="true">{SHAPES[outcome]}</svg>'


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
