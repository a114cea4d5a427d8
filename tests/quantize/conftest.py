"""Two tiny networks that went through the chain, shared by the tests: nothing here needs data or training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from quantize.chain import Converted, convert_network
from train.networks.lwbna import LWBNAUnet
from train.networks.narrow_classifier import NarrowClassifier

SIZE = 64


class Tiny(NamedTuple):
    network: torch.nn.Module
    images: np.ndarray
    converted: Converted


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Bright discs of several places and sizes on a dark, noisy ground: 8 x 64 x 64 x 3."""
    return discs(8)


@pytest.fixture(scope="session")
def segmenter(images) -> Tiny:
    network = segmentation_network(images)
    return Tiny(network, images, convert_network(network, SIZE, images, images))


@pytest.fixture(scope="session")
def classifier(images) -> Tiny:
    torch.manual_seed(0)
    network = NarrowClassifier(width=16).eval()
    return Tiny(network, images, convert_network(network, SIZE, images, images))


def discs(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    out = rng.integers(0, 24, (count, SIZE, SIZE, 3))
    for image in out:
        cx, cy, r = rng.uniform(24, 40), rng.uniform(24, 40), rng.uniform(14, 22)
        image[np.hypot(x - cx, y - cy) < r] += 200
    return out.astype(np.uint8)


def segmentation_network(images: np.ndarray) -> LWBNAUnet:
    """Random weights, but for a head that tells bright from dark: its masks have clear outlines."""
    torch.manual_seed(0)
    network = LWBNAUnet(width=16, outputs=2, stem=True).eval()
    bright = torch.from_numpy(images[:, ::2, ::2].mean(-1) > 100)
    with torch.no_grad():
        logits = network(as_tensor(images)).permute(0, 2, 3, 1)
        inside, outside = logits[bright].mean(0), logits[~bright].mean(0)
        network.head.conv.bias -= (inside + outside) / 2
        network.head.conv.weight *= 20
        network.head.conv.bias *= 20
    return network


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
