"""The record on the target, read by the command line as an operator can (docs/record.md)."""

from __future__ import annotations

import json
from typing import Any

from hil_tests.drivers.protocols import Completed, InstrumentProtocol


class Record:
    """Of an instrument, in the folder that it has configured now."""

    def __init__(self, instrument: InstrumentProtocol) -> None:
        self._instrument = instrument

    def _said(self, *command: str, timeout: float = 120.0) -> Completed:
        return self._instrument.tenohira(*command, "--store", self._instrument.store, timeout=timeout)

    def _lines(self, *command: str) -> list[Any]:
        done = self._said(*command)
        assert done.code == 0, f"{command}: {done.out}{done.err}"
        return [json.loads(line) for line in done.out.splitlines()]

    def verified(self, timeout: float = 120.0) -> str:
        """The check's own line. Raises AssertionError where something is wrong."""
        done = self._said("audit", "verify", timeout=timeout)
        assert done.code == 0, f"the record is not what its log says:\n{done.out}{done.err}"
        return done.out

    def visits(self) -> list[dict[str, Any]]:
        """All examinations, the first one first."""
        return self._lines("record", "list", "--json", "--limit", "0")[::-1]

    def log(self, *actions: str) -> list[dict[str, Any]]:
        """The log's entries with these actions; without any, all of them."""
        entries = [line["entry"] for line in self._lines("audit", "show", "--json", "--last", "0")]
        return [entry for entry in entries if not actions or entry["action"] in actions]

    def export(self, folder: str) -> None:
        """Into a new folder of the target."""
        done = self._said("record", "export", "--out", folder)
        assert done.code == 0, done.out + done.err

    def send_now(self) -> Completed:
        """What was not sent to the archive is tried at once."""
        return self._said("record", "send", "--now")
