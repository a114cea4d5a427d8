"""Channels that use little of a map's range are enlarged, and the filters behind them made smaller.

All channels of an int8 map share one step, so a channel whose values end at a third of the map's range has a third
of the steps. Where a depthwise convolution follows, each channel has a filter of its own, and a step of weights of
its own: enlarging the channel by c and dividing that filter by c costs no weight a digit, and changes nothing in
float but where a photograph reaches farther than all that were looked at, into ReLU6's six. Cross-layer
equalization (Nagel et al., ICCV 2019, arXiv:1906.04721), there where it is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import tensorflow as tf

from quantize.calibration import BATCH, Images
from quantize.onnx_to_tf import Graph

MARGIN = 1.05  # a ReLU6 clips at 6: other photographs may reach farther than these
MOST = 16.0  # of a channel that is next to nothing


def equalize(graph: Graph, images: Images) -> None:
    """Change ``graph``'s weights and biases, by the largest values on N x S x S x 3 ``uint8`` images: of every
    convolution whose rectified result goes to a depthwise convolution alone."""
    alone = list(_alone(graph))
    largest = _largest(graph, {rectified for _, rectified, _ in alone}, images)
    for before, rectified, behind in alone:
        found = largest[rectified]
        by = np.clip(found.max() / np.maximum(MARGIN * found, 1e-6), 1, MOST)
        by[found <= 0] = 1
        for name in before.input[1:]:  # weights, and biases
            graph.constants[name] = _scaled(graph.constants[name], by)
        graph.constants[behind.input[1]] = _scaled(graph.constants[behind.input[1]], 1 / by)


def _alone(graph: Graph) -> Iterator[tuple[onnx.NodeProto, str, onnx.NodeProto]]:
    """Each convolution, its rectified result, and the depthwise convolution that alone takes that. Neither shares
    its weights."""
    made_by = {node.output[0]: node for node in graph.nodes}
    users = Counter(name for node in graph.nodes for name in node.input)
    for behind in filter(_depthwise, graph.nodes):
        name = behind.input[0]
        if name not in graph.rectified:
            continue
        before = made_by.get(made_by[name].input[0])
        if before is None or before.op_type != "Conv":
            continue
        if all(users[n] == 1 for n in (name, before.output[0], *before.input[1:], behind.input[1])):
            yield before, name, behind


def _largest(graph: Graph, names: set[str], images: Images) -> dict[str, npt.NDArray[np.float64]]:
    """The largest value of each channel of these maps. Without any, no image is looked at."""
    largest: dict[str, Any] = {}

    def observe(name: str, x: tf.Tensor) -> tf.Tensor:
        if name in names:
            found = tf.reduce_max(x, (0, 1, 2)).numpy().astype(np.float64)
            largest[name] = np.maximum(largest.get(name, 0.0), found)
        return x

    for start in range(0, len(images) if names else 0, BATCH):
        graph(tf.cast(images[start : start + BATCH], tf.float32) / 255.0, observe)
    return largest


def _depthwise(node: onnx.NodeProto) -> bool:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return node.op_type == "Conv" and int(attributes.get("group", 1)) > 1


def _scaled(of_channels: npt.NDArray[Any], by: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Weights (C x ...) or biases (C), each channel's times its factor."""
    return (of_channels * by.reshape(-1, *(1,) * (of_channels.ndim - 1))).astype(np.float32)
