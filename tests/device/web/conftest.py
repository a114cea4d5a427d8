"""An instrument with a record of its own, and a client that speaks from the instrument's own screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_fake import FakeInstrument
from web_scenes import CHECKS

from device.store import Store
from device.web.app import build


@pytest.fixture
def instrument(tmp_path: Path) -> Iterator[FakeInstrument]:
    with Store(tmp_path / "record") as store:
        yield FakeInstrument(store)


@pytest.fixture
def client(instrument: FakeInstrument) -> TestClient:
    return client_of(instrument)


def client_of(instrument: FakeInstrument, address: str = "127.0.0.1", **options: object) -> TestClient:
    """A client at an address; answers are not followed to other pages."""
    app = build(instrument, selftest=lambda: CHECKS, **options)  # type: ignore[arg-type]
    return TestClient(
        app,
        base_url="http://localhost",
        client=(address, 5),
        follow_redirects=False,
        raise_server_exceptions=False,
    )
