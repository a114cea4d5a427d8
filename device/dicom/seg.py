"""Outlines of disc and cup as a DICOM Segmentation that refers to the photograph."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import VLPhotographicImageStorage

from device.dicom import common
from device.geometry import UInt8Image
from device.record import Capture, Visit

OPTIC_CUP = common.private("optic-cup", "Cup of the optic disc")
STRUCTURES: dict[str, Code] = {"disc": common.OPTIC_DISC, "cup": OPTIC_CUP}
COLOURS = {"disc": (86, 180, 233), "cup": (255, 255, 255)}  # of device.overlay


def segmentation(
    capture: Capture, visit: Visit, image: Dataset, masks: dict[str, UInt8Image], number: int = 1
) -> Segmentation:
    """Masks (H x W of 0 and 255, by structure) over the photograph ``image``.

    A photograph has no frame of reference: masks have the picture's own rows and columns, and each frame names the
    image that it was derived from. ``number`` counts the captures of the visit. Without masks there is nothing to
    write: ask only where there is one.
    """
    names = [name for name in STRUCTURES if name in masks]
    planes = np.stack([masks[name] > 127 for name in names], axis=-1)[None]
    data = Segmentation(
        source_images=[_as_highdicom_wants_it(image)],
        pixel_array=planes.view(np.uint8),  # no copy: two bytes for each pixel of a large photograph
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(i, name, capture, visit) for i, name in enumerate(names, start=1)],
        series_instance_uid=common.uid(visit.uid, "segmentations"),
        series_number=2,
        sop_instance_uid=common.uid(capture.uid, "segmentation"),
        instance_number=number,
        manufacturer=common.MANUFACTURER,
        manufacturer_model_name=common.model(visit),
        software_versions=common.software(visit),
        device_serial_number=common.serial(visit),
        content_label="DISC_AND_CUP",
        content_description="Optic disc and cup, outlined automatically, not reviewed",
        omit_empty_frames=False,
    )
    _refer(data, image)
    for item in (*data.DimensionOrganizationSequence, *data.DimensionIndexSequence):
        item.DimensionOrganizationUID = common.uid(capture.uid, "segmentation", "dimensions")
    data.PatientOrientation = ""
    common.settle(data, visit, common.instant(capture.taken or visit.started), "Outlines of disc and cup")
    return data


def _as_highdicom_wants_it(image: Dataset) -> Dataset:
    """A header of the class of photographs, which highdicom takes as the single pictures that they are.

    By its class, an Ophthalmic Photography Image may have many frames, and then highdicom (0.28) looks for
    functional groups, which that class never has. ``_refer`` puts the true class back into the references.
    """
    source = common.header(image)
    source.SOPClassUID = VLPhotographicImageStorage
    return source


def _refer(data: Dataset, image: Dataset) -> None:
    """Every reference to the photograph names its true class."""
    for part in data.iterall():
        if part.keyword == "ReferencedSOPClassUID":
            part.value = image.SOPClassUID


def _segment(number: int, name: str, capture: Capture, visit: Visit) -> SegmentDescription:
    family = codes.DCM.ArtificialIntelligence
    bundle, version = bundle_of(capture, "disc_cup", visit)
    eye = [common.EYES[capture.laterality]] if capture.laterality in common.EYES else None
    segment = SegmentDescription(
        segment_number=number,
        segment_label={"disc": "Optic disc", "cup": "Cup of the optic disc"}[name],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=STRUCTURES[name],
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(name=bundle, family=family, version=version),
        tracking_uid=common.uid(capture.uid, "outline", name),
        tracking_id=f"{name} {capture.uid}",
        anatomic_regions=None,
        display_color=hd.color.CIELabColor.from_rgb(*COLOURS[name]),
    )
    if eye:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [
            common.coded(eye[0])
        ]
    return segment


def bundle_of(capture: Capture, task: str, visit: Visit) -> tuple[str, str]:
    """Name and version of the bundle that answered for a task; a row has them as ``NAME-VERSION``."""
    name, _, version = capture.result.bundles.get(task, "").partition("-")
    return name or task, version or common.software(visit)
