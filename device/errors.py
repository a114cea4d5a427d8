"""What can go wrong on the device, said once.

Every class says when it happens and what to do. The command line and the web pages show the message
alone, without a trace-back; the message always ends in a way out.
"""


class TenohiraError(Exception):
    """Base of every error that a user can act on. ``exit_code`` is what the command line returns."""

    exit_code = 2

    def __str__(self) -> str:
        """The message. Of a path that is no UTF-8 the odd bytes are escaped: pages and systemd take text only."""
        return super().__str__().encode(errors="backslashreplace").decode()


class UsageError(TenohiraError):
    """An argument is missing or contradicts another. Do: read ``tenohira VERB --help``."""


class MissingExtraError(TenohiraError):
    """A verb needs packages that this installation lacks. Do: install the extra that the message names."""

    exit_code = 3


class UnreadableImageError(TenohiraError):
    """A file is absent, damaged, of an unknown format, too small or too large to be screened.

    Do: export the photograph again as JPEG, PNG, TIFF, BMP or DICOM. In a batch this becomes an
    ``ungradable`` row, and the run goes on.
    """


class BundleError(TenohiraError):
    """A bundle is damaged, unsigned, signed by an unknown key, or of another schema; it is not loaded.

    Do: copy the bundle again from its source, or put its owner's public key into the key folder.
    """


class KeyFileError(TenohiraError):
    """A signing key cannot be read or written. Do: make one with ``tenohira bundle keygen``."""


class RuntimeUnavailableError(TenohiraError):
    """No TFLite runtime can be imported on this machine, or it refuses the model.

    Do: ``pip install ai-edge-litert`` (or ``tflite-runtime`` with Python 3.11 and numpy < 2).
    """


class CameraError(TenohiraError):
    """A camera is missing, busy, unplugged or does not answer in time. Do: what the message says."""


class StoreError(TenohiraError):
    """The record cannot be opened, read or written. Do: what the message says."""


class StoreFullError(StoreError):
    """The disk is full, or nearly so; nothing was recorded by this step. Do: free space, then repeat the step."""


class StoreBusyError(StoreError):
    """Another program does not let go of the record. Do: wait until it is done, then try again."""


class NoSuchVisitError(StoreError):
    """There is no such examination in the record. Do: choose one from the history."""


class NoSuchPictureError(StoreError):
    """There is no such picture in the record, or its file is lost. Do: choose one of an examination in the
    history; of a lost one, what the message says."""


class VisitClosedError(StoreError):
    """A finished examination takes no more photographs. Do: begin a new one for the same participant."""


class EyeGradedError(VisitClosedError):
    """In a masked examination a graded eye keeps its photographs. Do: what the message says."""


class LightError(TenohiraError):
    """The LEDs or the shutter button cannot be used: wrong pins, no GPIO library, no permission.

    Do: what the message says, or run without them (light ``none``).
    """


class BusyError(TenohiraError):
    """The instrument is taking a photograph already. Do: wait for its result."""


class MemoryLowError(TenohiraError):
    """Less memory is free than a step takes, or than an instrument takes at all; nothing was begun. Do: what the
    message says."""


class ErrandError(TenohiraError):
    """A report, DICOM objects or a sending, made in a process of its own, failed. Do: what the message says."""


class SamplesError(TenohiraError):
    """The sample photographs could not be fetched or failed their hash check.

    Do: check that pip reaches a package registry, or use the simulated camera (``--simulated``).
    """


class DicomError(TenohiraError):
    """A DICOM object cannot be made of a record or a file. Do: what the message says."""


class PacsError(TenohiraError):
    """An archive (PACS) is out of reach, refuses an object, or does not show what it took.

    Nothing is lost: the outbox tries again. Do: check network, address and names in the settings.
    """


class HiddenError(TenohiraError):
    """The instrument's answer is hidden until a reader has graded the eye (masked study). Do: enter the grade."""


class ReferencesError(TenohiraError):
    """A reference standard cannot be read, or rows of it cannot be used; nothing of it was taken over.

    Do: correct the rows that the message names.
    """


class TrialError(TenohiraError):
    """There is nothing to report on: no store or export, no visits, or those of several studies. Do: what the
    message says."""


class PacsUnreachableError(PacsError):
    """An archive does not answer, or lets nothing in: what else waits for it would fail as well."""


class DeployError(TenohiraError):
    """An instrument could not be reached, or tenohira not be installed on it; what was there before goes on.

    Do: what the message says; the instrument's log is in /var/log/tenohira-provision.log.
    """
