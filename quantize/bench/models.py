"""Models that a benchmark makes: its peers, its roof, networks as ONNX. Each is made once and cached.

Time does not depend on weights, so they are random. A cached file's name holds a hash of everything that decides
its content: parameters, our sources, the tools' versions.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import quantize
import train
from quantize.errors import BenchError
from quantize.tools import versions
from train.recipe import NetworkSpec, Recipe, as_dict

OUTPUTS = 2  # of the peers: disc and cup
SOURCES = ("calibration.py", "chain.py", "convert.py", "export.py", "onnx_to_tf.py", "bench/models.py")


def folder() -> Path:
    """The user's cache for benchmarks."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tenohira", "bench")


def peer(name: str, spec: NetworkSpec, size: int) -> Path:
    """A network with random weights through the whole chain: int8 TFLite, size x size x 3."""

    def make() -> bytes:
        import torch

        from quantize.chain import int8_unchecked
        from train.networks import build

        torch.manual_seed(0)
        return int8_unchecked(build(spec, OUTPUTS), size, _noise(size))

    return _cached(f"{name}-{size}", ".tflite", {"spec": repr(spec), "outputs": OUTPUTS}, make)


def convolution(width: int, size: int) -> Path:
    """One int8 3 x 3 convolution of ``width`` channels on a map of size x size, as TFLite."""

    def make() -> bytes:
        from quantize.convert import convolution_int8, int8_operators

        model = convolution_int8(size, width)
        int8_operators(model)
        return model

    return _cached(f"conv-{width}-{size}", ".tflite", {}, make)


def onnx(recipe: Recipe) -> Path:
    """A recipe's network with fresh weights as float ONNX."""

    def make() -> bytes:
        import torch

        from quantize.export import to_onnx
        from train.networks import build

        torch.manual_seed(0)
        exported: bytes = to_onnx(build(recipe.network, recipe.outputs), recipe.size).SerializeToString()
        return exported

    return _cached(recipe.name, ".onnx", as_dict(recipe), make)


def onnx_int8(recipe: Recipe) -> Path:
    """The same ONNX in int8 by ONNX Runtime's own static quantization: QDQ, uint8 activations with ranges from the
    noise that calibrates the peers too, int8 weights by channel.

    With int8 activations it leaves half of the convolutions in float on x86-64: it turns tensors into uint8 there,
    but not those with two readers (the gates').
    """

    def make() -> bytes:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        class Noise(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                pixels = np.moveaxis(_noise(recipe.size), 3, 1).astype(np.float32) / 255
                self._images = iter(pixels[:, None])

            def get_next(self) -> dict[str, Any] | None:
                image = next(self._images, None)
                return None if image is None else {"image": image}

        with tempfile.TemporaryDirectory() as work:
            prepared, quantized = Path(work, "prepared.onnx"), Path(work, "int8.onnx")
            quant_pre_process(str(onnx(recipe)), str(prepared))
            quantize_static(
                str(prepared), str(quantized), Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
            return quantized.read_bytes()

    parameters = as_dict(recipe) | {"onnxruntime": metadata.version("onnxruntime")}
    return _cached(f"{recipe.name}-int8", ".onnx", parameters, make)


def _noise(size: int) -> npt.NDArray[np.uint8]:
    """Two images to calibrate with. A time depends on no range."""
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)


def _cached(name: str, suffix: str, parameters: dict[str, Any], make: Callable[[], bytes]) -> Path:
    """The file's path, after making it where it is missing: whole or not at all. Raises BenchError."""
    path = folder() / f"{name}-{_key(name, parameters)}{suffix}"
    if path.is_file():
        return path
    print(f"making {path.name} (once; it is kept in {folder()})", file=sys.stderr)
    data = make()
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    except OSError as error:
        raise BenchError(
            f"cannot write {path} ({error.strerror}); point XDG_CACHE_HOME to a folder that has room"
        ) from error
    return path


def _key(name: str, parameters: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps([name, parameters, versions()]).encode())
    ours = Path(quantize.__path__[0])
    for source in [*(ours / s for s in SOURCES), *sorted(Path(train.__path__[0], "networks").glob("*.py"))]:
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
