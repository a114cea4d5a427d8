"""Losses on logits, each computed per example and averaged, so that ranks and batches agree."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import Tensor
from torch.nn import functional as F

from train.recipe import TrainingSpec

UNKNOWN = -1  # target of a class that nobody outlined in this image
_DICE = DiceLoss(sigmoid=True, smooth_nr=1.0, smooth_dr=1.0, reduction="none")  # soft targets


def segmentation_loss(logits: Tensor, target: Tensor, spec: TrainingSpec) -> Tensor:
    """Soft Dice and binary cross-entropy. ``logits`` B x K x h x w are enlarged to ``target`` B x K x S x S
    (0..1, or UNKNOWN) bilinearly, which is also what the device does with them; mean over what is known."""
    logits = enlarge(logits, target.shape[2])
    known = target[:, :, 0, 0] >= 0  # B x K
    target = target.clamp(min=0)
    loss = logits.new_zeros(known.shape)
    if spec.ce_weight:
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss + spec.ce_weight * entropy.mean((2, 3))
    if spec.dice_weight:
        loss = loss + spec.dice_weight * _DICE(logits, target).flatten(1)
    return (loss * known).sum() / known.sum().clamp(min=1)


def classification_loss(logits: Tensor, label: Tensor, spec: TrainingSpec) -> Tensor:
    """Binary cross-entropy of B x 1 logits with B labels, smoothed towards one half."""
    e = spec.label_smoothing
    return F.binary_cross_entropy_with_logits(logits[:, 0], label * (1 - e) + e / 2)


def taught(target: Tensor, teacher: Tensor, weight: float) -> Tensor:
    """Targets 0..1 (or UNKNOWN) drawn towards a teacher's probabilities, of the same shape: by ``weight`` where
    there is a label, wholly where there is none (knowledge distillation: Hinton et al., arXiv:1503.02531; with
    the teacher looking at the same picture as the network: Beyer et al., CVPR 2022)."""
    return torch.where(target < 0, teacher, torch.lerp(target, teacher, weight))


def enlarge(logits: Tensor, size: int) -> Tensor:
    """Bilinear, half-pixel centres: the geometry of ``device.geometry.mask_in_image``."""
    if logits.shape[2] == size:
        return logits
    return F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
