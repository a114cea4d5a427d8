"""One photograph through every stage: field, quality, disc, outlines, measurements, classifier, verdict.

Whatever fails on the way makes the examination ``ungradable`` with a reason; there is no number then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from device import bundle, localization, measurement, segmentation, tiles, verdict
from device.bundle import Manifest, OperatingPoint, TensorSpec
from device.errors import BundleError
from device.field import find_field
from device.frame import Frame
from device.geometry import Int8Image, Square, UInt8Image, mask_in_image, network_input, to_int8
from device.localization import Disc, extent_of
from device.measurement import DiscMeasures, FazMeasures, HaemorrhageMeasures
from device.quality import Quality, assess, is_crop
from device.segmentation import Region
from device.tasks import TASKS
from device.verdict import Outcome

GLAUCOMA = ("disc_finder", "disc_cup", "glaucoma")
FAZ = ("faz",)
HAEMORRHAGE = ("haemorrhage",)
NETWORKS = {"glaucoma": GLAUCOMA, "faz": FAZ, "haemorrhage": HAEMORRHAGE}  # of each task that a user asks for
VIEWS = ("auto", "field", "disc")

# Plausible disc diameters in sides of the field's square, by the view that the caller promised.
DISC_SIZES = {"auto": (localization.SMALLEST, localization.LARGEST), "field": (localization.SMALLEST, 0.45),
              "disc": (0.15, localization.LARGEST)}  # fmt: skip
REPEATS = 2  # times that the region of interest may be moved onto the disc that was outlined in it
SETTLED_RATIO = 0.75  # outlined by expected diameter (or the inverse) above which the region stays
SETTLED_OFFSET = 0.25  # disc diameters between the centres below which it stays
# How the classifier looks at the region of interest: how large it is taken, half a step less and half a step more,
# and in which axes (height, width) each is turned over. One look's logit moves by 0.6 where the region is a step
# larger, and by 0.16 by int8; the mean of four, by half.
LOOKS = ((localization.SIDES**-0.5, ((), (1,))), (localization.SIDES**0.5, ((0,), (0, 1))))

FIELD_TIP = "Give a photograph of the whole field of view, with the dark surround around it."
AIM_TIP = "Photograph again with the optic disc sharp and well inside of the picture."
MOST_COLOUR = 4  # mean difference of the channels of an OCTA image, which is grey but for a mark or two
OCTA_QUALITY = Quality(
    "usable", 0.5, "the quality of OCTA images is not assessed", "Judge motion lines and signal strength by eye."
)


class Runs(Protocol):
    """What the pipeline needs of ``device.runtime.Network``."""

    @property
    def input(self) -> TensorSpec: ...
    @property
    def output(self) -> TensorSpec: ...
    def run(self, x: Int8Image) -> Int8Image: ...


@dataclass(frozen=True)
class Model:
    """A network and the manifest of the bundle that it came from."""

    network: Runs
    manifest: Manifest


class Stopwatch:
    """Milliseconds by stage; a stage that is entered twice adds up. ``now`` tells seconds."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.ms: dict[str, float] = {}
        self._now = now

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = self._now()
        try:
            yield
        finally:
            self.ms[name] = self.ms.get(name, 0.0) + (self._now() - start) * 1e3


@dataclass(frozen=True)
class Examination:
    """What the pipeline says about one photograph. Numbers are None where the outcome is ungradable; outlines
    may then still be there, as evidence of what failed."""

    task: str
    outcome: Outcome
    reasons: tuple[str, ...]
    tip: str
    quality: Quality
    view: str
    laterality: str = "unknown"
    vcdr: float | None = None
    glaucoma_probability: float | None = None
    disc: Disc | None = None
    measures: DiscMeasures | None = None
    faz: FazMeasures | None = None
    haemorrhages: HaemorrhageMeasures | None = None
    masks: Mapping[str, Region] = field(default_factory=dict)
    points: Mapping[str, OperatingPoint] = field(default_factory=dict)

    def in_whole(self, frame: Frame) -> Examination:
        """Pixels of the photograph itself, where ``frame``, which was examined, is a reduction of it: what is kept
        and told. Of a disc only, for the other tasks look at every pixel."""
        if frame.whole is None:
            return self
        n, disc, measures = frame.reduction, self.disc, self.measures
        return replace(
            self,
            disc=disc and Disc(n * disc.cx, n * disc.cy, n * disc.diameter),
            measures=measures
            and replace(
                measures, disc_height_px=n * measures.disc_height_px, disc_width_px=n * measures.disc_width_px
            ),
            masks={name: region.enlarged(n, frame.whole) for name, region in self.masks.items()},
        )


