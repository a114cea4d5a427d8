"""ONNX (NCHW) -> TensorFlow (NHWC): a strict builder for the operators that this family and its references have.

Any other operator, and any variant that is not translated exactly, is an error that names it. Vectors
(B x C: pooled maps, gates, class logits) stay B x 1 x 1 x C inside, so that a dense layer is a 1 x 1
convolution and a gate needs no reshape: fewer operators, and all of them known to XNNPACK.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf

from quantize.errors import UnsupportedOperatorError

Constant = npt.NDArray[Any]
Attributes = dict[str, Any]
Observer = Callable[[str, tf.Tensor], tf.Tensor]
Translator = Callable[[Attributes, Sequence[Any]], tf.Tensor]


class Graph:
    """A checked ONNX graph that can be run or traced in TensorFlow.

    ``graph(image, observe)`` takes B x S x S x 3 in [0, 1] and returns the logits, B x h x w x classes or
    B x classes. ``observe(name, tensor)`` sees, and may replace, each tensor that has a range of its own: the
    input, and the results of all operators but those that pass their input's values on (pooling, nearest
    resize) or have a fixed range (sigmoid); where a ReLU (or ReLU6) follows, only its result, as they are fused.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
        self.constants |= {n.output[0]: _constant(n) for n in graph.node if n.op_type == "Constant"}
        self.nodes = [n for n in graph.node if n.op_type != "Constant"]
        unknown = sorted({n.op_type for n in self.nodes} - OPERATORS.keys())
        if unknown:
            raise UnsupportedOperatorError(
                f"the network has operators that cannot be translated: {', '.join(unknown)}; "
                f"build it from {', '.join(OPERATORS)}, or add a translation to quantize/onnx_to_tf.py"
            )
        self.input = graph.input[0].name
        self.output = graph.output[0].name
        self.size = int(graph.input[0].type.tensor_type.shape.dim[2].dim_value)
        self.vector_output = len(graph.output[0].type.tensor_type.shape.dim) == 2
        consumers: dict[str, list[str]] = {}
        for node in self.nodes:
            for name in node.input:
                consumers.setdefault(name, []).append(node.op_type)
        self.fused = {name for name, users in consumers.items() if len(users) == 1 and users[0] in RECTIFIERS}
        self.rectified = {n.output[0] for n in self.nodes if n.op_type in RECTIFIERS}

    def __call__(self, image: tf.Tensor, observe: Observer = lambda name, x: x) -> tf.Tensor:
        values: dict[str, Any] = {**self.constants, self.input: observe(self.input, image)}
        for node in self.nodes:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            attributes["rectified"] = node.input[0] in self.rectified  # not of ONNX: no value is negative
            name = node.output[0]
            try:
                result = OPERATORS[node.op_type](attributes, [values[i] if i else None for i in node.input])
            except _VariantError as refused:
                raise UnsupportedOperatorError(
                    f"operator {node.op_type} ({name}): {refused}; change the network, "
                    "or add the variant to quantize/onnx_to_tf.py"
                ) from None
            own_range = node.op_type not in _SAME_OR_FIXED_RANGE and name not in self.fused
            values[name] = observe(name, result) if own_range else result
        logits = values[self.output]
        return tf.reshape(logits, [-1, logits.shape[-1]]) if self.vector_output else logits


class _VariantError(Exception):
    """A variant of a known operator that is not translated."""


def _constant(node: onnx.NodeProto) -> Constant:
    value: Constant = onnx.numpy_helper.to_array(onnx.helper.get_node_attr_value(node, "value"))
    return value


def _refuse_unless(condition: bool, why: str) -> None:
    if not condition:
        raise _VariantError(why)


