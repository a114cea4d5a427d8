"""All objects of a visit: its photographs, and for each eye that was answered outlines and a report."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import cv2
import msgspec
import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import HTJ2K, JPEG2000, JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from device.dicom import common, op, seg, sr
from device.errors import DicomError
from device.eyes import conceals, eye_result
from device.frame import Frame
from device.geometry import UInt8Image
from device.imaging import FORMATS, read_image
from device.record import EYES, Capture, Eye, Shot, Visit
from device.results import Row, write_file
from device.verdict import Outcome

JPEG = b"\xff\xd8"
JPEG_IN_TIFF = ("jpeg", "tiff_jpeg")  # Pillow's words
# Transfer syntaxes that lose something (those of ISO 10918), or may (the others), and what that is called.
LOSSY = {
    JPEGBaseline8Bit: op.JPEG_METHOD, JPEGExtended12Bit: op.JPEG_METHOD, JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1", HTJ2K: "ISO_15444_15",
}  # fmt: skip
StorePicture = Callable[[str], Path]


def each(visit: Visit, store_picture: StorePicture) -> Iterator[Dataset]:
    """Every object of a visit, photographs first, so that what refers to them comes after them; one after the
    other, with one photograph in memory, not all of them. Photographs that were withdrawn (the other eye, the
    other person) do not leave the instrument.

    The same visit gives the same objects, to the byte: nothing is taken from the clock or from the settings, which
    may have changed since. Raises DicomError where a picture of the visit is missing or damaged.
    """
    shared = common.of_visit(visit)
    headers: dict[str, Dataset] = {}
    counted = {c.uid for eye in EYES for c in visit.of(eye)}
    for number, capture in enumerate(visit.captures, start=1):
        if capture.uid not in counted:
            continue
        photograph = op.photograph(capture, visit, _picture(capture, store_picture), shared, number)
        headers[capture.uid] = common.header(photograph)
        yield photograph
    for number, eye in enumerate(EYES, start=1):
        if not conceals(visit, eye):
            yield from _answer(visit, eye, shared, headers, lambda c: _masks(c, store_picture), number)


def of_file(path: Path, frame: Frame, row: Row, masks: dict[str, UInt8Image]) -> dict[str, Dataset]:
    """The objects of one file that was screened: ``photograph``, ``segmentation`` and ``report``.

    A DICOM file is the photograph already: outlines and report refer to it, in its patient and study. Of any
    other file, person and time are only known as far as the file tells, and its study is its own. The same file,
    with the same time of its last change, and the same answer give the same objects; another eye gives another
    photograph, and another answer other outlines and another report, for an archive keeps what it has under an
    identifier. ``masks`` are H x W of 0 and 255, by structure, of the whole photograph, of which ``frame`` may be
    a reduction.
    """
    data = _read(path)
    seed = str(uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(data).hexdigest()))
    visit = _visit_of_file(path, frame, row, seed)
    (capture,) = visit.captures
    source = _source(path)
    shared = common.of_visit(visit) if source is None else common.of_source(source)
    if not shared.get("StudyInstanceUID"):  # absent, or there and empty
        shared.StudyInstanceUID = common.uid(seed)
    found = {}
    if source is None or not _can_be_referred_to(source):
        picture = _picture_of_file(path, data, frame, source)
        burned_in = "" if source is None else str(source.get("BurnedInAnnotation") or "")
        found["photograph"] = op.photograph(capture, visit, picture, shared, burned_in=burned_in)
        if source is not None:
            _keep_stated_loss(found["photograph"], source)
        source = found["photograph"]
    answered = _answered(visit, row, masks)
    headers = {answered.captures[0].uid: common.header(source)}
    for made in _answer(answered, capture.laterality, shared, headers, lambda c: masks):
        found["segmentation" if made.Modality == "SEG" else "report"] = made
    return found


def _visit_of_file(path: Path, frame: Frame, row: Row, seed: str) -> Visit:
    """A visit as if the instrument had taken the photograph; without a device, for it had not."""
    shot = Shot(
        outcome=row.outcome,
        grade=row.quality["grade"],
        score=row.quality["score"],
        vcdr=row.vcdr,
        glaucoma_probability=row.glaucoma_probability,
        reasons=row.reasons,
    )
    taken = frame.time.isoformat() if frame.time else ""
    capture = Capture(
        uid=str(uuid.uuid5(uuid.UUID(seed), f"capture/{frame.laterality}")),
        visit=seed,
        laterality=cast(Eye, frame.laterality),
        taken=taken,
        image="",
        overlay="",
        masks=row.masks,
        result=row,
        shots=(shot,),
    )
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
    code = f"FILE-{uuid.UUID(seed).hex[:12].upper()}"
    return Visit(uid=seed, number=1, participant=code, started=taken or changed, captures=(capture,))


def _answered(visit: Visit, row: Row, masks: dict[str, UInt8Image]) -> Visit:
    """The visit of a file under identifiers of this one answer: the file may be screened again, by another bundle,
    at another operating point, as another view or eye. Where files lie and how long it took is no part of it."""
    outlines = {name: hashlib.sha256(mask.tobytes()).hexdigest() for name, mask in masks.items()}
    said = msgspec.structs.replace(row, image="", masks=outlines, overlay=None, dicom={}, timings_ms={})
    uid = uuid.uuid5(uuid.UUID(visit.uid), msgspec.json.encode(said, order="sorted").decode())
    (capture,) = visit.captures
    capture = msgspec.structs.replace(capture, uid=str(uuid.uuid5(uid, "capture")), visit=str(uid))
    return msgspec.structs.replace(visit, uid=str(uid), captures=(capture,))


def _source(path: Path) -> Dataset | None:
    """The header of a DICOM file, its text in Unicode; None for any other."""
    try:
        source = dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    source.decode()
    source.SpecificCharacterSet = "ISO_IR 192"
    return source


def _can_be_referred_to(source: Dataset) -> bool:
    """Whether it says who it is (identifiers may be there and empty), and is one picture."""
    named = all(source.get(k) for k in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"))
    return named and _frames(source) == 1


def _frames(source: Dataset) -> int:
    return int(source.get("NumberOfFrames") or 1)


def _picture_of_file(path: Path, data: bytes, frame: Frame, source: Dataset | None) -> op.Picture:
    """The picture of a file: its JPEG where that can be taken over, or else its pixels and what they have lost."""
    if (picture := op.Picture.of_jpeg(data)) is not None:
        return picture
    pixels = frame.pixels if frame.whole is None else read_image(path).pixels
    method = _lost_in_file(data) if source is None else _lost_in_source(source)
    if method is None:
        return op.Picture.of_pixels(pixels)
    size = len(data) if source is None else len(data) // _frames(source)
    return op.Picture.of_pixels(pixels, size, method)


def _keep_stated_loss(photograph: Dataset, source: Dataset) -> None:
    """What a source tells of all that it has gone through is truer than what the size of its file tells."""
    stated = [source.get(k) for k in ("LossyImageCompressionRatio", "LossyImageCompressionMethod")]
    if photograph.LossyImageCompression == "01" and all(stated):
        photograph.LossyImageCompressionRatio, photograph.LossyImageCompressionMethod = stated


def _lost_in_file(data: bytes) -> str | None:
    """By which compression a picture that is no DICOM file has lost something; None where it has not."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        is_jpeg = data.startswith(JPEG) or image.info.get("compression") in JPEG_IN_TIFF
    return op.JPEG_METHOD if is_jpeg else None


