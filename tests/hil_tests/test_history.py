"""``tenohira hil history``."""

import argparse

import pytest

from hil_tests import history
from hil_tests.change import IMPROVED, REGRESSION, SAME
from hil_tests.errors import HilError
from tests.hil_tests import runs

STAGE = "screen.instructions.a72.segmentation.value"


def _fill(folder, *made):
    for run in made:
        runs.folder(folder, run)
    return folder


def _words(rig, name):
    return [point.verdict for trend in rig.trends if trend.name == name for point in trend.points]


def test_a_slower_stage_stays_marked_until_it_is_gone(tmp_path):
    slow = (6, 7)
    _fill(tmp_path, *(runs.results(i, slower=1.25 if i in slow else 1) for i in range(9)))
    (rig,), damaged = history.read(tmp_path)
    assert not damaged
    for name in (STAGE, "screen.stage.segmentation.warm.p50"):
        assert _words(rig, name) == [REGRESSION if i in slow else SAME for i in range(9)]
    assert [bool(rig.worse(i)) for i in range(9)] == [i in slow for i in range(9)]
    points = next(t.points for t in rig.trends if t.name == STAGE)
    assert [p.against for p in points] == [
        0,
        1,
        1,
        1,
        4,
        5,
        6,
        6,
        6,
    ]  # two runs, then the history, without the slow


def test_two_runs_that_improved_are_what_later_ones_are_held_to(tmp_path):
    """A return to the old speed is a regression then; a single quick run changes nothing."""
    speeds = (1, 1, 0.8, 1, 1, 0.8, 0.8, 0.8, 1)
    _fill(tmp_path, *(runs.results(i, slower=speed) for i, speed in enumerate(speeds)))
    (rig,), _ = history.read(tmp_path)
    assert _words(rig, STAGE) == [SAME, SAME, IMPROVED, SAME, SAME, IMPROVED, IMPROVED, SAME, REGRESSION]


def test_void_faulty_and_partial_runs_are_left_out_and_said(tmp_path):
    _fill(
        tmp_path, runs.results(0), runs.results(1), runs.void(2), runs.results(3, slower=3, fault="slow"),
        runs.results(4, slower=3, whole=False), runs.results(5),
    )  # fmt: skip
    (rig,), _ = history.read(tmp_path)
    assert _words(rig, STAGE) == [SAME] * 3
    assert history.told(rig, 2).startswith("left out, void: the firmware throttled")
    assert history.told(rig, 3) == "left out, deliberate fault: slow"
    assert history.told(rig, 4) == "left out, some of the tests only"
    assert history.told(rig, 0) == "nothing to compare with"


def test_rigs_and_machines_are_kept_apart(tmp_path):
    other = runs.results(3, slower=2)
    other["machine"]["model"] = "Raspberry Pi Zero 2 W"
    _fill(tmp_path, runs.results(1), runs.results(2, rig="pi4", slower=2), other)
    rigs, _ = history.read(tmp_path)
    assert [(rig.name, len(rig.runs)) for rig in rigs] == [("host", 1), ("host", 1), ("pi4", 1)]
    assert not any(rig.newest_regressed() for rig in rigs)


def test_other_sizes_begin_anew(tmp_path):
    small = runs.results(3, slower=2)
    small["sizes"]["captures"] = 100
    _fill(tmp_path, runs.results(1), runs.results(2), small)
    (rig,), _ = history.read(tmp_path)
    assert _words(rig, STAGE) == [SAME] * 3


def test_the_command_writes_the_page_and_ends_with_1_after_a_regression(tmp_path, capsys):
    _fill(tmp_path, *(runs.results(i, slower=1.3 if i == 5 else 1) for i in range(6)), runs.void(7))
    broken = tmp_path / "host-broken"
    broken.mkdir()
    (broken / "results.json").write_text("{")
    assert history.history_command(argparse.Namespace(folder=tmp_path)) == 1
    out = capsys.readouterr().out
    assert "the newest run of host" in out and "regressed" in out and "is damaged" in out
    page = (tmp_path / history.PAGE).read_text()
    assert "WORSE" in page and "▲" in page and "is damaged" in page
    assert "prediction interval" in page and "Holm" in page  # the test is stated
    assert 'href="host-20261106-093000/report.html"' in page
    assert page.count("<svg ") == 30


def test_a_history_without_regressions_ends_with_0(tmp_path):
    _fill(tmp_path, runs.results(0), runs.results(1))
    assert history.history_command(argparse.Namespace(folder=tmp_path)) == 0
    assert "NO REGRESSION" in (tmp_path / history.PAGE).read_text()


def test_a_single_run_is_not_said_to_be_no_worse(tmp_path):
    _fill(tmp_path, runs.results(0), runs.void(1))
    assert history.history_command(argparse.Namespace(folder=tmp_path)) == 0
    page = (tmp_path / history.PAGE).read_text()
    assert "NOTHING TO COMPARE" in page and "NO REGRESSION" not in page


def test_a_folder_without_runs_is_explained(tmp_path):
    with pytest.raises(HilError, match="holds no runs"):
        history.read(tmp_path)
