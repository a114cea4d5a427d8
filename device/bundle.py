"""Bundles: one file NAME-VERSION.tnh in which a trained network travels to a device.

A zip of ``model.tflite`` (int8 from input to output), ``manifest.json`` with the SHA-256 of every other member,
``manifest.sig`` (Ed25519 over the manifest's bytes), ``MODEL_CARD.md`` and a golden input and output of the
runtime's reference kernels. Nothing is loaded that fails verification.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from nacl.signing import SigningKey

from device import signing
from device.errors import BundleError
from device.geometry import Int8Image

SHIPPED = Path(__file__).with_name("bundles")
SCHEMA = 1
SUFFIX = ".tnh"
MODEL, CARD, GOLDEN_INPUT, GOLDEN_OUTPUT = "model.tflite", "MODEL_CARD.md", "golden_input.npy", "golden_output.npy"
SIGNED = (MODEL, CARD, GOLDEN_INPUT, GOLDEN_OUTPUT)  # by their hashes in the manifest
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
LARGEST_MEMBER = 64 * 2**20  # bytes, unpacked: what claims to be more is damaged or hostile
SAME_TIME = (1980, 1, 1, 0, 0, 0)  # the same content gives the same file


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network's input or output: real value = scale * (stored - zero_point)."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class OperatingPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A referral threshold (refer at or above it) with what was measured there, and on what.

    ``quantity`` is ``glaucoma_probability`` or ``vcdr``.
    """

    name: str
    quantity: str
    threshold: float
    sensitivity: float
    specificity: float
    measured_on: str


