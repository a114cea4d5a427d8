"""Other things are told from retinas; the weights on the device are those of the fit."""

import numpy as np
import pytest

from device.field import find_field
from device.frame import Frame
from device.pipeline import Pipeline
from device.quality import assess
from device.verdict import Outcome

pytest.importorskip("skimage", reason="the photographs of other things come with scikit-image (extra 'train')")

from train.likeness import of, other_things, stopped, wood


def test_most_photographs_of_other_things_are_rejected_and_hardly_one_is_answered():
    pipeline = Pipeline.load()
    exams = [pipeline.screen(Frame(pixels)) for _, pixels in other_things()]
    rejected = np.mean([e.quality.grade == "reject" for e in exams])
    answered = np.mean([e.outcome is not Outcome.UNGRADABLE for e in exams])
    print(f"{len(exams)} pictures of other things: {rejected:.1%} rejected, {answered:.1%} answered")
    assert rejected >= 0.75 and answered <= 0.03


@pytest.mark.parametrize("seed", [20, 21, 22, 23])
def test_wood_is_no_retina(seed):
    for picture in (wood(seed), stopped(wood(seed))):
        quality = assess(picture, find_field(picture))
        assert quality.grade == "reject" and quality.cause == "not a fundus"


def test_a_retina_that_no_set_holds_is_one():
    from skimage import data

    pixels = data.retina()
    assert assess(pixels, find_field(pixels)).grade != "reject"
    values = of(pixels)
    assert values is not None and np.isfinite(values).all()
