"""QEMU's machine protocol over a Unix socket, as far as a rig needs it
(https://www.qemu.org/docs/master/interop/qmp-spec.html). labgrid's own client (26.0.1) fails with a TypeError
where QEMU refuses a command.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FAULT = "fault"  # name of the block node that lets writes fail


class QmpError(RuntimeError):
    """QEMU refused a command, or went away."""


class Qmp:
    """One connection. Commands are answered in order; events are passed over. Several threads may ask."""

    def __init__(
        self, path: Path, deadline: float = 10.0, patience: float = 30.0, alive: Callable[[], bool] = lambda: True
    ) -> None:
        """Connect within ``deadline`` seconds, while QEMU is ``alive``: it makes the socket some time after it was
        started. ``patience``: seconds for an answer."""
        end = time.monotonic() + deadline
        while True:
            self._socket = socket.socket(socket.AF_UNIX)
            try:
                self._socket.connect(str(path))
                break
            except OSError as error:
                self._socket.close()
                if time.monotonic() >= end or not alive():
                    raise QmpError(f"nothing answers at {path} ({error})") from error
                time.sleep(0.02)
        self._socket.settimeout(patience)
        self._lines = self._socket.makefile("rb")
        self._one_at_a_time = threading.Lock()
        self._read()  # the greeting
        self("qmp_capabilities")

    def __call__(self, command: str, **arguments: Any) -> Any:
        """What QEMU returns. Underscores in names become hyphens. Raises QmpError."""
        given = {name.replace("_", "-"): value for name, value in arguments.items()}
        with self._one_at_a_time:
            self._socket.sendall(json.dumps({"execute": command, "arguments": given}).encode() + b"\n")
            while "event" in (answer := self._read()):
                pass
        if "error" in answer:
            raise QmpError(f"{command}: {answer['error']['desc']}")
        return answer["return"]

    def limit(self, group: str, **limits: int) -> None:
        """What a throttle group lets pass: ``bps_total``, ``bps_write`` in bytes a second; 0 is all."""
        given = {name.replace("_", "-"): value for name, value in limits.items()}
        self("qom-set", path=f"/objects/{group}", property="limits", value=given)

    def fail_writes(self, error: int, node: str, above: Callable[[str], dict[str, Any]]) -> None:
        """Each write to a block node ends with this error (errno), 0: no longer. ``above`` describes the node over
        it, by the name of what lies below. Flushes pass, for QEMU flushes before it changes its graph."""
        if error:
            rules = [{"event": "none", "iotype": "write", "errno": error}]
            self("blockdev-add", driver="blkdebug", node_name=FAULT, image=node, inject_error=rules)
            self("blockdev-reopen", options=[above(FAULT)])
        else:
            self("blockdev-reopen", options=[above(node)])
            self("blockdev-del", node_name=FAULT)

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise QmpError("QEMU has closed its monitor")
        return json.loads(line)

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._socket.close()
