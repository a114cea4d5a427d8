"""The store: what was recorded is there, once, also for another process and after opening it again."""

import errno
import sqlite3
import threading

import msgspec
import pytest
from store_records import capture, not_imaged, picture, reading, withdrawal

from device.errors import (
    EyeGradedError,
    NoSuchPictureError,
    NoSuchVisitError,
    StoreError,
    StoreFullError,
    VisitClosedError,
)
from device.language import Translator
from device.record import Pacs, Reference, Settings, Visit, now
from device.store import Store, audit, database, files
from device.store import store as module

FREE = Settings(keep_free_mb=0)


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record") as store:
        store.change_settings(FREE, "test")
        yield store


def entries(store: Store) -> list[str]:
    with store.database.reading() as db:
        return [a for (a,) in db.execute("SELECT json_extract(entry, '$.action') FROM audit ORDER BY seq")]


def test_an_examination_is_there_with_everything_after_opening_again(store):
    store.change_settings(
        msgspec.structs.replace(FREE, site="KAN", study="TRIAL", masked=True, device="hand 3"), "Sato"
    )
    visit = store.begin("KAN-0012", operator="op1", consent=True)
    assert visit.number == 1 and visit.site == "KAN" and visit.study == "TRIAL" and visit.masked and visit.consent
    assert visit.device.startswith("hand 3 ") and visit.finished is None
    right, pictures = capture(visit.uid, 1)
    left, more = capture(visit.uid, 2, "OS")
    store.add_capture(right, pictures)
    store.add_capture(left, more)
    store.add_not_imaged(not_imaged(visit.uid))
    store.add_reading(reading(visit.uid))
    finished = store.finish(visit.uid)
    assert finished.finished is not None
    store.close()
    with Store(store.folder) as again:
        known = again.visit(visit.uid)
        assert known == finished
        assert known.captures == (right, left) and known.not_imaged == (not_imaged(visit.uid),)
        assert known.readings == (reading(visit.uid),)
        assert again.picture(right.image).read_bytes() == pictures[0]
        assert again.picture(right.image).suffix == ".jpg" and again.picture(right.masks["disc"]).suffix == ".png"


def test_repeating_a_call_records_nothing_twice(store):
    first = store.begin("P-1", uid="11111111-0000-4000-8000-000000000000")
    assert store.begin("P-1", uid=first.uid) == first
    shown, pictures = capture(first.uid)
    for _ in range(2):
        store.add_capture(shown, pictures)
        store.add_not_imaged(not_imaged(first.uid))
        store.add_reading(reading(first.uid))
    once = store.finish(first.uid)
    before = store.head()
    store.add_capture(shown, pictures)  # the answer to a call was lost, and the examination is finished by now
    assert store.finish(first.uid) == once
    assert len(once.captures) == len(once.not_imaged) == len(once.readings) == 1
    assert store.head() == before and len(store.visits()) == 1


def test_a_capture_of_the_other_eye_is_kept_but_does_not_count(store):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, pictures)
    with pytest.raises(StoreError, match="has no photograph 'another'; choose one of its own") as error:
        store.withdraw(withdrawal(msgspec.structs.replace(shown, uid="another")))
    assert Translator("ja").knows(str(error.value))
    store.withdraw(withdrawal(shown))
    known = store.finish(visit.uid)
    head = store.head()
    store.withdraw(withdrawal(shown))  # again, after the answer was lost and the examination is finished
    assert store.head() == head
    assert known.captures == (shown,) and known.of("OD") == () and known.withdrawn == (withdrawal(shown),)


def test_what_was_kept_for_the_chosen_eye_is_known_after_a_restart(store):
    visit = store.begin("P-1")
    for seed in (1, 2):
        store.add_capture(*capture(visit.uid, seed))
    kept = store.visit(visit.uid).captures[1].uid
    assert store.visit(visit.uid).confirmed == ()
    for _ in range(2):
        store.log("Sato", "laterality kept", kept, {"chosen": "OD", "seen": "OS"})
    store.log("Sato", "another action", store.visit(visit.uid).captures[0].uid, {})
    with Store(store.folder) as again:
        assert again.finish(visit.uid).confirmed == (kept,)
        assert [v.confirmed for v in again.visits()] == [(kept,)] and audit.verify(again.folder).ok


