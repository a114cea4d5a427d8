"""``tenohira screen`` on files: rows, masks, exit codes, bad files."""

import argparse
import csv
import errno
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from device import cli, pipeline, results
from device.commands import screen
from device.pipeline import Pipeline
from device.quality import Quality
from device.results import Writer
from tests.device.eye import build, paint

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Fake networks instead of bundles; painted eyes are good photographs."""
    fake = build()
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))
    monkeypatch.setattr(Pipeline, "load", classmethod(lambda cls, *_: fake))
    return fake


@pytest.fixture
def photos(tmp_path):
    """A folder with subfolders: good, nameless-alike, damaged, foreign and hidden files."""
    root = tmp_path / "photos"
    for name in ("a.png", "a.jpg", "deep/er/b [1].png", ".hidden.png", ".cache/c.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint()).save(root / name, quality=95)
    (root / "cut.jpg").write_bytes((root / "a.jpg").read_bytes()[:900])
    (root / "notes.txt").write_text("no image")
    (root / "empty.png").touch()
    return root


def rows(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_a_folder_gives_a_row_for_every_file(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["screen", str(photos), "--out", str(out), "--json", "--csv", "--page"]) == 0
    by_name = {Path(r["image"]).relative_to(photos).as_posix(): r for r in rows(out)}
    assert set(by_name) == {"a.png", "a.jpg", "deep/er/b [1].png", "cut.jpg", "notes.txt", "empty.png"}
    for name, row in by_name.items():
        if name in {"a.png", "a.jpg", "deep/er/b [1].png"}:
            assert row["outcome"] == "no_referral" and row["vcdr"] == pytest.approx(0.5, abs=0.04)
            assert {
                "decode",
                "field",
                "quality",
                "disc_finder",
                "disc_cup",
                "glaucoma",
                "geometry",
                "total",
            } <= set(row["timings_ms"])
            for kind in ("disc", "cup"):
                mask = np.asarray(Image.open(out / row["masks"][kind]))
                assert mask.shape == (400, 400) and set(np.unique(mask)) == {0, 255}
            assert (out / row["overlay"]).is_file()
        else:
            assert row["outcome"] == "ungradable" and row["reasons"][0]
            assert row["vcdr"] is row["glaucoma_probability"] is None and row["masks"] == {}
            assert row["quality"]["grade"] == "reject" and row["quality"]["cause"] and row["quality"]["tip"]
    stems = [r["masks"]["disc"] for r in by_name.values() if r["masks"]]
    assert len(set(stems)) == 3 and "masks/deep/er/b [1].disc.png" in stems
    table = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    assert [r["image"] for r in table] == [r["image"] for r in rows(out)]
    said = capsys.readouterr().out
    assert "no referral" in said
    share = int(re.search(r"median \d+ ms from file to verdict, (\d+)% in networks", said)[1])
    answered = [r for r in rows(out) if r["timings_ms"]]
    networks = sum(r["timings_ms"].get(name, 0) for r in answered for name in r["bundles"])
    assert share == pytest.approx(100 * networks / sum(r["timings_ms"]["total"] for r in answered), abs=1)


def test_the_schema_document_names_every_key(photos, tmp_path):
    screen_once(photos / "a.png", tmp_path / "out")
    document = (CHECKOUT / "docs" / "results-schema.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_]+)`", document, re.MULTILINE))
    (row,) = rows(tmp_path / "out")
    assert set(row) <= documented
    assert set(row["measurements"]) <= documented


def screen_once(path, out, *more):
    return cli.main(["screen", str(path), "--out", str(out), "--json", *more])


def test_a_run_leaves_its_own_output_alone(photos):
    out = photos / "out"
    for _ in range(2):
        screen_once(photos, out)
        assert len(rows(out)) == 6
    assert screen_once(photos, photos) == 2


def test_one_internal_error_does_not_stop_the_run(photos, tmp_path, monkeypatch, machine, capsys):
    network = machine.models["disc_cup"].network
    work, calls = network.run, []

    def fail_once(x):
        calls.append(x)
        return [][1] if len(calls) == 1 else work(x)

    monkeypatch.setattr(network, "run", fail_once)
    assert screen_once(photos, tmp_path / "out") == screen.INTERNAL_ERROR == 5
    failed, good = rows(tmp_path / "out")[:2]
    assert failed["outcome"] == "ungradable" and "IndexError" in failed["reasons"][0]
    assert good["outcome"] == "no_referral"
    assert "internal errors in 1 of 6 images" in capsys.readouterr().err


def test_an_image_too_large_for_the_memory_is_told_so(photos, tmp_path, monkeypatch, machine):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(machine.models["disc_cup"].network, "run", fail)
    assert screen_once(photos / "a.png", tmp_path / "out") == screen.NOTHING_READ
    assert rows(tmp_path / "out")[0]["reasons"] == ["a.png does not fit into memory; export it smaller"]


def test_an_input_is_never_overwritten(photos, tmp_path, capsys):
    out = tmp_path / "out"
    for folder in ("overlays", "masks"):
        (out / folder).mkdir(parents=True)
        photo = out / folder / "a.jpg"
        photo.write_bytes((photos / "a.jpg").read_bytes())
        (photos / "link.jpg").unlink(missing_ok=True)
        (photos / "link.jpg").symlink_to(photo)
        for given in (photo, photo.parent, photos):
            assert screen_once(given, out) == 2
            assert "own" in capsys.readouterr().err
        assert photo.read_bytes() == (photos / "a.jpg").read_bytes()
    assert sorted(p.name for p in out.iterdir()) == ["masks", "overlays"]


def test_earlier_results_are_no_photographs(photos, tmp_path):
    shutil.copy(photos / "a.png", tmp_path / "a.png")
    assert screen_once(tmp_path / "a.png", tmp_path, "--page") == 0  # beside the photograph itself
    assert screen_once(photos, photos / "first", "--page") == 0
    assert screen_once(photos, tmp_path / "out") == 0 and len(rows(tmp_path / "out")) == 6
    assert screen_once(tmp_path, tmp_path / "more") == 0
    assert len(rows(tmp_path / "more")) == 7


def test_a_run_removes_the_lists_of_the_one_before(photos, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "index.html").write_text("a page of somebody else")
    photo = str(photos / "a.png")
    assert cli.main(["screen", photo, "--out", str(out)]) == 0
    assert (out / "index.html").is_file()
    assert cli.main(["screen", photo, "--out", str(out), "--json", "--csv", "--page"]) == 0
    assert cli.main(["screen", photo, "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [results.MARKER, "masks", "overlays"]


def test_a_folder_that_another_run_writes_to_is_left_alone(photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert screen_once(photos, out) == 0
    capsys.readouterr()
    with results.prepared(out), Writer(out, as_json=True, as_csv=False) as writer:
        writer.write(results.failed_row(Path("a"), "glaucoma", "auto", "why", "x"))
        assert screen_once(photos, out) == 2
        assert capsys.readouterr().err == (
            f"tenohira: another run is writing to {out}; wait for it, or give --out another folder\n"
        )
    assert [row["image"] for row in rows(out)] == ["a"]
    assert screen_once(photos, out) == 0 and len(rows(out)) == 6


def test_two_processes_that_write_one_file_use_names_of_their_own(tmp_path, monkeypatch):
    replace, seen = os.replace, []
    monkeypatch.setattr(os, "replace", lambda part, path: (seen.append(part.name), replace(part, path)))
    for process in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        results.write_file(tmp_path / "a.png", b"whole")
    assert seen == ["a.png.11.part", "a.png.12.part"] and [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_rows_are_on_disk_before_the_next_image(photos, tmp_path, monkeypatch):
    out, seen = tmp_path / "out", []
    real = screen._read

    def look(path, enough):
        seen.append(len((out / "results.jsonl").read_bytes().splitlines()))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(path, enough)

    monkeypatch.setattr(screen, "_read", look)
    assert screen_once(photos, out, "--page") == 130
    assert seen == [0, 1, 2] and len(rows(out)) == 2
    assert (out / "index.html").is_file()


@pytest.mark.parametrize(
    "wrong",
    [
        ["--json"],
        ["--out", "o", "--page", "--no-overlay"],
        ["--field-mm", "3"],
        ["--task", "faz", "--field-mm", "-3"],
        ["--task", "faz", "--field-mm", "nan"],
        ["--task", "faz", "--view", "disc"],
        ["--task", "haemorrhage", "--view", "disc"],
        ["--task", "haemorrhage", "--out", "o", "--dicom"],
        ["--task", "haemorrhage", "--field-mm", "3"],
        ["--task", "faz", "--operating-point", "screening"],
        ["--task", "haemorrhage", "--operating-point", "screening"],
        [""],
        ["--out", ""],
        ["--threads", "0"],
        ["--threads", "65"],
    ],
)
def test_contradicting_arguments_end_with_2_and_a_way_out(wrong, photos, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["screen", str(photos), *wrong]) == 2
    error = capsys.readouterr().err
    assert error.startswith("tenohira: ") and "Traceback" not in error
    assert not (tmp_path / "o").exists()


def test_nothing_readable_ends_with_4(tmp_path):
    assert screen_once(tmp_path / "absent.png", tmp_path / "out") == 4
    assert rows(tmp_path / "out")[0]["outcome"] == "ungradable"


def test_nothing_to_screen_ends_with_2_and_keeps_what_was_there(photos, tmp_path, capsys):
    out, empty = tmp_path / "out", tmp_path / "empty"
    (empty / ".hidden").mkdir(parents=True)
    assert screen_once(empty, out, "--page") == 2 and not out.exists()
    assert f"there is no image in {empty}; name a folder" in capsys.readouterr().err
    assert screen_once(photos, out, "--page") == 0
    assert screen_once(empty, out) == 2
    assert len(rows(out)) == 6 and (out / "index.html").is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang_the_run(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert screen_once(tmp_path / "pipe.jpg", tmp_path / "out") == 4
    assert "regular file" in rows(tmp_path / "out")[0]["reasons"][0]
    assert screen_once(tmp_path, tmp_path / "out") == 4
    assert "regular file" in rows(tmp_path / "out")[0]["reasons"][0]


def test_links_that_lead_nowhere_or_to_folders_get_a_row(photos, tmp_path):
    (photos / "folder").symlink_to(photos / "deep")
    (photos / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    (photos / "loop.jpg").symlink_to("loop.jpg")
    (photos / "same.png").symlink_to("a.png")
    assert screen_once(photos, tmp_path / "out") == 0
    by_name = {Path(r["image"]).relative_to(photos).as_posix(): r for r in rows(tmp_path / "out")}
    assert len(by_name) == 10
    assert "link to a folder" in by_name["folder"]["reasons"][0]
    assert "link to nothing" in by_name["gone.jpg"]["reasons"][0]
    assert "link to nothing" in by_name["loop.jpg"]["reasons"][0]
    assert by_name["same.png"]["outcome"] == "no_referral"


def test_long_names_are_cut_and_stay_apart(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for folder in ("d" * 200 + "1", "d" * 200 + "2"):
        (photos / folder).mkdir(parents=True)
        for name in ("x" * 246 + ".png", "x" * 245 + "y.png", "眼" * 83 + ".png"):
            Image.fromarray(paint()).save(photos / folder / name)
    assert screen_once(photos, out) == 0
    files = [Path(f) for r in rows(out) for f in (r["overlay"], *r["masks"].values())]
    assert len(set(files)) == 18 and all((out / f).is_file() for f in files)
    assert all(len(part.encode()) <= 160 for f in files for part in f.parts)
    assert screen_once("z" * 300 + ".jpg", out) == 4
    assert "too long" in rows(out)[0]["reasons"][0]


@contextmanager
def without_roots_rights():
    """Root may read everything; tests of permissions need somebody else."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="this system has other permissions")
