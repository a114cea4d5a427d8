"""``tenohira hil baseline``: the figures that later runs are held to."""

import json

import pytest

from hil_tests import baseline, budget
from hil_tests.budget import Budget
from hil_tests.errors import HilError
from tests.hil_tests import runs

NAME = "screen.instructions.a72.segmentation.value"
BUDGET = Budget(
    limits={
        NAME: {"baseline": "aarch64", "within": 0.02, "unit": "Minstr"},
        "service.rss.steady": {"baseline": "aarch64", "within": 0.05, "unit": "MB"},
        "screen.warm.p50": {"baseline": "aarch64", "within": 0.05, "unit": "ms"},
        "power.cuts.value": {"at_least": 300, "unit": "cuts"},
    },
    not_measurable={"screen.warm": "emulated"},
)


def test_a_baseline_has_what_the_budget_holds_to_it_and_says_how_it_was_made(tmp_path):
    run = runs.results(1)
    (path,) = baseline.write(run, BUDGET, tmp_path)
    content = json.loads(path.read_text())
    assert path.name == "aarch64.json" and path.stat().st_size < 3000
    assert set(content["measurements"]) == {NAME, "service.rss.steady"}
    assert content["measurements"][NAME] == 831.9
    assert content["command"] == "tenohira hil --rig host --seed 1"
    assert content["machine"] == run["machine"] and content["commit"] == run["commit"]


@pytest.mark.parametrize(
    ("slower", "verdict"), [(1.0, "passed"), (1.015, "passed"), (1.03, "failed"), (0.97, "failed")]
)
def test_budgets_judge_by_it(tmp_path, monkeypatch, slower, verdict):
    monkeypatch.setattr(budget, "BASELINES", tmp_path)
    baseline.write(runs.results(1), BUDGET, tmp_path)
    found = {v.budget: v for v in BUDGET.judge(runs.results(2, slower=slower)["measurements"], {})}
    assert (found[NAME].verdict, found[NAME].status) == (verdict, "baseline")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"void": "throttled"}, "is void"),
        ({"fault": "leak"}, "deliberate fault"),
        ({"dirty": True}, "no commit has"),
    ],
)
def test_no_run_that_is_void_faulty_or_cannot_be_repeated_becomes_one(tmp_path, changes, why):
    with pytest.raises(HilError, match=why):
        baseline.write(runs.results(1, **changes), BUDGET, tmp_path)


def test_nor_one_with_failed_tests_or_without_the_figures(tmp_path):
    with pytest.raises(HilError, match="test_watchdog"):
        baseline.write({**runs.failed(), "fault": None}, BUDGET, tmp_path)
    run = runs.results(1)
    del run["measurements"]["service.rss"]
    with pytest.raises(HilError, match=r"has not measured service\.rss"):
        baseline.write(run, BUDGET, tmp_path)
    with pytest.raises(HilError, match="nothing to a baseline"):
        baseline.write(run, Budget(), tmp_path)
