"""A bundle as C: the model as an array, and a header with what a firmware needs to know of it."""

from __future__ import annotations

import hashlib
import math
import re
import textwrap

import device
from device.bundle import Bundle, TensorSpec
from device.cli import NOTICE

BYTES_IN_LINE = 16
ALIGNMENT = 16  # bytes: what TensorFlow Lite Micro asks of a model and of an arena
MEANING = {
    "segmentation": "Above ZERO_POINT is inside.",
    "classification": "The manifest's probability and operating points make a decision of it.",
}
SIDES = ("BATCH", "HEIGHT", "WIDTH", "CHANNELS")


def identifier(name: str) -> str:
    """A bundle's name as a C identifier, which also names its files: ``Disc-cup 2`` -> ``disc_cup_2``."""
    words = re.sub(r"[^0-9a-zA-Z]+", "_", name).strip("_").lower()
    return words if re.match(r"[a-z]", words) else f"model_{words}"


def array(bundle: Bundle) -> str:
    """NAME_model.c: the model, aligned and constant. C11 or C++."""
    name = identifier(bundle.manifest.name)
    data = bundle.model
    lines = [
        "    " + "".join(f"0x{byte:02x}," for byte in data[i : i + BYTES_IN_LINE])
        for i in range(0, len(data), BYTES_IN_LINE)
    ]
    return "\n".join([
        *_opening(bundle),
        f'#include "{name}.h"',
        "",
        "#include <stdalign.h>",
        "",
        f"alignas({ALIGNMENT}) const unsigned char {name}_model[{name.upper()}_MODEL_BYTES] = {{",
        *lines,
        "};",
        "",
    ])  # fmt: skip


def header(bundle: Bundle, arena: int, operators: list[str]) -> str:
    """NAME.h for a model that ran in an ``arena`` of so many bytes; ``operators`` in any order."""
    m = bundle.manifest
    name = identifier(m.name)
    upper = name.upper()
    methods = [method(operator) for operator in sorted(set(operators))]
    calls = " && \\\n     ".join(f"(resolver).{each}() == kTfLiteOk" for each in methods)
    return "\n".join([
        *_opening(bundle),
        f"#ifndef TENOHIRA_{upper}_H",
        f"#define TENOHIRA_{upper}_H",
        "",
        f'#define {upper}_VERSION "{_plain(m.version)}"',
        f'#define {upper}_MODEL_SHA256 "{hashlib.sha256(bundle.model).hexdigest()}"',
        f"#define {upper}_MODEL_BYTES {len(bundle.model)}",
        "",
        f"// The least tensor arena, aligned to {ALIGNMENT} bytes, in which it ran: on x86-64, with the reference",
        "// kernels of TensorFlow Lite Micro. Optimized kernels (CMSIS-NN, Ethos-U) take scratch memory of their",
        "// own: ask MicroInterpreter::arena_used_bytes() on the board.",
        f"#define {upper}_ARENA_BYTES {arena}",
        "",
        "// int8, channels last. The input is RGB, pixel - 128; real value = SCALE * (stored - ZERO_POINT).",
        *_tensor(f"{upper}_INPUT", m.input),
        "",
        f"// int8 logits: {_plain(', '.join(m.classes))}. {MEANING[m.kind]}",
        *_tensor(f"{upper}_OUTPUT", m.output),
        "",
        "// tflite::MicroMutableOpResolver<" + f"{upper}_OPERATORS> resolver;  true: all were added.",
        f"#define {upper}_OPERATORS {len(methods)}",
        f"#define {upper}_ADD_OPERATORS(resolver) \\",
        f"    ({calls})",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        f"extern const unsigned char {name}_model[{upper}_MODEL_BYTES];",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ])  # fmt: skip


def method(operator: str) -> str:
    """The resolver's method for a builtin operator: ``MAX_POOL_2D`` -> ``AddMaxPool2D``."""
    words = operator.split("_")
    return "Add" + "".join(word if word[0].isdigit() else word.capitalize() for word in words)


def _opening(bundle: Bundle) -> list[str]:
    m = bundle.manifest
    made = f"written by tenohira {device.__version__} from a bundle signed by {bundle.signer}; do not edit."
    texts = (f"{m.name} {m.version} ({m.task}), {made}", NOTICE, m.licence, m.intended_use)
    return [*(f"// {line}" for text in texts for line in textwrap.wrap(_plain(text), 110)), ""]


def _tensor(prefix: str, spec: TensorSpec) -> list[str]:
    sides = list(zip(SIDES, spec.shape)) if len(spec.shape) == len(SIDES) else [("COUNT", spec.shape[-1])]
    return [
        *(f"#define {prefix}_{side} {length}" for side, length in sides),
        f"#define {prefix}_BYTES {math.prod(spec.shape)}",
        f"#define {prefix}_SCALE {spec.scale!r}f",
        f"#define {prefix}_ZERO_POINT ({spec.zero_point})",
    ]


def _plain(text: str) -> str:
    """Text without what would end a line of comment or a string in C."""
    return re.sub(r'[\\"\s]+', " ", text)
