"""The real Orthanc of ``hil_tests``, with the settings that send to it."""

from __future__ import annotations

from device.record import Pacs
from hil_tests import archive
from hil_tests.archive import absent

__all__ = ["Orthanc", "absent"]


class Orthanc(archive.Orthanc):
    """An archive for tests."""

    def pacs(self, kind: str) -> Pacs:
        """Settings that send to it."""
        if kind == "dimse":
            return Pacs(kind="dimse", host="127.0.0.1", port=self.ports["dicom"])
        return Pacs(kind="dicomweb", url=f"http://127.0.0.1:{self.ports['http']}/dicom-web")
