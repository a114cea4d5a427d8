"""The instrument's own test of itself, on the target."""

from __future__ import annotations

import json


def test_the_software_passes_its_self_test(target):
    said = target.get_driver("InstrumentProtocol").tenohira("selftest", "--software", "--json")
    assert said.code == 0, said.out + said.err
    checks = json.loads(said.out)["checks"]
    assert checks and not any(check["ok"] is False for check in checks), said.out
    # Without the fast kernels (XNNPACK) each answer is the same and comes several times later. That the self-test
    # notices is shown in tests/hil_tests/test_emulated.py.
    models = [check for check in checks if check["name"].startswith("model ")]
    assert models and all("fast kernels" in check["said"] for check in models), said.out


def test_every_shipped_bundle_reproduces_its_golden_vectors(target):
    """On the runtime's reference kernels, to the bit, on every architecture."""
    said = target.get_driver("InstrumentProtocol").tenohira("bundle", "verify")
    assert said.code == 0, said.out + said.err
    assert said.out and all("golden vectors agree" in line for line in said.out.splitlines()), said.out
