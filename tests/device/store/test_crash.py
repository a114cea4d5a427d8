"""What was confirmed is there after ``kill -9``, once, with its pictures: at random moments, and at every step."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

import pytest
from store_examiner import capture, pictures, visit_uid

from device.record import Settings
from device.store import Store, audit
from device.store.pictures import name_of

VISITS = 200
ROOT = Path(__file__).parents[3]


class Examiner:
    """The process that examines, and what it says."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).with_name("store_examiner.py")
        self._process = subprocess.Popen(
            [sys.executable, script, folder, str(VISITS)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self._rest = b""

    def send(self, *words: object) -> None:
        self._process.stdin.write((" ".join(map(str, words)) + "\n").encode())

    def lines(self, seconds: float):
        """What it says within some seconds, line by line."""
        end = time.monotonic() + seconds
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                yield line.decode().split()
            if not select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                return
            data = os.read(self._process.stdout.fileno(), 65536)
            assert data, "the examiner has ended"
            self._rest += data

    def first(self, count: int):
        """The next so many lines, or those until it has ended."""
        for line in islice(self.lines(60), count):
            yield line
            if line[0] == "ended":
                return

    def until(self, word: str):
        for line in self.lines(60):
            yield line
            if line[0] == word:
                return
        raise AssertionError(f"the examiner did not say {word!r}")

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "record"
    with Store(folder) as store:
        store.change_settings(Settings(keep_free_mb=0), "test")
    return folder


@pytest.fixture
def examiner(folder):
    examiner = Examiner(folder)
    yield examiner
    examiner.close()


@pytest.mark.slow
def test_nothing_confirmed_is_lost_or_doubled_by_kills_at_random_moments(folder, examiner):
    chance = random.Random(20261124)
    confirmed = defaultdict(list)
    kills = first = cut_short = 0
    while first < VISITS:
        examiner.send("examine", first)
        (pid,) = [int(line[1]) for line in examiner.until("pid")]
        # After a random number of steps and a moment more: so it is as often on a fast machine as on a slow one.
        said = list(examiner.first(chance.randint(0, 16)))
        time.sleep(chance.uniform(0.0, 0.02))
        os.kill(pid, signal.SIGKILL)  # the number is still its own where it has ended by itself
        said += [] if ["ended", "0"] in said else examiner.until("ended")
        kills += said[-1] == ["ended", "-9"]
        for line in said:
            assert line[0] in ("confirmed", "ended"), line
            if line[0] == "confirmed":
                confirmed[int(line[2])].append(line[1])
        first = next((n for n in range(VISITS) if "finish" not in confirmed[n]), VISITS)
        if kills % 10 == 0:  # as the kill has left it, before anything is opened again
            result = audit.verify(folder)
            assert result.problems == ()
            cut_short += result.orphans > 0
            check_confirmed(folder, confirmed)
    assert kills >= 40
    print(f"{kills} kills in {VISITS} examinations; of every tenth, {cut_short} left a picture without record")

    with Store(folder) as store:
        visits = store.visits(limit=10 * VISITS)
        assert sorted(v.uid for v in visits) == sorted(visit_uid(n) for n in range(VISITS))
        assert sorted(v.number for v in visits) == list(range(1, VISITS + 1))
        assert all(v.finished for v in visits)
        assert {len(v.captures) + len(v.not_imaged) for v in visits} == {2}
    check_confirmed(folder, confirmed)
    result = audit.verify(folder)
    assert result.problems == () and result.orphans == 0 and result.visits == VISITS
    check_files(folder, [(n, e) for n in range(VISITS) for e in ("OD", "OS") if not (n % 5 == 4 and e == "OS")])


def check_confirmed(folder: Path, confirmed: dict[int, list[str]]) -> None:
    """Everything that was said to be recorded is, to the byte."""
    with Store(folder) as store:
        for number, words in confirmed.items():
            visit = store.visit(visit_uid(number)) if words else None
            for word in words:
                if word == "finish":
                    assert visit.finished
                elif word == "OS" and number % 5 == 4:
                    assert [n.laterality for n in visit.not_imaged] == ["OS"]
                elif word != "begin":
                    made, data = capture(number, word)
                    assert visit.of(word) == (made,)
                    assert store.picture(made.image).read_bytes() == data[0]


def check_files(folder: Path, eyes: list[tuple[int, str]]) -> None:
    """Every picture and nothing else: no orphan, nothing half written."""
    wanted = {name_of(data) for number, eye in eyes for data in pictures(number, eye)}
    assert {p.name for p in (folder / "pictures").rglob("*") if p.is_file()} == wanted


@pytest.mark.slow
def test_a_capture_is_there_whole_or_not_at_all_wherever_it_is_killed(folder, examiner):
    number, ended, found = 0, -9, []
    while ended == -9:
        assert number < 100, "the examiner never gets through"
        examiner.send("capture", number, number + 1)
        *said, end = examiner.until("ended")
        ended = int(end[1])
        assert not [line for line in said if line[0] == "failed"], said
        assert audit.verify(folder).problems == ()
        made, data = capture(number, "OD")
        with Store(folder) as store:
            visit = store.visit(visit_uid(number))
            found.append(len(visit.captures))
            assert visit.captures in ((), (made,))
            check_files(folder, [(n, "OD") for n in range(number)] + [(number, "OD")] * len(visit.captures))
            store.add_capture(made, data)  # the operator presses the shutter's button once more
            assert store.visit(visit.uid).captures == (made,)
        check_files(folder, [(n, "OD") for n in range(number + 1)])
        number += 1
    assert ended == 0 and number > 20  # so many steps there are
    assert found == sorted(found) and found[0] == 0 and found[-1] == 1  # there from one step on, and not before
