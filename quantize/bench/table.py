"""Benchmarks as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from quantize.bench.compare import BETWEEN_RUNS, Change, differences
from quantize.bench.estimate import Estimates, Range
from quantize.bench.report import Measured, Report
from quantize.bench.summary import roof_by_threads
from quantize.bench.targets import targets
from quantize.card import table

HEADER = ("candidate", "threads", "time / reference", "95 %", "times faster", "GMAC", "GMAC/s", "of roof",
          "p50 ms", "p95", "p99", "cold start", "peak MB", "steady MB")  # fmt: skip


def markdown(report: Report) -> str:
    """The whole report: what was measured where, the table, what was left out, the project's targets."""
    machine, settings = report.machine, report.settings
    lines = [
        f"Time as a ratio to `{settings.reference}` on as many threads: median of {settings.rounds} rounds with "
        "its bootstrap 95 % interval. Milliseconds are of this machine and this hour, for orientation only. "
        "Weights do not change times: peers and frameworks have random ones.",
        "",
        f"{machine.processor} ({machine.architecture}), {machine.cores} cores, governor "
        f"{machine.governor or 'not readable'}, load {machine.load:.2f} at the start, Python {machine.python}, "
        f"{machine.runtime}, tenohira {report.version}.",
    ]
    if machine.busy:
        lines.append(
            "**The machine was busy: that slows long runs more than short ones, so ratios too are wrong.**"
        )
    lines += ["", table(HEADER, map(_row, report.candidates))]
    lines.append("")
    for m in report.candidates:
        if m.network_runs is not None:
            runs = ", ".join(f"{task} {n}" for task, n in m.network_runs.items())
            lines.append(f"* {m.key}: {m.network_share:.0%} of the time in networks ({runs}; {report.photograph})")
    for threads, roof in sorted(roof_by_threads(report.candidates).items()):
        lines.append(f"* roof x{threads}: {roof.what}")
    lines += [f"* left out: {reason}" for reason in report.left_out]
    if rows := [(t.words, t.measured, "held" if t.held else "**missed**") for t in targets(report)]:
        lines += ["", table(("target", "measured", ""), rows)]
    return "\n".join(lines)


def estimated(estimates: Estimates) -> str:
    """Estimates of boards, called so wherever a figure stands, and measured figures where there are some."""
    lines = [
        "**Estimates, not measurements** (docs/estimate.md): from the fastest to the slowest that the evidence "
        "allows, in ms. A figure in bold was measured on that board and replaces its estimate.",
    ]
    for b in estimates.boards:
        speeds = "; ".join(
            f"{low:.2g} to {high:.2g} on {n} thread{'s' * (n > 1)}" for n, (low, high) in b.gmacs.items()
        )
        rows = [
            (
                row.what,
                str(row.threads),
                _range(row.published_ms),
                _range(row.counted_ms),
                f"{_range(row.estimate_ms)} (estimate)"
                if row.measured is None
                else f"**{row.measured.ms:.3g} [{row.measured.low:.3g}, {row.measured.high:.3g}]** measured: "
                f"{row.measured.source}",
            )
            for row in b.rows
        ]
        lines += [
            "",
            f"### {b.board} ({b.core}, {b.clock_ghz:g} GHz)",
            "",
            f"Published int8 throughput, GMAC/s: {speeds}.",
            "",
            table(("what", "threads", "by published throughput", "by counted instructions", "ms"), rows),
        ]
    lines += ["", f"* instructions: {estimates.counts}"] if estimates.counts else [""]
    lines += [f"* left out: {reason}" for reason in estimates.left_out]
    lines += [f"* {name}: {address}" for name, address in estimates.sources.items()]
    return "\n".join(lines)


def comparison(old: Report, new: Report, changes: Sequence[Change], alone: Sequence[str], tolerance: float) -> str:
    """The table of ``--compare``, with what makes the two runs hard to compare."""
    rows = []
    for c in changes:
        verdict = f"**{c.verdict}**" if c.exceeds(tolerance) else c.verdict
        peaks = " to ".join(_or_dash(mb, ".0f") for mb in c.peak_mb)
        rows.append((c.key, f"{c.ratio.value:.3f}", f"{c.ratio.low:.3f} to {c.ratio.high:.3f}", verdict, peaks))
    lines = [
        "Times in units of the roof of each run, intervals widened by "
        f"{BETWEEN_RUNS - 1:.0%} for what two runs of the same thing differ by; bold: a regression larger than "
        f"{tolerance:.0%}.",
        "",
        table(("candidate", "new / old", "95 %", "verdict", "peak MB"), rows),
        "",
        *(f"* {words}" for words in differences(old, new)),
    ]
    if old.machine.busy or new.machine.busy:
        lines += [
            "",
            "**One of the machines was busy when it was measured: these verdicts are not to be trusted.**",
        ]
    if alone:
        lines += ["", f"Not compared, for only one run has them or their roof: {', '.join(alone)}"]
    return "\n".join(lines)


def _row(m: Measured) -> tuple[str, ...]:
    s = m.summary
    assert s is not None  # the report is complete
    ratio = ("–", "–", "–")
    if s.ratio is not None:
        ratio = (f"{s.ratio:.4g}", f"{s.ratio_low:.4g} to {s.ratio_high:.4g}", f"{1 / s.ratio:.3g}")
    return (
        m.name,
        str(m.threads),
        *ratio,
        _or_dash(m.macs and m.macs / 1e9, ".3g"),
        _or_dash(s.gmacs, ".3g"),
        _or_dash(s.roof_share, ".0%"),
        f"{s.p50_ms:.3g}",
        f"{s.p95_ms:.3g}",
        f"{s.p99_ms:.3g}",
        _or_dash(s.cold_ms, ".3g"),
        _or_dash(m.peak_mb, ".0f"),
        _or_dash(m.steady_mb, ".0f"),
    )


def _range(r: Range | None) -> str:
    """Two digits: an estimate has no more."""
    return "–" if r is None else " to ".join(f"{float(f'{ms:.2g}'):g}" for ms in r)


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
