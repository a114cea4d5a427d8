"""Programs of aarch64 on this machine: what is set up for them goes again, and slow kernels are noticed."""

from __future__ import annotations

import json

import pytest

from hil_tests import rig
from hil_tests.images import binfmt, root

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(root.missing()), reason=f"no emulation: {root.missing()}"),
]


@pytest.fixture(scope="module")
def target():
    """Of the aarch64 rig, with this checkout's tenohira."""
    found = rig.load("aarch64").target
    strategy = found.get_driver("Strategy")
    strategy.transition("installed")
    yield found
    strategy.transition("off")


@pytest.fixture
def machine(target):
    return target.get_driver("CommandProtocol")


def test_commands_share_what_they_write_and_files_come_and_go(machine, tmp_path):
    (tmp_path / "there").write_text("carried")
    machine.put(str(tmp_path / "there"), "/srv/there")
    assert machine.run_check("uname -m; cat /srv/there; cp /srv/there /srv/back") == ["aarch64", "carried"]
    machine.get("/srv/back", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "carried"
    assert not (root.build() / "srv/there").exists()
    out, err, code = machine.run("echo said; echo wrong >&2; exit 3")
    assert (out, err, code) == (["said"], ["wrong"], 3)


def test_slow_kernels_are_noticed(machine):
    """LiteRT looks into /sys for what the processor can do. Without it, it leaves XNNPACK out and says nothing."""
    machine.run_check("mkdir /srv/one && cp /opt/device/bundles/glaucoma-* /srv/one")
    selftest = "tenohira selftest --software --json --bundles /srv/one"

    def model(command: str) -> dict:
        checks = json.loads("".join(machine.run(command)[0]))["checks"]
        return next(check for check in checks if check["name"].startswith("model "))

    assert model(selftest)["ok"] is True
    without = model(f"unshare --mount sh -c 'umount /sys && exec {selftest}'")
    assert without["ok"] is False and "XNNPACK" in without["said"]


def test_the_rule_of_the_kernel_stays_for_its_last_user():
    with binfmt.registered():
        assert any((binfmt.RULES / name).exists() for name in (binfmt.NAME, "qemu-aarch64"))
        with binfmt.registered():
            pass
        assert any((binfmt.RULES / name).exists() for name in (binfmt.NAME, "qemu-aarch64"))
