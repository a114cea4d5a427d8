"""Errands in processes of their own, and what is repeated."""

import sys
import threading

import pytest

from device import errand
from device.errors import ErrandError
from device.language import Translator
from device.repeating import Repeating


def test_an_errand_is_a_call_of_the_command_line(tmp_path):
    out = tmp_path / "eyes"
    errand.run("samples", "--simulated", "1", "--out", str(out))
    assert [p.suffix for p in out.iterdir()] == [".png"]


def test_what_the_command_line_explains_is_the_error(tmp_path):
    with pytest.raises(ErrandError, match=r"^there is no record in .*keeps its record in$"):
        errand.run("record", "send", "--store", str(tmp_path / "nowhere"))


def test_a_fault_of_ours_is_told_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(errand, "PACKAGES", tmp_path)  # no package there
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ErrandError, match="internal error"):
        errand.run("samples")


@pytest.mark.parametrize("way", [{"deadline": 0.5}, {"cancelled": lambda: True}])
def test_an_errand_that_hangs_is_ended(tmp_path, monkeypatch, way):
    endless = tmp_path / "endless"
    endless.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 1; done\n")
    endless.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(endless))
    monkeypatch.setattr(errand, "MERCY", 0.1)
    with pytest.raises(ErrandError, match="did not end in time") as told:
        errand.run("record", **way)
    assert Translator("ja").knows(str(told.value))


def test_what_is_repeated_goes_on_after_an_error_and_ends_when_it_is_closed():
    times, enough = [], threading.Event()

    def what(cancelled) -> None:
        times.append(cancelled())
        if len(times) == 3:
            enough.set()
        raise RuntimeError("it broke")

    repeating = Repeating(0.01, what, "test")
    assert enough.wait(30)
    repeating.close()
    assert not repeating._thread.is_alive()
