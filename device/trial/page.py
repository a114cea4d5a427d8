"""A trial's report as one HTML page: self-contained, printable, every figure with its n.

It is written for whoever judges the trial. What was not measured is said to be missing, not left away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path

from device.cli import NOTICE
from device.trial import figures
from device.trial.findings import Accuracy, Cross, Group, Part, Rating, Report
from device.trial.statistics import RESAMPLES, SEED, Estimate, Proportion

STYLE = Path(__file__).with_name("report.css")
FEW = 10  # a share of fewer is not stated in tables by group
LISTED = 60  # rows of a list on the page; the CSV has all
Cells = Sequence[str]

HANDLINGS = {"excluded": "excluded", "referred": "counted as referred"}
UNITS = {"eye": "eyes", "participant": "participants"}


def render(report: Report) -> str:
    """The page."""
    title = f"Field trial {report.study}" if report.study else "Field trial without a study code"
    several = len(report.parts) > 1
    verified = any(p.accuracy for p in report.parts)
    parts = "".join(_part(p, several) for p in report.parts)
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}: accuracy of the screening instrument</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
<a class="skip" href="#warnings">To the report</a>
<header>
<h1>{escape(title)}: accuracy of the screening instrument</h1>
{_subtitle(report)}
<p class="notice">{escape(NOTICE)}</p>
<nav aria-label="Contents"><ul>{_contents(several)}</ul></nav>
</header>
<main>
{_warnings(report)}
{_section("summary", "In short", "".join(_summary(p, several) for p in report.parts))}
{_section("flow", "Flow of participants and eyes", _flow(report, verified, not several))}
{parts}
{_section("readers", "Agreement among readers and with the reference standard", _readers(report))}
{_section("conduct", "Conduct of the trial", _conduct(report))}
{_section("versions", "Versions", _versions(report))}
{_section("laterality", "Laterality", _laterality(report))}
{_section("left-out", "Visits left out", _left_out(report))}
{_section("missing", "Missing data", _missing(report))}
{_section("methods", "Definitions and methods", METHODS)}
{_section("unknown", "What these records cannot tell", UNKNOWN)}
</main>
<footer>
<p>Written by tenohira {escape(report.version)} on {escape(report.created[:16].replace("T", " "))} UTC from
{escape(", ".join(report.sources))}. The CSV files beside this page hold every eye and every table;
<code>report.json</code> holds the whole report. They name participants by code.</p>
</footer>
</html>
"""


# Frame


def _section(name: str, title: str, content: str) -> str:
    head = f'<h2 id="{name}-h">{escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-h">{head}{content}</section>'


def _contents(several: bool) -> str:
    accuracy = [("accuracy-A", "Accuracy")] if not several else [("test-A", "Results by index test")]
    links = [
        ("summary", "In short"), ("flow", "Flow"), *accuracy, ("readers", "Readers"), ("conduct", "Conduct"),
        ("versions", "Versions"), ("laterality", "Laterality"), ("left-out", "Left out"),
        ("missing", "Missing data"),
        ("methods", "Methods"), ("unknown", "Limits"),
    ]  # fmt: skip
    return "".join(f'<li><a href="#{name}">{escape(words)}</a></li>' for name, words in links)


def _subtitle(report: Report) -> str:
    f = report.flow
    dates = f" from {report.first} to {report.last}" if report.first else ""
    simulated = "SIMULATED: no people took part in this trial. Its figures say nothing about the instrument."
    return (f'<p class="simulated">{simulated}</p>' if report.simulated else "") + (
        f"<p>{f.counted} participants, {f.eyes} eyes, examined{escape(dates)}. After STARD 2015.</p>"
    )


def _warnings(report: Report) -> str:
    items = "".join(f"<li>{escape(w)}</li>" for w in report.warnings)
    content = f"<ul>{items}</ul>" if items else "<p>Nothing was found that limits what is said below.</p>"
    return (
        '<section id="warnings" class="warnings" aria-labelledby="warnings-h">'
        f'<h2 id="warnings-h">Read this first</h2>{content}</section>'
    )


def _table(caption: str, columns: Cells, rows: Iterable[Cells], numbers: int = 0) -> str:
    """A table of cells that are HTML; the first heads its row, the last ``numbers`` are set to the right."""
    left = len(columns) - numbers
    css: Callable[[int], str] = lambda i: ' class="number"' if i >= left else ""  # noqa: E731
    head = "".join(f'<th scope="col"{css(i)}>{c}</th>' for i, c in enumerate(columns))
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td{css(i)}>{c}</td>" for i, c in enumerate(rest, 1))}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _none(words: str) -> str:
    return f'<p class="none">{escape(words)}</p>'


