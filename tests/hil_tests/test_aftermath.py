"""What a record owes its operators: nothing lost, nothing twice, nothing that nobody asked for."""

from __future__ import annotations

import hashlib
import json

import pytest

from hil_tests.aftermath import Found, incomplete, problems, read
from hil_tests.drivers.protocols import Completed
from hil_tests.ledger import NEVER, Ledger

CAPTURE = {"uid": "c1", "visit": "v1", "laterality": "OD", "image": "i", "overlay": "o", "masks": {"disc": "m"},
           "result": {"vcdr": 0.5}}  # fmt: skip
VISIT = {"uid": "v1", "number": 1, "participant": "P-1", "finished": "today", "captures": [CAPTURE],
         "withdrawn": [], "readings": []}  # fmt: skip
WHOLE = Found([VISIT], [], frozenset("iom"), {}, [])


@pytest.fixture
def ledger():
    """A started instrument and an examination, each step confirmed ten positions after it was begun."""
    clock = iter(range(0, 1000, 10))
    ledger = Ledger(lambda: next(clock))
    ledger.step("start", lambda: 1.0)  # 0 to 10
    ledger.step("begin", lambda: VISIT, uid="v1", participant="P-1")  # 20 to 30
    ledger.step("capture", lambda: CAPTURE, uid="c1", visit="v1", eye="OD")  # 40 to 50
    ledger.step("finish", lambda: VISIT, uid="v1")  # 60 to 70
    return ledger


def test_a_whole_record_is_well_at_any_time_after_its_last_step_began(ledger):
    assert problems(ledger, 60, WHOLE) == problems(ledger, NEVER - 1, WHOLE) == []


def test_what_was_under_way_may_be_there_or_not(ledger):
    open_visit = {**VISIT, "finished": None}
    assert problems(ledger, 65, Found([open_visit], [], WHOLE.pictures, {}, [])) == []
    assert problems(ledger, 45, Found([{**open_visit, "captures": []}], [], frozenset(), {}, [])) == []


@pytest.mark.parametrize(
    ("visit", "words"),
    [
        (None, ["begin v1 P-1 was confirmed and is lost", "capture c1 v1 OD was", "finish v1 was"]),
        ({**VISIT, "participant": "P-2"}, ["begin v1 P-1 was"]),
        ({**VISIT, "captures": []}, ["capture c1 v1 OD was"]),
        ({**VISIT, "captures": [{**CAPTURE, "image": "m"}]}, ["capture c1 v1 OD was"]),
        ({**VISIT, "finished": None}, ["finish v1 was"]),
        ({**VISIT, "captures": [CAPTURE, CAPTURE]}, ["capture c1 is there 2 times"]),
        ({**VISIT, "captures": [{**CAPTURE, "masks": {"cup": "n"}}]}, ["capture c1 lacks its picture n"]),
    ],
)
def test_what_was_confirmed_is_missed(ledger, visit, words):
    found = problems(ledger, 75, Found([visit] if visit else [], [], WHOLE.pictures, {}, []))
    assert len(found) == len(words) and all(w in f for w, f in zip(words, found))


def test_what_nobody_has_asked_for_by_then_is_named(ledger):
    assert problems(ledger, 35, WHOLE) == ["c1 is there, and nobody has asked for it"]


def test_a_number_that_was_given_twice_is_named(ledger):
    ledger.step("begin", lambda: {**VISIT, "uid": "v2"}, uid="v2", participant="P-1")
    second = {**VISIT, "uid": "v2", "captures": []}
    assert problems(ledger, 200, Found([VISIT, second], [], WHOLE.pictures, {}, [])) == [
        "examination's number 1 is there 2 times"
    ]


def test_a_record_that_is_gone(ledger):
    gone = Found([], [], frozenset(), {}, [], absent=True)
    assert problems(ledger, 5, gone) == [] and problems(ledger, 10, gone) == ["there is no record any more"]


def test_settings_are_the_last_confirmed_or_those_under_way(ledger):
    for name in ("a", "b", "c"):
        ledger.step("settings", lambda: None, device=name)  # 80 to 90, 100 to 110, 120 to 130

    def logged(*names):
        entries = [{"action": "settings", "detail": {"changes": {"device": ["", n]}}} for n in names]
        return problems(ledger, 125, Found([VISIT], entries, WHOLE.pictures, {}, []))

    assert logged("a", "b") == logged("a", "b", "c") == []
    assert logged("a") == ["the settings were to be those of ['b', 'c'], and are those of a"]
    assert logged() == ["the settings were to be those of ['b', 'c'], and are those of None"]


def test_an_export_that_was_confirmed_is_whole_and_one_that_is_there_is_not_half(ledger):
    ledger.step("export", lambda: "", folder="5")  # 80 to 90
    lost, half = (Found([VISIT], [], WHOLE.pictures, e, []) for e in ({}, {"5": "visits.csv is not what it was"}))
    assert problems(ledger, 85, lost) == []
    assert problems(ledger, 90, lost) == ["export 5 was confirmed and is lost"]
    assert problems(ledger, 85, half) == ["export 5: visits.csv is not what it was"]


def test_an_export_is_held_against_its_manifest(tmp_path):
    (tmp_path / "visits.csv").write_text("visit\n")
    files = {"visits.csv": {"sha256": hashlib.sha256(b"visit\n").hexdigest()}}
    assert "manifest.json" in incomplete(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    assert incomplete(tmp_path) == ""
    (tmp_path / "visits.csv").write_text("")
    assert incomplete(tmp_path) == "visits.csv is not what it was"


def test_what_the_command_line_says_is_read(tmp_path):
    picture = tmp_path / "record" / "pictures" / "ab"
    picture.mkdir(parents=True)
    right = hashlib.sha256(b"right").hexdigest()
    (picture / f"{right}.jpg").write_bytes(b"right")
    (picture / f"{'0' * 64}.jpg").write_bytes(b"wrong")

    def tenohira(*command):
        if command[1] == "verify":
            return Completed(1, "the picture is gone\n", "")
        return Completed(0, json.dumps(VISIT if command[0] == "record" else {"entry": {"seq": 1}}) + "\n", "")

    found = read(tenohira, "record", tmp_path)
    assert found == Found([VISIT], [{"seq": 1}], frozenset({right}), {}, ["audit verify: 1: the picture is gone"])


def test_a_record_that_was_never_made_is_no_flaw(tmp_path):
    def tenohira(*command):
        return Completed(2, "", "tenohira: there is no record in x; give the folder")

    assert read(tenohira, "record").absent


def test_what_is_not_answered_is_never_confirmed():
    def refuse():
        raise OSError

    ledger = Ledger(lambda: 5)
    with pytest.raises(OSError):
        ledger.step("begin", refuse, uid="v1")
    assert ledger.confirmed("begin", NEVER - 1) == [] and len(ledger.under_way(99)) == 1
