"""The picture of the worst cases: which are chosen, and that it can be drawn of what there is."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from device.segmentation import Region
from train import gallery
from train.datasets import MaskFile, Sample
from train.evaluation import Case

SIZE = 64


def case(id: str, found: dict[str, Region] | None = None, refused: str = "", **values: float) -> Case:
    return Case("eyes", id, "", values, refused, found or {})


def disc(mask_side: int) -> Region:
    """A square of that side, which covers pixels 16 .. 16 + side in both directions."""
    return Region(np.full((mask_side, mask_side), 255, np.uint8), 16, 16)


def ids(row: gallery.Row) -> list[str]:
    return [c.id for c in row.cases]


def test_the_lowest_dice_come_first_of_each_structure():
    cases = [case(f"n{i}", dice_disc=0.9 - i / 10, dice_cup=0.1 + i / 10) for i in range(6)]
    of_disc, of_cup = gallery.rows({"eyes": cases})
    assert ids(of_disc) == ["n5", "n4", "n3", "n2"] and of_disc.title == "eyes, optic disc"
    assert ids(of_cup) == ["n0", "n1", "n2", "n3"]


def test_the_ill_with_low_and_the_healthy_with_high_scores_come_first():
    cases = [case(f"n{i}", label=float(i % 2), score=i / 10) for i in range(8)]
    cases.append(case("refused", label=1.0))  # it has no score
    (row,) = gallery.rows({"eyes": cases})
    assert ids(row) == ["n1", "n3", "n6", "n4"]


def test_of_one_class_alone_there_are_no_decisions():
    assert gallery.rows({"eyes": [case("n0", label=1.0, score=0.2)]}) == []


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[..., 2] = 200  # red, for OpenCV
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[20:40, 20:40] = 255
    for name, pixels in (("a", picture), ("mask", mask)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    return Sample("eyes", "a", "a", tmp_path / "a.png", mask_files={"disc": MaskFile(tmp_path / "mask.png")})


@pytest.mark.parametrize("found", [{"disc": disc(20)}, {}], ids=["outlined", "nothing found"])
def test_photograph_and_both_outlines_are_drawn(tmp_path, sample, found):
    path = tmp_path / "worst.png"
    shown = case("a", found, refused="" if found else "no optic disc found", dice_disc=0.5)
    assert gallery.draw(path, {"eyes": [shown]}, {"eyes": [sample]}, "a test")
    pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(int)
    red = (pixels == (200, 0, 0)).all(-1)
    assert red.mean() > 0.05  # the photograph, cut to the disc
    blue = (np.abs(pixels - (0x56, 0xB4, 0xE9)).max(-1) < 40).sum()
    assert (blue > 50) == bool(found)


def test_decisions_are_drawn_without_an_outline(tmp_path, sample):
    other = Sample("eyes", "b", "b", sample.path)
    cases = [case("a", label=1.0, score=0.1), case("b", label=0.0, score=0.9)]
    assert gallery.draw(tmp_path / "worst.png", {"eyes": cases}, {"eyes": [sample, other]}, "a test")
    assert (tmp_path / "worst.png").is_file()


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert not gallery.draw(tmp_path / "worst.png", {"eyes": [case("a")]}, {"eyes": []}, "a test")
    assert not (tmp_path / "worst.png").exists()