def _lost_in_source(source: Dataset) -> str | None:
    """The same of a DICOM image. That it has lost nothing is not believed of a JPEG."""
    stated = source.get("LossyImageCompression")
    method = LOSSY.get(source.file_meta.get("TransferSyntaxUID"))
    if stated == "01":
        return method or op.JPEG_METHOD  # compressed earlier, and most likely like that
    return None if stated == "00" and method != op.JPEG_METHOD else method


def _answer(
    visit: Visit,
    eye: Eye,
    shared: Dataset,
    headers: dict[str, Dataset],
    masks_of: Callable[[Capture], dict[str, UInt8Image]],
    number: int = 1,
) -> Iterator[Dataset]:
    """Outlines of every capture that was graded (those of others are not to be trusted), and the eye's report."""
    result = eye_result(visit, eye)
    if result.outcome is None:
        return
    outlines = {}
    counted = {c.uid for c in visit.of(eye)}
    for place, capture in enumerate(visit.captures, start=1):
        graded = capture.uid in counted and capture.result.outcome is not Outcome.UNGRADABLE
        if graded and (masks := masks_of(capture)):
            made = seg.segmentation(capture, visit, headers[capture.uid], masks, place)
            outlines[capture.uid] = common.header(made)
            yield made
    evidence = result.evidence.uid if result.evidence else ""
    images = [headers[c.uid] for c in sorted(visit.of(eye), key=lambda c: c.uid == evidence)]
    times = [c.taken for c in visit.of(eye)] + [n.time for n in visit.not_imaged if n.laterality == eye]
    yield sr.report(
        result, visit, shared, images, outlines.get(evidence), number=number, at=max(times, default="")
    )


def save(found: Iterable[Dataset], folder: Path) -> list[Path]:
    """Write objects as ``NUMBER-KIND.dcm`` into a folder. Raises OutputError where that fails."""
    paths = []
    for number, data in enumerate(found, start=1):
        path = folder / f"{number:03}-{data.Modality}.dcm"
        write_file(path, encode(data))
        paths.append(path)
    return paths


def encode(data: Dataset) -> bytes:
    """An object as the bytes of a DICOM file."""
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _picture(capture: Capture, store_picture: StorePicture) -> op.Picture:
    path = store_picture(capture.image)
    picture = op.Picture.of_jpeg(_read(path), anonymous=False)  # made here: there is nothing in it but the picture
    if picture is None:  # of a camera that gives another kind of JPEG, or a record from elsewhere
        frame = read_image(path)
        picture = op.Picture.of_pixels(frame.pixels, path.stat().st_size)
    return picture


def _masks(capture: Capture, store_picture: StorePicture) -> dict[str, UInt8Image]:
    return {structure: _mask(name, store_picture) for structure, name in capture.masks.items()}


def _mask(name: str, store_picture: StorePicture) -> UInt8Image:
    path = store_picture(name)
    mask = cv2.imdecode(np.frombuffer(_read(path), np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise DicomError(f"the outline {path.name} is damaged; run 'tenohira audit verify', which says what is")
    grey: UInt8Image = mask.astype(np.uint8)
    return grey


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DicomError(
            f"the picture {path.name} cannot be read ({error.strerror}); run 'tenohira audit verify'"
        ) from error