# Numbers


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _of(p: Proportion) -> str:
    return f"{p.k}/{p.n}"


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None else f"{_percent(low)} to {_percent(high)}"


def _share(p: Proportion) -> str:
    """In a sentence."""
    if p.value is None:
        return f"none to count ({_of(p)})"
    return f"{_percent(p.value)} % ({_of(p)}; 95 % interval {_interval(*p.interval)} %)"


def _estimate(e: Estimate, digits: int, sign: str = "") -> str:
    form = f"{sign}.{digits}f"
    between = "no interval" if e.low is None or e.high is None else f"{e.low:{form}} to {e.high:{form}}"
    return f"{e.value:{form}} ({between})".replace("-", "−")


def _n(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


# Summary and flow


def _summary(part: Part, several: bool) -> str:
    figures_of = [("Eyes without an outcome", *_figure(part.no_outcome))]
    for a in part.accuracy:
        if a.handling == "excluded" and a.measure in ("sensitivity", "specificity"):
            value, more = _figure(a.share)
            referred = next(
                b.share
                for b in part.accuracy
                if (b.unit, b.handling, b.measure) == (a.unit, "referred", a.measure)
            )
            more += f"<br>without outcome counted as referred: {_percent(referred.value)} %"
            figures_of.append((f"{a.measure.capitalize()}, {UNITS[a.unit]} with an outcome", value, more))
    if part.roc:
        e = part.roc.auc
        between = "" if e.low is None or e.high is None else f"{e.low:.3f} to {e.high:.3f}; "
        figures_of.append(("Area under the ROC curve", f"{e.value:.3f}", f"{between}n = {part.roc.n} eyes"))
    items = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="value">{value}</dd><dd class="more">{more}</dd></div>'
        for name, value, more in figures_of
    )
    head = f"<h3>Index test {part.index_test.label}: {escape(part.index_test.words())}</h3>" if several else ""
    if not part.accuracy:
        items += "<div><dt>Sensitivity and specificity</dt><dd>There is no reference standard.</dd></div>"
    return f'{head}<dl class="figures">{items}</dl>'


def _figure(p: Proportion) -> tuple[str, str]:
    if p.value is None:
        return "–", f"{_of(p)}: none to count"
    return f"{_percent(p.value)} %", f"{_interval(*p.interval)} %; {_of(p)}"


def _flow(report: Report, verified: bool, added_up: bool) -> str:
    f = report.flow
    outside = f" {_n(f.outside, 'visit')} of other studies or of none stand outside." if f.outside else ""
    split = "" if added_up else " The index test changed: the tables by reference stand with each of them."
    return (
        f'<figure><div class="wide" tabindex="0" role="group" aria-label="Flow diagram">'
        f"{figures.flow(f, verified, added_up)}</div>"
        "<figcaption>Of each participant the first finished visit with consent and an attempt counts. No "
        "outcome: photographs were tried, and none could be graded. How many people were asked and declined, or "
        f"were not eligible, is not in the records.{outside}{split}</figcaption></figure>"
    )


# One index test


def _part(part: Part, several: bool) -> str:
    label = part.index_test.label
    head = (
        f'<h2 class="test" id="test-{label}">Index test {label}: {escape(part.index_test.words())} '
        f"({_n(part.participants, 'participant')}, {part.eyes} eyes)</h2>"
        if several
        else ""
    )
    return head + "".join(
        _section(f"{name}-{label}", title, content)
        for name, title, content in (
            ("accuracy", "Accuracy against the reference standard", _accuracy(part)),
            ("outcome", "Eyes without an outcome", _no_outcome(part)),
            ("agreement", "Agreement of the instrument with readers and reference", _agreement(part)),
            ("repeats", "Repeatability", _repeats(part)),
            ("groups", "By site, device and operator", _groups(part)),
        )
    )


def _accuracy(part: Part) -> str:
    test = part.index_test
    fixed = (
        f"Index test: {escape(test.words())}. The operating point is the one that the instrument used; it was not "
        "chosen from these data."
    )
    if not part.accuracy:
        return f"<p>{fixed}</p>" + _none(
            "There is no reference standard for these eyes, so nothing can be said about sensitivity or "
            "specificity. Import one with 'tenohira trial references', or give it with --references."
        )
    return (
        f"<p>{fixed}</p><p>Prevalence, eyes with a reference: {_share(part.prevalence)}. Predictive values hold "
        "for this prevalence only.</p>"
        f'<div class="side">{"".join(_cross(c) for c in part.cross)}</div>'
        + "".join(_measures(part, unit) for unit in ("eye", "participant"))
        + _roc(part)
    )


