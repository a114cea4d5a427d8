#!/usr/bin/python3
"""Runs inside of the machine that counts instructions; the last line that it prints is JSON.

The machine's clock goes on by a nanosecond with each instruction, and while it waits it leaps to the next timer.
So everything is done once before it is measured, which brings all files into memory, and then several times: a
leap that came in nevertheless can only have added, so of all figures for the same thing the smallest one counts.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

PHOTOGRAPH = "/job/photograph.png"
TWICE = 2  # processes
PHOTOGRAPHS = 4  # of each process: the first is cold, the next ones are warm
ALONE = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
JOURNAL = "/tmp/journal"


def screened(out, times=PHOTOGRAPHS):
    """Nanoseconds and peak memory (kB) of a process, and the row of each photograph."""
    command = ["tenohira", "screen", *[PHOTOGRAPH] * times, "--json", "--threads", "1", "--out", out]
    with open(JOURNAL, "a") as journal:
        begun = time.monotonic_ns()
        process = subprocess.Popen(command, stderr=journal, **ALONE)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.monotonic_ns() - begun
    must(status == 0)
    with open(f"{out}/results.jsonl") as file:
        rows = [json.loads(line) for line in file]
    return {"nanoseconds": took, "peak_kb": usage.ru_maxrss, "rows": rows}


def served():
    """Nanoseconds until the service says that it is ready, and the memory (kB) that it holds then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear, open(JOURNAL, "a") as journal:
        ear.bind("\0ready")
        ear.settimeout(600)
        command = ["tenohira", "serve", "--camera", "simulated:3?size=512", "--store", "/tmp/record"]
        environment = {**os.environ, "NOTIFY_SOCKET": "@ready"}
        begun = time.monotonic_ns()
        process = subprocess.Popen([*command, "--threads", "1"], stderr=journal, env=environment, **ALONE)
        while b"READY=1" not in ear.recv(4096).split(b"\n"):
            must(process.poll() is None)
        took = time.monotonic_ns() - begun
        with open(f"/proc/{process.pid}/smaps_rollup") as file:
            held = {line.split()[0]: int(line.split()[1]) for line in file.readlines()[1:]}
        process.send_signal(signal.SIGTERM)
        must(process.wait() == 0)
    return {"nanoseconds": took, "rss_kb": held["Rss:"], "pss_kb": held["Pss:"]}


def must(good):
    """Ends the machine with what the instrument said, where something went wrong."""
    if not good:
        with open(JOURNAL) as file:
            sys.exit(file.read()[-8000:])


def main():
    """Once to have all files in memory, then to be counted."""
    subprocess.run(["mount", "--bind", "/job/opt", "/opt"], check=True)
    os.symlink("/opt/bin/tenohira", "/usr/local/bin/tenohira")
    screened("/tmp/first", 1)
    served()
    screen = [screened(f"/tmp/out{number}") for number in range(TWICE)]
    print(json.dumps({"screen": screen, "serve": [served() for _ in range(TWICE)]}))


if __name__ == "__main__":
    main()
