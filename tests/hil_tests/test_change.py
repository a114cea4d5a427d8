"""How often the tests of hil_tests/change.py cry wolf, and how often they see a wolf; by simulation."""

import numpy as np
import pytest

from hil_tests import change
from hil_tests.change import IMPROVED, REGRESSION, SAME
from tests.hil_tests.runs import autocorrelated, memory

ROWS, TABLES = 20, 40  # p50 and p95 of ten measurements


def _run(rng, scatter: float, slower: float = 1.0, memory_of_samples: float = 0.5) -> list[dict]:
    """Ten measurements of 200 latencies; the whole run is a bit quicker or slower, the first one ``slower``."""
    run = np.exp(scatter * rng.standard_normal())
    measurements = []
    for i in range(ROWS // 2):
        samples = 100 * run * np.exp(0.1 * autocorrelated(rng, 200, memory_of_samples)) * (slower if i == 0 else 1)
        measurements.append({"unit": "ms", "samples": list(samples)})
    return measurements


def _table(old: list[dict], new: list[dict]) -> list[str]:
    changes = [change.two_runs(a, b, s) for a, b in zip(old, new, strict=True) for s in ("p50", "p95")]
    return [word for word, _ in change.verdicts(changes)]


@pytest.mark.slow
@pytest.mark.parametrize("scatter", [0.0, change.RUN_SCATTER])
def test_two_runs_of_an_unchanged_instrument_seldom_differ(scatter):
    """In any of 20 rows: at most in one table of twenty."""
    rng = np.random.default_rng(1)
    wrong = sum(any(w != SAME for w in _table(_run(rng, scatter), _run(rng, scatter))) for _ in range(TABLES))
    assert wrong / TABLES <= 0.1  # 4 of 40; twice what is promised has a probability of 5 %


@pytest.mark.slow
def test_two_runs_show_a_stage_that_is_a_fifth_slower():
    rng = np.random.default_rng(2)
    seen = sum(
        REGRESSION in _table(_run(rng, change.RUN_SCATTER), _run(rng, change.RUN_SCATTER, 1.2))[:2]
        for _ in range(TABLES)
    )
    assert seen / TABLES >= 0.7


@pytest.mark.parametrize("scatter", [0.03, 0.08])
@pytest.mark.parametrize("earlier", [4, 12])
def test_a_history_knows_the_scatter_of_its_rig(earlier, scatter):
    """Where runs differ by 8 % anyhow, no more is cried than where they differ by 3 %."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(200):
        before = 100 * np.exp(scatter * rng.standard_normal((ROWS, earlier)))
        new = 100 * np.exp(scatter * rng.standard_normal(ROWS))
        changes = [change.history(list(b), float(n), "ms") for b, n in zip(before, new, strict=True)]
        wrong += any(word != SAME for word, _ in change.verdicts(changes))
    assert wrong / 200 <= 0.09


def test_a_history_of_a_dozen_runs_shows_a_stage_that_is_a_fifth_slower():
    rng = np.random.default_rng(4)
    seen = 0
    for _ in range(200):
        before = 100 * np.exp(0.03 * rng.standard_normal((ROWS, 12)))
        new = 100 * np.exp(0.03 * rng.standard_normal(ROWS)) * np.where(np.arange(ROWS) == 0, 1.2, 1)
        changes = [change.history(list(b), float(n), "ms") for b, n in zip(before, new, strict=True)]
        seen += change.verdicts(changes)[0][0] == REGRESSION
    assert seen / 200 >= 0.85


def test_a_history_is_the_textbooks_prediction_interval():
    """Mean 0, s = 1, n = 5: t(4) = 2.776, so ± 2.776 sqrt(1 + 1/5) (Hahn and Meeker, Statistical Intervals)."""
    values = np.array([-1.264911, -0.632456, 0, 0.632456, 1.264911])
    found = change.history(list(np.exp(values)), float(np.exp(0.5)), "ms")
    assert np.log(found.high) - np.log(found.size) == pytest.approx(2.776 * np.sqrt(1.2), rel=1e-3)


def test_too_few_runs_are_no_history():
    with pytest.raises(ValueError, match="4 earlier runs"):
        change.history([1, 2, 3], 2, "ms")


def test_holm_is_the_textbooks():
    assert change.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert change.holm([]) == []


def test_what_is_significant_must_be_large_as_well():
    steady = [100.0, 100.01, 99.99, 100.02]
    assert change.verdicts([change.history(steady, 104.0, "ms")])[0][0] == SAME
    assert change.verdicts([change.history(steady, 106.0, "ms")])[0][0] == REGRESSION
    assert change.verdicts([change.history(steady, 94.0, "ms")])[0][0] == IMPROVED


@pytest.mark.parametrize(("now", "word"), [(101.9, SAME), (102.1, REGRESSION), (97.9, IMPROVED)])
def test_instructions_are_held_within_two_in_a_hundred(now, word):
    old, new = ({"unit": "Minstr", "value": v} for v in (100.0, now))
    assert change.verdicts([change.two_runs(old, new, "value")]) == [(word, None)]
    assert change.verdicts([change.history([100.0] * 4, now, "Minstr")]) == [(word, None)]


def test_two_runs_show_a_leak_of_a_kilobyte_a_capture():
    old, same, leaking = (memory(np.random.default_rng(i), leak=leak) for i, leak in enumerate((0, 0, 1)))
    assert change.verdicts([change.two_runs(old, same, "slope")])[0][0] == SAME
    assert change.verdicts([change.two_runs(old, leaking, "slope")])[0][0] == REGRESSION


def test_the_block_bootstrap_is_wider_where_samples_resemble_each_other():
    rng = np.random.default_rng(5)
    widths = []
    for memory_of_samples in (0.0, 0.9):
        old, new = (_run(rng, 0, memory_of_samples=memory_of_samples)[0] for _ in range(2))
        found = change.two_runs(old, new, "p50")
        alone = 2 * np.log1p(change.RUN_SCATTER) ** 2
        widths.append((np.log(found.high / found.low) / 2 / 1.96) ** 2 - alone)
    assert widths[1] > 6 * widths[0] > 0


@pytest.mark.parametrize("unit", ["cuts", "share", "°C"])
def test_counts_are_for_budgets(unit):
    assert change.compared({"measurements": {"a": {"unit": unit, "value": 3}}, "verdicts": []}) == []


def test_few_samples_have_a_median_only():
    measurements = {name: {"unit": "s", "samples": [2.0] * n} for name, n in (("few", 39), ("many", 40))}
    run = {"measurements": measurements, "verdicts": []}
    assert change.compared(run) == [("few", "p50"), ("many", "p50"), ("many", "p95")]


def test_what_has_no_ratio_is_not_compared():
    assert change.two_runs({"unit": "ms", "value": 0}, {"unit": "ms", "value": 3}, "value") is None
    assert change.verdicts([None]) == [(SAME, None)]