def _cross(cross: Cross) -> str:
    rows = [
        (words, *map(str, row), str(sum(row)))
        for words, row in (
            ("refer", cross.refer),
            ("no referral", cross.no_referral),
            ("no outcome", cross.no_outcome),
        )
    ]
    columns = [sum(pair) for pair in zip(cross.refer, cross.no_referral, cross.no_outcome)]
    rows.append(("all", *map(str, columns), str(sum(columns))))
    note = (
        f"{_n(cross.left_out, UNITS[cross.unit][:-1])} without complete index test and reference "
        f"{'is' if cross.left_out == 1 else 'are'} not in the table."
    )
    head = ("index test", "reference:<br>refer", "reference:<br>no referral", "all")
    return (
        f"<div>{_table(f'{UNITS[cross.unit].capitalize()}: n = {sum(columns)}', head, rows, 3)}<p>{note}</p></div>"
    )


def _measures(part: Part, unit: str) -> str:
    own = [a for a in part.accuracy if a.unit == unit]
    columns = ["measure", f"{UNITS[unit]} without outcome", "k/n", "%", "Wilson 95 %"]
    columns += ["adjusted 95 %"] * (unit == "eye")
    if unit == "participant":
        caption = "By participant: either eye decides"
    else:
        caption = "By eye. Two eyes of one person are not independent: the adjusted interval allows for it"
    return _table(caption, columns, [_measure(a, unit == "eye") for a in own], len(columns) - 2)


def _measure(a: Accuracy, clustered: bool) -> Cells:
    p = a.share
    more = [_interval(*p.interval)] if clustered else []
    return [a.measure, HANDLINGS[a.handling], _of(p), _percent(p.value), _interval(p.low, p.high), *more]


def _roc(part: Part) -> str:
    curve = part.roc
    if curve is None:
        return _none("No ROC curve: it needs eyes with an outcome of which some should be referred and some not.")
    by = {a.measure: a.share for a in part.accuracy if a.unit == "eye" and a.handling == "excluded"}
    dropped = f" {curve.dropped} resamples held one class only and were left out." if curve.dropped else ""
    return (
        f"<figure>{figures.roc(part, by['sensitivity'], by['specificity'])}<figcaption>ROC curve of the glaucoma "
        f"probability, n = {curve.n} eyes of {curve.participants} participants, {curve.positive} of them to be "
        f"referred. Area {_estimate(curve.auc, 3)}; interval by {RESAMPLES} resamples of participants, both eyes "
        f"together, for two eyes of one person are not independent (seed {SEED}).{dropped} The point is the "
        "operating point, its bars are the adjusted intervals. Eyes without an outcome have no probability and "
        "are not in the curve.</figcaption></figure>"
    )


def _no_outcome(part: Part) -> str:
    text = f"<p>Of the eyes on which it was tried, {_share(part.no_outcome)} have no outcome. "
    text += f"Of all photographs, {_share(part.photographs)} could not be graded.</p>"
    if not part.causes:
        return text + _none("No cause was recorded, for every photograph could be graded.")
    words = {
        "eye, not imaged": "eyes that could not be imaged",
        "eye, ungradable": "eyes with photographs, ungradable",
        "photograph": "single photographs, ungradable",
    }
    totals = {of: sum(c.n for c in part.causes if c.of == of) for of in words}
    rows = [(words[c.of], escape(c.cause), f"{c.n}/{totals[c.of]}") for c in part.causes]
    return text + _table("Causes", ("of", "cause (an eye's: of its last photograph)", "n"), rows, 1)


def _agreement(part: Part) -> str:
    if not (part.ratings or part.ratios):
        return _none("There is neither a reading nor a reference to compare with.")
    text = _kappas("Outcome: the instrument and another", part.ratings) if part.ratings else ""
    if not part.ratios:
        return text + _none("No vertical cup-to-disc ratio of a reader or reference is there to compare with.")
    rows = []
    plots = ""
    for i, r in enumerate(part.ratios):
        found = r.limits
        if found is None:
            rows.append((escape(r.against), str(len(r.pairs)), *["too few"] * 4))
            continue
        rows.append(
            (
                escape(r.against),
                f"{found.n} ({found.participants})",
                _estimate(found.bias, 3, "+"),
                f"{found.sd:.3f}",
                _estimate(found.lower, 3, "+"),
                _estimate(found.upper, 3, "+"),
            )
        )
        plots += (
            f"<figure>{figures.bland_altman(r, f'{part.index_test.label}{i}')}<figcaption>Instrument and "
            f"{escape(r.against)}, n = {found.n} eyes of {found.participants} participants.</figcaption></figure>"
        )
    head = ("against", "eyes (participants)", "bias (95 %)", "SD", "lower limit (95 %)", "upper limit (95 %)")
    caption = "Vertical cup-to-disc ratio: instrument minus the other (Bland and Altman)"
    return f'{text}{_table(caption, head, rows, 5)}<div class="side">{plots}</div>'


