"""Counting verdicts that int8 changes: a simulated eye, the shipped networks and the floats behind them."""

from typing import NamedTuple

import numpy as np
import pytest

from device.camera.simulated import SimulatedCamera
from device.frame import Frame
from device.pipeline import GLAUCOMA, Pipeline
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
        assert row[1] == "2" and {row[2], row[3]} <= {"0.00%", "50.00%"}  # black stays ungradable
        int8, floating = (p.screen(Frame(eye.pixels)).vcdr for p in (shipped, verdicts.with_float(shipped, task)))
        assert float(row[4].split()[0]) == pytest.approx(int8 - floating, abs=5e-5)  # of the one that is measured
    assert rows[-1][4].startswith("0.0000 (0.0000)")  # the classifier has no say in the ratio
