"""A camera in a process of its own, which can be killed.

libcamera can hang in C, where no thread of Python can be stopped, and it can take its process down with it. So
the camera lives in a child (``device.camera.child``); pictures come back over a socket; every wait has a
deadline. Whatever goes wrong, the child is ended, the caller gets a CameraError in words, and the next call starts
a fresh one: nothing else has to be restarted.

Copies of a still's pixels, after the camera's own buffer: into RGB (child), into the socket, and out of it.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from device.camera import Controls, parse_spec
from device.camera.wire import Reply, Request, receive_reply, send
from device.closing import Closing
from device.errors import CameraError
from device.frame import Frame

PROGRAM = (sys.executable, "-P", "-m", "device.camera.child")
PACKAGES = Path(__file__).resolve().parents[2]  # where the child finds ``device``
OPENING = 30.0  # seconds; a Zero 2 W takes several to import picamera2 and to find its sensor
PAUSE = 1.0  # seconds between two starts: a camera that is missing must not keep the processor busy
REAP = 2.0  # seconds that a killed process may take to end
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc returns each picture's memory when it is done with
NOTHING = "the camera gave no picture; photograph again"
CLOSED = "the camera is closed; open it again"

# The kernel kills a child when the *thread* that started it ends (see device.camera.child), and threads of a web
# server come and go. This one stays until the interpreter ends.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="camera-starter")


class SupervisedCamera(Closing):
    """A ``Camera`` by its spec (``device.camera``). Several threads may use it: pictures are taken one by one.

    The child is started by the first call that needs it, within ``opening`` seconds; the call's own deadline
    counts from then on. Starts are ``pause`` seconds apart or more. Raises UsageError for a wrong spec, at once.
    """

    def __init__(
        self, spec: str, opening: float = OPENING, pause: float = PAUSE, program: Sequence[str] = PROGRAM
    ) -> None:
        parse_spec(spec)
        self.spec, self.name, self._program = spec, spec, tuple(program)
        self._opening, self._pause = opening, pause
        self._lock = threading.Lock()
        self._controls: Controls | None = None
        self._child: Child | None = None
        self._started = -math.inf
        self._closing = threading.Event()

    def set(self, controls: Controls, deadline: float = 5.0) -> None:
        """Remembered, and given to each child that is started later."""
        with _Turn(self._lock, time.monotonic() + deadline):
            self._controls = controls
            if self._child is not None:
                self._ask(Request(do="set", controls=controls), deadline)

    def preview(self, deadline: float = 1.0) -> Frame:
        """See ``Camera``. Starting the camera comes on top of the deadline."""
        return self._picture("preview", deadline)

    def still(self, deadline: float = 10.0, raw: bool = False) -> Frame:
        """See ``Camera``. Starting the camera comes on top of the deadline."""
        return self._picture("still", deadline, raw)

    def still_size(self, deadline: float = 10.0) -> tuple[int, int]:
        """See ``Camera``. Starting the camera comes on top of the deadline."""
        answer = self._answer(Request(do="size"), deadline)
        if not isinstance(answer, Reply) or answer.size is None:
            raise CameraError(NOTHING)
        return answer.size

    def close(self, deadline: float = 5.0) -> None:
        """End the child in order within the deadline, or else kill it. A picture that another thread waits for
        raises CameraError. Closing twice is no error."""
        self._closing.set()
        end = time.monotonic() + deadline
        patience = deadline / 2  # for a picture that another thread waits for
        while not self._lock.acquire(timeout=max(patience, 0.05)):
            patience = 0
            if (child := self._child) is not None:
                child.process.kill()  # that thread sees its end, and lets go of the lock
        try:
            if self._child is not None:
                self._child.close(max(end - time.monotonic(), 0))
                self._child = None
        finally:
            self._lock.release()

    def _picture(self, which: Literal["preview", "still"], deadline: float, raw: bool = False) -> Frame:
        answer = self._answer(Request(do=which, raw=raw), deadline)
        if not isinstance(answer, Frame):
            raise CameraError(NOTHING)
        return answer

    def _answer(self, request: Request, deadline: float) -> Reply | Frame:
        end = time.monotonic() + deadline
        with _Turn(self._lock, end):
            if self._start():
                end = time.monotonic() + deadline
            left = max(end - time.monotonic(), 0)
            return self._ask(msgspec.structs.replace(request, deadline=_less(left)), left)

    def _start(self) -> bool:
        """Have a child with an open camera, or raise CameraError. Returns whether it had to be started."""
        if self._child is None:
            self._closing.wait(max(0.0, self._started + self._pause - time.monotonic()))
        if self._closing.is_set():
            raise CameraError(CLOSED)
        if self._child is not None:
            return False
        self._started = time.monotonic()
        try:
            self._child = _starter.submit(Child, self._program, self.spec).result()
        except OSError as error:
            raise CameraError(
                f"the camera's process cannot be started ({error.strerror}); restart the instrument"
            ) from error
        answer = self._expect(self._opening, "the camera did not open within {} s; check its cable and try again")
        if isinstance(answer, Reply):
            self.name = answer.camera or self.spec
        if self._controls is not None:
            self._ask(Request(do="set", controls=self._controls), self._opening)
        return True

    def _ask(self, request: Request, deadline: float) -> Reply | Frame:
        assert self._child is not None
        with suppress(OSError):  # one that has gone is noticed at once, below
            send(self._child.sock, request)
        return self._expect(
            deadline, "the camera did not answer within {} s and was stopped; photograph again: it starts anew"
        )

    def _expect(self, deadline: float, late: str) -> Reply | Frame:
        """The child's next answer. Without one, or with an error, the child is ended."""
        child = self._child
        assert child is not None
        try:
            answer = receive_reply(child.sock, time.monotonic() + deadline)
            if isinstance(answer, Frame) or not answer.error:
                return answer
            raise CameraError(answer.error)
        except BaseException as error:
            self._child = None
            ending = child.end() if isinstance(error, EOFError) else child.kill()
            if isinstance(error, TimeoutError):
                raise CameraError(late.format(f"{round(deadline, 1):g}")) from error
            if not isinstance(error, EOFError):
                raise
            if self._closing.is_set():
                raise CameraError(CLOSED) from error
            raise CameraError(
                f"the camera's process ended by itself ({ending}); photograph again: it starts anew. "
                "If this happens again, check the camera's cable and restart the instrument"
            ) from error


