"""TensorFlow -> TFLite by the official converter: float, and int8 from end to end with a proof that it is."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from quantize import tflite
from quantize.calibration import Ranges
from quantize.errors import NotInt8Error
from quantize.onnx_to_tf import Graph

INPUT_SCALE = 1 / 255
INPUT_ZERO_POINT = -128
# Operands that are int32 by the format: biases, axes, shapes, sizes and paddings, by operator and position.
INT32_OPERANDS = {
    ("CONV_2D", 2),
    ("DEPTHWISE_CONV_2D", 2),
    ("TRANSPOSE_CONV", 0),
    ("TRANSPOSE_CONV", 3),
    ("MEAN", 1),
    ("RESHAPE", 1),
    ("RESIZE_NEAREST_NEIGHBOR", 1),
    ("RESIZE_BILINEAR", 1),
    ("PAD", 1),
}


def to_float(graph: Graph) -> bytes:
    """The float TFLite model: input 1 x S x S x 3 in [0, 1]."""
    return bytes(_converter(graph, (1, graph.size, graph.size, 3)).convert())


def to_int8(graph: Graph, ranges: Ranges) -> bytes:
    """The full-int8 TFLite model. The fake quantization on each tensor hands our ranges to the converter, which
    honours them without adding operators (TensorFlow 2.21)."""

    def fix_range(name: str, x: tf.Tensor) -> tf.Tensor:
        return tf.quantization.fake_quant_with_min_max_vars(x, *ranges[name])

    return _int8(lambda image: graph(image, fix_range), (1, graph.size, graph.size, 3))


def convolution_int8(size: int, width: int) -> bytes:
    """One 3 x 3 "same" convolution with bias and ReLU on a map of ``size`` x ``size`` x ``width``, with random
    weights, as a full-int8 TFLite model: what the runtime's kernels reach without anything around them."""
    kernel = np.random.default_rng(0).normal(0, (2 / (9 * width)) ** 0.5, (3, 3, width, width)).astype(np.float32)

    def layer(x: tf.Tensor) -> tf.Tensor:
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 1.0)
        y = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), np.full(width, 0.1, np.float32)))
        return tf.quantization.fake_quant_with_min_max_vars(y, 0.0, 4.0)

    return _int8(layer, (1, size, size, width))


def _int8(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> bytes:
    converter = _converter(function, shape)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")  # the fake quantization gives them
        return bytes(converter.convert())


def _converter(function: Callable[[tf.Tensor], tf.Tensor], shape: tuple[int, ...]) -> tf.lite.TFLiteConverter:
    spec = tf.TensorSpec(shape, tf.float32, name="image")
    module = tf.Module()
    module.function = tf.function(lambda image: function(image), input_signature=[spec])
    return tf.lite.TFLiteConverter.from_concrete_functions([module.function.get_concrete_function()], module)


def int8_operators(model: bytes) -> dict[str, int]:
    """Operator name -> count, after checking that every tensor that an operator reads or writes is int8 (or
    int32 where the format has it so) and that the input is ``uint8 - 128``. Raises NotInt8Error otherwise."""
    types = {v: k for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
    parsed = tflite.parse(model)
    (subgraph,) = parsed.subgraphs
    names = tflite.operators(parsed)
    for name, operator in zip(names, subgraph.operators):
        operands = [(i, t) for i, t in enumerate(operator.inputs) if t >= 0] + [(-1, t) for t in operator.outputs]
        for position, index in operands:
            tensor = subgraph.tensors[index]
            kind = types[tensor.type]
            if kind != "INT8" and not (kind == "INT32" and (name, position) in INT32_OPERANDS):
                raise NotInt8Error(
                    f"operator {name} has the {kind} tensor {tensor.name.decode()!r}: the model is not int8 from "
                    "end to end; replace that operator in the network"
                )
    (image,) = subgraph.inputs
    quantization = subgraph.tensors[image].quantization
    scale, zero_point = float(quantization.scale[0]), int(quantization.zeroPoint[0])
    if abs(scale - INPUT_SCALE) > 1e-8 or zero_point != INPUT_ZERO_POINT:
        raise NotInt8Error(
            f"the input has scale {scale} and zero point {zero_point} instead of 1/255 and -128: the device feeds "
            "uint8 - 128; the input's range must be 0 to 1"
        )
    return dict(sorted(Counter(names).items()))
