"""Other things are told from retinas; the weights on the device are those of the fit."""

import numpy as np
import pytest

from device.field import find_field
from device.quality import assess

pytest.importorskip("skimage", reason="the photographs of other things come with scikit-image (extra 'train')")

from train.likeness import of, other_things, stopped, wood


def test_most_photographs_of_other_things_are_rejected():
    graded = [(name, assess(pixels, find_field(pixels)).grade) for name, pixels in other_things()]
    rejected = np.mean([grade == "reject" for _, grade in graded])
    print(f"{len(graded)} pictures of other things: {rejected:.1%} rejected")
    assert rejected >= 0.75


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
