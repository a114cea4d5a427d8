"""The page of ``tenohira hil history``: for each rig its figures over the runs, and what each run was."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from hil_tests import change, history, page, plots, results
from hil_tests.change import REGRESSION
from hil_tests.compare import words
from hil_tests.history import Rig, Trend


def render(rigs: Sequence[Rig], damaged: Sequence[str]) -> str:
    """The page."""
    runs = sum(len(rig.runs) for rig in rigs)
    head = f"<h1>Hardware in the loop: history</h1><p>Runs: {runs}. Rigs, by machine: {len(rigs)}.</p>" + "".join(
        map(_verdict, rigs)
    )
    head += "".join(f'<p class="band">⚠ {escape(each)}</p>' for each in damaged)
    sections = [
        (f"rig{i}", f"{rig.name} on {rig.machine}", _plots(rig) + _runs(rig))
        for i, rig in enumerate(rigs, start=1)
    ]
    return page.frame("Hardware in the loop: history", head, [*sections, ("test", "The test", METHODS)])


def _verdict(rig: Rig) -> str:
    newest = rig.newest()
    compared = [p for t in rig.trends for p in t.points if p.run == newest and p.change is not None]
    names = rig.newest_regressed()
    if not compared:
        css, word, told = "void", "– NOTHING TO COMPARE", "no two runs can be held against each other yet"
    elif names:
        css, word, told = "failed", "▲ WORSE", f"the newest run regressed in {', '.join(names)}"
    else:
        css, word, told = "passed", "✓ NO REGRESSION", f"the newest run is no worse in {len(compared)} figures"
    return f'<div class="verdict {css}"><strong>{word}</strong><p>{escape(f"{rig.name}: {told}.")}</p></div>'


def _plots(rig: Rig) -> str:
    labels = [f"{run['started'][5:10]}\n{str(run['commit'])[:7]}" for run in rig.runs]
    out = [i for i, run in enumerate(rig.runs) if history.left_out(run)]
    worst_first = sorted(rig.trends, key=lambda trend: -_newest_regression(trend))
    drawn = "".join(
        page.figure(
            plots.trend(t.name, t.unit, labels, [(p.run, p.value, p.verdict) for p in t.points], out),
            f"<code>{escape(t.name)}</code>{_told(t, rig)}",
        )
        for t in worst_first
    )
    return f'<div class="plots">{drawn}</div>' if drawn else '<p class="none">No run has figures to compare.</p>'


def _newest_regression(trend: Trend) -> int:
    return max((p.run for p in trend.points if p.verdict == REGRESSION), default=-1)


def _told(trend: Trend, rig: Rig) -> str:
    """The newest regression, with its size."""
    bad = [p for p in trend.points if p.verdict == REGRESSION]
    if not bad:
        return ""
    last = bad[-1]
    p = "" if last.p is None else f", p {'< 0.001' if last.p < 0.001 else f'= {last.p:.3f}'}"
    run = rig.runs[last.run]
    against = f"{last.against} earlier run{'s' if last.against > 1 else ''}"
    return f"<br>▲ {results.day(run)}, {escape(results.commit(run))}: {words(last.change)} against {against}{p}"


def _runs(rig: Rig) -> str:
    rows = [
        (
            results.day(run),
            f"<code>{escape(results.commit(run))}</code>",
            page.outcome(run["outcome"]),
            (page.outcome("regression") + "<br>" if rig.worse(i) else "") + escape(history.told(rig, i)),
            f'<a href="{escape(run["folder"])}/report.html">report</a>',
        )
        for i, run in reversed(list(enumerate(rig.runs)))
    ]
    head = ("begun, UTC", "commit", "outcome", "against the runs before it", "")
    return page.table("Runs, newest first", head, rows)


METHODS = f"""<p>Points are medians, percentiles, steady and peak values or slopes of whole runs, bars their 95 %
intervals within the run. A run is held against the newest {history.RECENT} earlier ones of its rig and
machine that have the same sizes: with {change.EARLIER} or more by their prediction interval (Student's
t on logarithms: mean ± t s √(1 + 1/n); for slopes on the values), so that what runs differ by anyhow
counts. With fewer: {escape(change.TEST)}</p>
<p>p is corrected by Holm over all figures of a run. A change is marked where p is below {change.LEVEL:g} and it
is larger than {change.MINIMUM:.0%} (slopes: {change.SLOPE_MINIMUM:.0%} of the level over the run; instructions:
{change.INSTRUCTIONS:.0%}, without a test). A figure that regressed is no part of what later runs are held
against, so the mark stays until the regression is gone; after two runs in a row that improved, these two are
the new reference. Void runs, runs with a deliberate fault and runs of some of the tests are marked × and
compared with nothing. Times by the clock of a machine that others use are left out: their ratios to a fixed
piece of work stand for them.</p>"""