def test_an_eye_that_a_masked_reader_has_graded_keeps_its_photographs(store):
    """Else the grade would stand for an eye that the reader has not seen, and show the next photograph at once."""
    store.change_settings(msgspec.structs.replace(FREE, masked=True), "test")
    visit = store.begin("P-1")
    shown = [capture(visit.uid, seed, eye) for seed, eye in enumerate(("OD", "OD", "OS"))]
    for one in shown:
        store.add_capture(*one)
    store.withdraw(withdrawal(shown[0][0]))
    store.add_reading(reading(visit.uid))
    with pytest.raises(EyeGradedError, match="has graded OD in examination 1, so its photographs stay") as error:
        store.withdraw(withdrawal(shown[1][0]))
    assert Translator("ja").knows(str(error.value))
    store.withdraw(withdrawal(shown[0][0]))  # once more: an answer was lost
    store.withdraw(withdrawal(shown[2][0]))  # of the other eye nothing was shown
    assert [w.capture for w in store.visit(visit.uid).withdrawn] == [shown[0][0].uid, shown[2][0].uid]


def test_another_record_under_a_known_uid_is_refused(store):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, pictures)
    for say in (
        lambda: store.add_capture(msgspec.structs.replace(shown, gain=2.0), pictures),
        lambda: store.begin("P-2", uid=visit.uid),
    ):
        with pytest.raises(StoreError, match="recorded already, with other content") as error:
            say()
        assert Translator("ja").knows(str(error.value))
    assert store.visit(visit.uid).captures == (shown,)


def test_a_finished_examination_takes_readings_but_no_photographs(store):
    visit = store.begin("P-1")
    store.finish(visit.uid)
    for say in (
        lambda: store.add_capture(*capture(visit.uid)),
        lambda: store.add_not_imaged(not_imaged(visit.uid)),
        lambda: store.withdraw(withdrawal(capture(visit.uid)[0])),
        lambda: store.admit(visit.uid),
    ):
        with pytest.raises(VisitClosedError, match="begin a new one") as error:
            say()
        assert Translator("ja").knows(str(error.value))
    store.add_reading(reading(visit.uid))
    assert store.visit(visit.uid).readings and not list(store.pictures.files())


@pytest.mark.parametrize(
    "say",
    [
        lambda s: s.visit("none"),
        lambda s: s.finish("none"),
        lambda s: s.add_capture(*capture("none")),
        lambda s: s.add_not_imaged(not_imaged("none")),
        lambda s: s.add_reading(reading("none")),
        lambda s: s.withdraw(withdrawal(capture("none")[0])),
        lambda s: s.admit("none"),
        lambda s: s.sent("none"),
        lambda s: s.tried("none", "", ""),
    ],
)
def test_an_unknown_examination_is_explained(store, say):
    before = store.head()
    with pytest.raises(NoSuchVisitError) as error:
        say(store)
    assert Translator("ja").knows(str(error.value)) and store.head() == before


@pytest.mark.parametrize("code", ["", "  ", "a\nb", "x" * 65, "A\\B", "\udc80"])
def test_a_code_that_no_label_can_carry_is_refused(store, code):
    with pytest.raises(StoreError, match="no participant's code") as error:
        store.begin(code)
    assert Translator("ja").knows(str(error.value))


@pytest.mark.parametrize("sha256", ["", "../../record", "0" * 64, "A" * 64])
def test_only_pictures_of_the_record_are_given_out(store, sha256):
    with pytest.raises(NoSuchPictureError) as error:
        store.picture(sha256)
    assert Translator("ja").knows(str(error.value))


def test_a_capture_whose_pictures_are_missing_is_refused_whole(store):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    with pytest.raises(NoSuchPictureError):
        store.add_capture(shown, pictures[:2])
    with pytest.raises(StoreError, match="neither JPEG, PNG nor DNG") as error:
        store.add_capture(shown, [*pictures, b"GIF89a"])
    assert Translator("ja").knows(str(error.value))
    assert not store.visit(visit.uid).captures and not list(store.pictures.files())


def test_pictures_of_an_earlier_capture_need_not_be_handed_over_again(store):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, pictures)
    store.add_capture(msgspec.structs.replace(shown, uid="another"), [])
    assert len(list(store.pictures.files())) == 3


