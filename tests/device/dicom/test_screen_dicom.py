"""``tenohira screen --dicom``: objects of files, valid, and true to what the files say."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    OphthalmicPhotography8BitImageStorage,
    SecondaryCaptureImageStorage,
    VLPhotographicImageStorage,
    generate_uid,
)

from device import cli, pipeline
from device.dicom import common, write
from device.imaging import read_image
from device.pipeline import Pipeline
from device.quality import Quality
from tests.device.dicom.test_objects import content, encoded, values
from tests.device.eye import CUP_GREEN, DISC_GREEN, ColourNetwork, build, paint, point


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setattr(pipeline, "assess", lambda pixels, field: Quality("good", 1.0, "", ""))
    monkeypatch.setattr(Pipeline, "load", classmethod(lambda cls, *_: build(logit=1.0)))


def screen(paths, out, *options) -> list[dict]:
    assert cli.main(["screen", *map(str, paths), "--out", str(out), "--json", "--dicom", *options]) == 0
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def jpeg(path: Path, **options) -> Path:
    Image.fromarray(paint()).save(path, "JPEG", quality=92, **options)
    return path


def image_object(
    path: Path, sop_class=SecondaryCaptureImageStorage, syntax=ExplicitVRLittleEndian, **more
) -> Path:
    """A DICOM image of another maker."""
    meta = common.meta(sop_class, generate_uid(), syntax)
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.Modality, data.PatientID, data.StudyDate, data.ImageLaterality = "OP", "4711", "20240131", "L"
    pixels = paint()
    data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = *pixels.shape, 0
    data.PhotometricInterpretation = "RGB"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = pixels.tobytes()
    for keyword, value in more.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(path)
    return path


def test_a_jpeg_becomes_photograph_outlines_and_report(tmp_path, verify):
    source = jpeg(tmp_path / "a.jpg")
    (row,) = screen([source], tmp_path / "out", "--eye", "OD")
    assert row["dicom"] == {"photograph": "dicom/a.OP.dcm", "segmentation": "dicom/a.SEG.dcm",
                            "report": "dicom/a.SR.dcm"}  # fmt: skip
    assert row["laterality"] == "OD" and "nasal" in row["measurements"]["rim_disc_ratio"]
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    photograph, outlines, report = map(dcmread, paths)
    assert photograph.SOPClassUID == OphthalmicPhotography8BitImageStorage
    frame = read_image(paths[0])
    assert frame.laterality == "OD" and np.array_equal(frame.pixels, read_image(source).pixels)
    assert photograph.ImageComments.startswith("time of the photograph not known")
    assert photograph.AcquisitionDeviceTypeCodeSequence[0].CodeValue == "unknown-camera"
    assert values(report, "NUM", "Vertical cup-to-disc ratio") == [row["vcdr"]]
    assert values(report, "TEXT", "Reason for the outcome") == row["reasons"]
    assert outlines.StudyInstanceUID == report.StudyInstanceUID == photograph.StudyInstanceUID


def test_the_same_file_and_answer_give_the_same_objects_wherever_they_lie(tmp_path):
    source = jpeg(tmp_path / "a.jpg")
    (tmp_path / "copies").mkdir()
    copy = Path(shutil.copy2(source, tmp_path / "copies" / "b.jpg"))
    (first,), (again,) = (
        screen([path], tmp_path / out, "--eye", "OD") for path, out in ((source, "1"), (copy, "2"))
    )
    found = [[(tmp_path / out / p).read_bytes() for p in row["dicom"].values()]
             for out, row in (("1", first), ("2", again))]  # fmt: skip
    assert found[0] == found[1] and len({*found[0]}) == 3


def instances(out: Path, source: Path, *options) -> dict[str, str]:
    """SOP Instance UIDs of what is written for a file, by kind."""
    (row,) = screen([source], out, *options)
    found = {kind: dcmread(out / path) for kind, path in row["dicom"].items()}
    assert len({d.StudyInstanceUID for d in found.values()}) == 1
    return {kind: d.SOPInstanceUID for kind, d in found.items()}


def test_another_eye_gives_other_objects(tmp_path):
    source = jpeg(tmp_path / "a.jpg")
    eyes = [instances(tmp_path / "out", source, *eye) for eye in (["--eye", "OD"], ["--eye", "OS"], [])]
    assert len({uid for found in eyes for uid in found.values()}) == 9


@pytest.mark.parametrize("kind", ["jpeg", "dicom"])
def test_another_answer_gives_other_outlines_and_another_report_of_the_same_photograph(
    tmp_path, monkeypatch, kind
):
    source = jpeg(tmp_path / "a.jpg") if kind == "jpeg" else image_object(tmp_path / "a.dcm")
    first = instances(tmp_path / "out", source)
    assert instances(tmp_path / "out", source, "--view", "field") == first  # which was found out before
    newer = build(logit=1.0)
    model = newer.models["glaucoma"]
    newer.models["glaucoma"] = replace(model, manifest=msgspec.structs.replace(model.manifest, version="0.0.2"))
    machines = [
        build(logit=2.0),
        build(logit=1.0, points=(point("glaucoma_probability", 0.4, "sensitive"),)),
        build(logit=1.0, outliner=ColourNetwork(DISC_GREEN, CUP_GREEN - 20)),
        newer,
    ]
    found = [first]
    for machine in machines:
        monkeypatch.setattr(Pipeline, "load", classmethod(lambda cls, *_, m=machine: m))
        found.append(instances(tmp_path / "out", source))
    assert {f.get("photograph") for f in found} == {first.get("photograph")}
    for made in ("segmentation", "report"):
        assert len({f[made] for f in found}) == 5


def test_time_of_the_capture_comes_from_exif_and_nothing_else_does(tmp_path, verify):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2024:01:31 12:30:59"
    exif[0x013B] = "A Person"
    (row,) = screen([jpeg(tmp_path / "a.jpg", exif=exif)], tmp_path / "out", "--eye", "OS")
    path = tmp_path / "out" / row["dicom"]["photograph"]
    verify([path])
    data = dcmread(path)
    assert data.AcquisitionDateTime.startswith("20240131123059") and data.StudyDate == "20240131"
    assert "not known" not in data.ImageComments and b"A Person" not in path.read_bytes()
    assert data.PatientID.startswith("FILE-") and str(data.PatientName) == ""


def test_a_turned_jpeg_is_stored_upright_as_it_was_screened(tmp_path, verify):
    exif = Image.Exif()
    exif[0x0112] = 6
    source = jpeg(tmp_path / "a.jpg", exif=exif)
    (row,) = screen([source], tmp_path / "out", "--eye", "OS")
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    assert np.array_equal(read_image(paths[0]).pixels, read_image(source).pixels)


def test_without_an_eye_nothing_is_guessed(tmp_path, verify):
    Image.fromarray(paint()).save(tmp_path / "a.png")
    (row,) = screen([tmp_path / "a.png"], tmp_path / "out")
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    photograph, _, report = map(dcmread, paths)
    assert photograph.SOPClassUID == VLPhotographicImageStorage and photograph.LossyImageCompression == "00"
    assert np.array_equal(read_image(paths[0]).pixels, paint())
    assert not values(report, "CODE", "Laterality")
    assert "left-of-picture" in values(report, "CODE", "Topographical modifier")


def test_a_dicom_image_is_referred_to_and_not_copied(tmp_path, verify):
    source = dcmread(image_object(tmp_path / "a.dcm", PatientName="Muster^Eva", StudyDescription="Fundus"))
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out", "--eye", "OD")  # the file knows better
    assert list(row["dicom"]) == ["segmentation", "report"] and row["laterality"] == "OS"
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    for data in map(dcmread, paths):
        assert (data.PatientID, str(data.PatientName)) == ("4711", "Muster^Eva")
        assert data.StudyInstanceUID == source.StudyInstanceUID and data.StudyDate == "20240131"
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
    outlines, report = map(dcmread, paths)
    referred = outlines.SourceImageSequence[0]
    assert referred.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert referred.ReferencedSOPClassUID == SecondaryCaptureImageStorage
    assert source.SOPInstanceUID in {
        c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for c, k, _, _ in content(report) if k == "IMAGE"
    }


@pytest.mark.parametrize("more", [
    {"NumberOfFrames": 1, "sop_class": OphthalmicPhotography8BitImageStorage},
    {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Änne"},
    {"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    {"StudyDate": "2024.01.31", "StudyTime": "12:30"},
    {"FrameOfReferenceUID": "1.2.3", "PixelSpacing": [0.01, 0.01]},
    {"PatientID": None},
])  # fmt: skip
def test_odd_dicom_images_are_no_problem(tmp_path, verify, more):
    image_object(tmp_path / "a.dcm", **more)
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    assert list(row["dicom"]) == ["segmentation", "report"]
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    if name := more.get("PatientName"):
        assert {str(dcmread(p).PatientName) for p in paths} == {name}


@pytest.mark.parametrize(("keyword", "value", "kept"), [
    ("PatientSex", "U", ""), ("PatientSex", "W", ""), ("PatientSex", "m", ""), ("PatientSex", "female", ""),
    ("PatientSex", "O", "O"), ("PatientBirthDate", "19700000", ""), ("PatientBirthDate", "19700231", ""),
    ("PatientBirthDate", "1970 1 2", ""), ("PatientBirthDate", "19700228", "19700228"),
    ("StudyDate", "20241399", ""), ("StudyTime", "250000", ""), ("StudyTime", "1260", ""),
    ("StudyTime", "1230", "1230"), ("StudyTime", "123059.25", "123059.25"),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning")
def test_what_other_makers_say_of_a_person_costs_no_object(tmp_path, verify, keyword, value, kept):
    image_object(tmp_path / "a.dcm", **{keyword: value})
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    assert [str(dcmread(p)[keyword].value) for p in paths] == [kept, kept]
    verify(paths)


@pytest.mark.parametrize(
    "more", [{"SeriesInstanceUID": None}, {"NumberOfFrames": 2, "PixelData": paint().tobytes() * 2}]
)
def test_a_dicom_image_that_cannot_be_referred_to_is_written_in_its_own_study(tmp_path, verify, more):
    source = dcmread(image_object(tmp_path / "a.dcm", **more))
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    assert list(row["dicom"]) == ["photograph", "segmentation", "report"]
    verify(paths)
    for data in map(dcmread, paths):
        assert data.StudyInstanceUID == source.StudyInstanceUID and data.PatientID == "4711"


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_an_empty_identifier_is_none(tmp_path, verify, keyword):
    source = dcmread(image_object(tmp_path / "a.dcm", **{keyword: ""}))
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    assert list(row["dicom"]) == ["photograph", "segmentation", "report"]
    verify(paths)
    objects = [dcmread(p) for p in paths]
    studies = {d.StudyInstanceUID for d in objects}
    assert len(studies) == 1 and "" not in studies
    assert keyword == "StudyInstanceUID" or studies == {source.StudyInstanceUID}
    assert all(d.SOPClassUID and d.SOPInstanceUID and d.SeriesInstanceUID for d in objects)


@pytest.mark.parametrize(("compression", "lossy"), [("jpeg", "01"), ("tiff_lzw", "00"), (None, "00")])
def test_a_tiff_says_whether_it_holds_a_jpeg(tmp_path, verify, compression, lossy):
    Image.fromarray(paint()).save(tmp_path / "a.tif", compression=compression)
    (row,) = screen([tmp_path / "a.tif"], tmp_path / "out")
    path = tmp_path / "out" / row["dicom"]["photograph"]
    verify([path])
    data = dcmread(path)
    assert data.LossyImageCompression == lossy
    assert data.get("LossyImageCompressionMethod") == ("ISO_10918_1" if lossy == "01" else None)


@pytest.mark.parametrize(("syntax", "kind", "stated", "method"), [
    (JPEGBaseline8Bit, "JPEG", None, "ISO_10918_1"),
    (JPEGBaseline8Bit, "JPEG", "00", "ISO_10918_1"),  # which no JPEG can keep
    (JPEG2000, "JPEG2000", None, "ISO_15444_1"),
    (JPEG2000, "JPEG2000", "00", None),
    (JPEG2000Lossless, "JPEG2000", None, None),
    (JPEG2000Lossless, "JPEG2000", "01", "ISO_10918_1"),
])  # fmt: skip
def test_what_a_dicom_image_has_lost_is_stated(tmp_path, verify, syntax, kind, stated, method):
    frame = encoded(Image.fromarray(paint()), kind)
    more = {} if stated is None else {"LossyImageCompression": stated}
    image_object(tmp_path / "a.dcm", syntax=syntax, NumberOfFrames=2, PixelData=encapsulate([frame, frame]),
                 PhotometricInterpretation="YBR_FULL_422" if kind == "JPEG" else "YBR_RCT", **more)  # fmt: skip
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    path = tmp_path / "out" / row["dicom"]["photograph"]
    verify([path])
    data = dcmread(path)
    assert data.LossyImageCompression == ("00" if method is None else "01")
    assert data.get("LossyImageCompressionMethod") == method
    if method:
        assert float(data.LossyImageCompressionRatio) == pytest.approx(paint().size / len(frame), rel=0.1)


def test_what_a_dicom_image_tells_of_earlier_losses_is_kept(tmp_path, verify):
    image_object(tmp_path / "a.dcm", NumberOfFrames=2, PixelData=paint().tobytes() * 2, LossyImageCompression="01",
                 LossyImageCompressionRatio=[10, 20],
                 LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"])  # fmt: skip
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    path = tmp_path / "out" / row["dicom"]["photograph"]
    verify([path])
    data = dcmread(path)
    assert list(data.LossyImageCompressionRatio) == [10, 20]
    assert list(data.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1"]


def test_nobody_has_looked_for_names_in_the_pixels_of_a_file(tmp_path, verify):
    """An Ophthalmic Photography Image must say it: then what harms nobody. The other class need not."""
    for eye, said in ([], None), (["--eye", "OD"], "YES"):
        (row,) = screen([jpeg(tmp_path / "a.jpg")], tmp_path / "out", *eye)
        path = tmp_path / "out" / row["dicom"]["photograph"]
        verify([path])
        assert dcmread(path).get("BurnedInAnnotation") == said


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("stated", "said"), [("YES", "YES"), ("NO", "NO"), ("", None), ("UNKNOWN", None)])
def test_what_a_dicom_image_says_of_names_in_its_pixels_is_kept(tmp_path, verify, known, stated, said):
    more = {} if known else {"ImageLaterality": None}
    image_object(tmp_path / "a.dcm", SeriesInstanceUID=None, BurnedInAnnotation=stated, **more)
    (row,) = screen([tmp_path / "a.dcm"], tmp_path / "out")
    path = tmp_path / "out" / row["dicom"]["photograph"]
    verify([path])
    assert dcmread(path).get("BurnedInAnnotation") == (said or ("YES" if known else None))


def test_what_is_ungradable_has_a_report_that_says_so(tmp_path, verify, monkeypatch):
    monkeypatch.setattr(pipeline, "assess", lambda p, f: Quality("reject", 0.1, "defocus", "Focus again."))
    (row,) = screen([jpeg(tmp_path / "a.jpg")], tmp_path / "out", "--eye", "OD")
    assert list(row["dicom"]) == ["photograph", "report"]
    paths = [tmp_path / "out" / p for p in row["dicom"].values()]
    verify(paths)
    report = dcmread(paths[1])
    assert values(report, "CODE", "Screening outcome") == ["ungradable"]
    assert not [item for item in content(report) if item[1] == "NUM"]


def test_a_fault_in_dicom_costs_no_answer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(write, "of_file", lambda *_: 1 / 0)
    options = ["--out", str(tmp_path / "out"), "--json", "--dicom"]
    assert cli.main(["screen", str(jpeg(tmp_path / "a.jpg")), *options]) == 5
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert row["outcome"] == "refer" and row["dicom"] == {}
    assert "no DICOM objects of" in capsys.readouterr().err


def test_options_that_contradict_each_other(tmp_path, capsys):
    path = str(jpeg(tmp_path / "a.jpg"))
    assert cli.main(["screen", path, "--dicom"]) == 2
    assert cli.main(["screen", path, "--dicom", "--out", str(tmp_path / "o"), "--task", "faz"]) == 2
    assert "say where with --out DIR" in (said := capsys.readouterr().err) and "--task faz" in said


def test_objects_of_an_earlier_run_are_not_screened(tmp_path):
    (tmp_path / "photos").mkdir()
    jpeg(tmp_path / "photos" / "a.jpg")
    out = tmp_path / "photos" / "out"
    screen([tmp_path / "photos"], out, "--eye", "OD")
    assert (out / "dicom" / "a.OP.dcm").exists()
    rows = screen([tmp_path / "photos"], tmp_path / "elsewhere", "--eye", "OD")
    assert [os.path.basename(r["image"]) for r in rows] == ["a.jpg"]
