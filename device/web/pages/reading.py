"""A reader's grade of an eye; in a masked study it is given before the instrument's answer is shown."""

from __future__ import annotations

import uuid

from starlette.responses import Response

from device.errors import UsageError
from device.eyes import hidden
from device.record import Reading, Visit, now
from device.verdict import Outcome
from device.web.call import Call
from device.web.masking import visit_json
from device.web.pages.visit import state_of

LONGEST_REMARK, LONGEST_READER = 500, 40


def show(call: Call) -> Response:
    """``GET /visits/VISIT/EYE/reading``"""
    visit = call.store.visit(call.visit_uid)
    state = state_of(call, visit, call.eye)
    uid = str(uuid.uuid4())  # of the reading
    return call.page("reading.html", visit=visit, eye=call.eye, state=state, reader=call.operator, uid=uid)


def add(call: Call) -> Response:
    """``POST /visits/VISIT/EYE/reading``: uid, reader, grade, vcdr, remark. Raises UsageError for what is
    missing."""
    visit = call.store.visit(call.visit_uid)
    if call.uid and call.uid in {r.uid for r in visit.readings}:  # its answer got lost
        return _added(call, visit)
    grade, reader = call.form.get("grade", ""), call.form.get("reader", "")[:LONGEST_READER]
    if grade not in list(Outcome):
        raise UsageError("there is no grade; choose refer, no referral or ungradable")
    if not reader:
        raise UsageError("the reader is missing; enter the reader's code")
    if not visit.of(call.eye):
        raise UsageError("there is no photograph of this eye to grade; photograph it first")
    reading = Reading(
        uid=call.uid or str(uuid.uuid4()),
        visit=visit.uid,
        laterality=call.eye,
        reader=reader,
        grade=Outcome(grade),
        vcdr=_ratio(call.form.get("vcdr", "")),
        remark=call.form.get("remark", "")[:LONGEST_REMARK],
        masked=hidden(visit, call.eye),
        time=now(),
    )
    call.store.add_reading(reading)
    return _added(call, call.store.visit(visit.uid))


def _added(call: Call, visit: Visit) -> Response:
    to = f"/visits/{visit.uid}" + (f"/{call.eye}" if visit.finished is None else "")
    return call.done(to, visit_json(visit), 201)


def _ratio(text: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise UsageError("a cup-to-disc ratio lies between 0 and 1; enter it like 0.6, or leave it empty")
    return value
