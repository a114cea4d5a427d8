"""The virtual Pi's drivers, as far as they need no machine: the unit's drop-in, and qemu's command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil_tests import rig
from hil_tests.drivers import qemu
from hil_tests.drivers.systemd import SystemdInstrumentDriver


@pytest.fixture
def target():
    return rig.load("pi-virtual").target


@pytest.fixture
def instrument(target) -> SystemdInstrumentDriver:
    return target.get_driver("SystemdInstrumentDriver", activate=False)


def test_a_service_that_nobody_changes_has_no_drop_in(instrument):
    assert instrument._lines() == []
    instrument.configure(camera="simulated:3")
    instrument.configure()
    assert instrument._lines() == []


def test_the_drop_in_keeps_what_the_site_has_set(instrument):
    instrument.configure(store="/var/lib/tenohira/other")
    section, empty, command, writes = instrument._lines()
    assert (section, empty) == ("[Service]", "ExecStart=")
    assert writes == "ReadWritePaths=-/var/lib/tenohira/other"
    for name in ("CAMERA", "LIGHT", "PORT", "LISTEN", "THREADS"):
        assert f" --{name.lower()} ${{TENOHIRA_{name}}}" in command


def test_systemd_expands_nothing_of_what_a_test_wants(instrument):
    instrument.configure(environment={"A": 'b "c" $d %e'})
    assert r'"A=b \"c\" $$d %%e" "/opt/tenohira/current/bin/tenohira" "serve"' in instrument._lines()[2]


def test_a_fault_and_lines_of_the_unit_are_in_the_drop_in(instrument):
    instrument.configure(fault="watchdog", memory_mb=200, unit={"WatchdogSec": "5"})
    lines = instrument._lines()
    assert '"TENOHIRA_HIL_FAULT=watchdog"' in lines[2]
    assert lines[-3:] == ["MemoryMax=200M", "MemorySwapMax=0", "WatchdogSec=5"]


def test_the_disk_of_the_record_can_be_slowed_and_broken(tmp_path):
    """Its uppermost node is the throttle that the driver puts others under, whatever nodes a test has there."""
    nodes = [*qemu.record_disk(tmp_path / "record.raw"), qemu._throttled("record-file")]
    given = [json.loads(text) for text in qemu._blockdevs(nodes)[1::2]]
    assert given[-1]["node-name"] == qemu.RECORD and given[-1]["file"] == given[-2]["node-name"]
    assert Path(given[0]["file"]["filename"]).name == "record.raw"


def test_a_guest_that_is_off_has_no_monitor(target):
    driver = target.get_driver("QemuDriver", activate=False)
    assert not driver.running()
    driver.cut()  # nothing to be cut is no error


@pytest.mark.parametrize("name", ["pi4", "pi5", "zero2w", "pi-virtual"])
def test_rigs_with_systemd_can_be_loaded_without_the_board(name):
    one = rig.load(name)
    assert {"systemd", "plug", "camera-stack"} <= one.features
    assert one.target.get_driver("PowerProtocol", activate=False) and one.budget.sizes["plugs"]
