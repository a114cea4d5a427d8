"""An archive (PACS) as the outbox sees it: it stores an object, and it shows what it holds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol, Self

from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from device.errors import PacsError, PacsUnreachableError
from device.record import Pacs

CONNECT = 10.0  # seconds within which an archive must take a connection
ANSWER = 30.0  # seconds within which it must answer, each time


@dataclass(frozen=True)
class Receipt:
    """What must be found again of an object that was sent: its identifiers, and a digest of what it holds."""

    sop_class: str
    study: str
    series: str
    instance: str
    syntax: str
    digest: str
    kind: str  # its modality, for sentences

    @classmethod
    def of(cls, data: Dataset) -> Receipt:
        """The receipt of an object that is to be sent, or that came back."""
        return cls(
            sop_class=str(data.SOPClassUID),
            study=str(data.StudyInstanceUID),
            series=str(data.SeriesInstanceUID),
            instance=str(data.SOPInstanceUID),
            syntax=str(data.file_meta.TransferSyntaxUID),
            digest=digest(data),
            kind=str(data.Modality),
        )

    def check(self, data: Dataset) -> None:
        """Raises PacsError where what came back is not what was sent.

        An archive may have encoded the picture anew; then its bytes say nothing and are not compared.
        """
        encapsulated = any(UID(s).is_encapsulated for s in (self.syntax, data.file_meta.TransferSyntaxUID))
        if encapsulated and data.file_meta.TransferSyntaxUID != self.syntax:
            return
        if digest(data) != self.digest:
            raise PacsError(
                f"the archive holds another {self.kind} object under the identifier {self.instance}; "
                "ask its administrator to remove that one"
            )


def digest(data: Dataset) -> str:
    """SHA-256 of the pixels as they are stored, or of the content of a report; other attributes an archive may
    complete or correct."""
    if "PixelData" not in data:
        found = Dataset()
        found.ContentSequence = data.get("ContentSequence", [])
        return hashlib.sha256(json.dumps(found.to_json_dict(), sort_keys=True).encode()).hexdigest()
    if UID(data.file_meta.TransferSyntaxUID).is_encapsulated:
        frames = generate_frames(data.PixelData, number_of_frames=int(data.get("NumberOfFrames", 1)))
        return hashlib.sha256(b"".join(frames)).hexdigest()
    return hashlib.sha256(data.PixelData).hexdigest()


class Archive(Protocol):
    """A connection to an archive. Every wait has a deadline; what fails raises PacsError in words."""

    def holds(self, receipt: Receipt) -> bool:
        """Whether the archive shows the object when it is asked for it, and gives back what was sent."""
        ...

    def store(self, data: Dataset) -> None:
        """Hand an object over. That it raises nothing does not mean that the archive keeps it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def connect(pacs: Pacs) -> Archive:
    """A connection to the archive of the settings. Raises PacsError where there is none, or it is out of reach."""
    if pacs.kind == "dimse":
        from device.dicom.dimse import Dimse

        return Dimse(pacs)
    if pacs.kind == "dicomweb":
        from device.dicom.dicomweb import Web

        return Web(pacs)
    raise PacsUnreachableError("no archive is set; choose one in the settings")