def test_folders_that_are_closed_get_rows():
    with tempfile.TemporaryDirectory() as name:  # not in tmp_path, which only its owner may enter
        os.chmod(name, 0o755)
        photos, out = Path(name, "photos"), Path(name, "out")
        unlisted = Path(os.fsdecode(os.fsencode(photos) + b"/\xff"))
        for folder in (photos / "closed", photos / "open", photos / "no_search", unlisted):
            folder.mkdir(parents=True)
            (folder / "a.png").write_bytes(cv2.imencode(".png", paint()[..., ::-1])[1].tobytes())
        assert screen_once(photos, out) == 0 and len(rows(out)) == 4  # whatever is imported late is so by now
        out.chmod(0o777)
        for written in out.rglob("*"):
            written.chmod(0o777)
        (photos / "closed").chmod(0)
        (photos / "no_search").chmod(0o644)  # its names can be read, its files cannot
        unlisted.chmod(0o311)
        with without_roots_rights():
            assert screen_once(photos, out) == 0
            why = {Path(r["image"]).relative_to(photos).as_posix(): r["reasons"][0] for r in rows(out)}
            assert screen_once(unlisted, out) == 4 and len(rows(out)) == 1
    assert set(why) == {"closed", "open/a.png", "no_search/a.png", "\\xff"}
    assert "may not be listed" in why["closed"] and "\\xff is a folder" in why["\\xff"]
    assert "Permission denied" in why["no_search/a.png"]


