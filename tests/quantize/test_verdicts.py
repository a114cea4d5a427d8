"""Counting verdicts that int8 changes: a simulated eye, the shipped networks and the floats behind them."""

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from device.bundle import OperatingPoint
from device.camera.simulated import SimulatedCamera
from device.frame import Frame
from device.pipeline import GLAUCOMA, Pipeline
from device.verdict import Outcome
from quantize import verdicts
from quantize.gate import FloatNetwork


@pytest.mark.parametrize("task", GLAUCOMA)
def test_one_network_alone_is_exchanged(task):
    models = verdicts.with_float(Pipeline.load(), task).models
    assert [name for name, model in models.items() if isinstance(model.network, FloatNetwork)] == [task]


class Eye(NamedTuple):
    """A sample."""

    pixels: np.ndarray

    def image(self) -> np.ndarray:
        return self.pixels


def test_each_network_gets_a_row(tmp_path, monkeypatch, capsys):
    eye = Eye(SimulatedCamera(seed=3, size=512).still().pixels)

    class Painted:
        def __init__(self, root):
            assert root == tmp_path

        def samples(self):
            return [eye, Eye(np.zeros((200, 200, 3), np.uint8))]

    monkeypatch.setitem(verdicts.SETS, "painted", Painted)
    monkeypatch.setattr("sys.argv", ["verdicts", "painted", "--data", str(tmp_path)])
    verdicts.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == list(GLAUCOMA)
    shipped = Pipeline.load()
    for task, row in zip(GLAUCOMA, rows):
        assert row[1] == "2" and set(row[2:4]) <= {"0.00%", "50.00%"}  # black stays ungradable
        assert 0 <= float(row[4].rstrip("%")) <= 50
        int8, floating = (p.screen(Frame(eye.pixels)).vcdr for p in (shipped, verdicts.with_float(shipped, task)))
        assert float(row[5].split()[0]) == pytest.approx(int8 - floating, abs=5e-5)  # of the one that is measured
    assert rows[-1][5].startswith("0.0000 (0.0000)")  # the classifier has no say in the ratio


def exams(*chances):
    return [
        SimpleNamespace(
            glaucoma_probability=chance, vcdr=0.5, outcome=Outcome.UNGRADABLE if chance is None else None
        )
        for chance in chances
    ]


def test_what_crosses_or_comes_and_goes_is_counted():
    points = {"glaucoma_probability": OperatingPoint("x", "glaucoma_probability", 0.44, 0.9, 0.9, "toy")}
    int8 = exams(0.40, 0.43, 0.50, None, None, 0.10)
    floating = exams(0.43, 0.45, 0.49, None, 0.10, 0.05)
    assert verdicts.changed(int8, floating, points) == 2 / 6
    assert verdicts.changed(int8, floating, verdicts._at(points, 0.42)) == 2 / 6
    assert verdicts.changed(int8, floating, verdicts._at(points, 0.07)) == 2 / 6
    assert verdicts.changed(int8, floating, verdicts._at(points, 0.60)) == 1 / 6
    assert (
        points["glaucoma_probability"].threshold == 0.44 and verdicts.NEARBY.min() < 0.44 < verdicts.NEARBY.max()
    )
