"""Ed25519 keys as PEM files: NAME.key (private) and NAME.pub (public)."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from device.errors import KeyFileError

SHIPPED_KEYS = Path(__file__).with_name("keys")
DEVELOPMENT_KEY = SHIPPED_KEYS / "development.key"  # public by design: it proves integrity, not origin


def generate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.key (readable by its owner alone) and NAME.pub; returns both paths.

    Raises KeyFileError where one exists already (a key is never overwritten) or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    if not name or Path(name).name != name:
        raise KeyFileError(f"{name!r} is no name for a key; give a plain word, and a folder with --out")
    if public.exists():
        raise KeyFileError(f"{public} exists already; a key is never overwritten: choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    except FileExistsError as error:
        raise KeyFileError(f"{private} exists already; a key is never overwritten: choose another name") from error
    except OSError as error:
        raise KeyFileError(f"cannot write a key into {folder} ({error.strerror}); give another --out") from error
    return private, public


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """An Ed25519 private key from a PEM file. Raises KeyFileError."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise KeyFileError(
            f"cannot read the key {path} ({error.strerror}); make one with: tenohira bundle keygen"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{path} holds no Ed25519 private key without password; make one with: tenohira bundle keygen"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds another kind of key; make an Ed25519 one with: tenohira bundle keygen")
    return key


def read_public_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Every NAME.pub of a folder, by name. Raises KeyFileError for a file that holds no Ed25519 public key."""
    keys = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise KeyFileError(f"{path} holds no public key in PEM form; replace or remove it") from error
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError(f"{path} holds another kind of key than Ed25519; replace or remove it")
        keys[path.stem] = key
    return keys


def signer(keys: dict[str, Ed25519PublicKey], signature: bytes, data: bytes) -> str | None:
    """The name of the key whose signature of ``data`` this is, or None."""
    for name, key in keys.items():
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return name
    return None
