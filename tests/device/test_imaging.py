"""Files to frames: formats, depths, orientation, limits, damage."""

import os
import struct
import subprocess
import sys
import zlib
from datetime import datetime

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEGBaseline8Bit,
    generate_uid,
)

from device.errors import UnreadableImageError
from device.imaging import MOST_PIXELS, decode, encode_jpeg, read_image

HEIGHT, WIDTH = 160, 200


@pytest.fixture
def picture():
    """Colours that no other orientation, order of channels or lossy step would give."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x + 20, y + 10, (x + y) // 3], axis=-1).astype(np.uint8)


def grey_ramp(top, dtype=np.uint16):
    return np.linspace(0, top, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(dtype)


@pytest.mark.parametrize(
    ("size", "enough", "seen"),
    [
        ((800, 640), 200, (200, 160)),
        ((801, 641), 200, (201, 161)),  # the last pixel stands for one
        ((800, 640), 401, (800, 640)),  # half would be too few
        ((1600, 1280), 50, (200, 160)),  # an eighth is the least
        ((800, 640), None, (800, 640)),
    ],
)
def test_a_jpeg_is_decoded_as_small_as_is_enough(size, enough, seen, tmp_path):
    y, x = np.mgrid[: size[1], : size[0]] // 8
    picture = np.stack([x + 20, y + 10, (x + y) // 3], axis=-1).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=97, subsampling=0)
    for frame in (read_image(tmp_path / "a.jpg", enough), decode((tmp_path / "a.jpg").read_bytes(), "a", enough)):
        assert frame.pixels.shape == (*seen[::-1], 3) and frame.shape == size[::-1]
        assert frame.reduction == round(size[0] / seen[0]) and (frame.whole is None) == (seen == size)
        assert np.abs(frame.pixels.astype(int) - picture[:: frame.reduction, :: frame.reduction]).mean() < 2


def test_a_reduced_jpeg_is_upright_too(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=97, subsampling=0, exif=exif)
    frame = read_image(tmp_path / "a.jpg", WIDTH // 2)
    assert frame.pixels.shape == (WIDTH // 2, HEIGHT // 2, 3) and frame.shape == (WIDTH, HEIGHT)
    assert np.abs(frame.pixels.astype(int) - np.rot90(picture, -1)[::2, ::2]).mean() < 2


def test_other_formats_are_decoded_whole(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    frame = read_image(tmp_path / "a.png", WIDTH // 4)
    assert np.array_equal(frame.pixels, picture) and frame.whole is None


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_lossless_formats_come_back_exactly(picture, tmp_path, suffix):
    Image.fromarray(picture).save(tmp_path / f"a{suffix}")
    frame = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(frame.pixels, picture)
    assert frame.pixels.dtype == np.uint8 and frame.pixels.flags.c_contiguous
    assert (frame.laterality, frame.camera, frame.time) == ("unknown", "file", None)
    assert frame.source.endswith(f"a{suffix}")


def test_the_content_says_what_a_file_is(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg").pixels, picture)


def test_jpeg_orientation_and_time_come_from_exif(picture, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    exif[0x0132] = "2020:01:01 00:00:00"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:31 12:30:59"
    Image.fromarray(picture).save(tmp_path / "a.jpg", quality=97, subsampling=0, exif=exif)
    frame = read_image(str(tmp_path / "a.jpg"))
    assert frame.pixels.shape == (WIDTH, HEIGHT, 3)
    assert np.abs(frame.pixels.astype(int) - np.rot90(picture, -1)).mean() < 2
    assert frame.time == datetime(2024, 1, 31, 12, 30, 59)


def test_broken_exif_costs_no_photograph(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    assert read_image(tmp_path / "a.jpg").pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_mode_becomes_rgb(picture, tmp_path, mode):
    image = Image.fromarray(picture).convert(mode)
    image.save(tmp_path / "a.tif")
    expected = np.asarray(Image.fromarray(np.asarray(image.convert("RGB"))))
    assert np.array_equal(read_image(tmp_path / "a.tif").pixels, expected)


def test_what_is_transparent_becomes_black(picture, tmp_path):
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, :50] = 0
    Image.fromarray(np.dstack([picture, alpha])).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    assert not pixels[:, :50].any() and np.array_equal(pixels[:, 50:], picture[:, 50:])


@pytest.mark.parametrize("top", [255, 4095, 65535])  # 8 and 12 bits in 16, and all 16
def test_sixteen_bits_are_scaled_by_the_bits_in_use(tmp_path, top):
    Image.fromarray(grey_ramp(top)).save(tmp_path / "a.png")
    pixels = read_image(tmp_path / "a.png").pixels
    assert np.abs(pixels[..., 1] - grey_ramp(255.0, np.float64)).max() <= 1
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


def test_floats_are_stretched_and_need_not_be_finite(tmp_path):
    values = grey_ramp(1.0, np.float32)
    values[0, :9] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.ptp(read_image(tmp_path / "a.tif").pixels) == 255


def dicom(path, values, kind="RGB", bits=8, syntax=ExplicitVRLittleEndian, **more):
    """An Ophthalmic Photography file with just what reading needs."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 3 if values.ndim == 3 else 1
    if values.ndim == 3:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation = kind
    data.BitsAllocated = values.dtype.itemsize * 8
    data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits - 1, int(values.dtype.kind == "i")
    data.PixelData = values.tobytes()
    for key, value in more.items():
        setattr(data, key, value)
    data.save_as(path)
    return path


