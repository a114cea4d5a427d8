"""All objects of a visit: its photographs, and for each eye that was answered outlines and a report."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from pydicom.dataset import Dataset

from device.dicom import common, op, seg, sr
from device.errors import DicomError
from device.eyes import eye_result
from device.geometry import UInt8Image
from device.imaging import read_image
from device.record import EYES, Capture, Eye, Settings, Visit
from device.results import write_file
from device.verdict import Outcome

StorePicture = Callable[[str], Path]


def objects(visit: Visit, store_picture: StorePicture, settings: Settings) -> list[Dataset]:
    """Every object of a visit, photographs first, so that what refers to them comes after them.

    The same visit gives the same objects, to the byte: nothing is taken from the clock or from ``settings``, which
    may have changed since. Raises DicomError where a picture of the visit is missing or damaged.
    """
    return list(each(visit, store_picture))


def each(visit: Visit, store_picture: StorePicture) -> Iterator[Dataset]:
    """``objects``, one after the other: with one photograph in memory, not all of them."""
    shared = common.of_visit(visit)
    headers: dict[str, Dataset] = {}
    for number, capture in enumerate(visit.captures, start=1):
        photograph = op.photograph(capture, visit, _picture(capture, store_picture), shared, number)
        headers[capture.uid] = _header(photograph)
        yield photograph
    for number, eye in enumerate(EYES, start=1):
        yield from _answer(visit, eye, store_picture, shared, headers, number)


def withheld(visit: Visit, eye: Eye) -> bool:
    """Whether the instrument's answer must not leave it: a masked visit whose reader has not answered yet."""
    return visit.masked and bool(visit.of(eye)) and not any(r.laterality == eye for r in visit.readings)


def _answer(
    visit: Visit,
    eye: Eye,
    store_picture: StorePicture,
    shared: Dataset,
    headers: dict[str, Dataset],
    number: int,
) -> Iterator[Dataset]:
    """Outlines of every capture that was graded, and the eye's report."""
    result = eye_result(visit, eye)
    if result.outcome is None or withheld(visit, eye):
        return
    outlines = {}
    for place, capture in enumerate(visit.captures, start=1):
        if capture.laterality == eye and capture.masks and capture.result.outcome is not Outcome.UNGRADABLE:
            masks = {name: _mask(capture, hash_, store_picture) for name, hash_ in capture.masks.items()}
            made = seg.segmentation(capture, visit, headers[capture.uid], masks, place)
            outlines[capture.uid] = _header(made)
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


def _header(data: Dataset) -> Dataset:
    """An object without its pixels: what others need to refer to it."""
    header = Dataset()
    header.update({e.tag: e for e in data if e.keyword != "PixelData"})
    header.file_meta = data.file_meta
    return header


def _picture(capture: Capture, store_picture: StorePicture) -> op.Picture:
    path = store_picture(capture.image)
    picture = op.Picture.of_jpeg(_read(path), anonymous=False)  # made here: there is nothing in it but the picture
    if picture is None:  # of a camera that gives another kind of JPEG, or a record from elsewhere
        frame = read_image(path)
        picture = op.Picture.of_pixels(frame.pixels, path.stat().st_size)
    return picture


def _mask(capture: Capture, name: str, store_picture: StorePicture) -> UInt8Image:
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
