"""One candidate in a process of its own: ``python -m quantize.bench.worker SPEC``, or this file under a Python
that has nothing of ours (tflite-runtime's), so its head imports what any Python with numpy has.

SPEC is JSON, ``{"kind": ..., "options": {...}}``. The process answers a line of JSON when it is loaded, and then
one for each line ``N`` on its standard input: the milliseconds of N runs, one after the other, and its memory. It
imports only what its candidate needs, so that its memory is the candidate's.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SEED = 0


class Subject(NamedTuple):
    """What is timed, and what it tells after a turn (memory too, where it is not this process's)."""

    once: Callable[[], object]
    extra: Callable[[], dict[str, Any]] = dict


def int8(model: str, threads: int) -> Subject:
    """An int8 TFLite file in the device's runtime: input copied in, run, output copied out."""
    from device.runtime import Network

    network = Network(Path(model).read_bytes(), threads)
    x = np.random.default_rng(SEED).integers(-128, 128, network.input.shape, np.int8)
    return Subject(lambda: network.run(x))


def roof(model: str, threads: int) -> Subject:
    """The kernels of an int8 TFLite file alone: nothing is copied, which would lower the roof."""
    from device.runtime import Network

    network = Network(Path(model).read_bytes(), threads)
    network.run(np.random.default_rng(SEED).integers(-128, 128, network.input.shape, np.int8))
    return Subject(network._interpreter.invoke)


def pipeline(arguments: list[str]) -> Subject:
    """``Pipeline.screen`` on a decoded photograph, with the arguments of ``tenohira screen``; tells the networks'
    share of the time and how often each of them ran."""
    from device.commands.screen import add_arguments
    from device.imaging import read_image
    from device.pipeline import Model, Pipeline, Stopwatch

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args(arguments)
    machine = Pipeline.load(args.bundles, args.keys, threads=args.threads)
    frame = read_image(args.paths[0])
    runs = dict.fromkeys(machine.models, 0)
    for task, m in machine.models.items():
        machine.models[task] = Model(_Counted(m.network, runs, task), m.manifest)
    shares: list[float] = []

    def once() -> None:
        clock = Stopwatch()
        start = time.perf_counter()
        machine.screen(frame, clock=clock)
        took = (time.perf_counter() - start) * 1e3
        shares.append(sum(clock.ms.get(task, 0.0) for task in runs) / took)

    def extra() -> dict[str, Any]:
        of_one = {task: n // len(shares) for task, n in runs.items()}
        return {"network_runs": of_one, "network_share": float(np.median(shares))}

    return Subject(once, extra)


def network_runs(arguments: list[str]) -> dict[str, int]:
    """How often each task's network runs for a photograph, with the arguments of ``tenohira screen``."""
    subject = pipeline(arguments)
    subject.once()
    runs: dict[str, int] = subject.extra()["network_runs"]
    return runs


def capture(photograph: str, arguments: list[str], folder: str) -> Subject:
    """``Instrument.capture``: from the shutter to the verdict, with everything on the disk, on a camera that hands
    over the same photograph at once; each the first of an examination, in a record in ``folder``."""
    from device.commands.screen import add_arguments
    from device.imaging import read_image
    from device.instrument import Instrument
    from device.store import Store

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([photograph, *arguments])
    store = Store(Path(folder))
    camera: Any = _SameAgain(read_image(photograph))
    instrument = Instrument(store, camera, bundles=args.bundles, keys=args.keys, threads=args.threads)
    return Subject(lambda: instrument.capture(store.begin("BENCH").uid, "OD"))


class _SameAgain:
    """A camera that gives the same frame whenever it is asked."""

    name = "benchmark"

    def __init__(self, frame: Any) -> None:
        self.still = self.preview = lambda *_: frame
        height, width = frame.pixels.shape[:2]
        self.still_size = lambda *_: (width, height)

    def set(self, controls: Any) -> None: ...
    def close(self, deadline: float = 5.0) -> None: ...


def coaching(photograph: str, width: int) -> Subject:
    """What the live picture costs beside the camera: ``coach`` and the JPEG for the page, on a preview frame."""
    import cv2

    from device.coaching import Coach
    from device.imaging import encode_jpeg, read_image
    from device.live import PREVIEW_QUALITY

    pixels = read_image(photograph).pixels
    height = round(pixels.shape[0] * width / pixels.shape[1])
    frame = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    coach = Coach()
    return Subject(lambda: (coach.see(frame), encode_jpeg(frame, PREVIEW_QUALITY)))


class _Counted:
    """A network that counts its runs."""

    def __init__(self, network: Any, runs: dict[str, int], task: str) -> None:
        self.input, self.output = network.input, network.output
        self._run, self._runs, self._task = network.run, runs, task

    def run(self, x: Any) -> Any:
        self._runs[self._task] += 1
        return self._run(x)


def torch(recipe: dict[str, Any], threads: int) -> Subject:
    """A recipe's network with fresh weights in PyTorch, eager, float32."""
    import msgspec
    import torch as framework

    from train.networks import build
    from train.recipe import Recipe

    framework.set_num_threads(threads)
    read = msgspec.convert(recipe, Recipe)
    network = build(read.network, read.outputs).eval()
    x = framework.rand(1, 3, read.size, read.size)

    def once() -> None:
        with framework.inference_mode():
            network(x)

    return Subject(once)


def tflite_runtime(model: str, threads: int) -> Subject:
    """An int8 TFLite file in tflite-runtime, in that runtime's own interpreter: nothing of ours is imported there.
    Copies as ``int8`` does."""
    from tflite_runtime.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=threads)
    interpreter.allocate_tensors()
    (image,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = np.random.default_rng(SEED).integers(-128, 128, image["shape"], np.int8)

    def once() -> object:
        interpreter.set_tensor(image["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(logits["index"])

    return Subject(once)


def onnxruntime(model: str, threads: int) -> Subject:
    """An ONNX file with float32 input and output in ONNX Runtime, whatever it computes in."""
    import onnxruntime as framework

    options = framework.SessionOptions()
    options.intra_op_num_threads = threads
    session = framework.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    x = np.random.default_rng(SEED).random(image.shape, np.float32)
    return Subject(lambda: session.run(None, {image.name: x}))


# What it prints last is its memory. VmHWM, not ru_maxrss: that one starts at what the parent had when it forked.
COMMAND = """
import json, sys
from device.cli import main
code = main(sys.argv[1:])
from quantize.bench.worker import memory
print(json.dumps(memory()))
sys.exit(code)
"""


def screen(arguments: list[str]) -> Subject:
    """``tenohira screen`` in a new process, from its start to the first line that it prints: the verdict."""
    command = [sys.executable, "-c", COMMAND, "screen", *arguments]
    running: list[subprocess.Popen[str]] = []

    def once() -> None:
        running.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
            )
        )
        assert running[-1].stdout is not None  # it was asked for
        running[-1].stdout.readline()

    def extra() -> dict[str, Any]:
        process = running.pop()
        said = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"it ended with {process.returncode}")
        told: dict[str, Any] = json.loads(said.splitlines()[-1])
        return told

    return Subject(once, extra)


KINDS: dict[str, Callable[..., Subject]] = {
    "int8": int8, "roof": roof, "pipeline": pipeline, "torch": torch, "onnxruntime": onnxruntime,
    "onnxruntime_int8": onnxruntime, "tflite_runtime": tflite_runtime,
    "screen": screen, "capture": capture, "coaching": coaching,
}  # fmt: skip


def memory() -> dict[str, float]:
    """This process's peak and present resident memory in MB (2**20 bytes); empty where there is no /proc."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return {}
    found = dict(re.findall(r"^(VmHWM|VmRSS):\s*(\d+) kB", status, re.MULTILINE))
    return {"peak_mb": int(found["VmHWM"]) / 1024, "steady_mb": int(found["VmRSS"]) / 1024}


def main() -> None:
    """Load, then answer until the standard input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not an answer

    def say(reply: dict[str, Any]) -> None:
        replies.write(json.dumps(reply) + "\n")
        replies.flush()

    spec = json.loads(sys.argv[1])
    subject = KINDS[spec["kind"]](**spec["options"])
    say({})
    for line in sys.stdin:
        ms = []
        for _ in range(int(line)):
            start = time.perf_counter_ns()
            subject.once()
            ms.append((time.perf_counter_ns() - start) / 1e6)
        say({"ms": ms, **memory(), **subject.extra()})


if __name__ == "__main__":
    main()
