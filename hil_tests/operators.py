"""Operators at work: examinations, and the office that reads, prints and exports them. A ledger has it all."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable
from typing import Any

from hil_tests.client import Client
from hil_tests.drivers.protocols import InstrumentError
from hil_tests.ledger import Ledger, Step

Tenohira = Callable[..., Any]
# One request in so many examinations of the office.
READ_EVERY, PRINT_EVERY, SET_EVERY, EXPORT_EVERY = 2, 6, 3, 5


def examine(client: Client, ledger: Ledger, number: int) -> str:
    """One participant: an eye, now and then taken for the other one, the second eye, the end. Returns its uid."""
    visit, eye = begin(client, ledger, f"HIL-{number:04}"), "OD"
    first = photograph(client, ledger, visit, eye)
    if number % 3 == 1:
        path = f"/visits/{visit}/{eye}/captures/{first}/other-eye"
        ledger.step("other eye", lambda: client.post(path), uid=first, visit=visit)
        eye = "OS"
        photograph(client, ledger, visit, eye)
    photograph(client, ledger, visit, "OS" if eye == "OD" else "OD")
    ledger.step("finish", lambda: client.finish(visit), uid=visit)
    return visit


def begin(client: Client, ledger: Ledger, participant: str) -> str:
    """Returns the examination's uid."""
    uid = str(uuid.uuid4())
    ledger.step("begin", lambda: client.visit(participant, uid), uid=uid, participant=participant)
    return uid


def photograph(client: Client, ledger: Ledger, visit: str, eye: str) -> str:
    """Returns the capture's uid."""
    uid = str(uuid.uuid4())
    ledger.step("capture", lambda: client.capture(visit, eye, uid), uid=uid, visit=visit, eye=eye)
    return uid


def office(
    client: Client, ledger: Ledger, finished: queue.Queue[str | None], export_to: Callable[[str], None]
) -> None:  # fmt: skip
    """Take finished examinations until None comes: readings, reports, DICOM, settings, exports."""
    number = 0
    while (visit := finished.get()) is not None:
        number += 1
        if number % READ_EVERY == 0:
            read_eye(client, ledger, visit, f"reading {number}")
        if number % PRINT_EVERY == 1:
            ledger.step("report", lambda: client.get(f"/visits/{visit}/report.pdf"), visit=visit)
        if number % PRINT_EVERY == 4:
            ledger.step("dicom", lambda: client.get(f"/visits/{visit}/dicom.zip"), visit=visit)
        if number % SET_EVERY == 0:
            rename(client, ledger, f"device {number}")
        if number % EXPORT_EVERY == 0:
            export_to(f"{number}")


def rename(client: Client, ledger: Ledger, device: str) -> None:
    """A change of the settings."""
    ledger.step("settings", lambda: client.set(device=device), device=device)


def read_eye(client: Client, ledger: Ledger, visit: str, remark: str) -> None:
    """A reading of the right eye."""
    form = {"reader": "hil", "grade": "refer", "vcdr": "0.7", "remark": remark, "uid": str(uuid.uuid4())}
    ask = lambda: client.post(f"/visits/{visit}/OD/reading", **form)  # noqa: E731
    ledger.step("reading", ask, visit=visit, remark=remark, uid=form["uid"])


def export(ledger: Ledger, tenohira: Tenohira, record: str, folder: str) -> None:
    """An export by the command line, confirmed by its exit code."""

    def ask() -> str:
        done = tenohira("record", "export", "--store", record, "--out", folder)
        if done.code:
            raise InstrumentError(f"the export failed: {done.out}{done.err}")
        return str(done.out)

    ledger.step("export", ask, folder=folder.rpartition("/")[2])


def again(client: Client, ledger: Ledger, step: Step) -> None:
    """What an operator does who got no answer: the same once more, with the same uid."""
    what = step.what
    ask = {
        "begin": lambda: client.visit(what["participant"], what["uid"]),
        "capture": lambda: client.capture(what["visit"], what["eye"], what["uid"]),
        "other eye": lambda: client.post(f"/visits/{what['visit']}/OD/captures/{what['uid']}/other-eye"),
        "finish": lambda: client.finish(what["uid"]),
    }.get(step.phase)
    if ask:
        ledger.step(step.phase, ask, **what)
