"""Pictures by content: ``pictures/ab/abcd....jpg`` is named by the SHA-256 of its bytes, and never changes."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from device.errors import NoSuchPictureError, StoreError
from device.store.files import in_words, make_folder, sync_folder, write_synced

KINDS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"II*\x00": ".dng", b"MM\x00*": ".dng"}  # by first bytes
SUFFIXES = (".jpg", ".png", ".dng")
NAME = re.compile(r"[0-9a-f]{64}\.(jpg|png|dng)")
PART = ".part"


def name_of(picture: bytes) -> str:
    """The file's name for a picture's bytes. Raises StoreError for what is no picture."""
    for start, suffix in KINDS.items():
        if picture.startswith(start):
            return hashlib.sha256(picture).hexdigest() + suffix
    raise StoreError("a picture to be recorded is neither JPEG, PNG nor DNG; take the photograph again")


class Pictures:
    """The folder of pictures. It knows nothing of who needs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, pictures: Sequence[bytes]) -> list[str]:
        """Write pictures; returns their names. All of them, and their names, are on the disk on return.

        A picture that is there already, to the byte, is not written again. Raises StoreFullError, StoreError.
        """
        names = [name_of(p) for p in pictures]
        parts: list[tuple[Path, Path]] = []
        with in_words(self.folder):
            try:
                for name, picture in dict(zip(names, pictures)).items():
                    path = self.folder / name[:2] / name
                    make_folder(path.parent)
                    if not holds(path, name):
                        parts.append((path.with_name(f"{name}.{uuid.uuid4().hex}{PART}"), path))
                        write_synced(parts[-1][0], picture)
                for part, path in parts:
                    os.replace(part, path)
                for short in sorted({name[:2] for name in names}):
                    sync_folder(self.folder / short)
            finally:
                for part, _ in parts:
                    with suppress(OSError):
                        part.unlink(missing_ok=True)
        return names

    def path(self, sha256: str) -> Path:
        """The file of a picture; its suffix tells the kind. Raises NoSuchPictureError."""
        for suffix in SUFFIXES:
            if NAME.fullmatch(name := sha256 + suffix):
                path = self.folder / sha256[:2] / name
                if path.is_file():
                    return path
        raise NoSuchPictureError(
            f"the picture {sha256!r} is not in the record; choose one of an examination in the history"
        )

    def read(self, name: str) -> bytes | None:
        """A picture's bytes; None where it is missing or not what its name says. Raises StoreError."""
        path = self.folder / name[:2] / name
        with in_words(self.folder):
            return path.read_bytes() if holds(path, name) else None

    def files(self) -> Iterator[Path]:
        """Every file in the folder that this class has written, unfinished ones included. None without it."""
        if not self.folder.is_dir():
            return
        for folder in sorted(self.folder.iterdir()):
            if folder.is_dir():
                yield from (f for f in sorted(folder.iterdir()) if NAME.match(f.name))

    def remove_all_but(self, needed: Container[str]) -> int:
        """Remove unfinished files, and pictures that nobody needs; returns how many. Raises StoreError."""
        with in_words(self.folder):
            gone = [f for f in self.files() if f.name not in needed]
            for file in gone:
                file.unlink(missing_ok=True)
        return len(gone)


def holds(path: Path, name: str) -> bool:
    """Whether a file is there and its content is what its name says. OSError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == name.partition(".")[0]
    except FileNotFoundError:
        return False
