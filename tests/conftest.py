"""Fixtures that every folder of tests shares."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The root of the data sets: TENOHIRA_DATA, or shared/data beside the checkout; skips where neither is."""
    root = Path(os.environ.get("TENOHIRA_DATA", CHECKOUT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no data root at {root.name}: set TENOHIRA_DATA to the folder that holds the data sets")
    return root
