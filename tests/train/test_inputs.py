"""Where training looks for what nobody outlined: a simulated eye, and the shipped networks."""

import cv2
import numpy as np
import pytest

from device.camera.simulated import SimulatedCamera
from device.field import find_field
from device.pipeline import Pipeline
from train.datasets import Sample
from train.inputs import prepare


def sample(folder, pixels: np.ndarray) -> Sample:
    cv2.imwrite(str(folder / "a.png"), pixels[..., ::-1])
    return Sample("s", "a", "a", folder / "a.png")


@pytest.mark.parametrize("task", ["glaucoma", "disc_cup"])
def test_a_disc_that_nobody_outlined_is_found_as_on_the_device(task, tmp_path):
    pixels = SimulatedCamera(seed=3, size=512).still().pixels
    found = Pipeline.load(tasks=("disc_finder", "disc_cup")).find_disc(pixels)
    p = prepare(task, sample(tmp_path, pixels))
    assert found is not None and p.square == found.roi() and p.target == found
    assert p.masks == {}  # a teacher's to say


def test_where_none_is_found_the_field_is_seen(tmp_path):
    pixels = np.zeros((200, 200, 3), np.uint8)
    p = prepare("disc_cup", sample(tmp_path, pixels))
    assert p.target is None and p.square == find_field(pixels).square
