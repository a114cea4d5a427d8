"""What was found of a bundle: JSON for machines, Markdown for the screen."""

from __future__ import annotations

from importlib.metadata import version

import msgspec

from quantize.card import table
from quantize.mcu.maps import Widest
from quantize.mcu.micro import Micro
from quantize.mcu.vela import Estimate

SCHEMA = 1
HEADER = ("accelerator", "system", "clock", "cycles", "ms", "SRAM", "flash")
LIMITS = (
    "Arena: reference kernels, pointers of 64 bits. On a 32-bit core what is not feature maps shrinks; optimized "
    "kernels add scratch memory.",
    "Cycles, milliseconds and memory of the accelerators are the compiler's estimates, measured on no board.",
)


class Report(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle that passed. ``maps`` says what its arena cannot go below, ``tools`` the packages' versions."""

    schema: int
    name: str
    version: str
    sha256: str  # of the model
    bytes: int  # of the model
    operators: dict[str, int]
    micro: Micro
    maps: Widest
    accelerators: list[Estimate]
    tools: dict[str, str]
    files: list[str]
    notice: str
    limits: tuple[str, ...] = LIMITS


def tools() -> dict[str, str]:
    """The versions of what was checked with."""
    return {name: version(name) for name in ("tflite-micro", "ethos-u-vela", "ai-edge-litert")}


def markdown(r: Report) -> str:
    """The report for people; kB are 1000 bytes."""
    lines = [
        f"{r.name} {r.version}: {_kb(r.bytes)}, {sum(r.operators.values())} operators, all int8",
        f"tflite-micro {r.tools['tflite-micro']}: runs in an arena of {_kb(r.micro.arena)} ({r.micro.arena} "
        f"bytes), equal to the reference kernels to the bit on {r.micro.inputs} inputs",
        f"widest at operator {r.maps.place}, {r.maps.operator}: {_kb(r.maps.bytes)} of feature maps at once",
    ]
    if r.accelerators:
        rows = [
            (e.accelerator, e.system, f"{e.clock_hz / 1e6:.0f} MHz", f"{e.cycles}", f"{e.milliseconds:.2f}",
             _kb(e.sram), _kb(e.flash))
            for e in r.accelerators
        ]  # fmt: skip
        lines += [
            f"ethos-u-vela {r.tools['ethos-u-vela']}: no operator is left to the CPU; its estimates "
            f"(memory mode {r.accelerators[0].memory}):",
            table(HEADER, rows),
        ]
    return "\n\n".join([*lines, *(f"* {limit}" for limit in r.limits), *r.files])


def _kb(count: int) -> str:
    return f"{count / 1000:.0f} kB"
