"""An archive behind DICOM's own network protocol: C-STORE, then C-FIND and C-GET to see what it holds."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Self

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, Association, build_context, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind as Find,
)
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelGet as Get,
)

from device.dicom.archive import ANSWER, CONNECT, Receipt
from device.errors import PacsError, PacsUnreachableError
from device.record import Pacs

NATIVE = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
SENT = {
    OphthalmicPhotography8BitImageStorage: ([JPEGBaseline8Bit], NATIVE),
    SegmentationStorage: ([ExplicitVRLittleEndian],),
    ComprehensiveSRStorage: ([ExplicitVRLittleEndian],),
}
SUCCESS, PENDING = 0x0000, (0xFF00, 0xFF01)
WARNINGS = range(0xB000, 0xC000)  # stored, with a remark


def _leave_answers(link: Association) -> None:
    """Keep the association's own thread from the queue of messages: now and then it takes the answer that a call
    waits for, which then waits ANSWER seconds in vain (pynetdicom 3.0.4: it says that it pauses before it does).
    What an archive asks of us comes within a C-GET, which reads the queue itself."""
    take = link.dimse.get_msg
    link.dimse.get_msg = lambda block=False: take(block) if block else (None, None)


class Dimse:
    """An association with an archive. Raises PacsError where it is out of reach or refuses."""

    def __init__(self, pacs: Pacs) -> None:
        self.pacs = pacs
        self._came: Dataset | None = None
        entity = AE(ae_title=pacs.calling[:16])
        entity.connection_timeout = entity.acse_timeout = CONNECT
        entity.dimse_timeout = entity.network_timeout = ANSWER
        contexts = [build_context(model, NATIVE) for model in (Find, Get)]
        contexts += [build_context(kind, syntaxes) for kind, offers in SENT.items() for syntaxes in offers]
        roles = [build_role(kind, scu_role=True, scp_role=True) for kind in SENT]  # scp: C-GET brings objects back
        self.link = entity.associate(
            pacs.host,
            pacs.port,
            contexts,
            ae_title=pacs.called[:16],
            ext_neg=roles,
            evt_handlers=[(evt.EVT_C_STORE, self._take), (evt.EVT_CONN_OPEN, _without_delay)],
        )
        _leave_answers(self.link)
        if self.link.is_rejected:
            raise PacsUnreachableError(
                f"the archive {self._name} does not take connections from {pacs.calling!r} to {pacs.called!r}; "
                "check both names in the settings, and that the archive knows this instrument"
            )
        if not self.link.is_established:
            raise PacsUnreachableError(
                f"the archive {self._name} does not answer; check network, address and port in the settings"
            )

    @property
    def _name(self) -> str:
        return f"{self.pacs.host}:{self.pacs.port}"

    def store(self, data: Dataset) -> None:
        """C-STORE."""
        try:
            status = self.link.send_c_store(data)
        except ValueError as error:  # no presentation context for the object
            raise PacsError(
                f"the archive {self._name} does not take {data.Modality} objects in the form in which they are "
                "kept; ask its administrator to allow them (docs/dicom.md lists them)"
            ) from error
        except RuntimeError as error:  # the association is over
            raise self._lost() from error
        code = self._code(status)
        if code != SUCCESS and code not in WARNINGS:
            raise PacsError(
                f"the archive {self._name} refuses a {data.Modality} object (status {code:04X}); "
                "ask its administrator why"
            )

    def holds(self, receipt: Receipt) -> bool:
        """C-FIND for the instance, and C-GET where the archive offers it."""
        query = Dataset()
        query.QueryRetrieveLevel = "IMAGE"
        query.StudyInstanceUID, query.SeriesInstanceUID = receipt.study, receipt.series
        query.SOPInstanceUID = receipt.instance
        if not any(answer.get("SOPInstanceUID") == receipt.instance for answer in self._find(query)):
            return False
        came = self._get(query)
        if came is not None:
            receipt.check(came)
        return True

    def _find(self, query: Dataset) -> list[Dataset]:
        found = []
        try:
            for status, answer in self.link.send_c_find(query, Find):
                code = self._code(status)
                if code in PENDING:
                    if answer is not None:
                        found.append(answer)
                elif code != SUCCESS:
                    raise self._no_query()
        except ValueError as error:  # the archive offers no queries
            raise self._no_query() from error
        except RuntimeError as error:
            raise self._lost() from error
        return found

    def _get(self, query: Dataset) -> Dataset | None:
        """The object itself; None where the archive gives none back this way: then the query must do."""
        self._came = None
        if not any(c.abstract_syntax == Get for c in self.link.accepted_contexts):
            return None
        try:
            for status, _ in self.link.send_c_get(query, Get):
                self._code(status)
        except ValueError:
            return None
        except RuntimeError as error:
            raise self._lost() from error
        return self._came

    def _take(self, event: Any) -> int:
        """What C-GET brings arrives as a C-STORE towards us."""
        self._came = event.dataset
        self._came.file_meta = event.file_meta
        return SUCCESS

    def _code(self, status: Dataset) -> int:
        if "Status" not in status:  # no answer in time, or the connection broke
            raise self._lost()
        return int(status.Status)

    def _lost(self) -> PacsUnreachableError:
        return PacsUnreachableError(f"the connection to the archive {self._name} broke; it will be tried again")

    def _no_query(self) -> PacsUnreachableError:
        return PacsUnreachableError(
            f"the archive {self._name} does not answer queries, so nothing can be confirmed; "
            "ask its administrator to allow C-FIND for this instrument"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if self.link.is_established:
            if kind is None:
                self.link.release()
            else:
                self.link.abort()


def _without_delay(event: Any) -> None:
    """A question is several small messages; each would wait some 40 ms until the one before is acknowledged."""
    with suppress(OSError, AttributeError):
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