def test_a_damaged_picture_is_mended_by_the_next_that_is_the_same(store):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    store.add_capture(shown, pictures)
    store.picture(shown.image).write_bytes(pictures[0][:-1])
    store.add_capture(msgspec.structs.replace(shown, uid="another"), pictures)
    assert store.picture(shown.image).read_bytes() == pictures[0]


def test_codes_follow_the_study_or_the_site_and_are_never_given_twice(store):
    assert [store.next_participant() for _ in range(2)] == ["P-0001", "P-0002"]
    store.change_settings(msgspec.structs.replace(FREE, site="KAN"), "test")
    store.begin("KAN-0002")  # typed by hand
    with Store(store.folder) as other:
        assert [s.next_participant() for s in (store, other, store)] == ["KAN-0001", "KAN-0003", "KAN-0004"]
    store.change_settings(msgspec.structs.replace(FREE, site="KAN", study="T1"), "test")
    assert store.next_participant() == "T1-KAN-0001"
    store.change_settings(msgspec.structs.replace(FREE, study="T1"), "test")
    assert store.next_participant() == "T1-0001"
    store.change_settings(FREE, "test")
    assert store.next_participant() == "P-0003"


def test_two_instruments_of_a_study_give_no_code_twice(tmp_path):
    given = []
    for site in ("SITE-NUMBER-00-A", "SITE-NUMBER-00-B"):  # the longest that the settings take
        with Store(tmp_path / site) as store:
            store.change_settings(msgspec.structs.replace(FREE, study="GLAUCOMA-2026-XY", site=site), "test")
            given += [store.next_participant() for _ in range(2)]
    assert given[0] == "GLAUCOMA-2-SITE-NUMBER-00-A-0001"
    assert len(set(given)) == 4 and max(map(len, given)) == 32


def test_history_shows_the_last_first_and_finds_by_words(store):
    uids = [store.begin(f"P-{n:02d}", operator="op_a" if n % 2 else "opXb").uid for n in range(12)]
    assert [v.uid for v in store.visits()] == uids[::-1]
    assert [v.uid for v in store.visits(limit=2, offset=3)] == uids[8:6:-1]
    assert [v.participant for v in store.visits("P-1")] == ["P-11", "P-10"]
    assert [v.number for v in store.visits("7")] == [8, 7]  # P-07, and number 7
    assert len(store.visits("op_a")) == 6 and len(store.visits("P-1 opxb")) == 1  # _ and % are no wildcards
    assert not store.visits("%") and not store.visits("nobody")


def test_history_of_a_study(store):
    store.begin("P-1")
    store.change_settings(msgspec.structs.replace(FREE, study="T1"), "test")
    inside = store.begin("P-2")
    assert store.visits(study="T1") == [inside] and [v.participant for v in store.visits(study="")] == ["P-1"]


def test_the_guard_stops_new_photographs_but_lets_an_examination_end(store, monkeypatch):
    visit = store.begin("P-1")
    store.change_settings(Settings(keep_free_mb=500), "test")
    monkeypatch.setattr(files, "free_bytes", lambda folder: 499 * 2**20)
    assert store.room() == module.Room(499, False)
    for say in (lambda: store.begin("P-2"), lambda: store.add_capture(*capture(visit.uid))):
        with pytest.raises(StoreFullError, match=r"only 499 MB are free.*500 MB") as error:
            say()
        assert Translator("ja").knows(str(error.value))
    store.add_not_imaged(not_imaged(visit.uid))
    assert store.finish(visit.uid).finished
    monkeypatch.setattr(files, "free_bytes", lambda folder: 500 * 2**20)
    assert store.room() == module.Room(500, True) and store.begin("P-2").number == 2


def test_settings_are_shared_and_their_changes_logged_without_the_password(store):
    pacs = Pacs(kind="dicomweb", url="http://pacs", user="u", password="s3cret")
    store.change_settings(msgspec.structs.replace(FREE, language="ja", pacs=pacs), "Sato")
    with Store(store.folder) as other:
        assert other.settings.language == "ja" and other.settings.pacs.password == "s3cret"
    with store.database.reading() as db:
        entry = db.execute("SELECT entry FROM audit ORDER BY seq DESC LIMIT 1").fetchone()[0]
    assert '"language":["en","ja"]' in entry and '"actor":"Sato"' in entry and "s3cret" not in entry
    before = store.head()
    store.change_settings(store.settings, "Sato")
    assert store.head() == before


