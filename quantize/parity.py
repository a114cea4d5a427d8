"""Every stage of the chain against the one before, with stated tolerances.

Float stages are compared by their largest logit difference as a share of the largest logit (of 1 where all
are smaller); int8 by logit differences in LSB (one step of the output) and, for segmentation, by the overlap
of the masks; the three sets of int8 kernels by both again. Kernels round differently, and a few pixels of a
network of thirty convolutions drift further than the rest: the tolerance is on 99.9 % of the logits, the worst
one is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from device.geometry import UInt8Image
from device.runtime import Network
from quantize.errors import CalibrationError, ParityError
from train.predictors import Logits, Predictor, float_stage, int8_stage, onnx_stage, torch_stage

ONNX_TOLERANCE = 1e-4  # share of the largest logit; seen: 1e-5
FLOAT_TOLERANCE = 1e-3  # the same; seen: 2e-5
MIN_MASK_IOU = 0.98  # mean over images and classes; seen: 0.99
# Of pieces in tiles, all together: a step of rounding moves edges, and pieces a tenth as wide as a disc have three
# to ten times its edge for their area; seen: 0.97
MIN_SCATTERED_IOU = 0.95
MAX_MEAN_LSB = 4.0  # mean logit difference, int8 against float; seen: 1
MAX_KERNEL_LSB = 4.0  # 99.9 % of the logit differences between kernels; seen: 3, the worst 7


@dataclass(frozen=True)
class Check:
    """One comparison: ``value`` must be at most ``limit``, or at least, where ``at_least``; None only informs."""

    stage: str
    quantity: str
    value: float
    limit: float | None
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """For reports."""
        return {**asdict(self), "passed": self.passed}


def require(checks: Sequence[Check]) -> None:
    """Raise ParityError for the first check that failed, naming it with its figure."""
    for check in checks:
        if not check.passed:
            bound = "at least" if check.at_least else "at most"
            raise ParityError(
                f"parity failed at {check.stage}: {check.quantity} is {check.value:.4g}, allowed {bound} "
                f"{check.limit:.4g}; no bundle is written. Try more calibration inputs (--calibration), "
                "or train again with quantization in mind"
            )


def compare_chain(
    network: torch.nn.Module,
    onnx_model: bytes,
    float_model: bytes,
    int8_model: bytes,
    images: npt.NDArray[np.uint8],
    scattered: bool = False,
) -> list[Check]:
    """Run all stages over N x S x S x 3 ``uint8`` images, the int8 model on XNNPACK, on the built-in kernels
    and on the reference kernels. ``scattered`` says that the images are tiles with small pieces, or none, in them.
    Raises CalibrationError where there is no image to compare on."""
    if not len(images):
        raise CalibrationError("there is no image to check parity on; give the recipe's data (--data)")
    lsb = Network(int8_model).output.scale
    original = _run(torch_stage(network), images)
    exported = _run(onnx_stage(onnx_model), images)
    floating = _run(float_stage(float_model), images)
    xnnpack = _run(int8_stage(int8_model), images)
    reference = _run(int8_stage(int8_model, reference=True), images)
    builtin = _run(int8_stage(int8_model, delegate=False), images)
    against = "int8 against float TFLite"
    return [
        _share("ONNX against torch", exported, original, ONNX_TOLERANCE),
        _share("float TFLite against ONNX", floating, exported, FLOAT_TOLERANCE),
        Check(against, "mean logit difference, LSB", float(np.abs(xnnpack - floating).mean() / lsb), MAX_MEAN_LSB),
        *_masks(against, xnnpack, floating, scattered),
        *_kernels("XNNPACK against reference kernels", xnnpack, reference, lsb, scattered),
        *_kernels("built-in against reference kernels", builtin, reference, lsb, scattered),
        Check("XNNPACK", "takes the network (1 yes, 0 no)", float(Network(int8_model).delegated()), 1.0, True),
    ]


def mask_iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """Mean over images and classes of the intersection over union of N x h x w x classes masks (1 where both
    are empty)."""
    union = (a | b).sum((1, 2))
    overlap = (a & b).sum((1, 2))
    return float(np.where(union > 0, overlap / np.maximum(union, 1), 1.0).mean())


def _run(predict: Predictor, images: Sequence[UInt8Image] | npt.NDArray[np.uint8]) -> Logits:
    return np.stack([predict(image) for image in images])


def _share(stage: str, a: Logits, b: Logits, limit: float) -> Check:
    share = float(np.abs(a - b).max() / max(1.0, np.abs(b).max()))
    return Check(stage, "largest logit difference / largest logit", share, limit)


def _masks(stage: str, a: Logits, b: Logits, scattered: bool) -> list[Check]:
    if a.ndim != 4:  # a classifier
        return []
    if scattered:
        a, b = (x.reshape(1, -1, *x.shape[2:]) for x in (a, b))
        return [Check(stage, "IoU of all masks together", mask_iou(a > 0, b > 0), MIN_SCATTERED_IOU, True)]
    return [Check(stage, "mean IoU of the masks", mask_iou(a > 0, b > 0), MIN_MASK_IOU, True)]


def _kernels(stage: str, a: Logits, b: Logits, lsb: float, scattered: bool) -> list[Check]:
    steps = np.rint(np.abs(a - b) / lsb)
    return [
        Check(stage, "99.9 % of logit differences, LSB", float(np.quantile(steps, 0.999)), MAX_KERNEL_LSB),
        Check(stage, "largest logit difference, LSB", float(steps.max()), None),
        *_masks(stage, a, b, scattered),
    ]
