"""The log: whatever is changed behind the store's back is found, and named."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from hashlib import sha256

import msgspec
import pytest
from store_records import capture, close_folder, not_imaged, reading, withdrawal

from device.cli import main
from device.errors import StoreError, UsageError
from device.language import Translator
from device.record import Pacs, Reference, Settings
from device.store import Store, audit
from device.store.database import FILE


@pytest.fixture
def folder(tmp_path):
    """A record with a little of everything; nobody has it open."""
    folder = tmp_path / "record"
    with Store(folder) as store:
        store.change_settings(Settings(keep_free_mb=0, pacs=Pacs(kind="dimse", password="s3cret")), "test")
        for number in range(3):
            visit = store.begin(store.next_participant(), operator="Sato")
            shown, pictures = capture(visit.uid, number)
            store.add_capture(shown, pictures)
            store.withdraw(withdrawal(shown))
            store.add_not_imaged(not_imaged(visit.uid))
            store.add_reading(reading(visit.uid, f"r{number}"))
            store.finish(visit.uid)
        store.sent(visit.uid)
        store.set_references([Reference(participant="P-0001", laterality="OD", refer=True)], "test")
        store.log("Sato", "report", visit.uid, {"sha256": "0" * 64})
    return folder


def tamper(folder, *statements: str) -> None:
    """As somebody would who has the file and knows SQLite."""
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for statement in statements:
            assert db.execute(statement).rowcount != 0, "the test changes nothing"


GUARDS = ("DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", "DROP TRIGGER audit_in_order")


def test_a_record_of_everything_is_in_order(folder):
    result = audit.verify(folder)
    assert result.problems == () and result.ok
    assert (result.visits, result.removed, result.pictures, result.orphans) == (3, 0, 9, 0)
    with Store(folder) as store:
        assert store.head() == result.head == f"{result.entries}:{result.head.partition(':')[2]}"
        assert audit.verify(folder, store.head()).ok  # while it is open


def test_the_chain_is_what_the_documentation_says(folder):
    with closing(sqlite3.connect(folder / FILE)) as db:
        before = "0" * 64
        for entry, value in db.execute("SELECT entry, hash FROM audit ORDER BY seq"):
            assert sha256((before + entry).encode()).hexdigest() == value
            before = value
        (entry,) = next(iter(db.execute('SELECT entry FROM audit WHERE entry LIKE \'%"action":"capture"%\'')))
        detail = msgspec.json.decode(entry)["detail"]
        text = db.execute("SELECT json FROM captures WHERE uid = ?", (detail["capture"],)).fetchone()[0]
    assert detail["rows"][f"capture/{detail['capture']}"] == sha256(text.encode()).hexdigest()
    shown = msgspec.json.decode(text)
    assert detail["image"] == shown["image"]
    result = msgspec.json.encode(shown["result"], order="sorted")
    assert detail["result"] == sha256(result).hexdigest()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET hash = 'x' WHERE seq = 2",
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "INSERT OR REPLACE INTO audit (seq, entry, hash) VALUES (2, '{\"seq\":2}', 'x')",
        "INSERT INTO audit (seq, entry, hash) VALUES (1000, '{\"seq\":1000}', 'x')",
    ],
)
def test_the_database_itself_refuses_to_change_the_log(folder, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tamper(folder, statement)
    assert audit.verify(folder).ok


@pytest.mark.parametrize(
    "statement, found",
    [
        ("UPDATE captures SET json = replace(json, '0.62', '0.31') WHERE id = 2", "capture 00.* was changed"),
        ("UPDATE visits SET json = json_set(json, '$.participant', 'P-9') WHERE id = 1", "visit .* was changed"),
        ("UPDATE visits SET json = json_set(json, '$.finished', NULL) WHERE id = 1", "visit .* was changed"),
        ("UPDATE readings SET json = json_set(json, '$.grade', 'refer') WHERE id = 1", "reading r0 was changed"),
        ("UPDATE withdrawals SET json = json_set(json, '$.reason', '')", "withdrawal .* was"),
        ("DELETE FROM withdrawals WHERE id = 1", "withdrawal 00.* is gone"),
        ("UPDATE not_imaged SET json = replace(json, 'dense', 'light')", "not_imaged .* was changed"),
        ("UPDATE documents SET json = '[]' WHERE name = 'references'", "document references was changed"),
        ("UPDATE documents SET json = replace(json, 's3cret', 'other') WHERE name = 'settings'", "settings was"),
        ("UPDATE counters SET value = 1 WHERE name = 'visit'", "counter visit was changed"),
        ("UPDATE parcels SET sent = '2026' WHERE sent IS NULL", "parcel .* was changed"),
        ("DELETE FROM captures WHERE id = 1", "capture .* is gone from the record, and the log"),
        ("DELETE FROM visits WHERE id = 1", "visit .* is gone from the record, and the log"),
        ("DELETE FROM pictures WHERE capture = (SELECT uid FROM captures LIMIT 1)", "picture .* is gone"),
        (
            "INSERT INTO visits (uid, json) VALUES ('x', '{\"uid\":\"x\",\"number\":9}')",
            "visit x is in the record, but not in the log",
        ),
        ("UPDATE captures SET visit = (SELECT max(uid) FROM visits)", "capture .* changed"),
        ("DROP TRIGGER audit_no_delete", "guards .* were taken out"),
    ],
)  # fmt: skip
def test_a_changed_row_is_found(folder, statement, found):
    tamper(folder, statement)
    result = audit.verify(folder)
    assert any(re.search(found, p) for p in result.problems), result.problems
    assert all(Translator("ja").knows(p) for p in result.problems), result.problems


def test_a_changed_entry_is_found_even_where_it_tells_the_same_of_the_rows(folder):
    tamper(folder, *GUARDS, "UPDATE audit SET entry = replace(entry, 'Sato', 'Ito') WHERE seq = 5")
    problems = audit.verify(folder).problems
    assert [p for p in problems if p.startswith("entry ")] == [
        "entry 5 of the log does not fit its hash: it, or the one before it, was changed"
    ]


def test_entries_taken_from_the_middle_are_found(folder):
    tamper(folder, *GUARDS, "DELETE FROM audit WHERE seq IN (5, 6)")
    assert "entries 5 to 6 of the log are missing" in audit.verify(folder).problems


def test_an_end_that_was_cut_off_needs_a_known_head(folder):
    head = audit.verify(folder).head
    last = int(head.partition(":")[0])
    tamper(folder, *GUARDS, f"DELETE FROM audit WHERE seq = {last}")  # an entry that wrote no row
    assert [p for p in audit.verify(folder).problems if "guards" not in p] == []
    assert any(f"once had an entry {last}: its end was cut off" in p for p in audit.verify(folder, head).problems)


def test_a_log_that_was_computed_anew_needs_a_known_head(folder):
    head = audit.verify(folder).head
    with closing(sqlite3.connect(folder / FILE)) as db:
        for guard in GUARDS:
            db.execute(guard)
        before = audit.START
        for seq, entry in db.execute("SELECT seq, entry FROM audit ORDER BY seq").fetchall():
            entry = entry.replace("Sato", "Ito")
            before = sha256((before + entry).encode()).hexdigest()
            db.execute("UPDATE audit SET entry = ?, hash = ? WHERE seq = ?", (entry, before, seq))
        db.commit()
    assert not any("hash" in p for p in audit.verify(folder).problems)
    problems = audit.verify(folder, head).problems
    assert any("the log was rewritten" in p for p in problems) and all(Translator("ja").knows(p) for p in problems)


def test_pictures_are_held_against_their_names(folder):
    with Store(folder) as store:
        first, second, third = (store.picture(v.captures[0].image) for v in store.visits())
        store.pictures.keep([b"\xff\xd8\xff of a step that was cut short"])
    first.unlink()
    second.write_bytes(second.read_bytes() + b"\0")
    third.unlink()
    third.mkdir()
    result = audit.verify(folder)
    assert set(result.problems) == {
        f"the picture {first.name} is missing",
        f"the picture {second.name} was changed: its content is not what its name says",
        f"the picture {third.name} cannot be read (Is a directory)",
    }
    assert result.orphans == 1
    assert all(Translator("ja").knows(p) for p in result.problems)


def test_the_folder_of_pictures_is_gone(folder):
    names = len(list((folder / "pictures").rglob("*.jpg")))
    (folder / "pictures").rename(folder / "elsewhere")
    result = audit.verify(folder)
    assert names and len(result.problems) == result.pictures >= names and result.orphans == 0


def test_a_damaged_page_is_a_finding(folder):
    size = (folder / FILE).stat().st_size
    with open(folder / FILE, "r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(4096 * 4))
    result = audit.verify(folder)
    assert any("the database is damaged" in p for p in result.problems)


@pytest.mark.parametrize("head", ["", "7", "7:abc", f"x:{'0' * 64}", f"{'9' * 30}:{'0' * 64}"])
def test_what_is_no_head_is_refused(folder, head):
    with pytest.raises(UsageError, match="is no head of a log"):
        audit.verify(folder, head)


def test_a_record_whose_making_was_cut_short_holds_nothing_and_is_made_anew(tmp_path):
    with Store(tmp_path / "record"):
        pass
    (tmp_path / "record" / "record.db").write_bytes(b"")  # the power went before its first transaction
    with pytest.raises(StoreError, match="its making was cut short; start the instrument") as error:
        audit.verify(tmp_path / "record")
    assert Translator("ja").knows(str(error.value))
    with Store(tmp_path / "record"):
        pass
    assert audit.verify(tmp_path / "record").ok


def test_where_there_is_no_record(tmp_path):
    with pytest.raises(StoreError, match="there is no record in") as error:
        audit.verify(tmp_path)
    assert Translator("ja").knows(str(error.value)) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "verb", [["audit", "verify", "--store"], ["audit", "show", "--store"], ["record", "list", "--store"],
             ["trial", "report", "--out", "x"]]
)  # fmt: skip
def test_a_record_of_another_user_is_explained(folder, monkeypatch, capsys, verb):
    close_folder(monkeypatch, folder)
    assert main([*verb, str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{folder} may not be read; check its owner" in said and "sudo -u tenohira" in said
    assert Translator("ja").knows(said.removeprefix("tenohira: ").strip())


def test_a_record_on_a_disk_that_fails_is_explained(folder, monkeypatch):
    close_folder(monkeypatch, folder, OSError(errno.EIO, "Input/output error"))
    with pytest.raises(StoreError, match=r"cannot be read or written .*Input/output error"):
        audit.verify(folder)


def in_a_namespace(script: str) -> subprocess.CompletedProcess:
    """A shell as root of a namespace of its own, where it may mount."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here (unshare)")
    return subprocess.run([*unshare, "sh", "-c", script], capture_output=True, text=True, timeout=60)


