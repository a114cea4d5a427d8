"""One eye's answer as a Structured Report: TID 1500 (Measurement Report) in a Comprehensive SR.

What could be measured refers to the outline of the optic disc (SEG) and the photograph that it was drawn on. An
eye that could not be graded has a report as well: ungradable, with the reason, and no number at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage

from device.cli import NOTICE
from device.dicom import common
from device.dicom.seg import bundle_of
from device.eyes import EyeResult, Interval
from device.record import Capture, Visit
from device.verdict import Outcome

PROCEDURE = Code("314971001", "SCT", "Camera fundoscopy")
SCREENING_OUTCOME = common.private("outcome", "Screening outcome")
OUTCOMES = {
    Outcome.REFER: common.private("refer", "Refer for examination"),
    Outcome.NO_REFERRAL: common.private("no-referral", "No referral"),
    Outcome.UNGRADABLE: common.private("ungradable", "Ungradable"),
}
REASON = common.private("reason", "Reason for the outcome")
OPERATING_POINT = common.private("operating-point", "Operating point")
VCDR = common.private("vcdr", "Vertical cup-to-disc ratio")
HCDR = common.private("hcdr", "Horizontal cup-to-disc ratio")
AREA_CDR = common.private("area-cdr", "Cup-to-disc area ratio")
RIM_DISC = common.private("rim-disc-ratio", "Rim-to-disc area ratio of a sector")
PROBABILITY = common.private("glaucoma-prob", "Calibrated probability of glaucoma")
GRADED = common.private("graded", "Photographs graded")
SECTORS = {
    "superior": Code("264217000", "SCT", "Superior"),
    "inferior": Code("261089000", "SCT", "Inferior"),
    "nasal": common.private("nasal", "Nasal"),
    "temporal": common.private("temporal", "Temporal"),
    "left": common.private("left-of-picture", "Left side of the picture"),
    "right": common.private("right-of-pic", "Right side of the picture"),
}
RATIO = Code("{ratio}", "UCUM", "ratio")
NO_UNITS = Code("1", "UCUM", "no units")
COUNT = Code("{photographs}", "UCUM", "photographs")


def report(
    result: EyeResult,
    visit: Visit,
    shared: Dataset,
    images: Sequence[Dataset],
    segmentation: Dataset | None = None,
    *,
    number: int = 1,
    at: str = "",
) -> sr.ComprehensiveSR:
    """The report of one eye.

    ``images`` are the objects of its photographs, that of ``result.evidence`` the last; ``segmentation`` the
    outlines on that one. ``at`` is the time of the record (default: the start of the visit).
    """
    gradable = result.outcome is not Outcome.UNGRADABLE
    group = _group(result, visit, images, segmentation if gradable else None)
    for name, value in _said(result):
        group[0].ContentSequence.append(
            sr.TextContentItem(name, value, relationship_type=sr.RelationshipTypeValues.CONTAINS)
        )
    content = sr.MeasurementReport(
        observation_context=_observer(visit),
        procedure_reported=PROCEDURE,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    evidence = [*images, *([segmentation] if gradable and segmentation is not None else [])]
    data = sr.ComprehensiveSR(
        evidence=evidence or [_stand_in(visit, shared)],
        content=content[0],
        series_instance_uid=common.uid(visit.uid, "reports"),
        series_number=3,
        sop_instance_uid=common.uid(visit.uid, "report", result.laterality),
        instance_number=number,
        manufacturer=common.MANUFACTURER,
        manufacturer_model_name=common.model(visit),
        software_versions=common.software(visit),
        device_serial_number=common.serial(visit),
        is_complete=True,
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    if not evidence:
        del data.CurrentRequestedProcedureEvidenceSequence
    common.settle(
        data, visit, common.instant(at or visit.started), "Measurements of disc and cup, screening outcome"
    )
    return data


def _stand_in(visit: Visit, shared: Dataset) -> Dataset:
    """highdicom takes patient and study from an image; an eye that could not be photographed has none."""
    data = common.begin(VLPhotographicImageStorage, common.uid(visit.uid, "none"), ExplicitVRLittleEndian, shared)
    data.SeriesInstanceUID, data.Modality = common.uid(visit.uid, "none"), "XC"
    return data


def _group(
    result: EyeResult, visit: Visit, images: Sequence[Dataset], segmentation: Dataset | None
) -> sr.MeasurementsAndQualitativeEvaluations | sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    about = {
        "tracking_identifier": sr.TrackingIdentifier(
            uid=common.uid(visit.uid, "findings", result.laterality), identifier=f"{result.laterality} optic disc"
        ),
        "finding_type": common.OPTIC_DISC,
        "finding_sites": [_site(result)],
        "qualitative_evaluations": [sr.QualitativeEvaluation(SCREENING_OUTCOME, OUTCOMES[_outcome(result)])],
        "measurements": _measurements(result, visit) or None,
    }
    if segmentation is None:
        sources = [sr.SourceImageForMeasurementGroup(i.SOPClassUID, i.SOPInstanceUID) for i in images]
        return sr.MeasurementsAndQualitativeEvaluations(source_images=sources or None, **about)
    image = images[-1]
    region = sr.ReferencedSegmentationFrame(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        frame_number=1,
        segment_number=1,
        source_image=sr.SourceImageForSegmentation(image.SOPClassUID, image.SOPInstanceUID),
    )
    del (
        region[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    )  # the segment's number says it all; PS3.3 allows one of both
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_segment=region, **about)


def _outcome(result: EyeResult) -> Outcome:
    return result.outcome or Outcome.UNGRADABLE


def _site(result: EyeResult, sector: str | None = None) -> sr.FindingSite:
    return sr.FindingSite(
        common.OPTIC_DISC,
        laterality=common.EYES.get(result.laterality),
        topographical_modifier=SECTORS[sector] if sector else None,
    )


def _measurements(result: EyeResult, visit: Visit) -> list[sr.Measurement]:
    capture = result.evidence
    if result.outcome is Outcome.UNGRADABLE or capture is None:
        return []
    outlines, classifier = (_algorithm(capture, task, visit) for task in ("disc_cup", "glaucoma"))
    found = [
        *_interval(VCDR, result.vcdr, RATIO, outlines),
        *_interval(PROBABILITY, result.glaucoma_probability, NO_UNITS, classifier),
    ]
    measured = capture.result.measurements
    for name, key in ((HCDR, "hcdr"), (AREA_CDR, "area_cdr")):
        if (value := measured.get(key)) is not None:
            found.append(sr.Measurement(name, round(value, 4), RATIO, algorithm_id=outlines))
    for sector, value in measured.get("rim_disc_ratio", {}).items():
        site = [_site(result, sector)]
        found.append(sr.Measurement(RIM_DISC, round(value, 4), RATIO, algorithm_id=outlines, finding_sites=site))
    found.append(sr.Measurement(GRADED, result.graded, COUNT))
    return found


def _interval(
    name: Code, interval: Interval | None, unit: Code, algorithm: sr.AlgorithmIdentification
) -> list[sr.Measurement]:
    """The value; with several photographs the median, the lowest and the highest, each said to be that."""
    if interval is None:
        return []
    if interval.n == 1:
        return [sr.Measurement(name, round(interval.value, 4), unit, algorithm_id=algorithm)]
    parts = (
        (interval.value, codes.SCT.Median),
        (interval.low, codes.SCT.Minimum),
        (interval.high, codes.SCT.Maximum),
    )
    return [
        sr.Measurement(name, round(value, 4), unit, algorithm_id=algorithm, derivation=how) for value, how in parts
    ]


def _algorithm(capture: Capture, task: str, visit: Visit) -> sr.AlgorithmIdentification:
    name, version = bundle_of(capture, task, visit)
    return sr.AlgorithmIdentification(name=name, version=version)


def _said(result: EyeResult) -> list[tuple[Code, str]]:
    """Sentences of the report: why, at which operating point, and what this is not."""
    said = [(REASON, reason) for reason in result.reasons]
    points = result.evidence.result.operating_points if result.evidence else {}
    if result.outcome is not Outcome.UNGRADABLE:
        said += [(OPERATING_POINT, _point(quantity, point)) for quantity, point in points.items()]
    return [*said, (codes.DCM.Comment, NOTICE)]


def _point(quantity: str, point: dict[str, object]) -> str:
    parts = [f"{quantity.replace('_', ' ')}: {point.get('name')}"]
    parts += [f"{key} {point[key]}" for key in ("threshold", "sensitivity", "specificity") if key in point]
    if point.get("measured_on"):
        parts.append(f"measured on {point['measured_on']}")
    return "; ".join(parts)


def _observer(visit: Visit) -> sr.ObservationContext:
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=common.uid(visit.uid, "device"),
        name=common.text(visit.device) or "tenohira",
        manufacturer_name=common.MANUFACTURER,
        model_name=common.model(visit),
        serial_number=common.serial(visit),
    )
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )
