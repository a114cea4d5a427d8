"""Activation ranges: the real minimum and maximum of every tensor over real inputs.

Moving averages clip the logits and percentiles gain nothing (both measured). A range is never narrower than
``MIN_RANGE``: a dead attention gate would otherwise get a scale near 1e-8, and XNNPACK would refuse the network.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from quantize.errors import CalibrationError
from quantize.onnx_to_tf import Graph

MIN_RANGE = 0.05
BATCH = 8

Ranges = dict[str, tuple[float, float]]
Images = npt.NDArray[np.uint8]


def calibrate(graph: Graph, images: Images) -> Ranges:
    """Minimum and maximum of each observed tensor by name, over N x S x S x 3 ``uint8`` images.

    Every range holds zero and is at least MIN_RANGE wide; the input's is 0 to 1, which makes its int8 form
    ``uint8 - 128`` exactly. Raises CalibrationError for no images, images of another size, and values that
    are not finite.
    """
    if images.ndim != 4 or not len(images):
        raise CalibrationError("the calibration set is empty; give the data that the recipe names (--data)")
    if images.shape[1:] != (graph.size, graph.size, 3) or images.dtype != np.uint8:
        raise CalibrationError(
            f"calibration images are {images.shape[1:]} {images.dtype}, the network takes "
            f"{(graph.size, graph.size, 3)} uint8; prepare them with train.inputs at the recipe's size"
        )

    @tf.function(input_signature=[tf.TensorSpec([None, *images.shape[1:]], tf.uint8)])  # type: ignore[untyped-decorator]
    def extremes(batch: tf.Tensor) -> dict[str, tf.Tensor]:
        seen: dict[str, tf.Tensor] = {}

        def observe(name: str, x: tf.Tensor) -> tf.Tensor:
            seen[name] = tf.stack([tf.reduce_min(x), tf.reduce_max(x)])
            return x

        graph(tf.cast(batch, tf.float32) / 255.0, observe)
        return seen

    low: dict[str, float] = {}
    high: dict[str, float] = {}
    for start in range(0, len(images), BATCH):
        for name, pair in extremes(images[start : start + BATCH]).items():
            a, b = (float(v) for v in pair)
            if not (np.isfinite(a) and np.isfinite(b)):
                raise CalibrationError(
                    f"tensor {name!r} is not finite on the calibration set: these weights overflow; train again"
                )
            low[name], high[name] = min(a, low.get(name, 0.0)), max(b, high.get(name, 0.0))
    ranges = {name: (low[name], max(high[name], low[name] + MIN_RANGE)) for name in low}
    return ranges | {graph.input: (0.0, 1.0)}
