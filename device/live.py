"""The live picture: a thread looks through the camera while somebody watches, and coaches the operator.

A camera that fails is reported in words and tried again; the service goes on. Who wants to photograph asks for the
camera with ``exclusive``, and the preview rests until it is given back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from device.camera import Camera, Controls
from device.closing import Closing
from device.coaching import Coaching
from device.errors import TenohiraError
from device.geometry import UInt8Image
from device.imaging import encode_jpeg

WATCHED = 5.0  # seconds after the last look until the preview rests: it costs power, and light in the eye
PATIENCE = 3.0  # seconds for a preview picture; the first one waits for the camera to start
PACE = 0.1  # seconds from picture to picture, at least
RETRY = (0.5, 1.0, 2.0, 5.0)  # seconds until a camera that failed is tried again
PREVIEW_QUALITY = 80  # of the JPEG

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Live:
    """The newest preview. Without a picture (``jpeg``, ``pixels``, ``coaching`` are None) ``error`` says why, or
    is empty while none was taken since somebody looks; ``presses`` counts presses of the shutter button."""

    sequence: int = 0
    jpeg: bytes | None = None
    pixels: UInt8Image | None = None
    coaching: Coaching | None = None
    error: str = ""
    camera: str = ""
    presses: int = 0


class LivePreview(Closing):
    """Owns the camera. ``coach`` judges a preview picture; ``controls`` says what the camera is set to, and is
    asked before each use. Close it, or use it as a context manager."""

    def __init__(
        self,
        camera: Camera,
        coach: Callable[[UInt8Image], Coaching],
        controls: Callable[[], Controls] = Controls,
    ) -> None:
        self._camera, self._coach, self._controls = camera, coach, controls
        self._set = Controls()  # what every camera begins with
        self._turn = threading.Lock()  # whoever holds it may use the camera
        self._wanted = threading.Event()  # somebody wants to photograph: the preview lets go
        self._news = threading.Condition()  # re-entrant
        self._live = Live(camera=camera.name)
        self._watched_until = 0.0
        self._beat = time.monotonic()
        self._ended = False
        self._thread = threading.Thread(target=self._look, name="preview", daemon=True)
        self._thread.start()

    def latest(self, after: int = 0, wait: float = 1.0) -> Live:
        """The newest preview; waits up to ``wait`` seconds for one whose sequence is above ``after``."""
        with self._news:
            self._watched_until = time.monotonic() + WATCHED
            self._news.notify_all()
            self._news.wait_for(lambda: self._live.sequence > after or self._ended, wait)
            return self._live

    @property
    def newest(self) -> Live:
        """The newest preview, without counting as a look."""
        return self._live

    def press(self) -> None:
        """Count a press of the shutter button: whoever shows the preview photographs."""
        with self._news:
            self._publish(presses=self._live.presses + 1)

    @contextmanager
    def exclusive(self) -> Iterator[Camera]:
        """The camera, for stills; the preview rests meanwhile."""
        self._wanted.set()
        try:
            with self._turn:
                self._adjust()
                yield self._camera
        finally:
            self._wanted.clear()
            with self._news:
                self._news.notify_all()

    def beats(self, within: float) -> bool:
        """Whether the preview's thread has come round in the last ``within`` seconds (for the watchdog)."""
        return self._thread.is_alive() and time.monotonic() - self._beat < within

    def close(self) -> None:
        """Stop looking and let go of the camera."""
        self._ended = True
        with self._news:
            self._news.notify_all()
        self._thread.join(PATIENCE + 1)
        self._camera.close()

    def _look(self) -> None:
        failures = 0
        while not self._ended:
            self._beat = time.monotonic()
            with self._news:
                # Nobody looks, or somebody photographs: woken by either, and now and then for the beat.
                if self._wanted.is_set() or time.monotonic() > self._watched_until:
                    self._forget()
                    self._news.wait(1.0)
                    continue
            start = time.monotonic()
            if error := self._picture():
                self._publish(jpeg=None, pixels=None, coaching=None, error=error)
                self._rest(RETRY[min(failures, len(RETRY) - 1)])
                failures += 1
            else:
                failures = 0
                self._rest(PACE - (time.monotonic() - start))

    def _picture(self) -> str:
        """Take and publish one picture; returns what went wrong, in words, or nothing."""
        try:
            with self._turn:
                self._adjust()
                frame = self._camera.preview(PATIENCE)
            self._publish(
                jpeg=encode_jpeg(frame.pixels, PREVIEW_QUALITY),
                pixels=frame.pixels,
                coaching=self._coach(frame.pixels),
                camera=frame.camera,
                error="",
            )
        except TenohiraError as error:  # of the camera, or of the record, which holds its settings
            return str(error)
        except Exception as error:  # a fault of ours must not end the preview
            log.exception("the preview failed")
            return f"internal error in the preview ({type(error).__name__}); if it stays, restart the instrument"
        return ""

    def _adjust(self) -> None:
        """Hand the camera its controls where they have changed."""
        if (controls := self._controls()) != self._set:
            self._camera.set(controls)
            self._set = controls

    def _publish(self, **changes: Any) -> None:
        with self._news:
            self._live = replace(self._live, sequence=self._live.sequence + 1, **changes)
            self._news.notify_all()

    def _forget(self) -> None:
        """Take the last picture away while the preview rests: who looks next may have another eye before the lens,
        or another participant's code."""
        if self._live.pixels is not None:
            self._publish(jpeg=None, pixels=None, coaching=None)

    def _rest(self, seconds: float) -> None:
        """Sleep, unless it ends meanwhile."""
        end = time.monotonic() + seconds
        while not self._ended and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
