"""A camera that shows photographs and videos that were taken before, so that the whole instrument runs on real
eyes without hardware.

Each still is the next photograph, from the beginning again after the last. A preview is a reduced version of what
the next still will be, so that what is said about the preview holds for the still. Of a video, each preview moves
on by a frame, as life does, and a still is the frame that was shown last.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from device.camera import Controls
from device.closing import Closing
from device.errors import CameraError, UnreadableImageError
from device.frame import Frame
from device.geometry import reduced
from device.imaging import SMALLEST_SIDE, read_image

PREVIEW = 640  # pixels of a preview's longer side, or less
VIDEOS = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ogv"}
MOST_FILES = 100_000

log = logging.getLogger(__name__)


class ReplayCamera(Closing):
    """A ``Camera`` of a folder (recursively, in the order of the paths), of one photograph, or of a video.

    ``repeat`` gives each photograph several times, as a burst of one eye would be. Files that cannot be read are
    passed over; ``passed_over`` holds why, and the log too. Raises CameraError where nothing can be read.
    """

    name = "replay"

    def __init__(self, path: str | os.PathLike[str], repeat: int = 1) -> None:
        self._path, self._repeat = Path(path), max(1, repeat)
        self.passed_over: dict[str, str] = {}
        if not self._path.exists():
            raise CameraError(f"there is nothing at {path}; give a folder of photographs or a video")
        self._is_video = self._path.is_file() and self._path.suffix.lower() in VIDEOS
        self._pictures: Iterator[Frame] | None = _video(self._path) if self._is_video else self._photographs()
        self._given, self._shown = 0, False  # how often the present picture was a still, whether it was a preview
        self._move()

    def set(self, controls: Controls) -> None:
        """Photographs that were taken already change no more."""

    def preview(self, deadline: float = 1.0) -> Frame:
        """What the next still will be, with a longer side of PREVIEW pixels or less."""
        end = time.monotonic() + deadline
        if self._given >= self._repeat or (self._is_video and self._shown):
            self._move()
        self._shown = True
        return self._in_time(self._small, end, deadline)

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """The present picture in full; the next still will be the next one. There is no raw."""
        end = time.monotonic() + deadline
        if self._given >= self._repeat:
            self._move()
        self._given += 1
        return self._in_time(self._full, end, deadline)

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """Of what the next still will be."""
        if self._given >= self._repeat:
            self._move()
        height, width = self._full.pixels.shape[:2]
        return width, height

    def close(self, deadline: float = 5.0) -> None:
        """Afterwards every picture raises CameraError."""
        self._pictures = None

    def _move(self) -> None:
        if self._pictures is None:
            raise CameraError("the replay is closed; open it again")
        picture = next(self._pictures, None)
        if picture is None:  # it ended with an error before
            raise CameraError("the replay has stopped; open it again")
        self._full = picture
        self._small = replace(self._full, pixels=reduced(self._full.pixels, PREVIEW))
        self._given, self._shown = 0, False

    def _in_time(self, frame: Frame, end: float, deadline: float) -> Frame:
        if self._pictures is None:
            raise CameraError("the replay is closed; open it again")
        if time.monotonic() > end:
            raise CameraError(
                f"the replay took longer than {deadline:g} s; allow it more time or give smaller files"
            )
        return frame

    def _photographs(self) -> Iterator[Frame]:
        """Every photograph that can be read, for ever."""
        files = [self._path] if self._path.is_file() else list(_files(self._path))
        while True:
            readable = False
            for file in files:
                try:
                    frame = read_image(file)
                except UnreadableImageError as error:
                    self._pass_over(file, str(error))
                    continue
                readable = True
                yield replace(frame, camera=self.name)
            if not readable:
                why = next(iter(self.passed_over.values()), "it is empty")
                raise CameraError(
                    f"{self._path} holds no photograph that can be read ({why}); give another folder"
                )

    def _pass_over(self, file: Path, why: str) -> None:
        if str(file) not in self.passed_over:
            self.passed_over[str(file)] = why
            log.warning("the replay passes over a file: %s", why)


def _files(folder: Path) -> Iterator[Path]:
    """The files below a folder in a stable order, without hidden ones; links to folders are not followed."""
    count = 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(f for f in files if not f.startswith(".")):
            count += 1
            if count > MOST_FILES:
                raise CameraError(f"{folder} holds more than {MOST_FILES} files; give a folder below it")
            yield Path(here, name)


def _video(path: Path) -> Iterator[Frame]:
    """The frames of a video, for ever. Raises CameraError where there are none."""
    while True:
        film = cv2.VideoCapture(str(path))
        try:
            count = 0
            while film.isOpened():
                more, picture = film.read()
                if not more:
                    break
                if min(picture.shape[:2]) < SMALLEST_SIDE:
                    raise CameraError(f"{path.name} is smaller than {SMALLEST_SIDE} pixels; give a larger video")
                count += 1
                pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
                yield Frame(np.ascontiguousarray(pixels), camera="replay", source=f"{path}#{count}")
            if not count:
                raise CameraError(f"{path.name} is no video that can be read; export it as MP4 or AVI")
        finally:
            film.release()
