"""Data sets by name. To add one: a module with a ``DataSet``, a line here, and its split (CONTRIBUTING.md)."""

from __future__ import annotations

from pathlib import Path

from train.datasets.acrima import Acrima
from train.datasets.airogs_subset import AirogsSubset
from train.datasets.base import DataSet, MaskFile, Sample, data_root
from train.datasets.chase_db1 import ChaseDb1
from train.datasets.drishti_gs1 import DrishtiGs1
from train.datasets.idrid import IdridGrading, IdridSegmentation
from train.datasets.octa_faz import OctaFaz
from train.datasets.palm_disc import PalmDisc
from train.datasets.refuge_crops import RefugeCrops
from train.datasets.splits import read_split
from train.errors import DataError

SETS: dict[str, type[DataSet]] = {
    "octa_faz": OctaFaz,
    "idrid_a": IdridSegmentation,
    "idrid_b": IdridGrading,
    "acrima": Acrima,
    "chase_db1": ChaseDb1,
    "drishti_gs1": DrishtiGs1,
    "refuge_crops": RefugeCrops,
    "airogs_subset": AirogsSubset,
    "palm_disc": PalmDisc,
}

__all__ = ["SETS", "DataSet", "MaskFile", "Sample", "data_root", "load_split"]


def load_split(root: Path, set_name: str, split: str) -> list[Sample]:
    """The samples of one set that the committed file puts into ``split`` (train, val or test).

    Raises DataError for an unknown set, or where an image that the file names is absent. Images that the
    file does not name are left out: they belong to no split.
    """
    if set_name not in SETS:
        raise DataError(f"unknown data set {set_name!r}; known: {', '.join(SETS)}")
    wanted = {id for id, (_, part) in read_split(set_name).items() if part == split}
    found = [s for s in SETS[set_name](root).samples() if s.id in wanted]
    if len(found) != len(wanted):
        missing = sorted(wanted - {s.id for s in found})
        raise DataError(f"{set_name}: {len(missing)} images of its {split} part are absent, first {missing[0]!r}")
    return found
