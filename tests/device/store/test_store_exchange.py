"""What leaves the record, and what comes into it: exports, imports, backups, and what is removed with age."""

import csv
import errno
import json
import os
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from store_records import capture, close_folder, not_imaged, picture, reading, withdrawal

from device.cli import NOTICE, main
from device.errors import StoreError, StoreFullError
from device.language import Translator
from device.record import Pacs, Settings, Visit
from device.store import Store, audit, files
from device.store import store as store_module
from device.store.export import export_study, import_study, opened
from device.store.tables import TABLES

FREE = Settings(keep_free_mb=0)
RAW = b"II*\x00 raw data of the sensor"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record") as store:
        store.change_settings(msgspec.structs.replace(FREE, study="T1", site="KAN", device="hand 3"), "test")
        yield store


@pytest.fixture
def other(tmp_path):
    with Store(tmp_path / "elsewhere") as other:
        other.change_settings(msgspec.structs.replace(FREE, device="desk"), "test")
        yield other


def examine(store: Store, seed: int, participant: str = "", finish: bool = True):
    visit = store.begin(participant or store.next_participant(), operator="Sato", consent=True)
    store.add_capture(*capture(visit.uid, seed))
    store.add_not_imaged(not_imaged(visit.uid))
    return store.finish(visit.uid) if finish else store.visit(visit.uid)