def test_reference_standards_are_replaced(store):
    assert store.references() == []
    first = [Reference(participant="P-1", laterality="OD", refer=True, vcdr=0.8, source="panel")]
    store.set_references(first, "Sato")
    store.set_references([*first, Reference(participant="P-1", laterality="OS", refer=False)], "Sato")
    assert len(store.references()) == 2 and store.references()[0] == first[0]


def test_a_finished_examination_is_queued_where_there_is_a_pacs(store):
    early = store.begin("P-1")
    store.finish(early.uid)
    assert store.parcel(early.uid) is None
    store.change_settings(msgspec.structs.replace(FREE, pacs=Pacs(kind="dimse", host="pacs")), "test")
    visit = store.begin("P-2")
    store.finish(visit.uid)
    queued = store.parcel(visit.uid)
    assert store.due("2000-01-01") == [queued] and queued.attempts == 0 and queued.sent is None
    later = "2126-11-24T08:15:00.000+00:00"
    for _ in range(2):
        store.tried(visit.uid, "the PACS does not answer", later)
    just_before = "2126-11-24T08:14:59.999+00:00"
    assert store.due(just_before) == [] and len(store.due(just_before, early=True)) == 1
    assert store.waiting() == {"the PACS does not answer": 1}
    assert [(p.attempts, p.error) for p in store.due(later)] == [(2, "the PACS does not answer")]
    store.sent(visit.uid)
    sent = store.parcel(visit.uid)
    assert sent.sent and sent.error == "" and sent.attempts == 3 and store.due(later, early=True) == []
    assert store.waiting() == {}
    store.sent(visit.uid)
    store.finish(visit.uid)
    assert store.parcel(visit.uid) == sent
    assert entries(store)[-3:] == ["queue", "send failed", "sent"]
    store.finish(early.uid)  # by hand, once there is a PACS
    assert store.parcel(early.uid).sent is None


def test_what_was_put_off_by_a_clock_that_was_ahead_is_sent_all_the_same(store):
    """The clock said 2036 when the archive was not there; with the right time nobody waits for ten years."""
    store.change_settings(msgspec.structs.replace(FREE, pacs=Pacs(kind="dimse", host="pacs")), "test")
    visit = store.begin("P-1")
    store.finish(visit.uid)
    store.tried(visit.uid, "the PACS does not answer", "2036-11-24T08:15:30.000+00:00")
    assert store.due("2036-11-24T08:15:00.000+00:00") == []
    assert [p.visit for p in store.due("2026-11-24T08:15:00.000+00:00")] == [visit.uid]
    assert [p.visit for p in store.due("1970-01-01T00:15:00.000+00:00")] == [visit.uid]


def test_the_log_says_from_when_to_when_the_clock_was_doubted(store):
    assert store.clock_doubted == "" and store.last_entry <= now()
    store.believe_clock("Sato")  # nobody doubts it
    store.doubt_clock("2026-11-24T08:15:00.000+00:00")
    assert store.clock_doubted == "2026-11-24T08:15:00.000+00:00"
    visit = store.begin("P-1")
    store.believe_clock("Sato")
    assert store.clock_doubted == ""
    assert entries(store)[-3:] == ["clock doubted", "begin", "clock believed"]
    assert audit.verify(store.folder).ok and store.visit(visit.uid)