class Child:
    """The process and its socket."""

    def __init__(self, program: Sequence[str], spec: str) -> None:
        self.sock, theirs = socket.socketpair()
        path = os.pathsep.join([str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])])
        try:
            self.process = subprocess.Popen(
                [*program, str(theirs.fileno()), str(os.getpid()), spec],
                stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": path, **GIVE_BACK},
            )  # fmt: skip
        except BaseException:
            self.sock.close()
            raise
        finally:
            theirs.close()  # so that the child's end shows here

    def close(self, deadline: float) -> None:
        """Ask it to close the camera and to end; kill it where that takes longer."""
        end = time.monotonic() + deadline
        with suppress(OSError, EOFError):
            send(self.sock, Request(do="close", deadline=deadline))
            receive_reply(self.sock, end)
            self.process.wait(max(end - time.monotonic(), 0))
        self.kill()

    def kill(self) -> str:
        """Kill it whatever it does. Returns how it ended."""
        self.process.kill()
        return self.end()

    def end(self) -> str:
        """Let go of what has closed its socket. Returns how it ended, in words."""
        self.sock.close()
        try:
            code = self.process.wait(REAP)
        except subprocess.TimeoutExpired:
            self.process.kill()
            try:
                code = self.process.wait(REAP)
            except subprocess.TimeoutExpired:  # stuck in the kernel; Popen reaps it should it ever end
                return "stuck in its driver"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class _Turn:
    """The camera for oneself, or CameraError where another picture takes too long."""

    def __init__(self, lock: threading.Lock, end: float) -> None:
        self._lock, self._end = lock, end

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=max(self._end - time.monotonic(), 0)):
            raise CameraError("the camera is still busy with another picture; try again")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _less(deadline: float) -> float:
    """The camera's own deadline: it ends first, so that the camera can say itself what it waits for."""
    return deadline - min(0.5, deadline / 10)
