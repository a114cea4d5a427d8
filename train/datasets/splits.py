"""Splits are fixed in ``train/splits/*.csv``; this is how they were made, and how they are read.

Groups (patient, child, duplicate pair) never cross. Within each stratum (label, plexus) groups are ordered by
a hash of their name and cut by share, so that the outcome depends on no library's random generator.
"""

from __future__ import annotations

import csv
import functools
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from train.datasets.base import Sample

FOLDER = Path(__file__).resolve().parents[1] / "splits"
PARTS = ("train", "val", "test")
SHARES: dict[str, tuple[float, float, float]] = {  # train, val, test
    "octa_faz": (0.60, 0.15, 0.25),
    "idrid_a": (0.85, 0.15, 0.0),  # of the official training part; the official test part stays
    "idrid_b": (0.85, 0.15, 0.0),
    "acrima": (0.60, 0.15, 0.25),
    "chase_db1": (0.60, 0.15, 0.25),
    "drishti_gs1": (0.56, 0.14, 0.30),
    "refuge_crops": (0.65, 0.15, 0.20),
    "airogs_subset": (0.50, 0.15, 0.35),
    "palm_disc": (0.80, 0.20, 0.0),  # official lists
}


def make_split(samples: Sequence[Sample], shares: tuple[float, float, float]) -> dict[str, str]:
    """Part (train, val, test) of each sample id; groups whole, strata kept, official parts respected.

    An official ``val`` or ``test`` stays what it is. An official ``train`` is divided by ``shares`` into train
    and val, unless the publishers fixed a ``val`` too.
    """
    officials = {s.official for s in samples}
    strata: dict[str, set[str]] = defaultdict(set)
    part_of: dict[str, str] = {}
    for s in samples:
        if s.official in ("val", "test") or (s.official == "train" and "val" in officials):
            # a group that the publishers spread goes to the most protected part: test, then val, then train
            part_of[s.group] = max(s.official, part_of.get(s.group, "train"), key=PARTS.index)
    for s in samples:
        if s.group not in part_of:
            strata[s.stratum].add(s.group)
    for _, groups in sorted(strata.items()):
        groups -= part_of.keys()  # a group of two strata is placed with the first
        ordered = sorted(groups, key=lambda g: hashlib.sha256(g.encode()).hexdigest())
        test = round(len(ordered) * shares[2])
        val = round(len(ordered) * shares[1])
        for i, group in enumerate(ordered):
            part_of[group] = "test" if i < test else "val" if i < test + val else "train"
    return {s.id: part_of[s.group] for s in samples}


def write_split(set_name: str, samples: Sequence[Sample], folder: Path = FOLDER) -> Path:
    """Write ``folder/set_name.csv`` (columns id, group, split). Returns its path."""
    parts = make_split(samples, SHARES[set_name])
    if set_name == "idrid_b":  # an image that is also in part A goes where A put it
        part_a = dict(read_split("idrid_a", folder).values())
        parts = {s.id: part_a.get(s.group, parts[s.id]) for s in samples}
    path = folder / f"{set_name}.csv"
    with open(path, "w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(("id", "group", "split"))
        out.writerows((s.id, s.group, parts[s.id]) for s in sorted(samples, key=lambda s: s.id))
    return path


def read_split(set_name: str, folder: Path = FOLDER) -> dict[str, tuple[str, str]]:
    """(group, part) of each image id, from the committed file."""
    with open(folder / f"{set_name}.csv", newline="") as file:
        return {row["id"]: (row["group"], row["split"]) for row in csv.DictReader(file)}


@functools.cache
def _groups(set_name: str) -> dict[str, str]:
    if not (FOLDER / f"{set_name}.csv").is_file():
        return {}
    return {id: group for id, (group, _) in read_split(set_name).items()}


def group_of(set_name: str, id: str) -> str:
    """The group (patient, child, duplicate pair) of an image; the image itself where the set has no split."""
    return f"{set_name} {_groups(set_name).get(id, id)}"


def fold_of(set_name: str, id: str, folds: int) -> int:
    """Which of so many parts of a set (0 to ``folds`` - 1) an image is in when networks are trained without one of
    them each; groups whole."""
    return int(hashlib.sha256(group_of(set_name, id).encode()).hexdigest(), 16) % folds


def split_sha256(set_name: str) -> str:
    """The committed file's hash, for manifests."""
    return hashlib.sha256((FOLDER / f"{set_name}.csv").read_bytes()).hexdigest()