def test_dicom_colour_laterality_and_time(picture, tmp_path):
    path = dicom(tmp_path / "a.jpg", picture, ImageLaterality="L", AcquisitionDateTime="20240131123059.5")
    frame = read_image(path)
    assert np.array_equal(frame.pixels, picture)
    assert frame.laterality == "OS" and frame.time == datetime(2024, 1, 31, 12, 30, 59)
    other = read_image(dicom(path, picture, Laterality="R", ContentDate="20240131", ContentTime="123059"))
    assert other.laterality == "OD" and other.time == frame.time
    assert read_image(dicom(path, picture, Laterality="B")).laterality == "unknown"
    odd = read_image(dicom(path, picture, ImageLaterality=["L", "R"], ContentDate=["20240131", "20240201"]))
    assert odd.laterality == "unknown" and odd.time is None  # odd metadata cost no photograph


AT_NOON = datetime(2024, 1, 31, 12, 30)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024:01:31 12:30:00", AT_NOON),
        ("2024-01-31T12:30:00Z", AT_NOON),
        ("2024:01:31 12:30\0", AT_NOON),
        ("20240131123000.000", AT_NOON),
        ("202401311230", AT_NOON),
        ("202401311230+0900", AT_NOON),
        ("20240131123000.5-0500", AT_NOON),
        ("2024013112", None),
        ("2024013112+0900", None),
        ("20240131", None),
        ("20240131+0900", None),
        ("2024:01:31 9:05:07", None),
        ("2024:01:31 12:30:00 PM", None),
        ("2024:02:31 12:30:00", None),
        ("0000:00:00 00:00:00", None),
        ("0001:01:01 00:00:00", None),
        ("", None),
    ],
)
def test_a_time_is_whole_or_not_told(picture, tmp_path, text, time):
    exif = Image.Exif()
    exif[0x0132] = text
    Image.fromarray(picture).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").time == time
    if ":" not in text:
        assert read_image(dicom(tmp_path / "a.dcm", picture, AcquisitionDateTime=text)).time == time


def test_dicom_ybr_becomes_rgb(picture, tmp_path):
    ybr = np.asarray(Image.fromarray(picture).convert("YCbCr"))
    pixels = read_image(dicom(tmp_path / "a.dcm", ybr, "YBR_FULL")).pixels
    assert np.abs(pixels.astype(int) - picture).max() <= 3


def test_dicom_monochrome_is_windowed_and_the_right_way_round(tmp_path):
    path = tmp_path / "a.dcm"
    ramp = grey_ramp(4095)
    plain = read_image(dicom(path, ramp, "MONOCHROME2", 12)).pixels[..., 0]
    assert np.abs(plain - grey_ramp(255.0, np.float64)).max() <= 1
    inverse = read_image(dicom(path, ramp, "MONOCHROME1", 12)).pixels[..., 0]
    assert np.array_equal(inverse, 255 - plain)
    windowed = read_image(dicom(path, ramp, "MONOCHROME2", 12, WindowCenter=1000, WindowWidth=400)).pixels[..., 0]
    assert not windowed[ramp < 790].any() and (windowed[ramp > 1210] == 255).all()
    signed = read_image(dicom(path, ramp.astype(np.int16) - 2048, "MONOCHROME2", 16)).pixels[..., 0]
    assert np.abs(signed.astype(int) - plain).max() <= 1


