"""The data sets' contract and the fixed splits: nothing crosses."""

import csv
import hashlib
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image

from train.datasets import SETS, load_split
from train.datasets.base import SAME_EYE, MaskFile, Sample, same_eye_groups
from train.datasets.splits import FOLDER, PARTS, SHARES, make_split, read_split, write_split
from train.errors import DataError


@pytest.mark.parametrize("name", SETS)
def test_no_group_crosses_a_split(name):
    parts = defaultdict(set)
    rows = read_split(name)
    for group, part in rows.values():
        assert part in PARTS
        parts[group].add(part)
    assert all(len(p) == 1 for p in parts.values())
    assert {part for _, part in rows.values()} == set(PARTS), "every part has images"


@pytest.mark.parametrize("name", SETS)
def test_no_image_is_listed_twice(name):
    with open(FOLDER / f"{name}.csv", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert len(ids) == len(set(ids))


def test_chase_is_split_by_child():
    by_child = defaultdict(set)
    for id, (group, part) in read_split("chase_db1").items():
        assert id[6:8] == group
        by_child[group].add(part)
    assert len(by_child) == 14
    assert all(len(p) == 1 for p in by_child.values())


def test_photographs_of_one_eye_stay_together():
    with open(SAME_EYE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        split = read_split(row["set"])
        of, _, id = row["a"].rpartition(":")  # an eye of IDRiD's part A is named with its set
        assert (read_split(of) if of else split)[id] == split[row["b"]], row


def test_same_eye_groups_are_transitive():
    groups = same_eye_groups("palm_disc")
    assert groups["H0007"] == groups["H0008"] == groups["H0009"]


@pytest.mark.data
def test_idrid_duplicates_never_cross_parts_a_and_b(data_root):
    part_a, part_b = read_split("idrid_a"), read_split("idrid_b")
    with open(data_root / "idrid" / "A_to_B_duplicates.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["same_image"] == "True"]
    assert len(rows) > 50
    for row in rows:
        a = part_a[row["A_image"].removesuffix(".jpg")]
        b = part_b[f"{row['B_split']}_{row['B_image'].removesuffix('.jpg')}"]
        assert a == b, row


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_a_photograph_that_a_set_holds_twice_is_in_one_group(data_root, name):
    groups = defaultdict(set)
    for sample in SETS[name](data_root).samples():
        groups[hashlib.sha256(sample.path.read_bytes()).hexdigest()].add(sample.group)
    assert not [alike for alike in groups.values() if len(alike) > 1]


def test_pairs_that_were_found_too_late_leak_nothing_into_a_figure():
    """They still cross (else they belong into same_eye.csv), but never from training into a test part."""
    with open(FOLDER / "crossing.csv", newline="") as file:
        for row in csv.DictReader(file):
            split = read_split(row["set"])
            parts = {split[row["a"]][1], split[row["b"]][1]}
            assert len(parts) == 2 and parts != {"train", "test"}, row


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_committed_split_is_what_the_rule_makes(data_root, tmp_path, name):
    (tmp_path / "idrid_a.csv").write_bytes((FOLDER / "idrid_a.csv").read_bytes())
    made = write_split(name, SETS[name](data_root).samples(), tmp_path)
    assert made.read_text() == (FOLDER / f"{name}.csv").read_text()


@pytest.mark.data
@pytest.mark.parametrize("name", SETS)
def test_adapter_keeps_the_contract(data_root, name):
    samples = SETS[name](data_root).samples()
    assert len(samples) == SETS[name].expected
    for sample in (samples[0], samples[-1]):
        image = sample.image()
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        for mask in sample.masks().values():
            assert mask.shape == image.shape[:2]
            assert set(np.unique(mask)) <= {0, 1}


@pytest.mark.data
def test_cup_lies_inside_the_disc(data_root):
    for name in ("refuge_crops", "drishti_gs1"):
        masks = load_split(data_root, name, "test")[0].masks()
        assert masks["cup"].sum() > 0
        assert (masks["cup"] & masks["disc"]).sum() > 0.95 * masks["cup"].sum()


def _samples(n, groups=1, stratum="", official=""):
    return [
        Sample("s", f"{stratum}{i}", f"{stratum}{i // groups}", None, stratum=stratum, official=official)
        for i in range(n)
    ]


def test_split_keeps_groups_strata_and_shares():
    samples = _samples(200, groups=2, stratum="a") + _samples(100, groups=2, stratum="b")
    parts = make_split(samples, (0.6, 0.15, 0.25))
    for stratum, size in (("a", 200), ("b", 100)):
        share = sum(parts[s.id] == "test" for s in samples if s.stratum == stratum) / size
        assert share == pytest.approx(0.25, abs=0.03)
    by_group = defaultdict(set)
    for s in samples:
        by_group[s.group].add(parts[s.id])
    assert all(len(p) == 1 for p in by_group.values())


def test_a_group_that_publishers_spread_goes_to_the_protected_part():
    spread = [Sample("s", i, "eye", None, official=o) for i, o in (("1", "train"), ("2", "val"), ("3", "test"))]
    assert set(make_split(spread, SHARES["palm_disc"]).values()) == {"test"}


def test_damaged_and_absent_files_are_named(tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not a picture")
    for path in (bad, tmp_path / "absent.png"):
        with pytest.raises(DataError, match=path.name):
            Sample("s", "1", "1", path).image()
    Image.fromarray(np.full((4, 4), 128, np.uint8)).save(tmp_path / "m.png")
    assert MaskFile(tmp_path / "m.png", 0, 191).read().all()
    assert not MaskFile(tmp_path / "m.png", 0, 63).read().any()


def test_absent_set_says_how_to_obtain_it(tmp_path):
    with pytest.raises(DataError, match="octa_faz"):
        SETS["octa_faz"](tmp_path)
    with pytest.raises(DataError, match="unknown data set"):
        load_split(tmp_path, "nothing", "train")
