"""``tenohira hil compare``."""

import argparse

import pytest

from hil_tests import change, compare
from hil_tests.errors import HilError
from tests.hil_tests import runs


def _compare(tmp_path, old, new, **options):
    parser = argparse.ArgumentParser()
    compare.compare_arguments(parser)
    folders = [str(runs.folder(tmp_path / name, run)) for name, run in (("old", old), ("new", new))]
    return compare.compare_command(parser.parse_args([*folders, *(f"--{name}" for name in options)]))


def test_two_alike_runs_end_with_0(tmp_path, capsys):
    assert _compare(tmp_path, runs.results(1), runs.results(2)) == 0
    out = capsys.readouterr().out
    assert "0 of 30 figures compared are worse" in out
    assert "moving-block bootstrap" in out and "Holm" in out


def test_a_slower_stage_is_named_first_and_ends_with_1(tmp_path, capsys):
    assert _compare(tmp_path, runs.results(1), runs.results(2, slower=1.25), markdown=True) == 1
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("| `")]
    worse = [row for row in rows if "**regression**" in row]
    assert worse == rows[: len(worse)] and len(worse) >= 3
    assert sum("segmentation" in row for row in worse) == 3  # p50, p95, instructions
    assert all("segmentation" in row or "`screen.warm" in row for row in worse)
    assert "`screen.instructions.a72.segmentation.value` | Minstr | 831.9 | 1039.9 | +25.0 %" in out


def test_the_other_way_round_it_improved(tmp_path, capsys):
    assert _compare(tmp_path, runs.results(1, slower=1.25), runs.results(2), markdown=True) == 0
    assert "+" not in next(line for line in capsys.readouterr().out.splitlines() if "| improved |" in line)


def test_what_passed_and_fails_now_is_a_regression(tmp_path, capsys):
    new = runs.results(2)
    new["tests"][0]["outcome"] = "failed"
    new["verdicts"][1]["verdict"] = "missing"
    assert _compare(tmp_path, runs.results(1), new) == 1
    out = capsys.readouterr().out
    assert "test_many_captures: passed, now failed" in out
    assert "service.rss.slope: passed, now missing" in out


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rig": "pi4"}, "two rigs, host and pi4"),
        ({"machine": {"model": "Raspberry Pi 5", "cores": 4}}, "two machines"),
        ({"void": "the firmware throttled the board"}, "void"),
    ],
)
def test_other_rigs_machines_and_void_runs_are_refused_unless_told(tmp_path, changes, why):
    new = runs.results(2, **changes)
    with pytest.raises(HilError, match=why) as refused:
        compare.refuse(runs.results(1), new)
    assert "--anyway" in str(refused.value)
    with pytest.raises(HilError, match=why):
        _compare(tmp_path / "refused", runs.results(1), new)
    assert _compare(tmp_path / "told", runs.results(1), new, anyway=True) == 0


def test_other_bundles_sizes_and_faults_are_said(tmp_path, capsys):
    new = runs.results(2, fault="leak")
    new["bundles"]["disc_cup-1.0.0.tnh"] = "77" * 32
    new["sizes"]["captures"] = 500
    _compare(tmp_path, runs.results(1), new, markdown=True)
    out = capsys.readouterr().out
    assert "the new run has the deliberate fault 'leak'" in out
    assert "bundles: disc_cup-1.0.0.tnh 3f3f3f3f3f3f, now 777777777777" in out
    assert "sizes: captures 2000, now 500" in out


def test_times_of_a_machine_that_others_use_are_not_compared_but_their_ratios_are(tmp_path, capsys):
    old, busy = runs.results(1, shared=True), runs.results(2, shared=True)
    busy["measurements"]["screen.warm"]["samples"] = [
        3 * ms for ms in busy["measurements"]["screen.warm"]["samples"]
    ]
    assert _compare(tmp_path / "busy", old, busy, markdown=True) == 0
    out = capsys.readouterr().out
    assert "`screen.warm.p50`" not in out and "`screen.ratio.value`" in out and "`service.rss.steady`" in out
    assert "others use the machine" in out and "that took 1.00 times as long" in out
    assert _compare(tmp_path / "slow", old, runs.results(2, slower=1.4, shared=True), markdown=True) == 1
    assert "`screen.ratio.value` | times the reference" in capsys.readouterr().out


def test_what_says_nothing_on_the_rung_is_not_compared(tmp_path):
    new = runs.results(2)
    new["verdicts"].append(
        runs.verdict("screen.warm.p95", "ms", "at most 1", verdict="not measurable", reason="x")
    )
    names = [row.name for row in compare.compare(runs.results(1), new)]
    assert "screen.stage.disc.warm.p50" in names and not any(name.startswith("screen.warm") for name in names)


def test_what_only_one_run_has_is_said(tmp_path):
    old, new = runs.results(1), runs.results(2)
    del new["measurements"]["screen.warm"]
    rows = {row.name: row.verdict for row in compare.compare(old, new)}
    assert rows["screen.warm"] == "only in the old run"
    assert rows["start.ready.p50"] == change.SAME


def test_a_folder_without_a_run_is_explained(tmp_path):
    with pytest.raises(HilError, match=r"has no results\.json"):
        compare.compare_command(argparse.Namespace(old=tmp_path, new=tmp_path, anyway=False, markdown=False))
    (tmp_path / "results.json").write_text('{"schema": 99}')
    with pytest.raises(HilError, match="schema 99"):
        compare.results.read(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(HilError, match="damaged"):
        compare.results.read(tmp_path)