def _kappas(caption: str, ratings: Iterable[Rating]) -> str:
    rows = [
        (
            f"{escape(r.first)} and {escape(r.second)}", escape(r.what), f"{r.kappa.n} ({r.kappa.participants})",
            f"{r.kappa.agree}/{r.kappa.n}", _estimate(r.kappa.kappa, 2) if r.kappa.kappa else "not defined",
        )
        for r in ratings
    ]  # fmt: skip
    return _table(caption, ("pair", "grades", "eyes (participants)", "equal", "Cohen's kappa (95 %)"), rows, 3)


def _readers(report: Report) -> str:
    if not report.readers:
        return _none("There are no masked readings that could be compared.")
    return _kappas("Masked readings", report.readers)


def _repeats(part: Part) -> str:
    rows = []
    for r in part.repeats:
        if r.found is None:
            rows.append((r.quantity, r.level, "none repeated", "–", "–"))
            continue
        f = r.found
        rows.append(
            (r.quantity, r.level, f"{f.values} of {f.groups}", _estimate(f.sd, 3), _estimate(f.coefficient, 3))
        )
    head = ("quantity", "between", "values of subjects", "within-eye SD (95 %)", "repeatability (95 %)")
    return (
        _table("Spread of repeated photographs of one eye", head, rows, 3)
        + "<p>Two measurements of the same eye differ by more than the coefficient of repeatability in 5 % of "
        "pairs. A burst is taken in a moment with one aim, so that its spread is the least to be expected.</p>"
    )


def _groups(part: Part) -> str:
    text = (
        "<p>Described, not tested: the trial was not planned to compare them. Shares of fewer than "
        f"{FEW} are counted, not stated.</p>"
    )
    for by in ("site", "device", "operator"):
        rows = [_group(g) for g in part.groups if g.by == by]
        head = (by, "participants", "eyes", "no outcome, %", "sensitivity, %", "specificity, %")
        text += _table(f"By {by} (eyes; outcome excluded where there is none; adjusted intervals)", head, rows, 5)
    return text


def _group(g: Group) -> Cells:
    shares = [_cell(p) for p in (g.no_outcome, g.sensitivity, g.specificity)]
    return [escape(g.name), str(g.participants), str(g.eyes), *shares]


def _cell(p: Proportion) -> str:
    if p.n < FEW:
        return f'<span class="few">too few ({_of(p)})</span>' if p.n else '<span class="few">none</span>'
    return f"{_percent(p.value)} ({_interval(*p.interval)}) {_of(p)}"


# Conduct


def _conduct(report: Report) -> str:
    rows = [
        (s.what, str(s.n), *("–" if v is None else f"{v:.1f}" for v in (s.median, s.q1, s.q3)))
        for s in report.spreads
    ]
    standard = "; ".join(f"{escape(c.value)} ({_n(c.visits, 'eye')})" for c in report.reference_sources)
    return (
        _table("Work and time", ("", "n", "median", "lower quartile", "upper quartile"), rows, 4)
        + f"<p>Visits in masked mode, in which readers grade before they see the answer: "
        f"{_plain(report.masked_visits)}. Readings given masked: {_plain(report.masked_readings)}.</p>"
        f"<p>Reference standard: {standard or 'none'}.</p>"
    )


def _plain(p: Proportion) -> str:
    return f"{_of(p)} ({_percent(p.value)} %)" if p.n else "none to count"


def _versions(report: Report) -> str:
    rows = [(c.what, escape(c.value), str(c.visits)) for c in report.versions]
    mixed = [
        words
        for what, words in (("software", "software versions"), ("index test", "index tests"))
        if sum(c.what == what for c in report.versions) > 1
    ]
    verdict = f"Mixed: {', '.join(mixed)}." if mixed else "Software and index test were the same in all visits."
    return f"<p>{verdict}</p>" + _table("Visits that count, by version", ("what", "version", "visits"), rows, 1)


def _laterality(report: Report) -> str:
    if not report.laterality:
        return _none(f"In none of {report.flow.eyes} eyes did a photograph show the anatomy of the other eye.")
    return (
        "<p>Where the disc lies in the photograph speaks for the other eye. These eyes stand in all figures as "
        "the operator recorded them; compare them with the photographs.</p>"
        + _list(
            "Eyes that may be the other one",
            ("participant", "visit", "recorded as"),
            [(escape(m.participant), str(m.number), m.laterality) for m in report.laterality],
            "missing.csv",
        )
    )


