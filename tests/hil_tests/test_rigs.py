"""Every rig of the checkout can be loaded, and says of everything that it lacks why."""

from __future__ import annotations

import pytest

from hil_tests import rig
from hil_tests.errors import HilError


@pytest.mark.parametrize("name", rig.names())
def test_a_rig_has_its_drivers_and_its_budget(name):
    loaded = rig.load(name)
    for driver in ("Strategy", "CommandProtocol", "InstrumentProtocol"):
        loaded.target.get_driver(driver, activate=False)
    for measurement in loaded.budget.not_measurable:
        assert loaded.budget.excuse(measurement)


def test_an_unknown_rig_is_told():
    with pytest.raises(HilError, match="choose from"):
        rig.load("pi9")
