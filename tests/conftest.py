"""Fixtures that every folder of tests shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.hil_tests.rungs import Rungs

CHECKOUT = Path(__file__).resolve().parents[1]

# On a busy machine anything may take long, and says nothing about what is tested.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The root of the data sets: TENOHIRA_DATA, or shared/data beside the checkout; skips where neither is."""
    root = Path(os.environ.get("TENOHIRA_DATA", CHECKOUT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data root at {root.name}: set TENOHIRA_DATA to the folder that holds the data sets")
    return root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs beside the other tests is waited for after them."""
    items.sort(key=_of_rungs)


@pytest.fixture(scope="session", autouse=True)
def rungs(request, tmp_path_factory) -> Iterator[Rungs]:
    """The rungs of all tests that were chosen; each takes as long as all other tests together."""
    tests = {item.callspec.params["rig"]: item for item in request.session.items if _of_rungs(item)}
    started = Rungs({rig for rig, item in tests.items() if not _skipped(item)}, tmp_path_factory.mktemp("rungs"))
    yield started
    started.end()


def _of_rungs(item: pytest.Item) -> bool:
    return item.path.name == "test_rungs.py"


def _skipped(item: pytest.Item) -> bool:
    return any(mark.args[0] for mark in item.iter_markers("skipif"))
