"""Budgets: what passes, what fails, what cannot be measured, and that nothing is passed over in silence."""

from __future__ import annotations

import pytest

from hil_tests import budget as budgets
from hil_tests.budget import Budget
from hil_tests.errors import HilError

LATENCY = {"unit": "ms", "samples": [100.0] * 190 + [900.0] * 10}
RISING = {"unit": "MB", "x": list(range(200)), "x_unit": "captures", "samples": [1 + 0.01 * i for i in range(200)]}


def judged(measurements, excused=None, **limits):
    (verdict,) = Budget(limits=limits).judge(measurements, excused or {})
    return verdict


def test_a_limit_holds_or_is_broken():
    assert judged({"t": LATENCY}, **{"t.p50": {"at_most": 101, "unit": "ms"}}).verdict == "passed"
    broken = judged({"t": LATENCY}, **{"t.p99": {"at_most": 101, "unit": "ms"}})
    assert (broken.verdict, broken.value) == ("failed", 900)
    assert judged({"n": {"unit": "", "value": 299}}, **{"n.value": {"at_least": 300}}).verdict == "failed"


def test_a_slope_passes_only_with_its_whole_interval():
    """Of a series in MB it is in kB: 0.01 MB a capture are 10.24."""
    assert judged({"m": RISING}, **{"m.slope": {"at_most": 10.3, "unit": "kB a capture"}}).verdict == "passed"
    assert judged({"m": RISING}, **{"m.slope": {"at_most": 10.2, "unit": "kB a capture"}}).verdict == "failed"


def test_a_slope_of_which_too_few_samples_tell_nothing_does_not_pass():
    short = {**RISING, "x": [1, 2, 3], "samples": [1.0, 1.0, 1.0]}
    assert judged({"m": short}, **{"m.slope": {"at_most": 100, "unit": "kB a capture"}}).verdict == "failed"


def test_a_limit_in_another_unit_than_the_measurement_does_not_pass():
    wrong = judged({"m": RISING}, **{"m.slope": {"at_most": 100, "unit": "MB"}})
    assert (wrong.verdict, wrong.reason) == ("failed", "the limit is in MB, what was measured in kB a capture")


def test_what_was_never_measured_is_missing_and_not_passed():
    verdict = judged({}, **{"t.p95": {"at_most": 1, "unit": "ms"}})
    assert verdict.verdict == "missing" and "did not run" in verdict.reason


def test_what_says_nothing_here_has_its_reason():
    rung = Budget(limits={"t.warm.p95": {"at_most": 1}}, not_measurable={"t.*": "emulated"})
    (verdict,) = rung.judge({"t.warm": LATENCY}, {})
    assert (verdict.verdict, verdict.reason) == ("not measurable", "emulated")
    assert judged({}, {"power.*": "needs root"}, **{"power.cuts.value": {"at_least": 1}}).reason == "needs root"


def test_a_baseline_holds_within_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(budgets, "BASELINES", tmp_path)
    limit = {"n.value": {"baseline": "b", "within": 0.02, "unit": "Minstr"}}
    assert judged({"n": {"unit": "Minstr", "value": 1}}, **limit).verdict == "missing"
    (tmp_path / "b.json").write_text('{"measurements": {"n.value": 100}}')
    assert judged({"n": {"unit": "Minstr", "value": 101.9}}, **limit).verdict == "passed"
    assert judged({"n": {"unit": "", "value": 102.1}}, **limit).verdict == "failed"
    assert judged({"n": {"unit": "", "value": 97.9}}, **limit).verdict == "failed"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits", "not TOML"),
        ("[limit]", "unknown tables"),
        ('[limits]\n"t.p95" = { at_mots = 1 }', "at_most, at_least"),
        ('[limits]\n"t.p94" = { at_most = 1 }', "must end in one of"),
    ],
)
def test_a_wrong_budget_is_told(tmp_path, text, said):
    (tmp_path / "x.budget.toml").write_text(text)
    with pytest.raises(HilError, match=said):
        Budget.read(tmp_path / "x.budget.toml")
    with pytest.raises(HilError, match="belongs beside"):
        Budget.read(tmp_path / "y.budget.toml")
