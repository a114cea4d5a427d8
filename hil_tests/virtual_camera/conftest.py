"""The data root, as the tests of the packages have it."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_root() -> Path:
    """TENOHIRA_DATA, or shared/data beside the checkout; skips where neither is."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    root = Path(os.environ.get("TENOHIRA_DATA", beside))
    if not root.is_dir():
        pytest.skip(f"no data root at {root.name}: set TENOHIRA_DATA to the folder that holds the data sets")
    return root
