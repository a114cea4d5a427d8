"""What picamera2 0.3.38 needs to run on libcamera's virtual camera. Loaded by a line at the end of the installed
picamera2; nothing of it is in ``device/``, whose camera code runs unchanged.

* Buffers come from ``memfd_create``: picamera2 wants /dev/dma_heap, and libcamera's own allocator wants a heap or
  udmabuf, of which a container or a CI machine has none. The virtual camera is content with any memory that can be
  mapped. NV12 has to be told as two planes. The same allocator serves ``close()``, which makes a fresh one.
* A camera without raw modes has none: picamera2 asks for them in any case to learn the sensor's resolution.
* The virtual camera of libcamera 0.4 leaves each buffer's status as memory happened to be, and picamera2 throws
  pictures away whose status is not "success": pictures arrived or not by chance. Here, what has arrived is well.
* It answers a request at once, and would keep a core busy with previews that nobody sees: a request waits until
  ``PACE`` after the one before.
"""

import mmap
import os
import threading
import time

import libcamera
from picamera2 import picamera2 as library
from picamera2.allocators.allocator import Allocator

PACE = 0.1  # seconds from one frame to the next: the live picture's ten a second


class MemoryAllocator(Allocator):
    """Frame buffers in ordinary memory."""

    def __init__(self):
        super().__init__()
        self.sync, self.frame_buffers, self.memory, self.descriptors = Mapping, {}, {}, []

    def allocate(self, libcamera_config, use_case):
        self.close()
        for wanted in libcamera_config:
            self.frame_buffers[wanted.stream] = [self._buffer(wanted) for _ in range(wanted.buffer_count)]

    def _buffer(self, wanted):
        descriptor = os.memfd_create("frame")
        os.ftruncate(descriptor, wanted.frame_size)
        self.descriptors.append(descriptor)
        luma = wanted.stride * wanted.size.height
        planes = []
        for offset, length in ((0, luma), (luma, wanted.frame_size - luma)):
            plane = libcamera.FrameBuffer.Plane()
            plane.fd, plane.offset, plane.length = descriptor, offset, length
            planes.append(plane)
        buffer = libcamera.FrameBuffer(planes)
        self.memory[buffer] = mmap.mmap(descriptor, wanted.frame_size)
        return buffer

    def buffers(self, stream):
        return self.frame_buffers[stream]

    def close(self):
        self.frame_buffers, self.memory = {}, {}  # mappings go with the last array that looks into them
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []


class Mapping:
    """The memory of a buffer, as long as somebody looks at it; it needs no synchronization with a device."""

    def __init__(self, allocator, buffer, write):
        self._memory = allocator.memory[buffer]

    def __enter__(self):
        return self._memory

    def __exit__(self, *_):
        pass


def modes(camera):
    """In place of the raw modes: the largest frame that the camera delivers."""
    stream = camera.camera.generate_configuration([libcamera.StreamRole.Viewfinder]).at(0)
    return [{"format": str(stream.pixel_format), "size": (stream.size.width, stream.size.height)}]


class Paced:
    """``Camera.queue_request``, at a sensor's pace."""

    def __init__(self, queue):
        self._queue, self._next, self._lock = queue, 0.0, threading.Lock()

    def __call__(self, camera, request):
        with self._lock:
            now = time.monotonic()
            self._next = max(self._next + PACE, now)
        time.sleep(self._next - now)
        return self._queue(camera, request)


paced = Paced(libcamera.Camera.queue_request)
libcamera.Camera.queue_request = lambda camera, request: paced(camera, request)
library.DmaAllocator = MemoryAllocator
libcamera.FrameMetadata.status = property(lambda self: libcamera.FrameMetadata.Status.Success)
library.Picamera2._get_raw_modes = modes
