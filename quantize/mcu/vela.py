"""Arm's compiler for the Ethos-U accelerators: does it take a whole network, and what does it expect of it?

Its cycles and memory are estimates of a compiler, for a system with the clock and the memories that its own
configuration file (``Arm/vela.ini``) describes under the name given here.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from quantize import tflite
from quantize.errors import McuError

CONFIGURATION = "Arm/vela.ini"
MEMORY = "Shared_Sram"  # feature maps in SRAM, weights in flash
SYSTEMS = {
    "ethos-u55-64": "Ethos_U55_Deep_Embedded",
    "ethos-u55-128": "Ethos_U55_High_End_Embedded",
    "ethos-u55-256": "Ethos_U55_High_End_Embedded",
    "ethos-u65-256": "Ethos_U65_Embedded",
    "ethos-u85-256": "Ethos_U85_SYS_Flash_High",
}
OPERATOR = "ethos-u"  # what an accelerator runs is one operator of this name


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the compiler expects of one inference; memory in bytes."""

    accelerator: str
    system: str
    memory: str
    clock_hz: int
    cycles: int
    milliseconds: float
    sram: int
    flash: int


def estimate(name: str, model: bytes, accelerator: str) -> Estimate:
    """Compile an int8 TFLite model for an accelerator of ``SYSTEMS``. Raises McuError where the compiler fails or
    leaves an operator to the CPU."""
    system = SYSTEMS[accelerator]
    with tempfile.TemporaryDirectory(prefix="tenohira-mcu-") as work:
        folder = Path(work)
        (folder / "model.tflite").write_bytes(model)
        done = subprocess.run(
            [sys.executable, "-m", "ethosu.vela", "model.tflite", "--output-dir", ".", "--config", CONFIGURATION,
             "--accelerator-config", accelerator, "--system-config", system, "--memory-mode", MEMORY],
            cwd=folder, capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        compiled = folder / "model_vela.tflite"
        if done.returncode or not compiled.is_file():
            said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-1]
            raise McuError(
                f"{name}: ethos-u-vela cannot compile it for {accelerator} ({said}); leave that accelerator out "
                "of --accelerators, or make the network of operators that it takes"
            )
        left = sorted(set(tflite.operators(tflite.parse(compiled.read_bytes()))) - {OPERATOR})
        (summary,) = folder.glob("model_summary_*.csv")
        with summary.open(newline="") as file:
            (figures,) = csv.DictReader(file)
    if left:
        raise McuError(
            f"{name}: on {accelerator} the CPU would have to run {', '.join(left)}; make the network without, or "
            "leave that accelerator out of --accelerators"
        )
    return Estimate(
        accelerator,
        system,
        MEMORY,
        clock_hz=round(float(figures["core_clock"])),
        cycles=round(float(figures["cycles_total"])),
        milliseconds=1e3 * float(figures["inference_time"]),
        sram=round(1024 * float(figures["sram_memory_used"])),
        flash=round(1024 * float(figures["off_chip_flash_memory_used"])),
    )
