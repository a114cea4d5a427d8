"""``tenohira selftest``: can this instrument be trusted today?"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import platform
from pathlib import Path

import msgspec

from device import __version__, bundle, selftest
from device.selftest import Check

LIBRARIES = ("ai-edge-litert", "tflite-runtime", "numpy", "opencv-python-headless", "pillow", "picamera2")
MARKS = {True: "ok", False: "FAIL", None: "-"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.epilog = f"exit codes: 0 no check has failed, 1 one has. {parser.epilog or ''}"
    parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the records")
    parser.add_argument(
        "--camera", metavar="SPEC", help="picamera2, replay:PATH or simulated; not while the service has it open"
    )
    parser.add_argument(
        "--light", metavar="SPEC", help="gpio:preview=17,flash=27,button=22; not while the service has it open"
    )
    parser.add_argument(
        "--bundles", type=Path, metavar="DIR", help="folder of bundles (default: the shipped ones)"
    )
    parser.add_argument(
        "--keys", type=Path, metavar="DIR", help="folder of trusted keys (default: the shipped ones)"
    )
    parser.add_argument(
        "--software", action="store_true", help="only what an installation must pass: models and storage"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print every check. Returns 0 where none failed, else 1."""
    if args.software:
        checks = selftest.software(args.bundles, args.keys, args.store)
    else:
        checks = selftest.run(args.bundles, args.keys, args.store, args.camera, light=args.light)
    ok = selftest.passed(checks)
    if args.json:
        report = {
            "software": __version__, "ok": ok, "checks": checks,
            "versions": _versions(), "bundles": _bundles(args.bundles or bundle.SHIPPED),
        }  # fmt: skip
        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        print("\n".join(_lines(checks)))
        print("self-test passed" if ok else "self-test FAILED: do what the arrows say, then run it again")
    return 0 if ok else 1


def _versions() -> dict[str, str]:
    """Of what an answer depends on; a library that is not installed is left out."""
    found = {"tenohira": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _bundles(folder: Path) -> dict[str, str]:
    """File names and their SHA-256."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.glob(f"*{bundle.SUFFIX}"))}


def _lines(checks: list[Check]) -> list[str]:
    """One line a check, and one for its tip."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{MARKS[check.ok]:<5} {check.name:<{width}}  {check.said}")
        if check.tip:
            lines.append(f"{'':<5} {'':<{width}}  -> {check.tip}")
    return lines