@pytest.mark.parametrize("syntax", [HTJ2KLossless, MPEG2MPML, UID("1.2.3.4.5")])
def test_dicom_of_a_compression_without_decoder_is_not_called_damaged(picture, tmp_path, syntax, monkeypatch):
    monkeypatch.setattr(get_decoder(HTJ2KLossless), "_available", {})  # it may be installed here
    path = dicom(tmp_path / "a.dcm", picture, syntax=syntax, PixelData=encapsulate([bytes(90)]))
    with pytest.raises(UnreadableImageError, match=r"cannot decode; export it as JPEG") as caught:
        read_image(path)
    assert f"a.dcm is compressed as {syntax.name}, which" in str(caught.value)


@pytest.mark.parametrize("top", [1, 12])
@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": 1, "RescaleIntercept": 0},
        {"RescaleSlope": 0.5, "RescaleIntercept": -100},
        {"WindowCenter": 128, "WindowWidth": 256},
        {"RescaleSlope": 2, "RescaleIntercept": -7, "WindowCenter": 248.5, "WindowWidth": 511},
    ],
)
def test_dicom_that_is_blank_stays_blank_whatever_its_scale(tmp_path, top, tags):
    """An 8-bit picture is not stretched by its own extremes, as floats of files without a range are."""
    blank = grey_ramp(top, np.uint8)
    pixels = read_image(dicom(tmp_path / "a.dcm", blank, "MONOCHROME2", **tags)).pixels
    assert np.abs(pixels[..., 0].astype(int) - blank).max() <= 1
    ramp = grey_ramp(255, np.uint8)
    pixels = read_image(dicom(tmp_path / "a.dcm", ramp, "MONOCHROME2", **tags)).pixels
    assert np.abs(pixels[..., 0].astype(int) - ramp).max() <= 1


def test_dicom_of_twelve_bits_in_sixteen_is_rescaled_by_the_bits_in_use(tmp_path):
    ramp = grey_ramp(4095)
    path = dicom(tmp_path / "a.dcm", ramp, "MONOCHROME2", 16, RescaleSlope=2, RescaleIntercept=-1024)
    assert np.abs(read_image(path).pixels[..., 0] - grey_ramp(255.0, np.float64)).max() <= 1


def test_dicom_whose_slope_is_negative_is_inverted(tmp_path):
    ramp = grey_ramp(255, np.uint8)
    path = dicom(tmp_path / "a.dcm", ramp, "MONOCHROME2", RescaleSlope=-1, RescaleIntercept=0)
    assert np.array_equal(read_image(path).pixels[..., 0], 255 - ramp)


def test_dicom_with_a_table_of_its_values_is_shown_through_it(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [256, 0, 16], "US"
    table.add_new("LUTData", "US", list(range(0, 65536, 257)))
    ramp = grey_ramp(255, np.uint8)
    for window in ({}, {"WindowCenter": 32768, "WindowWidth": 65536}):
        path = dicom(tmp_path / "a.dcm", ramp, "MONOCHROME2", ModalityLUTSequence=[table], **window)
        assert np.abs(read_image(path).pixels[..., 0].astype(int) - ramp).max() <= 1


def test_dicom_that_holds_no_picture_or_hides_its_size(picture, tmp_path):
    path = dicom(tmp_path / "a.dcm", picture)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match="damaged"):
        read_image(path)
    with pytest.raises(UnreadableImageError, match="deflated"):
        read_image(dicom(path, picture, syntax=DeflatedExplicitVRLittleEndian))
    with pytest.raises(UnreadableImageError, match="megapixels"):
        read_image(dicom(path, picture, Rows=60000, Columns=60000))
    report = Dataset()
    report.file_meta = FileMetaDataset()
    report.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    report.file_meta.MediaStorageSOPInstanceUID = report.SOPInstanceUID = generate_uid()
    report.save_as(path, enforce_file_format=True)
    with pytest.raises(UnreadableImageError, match="without an image"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".bmp"])