def test_a_folder_that_cannot_be_written_is_explained(photos, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert screen_once(photos, tmp_path / "file") == 2
    assert "File exists; give --out another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.ENOSPC, "; free space, or give --out another folder"),
        (errno.EDQUOT, "; free space, or give --out another folder"),
        (errno.EACCES, "; check its owner and permissions, or give --out another folder"),
        (errno.EISDIR, "Is a directory; give --out another folder"),
    ],
)
def test_the_way_out_fits_what_went_wrong(code, way_out):
    assert str(results.cannot_write(Path("x"), OSError(code, os.strerror(code)))).endswith(way_out)


def test_a_full_disk_costs_neither_the_table_nor_the_first_error(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    write = Path.write_bytes

    def fill(path, data):
        pictures = [p for p in out.rglob("*.*") if p.suffix in {".png", ".jpg"}]
        full = len(pictures) == 3  # two masks and an overlay; half of the next file still fits
        write(path, data[: len(data) // 2] if full else data)
        if full:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert screen_once(photos, out, "--page") == 2
    said = capsys.readouterr()
    assert "no referral" in said.out
    assert "a.png.disc.png" in said.err and "No space left" in said.err and "index.html" not in said.err
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) == 5 and not (out / "index.html").exists()  # the marker, results.jsonl, three pictures
    assert all(Image.open(p).size for p in files if p.suffix in {".png", ".jpg"})
    saved, unsaved = rows(out)
    assert saved["overlay"] and unsaved["overlay"] is None and unsaved["masks"] == {}
    assert unsaved["outcome"] == "no_referral" and unsaved["vcdr"] == pytest.approx(saved["vcdr"], abs=0.02)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no disk that is always full")
@pytest.mark.parametrize("many", [False, True])  # more than is kept in memory before it is written
def test_a_standard_output_that_is_full_is_explained(photos, tmp_path, monkeypatch, capsys, many):
    for number in range(100 * many):
        (photos / f"{number}.txt").touch()
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert screen_once(photos, tmp_path / "out", "--page") == 2
    assert capsys.readouterr().err == (
        "tenohira: cannot write to the standard output: No space left on device; "
        "free space, or send it elsewhere\n"
    )
    assert len(rows(tmp_path / "out")) == 6 + 100 * many and (tmp_path / "out" / "index.html").is_file()


def test_a_reader_that_has_gone_is_no_error(photos, tmp_path, monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert screen_once(photos, tmp_path / "out", "--page") == 0
    assert capsys.readouterr().err == ""
    assert len(rows(tmp_path / "out")) == 6 and (tmp_path / "out" / "index.html").is_file()


def test_rows_that_do_not_fit_are_an_explained_error(photos, tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    code = limit + (
        "from pathlib import Path; from device.results import *\n"
        "row = failed_row(Path('a'), 'glaucoma', 'auto', 'why ' * 500, 'x')\n"
        f"try:\n    with Writer(Path({str(tmp_path)!r}), as_json=True, as_csv=True) as w: w.write(row)\n"
        "except OutputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.stdout.startswith("cannot write to"), done.stderr


def test_names_that_differ_only_in_case_or_suffix_stay_apart():
    taken: set[str] = set()
    stems = [
        str(screen._unique(Path(p), taken)) for p in ("a.jpg", "a.png", "A.png", "A.png", "x/a.jpg", "a.jpg.tif")
    ]
    assert len({s.casefold() for s in stems}) == len(stems)


@pytest.mark.parametrize("folder", ["x.jpg", "x.JPG", "x.jpg.part", "x.disc.png", "x.XC.dcm"])
def test_a_folder_named_like_a_picture_is_in_nobodys_way(tmp_path, folder):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for name in ("x.png", f"{folder}/y.png", f"{folder}_/y.png"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint()).save(photos / name)
    for _ in range(2):  # the second run finds the folders of the first
        assert screen_once(photos, out, "--dicom") == 0
    files = [Path(f) for r in rows(out) for f in (r["overlay"], *r["masks"].values(), *r["dicom"].values())]
    assert len(set(files)) == 18 and all((out / f).is_file() for f in files)
    assert folder.casefold() not in {f.parent.name.casefold() for f in files}  # some file systems see no case


def test_a_name_that_is_no_unicode_gets_a_row(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"\xff.png")
    try:
        Path(os.fsdecode(name)).write_bytes(cv2.imencode(".png", paint())[1].tobytes())
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert screen_once(os.fsdecode(name), tmp_path / "out", "--page", "--csv") == 0
    (row,) = rows(tmp_path / "out")
    assert row["image"].endswith("\\xff.png")
    for written in (row["overlay"], *row["masks"].values()):
        assert (tmp_path / "out" / written).is_file()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_and_no_unicode_gets_a_row(tmp_path):
    pipe = os.fsencode(tmp_path) + b"/\xff.jpg"
    os.mkfifo(pipe)
    assert screen_once(os.fsdecode(pipe), tmp_path / "out", "--csv", "--page") == 4
    assert rows(tmp_path / "out")[0]["reasons"][0].startswith("\\xff.jpg is not a regular file")


def test_names_steer_neither_terminals_nor_spreadsheets(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("=1+1.png", "+a.png", "@a.png", "\x1b[31m\nred\u202e.png", "plain　眼.png"):
        Path(name).touch()
    names = [p.name for p in tmp_path.iterdir()]
    assert cli.main(["screen", *names, "--out", "out", "--csv"]) == 4
    cells = {r["image"] for r in csv.DictReader(io.StringIO(Path("out/results.csv").read_text(encoding="utf-8")))}
    assert {"'=1+1.png", "'+a.png", "'@a.png", "plain　眼.png"} < cells
    said = capsys.readouterr().out
    assert "\\x1b[31m\\nred\\u202e.png" in said and "\x1b" not in said and "plain　眼.png" in said


def test_a_large_jpeg_is_told_in_its_own_pixels(tmp_path, monkeypatch):
    """It is screened at a half of its size, and masks, numbers and DICOM objects are those of the photograph."""
    monkeypatch.setattr(screen, "ENOUGH", 400)
    k, side = 2, 801
    picture = Image.fromarray(paint(side, (250 * k, 190 * k), (60 * k, 66 * k), (30 * k, 33 * k)))
    for turned in (1, 6):  # lying on its side as well
        exif = Image.Exif()
        exif[0x0112] = turned
        picture.crop((0, 0, side, 700)).save(tmp_path / "eye.jpg", quality=95, exif=exif)
        assert screen_once(tmp_path / "eye.jpg", tmp_path / f"out{turned}", "--dicom") == 0
        (row,) = rows(tmp_path / f"out{turned}")
        centre = (250 * k, 190 * k) if turned == 1 else (700 - 190 * k, 250 * k)
        assert (row["disc"]["cx"], row["disc"]["cy"]) == pytest.approx(centre, abs=2 * k)
        assert row["disc"]["diameter"] == pytest.approx(66 * k, rel=0.05)
        mask = np.asarray(Image.open(tmp_path / f"out{turned}" / row["masks"]["disc"]))
        assert mask.shape == ((700, side) if turned == 1 else (side, 700))
        assert np.argwhere(mask).mean(0)[::-1] == pytest.approx(centre, abs=2 * k)
        photograph = pydicom.dcmread(tmp_path / f"out{turned}" / row["dicom"]["photograph"])
        assert (photograph.Rows, photograph.Columns) == mask.shape
        assert photograph.pixel_array.shape[:2] == mask.shape


def test_faz_rows(tmp_path):
    picture = paint(200, (104, 98), (40, 40), (0, 0), surround=False)
    Image.fromarray(picture[..., 1]).save(tmp_path / "octa.png")  # grey, as OCTA images are
    assert screen_once(tmp_path / "octa.png", tmp_path / "out", "--task", "faz", "--field-mm", "3", "--page") == 0
    (row,) = rows(tmp_path / "out")
    assert set(row["masks"]) == {"faz"} and row["faz"]["unit"] == "mm2"
    assert row["faz"]["area"] == pytest.approx(0.28, rel=0.1)
    assert row["outcome"] == "no_referral" and row["vcdr"] is None


def test_haemorrhage_rows(tmp_path, capsys):
    for name, spots in (("spots", [(120, 200, 6), (260, 270, 9)]), ("none", [])):
        Image.fromarray(paint(disc=(0, 0), cup=(0, 0), spots=spots)).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "none.png", tmp_path / "spots.png"]
    out = tmp_path / "out"
    options = ["--task", "haemorrhage", "--page", "--json", "--csv", "--out", str(out)]
    assert cli.main(["screen", *map(str, paths), *options]) == 0
    none, spots = rows(out)
    assert none["haemorrhages"] == {"count": 0, "area_px": 0, "largest_px": 0, "field_percent": 0}
    assert spots["haemorrhages"]["count"] == 2 and set(spots["masks"]) == {"haemorrhage"}
    assert spots["outcome"] == "no_referral" and spots["view"] == "field" and spots["vcdr"] is None
    cells = list(csv.DictReader(io.StringIO((out / "results.csv").read_text())))
    assert [c["haemorrhages"] for c in cells] == ["0", "2"]
    assert float(cells[1]["haemorrhage_field_percent"]) == spots["haemorrhages"]["field_percent"] > 0
    assert "measured" in capsys.readouterr().out
    assert "haemorrhages marked" in (out / "index.html").read_text()


def test_help_documents_the_exit_codes():
    parser = argparse.ArgumentParser(epilog="notice")
    screen.add_arguments(parser)
    text = parser.format_help()
    assert "exit codes" in text and "not one image could be read" in text and "notice" in text


def test_importing_the_verb_is_light():
    heavy = ("torch", "tensorflow", "rich", "train", "ai_edge_litert", "device.page")
    code = f"import sys, device.commands.screen; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert done.stdout.strip() == "[]"
