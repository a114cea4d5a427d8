"""Files to frames: JPEG, PNG, TIFF and BMP by Pillow, DICOM by pydicom. And pictures to JPEG.

The content says what a file is, not its name. Sizes are checked in the header, before anything is decoded.

A large JPEG can be decoded at a half, a quarter or an eighth of its size (libjpeg's scaled transform), which takes
a fraction of the time and of the memory.
"""

from __future__ import annotations

import io
import os
import re
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from device.errors import UnreadableImageError
from device.frame import Frame
from device.geometry import UInt8Image

Image.preinit()  # at start-up, not in the middle of the first photograph

SMALLEST_SIDE = 128  # pixels; a disc is a dozen pixels wide then
MOST_PIXELS = 50_000_000
# Pixels of the longer side that are enough to screen. The networks were trained on 1,024 and fewer; this many are
# needed to show the disc's surroundings sharp, at 512 pixels, on the overlay.
ENOUGH = 1920
LONGEST_SHAPE = 4  # longer by shorter side; regions of interest are squares, and a strip's would fill the memory
FORMATS = ("JPEG", "PNG", "TIFF", "BMP")  # and DICOM

EXIF_IFD, EXIF_ORIGINAL, EXIF_CHANGED, EXIF_ORIENTATION = 0x8769, 0x9003, 0x0132, 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)  # values of the orientation that swap height and width
PREAMBLE = 128  # bytes before the mark of a DICOM file
TIME = re.compile(
    r"(\d{4})[:.-]?(\d\d)[:.-]?(\d\d)[\sT]?(\d\d):?(\d\d)(?::?(\d\d))?(?:\.\d*)?(?:[+-]\d\d:?\d\d|Z)?", re.ASCII
)
FIRST_YEAR = 1900  # no photograph is older: a clock that was never set
EYES = {"R": "OD", "L": "OS"}  # DICOM laterality
FILL = 128  # grey value of what libjpeg has no data for; it only warns of that, which Pillow keeps to itself
ENDS_EARLY = "the data of the picture end early"


def read_image(path: str | os.PathLike[str], enough: int | None = None) -> Frame:
    """Read a photograph as 8-bit RGB, upright. Of a file with several pages or frames, the first.

    Where ``enough`` pixels of the longer side will do, a JPEG that has twice as many or more is decoded smaller,
    but not below that. Transparent parts become black; grey values of more than eight bits are scaled to eight.
    Raises UnreadableImageError where the file is absent, damaged, of another format, or outside the size limits.
    """
    path = Path(path)
    name = os.fsencode(path.name).decode(errors="backslashreplace")
    try:
        with path.open("rb") as file:
            head = file.read(PREAMBLE + 4)
    except OSError as error:
        raise UnreadableImageError(
            f"{name} cannot be opened ({error.strerror}); check its path and permissions"
        ) from error
    if not head:
        raise UnreadableImageError(f"{name} is empty; copy it again from its source")
    try:
        with warnings.catch_warnings():  # what a library only warns of is either refused below or harmless
            warnings.simplefilter("ignore")
            return _read_dicom(path, name) if head[PREAMBLE:] == b"DICM" else _read_picture(path, name, enough)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(
            f"{name} is not a JPEG, PNG, TIFF, BMP or DICOM image; export the photograph in one of these formats"
        ) from error
    except MemoryError as error:
        raise UnreadableImageError(f"{name} does not fit into memory; export it at a lower resolution") from error
    except Exception as error:  # decoders of foreign bytes raise whatever they like
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableImageError(
            f"{name} is damaged or incomplete ({why}); copy or export it again from its source"
        ) from error


def decode(data: bytes, name: str, enough: int | None = None) -> Frame:
    """A picture in memory (JPEG, PNG, TIFF or BMP), as ``read_image`` reads it from a file.

    Raises UnreadableImageError where it is damaged.
    """
    try:
        return _read_picture(io.BytesIO(data), name, enough)
    except UnreadableImageError:
        raise
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged pictures
        raise UnreadableImageError(f"{name} is damaged ({error}); photograph again") from error


def is_reduced(longest: int, enough: int) -> bool:
    """Whether a JPEG with a longer side of ``longest`` pixels is decoded smaller where ``enough`` will do."""
    return longest // enough > 1


