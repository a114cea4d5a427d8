"""Sample photographs: pip's failures, wrong archives, hostile members, simulated pictures."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from device import cli, samples
from device.errors import SamplesError


def picture():
    data = io.BytesIO()
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(data, "PNG")
    return data.getvalue()


def archive(path, members):
    """A tar.gz of (name, content); where the content is text, it is the type of a link."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = content.encode(), "/etc/passwd"
                tar.addfile(info)
    return path.read_bytes()


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A pip that downloads ``answer["archive"]``, or fails with ``answer["error"]``; keeps its commands."""
    answer = {"commands": []}

    def run(command, **more):
        answer["commands"].append((command, Path(command[-1]).read_text(), more["timeout"]))
        if "raises" in answer:
            raise answer["raises"]
        if "archive" in answer:
            Path(command[command.index("--dest") + 1], "package-1.1.0.tar.gz").write_bytes(answer["archive"])
        return subprocess.CompletedProcess(command, int("error" in answer), "", answer.get("error", ""))

    monkeypatch.setattr(samples.subprocess, "run", run)
    return answer


def trust(monkeypatch, content):
    monkeypatch.setattr(samples, "SHA256", hashlib.sha256(content).hexdigest())


def test_pictures_come_out_of_the_archive_and_nothing_else(pip, monkeypatch, tmp_path, capsys):
    top = "package-1.1.0/samples/original"
    members = [(f"{top}/b.png", picture()), (f"{top}/a.png", picture()), (f"{top}/notes.txt", b"x"),
               (f"{top}/link.png", "2"), (f"{top}/hard.png", "1"),
               (f"{top}/deep/c.png", picture()), ("package-1.1.0/samples/other/d.png", picture()),
               (f"{top}/../../../../e.png", picture()), ("/samples/original/f.png", picture()),
               ("package-1.1.0/setup.py", b"raise SystemExit")]  # fmt: skip
    pip["archive"] = archive(tmp_path / "x.tar.gz", members)
    trust(monkeypatch, pip["archive"])
    out = tmp_path / "new" / "out"
    assert cli.main(["samples", "--out", str(out)]) == 0
    expected = {"a.png", "b.png", "f.png", "ATTRIBUTION.txt"}  # a top folder called "/" is still only a name
    assert {p.name for p in out.iterdir()} == expected
    assert "CHASE_DB1" in (out / "ATTRIBUTION.txt").read_text()
    table = capsys.readouterr().out
    assert "a.png" in table and "128 x 128" in table
    ((_, wanted, timeout),) = pip["commands"]
    assert f"--hash=sha256:{samples.SHA256}" in wanted and timeout > 0


def test_another_archive_is_refused(pip, tmp_path):
    pip["archive"] = archive(tmp_path / "x.tar.gz", [("package-1.1.0/samples/original/a.png", picture())])
    with pytest.raises(SamplesError, match=r"not the archive .*--simulated"):
        samples.fetch(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"no archive", "cannot be unpacked"), (None, "holds no pictures")],
)
def test_a_broken_or_empty_archive_is_explained(pip, monkeypatch, tmp_path, content, message):
    pip["archive"] = content or archive(tmp_path / "x.tar.gz", [("package-1.1.0/README", b"x")])
    trust(monkeypatch, pip["archive"])
    with pytest.raises(SamplesError, match=message):
        samples.fetch(tmp_path / "out")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"error": "WARNING: slow\nERROR: No matching distribution found\n"}, "No matching distribution"),
        ({"error": ""}, "no reason given"),
        ({"raises": subprocess.TimeoutExpired("pip", 1)}, "within"),
        ({"raises": FileNotFoundError(2, "No such file")}, "cannot be started"),
    ],
)
def test_without_a_registry_the_way_out_is_the_simulated_camera(pip, tmp_path, capsys, answer, message):
    pip.update(answer)
    assert cli.main(["samples", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said and "--simulated" in said and "Traceback" not in said


def test_simulated_pictures_need_no_pip_and_repeat(pip, tmp_path):
    for folder in ("one", "two"):
        assert cli.main(["samples", "--simulated", "2", "--out", str(tmp_path / folder)]) == 0
    first, second = (sorted((tmp_path / f).iterdir()) for f in ("one", "two"))
    assert len(first) == 2 and [p.name for p in first] == [p.name for p in second]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert first[0].read_bytes() != first[1].read_bytes() and not pip["commands"]


@pytest.mark.parametrize("count", ["0", "1001"])
def test_a_silly_number_of_pictures_is_refused(count, tmp_path, capsys):
    assert cli.main(["samples", "--simulated", count, "--out", str(tmp_path)]) == 2
    assert "1 to 1000" in capsys.readouterr().err


def test_a_seed_below_0_is_refused(tmp_path, capsys):
    assert cli.main(["samples", "--simulated", "1", "--seed", "-1", "--out", str(tmp_path / "out")]) == 2
    assert "--seed -1: give a number from 0 on" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_explained(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["samples", "--simulated", "1", "--out", str(tmp_path / "file" / "x")]) == 2
    assert "give another folder" in capsys.readouterr().err


@pytest.mark.registry
def test_the_real_archive(tmp_path):
    paths = samples.fetch(tmp_path)
    assert len(paths) == 12 and {p.suffix for p in paths} == {".png", ".jpg", ".dcm"}
