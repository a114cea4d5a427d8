"""The instrument's HTTP interface, as a machine uses it (docs/http.md)."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import httpx

JSON = {"accept": "application/json"}
PATIENCE = 120.0  # seconds for one answer; an emulated board is slow


class Refused(Exception):  # noqa: N818  # it is the instrument's answer, not our error
    """The instrument said no: ``status`` of HTTP and its sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status, self.sentence = status, sentence


class Client:
    """Asks, and raises Refused for an answer that is an error, httpx.TransportError where none comes."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        # Shorter than the 5 s after which the instrument closes idle connections: else one may be closed just when
        # it is used again.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self._http = httpx.Client(base_url=url, headers=JSON, timeout=patience, limits=limits)

    def get(self, path: str) -> Any:
        """The answer's JSON, or its bytes where it is none."""
        return _read(self._http.get(path))

    def post(self, path: str, **form: str) -> Any:
        """The same, for a form."""
        return _read(self._http.post(path, data=form))

    def page(self, path: str) -> str:
        """A page as a browser gets it."""
        answer = self._http.get(path, headers={"accept": "text/html"})
        _read(answer)
        return answer.text

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def status(self) -> dict[str, Any]:
        """The instrument's own view of itself."""
        return self.get("/api/status")

    def live(self, after: int = 0) -> tuple[dict[str, Any], bytes | None]:
        """What is said with the newest preview picture, and the picture (JPEG) where there is a newer one."""
        answer = self._http.get("/live/frame", params={"after": after})
        if answer.status_code >= 400:
            _read(answer)
        return json.loads(answer.headers["x-live"]), answer.content or None

    def visit(self, participant: str = "", uid: str = "") -> dict[str, Any]:
        """Begin an examination; without a participant, with a code that is new."""
        participant = participant or self.post("/participants")["participant"]
        return self.post("/visits", participant=participant, consent="yes", uid=uid or str(uuid.uuid4()))

    def capture(self, visit: str, eye: str = "OD", uid: str = "") -> dict[str, Any]:
        """Photograph an eye; answered when it is on the disk."""
        return self.post(f"/visits/{visit}/{eye}/captures", uid=uid or str(uuid.uuid4()))

    def finish(self, visit: str) -> dict[str, Any]:
        """End an examination."""
        return self.post(f"/visits/{visit}/finish")

    def visits(self) -> list[dict[str, Any]]:
        """All examinations, newest first."""
        found: list[dict[str, Any]] = []
        while page := self.get(f"/history?page={len(found) // 20 + 1}"):
            found += page
            if len(page) < 20:
                break
        return found

    def set(self, **changes: str) -> None:
        """Change settings. The form wants all of them, so what is there is sent again."""
        now = self.get("/settings")
        flat = {k: v for k, v in now.items() if k != "pacs"} | {
            {"kind": "pacs_kind", "host": "pacs_host", "port": "port"}.get(k, f"pacs_{k}"): v
            for k, v in now["pacs"].items()
        }
        flat["pacs_password"] = ""  # stays as it was
        form = {k: "yes" if v is True else "" if v is None or v is False else str(v) for k, v in flat.items()}
        self.post("/settings", **{**form, **changes})

    def wait(self, seconds: float) -> float:
        """Until it answers; returns how long that took. Raises TimeoutError."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            try:
                self.status()
                return time.monotonic() - begun
            except (httpx.TransportError, Refused):
                time.sleep(0.05)
        raise TimeoutError(f"no answer within {seconds:.0f} s")


def _read(answer: httpx.Response) -> Any:
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    if answer.status_code >= 400:
        raise Refused(answer.status_code, answer.json().get("error", "") if is_json else answer.text[:200])
    return answer.json() if is_json else answer.content
