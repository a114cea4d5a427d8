"""What is done with finished runs, as a user types it."""

import json

import pytest

from device.cli import main
from hil_tests import baseline, rig
from hil_tests.budget import Budget
from hil_tests.run import Run
from tests.hil_tests import runs


def test_report_compare_and_history_are_verbs(tmp_path, capsys):
    old, new = (str(runs.folder(tmp_path, runs.results(i, slower=1 + 0.3 * i))) for i in (0, 1))
    assert main(["hil", "report", old]) == 0
    assert (tmp_path / "host-20261101-093000" / "report.html").is_file()
    assert main(["hil", "compare", old, old]) == 0
    assert main(["hil", "compare", old, new]) == 1
    assert main(["hil", "history", str(tmp_path)]) == 1
    assert "regression" in capsys.readouterr().out


def test_a_baseline_goes_into_the_checkout_that_one_is_in(tmp_path, capsys, monkeypatch):
    run = str(runs.folder(tmp_path / "out", runs.results(1)).resolve())
    limits = {"service.rss.steady": {"baseline": "host", "within": 0.1, "unit": "MB"}}
    monkeypatch.setattr(baseline.Budget, "read", lambda path: Budget(limits=limits))
    monkeypatch.chdir(tmp_path)
    assert main(["hil", "baseline", run]) == 2
    assert "root of a checkout" in capsys.readouterr().err
    (tmp_path / "hil_tests").mkdir()
    assert main(["hil", "baseline", run]) == 0
    assert json.loads((tmp_path / "hil_tests/baselines/host.json").read_text())["rig"] == "host"


@pytest.mark.parametrize("verb", [["report"], ["compare", "nowhere"], ["baseline"]])
def test_a_folder_that_is_no_run_is_explained_in_one_line(verb, tmp_path, capsys):
    assert main(["hil", *verb, str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_folder_without_runs_is_explained(tmp_path, capsys):
    assert main(["hil", "history", str(tmp_path)]) == 2
    assert "holds no runs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [(("--fault", "nope"), "there is no fault 'nope'; choose"), (("--size", "captures"), "a name and a number")],
)
def test_a_wrong_option_is_told_before_anything_runs(option, said, tmp_path, capsys):
    assert main(["hil", "--rig", "host", "--out", str(tmp_path), *option]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_that_was_interrupted_has_not_passed(tmp_path):
    run = Run(rig.load("host"), tmp_path, seed=1, sizes={}, fault=None)
    run.whole = False
    run.tests = [{"id": "a", "outcome": "passed", "reason": "", "seconds": 1.0, "detail": ""}]
    assert run.finish()["outcome"] == "passed"
    run.ended = False
    assert run.finish()["outcome"] == "failed"
