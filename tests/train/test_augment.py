"""Augmentation: seeded, in range, and masks move with their images."""

import cv2
import numpy as np
import pytest

from device.geometry import Square, crop
from device.localization import Disc, extent_of
from device.segmentation import Region
from train.augment import _beside, example, geometry, jittered_region, photometry
from train.datasets import Sample
from train.inputs import Prepared
from train.recipe import AugmentSpec, read_recipe


def _prepared(size=400, radius=50):
    mask = np.zeros((size, size), np.uint8)
    cv2.circle(mask, (size // 2, size // 2), radius, 1, -1)
    cup = np.zeros_like(mask)
    cv2.circle(cup, (size // 2, size // 2), radius // 2, 1, -1)
    image = np.repeat((60 + 120 * mask)[..., None], 3, axis=2).astype(np.uint8)
    disc = extent_of(Region(mask, 0, 0))
    square = Square.around(disc.cx, disc.cy, 2 * disc.diameter)
    return Prepared(Sample("s", "1", "1", None), image, {"disc": mask, "cup": cup}, square, disc)


@pytest.mark.parametrize("name", ["disc_cup", "disc_finder"])
def test_same_seed_same_example(name):
    recipe, p = read_recipe(name), _prepared()
    first = example(recipe, p, np.random.default_rng(5))
    again = example(recipe, p, np.random.default_rng(5))
    other = example(recipe, p, np.random.default_rng(6))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert not np.array_equal(first[0], other[0])
    assert first[0].shape == (recipe.size, recipe.size, 3)
    assert first[1].shape == (recipe.size, recipe.size, len(recipe.task_spec.classes))


def test_the_disc_finder_sees_photographs_without_a_disc():
    recipe, p = read_recipe("disc_finder"), _prepared()
    empty = [not example(recipe, p, np.random.default_rng(seed))[1].any() for seed in range(300)]
    assert 0.08 < np.mean(empty) < 0.25
    for seed in range(100):
        beside = _beside(p.target, (400, 400), np.random.default_rng(seed))
        assert 0 <= beside.x <= 400 - beside.side and 0 <= beside.y <= 400 - beside.side and beside.side >= 50
        assert not crop(p.masks["disc"], beside).any()
    assert _beside(Disc(200, 200, 300), (400, 400), np.random.default_rng(0)) is None


def test_without_a_generator_nothing_changes():
    recipe, p = read_recipe("disc_cup"), _prepared()
    x, y = example(recipe, p, None)
    found = extent_of(Region((y[..., 0] > 127).astype(np.uint8), 0, 0))
    assert found.diameter == pytest.approx(recipe.size / 2, abs=1.5)  # ROI_DIAMETERS: 2
    assert x[recipe.size // 2, recipe.size // 2, 0] == 180


def test_masks_move_with_the_image():
    p = _prepared()
    spec = AugmentSpec()
    for seed in range(20):
        mask = cv2.resize(p.masks["disc"] * 255, (128, 128), interpolation=cv2.INTER_AREA)[..., None]
        image = np.repeat(mask, 3, axis=2)
        x, y = geometry(image, mask, spec, np.random.default_rng(seed))
        inside, lit = y[..., 0] > 127, x[..., 0] > 127
        assert (inside == lit).mean() > 0.999


def test_regions_cover_every_tightness_and_keep_the_disc():
    recipe, p = read_recipe("disc_cup"), _prepared()
    shares, tight = [], 0
    for seed in range(300):
        outer, region = jittered_region(recipe, p, np.random.default_rng(seed))
        shares.append(p.target.diameter / region.side)
        tight += outer.side < 2 * p.target.diameter
        cx, cy = p.target.cx - outer.x - region.x, p.target.cy - outer.y - region.y
        assert 0.2 < cx / region.side < 0.8
        assert 0.2 < cy / region.side < 0.8
    assert min(shares) < 0.4
    assert max(shares) > 0.6
    assert 50 < tight < 160


def test_photometry_stays_in_range_and_grey_stays_grey():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 255, (64, 64, 1), np.uint8), 3, axis=2)
    changed = 0
    for seed in range(40):
        out = photometry(grey, 1.0, np.random.default_rng(seed), grey=True)
        assert out.dtype == np.uint8
        spread = np.ptp(out.astype(int), axis=2)
        assert spread.max() <= 2  # JPEG may round the channels apart
        changed += not np.array_equal(out, grey)
    assert changed > 30
    assert np.array_equal(photometry(grey, 0.0, rng), grey)
