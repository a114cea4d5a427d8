"""One eye: aim, photograph, see the answer on the same page, and go on."""

from __future__ import annotations

import uuid

from starlette.exceptions import HTTPException
from starlette.responses import Response

from device.errors import UsageError
from device.eyes import hidden
from device.record import EYES, Capture, Eye, Visit, Withdrawal, now
from device.verdict import Outcome
from device.web.call import Call
from device.web.masking import capture_json, visit_json
from device.web.pages.visit import drawn_over, mixed_up, state_of

MOST_REJECTED = 3  # in a row; then the page offers to give up on the eye
LONGEST_REASON = 200

# Why an eye could not be imaged; kept in English in the record, shown in the operator's language.
REASONS = {
    "media": "cataract or other media opacity",
    "pupil": "small pupil",
    "cooperation": "the participant cannot cooperate",
    "refusal": "the participant refuses",
}
OTHER_EYE = "it shows the other eye"


def show(call: Call) -> Response:
    """``GET /visits/VISIT/EYE``: the answer where there is one, else (or with ``?again``) the preview."""
    visit = call.store.visit(call.visit_uid)
    if visit.finished is not None:
        return call.redirect(f"/visits/{visit.uid}")
    begun = visit.of(call.eye) or any(n.laterality == call.eye for n in visit.not_imaged)
    if begun and "again" not in call.request.query_params:
        return _page(call, visit, "result")
    return _page(call, visit, "live")


def capture(call: Call) -> Response:
    """``POST /visits/VISIT/EYE/captures``: uid; photograph, screen, store; answers when it is on the disk."""
    taken = call.web.instrument.capture(call.visit_uid, call.eye, call.uid)
    visit = call.store.visit(call.visit_uid)
    if call.wants_json:
        return call.json(capture_json(visit, taken), 201)
    to = f"/visits/{visit.uid}/{call.eye}"
    if not call.by_htmx:
        return call.redirect(to)
    answer = _page(call, visit, "result", part=True)
    answer.headers["hx-push-url"] = to
    return answer


def withdraw(call: Call) -> Response:
    """``POST /visits/VISIT/EYE/captures/CAPTURE/other-eye``: the photograph shows the other eye. It is kept but
    counts for none, and the other eye is next."""
    uid = str(call.request.path_params["capture"])
    visit = call.store.visit(call.visit_uid)
    if uid not in {c.uid for c in visit.captures if c.laterality == call.eye}:
        raise HTTPException(404)
    call.store.withdraw(Withdrawal(visit=visit.uid, capture=uid, reason=OTHER_EYE, time=now()))
    visit = call.store.visit(visit.uid)
    return call.done(f"/visits/{visit.uid}/{other(call.eye)}?again=1", visit_json(visit))


def keep(call: Call) -> Response:
    """``POST /visits/VISIT/EYE/captures/CAPTURE/keep``: it is the chosen eye, whatever the picture looks like."""
    uid = str(call.request.path_params["capture"])
    visit = call.store.visit(call.visit_uid)
    found = [c for c in visit.captures if c.uid == uid and c.laterality == call.eye]
    if not found:
        raise HTTPException(404)
    call.store.keep(found[0], call.actor)
    return call.done(f"/visits/{visit.uid}/{call.eye}", visit_json(call.store.visit(visit.uid)))


def cannot(call: Call) -> Response:
    """``GET /visits/VISIT/EYE/cannot``: the reasons to choose from."""
    return call.page("cannot.html", visit=call.store.visit(call.visit_uid), eye=call.eye, reasons=REASONS)


def not_imaged(call: Call) -> Response:
    """``POST /visits/VISIT/EYE/not-imaged``: reason (a key of REASONS, or ``other`` with text)."""
    key, text = call.form.get("reason", ""), call.form.get("text", "")
    if key not in REASONS and key != "other":
        raise UsageError("there is no reason; choose why this eye could not be imaged")
    if key == "other" and not text:
        raise UsageError("the other reason is empty; write in a few words why this eye could not be imaged")
    reason = REASONS.get(key, text[:LONGEST_REASON])
    visit = call.web.instrument.not_imaged(call.visit_uid, call.eye, reason)
    return call.done(f"/visits/{visit.uid}", visit_json(visit), 201)


def other(eye: Eye) -> Eye:
    """The other eye."""
    return "OS" if eye == "OD" else "OD"


def rejected(call: Call, visit: Visit) -> int:
    """Captures rejected in a row. Where the answer is hidden, only their quality is counted: it is told anyway."""
    if not hidden(visit, call.eye):
        return call.web.instrument.rejected_in_a_row(visit.uid, call.eye)
    count = 0
    for taken in reversed(visit.of(call.eye)):
        if taken.result.quality["grade"] != "reject":
            break
        count += 1
    return count


def last_failed(visit: Visit, eye: Eye, last: Capture | None) -> bool:
    """Whether the last photograph could not be used, as far as may be told."""
    if last is None:
        return False
    if hidden(visit, eye):
        return bool(last.result.quality["grade"] == "reject")
    return last.result.outcome is Outcome.UNGRADABLE


def _page(call: Call, visit: Visit, mode: str, part: bool = False) -> Response:
    """The eye's page, or for htmx what is inside of it."""
    states = {eye: state_of(call, visit, eye) for eye in EYES}
    state = states[call.eye]
    last = state.captures[-1] if state.captures else None
    asked = mixed_up(visit, call.eye)
    if asked:  # the question is shown with the photograph that it is about
        state = state._replace(evidence=asked, drawing=drawn_over(call, asked, outlines=not state.hidden))
    return call.page(
        f"eye_{mode}.html" if part else "eye.html",
        visit=visit,
        eye=call.eye,
        other_eye=other(call.eye),
        other_begun=states[other(call.eye)].begun,
        uid=str(uuid.uuid4()),  # of the next capture
        mode=mode,
        part=part,
        state=state,
        last=last,
        last_failed=last_failed(visit, call.eye, last),
        rejected=rejected(call, visit),
        most_rejected=MOST_REJECTED,
        mixed_up=asked,
    )