def encode_jpeg(pixels: UInt8Image, quality: int, *, keep: bool = True) -> bytes:
    """An RGB H x W x 3 picture as JPEG; at 95 and more without colour subsampling. Of a picture that need not be
    kept no copy is made: its channels are swapped in place."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    if quality >= 95:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    if keep:
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    else:
        bgr = pixels
        for strip in np.array_split(bgr, 8):  # OpenCV copies what it converts in place
            cv2.cvtColor(strip, cv2.COLOR_RGB2BGR, dst=strip)
    return bytes(cv2.imencode(".jpg", bgr, options)[1].tobytes())


def _check_size(name: str, width: int, height: int) -> None:
    if min(width, height) < SMALLEST_SIDE:
        raise UnreadableImageError(
            f"{name} is only {width} x {height} pixels; give one of at least {SMALLEST_SIDE} on its shorter side"
        )
    if width * height > MOST_PIXELS:
        raise UnreadableImageError(
            f"{name} has {width} x {height} pixels, more than {MOST_PIXELS // 10**6} megapixels; "
            "export it at a lower resolution"
        )
    if max(width, height) > LONGEST_SHAPE * min(width, height):
        raise UnreadableImageError(
            f"{name} is a strip of {width} x {height} pixels, which no photograph of an eye is; export all of it"
        )


def _check_end(corner: npt.NDArray[Any]) -> None:
    """Raise OSError, as Pillow does for other damage, where the last pixels of a JPEG are all filled in: its data
    were cut off, or a part in their middle was lost."""
    if (corner == FILL).all():
        raise OSError(ENDS_EARLY)


def _read_picture(file: Path | io.BytesIO, name: str, enough: int | None) -> Frame:
    try:
        image = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(
            f"{name} has more than {MOST_PIXELS // 10**6} megapixels; export it at a lower resolution"
        ) from error
    with image:
        _check_size(name, *image.size)
        width, height = image.size
        if enough and is_reduced(max(width, height), enough):
            times = max(width, height) // enough
            image.draft(None, (width // times, height // times))  # not below this; only JPEG can
        reduced = image.size != (width, height)
        image.load()
        if image.format in ("JPEG", "MPO"):
            side = 2 if reduced else 4  # the last block of pixels may have become as small as that
            corner = image.crop((image.width - side, image.height - side, *image.size))
            _check_end(np.asarray(corner.convert("RGB")))
        time, was_on_its_side = _upright(image)
        whole = (width, height) if was_on_its_side else (height, width)
        source = str(file) if isinstance(file, Path) else name
        return Frame(_rgb(image), time=time, source=source, whole=whole if reduced else None)


def _upright(image: Image.Image) -> tuple[datetime | None, bool]:
    """Apply the EXIF orientation in place; returns the time of the capture where EXIF tells it, and whether height
    and width changed places."""
    was_on_its_side = False
    try:
        was_on_its_side = image.getexif().get(EXIF_ORIENTATION) in ON_ITS_SIDE
        ImageOps.exif_transpose(image, in_place=True)
        exif = image.getexif()
        time = _time(str(exif.get_ifd(EXIF_IFD).get(EXIF_ORIGINAL) or exif.get(EXIF_CHANGED) or ""))
        return time, was_on_its_side
    except Exception:  # broken metadata do not make the picture unreadable
        return None, was_on_its_side


def _rgb(image: Image.Image) -> UInt8Image:
    if image.mode.startswith("I") or image.mode == "F":  # one channel of 16 or 32 bits
        return _grey_to_rgb(_eight_bits(np.asarray(image)))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        black = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, rgba)
    rgb = image if image.mode == "RGB" else image.convert("RGB")  # converting would copy
    pixels: UInt8Image = np.ascontiguousarray(np.asarray(rgb))
    return pixels


def _eight_bits(values: npt.NDArray[Any], ends: tuple[float, float] | None = None) -> UInt8Image:
    """Scale grey values to 0..255: from ``ends`` where they are known, else unsigned ones by a power of two (12
    bits in 16 are common), others linearly."""
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind != "f" and low >= 0:
        low, high = 0.0, float(max(255, (1 << int(high).bit_length()) - 1))
    if ends is not None:
        low, high = ends
    scaled = (values.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    eight: UInt8Image = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return eight


def _grey_to_rgb(grey: UInt8Image) -> UInt8Image:
    pixels: UInt8Image = np.repeat(grey[..., None], 3, axis=2)
    return pixels


def _read_dicom(path: Path, name: str) -> Frame:
    from pydicom import dcmread  # lazily: most runs see no DICOM
    from pydicom.filereader import read_file_meta_info
    from pydicom.pixels import apply_color_lut, pixel_array
    from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGTransferSyntaxes

    syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    if syntax == DeflatedExplicitVRLittleEndian:
        raise UnreadableImageError(  # it would be inflated as a whole before its size is known
            f"{name} is a deflated DICOM file; export it without that compression"
        )
    if syntax and not _is_decodable(syntax):
        raise UnreadableImageError(
            f"{name} is compressed as {syntax.name}, which this installation cannot decode; "
            "export it as JPEG, JPEG 2000 or without compression"
        )
    header = dcmread(path, stop_before_pixels=True)
    if "Rows" not in header or "Columns" not in header:
        raise UnreadableImageError(f"{name} is a DICOM file without an image; export the photograph itself")
    _check_size(name, int(header.Columns), int(header.Rows))
    values = pixel_array(path, index=0)  # YBR is converted to RGB
    if syntax in JPEGTransferSyntaxes:
        _check_end(values[-4:, -4:])
    kind = header.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        pixels = _eight_bits(apply_color_lut(values, header))
    elif values.ndim == 3:
        pixels = values if values.dtype == np.uint8 else _eight_bits(values)
    else:
        pixels = _grey_to_rgb(_dicom_grey(values, header))
        if kind == "MONOCHROME1":  # the smallest value is white
            pixels = 255 - pixels

    def said(key: str) -> str:  # a value that occurs several times says nothing
        return value if isinstance(value := header.get(key), str) else ""

    laterality = EYES.get(said("ImageLaterality") or said("Laterality"), "unknown")
    time = _time(said("AcquisitionDateTime") or said("ContentDate") + said("ContentTime"))
    return Frame(np.ascontiguousarray(pixels), laterality, time, source=str(path))


def _is_decodable(syntax: Any) -> bool:
    """Whether there is a decoder for a transfer syntax of DICOM. What is missing is no damage of the file."""
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:  # for video, and for makers' own
        return False


def _dicom_grey(values: npt.NDArray[Any], header: Any) -> UInt8Image:
    """The one channel of a DICOM image in eight bits, through its tables and its window.

    What a window makes of the values is scaled by what the stored bits can hold, never by the extremes of the
    picture itself: those would make an image of a blank one. A slope and an intercept alone change nothing here.
    """
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None or intercept is None:  # one without the other is not applied
        slope, intercept = 1, 0
    shown_by = ("ModalityLUTSequence", "VOILUTSequence", "WindowCenter")
    if slope > 0 and all(header.get(name) is None for name in shown_by):
        return _eight_bits(values)
    grey = apply_voi_lut(apply_modality_lut(values, header), header)
    if grey.dtype.kind != "f":  # a table's
        return _eight_bits(grey)
    if table := header.get("ModalityLUTSequence"):
        return _eight_bits(grey, (0, 2 ** table[0].LUTDescriptor[2] - 1))
    lowest = -(2 ** (header.BitsStored - 1)) if header.PixelRepresentation else 0
    stored = lowest, lowest + 2**header.BitsStored - 1
    low, high = sorted(float(slope) * end + float(intercept) for end in stored)
    return _eight_bits(grey, (low, high))


def _time(text: str) -> datetime | None:
    """``2024:01:31 12:30:59`` (EXIF) or ``20240131123059.000+0900`` (DICOM), by the clock on the wall, seconds 0
    where they are left away; None for anything else: of a part of a time nothing is guessed."""
    if (found := TIME.fullmatch(text.strip("\0 "))) is None:
        return None
    try:
        time = datetime.strptime("".join(found.groups("00")), "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return time if time.year >= FIRST_YEAR else None
