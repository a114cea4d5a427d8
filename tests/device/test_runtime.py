"""The interpreter behind one class, on a tiny network that our own chain made."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from device.errors import RuntimeUnavailableError
from device.runtime import Network
from tests.conftest import CHECKOUT

TINY = (CHECKOUT / "tests" / "golden" / "tiny.tflite").read_bytes()


def picture(seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:64, :64]
    bright = np.hypot(x - 32, y - 30) < 18
    noise = np.random.default_rng(seed).integers(0, 24, (64, 64, 3))
    return (noise + 200 * bright[..., None] - 128).astype(np.int8)[None]


def test_it_describes_its_tensors():
    network = Network(TINY)
    assert network.input.shape == (1, 64, 64, 3) and network.output.shape == (1, 32, 32, 2)
    assert network.input.dtype == network.output.dtype == "int8"
    assert network.input.scale == pytest.approx(1 / 255) and network.input.zero_point == -128


def test_it_tells_the_bright_disc_from_its_ground():
    network = Network(TINY)
    outside = network.run(picture())[0, ..., 0] > network.output.zero_point
    y, x = np.mgrid[:32, :32]
    wanted = np.hypot(x - 15.75, y - 14.75) < 9
    assert (outside != wanted).mean() > 0.9  # its weights are random, but for the head


def test_an_answer_is_a_copy_that_the_next_run_leaves_alone():
    network = Network(TINY)
    first = network.run(picture())
    kept = first.copy()
    network.run(np.full((1, 64, 64, 3), -128, np.int8))
    np.testing.assert_array_equal(first, kept)


def test_kernels_agree_within_a_few_steps():
    reference = Network(TINY, reference=True).run(picture()).astype(int)
    for network in (Network(TINY), Network(TINY, threads=2), Network(TINY, delegate=False)):
        assert np.abs(network.run(picture()) - reference).max() <= 4


def test_xnnpack_takes_it_and_can_be_left_out():
    assert Network(TINY).delegated()
    assert not Network(TINY, delegate=False).delegated()
    assert not Network(TINY, reference=True).delegated()


@pytest.mark.parametrize("model", [b"", b"not a model", TINY[:1000]])
def test_a_model_that_is_none_is_refused(model):
    with pytest.raises(RuntimeUnavailableError, match="refuses this model"):
        Network(model)


def test_without_a_runtime_the_message_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith(("ai_edge_litert", "tflite_runtime")):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RuntimeUnavailableError, match="pip install ai-edge-litert"):
        Network(TINY)
