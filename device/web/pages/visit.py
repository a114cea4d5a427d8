"""A visit: both eyes side by side; when it is finished, the record of it, its report and its files."""

from __future__ import annotations

import io
import logging
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.responses import Response

from device import errand, memory
from device.errors import StoreError
from device.eyes import EyeResult, conceals, doubtful, eye_result, unread
from device.language import LANGUAGES
from device.record import EYES, Capture, Eye, NotImaged, Parcel, Reading, Visit
from device.web.call import Call
from device.web.masking import concealed, require_shown, visible_pictures, visit_json
from device.web.outlines import Drawing, cut_out, drawing, reduced

log = logging.getLogger(__name__)

SIDES = (240, 1000)  # pixels that photographs are reduced to


class EyeState(NamedTuple):
    """What pages show of one eye. ``answer`` is None while it is hidden."""

    eye: Eye
    hidden: bool
    captures: tuple[Capture, ...]
    answer: EyeResult | None
    evidence: Capture | None  # the photograph to show
    drawing: Drawing | None
    not_imaged: NotImaged | None
    readings: tuple[Reading, ...]

    @property
    def begun(self) -> bool:
        """Whether there is a photograph, or a reason for none."""
        return bool(self.captures) or self.not_imaged is not None


def state_of(call: Call, visit: Visit, eye: Eye) -> EyeState:
    """An eye of a visit; nothing hidden is in it."""
    captures = visit.of(eye)
    given_up = [n for n in visit.not_imaged if n.laterality == eye]
    hides = conceals(visit, eye)
    answer = None if hides else eye_result(visit, eye)
    evidence = answer.evidence if answer else captures[-1] if captures else None
    return EyeState(
        eye=eye,
        hidden=hides,
        captures=captures,
        answer=answer,
        evidence=evidence,
        drawing=drawn_over(call, evidence, outlines=not hides) if evidence else None,
        not_imaged=given_up[-1] if given_up else None,
        readings=tuple(r for r in visit.readings if r.laterality == eye),
    )


def drawn_over(call: Call, capture: Capture, outlines: bool) -> Drawing | None:
    """None where the photograph cannot be read: the rest of the visit is shown all the same."""
    try:
        return drawing(capture, call.store.picture, outlines)
    except (OSError, StoreError) as error:
        log.error("the photograph of capture %s: %s", capture.uid, error)
        return None


def show(call: Call) -> Response:
    """``GET /visits/VISIT``: to go on with, or to read when it is finished."""
    visit = call.store.visit(call.visit_uid)
    if call.wants_json:
        return call.json(visit_json(visit))
    states = [state_of(call, visit, eye) for eye in EYES]
    if visit.finished is None:
        missing = [s.eye for s in states if not s.begun]
        asked = {s.eye: mixed_up(visit, s.eye) for s in states}
        return call.page("visit.html", visit=visit, states=states, missing=missing, mixed_up=asked)
    return call.page(
        "record.html",
        visit=visit,
        states=states,
        doubtful={eye: bool(doubtful(visit, eye)) for eye in EYES},
        unread=unread(visit),
        parcel=call.store.parcel(visit.uid),
        parcel_words=parcel_words,
        sends=bool(call.store.settings.pacs.kind),
    )


def mixed_up(visit: Visit, eye: Eye) -> Capture | None:
    """The last photograph that looks like the other eye, and of which nobody has said that it is the chosen eye
    all the same."""
    return next(reversed(doubtful(visit, eye)), None)


def finish(call: Call) -> Response:
    """``POST /visits/VISIT/finish``. Finishing twice is no error."""
    visit = call.web.instrument.finish(call.visit_uid)
    return call.done(f"/visits/{visit.uid}", visit_json(visit))


def report(call: Call) -> Response:
    """``GET /visits/VISIT/report.pdf?language=``. A download: the kiosk's screen has no way back from a PDF.

    Raises HiddenError while an answer is hidden from a reader.
    """
    visit = call.store.visit(call.visit_uid)
    require_shown(visit)
    language = call.request.query_params.get("language", call.language)
    if language not in LANGUAGES:
        raise HTTPException(404)
    with tempfile.TemporaryDirectory(prefix="tenohira-") as folder:
        pdf = Path(folder, "report.pdf")
        with memory.granted(memory.of_report(_pixels(call, visit)), "a report"):
            _errand(call, "report", visit.uid, "--language", language, "--out", str(pdf))
        return _download(pdf.read_bytes(), "application/pdf", f"{_name(visit)}-{language}.pdf")


def dicom(call: Call) -> Response:
    """``GET /visits/VISIT/dicom.zip``: every object of the visit. Raises HiddenError as the report does."""
    visit = call.store.visit(call.visit_uid)
    require_shown(visit)
    out = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="tenohira-") as folder:
        with memory.granted(memory.of_dicom(_pixels(call, visit)), "a set of DICOM objects"):
            _errand(call, "dicom", visit.uid, "--out", folder)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.write(path, f"{_name(visit)}/{path.name}")
    return _download(out.getvalue(), "application/zip", f"{_name(visit)}-dicom.zip")


def _pixels(call: Call, visit: Visit) -> int:
    return errand.pixels_of([visit], call.store.picture)


def _errand(call: Call, action: str, *arguments: str) -> None:
    errand.run("record", action, *arguments, "--store", str(call.store.folder))


def picture(call: Call) -> Response:
    """``GET /visits/VISIT/pictures/SHA256``: a picture of the visit; what is hidden is as if it were not there.
    ``?side=`` reduces a photograph, ``?close-up`` cuts its disc out."""
    sha = str(call.request.path_params["sha"])
    visit = call.store.visit(call.visit_uid)
    if sha not in visible_pictures(visit):
        raise HTTPException(404)
    path = call.store.picture(sha)
    if "close-up" in call.request.query_params:
        return _close_up(call, visit, sha, path)
    side = call.request.query_params.get("side", "")
    if side in [str(s) for s in SIDES] and path.suffix == ".jpg":
        return Response(reduced(path, int(side)), media_type="image/jpeg")
    kind = {".jpg": "image/jpeg", ".png": "image/png"}.get(path.suffix, "application/octet-stream")
    return Response(path.read_bytes(), media_type=kind)


def _close_up(call: Call, visit: Visit, sha: str, path: Path) -> Response:
    capture = next((c for c in visit.captures if c.image == sha and not concealed(visit, c)), None)
    drawn = drawing(capture, call.store.picture, outlines=True) if capture else None
    if drawn is None or drawn.close_up is None:
        raise HTTPException(404)
    return Response(cut_out(path, drawn.close_up), media_type="image/jpeg")


def parcel_words(parcel: Parcel | None) -> str:
    """Where the DICOM objects of a visit are."""
    if parcel is None:
        return "Not queued: no archive was set when this visit was finished."
    if parcel.sent:
        return "Sent, and read back from the archive."
    return "Waiting to be sent." if not parcel.attempts else "Not sent yet; it will be tried again."


def _name(visit: Visit) -> str:
    """Of downloaded files: number and code, without what file systems refuse."""
    return f"tenohira-{visit.number:05d}-{visit.participant.replace('/', '_')}"


def _download(data: bytes, kind: str, name: str) -> Response:
    return Response(data, media_type=kind, headers={"content-disposition": f'attachment; filename="{name}"'})
