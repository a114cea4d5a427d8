"""A clock that jumps is doubted until something, or somebody, stands behind it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from device.clock import JUMP, UNUSED, Clock
from device.errors import StoreFullError
from device.health import Watch

START = datetime(2026, 11, 24, 8, 15, tzinfo=UTC)
YEARS, DAY, SECOND = timedelta(days=3653), timedelta(days=1), timedelta(seconds=1)


class Log:
    """What a record keeps."""

    def __init__(self):
        self.last_entry, self.clock_doubted, self.said = START.isoformat(), "", []

    def doubt_clock(self, believed):
        self.clock_doubted = believed
        self.said.append("doubted")

    def believe_clock(self, actor):
        self.clock_doubted = ""
        self.said.append("believed")


class Time:
    """Both clocks of an instrument: ``pass_`` is what really goes by, ``set`` what a hand does."""

    def __init__(self):
        self.wall, self.steady = START, 100.0

    def pass_(self, time):
        self.wall += time
        self.steady += time.total_seconds()


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def log():
    return Log()


def started(log, time):
    return Clock(log, lambda: time.wall, lambda: time.steady)


def test_a_clock_that_goes_on_is_believed(log, time):
    clock = started(log, time)
    for passed in (SECOND, timedelta(hours=9), 300 * DAY):
        time.pass_(passed)
        assert clock.look("") == ""
    assert log.said == []


@pytest.mark.parametrize("source", ["", "rtc", None])
@pytest.mark.parametrize(
    "jump", [YEARS, 45 * DAY, -DAY, -timedelta(hours=3), -57 * 365 * DAY, JUMP + SECOND, -JUMP - SECOND]
)
def test_a_jump_is_doubted_until_the_clock_has_come_back(log, time, source, jump):
    clock = started(log, time)
    assert clock.look(source) == ""
    time.wall += jump
    assert clock.look(source) == START.isoformat(timespec="milliseconds")
    for passed in (30 * SECOND, timedelta(hours=4), DAY, 100 * DAY):  # time that goes by makes no clock right
        time.pass_(passed)
        assert clock.look(source) and log.said == ["doubted"]
    time.wall -= jump
    assert clock.look(source) == "" and log.said == ["doubted", "believed"]


def test_a_small_step_is_none(log, time):
    clock = started(log, time)
    clock.look("")
    for step in (JUMP - SECOND, -JUMP + SECOND):
        time.wall += step
        assert clock.look("") == ""


def test_the_network_sets_the_clock_and_ends_a_doubt(log, time):
    clock = started(log, time)
    clock.look("")
    time.wall += YEARS
    assert clock.look("network") == "" and log.said == []
    time.wall += YEARS
    assert clock.look("") and clock.look("network") == ""


@pytest.mark.parametrize(
    ("gone", "source", "doubted"),
    [
        (UNUSED - SECOND, "", False),
        (UNUSED + SECOND, "", True),
        (UNUSED + SECOND, None, True),
        (YEARS, "rtc", False),  # the chip counted while the instrument lay in a cupboard
        (-DAY, "rtc", True),  # its battery was changed
        (-DAY, "network", False),
        (YEARS, "network", False),
        (-JUMP - SECOND, "", True),
        (-SECOND, "", False),
    ],
)
def test_a_start_is_held_against_the_last_entry_of_the_log(log, time, gone, source, doubted):
    time.wall += gone
    assert bool(started(log, time).look(source)) is doubted


def test_a_doubt_outlasts_a_restart_and_what_is_recorded_meanwhile(log, time):
    time.wall += YEARS
    assert started(log, time).look("")
    log.last_entry = time.wall.isoformat()
    time.pass_(DAY)
    assert started(log, time).look("") == START.isoformat(timespec="milliseconds")
    log.believe_clock("an administrator")
    assert started(log, time).look("") == ""


@pytest.mark.parametrize("jump", [45 * DAY, -timedelta(hours=3), YEARS])
def test_no_start_ends_a_doubt_that_is_in_the_record(log, time, jump):
    """How long the instrument was switched off, nobody knows: a clock that goes on wrongly fits as well."""
    clock = started(log, time)
    clock.look("")
    time.wall += jump
    clock.look("")
    log.last_entry = time.wall.isoformat()
    for source in ("", "rtc", None):
        clock = started(log, time)
        for passed in (SECOND, timedelta(hours=4)):
            time.pass_(passed)
            assert clock.look(source) == START.isoformat(timespec="milliseconds")
    assert clock.look("network") == "" and log.said == ["doubted", "believed"]


def test_a_clock_that_started_behind_may_be_set_by_hand(log, time):
    """To a time within those that the instrument may have been switched off for, and to no earlier one."""
    time.wall -= timedelta(hours=1)
    clock = started(log, time)
    assert clock.look("")
    time.pass_(timedelta(hours=2))  # past the log's last entry by now, and an hour behind all the same
    assert clock.look("")
    time.wall += timedelta(hours=13)
    assert clock.look("") == ""


def test_a_new_record_has_nothing_to_hold_it_against(log, time):
    log.last_entry = ""
    assert started(log, time).look("") == ""


def test_a_record_that_cannot_be_written_hides_nothing_else_of_the_board(caplog):
    def full(source):
        raise StoreFullError("the disk is full")

    watch = Watch(full)
    watch.look()
    assert watch.health.time and watch.health.clock_doubted == "" and "the disk is full" in caplog.text
