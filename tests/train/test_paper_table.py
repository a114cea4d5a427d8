"""AUC of measured values in a user's table: right figures, no leak between folds, errors that tell the way out."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from device.cli import main
from train.errors import DataError
from train.paper.table import read_table, table_rows


def write(path, rows):
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    return path


def eyes(n=80, seed=0):
    """Area falls and noise does not change with glaucoma; two eyes a patient."""
    rng = np.random.default_rng(seed)
    return [
        {
            "patient": f"p{i // 2}",
            "label": i // 2 % 2,
            "area": round(0.4 - 0.1 * (i // 2 % 2) + 0.05 * rng.standard_normal(), 4),
            "noise": round(rng.standard_normal(), 4),
        }
        for i in range(n)
    ]


def test_each_alone_and_all_together(tmp_path):
    table = read_table(write(tmp_path / "t.csv", eyes()), ["area", "noise"])
    area, noise, both = table_rows(table)
    assert area["glaucoma where"] == "low"
    assert float(area["AUC"]) > 0.85
    assert float(noise["AUC"]) < 0.7
    assert both["measurement"] == "all together" and float(both["AUC"]) > 0.8
    assert area["eyes (glaucoma)"] == "80 (40)"


def test_several_systems_are_no_more_eyes(tmp_path):
    rows = [{"system": system, **eye} for system in ("float", "int8") for eye in eyes()]
    with pytest.raises(DataError, match=r"several systems \(float, int8\); keep those of one"):
        read_table(write(tmp_path / "t.csv", rows), ["area"])
    assert len(read_table(write(tmp_path / "o.csv", rows[:80]), ["area"]).label) == 80


def test_values_that_only_name_the_patient_tell_nothing(tmp_path):
    """Both eyes of a patient in one fold: else a model that remembers patients would look clever."""
    rng = np.random.default_rng(1)
    rows = [{"patient": f"p{i // 2}", "label": i // 2 % 2} for i in range(80)]
    for column in range(60):
        of_patient = rng.standard_normal(40)
        for i, row in enumerate(rows):
            row[f"v{column}"] = of_patient[i // 2]
    columns = [f"v{c}" for c in range(60)]
    with_ids = table_rows(read_table(write(tmp_path / "a.csv", rows), columns))[-1]
    without = table_rows(read_table(write(tmp_path / "b.csv", [{**r, "patient": ""} for r in rows]), columns))[-1]
    assert float(with_ids["AUC"]) < 0.65 and float(without["AUC"]) > 0.75


def test_the_combination_is_fitted_to_the_other_table(tmp_path):
    train = read_table(write(tmp_path / "train.csv", eyes(seed=1)), ["area", "noise"])
    upside_down = [{**e, "area": 1 - e["area"]} for e in eyes(seed=2)]
    test = read_table(write(tmp_path / "test.csv", upside_down), ["area", "noise"])
    area, _, both = table_rows(test, train)
    assert float(area["AUC"]) < 0.2 and float(both["AUC"]) < 0.2  # what low meant there is not turned round here


def test_eyes_without_a_value_are_counted_and_left_out(tmp_path):
    rows = eyes()
    rows[3]["area"] = ""
    table = read_table(write(tmp_path / "t.csv", rows), ["area"])
    assert len(table.label) == 79
    assert table_rows(table)[0]["left out"] == "1"


@pytest.mark.parametrize(
    ("change", "columns", "words"),
    [
        ({}, ["volume"], "no column 'volume'"),
        ({"area": "small"}, ["area"], "area is 'small'"),
        ({"label": 2}, ["area"], "write 1 for glaucoma"),
    ],
)
def test_mistakes_in_a_table_are_named(tmp_path, change, columns, words):
    rows = eyes()
    rows[0] |= change
    with pytest.raises(DataError, match=words):
        read_table(write(tmp_path / "t.csv", rows), columns)


def test_too_few_eyes_are_refused(tmp_path):
    with pytest.raises(DataError, match="a class has 2"):
        read_table(write(tmp_path / "t.csv", eyes(4)), ["area"])


def test_the_verb_prints_the_table(tmp_path, capsys):
    path = str(write(tmp_path / "t.csv", eyes()))
    assert main(["paper", "--table", path, "--columns", "area,noise"]) == 0
    assert "| all together |" in capsys.readouterr().out
    assert main(["paper", "--table", path]) == 2
    assert "--columns" in capsys.readouterr().err