def read_csv(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def refused(say, match: str) -> None:
    with pytest.raises(StoreError, match=match) as error:
        say()
    assert Translator("ja").knows(str(error.value)), error.value


# export


def test_an_export_holds_everything_and_says_what_it_is(store, tmp_path):
    visits = [examine(store, seed) for seed in range(3)]
    store.add_reading(reading(visits[0].uid, remark="=1+1"))
    shown, pictures = capture(store.begin("open").uid, 7, "OS")
    store.add_capture(shown, [*pictures, RAW])
    out = tmp_path / "export"
    manifest = export_study(store, out, "T1")
    assert manifest.visits == 4 and manifest.device.startswith("hand 3 ")
    lines = (out / "visits.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["uid"] for line in lines] == [v.uid for v in store.visits()][::-1]
    known = json.loads((out / "manifest.json").read_text())
    there = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    assert there == {*known["files"], "manifest.json"}
    for path, file in known["files"].items():
        data = (out / path).read_bytes()
        assert (sha256(data).hexdigest(), len(data)) == (file["sha256"], file["bytes"])
    assert audit.verify(store.folder, known["head"]).ok
    assert NOTICE in " ".join((out / "README.txt").read_text().split()) and not (tmp_path / "export.part").exists()

    rows = read_csv(out / "visits.csv")
    assert [r["participant"] for r in rows] == ["T1-KAN-0001", "T1-KAN-0002", "T1-KAN-0003", "open"]
    assert rows[0]["OD_outcome"] == "refer" and rows[0]["OD_vcdr"] == "0.71" and rows[0]["OD_photographs"] == "1"
    assert rows[0]["OS_outcome"] == "ungradable" and rows[0]["OS_not_imaged"] == "dense cataract"
    assert rows[3]["OD_outcome"] == "" and rows[3]["finished"] == ""
    captures = read_csv(out / "captures.csv")
    assert (
        len(captures) == 4 and captures[3]["laterality"] == "OS" and captures[3]["glaucoma_probability"] == "0.62"
    )
    for row in captures:
        for column in ("image", "overlay", "disc_mask"):
            assert (out / row[column]).is_file()
    assert (out / "raw" / f"{sha256(RAW).hexdigest()}.dng").read_bytes() == RAW
    assert [(r["grade"], r["remark"]) for r in read_csv(out / "readings.csv")] == [("no_referral", "'=1+1")]


def test_spreadsheets_compute_nothing_of_an_export(store, tmp_path):
    visit = store.begin("=cmd|'/c calc'!A1", operator="@op")
    store.add_not_imaged(not_imaged(visit.uid, reason="+1"))
    export_study(store, tmp_path / "export", None)
    (row,) = read_csv(tmp_path / "export" / "visits.csv")
    assert (row["participant"], row["operator"], row["OS_not_imaged"]) == ("'=cmd|'/c calc'!A1", "'@op", "'+1")
    line = msgspec.json.decode((tmp_path / "export" / "visits.jsonl").read_bytes())
    assert line["participant"] == "=cmd|'/c calc'!A1"


def test_only_the_study_is_exported(store, tmp_path):
    inside = examine(store, 1)
    store.change_settings(FREE, "test")
    examine(store, 2)
    assert export_study(store, tmp_path / "one", "T1").visits == 1
    assert export_study(store, tmp_path / "all", None).visits == 2
    assert {r["visit"] for r in read_csv(tmp_path / "one" / "visits.csv")} == {inside.uid}
    refused(lambda: export_study(store, tmp_path / "none", "T2"), "no examination to export in study 'T2'")
    assert not (tmp_path / "none").exists() and not (tmp_path / "none.part").exists()


def test_nothing_is_overwritten_by_an_export(store, tmp_path):
    examine(store, 1)
    (tmp_path / "mine").mkdir()
    refused(lambda: export_study(store, tmp_path / "mine", None), "is there already")
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / "thesis.tex").write_text("")
    refused(lambda: export_study(store, tmp_path / "new", None), "is in the way")
    assert (tmp_path / "new.part" / "thesis.tex").exists()


def test_what_an_export_that_was_killed_has_left_is_cleared_away(store, tmp_path):
    examine(store, 1)
    (tmp_path / "new.part").mkdir()
    (tmp_path / "new.part" / files.UNFINISHED).touch()
    (tmp_path / "new.part" / "images").mkdir()
    export_study(store, tmp_path / "new", None)
    assert not (tmp_path / "new.part").exists() and not (tmp_path / "new" / files.UNFINISHED).exists()


def test_a_damaged_picture_is_not_exported_as_if_it_were_whole(store, tmp_path):
    visit = examine(store, 1)
    store.picture(visit.captures[0].overlay).write_bytes(b"\xff\xd8\xff half")
    refused(
        lambda: export_study(store, tmp_path / "new", None), "is missing or damaged; put it back from a backup"
    )
    assert not (tmp_path / "new").exists() and not (tmp_path / "new.part").exists()


@pytest.mark.parametrize("nth", [1, 2, 4, 8, 9])
def test_a_full_stick_leaves_no_half_export(store, tmp_path, monkeypatch, nth):
    examine(store, 1)
    before, real, calls = store.head(), os.write, 0

    def write(file: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreFullError):
        export_study(store, tmp_path / "new", None)
    monkeypatch.undo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["record"] and store.head() == before


# import


def test_an_import_brings_everything_with_its_origin(store, other, tmp_path):
    visits = [examine(store, seed) for seed in range(2)]
    store.add_reading(reading(visits[0].uid))
    shown, pictures = capture(store.begin("open").uid, 7, "OS")
    store.add_capture(shown, [*pictures, RAW])
    examine(other, 9, "here")
    export_study(store, tmp_path / "export", "T1")
    assert import_study(other, opened(tmp_path / "export")) == (3, 0, 0)
    for visit in store.visits():
        assert other.visit(visit.uid) == visit and visit.device.startswith("hand 3 ")
    assert {f.name for f in store.pictures.files()} < {f.name for f in other.pictures.files()}
    assert other.picture(sha256(RAW).hexdigest()).suffix == ".dng"
    assert other.begin("next").number == 2  # the importing instrument's own numbers go on
    assert audit.verify(other.folder).problems == ()

    head = other.head()
    assert import_study(other, opened(tmp_path / "export")) == (0, 0, 3)
    assert other.head() == head
    export_study(other, tmp_path / "again", "T1")  # and on to a third: the same records, to the byte
    assert (tmp_path / "again" / "visits.jsonl").read_bytes() == (
        tmp_path / "export" / "visits.jsonl"
    ).read_bytes()


def test_an_examination_that_has_grown_is_extended(store, other, tmp_path):
    visit = examine(store, 1, finish=False)
    export_study(store, tmp_path / "early", None)
    store.add_capture(*capture(visit.uid, 2, "OS"))
    store.withdraw(withdrawal(visit.captures[0]))
    store.finish(visit.uid)
    store.add_reading(reading(visit.uid))
    export_study(store, tmp_path / "late", None)
    rows = read_csv(tmp_path / "late" / "captures.csv")
    assert [r["withdrawn"] for r in rows] == ["it shows the other eye", ""]
    assert import_study(other, opened(tmp_path / "early")) == (1, 0, 0)
    assert import_study(other, opened(tmp_path / "late")) == (0, 1, 0)
    assert other.visit(visit.uid) == store.visit(visit.uid)
    assert import_study(other, opened(tmp_path / "early")) == (0, 0, 1)
    assert other.visit(visit.uid) == store.visit(visit.uid)
    assert audit.verify(other.folder).ok


def test_what_was_kept_for_the_chosen_eye_goes_along(store, other, tmp_path):
    visit = examine(store, 1)
    export_study(store, tmp_path / "early", None)
    store.log("Sato", "laterality kept", visit.captures[0].uid, {"chosen": "OD", "seen": "OS"})
    export_study(store, tmp_path / "late", None)
    assert import_study(other, opened(tmp_path / "early")) == (1, 0, 0)
    for result in ((0, 1, 0), (0, 0, 1)):
        assert import_study(other, opened(tmp_path / "late")) == result
        assert other.visit(visit.uid) == store.visit(visit.uid)
        assert other.visit(visit.uid).confirmed == (visit.captures[0].uid,)
    assert import_study(other, opened(tmp_path / "early")) == (0, 0, 1)
    assert audit.verify(other.folder).ok
    rewrite(tmp_path / "late", lambda line: line.replace(b'"confirmed":["', b'"confirmed":["x'))
    refused(lambda: opened(tmp_path / "late"), "holds what belongs to another")


def rewrite(folder, change) -> None:
    """Change the records of an export, with a manifest that fits."""
    path = folder / "visits.jsonl"
    path.write_bytes(b"".join(change(line) + b"\n" for line in path.read_bytes().splitlines()))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["visits.jsonl"] = {"sha256": sha256(path.read_bytes()).hexdigest(), "bytes": 0}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_what_an_older_version_wrote_is_the_same_record(store, tmp_path, monkeypatch):
    """Its text lacks the fields that came later; what it says is the same, and something else is still refused."""
    visit = examine(store, 1)
    written = store_module.text_of

    def older(record) -> str:
        return written(record).replace('"remark":"",', "")

    said = reading(visit.uid)
    monkeypatch.setattr(store_module, "text_of", older)
    store.add_reading(said)
    monkeypatch.undo()
    export_study(store, tmp_path / "export", None)
    assert import_study(store, opened(tmp_path / "export")) == (0, 0, 1)
    store.add_reading(said)  # the answer was lost, and the update came in between
    assert len(store.visit(visit.uid).readings) == 1 and audit.verify(store.folder).ok
    refused(lambda: store.add_reading(msgspec.structs.replace(said, remark="x")), "with other content")


@pytest.mark.parametrize(
    "old, new, what",
    [
        (b'"vcdr":0.71', b'"vcdr":0.41', "capture .* is recorded already, with other content"),
        (b'"participant":"T1-KAN-0001"', b'"participant":"T1-KAN-0009"', "examination .* is recorded already"),
    ],
)
def test_an_import_never_overwrites(store, other, tmp_path, old, new, what):
    examine(store, 1)
    export_study(store, tmp_path / "export", None)
    import_study(other, opened(tmp_path / "export"))
    examine(store, 2)
    export_study(store, tmp_path / "late", None)
    rewrite(tmp_path / "late", lambda line: line.replace(old, new))
    head, pictures = other.head(), len(list(other.pictures.files()))
    refused(lambda: import_study(other, opened(tmp_path / "late")), what)
    assert other.head() == head and len(other.visits()) == 1 and len(list(other.pictures.files())) == pictures


def spoil_picture(folder):
    (next((folder / "images").iterdir())).write_bytes(b"\xff\xd8\xff another")


def spoil_list(folder):
    (folder / "visits.jsonl").write_bytes((folder / "visits.jsonl").read_bytes()[:-40])


def lose_manifest(folder):
    (folder / "manifest.json").unlink()


def lose_picture(folder):
    (next((folder / "overlays").iterdir())).unlink()


def change_manifest(**changes):
    def change(folder):
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | changes))

    return change


