"""What reduced decoding changes is counted on both ways of decoding the same JPEG."""

import re
from typing import NamedTuple

import numpy as np

from device.camera.simulated import SimulatedCamera
from device.imaging import ENOUGH, decode
from quantize import reduced_decoding


class Eye(NamedTuple):
    """A sample."""

    id: str
    pixels: np.ndarray

    def image(self) -> np.ndarray:
        return self.pixels


def test_both_ways_are_screened_and_counted(tmp_path, monkeypatch, capsys):
    seen, black = SimulatedCamera(seed=3, size=512).still().pixels, np.zeros((200, 200, 3), np.uint8)
    eyes = [Eye("a", seen), Eye("black", black)]
    monkeypatch.setattr(reduced_decoding, "load_split", lambda root, name, part: eyes)
    monkeypatch.setattr("sys.argv", ["reduced_decoding", "painted", "--data", str(tmp_path)])
    reduced_decoding.main()
    said = capsys.readouterr().out
    assert re.match(r"2 photographs, [01] verdicts changed\n", said)  # black stays ungradable
    shift, largest = (float(re.search(rf"ratio: .*{word} (-?[\d.]+)", said)[1]) for word in ("shift", "at most"))
    assert abs(shift) == largest < 0.1  # of the one eye that has a ratio
    whole, reduced = (int(re.search(rf"{way} (\d+) ms", said)[1]) for way in ("whole", "reduced"))
    assert whole > 0 and reduced > 0


def test_the_photograph_is_enlarged_to_what_is_decoded_reduced():
    frame = decode(reduced_decoding.enlarged(np.zeros((300, 400, 3), np.uint8)), "a", ENOUGH)
    assert frame.shape == (3042, 4056) and frame.reduction == 2
