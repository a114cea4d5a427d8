"""What every object of an examination shares: who, when, by which instrument; and unique identifiers.

Nothing here depends on the moment of writing or on a random number: an object that is made again is the same
object, so that sending it twice does no harm.
"""

from __future__ import annotations

import copy
import re
import uuid
from datetime import UTC, datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID

from device import __version__
from device.record import Visit

MANUFACTURER = "tenohira"
SCHEME = "99TENOHIRA"  # private codes: what no public scheme that we know of names

# SNOMED CT codes as DICOM PS3.16 has them (context groups 244 and 4209).
OPTIC_DISC = Code("81016008", "SCT", "Optic nerve head")
RETINA = Code("5665001", "SCT", "Retina")
EYES = {"OD": Code("24028007", "SCT", "Right"), "OS": Code("7771000", "SCT", "Left")}
LATERALITY = {"OD": "R", "OS": "L"}

# Attributes of the Patient, General Study and Patient Study modules, which objects of one study have in common.
OF_PATIENT = (
    "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex", "OtherPatientIDsSequence",
    "EthnicGroup", "PatientIdentityRemoved", "DeidentificationMethod", "StudyInstanceUID", "StudyID", "StudyDate",
    "StudyTime", "StudyDescription", "AccessionNumber", "ReferringPhysicianName", "PatientAge",
)  # fmt: skip
# What an image is referred to by, and what objects that are derived from it repeat.
OF_IMAGE = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Rows", "Columns", "SpecificCharacterSet",
    "Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "LossyImageCompression",
    "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
SEXES = ("M", "F", "O")
# Shapes of dates and times; strptime says whether there is such a day, but takes fewer digits and spaces as well.
DATE, TIME = re.compile(r"\d{8}"), re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
# "Not recorded" where a module asks for an attribute that may be empty (type 2).
EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate", "StudyTime",
         "AccessionNumber", "ReferringPhysicianName")  # fmt: skip


def private(value: str, meaning: str) -> Code:
    """A code of our own scheme; a value has 16 characters at most."""
    return Code(value, SCHEME, meaning)


def uid(record: str, *parts: str) -> str:
    """The DICOM UID of a record (its UUID as a number, PS3.5 B.2), or of something named that belongs to it."""
    number = uuid.UUID(record)
    return f"2.25.{(uuid.uuid5(number, '/'.join(parts)) if parts else number).int}"


def text(value: str, longest: int = 64) -> str:
    """Text as a DICOM string of one line takes it: no backslash (it separates values), no control characters, and
    no more than ``longest`` bytes, which some archives count where the standard counts characters."""
    clean = "".join(" " if c == "\\" or not c.isprintable() else c for c in value)
    return clean.strip().encode()[:longest].decode(errors="ignore").strip()


def instant(record: str) -> datetime:
    """A record's time in this machine's time zone: an archive is searched by the day on the wall's calendar.

    A text that is no time, or one at the calendar's end, gives the start of 1970, in UTC: no object fails for it.
    """
    try:
        return datetime.fromisoformat(record).astimezone()
    except (ValueError, OverflowError):  # the other for the ends of the calendar
        return datetime.fromtimestamp(0, UTC)


def stamp(data: Dataset, at: datetime, *names: str) -> None:
    """Set ``NameDate`` and ``NameTime`` for each name, with the offset of the time zone."""
    for name in names:
        setattr(data, f"{name}Date", f"{at:%Y%m%d}")
        setattr(data, f"{name}Time", f"{at:%H%M%S}.{at.microsecond:06}")
    data.TimezoneOffsetFromUTC = f"{at:%z}"[:5]


def moment(at: datetime) -> str:
    """A date and time in one value, with the offset of the time zone."""
    return f"{at:%Y%m%d%H%M%S}.{at.microsecond:06}{at:%z}"[:26]


def of_visit(visit: Visit) -> Dataset:
    """Patient and study of a visit. The participant's code is the only thing that is said of the person."""
    data = Dataset()
    data.PatientID = text(visit.participant)
    data.PatientIdentityRemoved = "YES"
    data.DeidentificationMethod = "Participant code only: no name, birth date or sex was recorded"
    data.StudyInstanceUID = uid(visit.uid)
    data.StudyID = str(visit.number)
    stamp(data, instant(visit.started), "Study")
    data.StudyDescription = text(f"Eye screening {visit.study}")
    return _filled(data)


