"""A photograph as Ophthalmic Photography 8 Bit Image (DICOM PS3.3 A.41).

The JPEG is taken over byte by byte: nothing is decoded, nothing is compressed twice. What is not a baseline JPEG
is stored without compression. Where nobody said which eye it shows, an Ophthalmic Photography object cannot be
written (it must say right or left): such a picture becomes a VL Photographic Image, which may leave it open.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageCms
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    VLPhotographicImageStorage,
)

from device.dicom import common
from device.geometry import UInt8Image
from device.record import Capture, Visit

UNKNOWN_CAMERA = common.private("unknown-camera", "Camera that is not known, without calibrated scale")
HANDHELD = common.private("handheld-fundus", "Hand-held fundus camera without calibrated scale")
JPEG_METHOD = "ISO_10918_1"
BASELINE, DEFINE_FRAMES = 0xC0, set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
# From here on are markers that no decoder needs, but for those whose segments begin like this: they say which
# colours are meant. All others (EXIF, XMP, IPTC, comments, what makers add) may name a person or a place.
APPLICATIONS = 0xE0
NEEDED = {0xE0: b"JFIF\0", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither compressed data, nor a restart, nor a fill byte


@dataclass(frozen=True)
class Picture:
    """Pixels on their way into an object: as an encapsulated baseline JPEG (``jpeg``), or as they are.

    ``ratio`` is the size of the pixels by that of the compressed file, None where nothing was lost; ``method`` is
    how it was compressed (a term of PS3.3 C.7.6.1.1.5.1)."""

    height: int
    width: int
    channels: int  # 3: colour, 1: grey
    jpeg: bytes | None = None
    pixels: UInt8Image | None = None
    ratio: float | None = None
    method: str = JPEG_METHOD

    @classmethod
    def of_jpeg(cls, data: bytes, *, anonymous: bool = True) -> Picture | None:
        """A baseline JPEG of one or three channels (YCbCr) that is whole and the right way up; None for any other.

        ``anonymous`` leaves out what may hold names and places: segments that are not the picture's (EXIF, IPTC,
        comments) and what follows it in the file; what is compressed stays as it is, to the byte.
        """
        segments = _segments(data)
        frame, start = next(((marker, at) for marker, at, _ in segments if marker in DEFINE_FRAMES), (None, 0))
        if frame != BASELINE or segments[-1][0] != END_OF_IMAGE:
            return None
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            turned = image.getexif().get(0x0112, 1) != 1
            is_rgb = image.info.get("adobe_transform") == 0 and image.mode == "RGB"
            if "jfif" not in image.info and "adobe" not in image.info:  # then decoders go by the components' names
                is_rgb = data[start + 10 : start + 19 : 3] == b"RGB"
            if turned or is_rgb or image.mode not in ("RGB", "L"):
                return None
            channels = len(image.getbands())
            raw = image.width * image.height * channels
            kept = _anonymous(data) if anonymous else data
            return cls(image.height, image.width, channels, jpeg=kept, ratio=raw / len(kept))

    @classmethod
    def of_pixels(cls, pixels: UInt8Image, lossy_bytes: int | None = None, method: str = JPEG_METHOD) -> Picture:
        """Pixels, H x W x 3; ``lossy_bytes`` is the size of the file where it was compressed with loss."""
        height, width, channels = pixels.shape
        ratio = lossy_bytes and pixels.size / lossy_bytes
        return cls(height, width, channels, pixels=pixels, ratio=ratio, method=method)


def photograph(
    capture: Capture, visit: Visit, picture: Picture, shared: Dataset, number: int = 1, *, burned_in: str = ""
) -> Dataset:
    """The object of one capture. ``shared`` is of ``common.of_visit``; ``number`` counts a visit's captures.

    For files, ``capture.laterality`` may be ``unknown`` (see the module), and ``capture.taken`` empty: then the
    time of the file (``visit.started``) is given and said to be that, for the object must have one. ``burned_in``
    is what a DICOM image says of text in its pixels, YES or NO.
    """
    known = capture.laterality in common.LATERALITY
    sop_class = OphthalmicPhotography8BitImageStorage if known else VLPhotographicImageStorage
    syntax = ExplicitVRLittleEndian if picture.jpeg is None else JPEGBaseline8Bit
    data = common.begin(sop_class, common.uid(capture.uid), syntax, shared)
    _series_and_equipment(data, visit, "OP" if known else "XC")
    _image(data, capture, visit, number)
    if visit.device:
        data.BurnedInAnnotation = "NO"  # the camera writes nothing into its pictures
    elif burned_in in ("YES", "NO"):
        data.BurnedInAnnotation = burned_in
    elif known:  # prints have bars with names; nobody has looked, and only VL Photographic may leave it open
        data.BurnedInAnnotation = "YES"
    _pixels(data, picture)
    if known:
        if picture.channels == 3:
            data.ImageType = [*data.ImageType, "", "COLOR"]
        _ophthalmic(data, capture, visit)
    else:
        data.Laterality = ""
        data.AcquisitionContextSequence = []
    return data


def _series_and_equipment(data: Dataset, visit: Visit, modality: str) -> None:
    data.Modality = modality
    data.SeriesInstanceUID = common.uid(visit.uid, "photographs", modality)
    data.SeriesNumber = 1
    data.SeriesDescription = "Photographs of the fundus"
    common.equipment(data, visit)


def _image(data: Dataset, capture: Capture, visit: Visit, number: int) -> None:
    """General Image, Ophthalmic Photography Image, SOP Common."""
    at = common.instant(capture.taken or visit.started)
    common.stamp(data, at, "Content", "Acquisition", "InstanceCreation")
    data.AcquisitionDateTime = common.moment(at)
    data.ImageType = ["ORIGINAL", "PRIMARY"]
    data.InstanceNumber = number
    data.PatientOrientation = ""
    data.AnatomicRegionSequence = [common.coded(common.RETINA)]
    quality = capture.result.quality.get("grade", "not graded")
    settings = (
        ("exposure {:g} us", capture.exposure_us),
        ("gain {:g}", capture.gain),
        ("focus {:g}", capture.focus),
    )
    said = [] if capture.taken else ["time of the photograph not known: that of the file is given"]
    said += [f"quality {quality}", *(words.format(value) for words, value in settings if value is not None)]
    data.ImageComments = "; ".join(said)
    data.CodingSchemeIdentificationSequence = [common.scheme()]


def _pixels(data: Dataset, picture: Picture) -> None:
    """Image Pixel, lossy compression, ICC Profile."""
    data.Rows, data.Columns, data.SamplesPerPixel = picture.height, picture.width, picture.channels
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    if picture.channels == 3:
        data.PlanarConfiguration = 0
        data.PhotometricInterpretation = "RGB" if picture.jpeg is None else "YBR_FULL_422"
        data.ICCProfile = srgb()
        data.ColorSpace = "SRGB"
    else:
        data.PhotometricInterpretation = "MONOCHROME2"
        data.PresentationLUTShape = "IDENTITY"
    data.LossyImageCompression = "00" if picture.ratio is None else "01"
    if picture.ratio is not None:
        data.LossyImageCompressionRatio = f"{picture.ratio:.6g}"
        data.LossyImageCompressionMethod = picture.method
    if picture.jpeg is not None:
        data.PixelData = encapsulate([picture.jpeg])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    elif picture.pixels is not None:
        raw = np.ascontiguousarray(picture.pixels).tobytes()
        data.PixelData = raw + bytes(len(raw) % 2)
        data["PixelData"].VR = "OB"


def _ophthalmic(data: Dataset, capture: Capture, visit: Visit) -> None:
    """Synchronization, Multi-frame, Ocular Region Imaged, and both modules of parameters."""
    data.SynchronizationFrameOfReferenceUID = common.uid(visit.uid, "clock")
    data.SynchronizationTrigger = "NO TRIGGER"
    data.AcquisitionTimeSynchronized = "N"
    data.NumberOfFrames = 1
    data.FrameIncrementPointer = 0x00181063  # frame time
    data.FrameTime = 0
    data.ImageLaterality = common.LATERALITY[capture.laterality]
    for keyword in ("PatientEyeMovementCommanded", "EmmetropicMagnification", "IntraOcularPressure",
                    "HorizontalFieldOfView", "PupilDilated", "DetectorType"):  # fmt: skip
        setattr(data, keyword, None)  # not measured
    for keyword in ("RefractiveStateSequence", "IlluminationTypeCodeSequence", "LensesCodeSequence",
                    "LightPathFilterTypeStackCodeSequence", "ImagePathFilterTypeStackCodeSequence"):  # fmt: skip
        setattr(data, keyword, [])
    data.AcquisitionDeviceTypeCodeSequence = [common.coded(HANDHELD if visit.device else UNKNOWN_CAMERA)]


@cache
def srgb() -> bytes:
    """sRGB as the profile of an input device, which DICOM asks for (PS3.3 C.11.15); the same bytes every time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[12:16] = b"scnr"
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)  # when it was made
    profile[84:100] = bytes(16)  # its checksum: none
    return bytes(profile)


def _segments(data: bytes) -> list[tuple[int, int, int]]:
    """Marker, start and end of each segment of the first picture in a file; that of a scan has its data as well.

    The last one is the end of the image, unless the file is cut or damaged; what is no JPEG has none. What follows
    is not the picture's: a second one (of an MPO), or what a phone has appended.
    """
    found: list[tuple[int, int, int]] = []
    at = 2 if data[:2] == b"\xff\xd8" else len(data)
    while data[at : at + 1] == b"\xff" and at + 2 <= len(data):
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == END_OF_IMAGE:
            return [*found, (marker, at, at + 2)]
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == START_OF_SCAN:
            after = AFTER_SCAN.search(data, end)
            end = after.start() if after else len(data)
        found.append((marker, at, end))
        at = end
    return found


def _anonymous(data: bytes) -> bytes:
    kept = [
        data[at:end]
        for marker, at, end in _segments(data)
        if marker < APPLICATIONS or (marker in NEEDED and data.startswith(NEEDED[marker], at + 4))
    ]
    return data[:2] + b"".join(kept)