def test_threads_and_processes_share_a_folder(store):
    failures = []

    def examine(own: Store, name: int) -> None:
        try:
            for number in range(6):
                visit = own.begin(f"{name}-{number}")
                own.add_capture(*capture(visit.uid, 100 * name + number))
                own.finish(visit.uid)
        except Exception as error:
            failures.append(error)

    others = [Store(store.folder) for _ in range(2)]
    threads = [threading.Thread(target=examine, args=(s, i)) for i, s in enumerate([store, store, *others])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(v.number for v in store.visits(limit=99)) == list(range(1, 25))
    assert all(len(v.captures) == 1 and v.finished for v in store.visits(limit=99))
    for other in others:
        other.close()


def test_pictures_without_a_record_are_removed_when_it_is_opened(store):
    visit = store.begin("P-1")
    store.add_capture(*capture(visit.uid))
    kept = {f.name for f in store.pictures.files()}
    (orphan,) = store.pictures.keep([picture(77)])
    (store.folder / "pictures" / orphan[:2] / f"{orphan}.1234.part").write_bytes(b"half")
    strange = store.folder / "pictures" / orphan[:2] / "notes.txt"
    strange.write_text("not ours")
    with files.held(store.folder), Store(store.folder):  # a capture is under way elsewhere: nothing is removed
        assert len(list(store.pictures.files())) == len(kept) + 2
    with Store(store.folder):
        assert {f.name for f in store.pictures.files()} == kept and strange.exists()


def explained(folder, **options) -> str:
    with pytest.raises(StoreError) as error:
        Store(folder, **options)
    assert Translator("ja").knows(str(error.value)), error.value
    return str(error.value)


def test_a_newer_record_is_left_alone(store):
    store.close()
    with sqlite3.connect(store.folder / database.FILE) as db:
        db.execute("PRAGMA user_version = 99")
    assert "newer tenohira (schema 99" in explained(store.folder)


def test_an_older_record_is_led_to_the_present_schema(store, monkeypatch):
    visit = store.begin("P-1")
    store.close()
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ("CREATE TABLE later (x)",)))
    with Store(store.folder) as newer:
        assert newer.visit(visit.uid) == visit
        with newer.database.reading() as db:
            assert database.version_of(db) == 2 and db.execute("SELECT * FROM later").fetchall() == []


def test_a_migration_that_fails_leaves_the_record_as_it_was(store, monkeypatch):
    visit = store.begin("P-1")
    store.close()
    with monkeypatch.context() as patched:
        broken = ("CREATE TABLE later (x)", "CREATE TABLE visits (x)")
        patched.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, broken))
        explained(store.folder)
    with Store(store.folder) as again:
        assert again.visit(visit.uid) == visit


@pytest.mark.parametrize("where", [0, 50, 4096])
def test_a_damaged_database_is_explained(store, where):
    visit = store.begin("P-1")
    store.close()
    with open(store.folder / database.FILE, "r+b") as file:
        file.seek(where)
        file.write(b"\xa5" * 4096 * 30)
    with pytest.raises(StoreError, match="damaged") as error, Store(store.folder) as again:
        again.visit(visit.uid)
    assert Translator("ja").knows(str(error.value))


def test_a_file_in_the_place_of_the_folder_is_explained(tmp_path):
    (tmp_path / "record").write_text("")
    assert "is none; give another place" in explained(tmp_path / "record")


def test_a_record_that_another_program_holds_is_explained(store):
    holder = sqlite3.connect(store.folder / database.FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "another program is at work" in explained(store.folder, patience=0.05)
    holder.execute("ROLLBACK")
    holder.close()
    assert store.begin("P-1").number == 1


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match="was closed; open it again") as error:
        store.begin("P-1")
    assert Translator("ja").knows(str(error.value))


def test_a_record_that_cannot_be_decoded_is_damaged(store):
    visit = store.begin("P-1")
    with store.database.writing() as db:
        db.execute("UPDATE visits SET json = json_set(json, '$.consent', 'perhaps')")
    with pytest.raises(StoreError, match="is damaged") as error:
        store.visit(visit.uid)
    assert Translator("ja").knows(str(error.value))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR])
def test_a_disk_that_was_closed_for_writing_is_no_damaged_record(store, monkeypatch, code):
    def closed(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", closed)
    with pytest.raises(StoreError, match="switch the instrument off and on") as error:
        _fail(store, code)
    assert Translator("ja").knows(str(error.value))


def test_what_sqlite_cannot_read_is_damaged_where_the_disk_is_well(store):
    with pytest.raises(StoreError, match="is damaged"):
        _fail(store, sqlite3.SQLITE_CORRUPT)


def _fail(store: Store, code: int) -> None:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = code
    with store.database.reading():
        raise error


def test_visits_survive_a_later_version_that_knows_more(store):
    visit = store.begin("P-1")
    with store.database.writing() as db:
        db.execute("UPDATE visits SET json = json_set(json, '$.dilated', 'yes')")
    assert isinstance(store.visit(visit.uid), Visit)
