"""``tenohira hil report``: what the page of a run says."""

import argparse
import re
from html.parser import HTMLParser

import pytest

from device.cli import NOTICE
from hil_tests import page, report
from hil_tests.errors import HilError
from tests.hil_tests import runs

VOID = {"meta", "br", "img", "hr", "input", "link"}


class _Outline(HTMLParser):
    """Fails on tags that do not close; gathers ids, headings and what the page would load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.loads, self.headings = [], [], [], []
        self.feed(text)
        assert not [tag for tag in self.open if tag not in ("html",)], self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.loads.append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def _page(run, journal="started\n"):
    text = report.render(run, journal)
    return text, _Outline(text)


MADE = pytest.mark.parametrize(
    "run", [runs.results(1), runs.failed(), runs.void()], ids=["passed", "failed", "void"]
)


@MADE
def test_a_page_stands_alone_and_is_sound(run):
    text, outline = _page(run)
    assert not outline.loads and "@import" not in text and "url(" not in text.partition("<svg")[0]
    assert len(outline.ids) == len(set(outline.ids))
    assert NOTICE in text
    assert len(text) < 600_000
    assert f"{page.SIGNS[run['outcome']]} {run['outcome'].upper()}" in text
    assert outline.headings[0] == "Limits" and "Power cuts" in outline.headings


def test_the_notice_is_that_of_the_command_line():
    assert page.NOTICE == NOTICE


def test_a_failed_run_says_what_failed_first_and_why():
    text, _ = _page(runs.failed())
    rows = re.findall(
        r'<span class="outcome [a-z-]+">(.*?)</span>', text[: text.index("How long an answer takes</h2>")]
    )
    assert rows == ["✗ failed", "? missing", *["✓ passed"] * 5, "– not measurable"]
    assert "Limits: 5 passed, 1 failed, 1 missing, 1 not measurable." in text
    assert "wall-clock time under emulation is not a board&#x27;s" in text
    assert "a target that no board has confirmed" in text and "the baseline" in text
    assert "not back within 30 s &lt;b&gt;" in text  # the failure's text, escaped
    assert "the virtual Pi has it" in text  # why a test was not measurable
    assert "206 %" in text  # of the limit


def test_a_fault_a_void_and_a_dirty_checkout_are_said_before_all_figures():
    failed, void = (report.render(run, "").partition("<main>")[0] for run in (runs.failed(), runs.void()))
    assert "Deliberate fault in the instrument: leak-1kB" in failed and "no commit has" in failed
    assert "Void: the firmware throttled the board (0x50005)" in void
    assert "none of these verdicts counts" in report.render(runs.void(), "")
    assert "Some of the tests only" in report.render(runs.results(1, whole=False), "").partition("<main>")[0]
    assert "band" not in report.render(runs.results(1), "").partition("<header>")[2].partition("</header>")[0]


def test_a_long_failure_keeps_its_assertion_and_its_journal():
    run = runs.failed()
    run["tests"][2]["detail"] = "E  AssertionError: first" + "x" * 300_000 + "journal: last"
    run["events"][0]["outcome"] = "lost 7f3a " + "y" * 50_000
    text, _ = _page(run)
    assert "AssertionError: first" in text and "journal: last" in text and "280037 characters are left out" in text
    assert len(text) < 600_000


def test_power_cuts_are_drawn_and_those_that_lost_something_are_listed():
    text, _ = _page(runs.failed())
    assert "312 cuts in 6 phases, 3 with losses" in text
    assert text.count("the capture 7f3a that was confirmed is not in the record; &lt;audit&gt; broken at 41") == 3
    calm, _ = _page(runs.results(1))
    assert "312 cuts in 6 phases, 0 with losses" in calm and "Cuts that lost something" not in calm


def test_times_have_percentiles_intervals_limits_and_states():
    text, _ = _page(runs.results(1))
    assert "warm p95 at most 1000 ms (target)" in text
    assert all(f"{state}, n = {n}" in text for state, n in (("cold", 10), ("warm", 200), ("sustained", 2000)))
    row = re.search(r"<code>capture-to-verdict\.warm</code></th>(.*?)</tr>", text)[1]
    assert re.search(r"at least \d", row)  # of p99, 200 samples do not tell the upper end
    assert "quality, p50" not in text and "percentiles of each stage" in text


def test_times_that_say_nothing_here_are_not_drawn_but_named():
    run = runs.results(1)
    why = "wall-clock time under emulation is not a board's"
    run["verdicts"] = [
        runs.verdict("screen.warm.p95", "ms", "at most 9", verdict="not measurable", reason=why),
        runs.verdict("start.ready.p95", "s", "at most 9", verdict="not measurable", reason=why),
    ]
    text, _ = _page(run)
    assert "<code>screen.warm</code></th>" not in text and "<code>screen.warm</code>: wall-clock" in text
    assert "<code>start.ready</code></th>" not in text and "<code>start.ready</code>: wall-clock" in text


def test_memory_shows_slope_and_limit():
    text, _ = _page(runs.results(1, leak=1.0))
    assert "slope at most 0.5 kB a capture" in text and "warm-up, not in the slope" in text


def test_throttling_and_temperature_are_shown():
    text, _ = _page(runs.void())
    assert "12 × 0x0, 28 × 0x50005" in text and "board.temperature" in text
    host = runs.results(1, throttling={"before": "", "after": ""})
    assert "no firmware that tells of throttling" in _page(host)[0]


def test_instructions_are_a_table_of_stages_by_core():
    text, _ = _page(runs.results(1))
    assert '<th scope="col" class="number">a53</th><th scope="col" class="number">a72</th>' in text


def test_a_run_that_ended_before_anything_was_measured_has_a_page():
    run = runs.results(1, outcome="failed", machine={}, versions={}, bundles={}, throttling={}, measurements={},
                       events=[], verdicts=[], tests=[])  # fmt: skip
    text, outline = _page(run, "")
    assert "No test ran." in text and "There is no journal." in text and "no limits" in text
    assert "Power cuts" not in outline.headings


def test_the_journal_is_its_tail():
    text, _ = _page(runs.results(1), "\n".join(f"line {i} <x>" for i in range(1000)))
    assert "the last 150 of 1000 lines" in text
    assert "line 850 &lt;x&gt;" in text and "line 849 &lt;x&gt;" not in text


def test_the_command_writes_into_the_runs_folder(tmp_path, capsys):
    folder = runs.folder(tmp_path, runs.results(1), "said\n")
    assert report.report_command(argparse.Namespace(run=folder)) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "said" in (folder / "report.html").read_text()
    with pytest.raises(HilError):
        report.write(tmp_path)
