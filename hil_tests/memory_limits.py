"""What the service does with less and less memory: it works, or it refuses in words; the kernel never ends it.

    python hil_tests/memory_limits.py --limits 512,400,300,250,200,150
    python hil_tests/memory_limits.py --limits 512,300 --camera replay:FOLDER --burst 3

As root. For each limit (MB) it starts ``tenohira serve`` in a memory control group of that size, takes
photographs, asks for the report and the DICOM objects, and has ``tenohira audit verify`` look at the record. One
row a limit; exit code 1 where a process was killed, an answer was no refusal in words, or a record is not as it
was confirmed.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx

if __name__ == "__main__":  # from a checkout
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hil_tests.client import Client, Refused
from hil_tests.drivers.cgroup import MemoryGroup

ROOT = Path(__file__).resolve().parents[1]
START = 180.0  # seconds; with hardly any memory, libraries are read from the disk again and again
CAPTURES = 4
TOO_LITTLE = "MB of memory are"  # of every refusal for want of memory


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limits", default="512,400,300,250,200,150")
    parser.add_argument("--camera", default="simulated:3?size=1024")
    parser.add_argument("--burst", default="3")
    given = parser.parse_args()
    if reason := MemoryGroup.missing():
        print(f"not possible here: {reason}")
        return 2
    print("| limit, MB | start | photographs | report | DICOM | most held, MB | killed | record |")
    print("|---|---|---|---|---|---|---|---|")
    fine = True
    for limit in map(int, given.limits.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            row = at_limit(limit, given.camera, given.burst, Path(folder, "record"))
        print("| " + " | ".join(map(str, (limit, *row.values()))) + " |", flush=True)
        fine = fine and row["killed"] == 0 and row["record"] in ("ok", "none")
    return 0 if fine else 1


def at_limit(limit: int, camera: str, burst: str, record: Path) -> dict[str, object]:
    """One row: what came of each step."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tenohira = [sys.executable, "-m", "device.cli"]
    confirmed: list[str] = []
    with MemoryGroup(limit) as group:
        service = subprocess.Popen(
            [*group.prefix, *tenohira, "serve", "--store", str(record), "--camera", camera, "--port", str(port)],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        client = Client(f"http://127.0.0.1:{port}")
        steps: dict[str, object] = dict.fromkeys(("start", "photographs", "report", "dicom"), "")
        try:
            steps["start"] = started(client, service)
            if steps["start"] == "ready":
                examine(client, burst, steps, confirmed)
        finally:
            client.close()
            service.terminate()
            service.wait(30)
        steps |= {"held": round(group.peak_mb), "killed": group.killed}
    return {**steps, "record": checked(tenohira, record, confirmed)}


def started(client: Client, service: subprocess.Popen[bytes]) -> str:
    """``ready``, or why not."""
    end = time.monotonic() + START
    while service.poll() is None and time.monotonic() < end:
        try:
            client.status()
            return "ready"
        except Refused as refused:
            if TOO_LITTLE in refused.sentence:
                return f"refused, {refused.status}"
        except httpx.TransportError:  # not yet
            pass
        time.sleep(0.2)
    return "ended" if service.poll() is not None else "no answer"


def examine(client: Client, burst: str, steps: dict[str, object], confirmed: list[str]) -> None:
    """Photograph, finish, and ask for the files of the visit."""
    client.set(burst=burst)
    visit = client.visit()["uid"]
    client.live()

    def photograph() -> None:
        confirmed.append(client.capture(visit)["uid"])

    outcomes = [step(photograph) for _ in range(CAPTURES)]
    steps["photographs"] = "; ".join(f"{outcomes.count(o)} {o}" for o in dict.fromkeys(outcomes))
    client.finish(visit)
    steps["report"] = step(lambda: client.get(f"/visits/{visit}/report.pdf"))
    steps["dicom"] = step(lambda: client.get(f"/visits/{visit}/dicom.zip"))


def step(ask: Callable[[], object]) -> str:
    """``done``, ``refused`` for want of memory, or what it said else."""
    try:
        ask()
        return "done"
    except Refused as refused:
        return f"refused, {refused.status}" if TOO_LITTLE in refused.sentence else f"FAILED: {refused}"
    except httpx.TransportError as error:
        return f"FAILED: {type(error).__name__}"


def checked(tenohira: list[str], record: Path, confirmed: list[str]) -> str:
    """``ok`` where the record is whole and holds what was confirmed; ``none`` where it was never begun."""
    if not record.exists():
        return "none" if not confirmed else "LOST"
    said = subprocess.run(
        [*tenohira, "audit", "verify", "--store", str(record)], cwd=ROOT, capture_output=True, text=True
    )
    if said.returncode:
        return f"NOT WHOLE: {said.stdout.strip()}"
    listed = subprocess.run(
        [*tenohira, "record", "list", "--json", "--store", str(record)], cwd=ROOT, capture_output=True, text=True
    ).stdout
    return "ok" if all(uid in listed for uid in confirmed) else "LOST"


if __name__ == "__main__":
    sys.exit(main())
