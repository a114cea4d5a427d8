"""The self-test: what is well passes, and each deliberate fault is found and said with its way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from device import bundle, health, runtime, selftest, signing
from device.camera.simulated import SimulatedCamera
from device.cli import main
from device.errors import CameraError
from device.frame import Frame
from device.health import Health
from device.language import Translator
from device.runtime import Network
from device.selftest import Check, passed
from tests.conftest import CHECKOUT

WELL = Health(
    temperature_c=48.0, throttled_now=(), throttled_since_start=(), clock_plausible=True, clock_source="network",
    time="2026-11-24T08:15:00+00:00", memory_free_mb=300,
)  # fmt: skip


@pytest.fixture
def bundles(tmp_path):
    """A folder with copies of the shipped bundles, to be spoilt."""
    return Path(shutil.copytree(bundle.SHIPPED, tmp_path / "bundles"))


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def checked(checks, name):
    (found,) = [check for check in checks if check.name == name]
    assert_translated(found)
    return found


def assert_translated(check):
    translate = Translator("ja")
    for text in (check.name, check.said, check.tip):
        assert not text or translate.knows(text), text


def resigned(path, **changes):
    """The bundle again with other members, signed by the trusted key: only its content can give it away."""
    loaded = bundle.load(path)
    parts = {"model": loaded.model, "golden_input": loaded.golden_input, "golden_output": loaded.golden_output}
    key = signing.read_private_key(signing.DEVELOPMENT_KEY)
    return bundle.write(path, loaded.manifest, card=loaded.card, key=key, **(parts | changes))


def test_an_instrument_that_is_well(store):
    checks = selftest.run(store=store, camera=SimulatedCamera(seed=3), board=WELL)
    assert [check.name for check in checks] == [
        "camera", "models", "model disc_cup-0.1.0.tnh", "model disc_finder-0.1.0.tnh", "model faz-0.1.0.tnh",
        "model glaucoma-0.1.0.tnh", "model haemorrhage-0.1.0.tnh", "storage", "clock", "power", "temperature",
        "memory",
    ]  # fmt: skip
    for check in checks:
        assert check.ok is True and check.tip == "", check
        assert_translated(check)
    assert not list(store.iterdir())


def test_what_is_not_there_to_be_checked_does_not_fail():
    checks = selftest.run(board=Health(clock_plausible=True, time=WELL.time))
    assert passed(checks)
    for name in ("camera", "storage", "power", "temperature", "memory"):
        assert checked(checks, name).ok is None


def test_a_flipped_byte_that_a_trusted_key_signed(bundles):
    """Signature and hashes are in order; only the golden vectors show that the model is another one."""
    path = bundles / "disc_cup-0.1.0.tnh"
    model = bytearray(bundle.load(path).model)
    wanted = bundle.load(path).golden_output
    at = next(
        at
        for at in range(len(model) // 2, len(model))
        if not np.array_equal(answer(flipped(model, at), bundle.load(path).golden_input), wanted)
    )
    resigned(path, model=flipped(model, at))
    checks = selftest.software(bundles)
    assert not passed(checks)
    found = checked(checks, f"model {path.name}")
    assert found.ok is False and found.said == "it does not answer as it did when it was made"
    assert checked(checks, "model glaucoma-0.1.0.tnh").ok


def flipped(model, at):
    changed = bytearray(model)
    changed[at] ^= 0x10
    return bytes(changed)


def answer(model, x):
    return Network(model, reference=True).run(x)


def test_another_golden_output_that_a_trusted_key_signed(bundles):
    path = bundles / "glaucoma-0.1.0.tnh"
    resigned(path, golden_output=bundle.load(path).golden_output + np.int8(1))
    assert checked(selftest.software(bundles), f"model {path.name}").ok is False


def test_another_network_under_a_manifest(bundles):
    path = bundles / "disc_cup-0.1.0.tnh"
    resigned(path, model=(CHECKOUT / "tests" / "golden" / "tiny.tflite").read_bytes())
    found = checked(selftest.software(bundles), f"model {path.name}")
    assert found.ok is False and "manifest describes" in found.said


def test_a_damaged_and_a_missing_bundle(bundles):
    damaged = bundles / "disc_cup-0.1.0.tnh"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (bundles / "glaucoma-0.1.0.tnh").unlink()
    checks = selftest.software(bundles)
    found = next(c for c in checks if c.name == f"model {damaged.name}")  # its words are the bundle's own
    assert found.ok is False and "copy it again" in found.said
    missing = checked(checks, "models")
    assert missing.ok is False and "glaucoma" in missing.said and ".tnh" in missing.tip


@dataclass
class Kernels:
    """Stands for a runtime whose fast kernels are off or absent."""

    steps: int
    xnnpack: bool

    def __call__(self, model, threads=1, reference=False):
        network = Network(model, reference=reference)
        if not reference:
            run = network.run
            network.run = lambda x: np.clip(run(x).astype(int) + self.steps, -128, 127).astype(np.int8)
            network.delegated = lambda: self.xnnpack
        return network


@pytest.mark.parametrize(
    ("kernels", "said"), [(Kernels(9, True), "steps off"), (Kernels(0, False), "(XNNPACK) are not used")]
)
def test_fast_kernels_that_are_wrong_or_absent(bundles, monkeypatch, kernels, said):
    monkeypatch.setattr(runtime, "Network", kernels)
    found = checked(selftest.software(bundles), "model disc_cup-0.1.0.tnh")
    assert found.ok is False and said in found.said


@contextmanager
def stranger():
    """An ordinary user where the tests run as root, to whom permissions apply. This checkout may lie where such a
    user cannot read."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_written_to():
    with stranger():
        folder = Path(tempfile.mkdtemp())
        folder.chmod(0o555)
        checks = selftest.software(folder, store=folder)  # there are no bundles either
        folder.rmdir()
    found = checked(checks, "storage")
    assert found.ok is False and "may not write" in found.said and "tenohira" in found.tip


