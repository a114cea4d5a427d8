"""What the instrument and the camera's own process say to each other, over a socket.

A message is four bytes of length and a msgpack header; a picture's pixels follow their header as they lie in
memory, then the raw file. Neither side makes a copy of the pixels for it.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from datetime import datetime
from typing import Literal

import msgspec
import numpy as np

from device.camera import Controls
from device.frame import Frame

LENGTH = struct.Struct("!I")


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of the camera, and within how many seconds."""

    do: Literal["set", "preview", "still", "size", "close"]
    deadline: float = 0.0
    raw: bool = False
    controls: Controls = Controls()


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer: ``error`` in words, or a picture of ``shape`` with ``raw`` bytes of DNG behind it, or the
    ``size`` of a still (width, height), or none of them: done."""

    error: str = ""
    shape: tuple[int, int, int] | None = None
    raw: int | None = None
    size: tuple[int, int] | None = None
    laterality: str = "unknown"
    time: datetime | None = None
    exposure_us: float | None = None
    gain: float | None = None
    focus: float | None = None
    camera: str = ""
    source: str = ""


def send(sock: socket.socket, message: Request | Reply, *payload: memoryview) -> None:
    """Send a message with what belongs to it. Raises OSError where the other side has gone."""
    head = msgspec.msgpack.encode(message)
    sock.sendall(LENGTH.pack(len(head)) + head)
    for part in payload:
        sock.sendall(part)


def send_frame(sock: socket.socket, frame: Frame) -> None:
    """Send a picture."""
    height, width, channels = frame.pixels.shape
    reply = Reply(
        shape=(height, width, channels), raw=None if frame.raw is None else len(frame.raw),
        laterality=frame.laterality, time=frame.time, exposure_us=frame.exposure_us, gain=frame.gain,
        focus=frame.focus, camera=frame.camera, source=frame.source,
    )  # fmt: skip
    payload = [np.ascontiguousarray(frame.pixels).data.cast("B"), memoryview(frame.raw or b"")]
    send(sock, reply, *payload)


def receive_request(sock: socket.socket) -> Request | None:
    """Wait for the next request; None where the other side has gone."""
    try:
        (length,) = LENGTH.unpack(_exactly(sock, LENGTH.size, math.inf))
        return msgspec.msgpack.decode(_exactly(sock, length, math.inf), type=Request)
    except (EOFError, ConnectionError):
        return None


def receive_reply(sock: socket.socket, end: float) -> Reply | Frame:
    """Wait for an answer until the time ``end`` of time.monotonic(); a picture is given as a Frame.

    Raises TimeoutError, and EOFError where the other side has gone.
    """
    try:
        (length,) = LENGTH.unpack(_exactly(sock, LENGTH.size, end))
        reply = msgspec.msgpack.decode(_exactly(sock, length, end), type=Reply)
        if reply.shape is None:
            return reply
        pixels = np.empty(reply.shape, np.uint8)
        _fill(sock, pixels.data.cast("B"), end)
        raw = None if reply.raw is None else bytes(_exactly(sock, reply.raw, end))
    except ConnectionError as error:
        raise EOFError from error
    return Frame(
        pixels, reply.laterality, reply.time, reply.exposure_us, reply.gain, reply.focus, reply.camera,
        reply.source, raw,
    )  # fmt: skip


def _exactly(sock: socket.socket, count: int, end: float) -> bytearray:
    buffer = bytearray(count)
    _fill(sock, memoryview(buffer), end)
    return buffer


def _fill(sock: socket.socket, buffer: memoryview, end: float) -> None:
    """Fill the buffer, or raise TimeoutError: a deadline for all of it, not for each part."""
    done = 0
    while done < len(buffer):
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(None if math.isinf(left) else left)
        count = sock.recv_into(buffer[done:])
        if not count:
            raise EOFError
        done += count
