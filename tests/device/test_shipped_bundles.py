"""The bundles that every installation carries."""

from __future__ import annotations

import numpy as np
import pytest

from device import bundle
from device.runtime import Network


@pytest.mark.parametrize("task", ["disc_finder", "disc_cup", "glaucoma", "faz", "haemorrhage"])
def test_shipped_bundles(task):
    """Each is small, int8 with every operator counted, taken by XNNPACK, and reproduces its golden vectors."""
    (path,) = bundle.SHIPPED.glob(f"{task}-*.tnh")
    assert path.stat().st_size < 1_000_000
    loaded = bundle.load(path)
    assert loaded.manifest.task == task and loaded.manifest.operators
    network = Network(loaded.model, reference=True)
    assert (network.input, network.output) == (loaded.manifest.input, loaded.manifest.output)
    np.testing.assert_array_equal(network.run(loaded.golden_input), loaded.golden_output)
    assert Network(loaded.model).delegated()