def test_a_disk_that_can_only_be_read(store):
    """A real one, mounted in a namespace of its own."""
    if os.geteuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mounting needs root and 'unshare'")
    code = f"import pathlib, device.selftest as s; print(s.software(store=pathlib.Path('{store}'))[-1])"
    script = f'mount -t tmpfs -o ro none "{store}" && exec "{sys.executable}" -c "$0"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, code], capture_output=True, text=True, check=True, cwd=CHECKOUT
    )
    assert "can only be read" in done.stdout and "ok=False" in done.stdout


def test_a_folder_that_is_not_there_and_a_disk_that_is_full(store):
    assert "there is no folder" in checked(selftest.software(store=store / "none"), "storage").said
    found = checked(selftest.software(store=store, keep_free_mb=2**40), "storage")
    assert found.ok is False and "are needed" in found.said
    full = Path("/dev/full")
    assert selftest._storage_fault(full, OSError(28, "No space left on device"))[0] == "the disk is full"


@dataclass
class Lens:
    """A camera that shows one picture, or fails."""

    pixels: np.ndarray | None
    name: str = "test"

    def preview(self, deadline):
        if self.pixels is None:
            raise CameraError("no camera was found; check its cable, then try again")
        return Frame(self.pixels)


def test_cameras_that_are_missing_or_see_nothing():
    found = selftest.run(camera=Lens(None), board=WELL)[0]
    assert found == Check("camera", False, "no camera was found; check its cable, then try again")
    black = checked(selftest.run(camera=Lens(np.full((480, 640, 3), 2, np.uint8)), board=WELL), "camera")
    assert black.ok is False and "lens cap" in black.tip


def test_a_camera_by_its_name_is_opened_and_let_go(store):
    found = checked(selftest.run(store=store, camera="simulated", board=WELL), "camera")
    assert found.ok is True and "pixels" in found.said


def test_a_camera_that_is_not_connected():
    found = selftest.run(camera="picamera2", board=WELL)[0]
    assert found.name == "camera" and found.ok is False
    assert Translator("ja").knows(found.said), found.said


@pytest.mark.parametrize(
    ("spec", "ok"), [("none", None), ("gpio:preview=17,button=22", True), ("gpio:preview=99", False)]
)
def test_the_pins_of_lights_and_button(monkeypatch, spec, ok):
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    found = selftest.run(light=spec, board=WELL)[1]
    assert found.name == "light" and found.ok is ok
    assert Translator("ja").knows(found.said), found.said


def test_a_fault_of_ours_fails_its_check_alone(monkeypatch, store):
    monkeypatch.setattr(selftest, "_probe", lambda store: 1 / 0)
    checks = selftest.software(store=store)
    found = checked(checks, "storage")
    assert found.ok is False and "ZeroDivisionError" in found.said
    assert checked(checks, "models").ok


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"clock_plausible": False}, "clock"),
        ({"throttled_now": (health.FLAGS[0],)}, "power"),
        ({"temperature_c": 84.0}, "temperature"),
        ({"memory_free_mb": 20}, "memory"),
    ],
)
def test_a_board_in_trouble(changes, name):
    checks = selftest.run(board=replace(WELL, **changes))
    found = checked(checks, name)
    assert found.ok is False and found.tip and not passed(checks)
    assert all(check.ok is not False for check in checks if check is not found)


def test_what_is_only_remarkable_passes_with_a_remark():
    checks = selftest.run(board=replace(WELL, clock_source="", throttled_since_start=(health.FLAGS[0],)))
    assert passed(checks)
    assert "watch" in checked(checks, "clock").tip and "at least once" in checked(checks, "power").tip


def test_a_clock_that_lies_before_the_last_record(store):
    (store / "record.db").write_bytes(b"")
    os.utime(store / "record.db", (4e9, 4e9))
    assert checked(selftest.run(store=store), "clock").ok is False


def test_command(bundles, store, capsys):
    assert main(["selftest", "--software", "--store", str(store), "--bundles", str(bundles)]) == 0
    assert "self-test passed" in capsys.readouterr().out
    assert main(["selftest", "--software", "--store", str(store / "none"), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False and report["checks"][-1]["name"] == "storage"
    assert main(["selftest", "--software", "--store", str(store / "none")]) == 1
    said = capsys.readouterr().out
    assert "FAIL  storage" in said and "-> Start the service once" in said