def _left_out(report: Report) -> str:
    if not report.left_out:
        return _none(f"All {report.flow.visits} visits count.")
    rows = [
        (
            escape(v.participant),
            str(v.number),
            escape(v.device),
            escape(v.started[:16].replace("T", " ")),
            v.reason,
        )
        for v in report.left_out
    ]
    return _list("Visits that do not count", ("participant", "visit", "device", "begun, UTC", "reason"), rows,
                 "left_out.csv")  # fmt: skip


def _missing(report: Report) -> str:
    if not report.missing:
        return _none("Nothing that this report needs is missing.")
    rows = [
        (escape(m.participant), str(m.number or "–"), m.laterality or "–", escape(m.what)) for m in report.missing
    ]
    kinds = Counter(m.what for m in report.missing)
    return _table(
        "By kind", ("what", "n"), [(escape(what), str(n)) for what, n in kinds.most_common()], 1
    ) + _list("One by one", ("participant", "visit", "eye", "what"), rows, "missing.csv")


def _list(caption: str, columns: Cells, rows: Sequence[Cells], file: str) -> str:
    more = f"<p>{len(rows) - LISTED} more stand in {file}.</p>" if len(rows) > LISTED else ""
    return _table(f"{caption}: n = {len(rows)}", columns, rows[:LISTED]) + more


METHODS = f"""<dl class="words">
<dt>Who counts</dt><dd>A visit without the study's consent is left out; one that was not finished is left out, and
so is one in which nothing was attempted (neither a photograph that counts nor a reason for none); of a
participant's remaining visits the first finished one counts. One with the same code from another device or site
may be of another person and is counted apart. A participant has two eyes.</dd>
<dt>Index test</dt><dd>The instrument's answer for an eye from all of its photographs in the visit, as the
operator saw it: refer, no referral, or no outcome (ungradable, or not imaged with a reason). An eye without a
photograph and without a reason had no index test. Networks and operating point define the index test.</dd>
<dt>Participants</dt><dd>Either eye decides. Refer where one eye is; otherwise no outcome where one eye has none;
otherwise no referral where both are; otherwise incomplete. The reference is refer where one eye is, no referral
where both are, otherwise incomplete.</dd>
<dt>No outcome</dt><dd>Treated in two ways, side by side: excluded, and counted as referred, as a programme would
do (intention to diagnose; Schuetz et al., BMJ 345:e6717, 2012). It is never taken for no referral.</dd>
<dt>Proportions</dt><dd>Wilson's score interval (JASA 22:209, 1927; method 3 of Newcombe, Stat Med 17:857, 1998).
Adjusted: the same with both numbers divided by the design effect of eyes within persons (Rao and Scott,
Biometrics 48:577, 1992), at least 1; where all or none succeed, the mean number of eyes a person stands for
it.</dd>
<dt>ROC</dt><dd>Empirical curve of the median glaucoma probability of an eye; the area is that of Mann and
Whitney. The interval is the percentile interval of {RESAMPLES} resamples of participants with all their eyes,
seed {SEED}.</dd>
<dt>Agreement on the outcome</dt><dd>Cohen's kappa, unweighted (Educ Psychol Meas 20:37, 1960), with the same
kind of interval. A reader's first reading of an eye counts, and readings given after the answer was shown stand
apart. With perfect agreement resampling gives no interval.</dd>
<dt>Agreement on the ratio</dt><dd>Bland and Altman, Lancet 327:307, 1986: mean difference ± 1.96 SD, t
intervals. The standard errors count participants, not eyes, which is wider than needed where eyes differ.</dd>
<dt>Repeatability</dt><dd>Within-subject SD of a one-way analysis of variance and 1.96 √2 times it (Bland and
Altman, Stat Methods Med Res 8:135, 1999), chi-square intervals.</dd>
<dt>Not done</dt><dd>No test of significance, no threshold chosen from these data, no imputation, no correction
for missing references.</dd>
</dl>"""

UNKNOWN = """<p>STARD 2015 (Bossuyt et al., BMJ 351:h5527) asks for more than an instrument can know. State
beside this report: the design and whether cut-offs and analyses were fixed beforehand (items 5, 12,
17), eligibility, recruitment and whether the series was consecutive (6, 7, 9), why this reference
standard, and what its assessors knew (11, 13), the intended sample size (18), age, sex and severity
(20, 21), the time and any treatment between index test and reference standard (22), adverse events
(25), registration, protocol and funding (28 to 30).</p>"""