class Probability(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """P = sigmoid(logit_scale * logit + vcdr_weight * vcdr + logit_bias); identity by default."""

    logit_scale: float = 1.0
    logit_bias: float = 0.0
    vcdr_weight: float = 0.0


class GateRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One bound of the clinical gate, int8 against float on the validation part: passed where value <= limit.

    ``bound`` is the recipe's key, ``of`` the structure or operating point that it was held against, on so many
    images. The figures of the two networks are None where a bound only compares them.
    """

    bound: str
    of: str
    images: int
    floating: float | None = msgspec.field(name="float")
    int8: float | None
    value: float
    limit: float
    passed: bool


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle says about itself (``docs/bundle-schema.md``)."""

    schema: int
    name: str
    version: str
    task: str
    modality: str
    kind: str  # segmentation | classification
    classes: tuple[str, ...]
    input: TensorSpec
    output: TensorSpec
    operating_points: tuple[OperatingPoint, ...]
    probability: Probability | None
    metrics: dict[str, dict[str, float]]
    data: dict[str, Any]
    recipe: dict[str, Any]
    operators: dict[str, int]
    tools: dict[str, str]
    licence: str
    intended_use: str
    created: str
    members: dict[str, str]  # member -> SHA-256
    # Segmentation: mean logit inside an outline below which nothing was found; haemorrhages: largest of a piece.
    certainty: float | None = None
    gate: tuple[GateRow, ...] = ()  # what int8 cost; empty in bundles from before the gate


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; ``signer`` is the name of the trusted key."""

    manifest: Manifest
    model: bytes
    card: str
    golden_input: Int8Image
    golden_output: Int8Image
    path: Path
    signer: str


def load(path: Path, keys: Path | None = None) -> Bundle:
    """Verify and load a bundle. ``keys`` is a folder of trusted NAME.pub files (default: the shipped ones).

    Raises BundleError with the reason where anything is damaged, missing, too much, unsigned, signed by a key that
    is not trusted, or of another schema.
    """
    path = Path(path)
    members = _unpack(path)
    folder = keys or signing.SHIPPED_KEYS
    if not (trusted := signing.read_public_keys(folder)):
        raise BundleError(f"there is no key (*.pub) in {folder}, so no bundle can be trusted; put one there")
    signer = signing.signer(trusted, members[SIGNATURE], members[MANIFEST])
    if signer is None:
        raise _refused(
            path,
            f"its signature is of none of the trusted keys ({', '.join(trusted)})",
            "put its owner's public key into the key folder, or copy the bundle again",
        )
    return _parse(path, members, signer)


def write(
    path: Path,
    manifest: Manifest,
    model: bytes,
    card: str,
    golden_input: Int8Image,
    golden_output: Int8Image,
    key: SigningKey,
) -> Path:
    """Write and sign a bundle; the members' hashes are filled in. An older file is replaced at once or not at all.

    Raises BundleError where the file cannot be written or would not load.
    """
    members = {
        MODEL: model,
        CARD: card.encode(),
        GOLDEN_INPUT: _npy(golden_input),
        GOLDEN_OUTPUT: _npy(golden_output),
    }
    manifest = msgspec.structs.replace(manifest, members={name: _sha256(data) for name, data in members.items()})
    members[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return _pack(Path(path), members, key)


def order_of(version: str) -> tuple[tuple[int, int | str], ...]:
    """What versions are sorted by: numbers as numbers (0.10 comes after 0.9), and a release after its candidates
    (0.1.0-rc1)."""
    parts = version.replace("-", ".").split(".")
    return (*((2, int(part)) if part.isdecimal() else (0, part) for part in parts), (1, ""))


def sign(path: Path, key: SigningKey) -> Path:
    """Replace the signature of a bundle that is whole, whoever signed it before. Raises BundleError."""
    return _pack(Path(path), _unpack(Path(path)), key)


def _pack(path: Path, members: dict[str, bytes], key: SigningKey) -> Path:
    members = members | {SIGNATURE: key.sign(members[MANIFEST]).signature}
    _parse(path, members, "")  # what could not be loaded is not written
    unfinished = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(members):
                info = zipfile.ZipInfo(name, SAME_TIME)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, members[name])
        os.replace(unfinished, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise BundleError(f"cannot write {path} ({error.strerror}); choose another folder") from error
    return path


def _unpack(path: Path) -> dict[str, bytes]:
    """The members by name: exactly the six that a bundle has, none larger than LARGEST_MEMBER."""
    wanted = {*SIGNED, MANIFEST, SIGNATURE}
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(names) != len(wanted) or set(names) != wanted:
                raise _refused(path, f"it holds {sorted(names)[:8]} instead of {sorted(wanted)}")
            if {info.compress_type for info in archive.infolist()} - {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise _refused(path, "a member is compressed in another way than bundles are")
            if any(info.file_size > LARGEST_MEMBER for info in archive.infolist()):
                raise _refused(path, f"a member is larger than {LARGEST_MEMBER >> 20} MiB")
            return {name: archive.read(name) for name in names}
    except FileNotFoundError as error:
        raise BundleError(f"there is no bundle {path}; check the name, or copy it again") from error
    except OSError as error:
        raise BundleError(f"cannot read the bundle {path} ({error.strerror or error}); copy it again") from error
    # What zipfile raises for damaged archives, encrypted members and unknown compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError) as error:
        raise _refused(path, f"it is damaged ({error})") from error


def _parse(path: Path, members: dict[str, bytes], signer: str) -> Bundle:
    manifest = _manifest(path, members[MANIFEST])
    if set(manifest.members) != set(SIGNED):
        raise _refused(path, f"its manifest vouches for {sorted(manifest.members)}, not for {sorted(SIGNED)}")
    for name in SIGNED:
        if _sha256(members[name]) != manifest.members[name]:
            raise _refused(path, f"{name} is not what its manifest vouches for")
    golden_input = _golden(path, members[GOLDEN_INPUT], manifest.input)
    golden_output = _golden(path, members[GOLDEN_OUTPUT], manifest.output)
    try:
        card = members[CARD].decode()
    except UnicodeDecodeError as error:
        raise _refused(path, f"{CARD} is not UTF-8 text") from error
    return Bundle(manifest, members[MODEL], card, golden_input, golden_output, path, signer)


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        if schema != SCHEMA:
            raise _refused(
                path, f"its schema is {schema}, this tenohira reads {SCHEMA}", "update tenohira or the bundle"
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = f"its manifest is not understood ({error})"
        raise _refused(path, reason, "update tenohira or the bundle") from error


class _Schema(msgspec.Struct):
    schema: int


def _golden(path: Path, data: bytes, spec: TensorSpec) -> Int8Image:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError) as error:
        raise _refused(path, f"a golden vector cannot be read ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.int8 or array.shape != spec.shape:
        raise _refused(path, f"a golden vector is not int8 of shape {spec.shape}")
    return array


def _npy(array: Int8Image) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refused(path: Path, reason: str, way_out: str = "copy it again from its source") -> BundleError:
    return BundleError(f"the bundle {path.name} is refused: {reason}; {way_out}")
