"""An older network than the one that the newest photograph was screened with is never taken unseen."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from device import instrument as module
from device import rollback
from device.camera.simulated import Eye, SimulatedCamera
from device.errors import StoreFullError
from device.instrument import Instrument
from device.language import Translator
from device.pipeline import Pipeline
from device.store import Store, audit
from tests.device.sentences import templates

TASK = "disc_cup"


@pytest.mark.parametrize(
    ("before", "now", "steps"),
    [
        ("disc_cup-0.10.0", "disc_cup-0.9.0", 1),
        ("disc_cup-0.2.0", "disc_cup-0.2.0-rc1", 1),
        ("disc_cup-0.2.0", "disc_cup-0.2.0", 0),
        ("disc_cup-0.2.0", "disc_cup-0.10.0", 0),
        ("lwbna-9.0", "disc_cup-0.1.0", 0),  # another network, not an older one
    ],
)
def test_what_is_a_step_back(before, now, steps):
    found = rollback.steps_back({TASK: before, "faz": "faz-9"}, {TASK: now, "glaucoma": "glaucoma-0.1.0"})
    assert found == ({TASK: (before, now)} if steps else {})


def test_what_is_said_of_it_is_said_in_japanese_too():
    for sentence in templates("device.rollback"):
        assert Translator("ja").knows(sentence), sentence


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A record whose newest capture was screened by an instrument with a newer network."""
    real = Pipeline.load(threads=1)
    newer = dict(real.models)
    manifest = msgspec.structs.replace(newer[TASK].manifest, version="0.2.0")
    newer[TASK] = replace(newer[TASK], manifest=manifest)
    monkeypatch.setattr(module.Pipeline, "load", lambda *_: Pipeline(newer))
    with Store(tmp_path) as store, Instrument(store, camera()) as instrument:
        instrument.capture(store.begin("P-1").uid, "OD")
        assert not any("older" in p for p in instrument.status().problems)
    monkeypatch.setattr(module.Pipeline, "load", lambda *_: real)
    return tmp_path


def camera():
    return SimulatedCamera(Eye("OD", vcdr=0.5, seed=3), size=512)


def test_the_operator_is_told_and_the_log(folder):
    with Store(folder) as store, Instrument(store, camera()) as instrument:
        (said,) = [p for p in instrument.status().problems if "older" in p]
        assert "disc_cup-0.1.0 is older than disc_cup-0.2.0" in said
        assert "0.2.0" in Translator("ja")(said) and "より古い" in Translator("ja")(said)
    entry, _ = audit.entries(folder)[-1]
    assert (entry.action, entry.detail) == (
        "older networks",
        {"before and now": {TASK: ["disc_cup-0.2.0", "disc_cup-0.1.0"]}},
    )
    assert audit.verify(folder).ok


def test_once_an_eye_was_photographed_with_it_the_step_was_meant(folder):
    with Store(folder) as store, Instrument(store, camera()) as instrument:
        instrument.capture(store.begin("P-2").uid, "OD")
    with Store(folder) as store, Instrument(store, camera()) as instrument:
        assert not any("older" in p for p in instrument.status().problems)


def test_a_log_that_cannot_be_written_keeps_nobody_from_being_told(folder, monkeypatch):
    def full(*_):
        raise StoreFullError("the disk is full")

    with Store(folder) as store:
        monkeypatch.setattr(store, "log", full)
        with Instrument(store, camera()) as instrument:
            assert any("older" in p for p in instrument.status().problems)
