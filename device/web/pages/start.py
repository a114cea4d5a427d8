"""Start: who is in front of the instrument. The code is typed, scanned, or given out by the store."""

from __future__ import annotations

import re
import uuid
from urllib.parse import quote

from starlette.responses import Response

from device.errors import UsageError
from device.language import LANGUAGES
from device.web.call import LANGUAGE, OPERATOR, Call
from device.web.masking import visit_json

CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\/\-]{0,31}")  # also a pattern of HTML (flag v)
OPEN_SHOWN = 2  # visits that were not finished: after a power cut they are gone on with
LOOKED_THROUGH = 20  # of the newest visits, for such ones
LONGEST_OPERATOR = 40


def show(call: Call) -> Response:
    """``GET /?participant=``: with a code that is known already."""
    participant = call.request.query_params.get("participant", "")
    return start_page(call, participant if CODE.fullmatch(participant) else "")


def start_page(call: Call, participant: str = "", operator: str | None = None, note: str = "") -> Response:
    """The start page with what is known already; ``note`` says where the code came from."""
    unfinished = [v for v in call.store.visits(limit=LOOKED_THROUGH) if v.finished is None]
    return call.page(
        "start.html",
        participant=participant,
        operator=call.operator if operator is None else operator,
        note=note,
        settings=call.store.settings,
        unfinished=unfinished[:OPEN_SHOWN],
        problems=call.web.instrument.status().problems,
        uid=str(uuid.uuid4()),
        code=CODE.pattern,
        longest=LONGEST_OPERATOR,
    )


def begin(call: Call) -> Response:
    """``POST /visits``: participant, operator, consent. Raises UsageError for what is missing."""
    participant = call.form.get("participant", "")
    if not participant:
        raise UsageError("there is no participant code; type one, scan one, or take a new one")
    if not CODE.fullmatch(participant):
        raise UsageError(
            "a participant code has letters, digits and . _ / - only, at most 32 of them; enter the code, never a "
            "name"
        )
    operator = call.form.get("operator", "")[:LONGEST_OPERATOR]
    settings = call.store.settings
    consent = call.form.get("consent") == "yes"
    if settings.study and not settings.site:
        raise UsageError("a study needs the code of its site; enter it in the settings first")
    if settings.study and not consent:
        raise UsageError("in a study nobody is photographed without consent; ask for it and tick the box")
    visit = call.store.begin(participant, operator=operator, consent=consent, uid=call.uid)
    answer = call.done(f"/visits/{visit.uid}", visit_json(visit), 201)
    answer.set_cookie(OPERATOR, quote(operator), httponly=True, samesite="strict", max_age=12 * 3600)
    return answer


def new_code(call: Call) -> Response:
    """``POST /participants``: the next code of the study or the site, never given twice."""
    code = call.store.next_participant()
    if call.wants_json:
        return call.json({"participant": code}, 201)
    return start_page(
        call, code, call.form.get("operator") or None, "New code: write it on the participant's form."
    )


def scan(call: Call) -> Response:
    """``GET /scan``: the live picture, to hold a QR code or a barcode into."""
    return call.page("scan.html", tried=False)


def read_code(call: Call) -> Response:
    """``POST /scan``: the code in the live picture; when there is one, on to the start page with it."""
    text = call.web.instrument.scan()
    if call.wants_json:
        return call.json({"code": text})
    if text is None:
        return call.page("scanned.html" if call.by_htmx else "scan.html", tried=True)
    if not CODE.fullmatch(text):
        raise UsageError(
            "the code that was scanned is no participant code (letters, digits and . _ / - only, at most 32); "
            "scan another, or type it"
        )
    answer = start_page(call, text, None, "Scanned.")
    if call.by_htmx:
        answer.headers["hx-retarget"], answer.headers["hx-push-url"] = "body", "/"
    return answer


def language(call: Call) -> Response:
    """``POST /language``: switch on this screen, and come back to the same page."""
    chosen = call.form.get("language", "")
    if chosen not in LANGUAGES:
        raise UsageError("this language is not known; choose English or Japanese")
    answer = call.done(local_path(call.form.get("back", "/")), {"language": chosen})
    answer.set_cookie(LANGUAGE, chosen, httponly=True, samesite="strict")
    return answer


def local_path(path: str) -> str:
    """``path`` where it is one of ours, or the start: never another site."""
    return path if re.fullmatch(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*", path) or path == "/" else "/"
