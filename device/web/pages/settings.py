"""Settings, and the reference standard of a study. Each change is in the audit log (the store writes it)."""

from __future__ import annotations

import re
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import msgspec
from starlette.responses import Response

from device.errors import TenohiraError, UsageError
from device.health import readable
from device.language import LANGUAGES
from device.record import Pacs, Settings, now
from device.web.call import Call, refused, status_of

TEXT = re.compile(r"[^\x00-\x1f\x7f]{0,64}")
CODE = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,15})?")  # participants' codes begin with it
TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]{1,16}")  # a DICOM application entity's
DECIMAL = re.compile(r"[0-9]{1,7}(\.[0-9]{1,4})?")
HOST = re.compile(r"[A-Za-z0-9._:-]{0,253}")
NUMBERS = {"burst": (1, 9), "keep_days": (0, 36_500), "keep_free_mb": (50, 1_000_000), "port": (1, 65_535)}
DECIMALS = {"exposure_us": (20.0, 1_000_000.0), "gain": (1.0, 64.0), "focus": (0.0, 50.0)}
LABELS = {
    "exposure_us": "Exposure in µs",
    "gain": "Gain",
    "focus": "Focus in dioptres",
    "burst": "Photographs at each press of the shutter",
    "keep_days": "Remove visits after so many days (0: never)",
    "keep_free_mb": "Free space that is kept, in MB",
    "port": "Port",
}


def show(call: Call) -> Response:
    """``GET /settings``"""
    if call.wants_json:
        return call.json(told(call.store.settings))
    changed = "changed" in call.request.query_params
    return _page(call, call.store.settings, problem=CHANGED if changed else "")


def told(settings: Settings) -> dict[str, Any]:
    """Settings without the secret: only whether there is one."""
    built: dict[str, Any] = msgspec.to_builtins(settings)
    built["pacs"]["password"] = bool(settings.pacs.password)
    return built


def digest(settings: Settings) -> str:
    """Which settings a page shows: sent back, it tells whether another screen has changed them meanwhile, which
    all the fields of an older page would undo. Without the password, that nobody may guess it from this."""
    return sha256(msgspec.json.encode(told(settings))).hexdigest()


def change(call: Call) -> Response:
    """``POST /settings``: all fields; a checkbox that is not sent is off, an empty password stays as it was."""
    try:
        settings = from_form(call)
        call.web.instrument.check(settings)
    except TenohiraError as error:
        if call.wants_json or call.by_htmx:  # whose page stays, with what was typed
            raise
        return _page(call, call.store.settings, problem=str(error), status=status_of(error))
    current = digest(call.store.settings)
    if current not in (call.form.get("seen", current), digest(settings)):  # the latter: sent twice
        return refused(call.request, 409, CHANGED) if call.wants_json else call.redirect("/settings?changed=1")
    call.store.change_settings(settings, call.actor)
    if call.form.get("clock_right") == "yes":
        call.store.believe_clock(call.actor)
    return call.done("/settings?saved=1", told(settings))


def from_form(call: Call) -> Settings:
    """The settings that a form states. Raises UsageError for what cannot be."""
    form, old = call.form, call.store.settings
    kind = form.get("pacs_kind", "")
    if kind not in ("", "dimse", "dicomweb"):
        raise UsageError("this way to an archive is not known; choose none, DIMSE or DICOMweb")
    language = form.get("language", old.language)
    if language not in LANGUAGES:
        raise UsageError("this language is not known; choose English or Japanese")
    password = "" if form.get("pacs_forget") == "yes" else form.get("pacs_password", "") or old.pacs.password
    pacs = Pacs(
        kind=cast(Literal["", "dimse", "dicomweb"], kind),
        host=_host(form, needed=kind == "dimse"),
        port=_number(form, "port", old.pacs.port),
        called=_matching(form, "pacs_called", TITLE, _TITLES, old.pacs.called),
        calling=_matching(form, "pacs_calling", TITLE, _TITLES, old.pacs.calling),
        url=_url(form.get("pacs_url", ""), needed=kind == "dicomweb"),
        user=_matching(form, "pacs_user", TEXT, _LINE, old.pacs.user),
        password=password,
    )  # fmt: skip
    return Settings(
        device=_matching(form, "device", TEXT, _LINE, old.device) or old.device,
        site=_matching(form, "site", CODE, _CODES, old.site),
        language=cast(Literal["en", "ja"], language),
        operating_point=_matching(form, "operating_point", TEXT, _LINE, old.operating_point),
        burst=_number(form, "burst", old.burst),
        exposure_us=_decimal(form, "exposure_us", old.exposure_us),
        gain=_decimal(form, "gain", old.gain),
        focus=_decimal(form, "focus", old.focus),
        keep_raw=form.get("keep_raw") == "yes",
        keep_days=_number(form, "keep_days", old.keep_days),
        keep_free_mb=_number(form, "keep_free_mb", old.keep_free_mb),
        study=_matching(form, "study", CODE, _CODES, old.study),
        masked=form.get("masked") == "yes",
        pacs=pacs,
    )


