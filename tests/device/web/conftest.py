"""An instrument with a record of its own, and a client that speaks from the instrument's own screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from web_fake import FakeInstrument
from web_scenes import client_of

from device.store import Store


@pytest.fixture
def instrument(tmp_path: Path) -> Iterator[FakeInstrument]:
    with Store(tmp_path / "record") as store:
        yield FakeInstrument(store)


@pytest.fixture
def client(instrument: FakeInstrument) -> TestClient:
    return client_of(instrument)
