"""Runs Orthanc where nobody but this machine reaches it: Orthanc listens on every interface, so it gets a network
namespace with nothing in it but a loopback of its own, and this script relays from sockets of the outer loopback.

    unshare -rn python enclosure.py FD:PORT... -- COMMAND...

``FD`` is an inherited listening socket; connections to it go to ``PORT`` inside. Commands come by standard input,
a line each, and are answered by a line: ``start``, ``kill`` (SIGKILL), ``kill-after BYTES DELAY_MS`` (as soon as
so many more bytes have gone in), ``spare`` (forget that, or wait for a kill under way), ``alive``. At the end of
the input, everything ends.
"""

import fcntl
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


class Enclosure:
    """The server process, and how many bytes may still go in before it is killed."""

    def __init__(self, command):
        self.command, self.process = command, None
        self.left, self.delay, self.lock, self.killing = None, 0.0, threading.Lock(), threading.Lock()

    def start(self):
        self.left = None
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def count(self, size):
        with self.lock:
            if self.left is None:
                return
            self.left -= size
            if self.left > 0:
                return
            self.left = None
            self.killing.acquire()
        time.sleep(self.delay)
        self.kill()
        self.killing.release()

    def spare(self):
        with self.lock:
            self.left = None
        with self.killing:
            pass


def raise_loopback():
    """Set the loopback interface of this namespace up, as ``ip link set lo up`` would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(s, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def pump(source, sink, count):
    """Bytes from one socket to the other until either ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
            count(len(data))
    for s in (source, sink):
        with suppress(OSError):
            s.shutdown(socket.SHUT_RDWR)


def serve(listener, port, enclosure):
    while True:
        outside, _ = listener.accept()
        try:
            inside = socket.create_connection(("127.0.0.1", port), timeout=5)
            inside.settimeout(None)
        except OSError:
            outside.close()
            continue
        for s in (outside, inside):
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, sink, count in ((outside, inside, enclosure.count), (inside, outside, lambda size: None)):
            threading.Thread(target=pump, args=(source, sink, count), daemon=True).start()


def main():
    cut = sys.argv.index("--")
    raise_loopback()
    enclosure = Enclosure(sys.argv[cut + 1 :])
    for pair in sys.argv[1:cut]:
        fd, port = map(int, pair.split(":"))
        threading.Thread(target=serve, args=(socket.socket(fileno=fd), port, enclosure), daemon=True).start()
    for line in sys.stdin:
        word, *numbers = line.split()
        if word == "kill-after":
            enclosure.delay, enclosure.left = float(numbers[1]) / 1000, int(numbers[0])
        elif word in ("start", "kill", "spare"):
            getattr(enclosure, word)()
        print("yes" if enclosure.alive() else "no", flush=True)
    enclosure.kill()


if __name__ == "__main__":
    main()
