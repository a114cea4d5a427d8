"""An archive (PACS) for tests: a real Orthanc on free ports of the loopback, that can be killed and started again
on the same storage."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
INSIDE = {"http": 8042, "dicom": 4242}  # ports in its own network namespace


def absent() -> str:
    """Why no Orthanc can run here; empty where one can."""
    if shutil.which("Orthanc") is None:
        return "Orthanc is not installed (Debian package orthanc)"
    if not PLUGIN.exists():
        return "Orthanc has no DICOMweb here (Debian package orthanc-dicomweb)"
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        return "this user may not make a network namespace, which keeps the test server off the network"
    return ""


class Orthanc:
    """An archive for tests. Close it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        config = folder / "orthanc.json"
        config.write_text(
            json.dumps(
                {
                    "Name": "test",
                    "StorageDirectory": str(folder / "storage"),
                    "IndexDirectory": str(folder / "storage"),
                    "HttpPort": INSIDE["http"],
                    "DicomPort": INSIDE["dicom"],
                    "DicomAet": "ORTHANC",
                    "DicomCheckCalledAet": True,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": False,
                    "DicomModalities": {"tenohira": ["TENOHIRA", "127.0.0.1", 104]},
                    "DicomAlwaysAllowStore": False,
                    "Plugins": [str(PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                }
            )
        )
        listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in INSIDE}
        self.ports = {name: s.getsockname()[1] for name, s in listeners.items()}
        pairs = [f"{listeners[name].fileno()}:{port}" for name, port in INSIDE.items()]
        script = Path(__file__).with_name("enclosure.py")
        self.process = subprocess.Popen(
            ["unshare", "-rn", sys.executable, str(script), *pairs, "--", "Orthanc", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[s.fileno() for s in listeners.values()],
        )
        for s in listeners.values():
            s.close()
        self.start()

    def _say(self, words: str) -> bool:
        print(words, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip() == "yes"

    def start(self) -> None:
        """Start, and wait until it answers."""
        assert self._say("start")
        deadline = time.monotonic() + 60
        while True:
            try:
                self.get("system")
                return
            except (OSError, urllib.error.URLError, ConnectionError):
                assert time.monotonic() < deadline, "Orthanc does not start"
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, at once."""
        self._say("kill")

    def kill_after(self, size: int, delay_ms: float = 0) -> None:
        """SIGKILL as soon as ``size`` more bytes have gone to it."""
        self._say(f"kill-after {size} {delay_ms}")

    def spare(self) -> bool:
        """Take ``kill_after`` back; returns whether it still runs."""
        return self._say("spare")

    def close(self) -> None:
        """End it and its enclosure."""
        self.process.stdin.close()
        self.process.wait(20)

    def get(self, path: str) -> bytes:
        """An answer of its own interface."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/{path}", timeout=20) as answer:
            return answer.read()

    def objects(self) -> list[Dataset]:
        """Everything that it holds, as it keeps it."""
        from pydicom import dcmread

        names = json.loads(self.get("instances"))
        return [dcmread(io.BytesIO(self.get(f"instances/{name}/file"))) for name in names]

    def digests(self) -> dict[str, str]:
        """Of everything that it holds: SOP Instance UID, and the SHA-256 of pixels or content, as it keeps it."""
        held = self.objects()
        found = {str(data.SOPInstanceUID): digest(data) for data in held}
        assert len(found) == len(held), "an object is there twice"
        return found

    def delete(self, instance: str) -> None:
        """Remove an instance by its SOP Instance UID."""
        for name in json.loads(self.get("instances")):
            if json.loads(self.get(f"instances/{name}"))["MainDicomTags"]["SOPInstanceUID"] == instance:
                url = f"http://127.0.0.1:{self.ports['http']}/instances/{name}"
                urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=20).close()


def digest(data: Dataset) -> str:
    """Of an object without what an archive may write anew (its file's header)."""
    return hashlib.sha256(json.dumps(data.to_json_dict(), sort_keys=True).encode()).hexdigest()
