"""From a sample to the exact input that the device would make of it.

The region of interest comes from the device's own code: the field of view for ``disc_finder``, and for the
others a square of ``ROI_DIAMETERS`` around the disc (or the foveal avascular zone): the reference where experts
drew one, else (labels of glaucoma, photographs that a teacher outlines) the disc that the shipped bundles find.
What is scattered over the photograph is seen in tiles of its field of view (train.tiles).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from device.field import find_field
from device.geometry import Square, UInt8Image, crop, resize
from device.localization import Disc, extent_of
from device.segmentation import Region
from device.tasks import ROI_DIAMETERS, TASKS
from train.datasets import Sample


@dataclass(frozen=True)
class Prepared:
    """A decoded sample: image H x W x 3, the task's masks H x W (0/1), and where the device would look."""

    sample: Sample
    image: UInt8Image
    masks: dict[str, UInt8Image]
    square: Square
    target: Disc | None


def prepare(task: str, sample: Sample) -> Prepared:
    """Decode a sample for a task. Raises DataError where a file is damaged."""
    image = sample.image()
    wanted = {*TASKS[task].classes, "disc"}
    masks = {name: sample.mask_files[name].read() for name in wanted & sample.mask_files.keys()}
    masks |= {name: np.zeros(image.shape[:2], np.uint8) for name in wanted.intersection(sample.absent)}
    if TASKS[task].scattered:
        return Prepared(sample, image, masks, find_field(image).square, None)
    outlined = masks.get("faz" if task == "faz" else "disc")
    target = None if outlined is None else extent_of(Region(outlined, 0, 0))
    if outlined is None and task in ("glaucoma", "disc_cup"):
        target = _device_pipeline().find_disc(image)
    if task == "disc_finder" or target is None:  # nothing there: as good a place as any, the label still counts
        square = find_field(image).square
    else:
        square = Square.around(target.cx, target.cy, ROI_DIAMETERS[task] * target.diameter)
    return Prepared(sample, image, masks, square, target)


def device_inputs(task: str, sample: Sample, size: int) -> tuple[UInt8Image, dict[str, UInt8Image]]:
    """The device's input (size x size x 3 ``uint8``) of a sample and its masks (size x size, 0/1)."""
    p = prepare(task, sample)
    masks = {k: (cut_mask(p.masks[k], p.square, size) > 127).astype(np.uint8) for k in p.masks}
    return resize(crop(p.image, p.square), size), masks


def cut_mask(mask: UInt8Image, square: Square, size: int) -> UInt8Image:
    """A 0/1 mask cut and resized like its image: 0..255, the share of each pixel that is inside."""
    return resize(crop(mask, square) * np.uint8(255), size)


@functools.cache
def _device_pipeline():
    from device.pipeline import Pipeline  # only the classifier's data need it

    return Pipeline.load(tasks=("disc_finder", "disc_cup"))