def test_a_record_on_a_read_only_disk_can_be_checked_but_not_opened(folder):
    run = in_a_namespace(
        f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && "
        f"{sys.executable} -m device.cli audit verify --store {folder} && "
        f"{sys.executable} -m device.cli record list --store {folder}"
    )
    assert run.stdout.startswith("ok: "), run
    assert run.returncode == 2 and "may not be written to; check its owner" in run.stderr, run


def test_the_verb_lists_what_is_wrong_and_tells_it_by_its_exit_code(folder, capsys):
    assert main(["audit", "verify", "--store", str(folder)]) == 0
    out = capsys.readouterr().out
    head = out.split()[-1]
    assert out.startswith("ok: ") and "3 examinations, 9 pictures" in out
    assert main(["audit", "verify", "--store", str(folder), "--head", head]) == 0
    capsys.readouterr()
    tamper(folder, "UPDATE captures SET json = replace(json, '0.62', '0.31') WHERE id = 2")
    assert main(["audit", "verify", "--store", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "was changed after entry" in lines[0] and lines[1].startswith("1 wrong: ")
    assert main(["audit", "verify", "--store", str(folder / "none")]) == 2


def test_the_verb_shows_the_log(folder, capsys):
    assert main(["audit", "show", "--store", str(folder), "--last", "2"]) == 0
    out = capsys.readouterr().out
    assert "references" in out and "report" in out and "finish" not in out
    assert main(["audit", "show", "--store", str(folder), "--last", "0", "--json"]) == 0
    lines = [msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]
    before = audit.START
    for line in lines:
        before = sha256((before + audit.canonical(line["entry"])).encode()).hexdigest()
        assert line["hash"] == before
    uid = next(line["entry"]["subject"] for line in lines if line["entry"]["action"] == "begin")
    assert main(["audit", "show", "--store", str(folder), "--subject", uid, "--json"]) == 0
    shown = [msgspec.json.decode(line)["entry"] for line in capsys.readouterr().out.splitlines()]
    assert {e["action"] for e in shown} == {
        "begin",
        "capture",
        "withdraw",
        "not imaged",
        "reading",
        "finish",
        "queue",
    }
    assert {e["subject"] for e in shown} == {uid}
