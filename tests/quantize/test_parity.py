"""Parity passes for an honest chain, and stops a chain whose stages are not one network."""

from __future__ import annotations

import numpy as np
import pytest

from quantize.errors import CalibrationError, ParityError
from quantize.parity import MIN_MASK_IOU, MIN_SCATTERED_IOU, Check, compare_chain, mask_iou, require
from tests.quantize.conftest import SIZE, discs
from train.predictors import float_stage, int8_stage


@pytest.mark.parametrize("name", ["segmenter", "classifier"])
def test_an_honest_chain_passes(name, request):
    checks = request.getfixturevalue(name).converted.checks
    require(checks)
    stages = {c.stage for c in checks}
    assert {"ONNX against torch", "float TFLite against ONNX", "int8 against float TFLite"} < stages
    assert {"XNNPACK against reference kernels", "built-in against reference kernels", "XNNPACK"} < stages


@pytest.mark.parametrize(
    ("swapped", "stage"),
    [
        ("onnx", "ONNX against torch"),
        ("float_tflite", "float TFLite against ONNX"),
        ("int8_tflite", "int8 against float TFLite"),
    ],
)
def test_a_wrong_stage_is_named(swapped, stage, segmenter, other):
    models = {k: getattr(segmenter.converted, k) for k in ("onnx", "float_tflite", "int8_tflite")}
    models[swapped] = getattr(other, swapped)
    checks = compare_chain(segmenter.network, *models.values(), discs(2, seed=5))
    with pytest.raises(ParityError, match=f"{stage}.*no bundle is written"):
        require(checks)


def test_no_image_is_an_error(segmenter):
    c = segmenter.converted
    with pytest.raises(CalibrationError, match="no image"):
        compare_chain(segmenter.network, c.onnx, c.float_tflite, c.int8_tflite, segmenter.images[:0])


def test_nan_never_passes():
    assert not Check("s", "q", float("nan"), 1.0).passed
    assert not Check("s", "q", float("nan"), 1.0, at_least=True).passed


def test_pieces_in_tiles_count_together(segmenter):
    """A tile with nothing in it weighs nothing, and the bound is their own."""
    c, images = segmenter.converted, np.concatenate([discs(2, seed=5), np.zeros((6, SIZE, SIZE, 3), np.uint8)])
    models = (segmenter.network, c.onnx, c.float_tflite, c.int8_tflite)
    one, together = (
        next(c for c in compare_chain(*models, images, scattered=s) if "masks" in c.quantity)
        for s in (False, True)
    )
    assert (one.limit, together.limit) == (MIN_MASK_IOU, MIN_SCATTERED_IOU)
    floating, int8 = float_stage(c.float_tflite), int8_stage(c.int8_tflite)
    a, b = (np.stack([predict(x) for x in images]) > 0 for predict in (floating, int8))
    classes = [(a[..., k] & b[..., k]).sum() / (a[..., k] | b[..., k]).sum() for k in range(a.shape[-1])]
    assert together.value == pytest.approx(np.mean(classes))


def test_mask_iou_is_the_mean_over_images_and_classes():
    a = np.zeros((1, 4, 4, 2), bool)
    b = a.copy()
    a[0, :2, :, 0] = True  # 8 pixels
    b[0, :1, :, 0] = True  # 4 of them; the other class is empty in both
    assert mask_iou(a, b) == pytest.approx((0.5 + 1.0) / 2)


@pytest.fixture(scope="module")
def other(segmenter, images):
    """The same network with an inverted head, through the chain."""
    import copy

    import torch

    from quantize.chain import convert_network

    network = copy.deepcopy(segmenter.network)
    with torch.no_grad():
        network.head.conv.weight.neg_()
        network.head.conv.bias.neg_()
    return convert_network(network, SIZE, images, images[:1])
