"""Examines until it is killed: run by ``test_crash.py`` as ``python store_examiner.py FOLDER VISITS``.

Commands come by standard input, a line each. For each, a fork does the work (importing costs more than examining)
and this process then tells how it ended. Every line that begins with "confirmed" is what a screen would have said.
"""

import os
import signal
import sys
import uuid
from hashlib import sha256
from pathlib import Path

from device.record import Capture, NotImaged, Shot
from device.results import Row
from device.store import Store
from device.verdict import Outcome

SPACE = uuid.UUID("5b1fb5a2-3b1e-4b8e-9b43-2f0a6f1f3a11")
TIME = "2026-11-24T08:15:00.123+00:00"


def visit_uid(number: int) -> str:
    return str(uuid.uuid5(SPACE, f"visit {number}"))


def pictures(number: int, eye: str) -> list[bytes]:
    """Photograph, overlay and mask; by their first bytes JPEG and PNG, of some kilobytes."""
    starts = (b"\xff\xd8\xff photograph", b"\xff\xd8\xff overlay", b"\x89PNG mask")
    return [start + f" {number} {eye}".encode() * 500 for start in starts]


def capture(number: int, eye: str) -> tuple[Capture, list[bytes]]:
    data = pictures(number, eye)
    image, overlay, mask = (sha256(d).hexdigest() for d in data)
    row = Row(image=image, outcome=Outcome.REFER, reasons=("r",), quality={"grade": "good"}, vcdr=0.7)
    made = Capture(
        uid=str(uuid.uuid5(SPACE, f"capture {number} {eye}")), visit=visit_uid(number), laterality=eye, taken=TIME,
        image=image, overlay=overlay, masks={"disc": mask}, result=row,
        shots=(Shot(outcome=Outcome.REFER, grade="good", score=0.9, vcdr=0.7),),
    )  # fmt: skip
    return made, data


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def examine(folder: Path, first: int, last: int) -> None:
    """Every examination from the first that was not confirmed as finished: all its calls are made again."""
    store = Store(folder)
    for number in range(first, last):
        uid = visit_uid(number)
        store.begin(f"P-{number:04d}", operator="op1", uid=uid)
        say("confirmed begin", number)
        for eye in ("OD", "OS"):
            if number % 5 == 4 and eye == "OS":
                store.add_not_imaged(NotImaged(visit=uid, laterality=eye, reason="cataract", time=TIME))
            else:
                store.add_capture(*capture(number, eye))
            say("confirmed", eye, number)
        store.finish(uid)
        say("confirmed finish", number)
    store.close()


def die_at(step: int, store: Store) -> None:
    """Kill this process before its n-th call that changes a file or asks the database."""
    left = step

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("write", "fsync", "replace", "mkdir"):
        setattr(os, name, _counted(getattr(os, name), count))
    store.database._connection.set_trace_callback(count)


def _counted(call, count):
    def counted(*args, **options):
        count()
        return call(*args, **options)

    return counted


def one_capture(folder: Path, number: int, step: int) -> None:
    store = Store(folder)
    store.begin(f"P-{number:04d}", uid=visit_uid(number))
    die_at(step, store)
    store.add_capture(*capture(number, "OD"))


def main() -> None:
    folder, visits = Path(sys.argv[1]), int(sys.argv[2])
    child = 0
    for line in sys.stdin:
        if child:
            os.waitpid(child, 0)
        verb, *numbers = line.split()
        child = os.fork()
        if child == 0:
            say("pid", os.getpid())
            try:
                if verb == "examine":
                    examine(folder, int(numbers[0]), visits)
                else:
                    one_capture(folder, *map(int, numbers))
            except BaseException as error:
                say("failed", repr(error))
                os._exit(1)
            os._exit(0)
        how = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # its number is given up with the next command
        say("ended", how.si_status if how.si_code == os.CLD_EXITED else -how.si_status)


if __name__ == "__main__":
    main()
