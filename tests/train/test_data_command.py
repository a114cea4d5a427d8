"""``tenohira data``: whatever is wrong with a copy is named, and the committed splits can be made again."""

import csv
import shutil

import cv2
import numpy as np
import pytest

from device.cli import main
from tests.train.toy import make_octa
from train.datasets import SETS
from train.datasets.octa_faz import OctaFaz
from train.datasets.splits import FOLDER, read_split

ID = sorted(read_split("octa_faz"))[7]


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    return make_octa(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def root(whole, tmp_path, monkeypatch):
    """A toy root of one whole set, to be damaged."""
    monkeypatch.setattr(OctaFaz, "sizes", frozenset({(64, 64)}))
    return shutil.copytree(whole, tmp_path / "root")


def check(root, capsys):
    code = main(["data", "check", str(root)])
    return code, capsys.readouterr().out.splitlines()


def test_a_whole_root_is_clean_and_absent_sets_are_named(root, capsys):
    code, lines = check(root, capsys)
    assert code == 0
    assert lines[0].split(maxsplit=1) == ["octa_faz", "100 of 100 images, 100 mask files: clean"]
    assert len(lines) == len(SETS)
    for name in SETS.keys() - {"octa_faz"}:
        assert any(line.startswith(f"{name} ") and SETS[name].obtain in line for line in lines)


def remove_image(folder):
    (folder / "images" / f"{ID}.png").unlink()


def truncate_image(folder):
    path = folder / "images" / f"{ID}.png"
    path.write_bytes(path.read_bytes()[:-200])


def empty_mask_file(folder):
    (folder / "masks" / f"{ID}.png").write_bytes(b"")


def remove_mask(folder):
    (folder / "masks" / f"{ID}.png").unlink()


def enlarge_mask(folder):
    cv2.imwrite(str(folder / "masks" / f"{ID}.png"), np.zeros((65, 64), np.uint8))


def grey_mask(folder):
    cv2.imwrite(str(folder / "masks" / f"{ID}.png"), np.full((64, 64), 77, np.uint8))


def enlarge_both(folder):
    for kind in ("images", "masks"):
        cv2.imwrite(str(folder / kind / f"{ID}.png"), np.zeros((32, 48), np.uint8))


def unlist(folder):
    with open(folder / "index.csv", newline="") as file:
        rows = [row for row in csv.reader(file) if row[0] != ID]
    with open(folder / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (remove_image, f"octa_faz/images/{ID}.png: is missing"),
        (truncate_image, f"octa_faz/images/{ID}.png: cannot be decoded"),
        (remove_mask, f"octa_faz/masks/{ID}.png: is missing"),
        (empty_mask_file, f"octa_faz/masks/{ID}.png: cannot be decoded"),
        (enlarge_mask, f"octa_faz/masks/{ID}.png: is 64 x 65, its image 64 x 64"),
        (grey_mask, f"octa_faz/masks/{ID}.png: holds 77; only 0, 255 may occur"),
        (enlarge_both, f"octa_faz/images/{ID}.png: is 48 x 32, not 64 x 64"),
        (unlist, f"{ID}: the committed split names it, but it is missing"),
    ],
)
def test_damage_is_named(root, capsys, damage, said):
    damage(root / "octa_faz")
    code, lines = check(root, capsys)
    assert code == 1
    assert lines[0].endswith("1 wrong")
    (problem,) = (line for line in lines if line.startswith("octa_faz: ") and "passed over" not in line)
    assert said in problem


def test_every_damaged_file_is_named_and_counted(root, capsys):
    folder = root / "octa_faz"
    remove_image(folder)
    grey_mask(folder)
    ids = sorted(read_split("octa_faz"))[20:23]
    for id in ids:
        (folder / "images" / f"{id}.png").write_bytes(b"not a picture")
    code, lines = check(root, capsys)
    assert code == 1
    assert lines[0].endswith("99 of 100 images, 100 mask files: 5 wrong")
    for id in (ID, *ids):
        assert any(f"images/{id}.png" in line for line in lines)


