"""``tenohira bundle verify|show|sign|keygen``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from device import bundle, signing
from device.bundle import Bundle
from device.errors import BundleError, RuntimeUnavailableError
from device.runtime import open_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("verify", "check signature, hashes, and the golden vectors on the runtime's reference kernels"),
        ("show", "print the model card"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        action.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE", help="default: the shipped ones")
        action.add_argument("--keys", type=Path, metavar="DIR", help="folder of trusted keys")
    text = "replace the signature of bundles"
    action = actions.add_parser("sign", help=text, description=text)
    action.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    action.add_argument("--key", type=Path, required=True, metavar="FILE", help="private key from keygen")
    text = "make a pair of Ed25519 keys: NAME.key to sign with, NAME.pub for the devices' key folder"
    action = actions.add_parser("keygen", help=text, description=text)
    action.add_argument("name", metavar="NAME")
    action.add_argument("--out", type=Path, default=Path(), metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Returns 0, or 2 where a bundle was refused (the others are still looked at)."""
    if args.action == "keygen":
        for path in signing.generate(args.out, args.name):
            print(path)
        return 0
    if args.action == "sign":
        key = signing.read_private_key(args.key)
        for path in args.bundles:
            print(f"signed {bundle.sign(path, key)}")
        return 0
    refused = 0
    paths = args.bundles or sorted(bundle.SHIPPED.glob(f"*{bundle.SUFFIX}"))
    for path in paths:
        try:
            loaded = bundle.load(path, args.keys)
            print(loaded.card if args.action == "show" else _verified(loaded))
        except (BundleError, RuntimeUnavailableError) as error:
            refused += 1
            print(f"tenohira: {error}", file=sys.stderr)
    return 2 if refused else 0


def _verified(loaded: Bundle) -> str:
    """One line about a bundle whose golden vectors are reproduced to the bit. Raises BundleError otherwise."""
    answer = open_bundle(loaded, reference=True).run(loaded.golden_input)
    if not np.array_equal(answer, loaded.golden_output):
        raise BundleError(
            f"{loaded.path.name}: the runtime's reference kernels do not reproduce the golden output; "
            "this machine's TFLite runtime must not be used: install ai-edge-litert again"
        )
    m = loaded.manifest
    return (
        f"ok  {m.name}-{m.version}  {m.task}  {sum(m.operators.values())} int8 operators  "
        f"{len(loaded.model) / 1000:.0f} kB  signed by {loaded.signer}  golden vectors agree"
    )