def _ints(attributes: Attributes, name: str, default: Sequence[int]) -> tuple[int, ...]:
    return tuple(attributes.get(name) or default)


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """What TensorFlow's SAME pads before and after."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def _conv(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    x, weight, bias = (*inputs, None)[:3]
    groups = attributes.get("group", 1)
    _refuse_unless(groups == 1 or groups == x.shape[3] == weight.shape[0], "groups of several channels")
    _refuse_unless(attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad")
    strides, dilations = _ints(attributes, "strides", (1, 1)), _ints(attributes, "dilations", (1, 1))
    top, left, bottom, right = _ints(attributes, "pads", (0, 0, 0, 0))
    same = [_same_padding(x.shape[1 + i], weight.shape[2 + i], strides[i], dilations[i]) for i in (0, 1)]
    if same == [(top, bottom), (left, right)]:
        padding = "SAME"
    else:
        padding = "VALID"
        if top or left or bottom or right:  # correct, but costs a PAD; train with right and bottom padding
            x = tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])
    if groups > 1:  # a filter for each channel alone
        kernel = np.transpose(weight, (2, 3, 0, 1))  # C 1 h w -> h w C 1
        y = tf.nn.depthwise_conv2d(x, kernel, (1, *strides, 1), padding, dilations=dilations)
    else:
        kernel = np.transpose(weight, (2, 3, 1, 0))  # O I h w -> h w I O
        y = tf.nn.conv2d(x, kernel, strides, padding, dilations=dilations)
    return y if bias is None else tf.nn.bias_add(y, bias)


def _conv_transpose(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    x, weight, bias = (*inputs, None)[:3]
    steps = _ints(attributes, "strides", (1, 1))
    _refuse_unless(attributes.get("group", 1) == 1, "groups")
    _refuse_unless(attributes.get("auto_pad", b"NOTSET") == b"NOTSET", "auto_pad")
    _refuse_unless("output_shape" not in attributes, "output_shape")
    padded = any((*_ints(attributes, "pads", (0,)), *_ints(attributes, "output_padding", (0,))))
    _refuse_unless(not padded and weight.shape[2:] == steps, "padding, or a kernel other than the stride")
    _refuse_unless(_ints(attributes, "dilations", (1, 1)) == (1, 1), "dilation")
    batch = x.shape[0] or tf.shape(x)[0]
    size = [batch, x.shape[1] * steps[0], x.shape[2] * steps[1], weight.shape[1]]
    kernel = np.transpose(weight, (2, 3, 1, 0))  # I O h w -> h w O I
    y = tf.nn.conv2d_transpose(x, kernel, size, steps, "VALID")
    return y if bias is None else tf.nn.bias_add(y, bias)


def _gemm(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    x, weight, bias = (*inputs, None)[:3]
    _refuse_unless(not attributes.get("transA") and attributes.get("alpha", 1.0) == 1.0, "transA or alpha")
    kernel = weight.T if attributes.get("transB") else weight  # I O
    y = tf.nn.conv2d(x, kernel[None, None], 1, "VALID")
    return y if bias is None else tf.nn.bias_add(y, bias * np.float32(attributes.get("beta", 1.0)))


def _max_pool(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    x, (top, left, bottom, right) = inputs[0], _ints(attributes, "pads", (0, 0, 0, 0))
    _refuse_unless(not attributes.get("ceil_mode"), "ceil_mode")
    if top or left or bottom or right:  # ONNX pads with -infinity: zero is the same where nothing is negative
        _refuse_unless(attributes["rectified"], "padding of values that may be negative")
        x = tf.pad(x, [[0, 0], [top, bottom], [left, right], [0, 0]])
    return tf.nn.max_pool2d(x, attributes["kernel_shape"], attributes["strides"], "VALID")


def _mean(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    axes = inputs[1] if len(inputs) > 1 else (2, 3)  # GlobalAveragePool has no axes
    _refuse_unless(sorted(int(a) % 4 for a in axes) == [2, 3], "axes other than height and width")
    return tf.reduce_mean(inputs[0], (1, 2), keepdims=True)


def _resize(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    x, _, scales, sizes = (*inputs, None)[:4]
    if sizes is not None:
        scales = [1, 1, sizes[2] / x.shape[1], sizes[3] / x.shape[2]]
    _refuse_unless(list(scales[:2]) == [1, 1], "other than height and width")
    _refuse_unless(scales[2] == scales[3] == int(scales[2]), "a scale that is not a whole number")
    size = [int(x.shape[1] * scales[2]), int(x.shape[2] * scales[3])]
    mode, grid = attributes["mode"], attributes["coordinate_transformation_mode"]
    if mode == b"nearest":
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)
    _refuse_unless(mode == b"linear" and grid in (b"half_pixel", b"pytorch_half_pixel"), f"{mode!r}, {grid!r}")
    return tf.raw_ops.ResizeBilinear(images=x, size=size, half_pixel_centers=True)


def _expand(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    """A pooled value repeated over a map, as a bilinear resize, which XNNPACK takes (a broadcast it does not)."""
    x, shape = inputs
    _refuse_unless(x.shape[1] == x.shape[2] == 1 and len(shape) == 4, "of anything but pooled values to a map")
    return tf.raw_ops.ResizeBilinear(images=x, size=[int(n) for n in shape[2:]], half_pixel_centers=True)


def _vector(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    """Reshapes between B x C and B x C x 1 x 1, which are the same thing here."""
    _refuse_unless(inputs[0].shape[1] == inputs[0].shape[2] == 1, "a reshape of a map")
    return inputs[0]


def _concat(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    _refuse_unless(attributes["axis"] in (1, -3), "an axis other than channels")
    return tf.concat(inputs, axis=3)


def _clip(attributes: Attributes, inputs: Sequence[Any]) -> tf.Tensor:
    bounds = [float(bound) for bound in inputs[1:] if bound is not None]
    _refuse_unless(bounds == [0, 6], "of anything but 0 to 6 (ReLU6)")
    return tf.nn.relu6(inputs[0])


def _operands(inputs: Sequence[Any]) -> Sequence[Any]:
    _refuse_unless(not any(isinstance(i, np.ndarray) for i in inputs), "a constant operand")
    return inputs


OPERATORS: dict[str, Translator] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "Relu": lambda attributes, inputs: tf.nn.relu(inputs[0]),
    "Clip": _clip,
    "Sigmoid": lambda attributes, inputs: tf.sigmoid(inputs[0]),
    "Add": lambda attributes, inputs: tf.add(*_operands(inputs)),
    "Mul": lambda attributes, inputs: tf.multiply(*_operands(inputs)),
    "MaxPool": _max_pool,
    "ReduceMean": _mean,
    "GlobalAveragePool": _mean,
    "Resize": _resize,
    "Concat": _concat,
    "Expand": _expand,
    "Unsqueeze": _vector,
    "Reshape": _vector,
    "Flatten": _vector,
}
RECTIFIERS = ("Relu", "Clip")
_SAME_OR_FIXED_RANGE = {"Sigmoid", "MaxPool", "Unsqueeze", "Reshape", "Flatten", "Resize", "Expand"}