@dataclass(frozen=True)
class Outline:
    """Disc and cup, cleaned, in the region of interest where they were found."""

    square: Square
    disc: Region
    cup: Region
    settled: bool  # the disc lies where the region of interest expects it
    certain: bool  # the network is as sure of it as of the discs that it was validated on

    @property
    def found(self) -> Disc | None:
        """Where the outlined disc is, None where it is empty."""
        return extent_of(self.disc)


class Pipeline:
    """The device's stages on one photograph at a time.

    ``models`` maps a task's name to its network; ``load`` takes them from bundles. ``point`` names the
    operating point to use (default: each bundle's first). Raises UsageError or BundleError where a model
    that decides has no such operating point.
    """

    def __init__(self, models: Mapping[str, Model], point: str | None = None) -> None:
        self.models = dict(models)
        self.points: dict[str, OperatingPoint] = {}
        if "glaucoma" in models:
            decisive = verdict.operating_point(models["glaucoma"].manifest, "glaucoma_probability", point)
            if decisive is None:
                raise BundleError(
                    f"bundle {models['glaucoma'].manifest.name} states no operating point for the glaucoma "
                    "probability, so nothing could be decided; make it again with 'tenohira quantize'"
                )
            self.points["glaucoma_probability"] = decisive
            if "disc_cup" in models and (of_vcdr := verdict.operating_point(models["disc_cup"].manifest, "vcdr")):
                self.points["vcdr"] = of_vcdr

    @classmethod
    def load(
        cls,
        bundles: Path | None = None,
        keys: Path | None = None,
        tasks: tuple[str, ...] = GLAUCOMA,
        threads: int = 1,
        point: str | None = None,
    ) -> Pipeline:
        """Load each task's bundle of the highest version from a folder (default: the shipped ones).

        Raises BundleError where one is missing or refused, RuntimeUnavailableError without a TFLite runtime.
        """
        from device.runtime import open_bundle  # only here: unit tests run without a TFLite runtime

        cv2.setNumThreads(threads)
        models = {}
        for task in tasks:
            found = _newest(bundles or bundle.SHIPPED, task, keys)
            models[task] = Model(open_bundle(found, threads), found.manifest)
        return cls(models, point)

    def at(self, point: str | None) -> Pipeline:
        """The same networks with another operating point (None: each bundle's first). Raises UsageError where a
        model that decides has no such point."""
        return Pipeline(self.models, point)

    @property
    def bundles(self) -> dict[str, str]:
        """Name and version of the bundle behind each task."""
        return {task: f"{m.manifest.name}-{m.manifest.version}" for task, m in self.models.items()}

    def find_disc(self, pixels: UInt8Image, view: str = "auto") -> Disc | None:
        """The disc whose ``roi`` the disc/cup network and the classifier see; None where there is none.

        Training uses this to cut the classifier's regions exactly as the device does.
        """
        clock = Stopwatch()
        disc = self._locate(pixels, find_field(pixels).square, view, clock)
        if disc is None or "disc_cup" not in self.models:
            return disc
        return self._outline(pixels, disc, clock)[0]

    def examine(self, task: str, frame: Frame) -> Examination:
        """``measure_faz`` or ``mark_haemorrhages`` for these tasks; ``screen`` for all that screening needs."""
        if task == "faz":
            return self.measure_faz(frame)
        return self.mark_haemorrhages(frame) if task == "haemorrhage" else self.screen(frame)

    def screen(self, frame: Frame, view: str = "auto", clock: Stopwatch | None = None) -> Examination:
        """Screen one fundus photograph for glaucoma. ``view`` is one of VIEWS. Never raises for what is on it."""
        clock = clock or Stopwatch()
        pixels, shape = frame.pixels, frame.pixels.shape[:2]
        with clock.stage("field"):
            view_field = find_field(pixels)
        with clock.stage("quality"):
            quality = assess(pixels, view_field)
        exam = Examination(
            "glaucoma", Outcome.UNGRADABLE, (), AIM_TIP, quality, view, frame.laterality, points=self.points
        )
        if quality.grade == "reject":
            return replace(exam, reasons=(f"quality rejected: {quality.cause}",), tip=quality.tip)
        disc = self._locate(pixels, view_field.square, view, clock)
        if disc is None:
            return replace(exam, reasons=("no optic disc found",))
        disc, outline = self._outline(pixels, disc, clock)
        with clock.stage("geometry"):
            side = Square.whole(*shape).side if view == "disc" else view_field.square.side
            share = (outline.found or disc).diameter / side
            if view == "auto":
                is_disc = share >= localization.DISC_VIEW[view_field.fills_frame]
                exam = replace(exam, view="disc" if is_disc else "field")
            masks = {name: r for name, r in (("disc", outline.disc), ("cup", outline.cup)) if r.area}
            exam = replace(exam, disc=outline.found, masks=masks)
            faults = measurement.disc_faults(outline.disc, outline.cup, shape)
            low, high = DISC_SIZES[view]
            if outline.found and not low <= share <= high:
                faults.append(f"the outlined disc is {share:.0%} of the field of view wide, which is implausible")
            if outline.found and not outline.settled:
                faults.append("the outline of the optic disc does not settle")
            if outline.found and not outline.certain:
                faults.append("nothing in the picture is an optic disc with any certainty")
            if faults:
                return replace(exam, reasons=tuple(faults))
            whole = segmentation.ellipse(outline.disc)
            masks = {"disc": whole, "cup": segmentation.clip(outline.cup, whole)}
            measures = measurement.measure_disc(masks["disc"], masks["cup"], frame.laterality)
        logit = self._classify(pixels, outline.square, clock)
        chance = verdict.probability(self.models["glaucoma"].manifest, logit, measures.vcdr)
        decision = verdict.decide({"glaucoma_probability": chance, "vcdr": measures.vcdr}, self.points)
        return replace(
            exam,
            outcome=decision.outcome,
            reasons=decision.reasons,
            tip=quality.tip,
            masks=masks,
            vcdr=measures.vcdr,
            glaucoma_probability=chance,
            measures=measures,
        )

    def measure_faz(
        self, frame: Frame, field_mm: float | None = None, clock: Stopwatch | None = None
    ) -> Examination:
        """Measure the foveal avascular zone of an OCTA en-face image that is ``field_mm`` wide.

        There is no referral rule for it: the outcome is ``no_referral`` with that reason, or ungradable.
        """
        clock = clock or Stopwatch()
        pixels, shape = frame.pixels, frame.pixels.shape[:2]
        exam = Examination(
            "faz",
            Outcome.UNGRADABLE,
            (),
            "Export the en-face image again.",
            OCTA_QUALITY,
            "octa",
            frame.laterality,
        )
        with clock.stage("quality"):
            if int(pixels.max()) - int(pixels.min()) < 16:
                return _rejected(exam, "the picture is blank")
            if float(np.ptp(pixels, axis=2).mean()) > MOST_COLOUR:
                return _rejected(exam, "a picture in colour is no OCTA image")
        region, settled = self._zone(pixels, clock)
        with clock.stage("geometry"):
            mm_per_px = None if field_mm is None else field_mm / shape[1]
            exam = replace(exam, masks={"faz": region} if region.area else {})
            faults = measurement.faz_faults(region, shape, mm_per_px)
            if region.area and not settled:
                faults.append("the outline of the foveal avascular zone does not settle")
            if faults:
                return replace(exam, reasons=tuple(faults))
            faz = measurement.measure_faz(region, mm_per_px)
        reason = f"measured only: area {faz.area:.4g} {faz.unit}; there is no referral rule for this zone"
        return replace(exam, outcome=Outcome.NO_REFERRAL, reasons=(reason,), tip="", faz=faz)

    def mark_haemorrhages(self, frame: Frame, clock: Stopwatch | None = None) -> Examination:
        """Mark the haemorrhages of one full-field fundus photograph, in tiles at the photograph's resolution.

        There is no referral rule for them: the outcome is ``no_referral`` with that reason, or ungradable. A crop
        is: only the field of view tells how large a haemorrhage is.
        """
        clock = clock or Stopwatch()
        pixels = frame.pixels
        with clock.stage("field"):
            view_field = find_field(pixels)
        with clock.stage("quality"):
            quality = assess(pixels, view_field)
        exam = Examination("haemorrhage", Outcome.UNGRADABLE, (), FIELD_TIP, quality, "field", frame.laterality)
        if quality.grade == "reject":
            return replace(exam, reasons=(f"quality rejected: {quality.cause}",), tip=quality.tip)
        if is_crop(pixels.shape[:2], view_field):
            return replace(exam, reasons=("the picture is a crop: no edge of the field of view is in it",))
        marked = self._scattered("haemorrhage", pixels, view_field.square, clock)
        with clock.stage("geometry"):
            lit = pixels.shape[0] * pixels.shape[1] * float(np.mean(view_field.mask > 0))
            found = measurement.measure_haemorrhages(marked, lit)
        reason = (
            f"measured only: haemorrhages marked: {found.count}, {found.field_percent:.2g} % of the field of "
            "view; there is no referral rule for them"
        )
        return replace(
            exam,
            outcome=Outcome.NO_REFERRAL,
            reasons=(reason,),
            tip=quality.tip,
            haemorrhages=found,
            masks={"haemorrhage": marked} if found.count else {},
        )

    def _scattered(self, task: str, pixels: UInt8Image, square: Square, clock: Stopwatch) -> Region:
        """What a network marks in the tiles over a field of view, in one mask of the whole photograph: pieces that
        are as certain somewhere as the bundle asks for."""
        shape, spec = pixels.shape[:2], self.models[task].network.output
        least = spec.zero_point + int((self.models[task].manifest.certainty or 0.0) / spec.scale)
        masks = {above: np.zeros(shape, np.uint8) for above in (spec.zero_point, least)}
        for tile, part in tiles.over(square, shape, self.models[task].network.input.shape[1]):
            raw = self._run(task, self._see(task, pixels, tile, clock), clock)[0]
            with clock.stage("geometry"):
                logits, square_of_tile = np.ascontiguousarray(raw[..., 0]), Square(0, 0, tile.side)
                for above, mask in masks.items():
                    seen = mask_in_image(logits, above, square_of_tile, (tile.side, tile.side))
                    mask[part] = seen[tiles.within(tile, part)]
        with clock.stage("geometry"):
            return Region(segmentation.certain_pieces(masks[spec.zero_point], masks[least]), 0, 0)

    def _locate(self, pixels: UInt8Image, field_square: Square, view: str, clock: Stopwatch) -> Disc | None:
        height, width = pixels.shape[:2]
        square = Square.whole(height, width) if view == "disc" else field_square
        logits = self._infer("disc_finder", self._see("disc_finder", pixels, square, clock), clock)[0, ..., 0]
        with clock.stage("geometry"):
            disc = localization.locate(logits, square, self.models["disc_finder"].network.input.shape[1])
        if disc is not None and not (0 <= disc.cx < width and 0 <= disc.cy < height):
            disc = None  # in the black around the picture
        if disc is None and view == "disc":  # the caller knows that it is there
            return Disc(width / 2, height / 2, min(height, width) / 2)
        return disc

    def _outline(self, pixels: UInt8Image, disc: Disc, clock: Stopwatch) -> tuple[Disc, Outline]:
        """Outline disc and cup; move the region of interest and repeat where the disc lies elsewhere in it.

        Returns the disc that the last region was centred on, and what was outlined there.
        """
        spec = self.models["disc_cup"].network.output
        disc = disc.in_steps()
        for repeat in range(1 + REPEATS):
            seen = self._see("disc_cup", pixels, disc.roi(), clock)
            raw = self._run("disc_cup", seen, clock)[0]
            with clock.stage("geometry"):
                both = segmentation.regions(raw, spec.zero_point, disc.roi(), pixels.shape[:2])
                whole = segmentation.clean(both[0])
                cup = segmentation.clean(segmentation.clip(both[1], whole))
                certainty = segmentation.certainty(raw[..., 0], spec.zero_point, spec.scale)
                certain = certainty >= (self.models["disc_cup"].manifest.certainty or 0.0)
                outline = Outline(disc.roi(), whole, cup, settled=False, certain=certain)
                found = outline.found
            if found is None:
                break
            if _settled(disc, found):
                outline = replace(outline, settled=True)
                break
            if repeat < REPEATS:
                disc = found.in_steps()
        return disc, outline

    def _classify(self, pixels: UInt8Image, region: Square, clock: Stopwatch) -> float:
        """The classifier's logit of a region of interest: the mean over its looks at it."""
        logits = []
        for size, turns in LOOKS:
            seen = self._see("glaucoma", pixels, region.scaled(size), clock)[0]
            for axes in turns:
                turned = np.ascontiguousarray(np.flip(seen, axes))[None]
                logits.append(self._infer("glaucoma", turned, clock).item())
        return float(np.mean(logits))

    def _zone(self, pixels: UInt8Image, clock: Stopwatch) -> tuple[Region, bool]:
        """Outline the FAZ: a look at the whole image, then closer looks at the zone until it settles.

        Returns the outline and whether it settled.
        """
        shape, spec = pixels.shape[:2], self.models["faz"].network.output
        square, expected = Square.whole(*shape), None
        for _ in range(2 + REPEATS):
            raw = self._run("faz", self._see("faz", pixels, square, clock), clock)
            with clock.stage("geometry"):
                region = segmentation.regions(_central(raw, spec), spec.zero_point, square, shape)[0]
                region = segmentation.clean(region)
                found = extent_of(region)
            if found is None:
                return region, False
            if expected is not None and _settled(expected, found):
                return region, True
            expected, square = found, found.roi("faz")
        return region, False

    def _see(self, task: str, pixels: UInt8Image, square: Square, clock: Stopwatch) -> Int8Image:
        """The input of a task's network: ``square`` of a photograph."""
        with clock.stage("geometry"):
            return to_int8(network_input(pixels, square, self.models[task].network.input.shape[1]))[None]

    def _run(self, task: str, seen: Int8Image, clock: Stopwatch) -> Int8Image:
        """The raw int8 answer of a task's network."""
        with clock.stage(task):
            return self.models[task].network.run(seen)

    def _infer(self, task: str, seen: Int8Image, clock: Stopwatch) -> npt.NDArray[np.float32]:
        """The same as logits."""
        return _dequantized(self._run(task, seen, clock), self.models[task].network.output)


