"""One contract for every data set: images ``uint8`` H x W x 3 RGB, masks ``uint8`` H x W of 0 and 1."""

from __future__ import annotations

import abc
import csv
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from device.geometry import UInt8Image
from train.errors import DataError

SAME_EYE = Path(__file__).resolve().parents[1] / "splits" / "same_eye.csv"


@dataclass(frozen=True)
class MaskFile:
    """Where one mask lies, and which grey (or palette) values of the file count as inside."""

    path: Path
    low: int = 128
    high: int = 255
    values: tuple[int, ...] = (0, 255)  # every value that an undamaged file may hold

    def read(self) -> UInt8Image:
        """H x W ``uint8`` of 0 and 1. Raises DataError where the file is absent or cannot be decoded."""
        raw = self.raw()
        return ((raw >= self.low) & (raw <= self.high)).astype(np.uint8)

    def raw(self) -> UInt8Image:
        """The file's own values, H x W (bilevel files as 0 and 255)."""
        with _open(self.path) as picture:
            if picture.mode == "P":
                return np.asarray(picture)
            return np.asarray(picture.convert("L"))


@dataclass(frozen=True)
class Sample:
    """One image with what is known about it. ``group`` never crosses a split: patient, child, eye, or the
    image itself where the set carries no ids. A structure that is neither in ``mask_files`` nor ``absent`` was
    not looked for."""

    set: str
    id: str
    group: str
    path: Path
    mask_files: dict[str, MaskFile] = field(default_factory=dict)
    labels: dict[str, float | str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()  # structures that were looked for and are not there
    stratum: str = ""  # splits keep the shares of these
    official: str = ""  # the split that the publishers fixed, where they did

    def image(self) -> UInt8Image:
        """H x W x 3 RGB. Raises DataError where the file is absent or damaged."""
        with _open(self.path) as picture:
            return np.asarray(picture.convert("RGB"))

    def masks(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Masks by name (disc, cup, faz, vessels, haemorrhage ...), H x W of 0 and 1."""
        return {name: mask.read() for name, mask in self.mask_files.items()}


class DataSet(abc.ABC):
    """An adapter: knows the files of one set, where a user obtains it, and what its terms allow."""

    name: str  # also the folder below the data root
    citation: str
    terms: str
    obtain: str
    expected: int  # images in the copy that the committed splits were made from
    sizes: frozenset[tuple[int, int]] = frozenset()  # (width, height) that occur; empty: any

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.folder = self.root / self.name
        if not self.folder.is_dir():
            raise DataError(f"data set {self.name!r} is not in the data root: {self.obtain}")

    @abc.abstractmethod
    def samples(self) -> list[Sample]:
        """Every image, sorted by id, without decoding anything."""


def same_eye_groups(set_name: str) -> dict[str, str]:
    """Group name of each image that shows the same eye as another of the set, where no ids say so.

    ``train/splits/same_eye.csv`` lists the pairs: neighbours in number whose locally normalized green disc
    regions (2 disc diameters, 48 px, best of 5 x 5 shifts) correlate by 0.75 or more, and look-alikes above
    0.9 at any distance, looked at by eye; without a correlation: matched by SIFT features and looked at. Too many
    pairs cost nothing; a missed one would leak. Those that were found too late are in ``crossing.csv``.
    """
    group: dict[str, str] = {}
    with open(SAME_EYE, newline="") as file:
        for row in csv.DictReader(file):
            if row["set"] == set_name:
                a, b = group.get(row["a"], row["a"]), group.get(row["b"], row["b"])
                group |= {row["a"]: a, row["b"]: a}
                group |= {id: a for id, name in group.items() if name == b}
    return group


def data_root(given: str | os.PathLike[str] | None = None) -> Path:
    """The data root: the argument, or the variable TENOHIRA_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    if given and not Path(given).is_dir():  # a mistyped root must not become another one
        raise DataError(f"{given} is no folder; give the data root, the folder that holds the data sets")
    for root in (given, os.environ.get("TENOHIRA_DATA"), beside):
        if root and Path(root).is_dir():
            return Path(root)
    raise DataError("no data root: give --data FOLDER or set TENOHIRA_DATA (docs: tenohira data list)")


def _open(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
        picture.load()
        return picture
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read ({error}); copy the data set again") from error