_TITLES = (
    "an application entity title has 1 to 16 letters and digits without spaces; enter it as the archive has it"
)
_LINE = "a name has at most 64 characters in one line; enter a shorter one"
_CODES = (
    "a code of a site or a study has letters, digits, _ and - only, at most 16, and begins with a letter or a "
    "digit; enter one like KAN"
)
CHANGED = (
    "the settings were changed on another screen meanwhile, so nothing was saved; look at them as they are now, "
    "and enter your change again"
)


def _matching(form: Any, name: str, pattern: re.Pattern[str], fault: str, default: str = "") -> str:
    value = str(form.get(name, default))
    if not pattern.fullmatch(value):
        raise UsageError(fault)
    return value


def _host(form: Any, needed: bool) -> str:
    host = str(form.get("pacs_host", ""))
    if not HOST.fullmatch(host) or (needed and not host):
        raise UsageError("a host is a name or an address, like pacs.local or 192.168.1.20; enter it")
    return host


def _number(form: Any, name: str, default: int) -> int:
    low, high = NUMBERS[name]
    text = str(form.get(name, default))
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else -1
    if not low <= value <= high:
        raise UsageError(f"{LABELS[name]}: enter a whole number from {low} to {high}")
    return value


def _decimal(form: Any, name: str, default: float | None) -> float | None:
    """A number; empty leaves it to the camera."""
    if name not in form:
        return default
    low, high = DECIMALS[name]
    if not (text := str(form[name])):
        return None
    value = float(text) if DECIMAL.fullmatch(text) else low - 1
    if not low <= value <= high:
        raise UsageError(f"{LABELS[name]}: enter a number from {low:g} to {high:.0f}, or nothing for automatic")
    return value


def _url(text: str, needed: bool) -> str:
    """An http(s) address without a password in it; empty where none is needed."""
    if not text and not needed:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.password is None
        _ = parts.port
    except ValueError:
        good = False
    if not good or re.search(r"[\s\x00-\x1f]", text):
        raise UsageError(
            "the service's address is like https://pacs.local/dicom-web, without a password; enter it"
        )
    return text


def _page(call: Call, settings: Settings, problem: str = "", status: int = 200) -> Response:
    return call.page(
        "settings.html",
        status,
        settings=settings,
        form=call.form,
        seen=digest(settings),
        problem=problem,
        saved="saved" in call.request.query_params,
        numbers=NUMBERS,
        decimals={name: _shown(getattr(settings, name)) for name in DECIMALS},
        labels=LABELS,
        instrument=call.web.instrument.status(),
        clock=readable(now()) if call.store.clock_doubted else "",
        references=len(call.store.references()),
    )


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def references(call: Call) -> Response:
    """``GET /references``: how many there are; their values are not shown, for a masked reader may be looking."""
    return _references(call)


def _references(call: Call, problem: str = "", status: int = 200, ignored: tuple[str, ...] = ()) -> Response:
    known = call.store.references()
    count = {"eyes": len(known), "participants": len({r.participant for r in known})}
    if call.wants_json:
        return call.json({**count, "ignored": ignored}, status)
    return call.page(
        "references.html",
        status,
        count=count,
        problem=problem,
        saved="saved" in call.request.query_params,
        study=call.store.settings.study,
    )


def import_references(call: Call) -> Response:
    """``POST /references``: a CSV file takes the place of what was there, whole or not at all."""
    from device.trial.references import read

    data = call.files.get("file", b"")
    try:
        if not data:
            raise UsageError("there is no file; choose the CSV file of the reference standard")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "references.csv"
            path.write_bytes(data)
            try:
                sheet = read(path)
            except TenohiraError as error:  # it names the file: by a path that means nothing to its sender
                raise UsageError(str(error).replace(str(path), "the file")) from error
    except TenohiraError as error:
        if call.wants_json or call.by_htmx:  # whose page stays, with what was typed
            raise
        return _references(call, problem=str(error), status=400)
    call.store.set_references(list(sheet.references), call.actor)
    return call.done("/references?saved=1", {"eyes": len(sheet.references), "ignored": sheet.ignored}, 201)
