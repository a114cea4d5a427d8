"""What was examined on this instrument, newest first."""

from __future__ import annotations

from starlette.responses import Response

from device.eyes import conceals, eye_result
from device.record import EYES, Eye, Visit
from device.web.call import Call
from device.web.masking import visit_json

PAGE = 20  # visits
LONGEST_SEARCH = 64


def show(call: Call) -> Response:
    """``GET /history?search=&page=``"""
    query = call.request.query_params
    search = query.get("search", "").strip()[:LONGEST_SEARCH]
    number = query.get("page", "1")
    page = min(max(int(number), 1), 100_000) if number.isascii() and number.isdecimal() and len(number) < 7 else 1
    found = call.store.visits(search=search, limit=PAGE + 1, offset=(page - 1) * PAGE)
    if call.wants_json:
        return call.json([visit_json(v) for v in found[:PAGE]])
    target = call.request.headers.get("hx-target")
    return call.page(
        "found.html" if call.by_htmx and target == "found" else "history.html",
        search=search,
        page=page,
        more=len(found) > PAGE,
        rows=[(visit, [_outcome(visit, eye) for eye in EYES]) for visit in found[:PAGE]],
    )


def _outcome(visit: Visit, eye: Eye) -> tuple[Eye, str | None]:
    """(eye, outcome), the latter ``hidden`` or None where there is nothing to say."""
    if conceals(visit, eye):
        return eye, "hidden"
    outcome = eye_result(visit, eye).outcome
    return eye, outcome.value if outcome else None
