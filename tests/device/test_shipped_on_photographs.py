"""The shipped bundles on photographs of the validation parts: discs are found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from device.frame import Frame
from device.localization import extent_of
from device.pipeline import Pipeline
from device.segmentation import Region
from device.verdict import Outcome
from train.datasets import load_split
from train.metrics import dice

SETS = ("drishti_gs1", "idrid_a", "palm_disc")
pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture(scope="module")
def samples(data_root):
    return [s for name in SETS for s in load_split(data_root, name, "val") if s.mask_files["disc"].read().any()]


@pytest.fixture(scope="module")
def machine():
    return Pipeline.load()


def test_discs_are_outlined(machine, samples):
    found = []
    for s in samples:
        picture = s.image()
        exam = machine.screen(Frame(picture))
        mask = exam.masks["disc"].in_image(picture.shape[:2]) if exam.outcome is not Outcome.UNGRADABLE else None
        found.append(0.0 if mask is None else dice(mask > 0, s.mask_files["disc"].read() > 0))
    answered = np.array(found) > 0
    print(f"disc found in {answered.sum()} of {len(found)} photographs, Dice {np.mean(found):.3f} (else 0)")
    assert answered.mean() > 0.93 and np.median(found) > 0.94


def test_photographs_without_a_disc_are_refused(machine, samples):
    """The larger side of each photograph beside its disc, as a field that misses the disc shows it."""
    answered = 0
    for s in samples:
        picture, disc = s.image(), extent_of(Region(s.mask_files["disc"].read(), 0, 0))
        left, right = round(disc.cx - 0.8 * disc.diameter), round(disc.cx + 0.8 * disc.diameter)
        beside = picture[:, :left] if left > picture.shape[1] - right else picture[:, right:]
        answered += machine.screen(Frame(np.ascontiguousarray(beside))).outcome is not Outcome.UNGRADABLE
    print(f"{answered} of {len(samples)} photographs without a disc were answered")
    assert answered < 0.2 * len(samples)
