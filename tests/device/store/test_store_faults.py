"""Order and failure: pictures are on the disk before the row that names them; a full disk leaves nothing half."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from store_records import capture

from device.errors import StoreError, StoreFullError
from device.language import Translator
from device.record import Settings
from device.store import Store, audit
from device.store.pictures import name_of

HERE = Path(__file__).parent


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "record") as store:
        store.change_settings(Settings(keep_free_mb=0), "test")
        yield store


class Watched:
    """The calls that change files, and the statements of the database, in their order."""

    def __init__(self, monkeypatch, store: Store) -> None:
        self.calls: list[tuple[str, Path | str]] = []
        fsync, replace = os.fsync, os.replace

        def watched_fsync(file: int) -> None:
            fsync(file)
            self.calls.append(("fsync", Path(os.readlink(f"/proc/self/fd/{file}"))))

        def watched_replace(source: Path, target: Path) -> None:
            replace(source, target)
            self.calls.append(("rename", (source, target)))

        monkeypatch.setattr(os, "fsync", watched_fsync)
        monkeypatch.setattr(os, "replace", watched_replace)
        store.database._connection.set_trace_callback(lambda sql: self.calls.append(("sql", sql)))

    def place(self, kind: str, what) -> int:
        return self.calls.index((kind, what))


def test_pictures_are_on_the_disk_before_the_row(store, monkeypatch):
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    seen = Watched(monkeypatch, store)
    store.add_capture(shown, pictures)
    row = next(n for n, (_, sql) in enumerate(seen.calls) if str(sql).startswith("INSERT INTO captures"))
    begin = max(n for n, call in enumerate(seen.calls[:row]) if call == ("sql", "BEGIN IMMEDIATE"))
    commit = seen.place("sql", "COMMIT")
    assert begin < row < commit and not [call for call in seen.calls[begin:] if call[0] != "sql"]
    renames = [(n, *call[1]) for n, call in enumerate(seen.calls) if call[0] == "rename"]
    assert {target.name for _, _, target in renames} == {name_of(p) for p in pictures}
    for renamed, part, target in renames:
        folder_synced = seen.place("fsync", target.parent)  # before that: its making, of the folder above
        assert seen.place("fsync", part) < renamed < folder_synced < begin
        assert seen.place("fsync", target.parent.parent) < begin


def test_a_picture_that_is_there_is_synced_nevertheless(store, monkeypatch):
    """Its name may be of a step that was killed between renaming and the folder's fsync."""
    visit = store.begin("P-1")
    shown, pictures = capture(visit.uid)
    store.pictures.keep(pictures)
    seen = Watched(monkeypatch, store)
    store.add_capture(shown, pictures)
    folders = {store.picture(name_of(p).partition(".")[0]).parent for p in pictures}
    assert {path for kind, path in seen.calls if kind == "fsync"} == folders


def test_the_database_waits_for_the_disk(store):
    ask = store.database._connection.execute
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    assert [ask(f"PRAGMA {p}").fetchone()[0] for p in pragmas] == ["wal", 2, 1]  # 2: FULL


CALLS = ("open", "write", "fsync", "replace", "mkdir")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_each_call_may_fail(store, monkeypatch, call, number):
    visit = store.begin("P-1")
    fails, nth = True, 0
    while fails:
        nth += 1
        assert nth < 50
        shown, pictures = capture(visit.uid, nth)
        before, files = store.head(), set(store.pictures.files())
        left, real = nth, getattr(os, call)

        def failing(*args, real=real, **options):
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError(number, os.strerror(number))
            return real(*args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            try:
                store.add_capture(shown, pictures)
                fails = False
            except StoreError as error:
                assert Translator("ja").knows(str(error)), error
                assert isinstance(error, StoreFullError) == (number in (errno.ENOSPC, errno.EDQUOT))
                assert store.head() == before and shown not in store.visit(visit.uid).captures
                assert not [f for f in store.pictures.files() if f.suffix == ".part"]
        store.tidy()
        assert fails is False or set(store.pictures.files()) == files
        store.add_capture(shown, pictures)
        assert shown in store.visit(visit.uid).captures
    assert nth > 1, f"os.{call} is never called"
    assert audit.verify(store.folder).problems == ()


STEPS = {
    "begin": lambda s, uid: s.begin("P-2"),
    "capture": lambda s, uid: s.add_capture(*capture(uid)),
    "finish": lambda s, uid: s.finish(uid),
    "settings": lambda s, uid: s.change_settings(Settings(keep_free_mb=0, site="KAN"), "test"),
    "code": lambda s, uid: s.next_participant(),
    "log": lambda s, uid: s.log("op", "report", uid, {"text": "x" * 300}),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_database_that_cannot_grow_leaves_the_step_undone(store, step):
    """SQLite's own SQLITE_FULL, by a limit of pages."""
    uid = store.begin("P-1").uid
    db = store.database._connection
    db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")
    for size in (3000, 300, 30):  # fill up the last page
        with pytest.raises(StoreFullError):
            while True:
                store.log("op", "fill", "", {"text": "x" * size})
    before, visit = store.head(), store.visit(uid)
    with pytest.raises(StoreFullError) as error:
        STEPS[step](store, uid)
    assert Translator("ja").knows(str(error.value))
    assert store.head() == before and store.visit(uid) == visit and len(store.visits()) == 1
    assert store.settings == Settings(keep_free_mb=0)
    assert audit.verify(store.folder).problems == ()
    db.execute("PRAGMA max_page_count = 1000000")
    STEPS[step](store, uid)
    store.tidy()
    assert store.head() != before and audit.verify(store.folder).ok


def test_a_disk_that_is_really_full(tmp_path):
    """A file system of 3 MB in memory, in a namespace of its own."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no user namespaces here (unshare)")
    script = (
        f"mount -t tmpfs -o size=3m tmpfs {tmp_path} && {sys.executable} {HERE / 'store_full_disk.py'} {tmp_path}"
    )
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[2])}
    run = subprocess.run(
        [*unshare, "sh", "-c", script], capture_output=True, text=True, timeout=120, env=environment
    )
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.split()) == 12, run


def test_a_folder_that_was_put_in_the_place_of_the_record_is_the_record(tmp_path):
    """As when a card is taken out and its backup put in: what is confirmed must be in the folder that is there."""
    folder, away, put_back = tmp_path / "record", tmp_path / "away", tmp_path / "copy"
    with Store(folder) as store:
        store.change_settings(Settings(keep_free_mb=0), "test")
        uid = store.begin("P-1").uid
        shutil.copytree(folder, put_back)  # its newest entries are in SQLite's write-ahead log still
        folder.rename(away)
        for step in (lambda: store.begin("P-2"), lambda: store.visit(uid)):
            with pytest.raises(StoreError) as error:
                step()
            assert Translator("ja").knows(str(error.value))
        assert not folder.exists()
        put_back.rename(folder)
        store.add_capture(*capture(uid))
        assert store.device.strip()
    with Store(folder) as store:
        assert len(store.visit(uid).captures) == 1
    assert audit.verify(folder).ok and audit.verify(away).ok
