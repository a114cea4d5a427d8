"""Tiles cover the field of view once, lie where the structure is, and what they say is put back in its place."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from device.geometry import Square, network_input
from device.tiles import FIELD_SIDE, side_of
from train import tiles
from train.augment import example
from train.datasets.base import MaskFile, Sample
from train.evaluation import headline, network_cases
from train.inputs import Prepared, prepare
from train.recipe import DataSpec, NetworkSpec, Recipe
from train.report import overlap_rows

SIZE = 224  # of the input; a tile of the photograph below is 48 or 50 pixels wide
RECIPE = Recipe(
    name="t", task="haemorrhage", size=SIZE, data=DataSpec(sets={"idrid_a": 4}), network=NetworkSpec(kind="lwbna")
)


def photograph(structure: bool = True) -> Prepared:
    """200 x 300, a field of view in it, and one small dark spot."""
    y, x = np.mgrid[:200, :300]
    field = (y - 100) ** 2 + (x - 150) ** 2 < 90**2
    image = np.where(field[..., None], (150, 80, 40), 0).astype(np.uint8)
    mask = np.zeros((200, 300), np.uint8)
    if structure:
        mask[120:126, 90:97] = 1
    image[mask > 0] = (60, 20, 20)
    sample = Sample("idrid_a", "one", "one", path=None)
    return Prepared(sample, image, {"haemorrhage": mask}, Square(60, 10, 180), None)


@pytest.fixture
def on_disk(tmp_path):
    """The photograph's file and its mask's."""
    p = photograph()
    Image.fromarray(p.image).save(tmp_path / "a.png")
    Image.fromarray(p.masks["haemorrhage"] * 255).save(tmp_path / "m.png")
    return tmp_path / "a.png", MaskFile(tmp_path / "m.png")


def test_half_of_the_tiles_hold_the_structure_and_all_lie_in_the_photograph():
    p = photograph()
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        whole, tile = tiles.draw(RECIPE, p, rng)
        assert (whole.x, whole.y) == (0, 0)
        assert tile.x >= -1 and tile.y >= -1 and tile.x + tile.side <= 301 and tile.y + tile.side <= 201
        inside = p.masks["haemorrhage"][max(tile.y, 0) :, max(tile.x, 0) :][: tile.side, : tile.side]
        hits += bool(inside.any())
    assert 180 < hits < 300  # one in two, and some by chance


def test_a_photograph_without_the_structure_has_tiles_too():
    whole, tile = tiles.draw(RECIPE, photograph(structure=False), np.random.default_rng(0))
    assert 30 < tile.side < 70 and whole.side == 300


def test_validation_tiles_are_always_the_same_and_as_large_as_the_devices():
    p = photograph()
    found = tiles.fixed(RECIPE, p, 6)
    assert [t.square for t in found] == [t.square for t in tiles.fixed(RECIPE, p, 6)]
    assert {t.square.side for t in found} == {side_of(p.square, SIZE)} == {2 * round(SIZE * 180 / FIELD_SIDE / 2)}
    x, y = example(RECIPE, found[0], None)
    assert np.array_equal(x, network_input(p.image, found[0].square, SIZE))
    assert y.shape == (SIZE, SIZE, 1)


@pytest.mark.parametrize("reduction", [1, 2])
def test_every_pixel_of_the_field_is_answered_in_its_place(reduction):
    """A network that answers with the green of what it sees, at its input's resolution or at half of it."""
    p = photograph()

    def green(tile):
        return tile[::reduction, ::reduction, 1:2].astype(np.float32)

    logits = tiles.whole_logits(p, green, SIZE)
    x0, y0, side = p.square.x, p.square.y, p.square.side
    inside = np.s_[y0 : y0 + side, x0 : x0 + side]
    assert (logits[inside] > tiles.NOTHING).all()
    wrong = np.abs(logits[..., 0][inside] - p.image[..., 1][inside]) > 10
    assert wrong.mean() <= 0.05  # resized on the way: edges alone
    assert (logits[:, :x0] == tiles.NOTHING).all()


@pytest.mark.parametrize("reduction", [1, 2])
def test_at_the_fields_own_width_every_pixel_is_answered_to_the_bit(reduction):
    """The same where a tile is as large as the input: nothing is resized on the way."""
    small = photograph()
    image = np.zeros((900, 1000, 3), np.uint8)
    image[40:860, 90:910] = cv2.resize(small.image[10:190, 60:240], (FIELD_SIDE, FIELD_SIDE))
    p = Prepared(small.sample, image, {}, Square(90, 40, FIELD_SIDE), None)
    assert side_of(p.square, 48) == 48

    def green(tile):
        return tile[::reduction, ::reduction, 1:2].astype(np.float32)

    logits = tiles.whole_logits(p, green, 48)
    inside = np.s_[40:860, 90:910]
    wrong = np.abs(logits[..., 0][inside] - image[..., 1][inside]) > (0 if reduction == 1 else 20)
    assert wrong.mean() <= (0 if reduction == 1 else 0.02)  # halved: edges alone
    assert (logits[:, :90] == tiles.NOTHING).all()


def test_absent_is_an_empty_mask_and_not_looked_for_is_none(on_disk):
    image, _ = on_disk
    seen = prepare("haemorrhage", Sample("s", "a", "a", image, absent=("haemorrhage",)))
    assert not seen.masks["haemorrhage"].any()
    assert "haemorrhage" not in prepare("haemorrhage", Sample("s", "a", "a", image)).masks


def test_a_perfect_network_has_perfect_figures(on_disk):
    image, mask = on_disk
    sample = Sample("s", "a", "a", image, {"haemorrhage": mask})

    def dark(tile):
        return np.where((tile[..., :1] > 30) & (tile[..., :1] < 100), 5.0, -5.0).astype(np.float32)

    (case,) = network_cases("haemorrhage", [sample], dark, SIZE)
    assert case.values["dice_haemorrhage"] == 1
    assert case.values["ap_haemorrhage"] == pytest.approx(1)
    assert headline([case])["average_precision_haemorrhage"] == pytest.approx(1)
    (row,) = overlap_rows("int8", "s", [case])
    assert (row["structure"], row["average precision of pixels"]) == ("haemorrhages", "1.000")
    (case,) = network_cases("haemorrhage", [sample], lambda t: -dark(t), SIZE)
    assert case.values["dice_haemorrhage"] < 0.05
    assert case.values["ap_haemorrhage"] < 0.05
