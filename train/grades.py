"""How the photographs of each set are graded: ``python -m train.grades --data ROOT [--part val]``.

Prints, by set, how many are good, usable and rejected, and of what the last two are accused. Landmarks are set on
the training and validation parts; the whole sets are for the record.
"""

from __future__ import annotations

import argparse
from collections import Counter

from device.field import find_field
from device.quality import assess
from train.datasets import SETS, data_root, load_split

PARTS = ("train", "val", "test")


def main() -> None:
    """Print one line a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="data root (default: TENOHIRA_DATA)")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this part of each set; may be repeated"
    )
    args = parser.parse_args()
    root = data_root(args.data)
    print("| set | photographs | good | usable | reject | causes |\n|---|---|---|---|---|---|")
    for name in (name for name in SETS if name != "octa_faz"):
        graded = []
        for sample in (s for part in args.part or PARTS for s in load_split(root, name, part)):
            pixels = sample.image()
            graded.append(assess(pixels, find_field(pixels)))
        grades = Counter(q.grade for q in graded)
        causes = Counter(f"{q.cause} ({q.grade})" for q in graded if q.cause)
        told = ", ".join(f"{cause} {n}" for cause, n in causes.most_common())
        print(f"| {name} | {len(graded)} | {grades['good']} | {grades['usable']} | {grades['reject']} | {told} |")


if __name__ == "__main__":
    main()