def of_source(source: Dataset) -> Dataset:
    """Patient and study of a DICOM image that was screened, as it has them. Dates and times that are none (a birth
    in month 00 is common) and a sex that DICOM does not know (U, W, female) are left empty."""
    data = Dataset()
    for keyword in OF_PATIENT:
        if keyword in source:
            data[keyword] = copy.deepcopy(source[keyword])
    for keyword in ("StudyDate", "StudyTime", "PatientBirthDate"):
        if not (_is_time if keyword == "StudyTime" else _is_date)(str(source.get(keyword) or "")):
            setattr(data, keyword, "")
    if data.get("PatientSex") not in SEXES:
        data.PatientSex = ""
    return _filled(data)


def _is_date(value: str) -> bool:
    return bool(DATE.fullmatch(value)) and _parses(value, "%Y%m%d")


def _is_time(value: str) -> bool:
    return bool(TIME.fullmatch(value)) and _parses(value[:6].ljust(6, "0"), "%H%M%S")


def _parses(value: str, form: str) -> bool:
    try:
        datetime.strptime(value, form)
    except ValueError:
        return False
    return True


def _filled(data: Dataset) -> Dataset:
    for keyword in EMPTY:
        if keyword not in data:
            setattr(data, keyword, "")
    return data


def header(image: Dataset) -> Dataset:
    """What others need of an image to refer to it: patient, study, identifiers and size, and no pixels."""
    data = of_source(image)
    for keyword in OF_IMAGE:
        if keyword in image:
            data[keyword] = copy.deepcopy(image[keyword])
    data.file_meta = image.file_meta
    return data


def equipment(data: Dataset, visit: Visit) -> None:
    """The General Equipment and Enhanced General Equipment modules."""
    data.Manufacturer, data.ManufacturerModelName = MANUFACTURER, model(visit)
    data.DeviceSerialNumber = serial(visit)
    data.SoftwareVersions = software(visit)
    if visit.site:
        data.InstitutionName = text(visit.site)


def model(visit: Visit) -> str:
    """What made the object: the instrument, or (a visit without a device) the program on files from elsewhere."""
    return "tenohira hand-held eye screening" if visit.device else "tenohira screen (photograph from a file)"


def serial(visit: Visit) -> str:
    """Name and serial number of the instrument."""
    return text(visit.device) or "unknown"


def software(visit: Visit) -> str:
    """The version that examined: an object must not change when the instrument is updated before a retry."""
    return text(visit.software) or __version__


def begin(sop_class: UID, instance: str, syntax: UID, shared: Dataset) -> Dataset:
    """An object with its file's meta information and the attributes of ``shared``."""
    data = Dataset()
    data.preamble = bytes(128)
    data.file_meta = meta(sop_class, instance, syntax)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.update(copy.deepcopy(shared))
    data.SOPClassUID, data.SOPInstanceUID = sop_class, instance
    return data


def meta(sop_class: str, instance: str, syntax: str) -> FileMetaDataset:
    """File meta information that names this software."""
    found = FileMetaDataset()
    found.FileMetaInformationVersion = b"\x00\x01"
    found.MediaStorageSOPClassUID, found.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    found.TransferSyntaxUID = UID(syntax)
    found.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    found.ImplementationVersionName = f"TENOHIRA_{__version__}"[:16]
    return found


def coded(code: Code) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def scheme() -> Dataset:
    """Who is responsible for the private codes (Coding Scheme Identification Sequence)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Codes of the tenohira eye-screening instrument"
    item.CodingSchemeResponsibleOrganization = "tenohira"
    return item


def settle(data: Dataset, visit: Visit, at: datetime, description: str) -> None:
    """What highdicom fills with the moment of writing, or leaves out: times of the record, site, private codes."""
    for name in ("Content", "InstanceCreation", "Series"):
        if name != "Series" or "SeriesDate" in data:
            stamp(data, at, name)
    for item in data.get("ContributingEquipmentSequence", []):
        item.ContributionDateTime = moment(at)
    data.SeriesDescription = description
    data.SpecificCharacterSet = "ISO_IR 192"
    if visit.site:
        data.InstitutionName = text(visit.site)
    others = [i for i in data.get("CodingSchemeIdentificationSequence", []) if i.CodingSchemeDesignator != SCHEME]
    data.CodingSchemeIdentificationSequence = [*others, scheme()]
    data.file_meta = meta(data.SOPClassUID, data.SOPInstanceUID, data.file_meta.TransferSyntaxUID)
