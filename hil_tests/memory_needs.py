"""What a photograph, a report and DICOM objects take of the memory: ``device/memory.py`` asks for that and more.

    python hil_tests/memory_needs.py --sides 512,1024,2048,4000 --bursts 1,5
    python hil_tests/memory_needs.py --sides 512 --camera simulated

For each side of a (square) still it starts ``tenohira serve`` and looks every two milliseconds at the anonymous
memory of the service, its camera and its errands, added up. A step takes the most that was held meanwhile, less
what was held before it. With ``replay`` (the default) the camera's process only reads a photograph; ``simulated``
needs much for its optics.
"""

from __future__ import annotations

import argparse
import io
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from PIL import Image

if __name__ == "__main__":  # from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hil_tests.client import Client

ROOT = Path(__file__).resolve().parents[1]
TENOHIRA = (sys.executable, "-m", "device.cli")
LOOK_EVERY = 0.002  # seconds


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default="512,1024,2048,4000", help="pixels, separated by commas")
    parser.add_argument("--bursts", default="1,5", help="photographs a press, separated by commas")
    parser.add_argument("--camera", choices=("replay", "simulated"), default="replay")
    given = parser.parse_args()
    print("| side | step | before, MB | takes, MB | bytes a pixel |\n|---|---|---|---|---|")
    for side in map(int, given.sides.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            measure(side, given.camera, given.bursts.split(","), Path(folder))
    return 0


def measure(side: int, camera: str, bursts: list[str], folder: Path) -> None:
    """One service, and a row for each step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spec = f"simulated:3?size={side}" if camera == "simulated" else f"replay:{photograph(side, folder)}"
    service = subprocess.Popen(
        [*TENOHIRA, "serve", "--store", str(folder / "record"), "--camera", spec, "--port", str(port)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = Client(f"http://127.0.0.1:{port}", patience=300)
    try:
        client.wait(120)
        client.set(keep_free_mb="50", burst="1")
        client.capture(client.visit()["uid"])  # what is made once is there afterwards
        for burst in bursts:
            client.set(burst=burst)
            visit = client.visit()["uid"]
            shots = [partial(client.capture, visit, eye) for eye in ("OD", "OS")]
            row(side, f"photographs, burst {burst}", service.pid, shots)
        client.finish(visit)
        row(side, "report", service.pid, [partial(client.get, f"/visits/{visit}/report.pdf")])
        row(side, "DICOM", service.pid, [partial(client.get, f"/visits/{visit}/dicom.zip")])
    finally:
        client.close()
        service.terminate()
        service.wait(30)


def row(side: int, step: str, service: int, work: list[Callable[[], object]]) -> None:
    """Do it, and print what it took."""
    time.sleep(1.0)  # what was before is over
    before, most, ended = held(service), 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.is_set():
            most = max(most, held(service))
            time.sleep(LOOK_EVERY)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for each in work:
            each()
    finally:
        ended.set()
        looking.join()
    took = (most - before) / 1024
    print(f"| {side} | {step} | {before / 1024:.0f} | {took:.1f} | {took * 2**20 / side**2:.1f} |", flush=True)


def held(process: int) -> int:
    """Anonymous memory of a process and of all that it has started, in kB; one that has ended holds none."""
    folder = Path("/proc", str(process))
    try:
        found = re.search(r"^RssAnon:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
        children = [c for task in (folder / "task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:
        return 0
    return (int(found[1]) if found else 0) + sum(held(int(child)) for child in children)


def photograph(side: int, folder: Path) -> Path:
    """A simulated eye, enlarged to so many pixels."""
    made = subprocess.run(
        [*TENOHIRA, "samples", "--simulated", "1", "--out", str(folder / "eyes")], cwd=ROOT, capture_output=True
    )
    made.check_returncode()
    (small,) = (folder / "eyes").glob("*.png")
    file = io.BytesIO()
    with Image.open(small) as image:
        image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    (folder / "eye").mkdir()
    (folder / "eye" / "eye.jpg").write_bytes(file.getvalue())
    return folder / "eye"


if __name__ == "__main__":
    sys.exit(main())
