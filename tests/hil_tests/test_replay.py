"""What is left after a power cut, of logs that are made by hand, and of a disk that is really written to."""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from hil_tests.disk import logged
from hil_tests.disk.replay import DISCARD, FLUSH, FUA, LogError, Replay, WriteLog

SECTOR, DISK = 512, 64 * 1024


def write(sector: int, letter: str, sectors: int = 1, flags: int = 0) -> bytes:
    """A log's entry that fills sectors with a letter."""
    data = b"" if flags & DISCARD else letter.encode() * SECTOR * sectors
    return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0") + data


def flush() -> bytes:
    return struct.pack("<QQQQ", 0, 0, FLUSH, 0).ljust(SECTOR, b"\0")


@pytest.fixture
def made(tmp_path):
    """A log, and a function that gives the disk after a cut."""

    def make(*entries: bytes):
        head = struct.pack("<QQQI", 0x6A736677736872, 1, 0, SECTOR).ljust(SECTOR, b"\0")
        (tmp_path / "log").write_bytes(head + b"".join(entries))
        (tmp_path / "pristine").write_bytes(b"." * DISK)
        log = WriteLog(tmp_path / "log")
        replay = Replay(log, tmp_path / "pristine", tmp_path)

        def cut(entry: int, seed: int = 0) -> bytes:
            replay.build(entry, tmp_path / "disk", Random(seed))
            return (tmp_path / "disk").read_bytes()

        return log, cut

    return make


def sectors(disk: bytes, first: int, count: int) -> str:
    """The letter that each sector is full of; ? where it is full of several."""
    parts = [disk[i * SECTOR : (i + 1) * SECTOR] for i in range(first, first + count)]
    return "".join(chr(p[0]) if p == p[:1] * SECTOR else "?" for p in parts)


def test_what_was_flushed_is_there_and_what_comes_after_the_cut_is_not(made):
    _, cut = made(write(0, "a"), write(1, "b"), flush(), write(0, "c"), flush())
    for seed in range(50):
        assert sectors(cut(3, seed), 0, 3) == "ab."
        assert sectors(cut(5, seed), 0, 3) == "cb."
        assert sectors(cut(0, seed), 0, 3) == "..."


def test_what_was_not_flushed_may_be_there_in_any_combination(made):
    _, cut = made(write(0, "a"), flush(), write(0, "b"), write(1, "c"))
    assert {sectors(cut(4, seed), 0, 2) for seed in range(200)} == {"a.", "b.", "ac", "bc"}


def test_a_flush_at_the_cut_counts_only_once_it_was_answered(made):
    _, cut = made(write(0, "a"), flush())
    assert {sectors(cut(1, seed), 0, 1) for seed in range(100)} == {"a", "."}
    assert {sectors(cut(2, seed), 0, 1) for seed in range(100)} == {"a"}


def test_of_two_writes_to_one_place_the_earlier_never_comes_after_the_later(made):
    _, cut = made(write(0, "a"), write(0, "b", flags=FUA))
    assert {sectors(cut(2, seed), 0, 1) for seed in range(100)} == {"b"}


def test_a_write_with_fua_is_safe_and_takes_no_other_along(made):
    _, cut = made(write(0, "a"), write(1, "b", flags=FUA))
    assert {sectors(cut(2, seed), 0, 2) for seed in range(100)} == {"ab", ".b"}


def test_a_flush_that_comes_with_data_is_for_those_before_it(made):
    _, cut = made(write(0, "a"), write(1, "b", flags=FLUSH), write(2, "c", flags=FLUSH | FUA))
    assert {sectors(cut(2, seed), 0, 3) for seed in range(100)} == {"ab.", "a.."}
    assert {sectors(cut(3, seed), 0, 3) for seed in range(100)} == {"abc"}


def test_a_write_is_torn_between_sectors_and_nowhere_else(made):
    _, cut = made(write(4, "a", 12))
    seen = {sectors(cut(1, seed), 0, 20) for seed in range(300)}
    assert all(set(s) <= {"a", "."} and s[:4] == "...." and s[16:] == "...." for s in seen)
    assert any(s[8] != s[9] for s in seen), "no write was torn at 512 bytes"
    assert {"....aaaa............", "........aaaaaaaa...."} <= seen, "no write was torn at 4096 bytes"


def test_a_discard_has_no_data_in_the_log(made):
    log, cut = made(write(0, "a"), flush(), write(0, "", 2, DISCARD), flush(), write(3, "b"), flush())
    assert len(log.entries) == 6
    disk = cut(6)
    assert disk[: 2 * SECTOR] == bytes(2 * SECTOR) and sectors(disk, 2, 2) == ".b"


def test_cuts_may_be_asked_for_in_any_order(made):
    _, cut = made(write(0, "a"), flush(), write(0, "b"), flush())
    assert [sectors(cut(n), 0, 1) for n in (4, 2, 4)] == ["b", "a", "b"]


def test_the_same_seed_leaves_the_same_disk(made):
    _, cut = made(*(write(i, "a") for i in range(40)))
    assert cut(40, 7) == cut(40, 7) != cut(40, 8)


def test_a_position_in_bytes_counts_whole_entries(made):
    log, _ = made(write(0, "a", 3), flush(), write(1, "b"))
    ends = [e.end for e in log.entries]
    assert [log.count_at(p) for p in (0, ends[0] - 1, ends[0], ends[1], ends[2] + 99)] == [0, 0, 1, 2, 3]


def test_an_entry_that_is_being_written_is_left_out(made):
    log, _ = made(write(0, "a"), write(1, "b")[:-1])
    assert len(log.entries) == 1


def test_other_files_are_no_logs(tmp_path):
    (tmp_path / "log").write_bytes(bytes(1024))
    with pytest.raises(LogError, match="no log of writes"):
        WriteLog(tmp_path / "log")
    (tmp_path / "log").write_bytes(b"")
    with pytest.raises(LogError, match="empty"):
        WriteLog(tmp_path / "log")


@pytest.mark.skipif(bool(logged.missing()), reason=logged.missing())
@pytest.mark.parametrize("synced", [True, False])
def test_a_program_that_leaves_fsync_out_loses_what_it_has_confirmed(tmp_path, synced):
    """Ten files on a real ext4, each confirmed when it is written; three cuts at once after each."""
    with ThreadPoolExecutor(1, initializer=logged.private_mounts) as pool:
        assert pool.submit(cuts_that_lose, tmp_path, synced).result() == (0 if synced else 30)


def cuts_that_lose(tmp_path, synced):
    confirmed = []
    with logged.LoggedDisk(tmp_path / "disk", 64) as disk:
        for number in range(10):
            file = os.open(disk.root / f"{number}", os.O_CREAT | os.O_WRONLY)
            os.write(file, f"{number}".encode() * 5000)
            if synced:
                os.fsync(file)
            os.close(file)
            confirmed.append((number, disk.position()))
    log = WriteLog(disk.log)
    replay, lost = Replay(log, disk.pristine, tmp_path), 0
    for number, position in confirmed:
        for seed in range(3):
            replay.build(log.count_at(position), tmp_path / "image", Random(seed))
            with logged.mounted(tmp_path / "image", tmp_path / "after") as root:
                lost += any(
                    not (root / f"{n}").exists() or (root / f"{n}").read_bytes() != f"{n}".encode() * 5000
                    for n in range(number + 1)
                )
            assert logged.flaws(tmp_path / "image") == ""
    return lost
