"""``tenohira hil report RUN``: one run as a page, ``report.html`` in its folder; self-contained, to be printed
too.

Everything comes from results.json and journal.txt, so the page can be written again at any time. What was not
measured is said to be missing, not left away.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from hil_tests import page, plots, results, statistics
from hil_tests.change import THE_MACHINE, TIMES
from hil_tests.page import interval, number
from hil_tests.plots import Limit
from hil_tests.results import Results

PAGE, JOURNAL = "report.html", "journal.txt"
STATES = ("cold", "warm", "sustained")
INSTRUCTIONS = re.compile(r"(?P<what>.*)\.instructions\.(?P<core>[^.]+)\.(?P<stage>.+)")
STAGE = re.compile(r"(?P<what>.*)\.stage\.(?P<stage>.+?)(?:\.warm)?")
FEW = 20  # samples: fewer are shown one by one
START = ("start", "power.ready", "watchdog")  # measurements of how long it takes to be there (again)
POWER_CUT, GOOD = "power cut", "nothing lost"
ORDER = ("failed", "missing", "passed", "not measurable")
LINES, LISTED = 150, 40  # of the journal; of a list of events
LONG, SENTENCE = 20_000, 400  # characters of a failure's text and of the journal; of what a power cut did


def write(folder: Path) -> Path:
    """Returns the page of a run's folder. Raises HilError where it is none."""
    journal = folder / JOURNAL
    said = journal.read_text(encoding="utf-8", errors="replace") if journal.is_file() else ""
    path = folder / PAGE
    path.write_text(render(results.read(folder), said), encoding="utf-8")
    return path


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")


def report_command(args: argparse.Namespace) -> int:
    """Write the page, and say where. Raises HilError."""
    print(write(args.run))
    return 0


def render(run: Results, journal: str) -> str:
    """The page."""
    return page.frame(
        f"{run['rig']}, {results.day(run)}: {run['outcome']}",
        _head(run),
        (
            ("limits", "Limits", _verdicts(run)),
            ("latency", "How long an answer takes", _latency(run)),
            ("instructions", "Instructions", _instructions(run)),
            ("start", "Start-up", _start(run)),
            ("memory", "Memory, files and threads", _series(run)),
            ("power", "Power cuts", _power(run)),
            ("events", "Other events", _events(run)),
            ("throttling", "Throttling", _throttling(run)),
            ("figures", "Single figures", _figures(run)),
            ("tests", "Tests", _tests(run)),
            ("journal", "Journal", _journal(journal)),
            ("methods", "How the figures were made", METHODS),
        ),
    )


# Head


def _head(run: Results) -> str:
    took = datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"])
    bands = []
    if run["fault"]:
        bands.append(
            f"Deliberate fault in the instrument: {run['fault']}. This run is to fail; it judges the tests."
        )
    if run["void"]:
        bands.append(f"Void: {run['void']}. No figure of this run is to be used.")
    if not run.get("whole", True):
        bands.append("Some of the tests only: limits that were not measured are left away.")
    if run["dirty"]:
        bands.append("The checkout had changes that no commit has: this run cannot be repeated.")
    outcome = run["outcome"]
    sizes = ", ".join(f"{name} {n}" for name, n in run["sizes"].items())
    return (
        f"<h1>Hardware in the loop: rig {escape(run['rig'])}</h1>"
        f"<p>{results.day(run)} UTC, took {str(took).split('.')[0]}</p>"
        f'<div class="verdict {escape(outcome)}"><strong>{page.SIGNS.get(outcome, "")} '
        f"{escape(outcome.upper())}</strong><p>{escape(_in_short(run))}</p></div>"
        + "".join(f'<p class="band">⚠ {escape(words)}</p>' for words in bands)
        + page.facts(
            (
                ("Machine", escape(results.machine(run))),
                ("Memory", f"{number(run['machine'].get('memory_mb'))} MB" if run["machine"] else ""),
                ("System", escape(", ".join(filter(None, (run["machine"].get(k) for k in ("os", "kernel")))))),
                ("Commit", f"<code>{escape(results.commit(run))}</code>"),
                ("Versions", escape(", ".join(f"{name} {v}" for name, v in run["versions"].items()))),
                ("Sizes, seed", escape(f"{sizes}; seed {run['seed']}")),
                ("Bundles (SHA-256)", "<br>".join(
                    f"{escape(name)} <code title='{escape(sha)}'>{escape(sha[:12])}</code>"
                    for name, sha in run["bundles"].items()
                )),
            )
        )
    )  # fmt: skip


