"""The network at each stage of the chain, behind one signature, so that any stage can be measured like any other.

A predictor takes one ``uint8`` S x S x 3 device input and returns float32 logits: h x w x classes for
segmentation, one value a class for classification.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from device.errors import MissingExtraError
from device.geometry import UInt8Image, to_int8
from device.pipeline import Runs
from device.runtime import Network

Logits = npt.NDArray[np.float32]
Predictor = Callable[[UInt8Image], Logits]


def torch_stage(network: torch.nn.Module) -> Predictor:
    """The trained network itself, on the CPU."""
    network = network.eval().cpu()

    def predict(image: UInt8Image) -> Logits:
        with torch.inference_mode():
            return _channels_last(network(torch.from_numpy(_channels_first(image))).numpy())

    return predict


def onnx_stage(model: bytes, threads: int = 1) -> Predictor:
    """The exported model in onnxruntime. Raises MissingExtraError where that is not installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "ONNX models need onnxruntime; install it with: pip install 'tenohira[quantize]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda image: _channels_last(session.run(None, {name: _channels_first(image)})[0])


def float_stage(model: bytes, threads: int = 1) -> Predictor:
    """The float TFLite model in LiteRT."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=threads)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(image: UInt8Image) -> Logits:
        interpreter.set_tensor(given, image[None].astype(np.float32) / np.float32(255))
        interpreter.invoke()
        logits: Logits = interpreter.get_tensor(result)[0]
        return logits

    return predict


def int8_stage(model: bytes, threads: int = 1, reference: bool = False, delegate: bool = True) -> Predictor:
    """The int8 TFLite model in the device's own runtime, ``dequantized``."""
    return dequantized(Network(model, threads=threads, reference=reference, delegate=delegate))


def dequantized(network: Runs) -> Predictor:
    """What runs in a device pipeline, with float logits (one LSB = the output's scale)."""
    scale, zero_point = np.float32(network.output.scale), network.output.zero_point
    return lambda image: (network.run(to_int8(image)[None])[0].astype(np.float32) - zero_point) * scale


def _channels_first(image: UInt8Image) -> Logits:
    """B x 3 x S x S in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / np.float32(255)


def _channels_last(logits: Logits) -> Logits:
    result: Logits = logits[0].transpose(1, 2, 0) if logits.ndim == 4 else logits[0]
    return result
