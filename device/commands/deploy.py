"""``tenohira deploy``: install or update an instrument over SSH, or make a folder to carry to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from device.deployment import MACHINES, PYTHONS, Order, Target, deploy, fetch
from device.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("host", nargs="?", metavar="HOST", help="the instrument, as ssh knows it")
    parser.add_argument("--user", metavar="NAME", help="who logs in there; must be root or may use sudo")
    parser.add_argument("--port", type=int, metavar="N", help="of its SSH server")
    parser.add_argument("--ssh-config", type=Path, metavar="FILE", help="instead of your own ~/.ssh/config")
    parser.add_argument(
        "--wheels",
        type=Path,
        metavar="DIR",
        help="a folder of --fetch-wheels; without it the instrument asks its index",
    )
    parser.add_argument(
        "--camera", metavar="SPEC", help="picamera2, replay:FOLDER or simulated (default: as it is)"
    )
    parser.add_argument("--kiosk", action="store_true", help="show the page on the instrument's touch screen")
    parser.add_argument(
        "--dry-run", action="store_true", help="only look at the instrument and say what would be done"
    )
    parser.add_argument("--rollback", action="store_true", help="back to the version before")
    parser.add_argument(
        "--fetch-wheels", type=Path, metavar="DIR",
        help="make a folder from which an instrument is installed without a network, instead of deploying",
    )  # fmt: skip
    parser.add_argument(
        "--python", default=PYTHONS[-1], metavar="VERSION",
        help="for --fetch-wheels: 3.11 for Raspberry Pi OS 12, 3.13 for 13 (default)",
    )  # fmt: skip
    parser.add_argument(
        "--machine",
        default="aarch64",
        choices=sorted(MACHINES.values()),
        help="for --fetch-wheels (default: aarch64)",
    )


def run(args: argparse.Namespace) -> int:
    """Returns 0 where the instrument is installed and its self-test passed, 1 where a check of it failed."""
    if (args.host is None) == (args.fetch_wheels is None):
        raise UsageError("name a HOST to deploy to, or a folder to fill with --fetch-wheels DIR")
    if args.fetch_wheels is not None:
        wheels = fetch(args.fetch_wheels, args.python, args.machine)
        size = sum(wheel.stat().st_size for wheel in wheels) / 1e6
        print(f"{len(wheels)} wheels, {size:.0f} MB, for Python {args.python} on {args.machine}")
        print(f"carry {args.fetch_wheels} to the instrument and run there: sudo sh service/provision.sh")
        return 0
    if args.wheels is not None and not args.wheels.is_dir():
        raise UsageError(f"there is no folder {args.wheels}; make it with: tenohira deploy --fetch-wheels DIR")
    target = Target(args.host, args.user, args.port, args.ssh_config)
    return deploy(target, Order(args.wheels, args.camera, args.kiosk, args.rollback), args.dry_run)
