"""``tenohira samples``: real photographs for a first run, or pictures of the simulated camera."""

from __future__ import annotations

import argparse
from pathlib import Path

from device import samples
from device.errors import SamplesError, UsageError
from device.imaging import read_image

MOST = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="write the pictures here")
    parser.add_argument(
        "--simulated", type=int, metavar="N", help="N pictures of the simulated camera instead; needs no network"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the simulated eyes (default: 0)")


def run(args: argparse.Namespace) -> int:
    """Fetch or render, print a table of the files. Returns 0."""
    if args.simulated is None:
        paths = samples.fetch(args.out)
    else:
        if not 1 <= args.simulated <= MOST:
            raise UsageError(f"--simulated {args.simulated}: give a number of pictures from 1 to {MOST}")
        if args.seed < 0:
            raise UsageError(f"--seed {args.seed}: give a number from 0 on")
        paths = _simulate(args.out, args.simulated, args.seed)
    _print_table(paths)
    return 0


def _simulate(out: Path, count: int, seed: int) -> list[Path]:
    from PIL import Image

    from device.camera.simulated import SimulatedCamera

    paths = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            with SimulatedCamera(seed=seed + number) as camera:
                frame = camera.still()
            path = out / f"simulated_{seed + number:03d}_{frame.laterality}.png"
            Image.fromarray(frame.pixels).save(path)
            paths.append(path)
    except OSError as error:
        raise SamplesError(
            f"pictures cannot be written to {out} ({error.strerror}); give another folder with --out"
        ) from error
    return paths


def _print_table(paths: list[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("picture", overflow="fold")
    for name in ("pixels", "kB"):
        table.add_column(name, justify="right", no_wrap=True)
    for path in paths:
        height, width = read_image(path).pixels.shape[:2]
        table.add_row(str(path), f"{width} x {height}", f"{path.stat().st_size / 1000:.0f}")
    Console(width=120, highlight=False, markup=False).print(table)