def internal_error(error: Exception, laterality: str = "unknown") -> Examination:
    """What is said of a photograph in which a fault of ours came up: ungradable, never a number."""
    quality = Quality("reject", 0.0, "internal error", "Please report this image.")
    reason = f"internal error ({type(error).__name__}): the image was not screened"
    return Examination("glaucoma", Outcome.UNGRADABLE, (reason,), quality.tip, quality, "auto", laterality)


def _rejected(exam: Examination, cause: str) -> Examination:
    quality = Quality("reject", 0.0, cause, exam.tip)
    return replace(exam, quality=quality, reasons=(f"quality rejected: {cause}",))


def _dequantized(raw: Int8Image, spec: TensorSpec) -> npt.NDArray[np.float32]:
    return (raw.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


def _settled(expected: Disc, found: Disc) -> bool:
    ratio = found.diameter / expected.diameter
    offset = float(np.hypot(found.cx - expected.cx, found.cy - expected.cy)) / expected.diameter
    return SETTLED_RATIO <= ratio <= 1 / SETTLED_RATIO and offset <= SETTLED_OFFSET


def _central(raw: Int8Image, spec: TensorSpec) -> Int8Image:
    """The FAZ logits (h x w x 1) with every region but the most probable near the middle set to 0."""
    logits = _dequantized(raw[0, ..., 0], spec)
    height, width = logits.shape
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    found = localization.most_probable(logits, np.exp(-2 * (xs**2 + ys**2)).astype(np.float32))
    kept: Int8Image = raw[0].copy()
    if found is not None:
        kept[(logits > 0) & (found[0] == 0)] = spec.zero_point
    return kept


def _newest(folder: Path, task: str, keys: Path | None) -> bundle.Bundle:
    """The bundle of a task with the highest version in ``folder``; files are called TASK...-VERSION.tnh."""
    if task not in TASKS:
        raise BundleError(f"there is no task {task!r}; known: {', '.join(TASKS)}")
    paths = sorted(folder.glob(f"{task}*.tnh"))
    found = [b for b in (bundle.load(path, keys) for path in paths) if b.manifest.task == task]
    if not found:
        raise BundleError(f"no bundle for {task} in {folder}; copy one called {task}-VERSION.tnh into it")
    return max(found, key=lambda b: bundle.order_of(b.manifest.version))