def lead_elsewhere(folder):
    (folder.parent / "secret").write_bytes(b"x")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["images/../../secret"] = {"sha256": sha256(b"x").hexdigest(), "bytes": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def leave_out_a_picture(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {p: f for p, f in manifest["files"].items() if not p.startswith("masks")}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def mix_up(folder):
    rewrite(folder, lambda line: line.replace(b'"visit":"', b'"visit":"0', 1))


def break_a_line(folder):
    rewrite(folder, lambda line: line.replace(b'"laterality":"OD"', b'"laterality":"left"', 1))


@pytest.mark.parametrize(
    "spoil, what",
    [
        (spoil_picture, "is missing or was changed"),
        (spoil_list, "'visits.jsonl' of the export .* is missing or was changed"),
        (lose_picture, "is missing or was changed"),
        (lose_manifest, "is no export of examinations"),
        (change_manifest(format=2), "by a newer tenohira"),
        (change_manifest(files=7), "cannot be understood"),
        (change_manifest(files={}), "cannot be understood"),
        (lead_elsewhere, "cannot be understood"),
        (leave_out_a_picture, "cannot be understood .*is not in the export"),
        (mix_up, "cannot be understood .*belongs to another"),
        (break_a_line, "visits.jsonl, line 1 of the export .* cannot be understood"),
    ],
)
def test_a_spoiled_export_is_refused_whole(store, other, tmp_path, spoil, what):
    examine(store, 1)
    export_study(store, tmp_path / "export", None)
    spoil(tmp_path / "export")
    head = other.head()
    refused(lambda: import_study(other, opened(tmp_path / "export")), what)
    assert other.head() == head and not other.visits() and not list(other.pictures.files())


def test_an_import_needs_room(store, other, tmp_path, monkeypatch):
    visit = store.begin("P")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, [*pictures, RAW + bytes(3 * 2**20)])
    export_study(store, tmp_path / "export", None)
    monkeypatch.setattr(files, "free_bytes", lambda folder: 2 * 2**20)
    refused(lambda: import_study(other, opened(tmp_path / "export")), "the export needs 3 MB, and 2 MB are free")


# backup


def test_a_backup_is_a_record_itself(store, tmp_path):
    visit = examine(store, 1)
    result = store.backup(tmp_path / "copy")
    assert result.ok and (result.visits, result.pictures) == (1, 3)
    examine(store, 2)
    with Store(tmp_path / "copy") as copy:
        assert copy.visit(visit.uid) == visit and copy.settings == store.settings
        assert copy.picture(visit.captures[0].image).read_bytes() == picture(3)
        assert len(copy.visits()) == 1 and copy.begin("P").number == 2
    assert audit.verify(store.folder, result.head).ok and audit.verify(tmp_path / "copy", result.head).ok
    refused(lambda: store.backup(tmp_path / "copy"), "is there already")


def test_a_backup_of_a_faulty_record_is_made_and_says_so(store, tmp_path, capsys):
    visit = examine(store, 1)
    store.picture(visit.captures[0].image).unlink()
    store.picture(visit.captures[0].overlay).write_bytes(b"\xff\xd8\xff half")
    assert main(["record", "backup", "--store", str(store.folder), "--out", str(tmp_path / "copy")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (
        "missing" in "".join(lines[:2]) and "was changed" in "".join(lines[:2]) and lines[2].startswith("2 wrong")
    )
    with Store(tmp_path / "copy") as copy:
        assert copy.visit(visit.uid) == visit


def test_a_backup_onto_a_full_disk_leaves_nothing(store, tmp_path, monkeypatch):
    examine(store, 1)

    def write(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        with pytest.raises(StoreFullError):
            store.backup(tmp_path / "copy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["record"]


# retention

LATER = "2126-11-24T08:15:00.000+00:00"


def keep(store: Store, days: int, **other) -> None:
    store.change_settings(msgspec.structs.replace(FREE, keep_days=days, **other), "test")


def test_a_withdrawn_capture_goes_with_its_examination(store, tmp_path):
    keep(store, 30)
    visit = store.begin("P")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, pictures)
    store.withdraw(withdrawal(shown))
    store.finish(visit.uid)
    export_study(store, tmp_path / "export", None)
    assert store.expire(LATER) == [visit.uid]
    assert audit.verify(store.folder).problems == () and not list(store.pictures.files())


def test_only_what_is_old_finished_and_held_elsewhere_is_removed(store, tmp_path):
    keep(store, 30, pacs=Pacs(kind="dimse"))
    sent, queued, unfinished, read = (examine(store, n, f"P{n}", finish=n != 2) for n in range(4))
    store.add_reading(reading(read.uid))
    store.sent(sent.uid)
    store.sent(read.uid)  # a PACS holds no readings
    assert store.expire(sent.finished) == []  # too young
    store.doubt_clock(sent.finished)
    assert store.expire(LATER) == []  # by a clock that has jumped
    store.believe_clock("test")
    kept = {*store.picture(queued.captures[0].image).parent.parent.rglob("*.jpg")}
    assert store.expire(LATER) == [sent.uid]
    assert {v.uid for v in store.visits()} == {queued.uid, unfinished.uid, read.uid}
    gone = {*(store.folder / "pictures").rglob("*.jpg")} ^ kept
    assert {f.stem for f in gone} == {sent.captures[0].image, sent.captures[0].overlay}
    result = audit.verify(store.folder)
    assert result.problems == () and (result.visits, result.removed) == (3, 1)

    export_study(store, tmp_path / "export", None)
    assert store.expire(LATER) == [read.uid]  # what is queued stays, exported or not
    store.sent(queued.uid)
    assert store.expire(LATER) == [queued.uid]
    result = audit.verify(store.folder)
    assert result.ok and (result.visits, result.removed, result.orphans) == (1, 3, 0)
    assert store.begin("P").number == 5  # numbers are not given twice
    assert import_study(store, opened(tmp_path / "export")) == (2, 0, 1)  # and back again
    assert audit.verify(store.folder).ok


def test_what_was_queued_for_an_archive_that_was_given_up_is_waited_for_no_more(store, tmp_path):
    keep(store, 30, pacs=Pacs(kind="dimse"))
    visit = examine(store, 1)
    export_study(store, tmp_path / "export", None)
    assert store.expire(LATER) == []
    keep(store, 30)
    assert store.expire(LATER) == [visit.uid]


def test_what_waits_for_its_reader_stays(store, tmp_path):
    keep(store, 30, masked=True)
    visit = examine(store, 1)  # of one eye there is a photograph
    export_study(store, tmp_path / "export", None)
    assert store.expire(LATER) == []
    store.add_reading(reading(visit.uid))
    export_study(store, tmp_path / "again", None)
    assert store.expire(LATER) == [visit.uid]


def test_what_was_changed_since_its_export_stays(store, tmp_path):
    keep(store, 30)
    visit = examine(store, 1)
    export_study(store, tmp_path / "export", None)
    store.add_reading(reading(visit.uid))
    assert store.expire(LATER) == []
    export_study(store, tmp_path / "again", None)
    assert store.expire(LATER) == [visit.uid]


def test_an_examination_of_a_study_must_be_exported(store):
    keep(store, 30, study="T1", pacs=Pacs(kind="dimse"))
    visit = examine(store, 1)
    store.sent(visit.uid)
    assert store.expire(LATER) == []


def test_without_a_limit_nothing_is_removed(store, tmp_path):
    examine(store, 1)
    export_study(store, tmp_path / "export", None)
    assert store.expire(LATER) == []


def test_a_picture_that_another_examination_has_stays(store, tmp_path):
    keep(store, 30)
    old = examine(store, 1)
    export_study(store, tmp_path / "export", None)
    young = store.begin("P")
    shown, pictures = capture(young.uid, 1, uid="another")
    store.add_capture(shown, pictures)
    assert store.expire(LATER) == [old.uid]
    assert store.picture(shown.image).read_bytes() == pictures[0] and audit.verify(store.folder).ok


def test_pictures_stay_while_a_backup_copies_them(store, tmp_path, monkeypatch):
    keep(store, 30)
    visit = examine(store, 1)
    export_study(store, tmp_path / "export", None)
    monkeypatch.setattr(store, "tidy", lambda: Store.tidy(store, patience=0.02))
    with files.held(store.folder):
        assert store.expire(LATER) == [visit.uid]
        assert store.picture(visit.captures[0].image).exists()
    assert store.expire(LATER) == [] and not list(store.pictures.files())


# verbs


def test_the_verbs_carry_a_study_from_one_record_to_another(store, tmp_path, capsys):
    examine(store, 1)
    there, out = str(store.folder), str(tmp_path / "export")
    assert main(["record", "list", "--store", there]) == 0
    assert "T1-KAN-0001" in (listed := capsys.readouterr().out) and "refer" in listed and "finished" in listed
    assert main(["record", "export", "--store", there, "--study", "T1", "--out", out]) == 0
    assert f"examinations: 1, in {out}\nhead " in capsys.readouterr().out
    desk = str(tmp_path / "desk")
    with Store(tmp_path / "desk") as made:
        made.change_settings(FREE, "test")
    assert main(["record", "import", "--store", desk, out]) == 0
    assert "examinations: 1 added, 0 extended, 0 known already" in capsys.readouterr().out
    assert main(["record", "list", "--store", desk, "--json", "--search", "T1-KAN-0001"]) == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Visit) == store.visits()[0]
    assert main(["record", "backup", "--store", desk, "--out", str(tmp_path / "copy")]) == 0
    assert capsys.readouterr().out.startswith("ok: ")


@pytest.mark.parametrize("action", [["list"], ["export", "--out", "x"], ["backup", "--out", "x"]])
def test_a_mistyped_folder_makes_no_record(tmp_path, capsys, action):
    assert main(["record", action[0], "--store", str(tmp_path / "typo"), *action[1:]]) == 2
    assert "there is no record in" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_is_no_export_makes_no_record(tmp_path, capsys):
    assert main(["record", "import", "--store", str(tmp_path / "new"), str(tmp_path / "nope")]) == 2
    assert "is no export of examinations" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_an_export_of_another_user_is_explained(tmp_path, monkeypatch):
    close_folder(monkeypatch, tmp_path / "export")
    refused(lambda: opened(tmp_path / "export"), "may not be read; check its owner .*: sudo -u tenohira")


def test_the_documentation_names_every_column_and_table():
    text = (Path(__file__).parents[3] / "docs" / "record.md").read_text(encoding="utf-8")
    for columns in TABLES.values():
        for column in columns:
            assert f"`{column.name.removeprefix('OD_').removeprefix('OS_')}`" in text, column.name
