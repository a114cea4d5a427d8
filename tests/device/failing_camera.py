"""The camera's process with a camera that fails once, as told; after that it is a simulated one.

    python failing_camera.py FAILURE FOLDER SOCKET PARENT SPEC

FOLDER remembers that it has failed; without one ("-"), it fails every time.
"""

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path

from device.camera import child, picamera2, wire
from device.camera.simulated import SimulatedCamera
from device.errors import CameraError


def hang():
    """As a driver hangs: in C, with the interpreter's lock held and every signal blocked that can be."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
    ctypes.PyDLL(None).sleep(600)


class Camera(SimulatedCamera):
    """Fails in the still."""

    def still(self, deadline=10.0, raw=False):
        if failure == "hang":
            hang()
        elif failure == "die":
            os._exit(7)
        elif failure == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif failure == "half":  # a picture's header and a part of its pixels
            with socket.socket(fileno=os.dup(int(arguments[0]))) as sock:
                wire.send(sock, wire.Reply(shape=(500, 500, 3)), memoryview(bytes(1000)))
            os._exit(0)
        elif failure == "stop":  # alive, but it never goes on
            os.kill(os.getpid(), signal.SIGSTOP)
        elif failure == "unplugged":
            raise CameraError(picamera2.LOST)
        elif failure == "bug":
            raise ZeroDivisionError("a bug")
        return super().still(deadline, raw)

    def close(self, deadline=5.0):
        if failure == "stuck":
            hang()
        super().close(deadline)


def opener(spec):
    if failure == "hang-open":
        hang()
    if failure == "die-open":
        os._exit(3)
    if failure in ("missing", "busy"):
        raise CameraError({"missing": picamera2.NONE, "busy": picamera2.BUSY}[failure])
    return Camera(size=256)


if __name__ == "__main__":
    failure, folder, *arguments = sys.argv[1:]
    if folder != "-":
        marker = Path(folder, "failed")
        if marker.exists():
            failure = ""
        marker.touch()
    sys.exit(child.main(arguments, opener))
