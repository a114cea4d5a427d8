"""Ed25519 keys as PEM files, which ``openssl`` reads and writes too: NAME.key (private) and NAME.pub (public).

libsodium signs and verifies: it takes 2 MB of the instrument's memory, and a library for every kind of key 10.
Reading the files is left to us, and little: RFC 8410 has a fixed beginning before the 32 bytes of a key.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from pathlib import Path

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from device.errors import KeyFileError

SHIPPED_KEYS = Path(__file__).with_name("keys")
DEVELOPMENT_KEY = SHIPPED_KEYS / "development.key"  # public by design: it proves integrity, not origin
PRIVATE, PUBLIC = "PRIVATE KEY", "PUBLIC KEY"
BEFORE = {  # the key's bytes: PKCS #8 of a seed, SubjectPublicKeyInfo of a point
    PRIVATE: bytes.fromhex("302e020100300506032b657004220420"),
    PUBLIC: bytes.fromhex("302a300506032b6570032100"),
}


def generate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write NAME.key (readable by its owner alone) and NAME.pub; returns both paths.

    Raises KeyFileError where one exists already (a key is never overwritten) or cannot be written.
    """
    key = SigningKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    if not name or Path(name).name != name:
        raise KeyFileError(f"{name!r} is no name for a key; give a plain word, and a folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileError(f"cannot make the folder {folder} ({error.strerror}); give another --out") from error
    try:
        if os.path.lexists(public):
            raise FileExistsError(public)
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_pem(PRIVATE, bytes(key)))
    except FileExistsError as error:
        text = f"a key {name} exists already in {folder}; a key is never overwritten: choose another name"
        raise KeyFileError(text) from error
    except OSError as error:
        raise KeyFileError(f"cannot write a key into {folder} ({error.strerror}); give another --out") from error
    try:
        public.write_bytes(_pem(PUBLIC, bytes(key.verify_key)))
    except OSError as error:
        private.unlink()  # nobody could verify what it signs
        raise KeyFileError(f"cannot write {public} ({error.strerror}); give another --out") from error
    return private, public


def read_private_key(path: Path) -> SigningKey:
    """An Ed25519 private key from a PEM file. Raises KeyFileError."""
    try:
        der = _der(PRIVATE, path.read_bytes())
    except OSError as error:
        raise KeyFileError(
            f"cannot read the key {path} ({error.strerror}); make one with: tenohira bundle keygen"
        ) from error
    if der is None:
        raise KeyFileError(
            f"{path} holds no Ed25519 private key without password; make one with: tenohira bundle keygen"
        )
    if (seed := _key(PRIVATE, der)) is None:
        raise KeyFileError(
            f"{path} holds another kind of key, or an Ed25519 key in another form or damaged; write it anew with "
            "'openssl pkey -in OLD -out NEW', or make one with: tenohira bundle keygen"
        )
    return SigningKey(seed)


def read_public_keys(folder: Path) -> dict[str, VerifyKey]:
    """Every NAME.pub of a folder, by name. Raises KeyFileError for a file that cannot be read or holds no Ed25519
    public key."""
    keys = {}
    for path in sorted(folder.glob("*.pub")):
        try:
            der = _der(PUBLIC, path.read_bytes())
        except OSError as error:
            text = f"cannot read the key {path} ({error.strerror}); check its owner and permissions"
            raise KeyFileError(text) from error
        if der is None:
            raise KeyFileError(f"{path} holds no public key in PEM form; replace or remove it")
        if (point := _key(PUBLIC, der)) is None:
            raise KeyFileError(f"{path} holds another kind of key than Ed25519; replace or remove it")
        keys[path.stem] = VerifyKey(point)
    return keys


def signer(keys: dict[str, VerifyKey], signature: bytes, data: bytes) -> str | None:
    """The name of the key whose signature of ``data`` this is, or None."""
    for name, key in keys.items():
        try:
            key.verify(data, signature)
        except (BadSignatureError, ValueError):  # or not of a signature's length
            continue
        return name
    return None


def _pem(label: str, key: bytes) -> bytes:
    text = b64encode(BEFORE[label] + key).decode()  # shorter than a line
    return f"-----BEGIN {label}-----\n{text}\n-----END {label}-----\n".encode()


def _der(label: str, pem: bytes) -> bytes | None:
    """What a PEM file has under a label (RFC 7468), None where there is no such thing."""
    found = re.search(rf"-----BEGIN {label}-----([A-Za-z0-9+/=\s]*)-----END {label}-----".encode(), pem)
    try:
        return None if found is None else b64decode(found[1])
    except ValueError:  # too short for its last letters
        return None


def _key(label: str, der: bytes) -> bytes | None:
    """The 32 bytes of an Ed25519 key, None of another kind."""
    before = BEFORE[label]
    return der[len(before) :] if der.startswith(before) and len(der) == len(before) + 32 else None
