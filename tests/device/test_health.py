"""The board's state, from trees and commands as a Pi has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from device import health
from device.health import Health, Watch, problems, read
from device.language import Translator

NOW = datetime.now(UTC)


class Board:
    """A root folder and a folder of commands, empty at first."""

    def __init__(self, folder):
        self.root, self.commands = folder / "root", folder / "commands"
        self.root.mkdir()
        self.commands.mkdir()

    def file(self, path, text):
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def command(self, name, script):
        place = self.commands / name
        place.write_text(f"#!/bin/sh\n{script}\n")
        place.chmod(0o755)

    def read(self, **more):
        return read(root=self.root, **more)


@pytest.fixture
def board(tmp_path, monkeypatch):
    board = Board(tmp_path)
    monkeypatch.setenv("PATH", str(board.commands))
    monkeypatch.setattr(health, "DEADLINE_S", 30.0)  # even a short script may be slow
    return board


def test_where_nothing_is_known_nothing_is_claimed(board):
    seen = board.read()
    assert (seen.temperature_c, seen.throttled_now, seen.throttled_since_start) == (None, None, None)
    assert (seen.clock_source, seen.memory_free_mb) == (None, None)
    assert seen.clock_plausible and problems(seen) == []


def test_the_temperature_is_the_processors(board):
    board.file("sys/class/thermal/thermal_zone0/type", "acpitz\n")
    board.file("sys/class/thermal/thermal_zone0/temp", "91000\n")
    board.file("sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    board.file("sys/class/thermal/thermal_zone1/temp", "48312\n")
    assert board.read().temperature_c == 48.312
    board.file("sys/class/thermal/thermal_zone1/temp", "no sensor")
    assert board.read().temperature_c == 91.0


@pytest.mark.parametrize("folder", ["soc/soc:firmware", "soc@107c000000/soc@107c000000:firmware"])
def test_throttling_from_the_kernels_file(board, folder):
    board.command("vcgencmd", "echo throttled=0x0")  # not needed then
    board.file(f"sys/devices/platform/{folder}/get_throttled", "50005\n")
    seen = board.read()
    assert seen.throttled_now == ("the supply voltage is too low", "the processor is slowed down")
    assert seen.throttled_since_start == seen.throttled_now


@pytest.mark.parametrize(
    ("script", "now", "since"),
    [
        ("echo throttled=0x0", (), ()),
        ("echo throttled=0x80008", (health.FLAGS[3],), (health.FLAGS[3],)),
        ("echo throttled=0x20000", (), (health.FLAGS[1],)),
        ("echo throttled=0xE0002", (health.FLAGS[1],), (health.FLAGS[1], health.FLAGS[2], health.FLAGS[3])),
        ("echo VCHI initialization failed", None, None),
        ("echo throttled=0x1; exit 1", None, None),
        ("/bin/sleep 60", None, None),
    ],
)
def test_throttling_from_vcgencmd(board, script, now, since, monkeypatch):
    if "sleep" in script:
        monkeypatch.setattr(health, "DEADLINE_S", 0.3)
    board.command("vcgencmd", f'[ "$*" = get_throttled ] || exit 9\n{script}')
    seen = board.read()
    assert (seen.throttled_now, seen.throttled_since_start) == (now, since)


def test_memory(board):
    board.file("proc/meminfo", "MemTotal:  465000 kB\nMemFree: 20000 kB\nMemAvailable:  40960 kB\n")
    seen = board.read()
    assert seen.memory_free_mb == 40
    (said,) = problems(seen)
    assert "40 MB" in said


def test_a_clock_before_the_software_or_the_last_record_cannot_be(board):
    early = datetime(2024, 1, 1, tzinfo=UTC)
    (said,) = problems(board.read(now=early))
    assert "which cannot be" in said and f"{early.astimezone():%Y-%m-%d}" in said
    tomorrow = (NOW + timedelta(days=1)).isoformat()
    assert board.read(last_record=tomorrow, now=NOW).clock_plausible is False
    yesterday = (NOW - timedelta(days=1)).isoformat()
    assert board.read(last_record=yesterday, now=NOW).clock_plausible is True
    assert board.read(last_record="no time", now=NOW).clock_plausible is True
    assert board.read(now=datetime(2107, 1, 1, tzinfo=UTC)).clock_plausible is False


def test_what_stands_behind_the_clock(board):
    board.command("timedatectl", '[ "$2" = --property=NTPSynchronized ] && echo no')
    seen = board.read(now=NOW)
    assert seen.clock_source == ""
    (said,) = problems(seen)
    assert "Neither a network nor a clock chip" in said
    board.file("sys/class/rtc/rtc0/since_epoch", "42\n")  # a chip without a battery
    assert board.read(now=NOW).clock_source == ""
    board.file("sys/class/rtc/rtc1/since_epoch", f"{int(NOW.timestamp())}\n")
    assert board.read(now=NOW).clock_source == "rtc"
    board.command("timedatectl", "echo yes")
    assert board.read(now=NOW).clock_source == "network"


def test_timesyncd_says_so_with_a_file(board):
    board.file("run/systemd/timesync/synchronized", "")
    assert board.read().clock_source == "network"


def test_a_clock_that_was_moved_by_hand_since_has_no_network_behind_it(board):
    board.file("run/systemd/timesync/synchronized", "")
    assert board.read(now=datetime.now(UTC)).clock_source == "network"
    for moved in (timedelta(days=3650), timedelta(days=-1)):
        assert board.read(now=datetime.now(UTC) + moved).clock_source is None


LOW, CAPPED, SLOW, SOFT = (health.FLAGS[bit] for bit in (0, 1, 2, 3))
TROUBLES = [
    Health(clock_plausible=False, time=NOW.isoformat()),
    Health(clock_source="", time=NOW.isoformat()),
    Health(clock_plausible=False, clock_source="", clock_doubted="2026-11-24T08:15+00:00", time=NOW.isoformat()),
    Health(throttled_now=(LOW, CAPPED), throttled_since_start=(LOW, CAPPED)),
    Health(throttled_now=(), throttled_since_start=(LOW,)),
    Health(throttled_now=(SOFT,), throttled_since_start=(SOFT,), temperature_c=61.0),
    Health(throttled_now=(SLOW,), throttled_since_start=(SLOW,), temperature_c=83.4),
    Health(memory_free_mb=12),
]


@pytest.mark.parametrize("seen", TROUBLES)
def test_each_trouble_is_one_sentence_with_a_way_out_in_both_languages(seen):
    (said,) = problems(seen)
    assert said.endswith(".") and (";" in said or ":" in said)
    translated = Translator("ja")
    assert translated.knows(said)
    assert "{" not in translated(said)


def test_what_is_well_is_not_said():
    assert problems(Health(temperature_c=60.0, throttled_now=(), throttled_since_start=(SLOW, SOFT, CAPPED))) == []
    assert problems(Health(clock_source="network", clock_plausible=True, memory_free_mb=300)) == []


def test_the_watch_logs_what_begins_and_what_is_over(board, caplog):
    caplog.set_level("INFO")
    watch = Watch(root=board.root)
    for temperature in (81000, 84000, 50000):
        board.file("sys/class/thermal/thermal_zone0/temp", str(temperature))
        watch.look()
    assert watch.health.temperature_c == 50.0
    first, last = (r.getMessage() for r in caplog.records)
    assert first.startswith("The instrument is hot (81") and last.startswith("over: The instrument is hot")


def test_the_watch_runs_on_where_a_look_fails(board, caplog):
    calls = []

    def doubted(source):
        calls.append(1)
        if len(calls) == 2:
            raise OSError("closed")
        return ""

    with Watch(doubted, every_s=0.01, root=board.root):
        while len(calls) < 4:
            pass
    assert "the look at the board failed" in caplog.text
