"""The camera's own process: opens one camera and gives pictures to the process that started it.

    python -m device.camera.child SOCKET PARENT SPEC

SOCKET is an inherited file descriptor, PARENT the process id of who started it: when that dies, however it
dies, so does this. Only the camera and what it needs are imported here.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from device.camera import Camera, open_camera
from device.camera.wire import Reply, Request, receive_request, send, send_frame
from device.errors import TenohiraError

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(arguments: list[str], opener: Callable[[str], Camera] = open_camera) -> int:
    """Serve until told to close, until the parent has gone, or until the camera fails: whoever wants more pictures
    then starts a fresh process."""
    number, parent, spec = int(arguments[0]), int(arguments[1]), arguments[2]
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes the camera in order
    with socket.socket(fileno=number) as sock, suppress(ConnectionError):
        try:
            camera = opener(spec)
        except Exception as error:
            send(sock, Reply(error=_words(error)))
            return 1
        with camera:
            send(sock, Reply(camera=camera.name))
            _serve(sock, camera)
    return 0


def _serve(sock: socket.socket, camera: Camera) -> None:
    while (request := receive_request(sock)) is not None:
        try:
            _answer(sock, camera, request)
        except ConnectionError:
            return
        except Exception as error:
            send(sock, Reply(error=_words(error)))
            return
        if request.do == "close":
            return


def _answer(sock: socket.socket, camera: Camera, request: Request) -> None:
    if request.do == "preview":
        send_frame(sock, camera.preview(request.deadline))
    elif request.do == "still":
        send_frame(sock, camera.still(request.deadline, request.raw))
    elif request.do == "size":
        send(sock, Reply(size=camera.still_size(request.deadline)))
    else:
        if request.do == "set":
            camera.set(request.controls)
        else:
            camera.close(request.deadline)
        send(sock, Reply())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; a hanging camera reads no socket."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def _words(error: Exception) -> str:
    if isinstance(error, TenohiraError):
        return str(error)
    traceback.print_exc()  # for the log; the operator gets a sentence
    return f"the camera's software failed ({type(error).__name__}); try again, or restart the instrument"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
