"""From a sample to the exact input that the device would make of it.

The region of interest comes from the device's own code: the field of view for ``disc_finder``, the whole
image for ``faz``, and for ``disc_cup`` and ``glaucoma`` a square of ``ROI_DISC_DIAMETERS`` around the disc:
the reference disc where experts drew one, else the disc that the shipped bundles find.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from device.field import find_field
from device.geometry import Square, UInt8Image, crop, resize
from device.tasks import ROI_DISC_DIAMETERS, TASKS
from train.datasets import Sample


@dataclass(frozen=True)
class Disc:
    """Centre and diameter of an optic disc, in pixels of the photograph."""

    cx: float
    cy: float
    diameter: float


@dataclass(frozen=True)
class Prepared:
    """A decoded sample: image H x W x 3, the task's masks H x W (0/1), and where the device would look."""

    sample: Sample
    image: UInt8Image
    masks: dict[str, UInt8Image]
    square: Square
    disc: Disc | None


def prepare(task: str, sample: Sample) -> Prepared:
    """Decode a sample for a task. Raises DataError where a file is damaged."""
    image = sample.image()
    wanted = {*TASKS[task].classes, "disc"} & sample.mask_files.keys()
    masks = {name: sample.mask_files[name].read() for name in wanted}
    disc = disc_of_mask(masks["disc"]) if "disc" in masks else None
    if task == "glaucoma" and disc is None:
        disc = _found_by_device(image)
    if task == "faz":
        square = Square.whole(*image.shape[:2])
    elif task == "disc_finder":
        square = find_field(image).square
    elif disc is None:
        square = find_field(image).square  # nothing found: as good a place as any, and the label still counts
    else:
        square = Square.around(disc.cx, disc.cy, ROI_DISC_DIAMETERS * disc.diameter)
    return Prepared(sample, image, masks, square, disc)


def device_inputs(task: str, sample: Sample, size: int) -> tuple[UInt8Image, dict[str, UInt8Image]]:
    """The device's input (size x size x 3 ``uint8``) of a sample and its masks (size x size, 0/1)."""
    p = prepare(task, sample)
    masks = {k: (cut_mask(p.masks[k], p.square, size) > 127).astype(np.uint8) for k in p.masks}
    return resize(crop(p.image, p.square), size), masks


def cut_mask(mask: UInt8Image, square: Square, size: int) -> UInt8Image:
    """A 0/1 mask cut and resized like its image: 0..255, the share of each pixel that is inside."""
    return resize(crop(mask, square) * np.uint8(255), size)


def disc_of_mask(mask: UInt8Image) -> Disc | None:
    """Centre and larger extent of a mask's bounding box, or None where it is empty."""
    ys, xs = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(ys):
        return None
    height, width = ys[-1] - ys[0] + 1, xs[-1] - xs[0] + 1
    return Disc((xs[0] + xs[-1] + 1) / 2, (ys[0] + ys[-1] + 1) / 2, float(max(height, width)))


@functools.cache
def _device_pipeline():
    from device.pipeline import Pipeline  # only the classifier's data need it

    return Pipeline.load()


def _found_by_device(image: UInt8Image) -> Disc | None:
    found = _device_pipeline().find_disc(image)
    return None if found is None else Disc(found.cx, found.cy, found.diameter)
