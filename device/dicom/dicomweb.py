"""An archive behind DICOMweb: STOW-RS, then QIDO-RS and WADO-RS to see what it holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import requests
from dicomweb_client import DICOMwebClient
from pydicom.dataset import Dataset

from device.dicom.archive import ANSWER, CONNECT, Receipt
from device.errors import PacsError, PacsUnreachableError
from device.record import Pacs

logging.getLogger("retrying").setLevel(logging.ERROR)  # it would log a trace-back for each failed attempt
WHOLE = 10**9  # bytes up to which a message is sent in one piece: not every server takes chunks
NOTHING = {204, 404}


class Web:
    """A DICOMweb service. Raises PacsError where the address is none."""

    def __init__(self, pacs: Pacs) -> None:
        self.pacs = pacs
        self.session = requests.Session()
        if pacs.user:
            self.session.auth = (pacs.user, pacs.password)
        try:
            self.client = DICOMwebClient(
                pacs.url, session=self.session, timeout=(CONNECT, ANSWER), chunk_size=WHOLE
            )
        except (ValueError, TypeError) as error:
            raise PacsUnreachableError(
                f"{pacs.url!r} is no address of a DICOMweb service; give one such as https://host/dicom-web"
            ) from error
        self.client.set_http_retry_params(retry=False)  # the outbox has its own patience

    def store(self, data: Dataset) -> None:
        """STOW-RS."""
        with self._in_words():
            answer = self.client.store_instances([data])
        if failed := answer.get("FailedSOPSequence"):
            reason = failed[0].get("FailureReason", 0)
            raise PacsError(
                f"the archive {self.pacs.url} refuses a {data.Modality} object (reason {reason:04X}); "
                "ask its administrator why"
            )

    def holds(self, receipt: Receipt) -> bool:
        """QIDO-RS for the instance, and WADO-RS for what it holds."""
        with self._in_words():
            try:
                found = self.client.search_for_instances(
                    receipt.study, receipt.series, search_filters={"SOPInstanceUID": receipt.instance}
                )
            except requests.HTTPError as error:
                if error.response is not None and error.response.status_code in NOTHING:
                    return False  # no such study, for some servers
                raise
        if not any(receipt.instance in item.get("00080018", {}).get("Value", []) for item in found):
            return False
        with self._in_words():
            came = self.client.retrieve_instance(
                receipt.study, receipt.series, receipt.instance, media_types=(("application/dicom", "*"),)
            )
        receipt.check(came)
        return True

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        url = self.pacs.url
        try:
            yield
        except requests.HTTPError as error:
            code = error.response.status_code if error.response is not None else 0
            if code in (401, 403):
                raise PacsUnreachableError(
                    f"the archive {url} does not let this instrument in (HTTP {code}); "
                    "check user and password in the settings"
                ) from error
            raise PacsError(
                f"the archive {url} answers with an error (HTTP {code}); check the address in the settings, "
                "or ask its administrator"
            ) from error
        except requests.RequestException as error:
            raise PacsUnreachableError(
                f"the archive {url} does not answer; check network and address in the settings"
            ) from error
        except (ValueError, KeyError, AttributeError) as error:  # what comes back is no DICOMweb
            raise PacsUnreachableError(
                f"what the archive {url} answers is no DICOMweb; check the address in the settings"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