def test_extra_images_are_mentioned_but_not_wrong(root, capsys):
    shutil.copy(root / "octa_faz" / "images" / f"{ID}.png", root / "octa_faz" / "images" / "kept_back.png")
    code, lines = check(root, capsys)
    assert code == 0
    assert lines[-1] == "octa_faz: passed over, in no split: octa_faz/images/kept_back.png"


def test_a_listed_image_without_a_split_is_extra(root, capsys):
    folder = root / "octa_faz"
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / f"{ID}.png", folder / kind / "deep_9999.png")
    with open(folder / "index.csv", "a", newline="") as file:
        csv.writer(file).writerow(("deep_9999", "deep", 6, 0.1))
    code, lines = check(root, capsys)
    assert code == 0
    assert "octa_faz/images/deep_9999.png" in lines[-1]


def test_an_absent_list_is_one_problem(root, capsys):
    (root / "octa_faz" / "index.csv").unlink()
    code, lines = check(root, capsys)
    assert code == 1
    assert "index.csv" in lines[-1]
    assert main(["data", "split", "octa_faz", "--data", str(root), "--out", str(root)]) == 2
    assert "index.csv" in capsys.readouterr().err


def test_a_root_that_is_none_is_an_error(tmp_path, capsys, monkeypatch, root):
    monkeypatch.setenv("TENOHIRA_DATA", str(root))
    assert main(["data", "check", str(tmp_path / "typo")]) == 2  # and not the root of the environment
    assert "typo" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["data", "check", str(tmp_path / "empty")]) == 2
    assert "tenohira data list" in capsys.readouterr().err


def test_list_names_every_set_and_marks_what_is_there(root, capsys):
    assert main(["data", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and str(kind.expected) in text for name, kind in SETS.items())
    assert "CC BY-NC-ND 4.0" in text
    assert "figshare.com/s/c2d31f850af14c5b5232" in text
    assert main(["data", "list", "--data", str(root)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    here = {words[0]: words[1] for words in lines if words and words[0] in SETS}
    assert here == {name: "yes" if name == "octa_faz" else "no" for name in SETS}


def test_split_writes_what_is_committed(root, tmp_path, capsys):
    """The rule needs names alone, so toy images with the real names give the real split."""
    arguments = ["data", "split", "octa_faz", "--data", str(root), "--out", str(tmp_path / "new")]
    assert main(arguments) == 0
    assert (tmp_path / "new" / "octa_faz.csv").read_bytes() == (FOLDER / "octa_faz.csv").read_bytes()
    assert "written" in capsys.readouterr().out
    assert main(arguments) == 0
    assert "as it was" in capsys.readouterr().out


def test_split_refuses_to_change_a_split_unless_forced(root, tmp_path, capsys):
    unlist(root / "octa_faz")
    out = tmp_path / "splits"
    shutil.copytree(FOLDER, out)
    before = (out / "octa_faz.csv").read_bytes()
    arguments = ["data", "split", "--data", str(root), "--out", str(out)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "octa_faz" in said and "1 images gone, 0 new" in said and "--force" in said
    assert (out / "octa_faz.csv").read_bytes() == before
    assert main([*arguments, "--force"]) == 0
    assert ID not in read_split("octa_faz", out)


def test_split_of_an_unknown_or_absent_set(root, capsys):
    assert main(["data", "split", "nothing", "--data", str(root)]) == 2
    assert "unknown data set 'nothing'" in capsys.readouterr().err
    assert main(["data", "split", "acrima", "--data", str(root)]) == 2
    assert SETS["acrima"].obtain in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
def test_the_data_root_is_clean(data_root, capsys):
    code, lines = check(data_root, capsys)
    assert code == 0, lines
    assert [line.rsplit(": ", 1)[1] for line in lines[: len(SETS)]] == ["clean"] * len(SETS)


@pytest.mark.data
def test_all_committed_splits_are_made_again(data_root, tmp_path):
    assert main(["data", "split", "--data", str(data_root), "--out", str(tmp_path)]) == 0
    for name in SETS:
        assert (tmp_path / f"{name}.csv").read_bytes() == (FOLDER / f"{name}.csv").read_bytes()
