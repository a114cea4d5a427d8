"""QEMU's machine protocol over a Unix socket, as far as a rig needs it
(https://www.qemu.org/docs/master/interop/qmp-spec.html)."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any


class QmpError(RuntimeError):
    """QEMU refused a command, or went away."""


class Qmp:
    """One connection. Commands are answered in order; events are passed over."""

    def __init__(self, path: Path, deadline: float = 10.0) -> None:
        """Connect within ``deadline`` seconds: QEMU makes the socket some time after it was started."""
        end = time.monotonic() + deadline
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                self._socket.close()
                if time.monotonic() >= end:
                    raise QmpError(f"nothing answers at {path} ({error})") from error
                time.sleep(0.02)
        self._socket.settimeout(30)
        self._lines = self._socket.makefile("rb")
        self._read()  # the greeting
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns. Underscores in names become hyphens. Raises QmpError."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        self._socket.sendall(json.dumps({"execute": command, "arguments": given}).encode() + b"\n")
        while "event" in (answer := self._read()):
            pass
        if "error" in answer:
            raise QmpError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU has closed its monitor")
        return json.loads(line)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
