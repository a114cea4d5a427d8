"""Is the copy of a data set whole? Every file is decoded, and compared with what the adapter promises."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from train.datasets.base import DataSet, MaskFile, Sample
from train.datasets.splits import read_split
from train.errors import DataError

PICTURES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}
Watch = Callable[[Sequence[Sample]], Iterable[Sample]]


@dataclass(frozen=True)
class Report:
    """What was found of one set. ``problems`` are sentences that begin with the file; ``extra`` names pictures
    that no split holds, which is no problem: they are passed over."""

    images: int
    masks: int
    problems: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def listed(data_set: DataSet) -> list[Sample]:
    """The set's samples. Raises DataError where the lists that come with it are absent or damaged."""
    try:
        return data_set.samples()
    except (OSError, LookupError, ValueError) as error:
        raise DataError(
            f"the lists of {data_set.name} cannot be read ({error}); copy the data set again"
        ) from error


def check(data_set: DataSet, watch: Watch = iter) -> Report:
    """Decode every image and mask of a set. ``watch`` sees the samples pass (a progress bar). Never raises for
    what is wrong with the files."""
    try:
        samples = listed(data_set)
    except DataError as error:
        return Report(0, 0, (str(error),))
    problems = [problem for sample in watch(samples) for problem in _faults(sample, data_set)]
    masks = {m.path for s in samples for m in s.mask_files.values()}
    there = sum(s.path.is_file() for s in samples)
    try:
        split = read_split(data_set.name).keys()
    except FileNotFoundError:
        problems.append(f"it has no split yet; 'tenohira data split {data_set.name}' makes it")
        return Report(there, len(masks), tuple(problems))
    ids = {s.id for s in samples}
    problems += [f"{id}: the committed split names it, but it is missing" for id in sorted(split - ids)]
    unlisted = _pictures(samples) - {s.path for s in samples} - masks
    extra = [s.path for s in samples if s.id not in split] + sorted(unlisted)
    return Report(there, len(masks), tuple(problems), tuple(_short(p, data_set) for p in extra))


def _faults(sample: Sample, data_set: DataSet) -> Iterator[str]:
    """What is wrong with one image and its masks."""
    shape = None
    try:
        shape = sample.image().shape[:2]
    except DataError as error:
        yield _unreadable(sample.path, data_set, error)
    if shape and data_set.sizes and shape[::-1] not in data_set.sizes:
        wanted = " or ".join(_size(size) for size in sorted(data_set.sizes))
        yield f"{_short(sample.path, data_set)}: is {_size(shape[::-1])}, not {wanted}"
    for mask in {m.path: m for m in sample.mask_files.values()}.values():  # one file may hold several masks
        yield from _mask_faults(mask, shape, data_set)


def _mask_faults(mask: MaskFile, shape: tuple[int, int] | None, data_set: DataSet) -> Iterator[str]:
    name = _short(mask.path, data_set)
    try:
        raw = mask.raw()
    except DataError as error:
        yield _unreadable(mask.path, data_set, error)
        return
    if shape and raw.shape != shape:
        yield f"{name}: is {_size(raw.shape[::-1])}, its image {_size(shape[::-1])}"
    if odd := sorted({int(v) for v in np.unique(raw)} - set(mask.values)):
        allowed = ", ".join(map(str, mask.values))
        yield f"{name}: holds {', '.join(map(str, odd[:5]))}{' ...' if odd[5:] else ''}; only {allowed} may occur"


def _unreadable(path: Path, data_set: DataSet, error: DataError) -> str:
    cause = "" if error.__cause__ is None else f" ({error.__cause__})"
    return f"{_short(path, data_set)}: " + (f"cannot be decoded{cause}" if path.is_file() else "is missing")


def _pictures(samples: Sequence[Sample]) -> set[Path]:
    """Every picture in the folders that hold the set's images."""
    folders = {s.path.parent for s in samples}
    return {p for folder in folders for p in folder.glob("*") if p.suffix.lower() in PICTURES}


def _short(path: Path, data_set: DataSet) -> str:
    return path.relative_to(data_set.root).as_posix()


def _size(size: tuple[int, ...]) -> str:
    return f"{size[0]} x {size[1]}"