def test_a_truncated_file_is_never_half_a_photograph(picture, tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, picture.shape, np.uint8)  # nothing compresses well
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for part in (0.999, 0.6, 0.2, 0.0005):
        path.write_bytes(whole[: max(1, int(len(whole) * part))])
        with pytest.raises(UnreadableImageError, match=r"again|export"):
            read_image(path)


def holes(jpeg):
    """A JPEG with a sector of zeros in its scan, and cut and closed: libjpeg fills in what is missing."""
    half = len(jpeg) // 2
    return jpeg[:half] + bytes(512) + jpeg[half + 512 :], jpeg[:half] + b"\xff\xd9"


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("enough", [None, 640, 320])
def test_a_jpeg_whose_data_end_early_is_never_half_a_photograph(tmp_path, mode, enough):
    picture = np.full((960, 1280, 3), 90, np.uint8)
    picture[::7, ::5] = (170, 70, 30)
    path = tmp_path / "a.jpg"
    Image.fromarray(picture).convert(mode).save(path, quality=95)
    whole = path.read_bytes()
    assert read_image(path, enough).pixels.any()
    for damaged in holes(whole):
        path.write_bytes(damaged)
        Image.open(path).load()  # Pillow says nothing
        with pytest.raises(UnreadableImageError, match=r"damaged or incomplete \(.* end early\); copy or export"):
            read_image(path, enough)
        with pytest.raises(UnreadableImageError, match=r"damaged \(.* end early\); photograph again"):
            decode(damaged, "a", enough)


def test_dicom_whose_jpeg_ends_early_is_refused(picture, tmp_path):
    jpeg = encode_jpeg(picture, 95)
    path = dicom(tmp_path / "a.dcm", picture, syntax=JPEGBaseline8Bit, PixelData=encapsulate([jpeg]))
    assert np.abs(read_image(path).pixels.astype(int) - picture).mean() < 3
    for damaged in holes(jpeg):
        with pytest.raises(UnreadableImageError, match="end early"):
            read_image(dicom(path, picture, syntax=JPEGBaseline8Bit, PixelData=encapsulate([damaged])))


def test_what_is_no_image_is_refused_with_a_way_out(tmp_path):
    cases = {
        "empty.jpg": b"",
        "notes.txt": b"no image, but words",
        "page.html": b"<html><body>404</body></html>" * 9,
        "zeros.png": bytes(5000),
        "a.gif": b"GIF89a" + bytes(900),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImageError, match=f"^{name} .*; .*(copy|export)") as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)
    for path in (tmp_path / "absent.png", tmp_path):
        with pytest.raises(UnreadableImageError, match=r"cannot be opened .*check"):
            read_image(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied_is_said(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    with pytest.raises(UnreadableImageError, match="Permission denied"):
        read_image(tmp_path / "a.png")


def png_header(width, height):
    """A PNG that claims a size and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 5_001), (12_000, 12_000), (60_000, 60_000)])
def test_more_than_50_megapixels_are_refused_by_the_header(tmp_path, size):
    assert size[0] * size[1] > MOST_PIXELS
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with pytest.raises(UnreadableImageError, match="megapixels"):
        read_image(tmp_path / "bomb.png")


def test_less_than_128_pixels_are_refused(tmp_path):
    for size, readable in (((127, 900), False), ((128, 128), True)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        if readable:
            assert read_image(tmp_path / "a.png").pixels.shape == (128, 128, 3)
        else:
            with pytest.raises(UnreadableImageError, match="127 x 900"):
                read_image(tmp_path / "a.png")


def test_a_strip_is_refused_before_a_square_of_it_fills_the_memory(tmp_path):
    for size, readable in (((520, 128), False), ((128, 60_000), False), ((512, 128), True)):
        Image.new("RGB", size).save(tmp_path / "a.png")
        if readable:
            read_image(tmp_path / "a.png")
        else:
            with pytest.raises(UnreadableImageError, match="strip"):
                read_image(tmp_path / "a.png")


def test_pydicom_is_loaded_for_dicom_only(picture, tmp_path):
    Image.fromarray(picture).save(tmp_path / "a.png")
    code = f"from device.imaging import read_image; read_image({str(tmp_path / 'a.png')!r}); import sys; "
    code += "sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