def _in_short(run: Results) -> str:
    def told(what: str, each: Sequence[str]) -> str:
        counts = Counter(each)
        words = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common())
        return f"{what}: {words}." if words else f"{what}: none."

    limits = told("Limits", [v["verdict"] for v in run["verdicts"]])
    return f"{limits} {told('Tests', [t['outcome'] for t in run['tests']])}"


# Limits


def _verdicts(run: Results) -> str:
    if not run["verdicts"]:
        return _none("This rig's budget has no limits, or none for the tests that ran.")
    rank = {word: i for i, word in enumerate(ORDER)}
    rows = [
        (
            f"<code>{escape(v['budget'])}</code>",
            escape(v["unit"]),
            f"{escape(v['limit'])}<br><small>{escape(STATUS.get(v['status'], v['status']))}</small>",
            f"<b>{number(v['value'])}</b>" if v["value"] is not None else "–",
            "" if v["value"] is None or v["low"] == v["high"] == v["value"] else interval(v["low"], v["high"]),
            _of_limit(v),
            page.outcome(v["verdict"]) + (f"<br><small>{escape(v['reason'])}</small>" if v["reason"] else ""),
        )
        for v in sorted(run["verdicts"], key=lambda v: rank.get(v["verdict"], 0))
    ]
    void = _none("The run is void: none of these verdicts counts.") if run["void"] else ""
    head = ("figure", "unit", "limit", "value", "95 %", "of the limit", "verdict")
    return void + page.table("", head, rows, (3, 4, 5))


STATUS = {"target": "a target that no board has confirmed", "confirmed": "confirmed", "baseline": "the baseline"}


def _of_limit(verdict: dict[str, Any]) -> str:
    limit = _limit(verdict)
    if verdict["value"] is None or limit is None or not limit.value:
        return ""
    return f"{100 * verdict['value'] / limit.value:.0f} %"


def _limit(verdict: dict[str, Any]) -> Limit | None:
    """The number in a limit's words."""
    found = re.match(r"(at most|at least) (\S+)", verdict["limit"])
    if found is None:
        return None
    statistic = verdict["budget"].rpartition(".")[2]
    name = "" if statistic == "value" else f"{statistic} "
    status = " (target)" if verdict["status"] == "target" else ""
    return Limit(float(found[2]), f"{name}{verdict['limit']} {verdict['unit']}{status}")


def _limits(run: Results, measurement: str, *statistic: str) -> list[Limit]:
    """Of a measurement, where it is judged at all."""
    found = []
    for v in run["verdicts"]:
        name, _, of = v["budget"].rpartition(".")
        if name == measurement and of in statistic and v["verdict"] in ("passed", "failed") and (one := _limit(v)):
            found.append(one)
    return found


# Times


def _sampled(run: Results) -> dict[str, dict[str, Any]]:
    """Repetitions of something that takes time."""
    excused = results.excused(run)
    return {
        name: m for name, m in run["measurements"].items()
        if "samples" in m and "x" not in m and m["samples"] and m["unit"] in TIMES and name not in excused
    }  # fmt: skip


def _latency(run: Results) -> str:
    times = {name: m for name, m in _sampled(run).items() if not name.startswith(START)}
    whole: dict[tuple[str, str], dict[str, Sequence[float]]] = defaultdict(dict)
    stages: dict[tuple[str, str], dict[str, Sequence[float]]] = defaultdict(dict)
    for name, m in sorted(times.items(), key=lambda each: each[0] == THE_MACHINE):  # it is but a yardstick
        if stage := STAGE.fullmatch(name):
            stages[stage["what"], m["unit"]][stage["stage"]] = m["samples"]
        else:
            what, _, state = name.rpartition(".")
            key = (what, state) if state in STATES else (name, "")
            whole[key[0], m["unit"]][key[1]] = m["samples"]
    drawn = ""
    for (what, unit), samples in whole.items():
        names = {state: f"{what}.{state}" if state else what for state in samples}
        limits = [
            limit._replace(words=f"{state} {limit.words}".strip())
            for state, name in names.items() for limit in _limits(run, name, "p50", "p95", "p99", "max")
        ]  # fmt: skip
        ordered = {state: samples[state] for state in ("", *STATES) if state in samples}
        drawn += page.figure(plots.distribution(what, unit, ordered, limits), f"<code>{escape(what)}</code>")
    for (what, unit), rows in stages.items():
        caption = f"<code>{escape(what)}.stage</code>: the grey bar ends at the quickest and at p99"
        drawn += page.figure(plots.percentiles(what, unit, rows), caption)
    return _plots(drawn) + _table_of_times(times) + _why_not(run, lambda name: not name.startswith(START))


