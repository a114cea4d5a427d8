"""The limits of plausible anatomy leave in what experts outlined in the training parts."""

from __future__ import annotations

import numpy as np
import pytest

from device import measurement
from device.segmentation import Region, clean
from train.datasets import load_split

pytestmark = [pytest.mark.data, pytest.mark.slow]


def outlines(data_root, name, structure):
    for s in load_split(data_root, name, "train"):
        mask = s.mask_files[structure].read()
        if mask.any():
            yield clean(Region(mask * np.uint8(255), 0, 0)), mask.shape


@pytest.mark.parametrize("name", ["palm_disc", "idrid_a", "drishti_gs1", "refuge_crops"])
def test_discs(data_root, name):
    aspects, solidities = [], []
    for disc, _ in outlines(data_root, name, "disc"):
        _, _, width, height = disc.box()
        aspects.append(height / width)
        solidities.append(measurement._solidity(disc.mask))
    print(f"{name}: {len(aspects)} discs, {min(aspects):.2f} to {max(aspects):.2f} times as high as wide, "
          f"{min(solidities):.2f} of the convex hull and more")  # fmt: skip
    assert measurement.DISC_ASPECT[0] < min(aspects) and max(aspects) < measurement.DISC_ASPECT[1]
    assert min(solidities) > measurement.MIN_SOLIDITY


def test_foveal_avascular_zones(data_root):
    zones = [
        (measurement.measure_faz(zone, None), zone, shape)
        for zone, shape in outlines(data_root, "octa_faz", "faz")
    ]
    print(f"circularity {min(f.circularity for f, *_ in zones):.2f} and more, "
          f"axis ratio up to {max(f.axis_ratio for f, *_ in zones):.2f}")  # fmt: skip
    assert [measurement.faz_faults(zone, shape, None) for _, zone, shape in zones] == [[]] * len(zones)