def _table_of_times(times: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, m in times.items():
        cells = []
        for p in ("p50", "p95", "p99"):
            e = statistics.estimate(m, p)
            cells += [f"<b>{number(e.value)}</b>", interval(e.low, e.high)]
        rows.append((f"<code>{escape(name)}</code>", escape(m["unit"]), number(len(m["samples"])), *cells,
                     number(max(m["samples"]))))  # fmt: skip
    head = ("measurement", "unit", "n", "p50", "95 %", "p95", "95 %", "p99", "95 %", "max")
    return page.table("", head, rows, range(2, 10))


def _why_not(run: Results, belongs: Any) -> str:
    """What of the times has no place here, and why."""
    found = {
        v["budget"].rpartition(".")[0]: v["reason"] for v in run["verdicts"]
        if v["verdict"] == "not measurable" and v["unit"] in TIMES and belongs(v["budget"])
    }  # fmt: skip
    items = "".join(f"<li><code>{escape(name)}</code>: {escape(why)}</li>" for name, why in found.items())
    return f"<h3>Not measurable on this rung</h3><ul>{items}</ul>" if items else ""


def _start(run: Results) -> str:
    times = {name: m for name, m in _sampled(run).items() if name.startswith(START)}
    by_unit: dict[str, dict[str, Sequence[float]]] = defaultdict(dict)
    for name, m in times.items():
        by_unit[m["unit"]][name] = m["samples"]
    drawn = ""
    for unit, samples in by_unit.items():
        limits = [
            limit._replace(words=f"{name} {limit.words}" if len(samples) > 1 else limit.words)
            for name in samples for limit in _limits(run, name, "p50", "p95", "p99", "max")
        ]  # fmt: skip
        drawn += page.figure(
            plots.dots("Start-up", unit, samples, limits), "Each start is a point, the bar the median."
        )
    return _plots(drawn) + _table_of_times(times) + _why_not(run, lambda name: name.startswith(START))


def _instructions(run: Results) -> str:
    """A table of stages by core for each thing that was counted."""
    counted: dict[tuple[str, str], dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for name, m in run["measurements"].items():
        if (found := INSTRUCTIONS.fullmatch(name)) and "value" in m:
            counted[found["what"], m["unit"]][found["stage"]][found["core"]] = m["value"]
    tables = ""
    for (what, unit), stages in counted.items():
        cores = list(dict.fromkeys(core for by in stages.values() for core in by))
        rows = [(escape(stage), *(number(by.get(core)) for core in cores)) for stage, by in stages.items()]
        tables += page.table(f"{what}, {unit}", ("stage", *map(escape, cores)), rows, range(1, len(cores) + 1))
    return tables


# Series


def _series(run: Results) -> str:
    drawn, rows = "", []
    for name, m in run["measurements"].items():
        if "x" not in m or len(m["samples"]) < 2 or m["unit"] == "°C":
            continue
        line = statistics.line(m)
        steepest = [
            limit._replace(value=limit.value / statistics.finer(m)[1]) for limit in _limits(run, name, "slope")
        ]
        svg = plots.series(name, m, line, _limits(run, name, "peak", "steady", "max"), next(iter(steepest), None))
        drawn += page.figure(svg, f"<code>{escape(name)}</code>")
        steady, slope = (statistics.estimate(m, of) for of in ("steady", "slope"))
        rows.append(
            (f"<code>{escape(name)}</code>", escape(m["unit"]), number(steady.value), number(max(m["samples"])),
             f"<b>{number(slope.value)}</b>", interval(slope.low, slope.high), statistics.unit(m, "slope"))
        )  # fmt: skip
    head = ("series", "unit", "steady", "peak", "slope", "95 %", "unit of the slope")
    return _plots(drawn) + page.table("", head, rows, (2, 3, 4, 5))


# Events


def _power(run: Results) -> str:
    cuts = [e for e in run["events"] if e["kind"] == POWER_CUT]
    if not cuts:
        return ""
    drawn = plots.power_cuts(cuts, GOOD, _limits(run, "power.ready", "p50", "p95", "p99", "max"))
    phases = list(dict.fromkeys(e["phase"] for e in cuts))
    bad = [e for e in cuts if e["outcome"] != GOOD]
    counts = Counter((e["phase"], e["outcome"] == GOOD) for e in cuts)
    rows = [(escape(phase), str(counts[phase, True]), str(counts[phase, False])) for phase in phases]
    rows.append(("all", str(len(cuts) - len(bad)), str(len(bad))))
    lost = [
        (f"{e['at']:.1f}", escape(e["phase"]), escape(_shortened(str(e["outcome"]), SENTENCE)))
        for e in bad[:LISTED]
    ]
    more = f"<p>{len(bad) - LISTED} more stand in results.json.</p>" if len(bad) > LISTED else ""
    return (
        f'<figure class="full">{drawn}<figcaption>Each mark is a power cut, at its time and in the phase that was '
        "under way; a cross means that something confirmed was lost, doubled or damaged.</figcaption></figure>"
        + page.table("", ("phase", GOOD, "otherwise"), rows, (1, 2))
        + page.table("Cuts that lost something", ("at, s", "phase", "what"), lost)
        + more
    )


def _events(run: Results) -> str:
    others = [e for e in run["events"] if e["kind"] != POWER_CUT]
    rows = [
        (f"{e['at']:.1f}", escape(e["kind"]), escape("; ".join(
            f"{key.replace('_', ' ')}: {value}" for key, value in e.items() if key not in ("kind", "at")
        )))
        for e in others[:LISTED]
    ]  # fmt: skip
    more = f"<p>{len(others) - LISTED} more stand in results.json.</p>" if len(others) > LISTED else ""
    return page.table("", ("at, s", "what", "more"), rows) + more


def _throttling(run: Results) -> str:
    told = run["throttling"]
    words = {when: told.get(when) or "" for when in ("before", "during", "after")}
    during = words["during"]
    if isinstance(during, list):
        words["during"] = ", ".join(f"{n} × {word}" for word, n in Counter(during).items() if word)
    drawn = "".join(
        page.figure(plots.series(name, m, None, [], None), f"<code>{escape(name)}</code>")
        for name, m in run["measurements"].items()
        if "x" in m and m["unit"] == "°C"
    )
    if not any(words.values()):
        flags = _none("This machine has no firmware that tells of throttling.")
    else:
        flags = page.facts((when.capitalize(), escape(str(word or "not read"))) for when, word in words.items())
        flags += '<p class="small">The word of the firmware; 0x0: it slowed nothing down.</p>'
    return flags + _plots(drawn)


# Rest


def _figures(run: Results) -> str:
    rows = [
        (f"<code>{escape(name)}</code>", number(m["value"]), interval(m["low"], m["high"]) if "low" in m else "",
         escape(m["unit"]))
        for name, m in run["measurements"].items() if "value" in m and not INSTRUCTIONS.fullmatch(name)
    ]  # fmt: skip
    return page.table("", ("figure", "value", "95 %", "unit"), rows, (1, 2))


def _tests(run: Results) -> str:
    order = ("failed", "skipped", "not measurable", "passed")
    tests = sorted(run["tests"], key=lambda t: order.index(t["outcome"]) if t["outcome"] in order else 0)
    details = "".join(
        f"<details open><summary>{page.outcome('failed')} <code>{escape(_name(t))}</code></summary>"
        f"<pre>{escape(_shortened(t['detail']))}</pre></details>"
        for t in tests if t["outcome"] == "failed"
    )  # fmt: skip
    rows = [
        (
            f"<code>{escape(_name(t))}</code>",
            f"{t['seconds']:.1f}",
            page.outcome(t["outcome"]),
            escape(t["reason"]),
        )
        for t in tests
    ]
    return (page.table("", ("test", "s", "outcome", "reason"), rows, (1,)) + details) or _none("No test ran.")


def _shortened(text: str, most: int = LONG) -> str:
    """Begin and end of a long text: the assertion stands first, the journal last."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out here]\n{text[-half:]}"


def _name(test: dict[str, Any]) -> str:
    return str(test["id"]).rpartition("suite/")[2]


def _journal(text: str) -> str:
    lines = text.rstrip().splitlines()
    if not lines:
        return _none("There is no journal.")
    told = f"the last {LINES} of {len(lines)} lines" if len(lines) > LINES else f"{len(lines)} lines"
    return f"<details><summary>{told}</summary><pre>{escape(chr(10).join(lines[-LINES:])[-LONG:])}</pre></details>"


def _plots(drawn: str) -> str:
    return f'<div class="plots">{drawn}</div>' if drawn else ""


def _none(words: str) -> str:
    return f'<p class="none">{escape(words)}</p>'


METHODS = f"""<p>p50, p95 and p99 are percentiles of all samples in their order; their 95 % intervals are order
statistics for as many independent samples as the run is worth. Where too few samples lie beyond a
percentile its interval has no upper end. A series' slope is that of a line through the means of up to
{statistics.BLOCKS} blocks of its second half, for caches fill in the first; the interval is Student's
t, wider where blocks resemble each other. A slope passes when its whole interval lies within the limit;
other figures pass by their value. <code>results.json</code> beside this page has every sample;
<code>hil_tests/statistics.py</code> has the methods and their sources.</p>"""
