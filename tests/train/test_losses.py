"""Losses: what is unknown does not count, and what is known counts as ever."""

import torch
from monai.losses import DiceLoss
from torch.nn import functional as F

from train.losses import UNKNOWN, segmentation_loss, taught
from train.recipe import TrainingSpec

SPEC = TrainingSpec()


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 2, 8, 8, generator=generator)
    return logits, (torch.rand(3, 2, 8, 8, generator=generator) > 0.5).float()


def test_with_everything_known_it_is_the_mean_of_both_losses():
    logits, target = batch()
    wanted = F.binary_cross_entropy_with_logits(logits, target) + DiceLoss(
        sigmoid=True, smooth_nr=1.0, smooth_dr=1.0
    )(logits, target)
    torch.testing.assert_close(segmentation_loss(logits, target, SPEC), wanted)


def test_an_unknown_class_neither_counts_nor_learns():
    logits, target = batch()
    logits.requires_grad_()
    target[1, 1] = UNKNOWN
    loss = segmentation_loss(logits, target, SPEC)
    loss.backward()
    assert float(logits.grad[1, 1].abs().max()) == 0
    assert float(logits.grad[1, 0].abs().max()) > 0
    changed = logits.detach().clone()
    changed[1, 1] += 5
    torch.testing.assert_close(segmentation_loss(changed, target, SPEC), loss.detach())


def test_nothing_known_is_no_loss():
    logits, target = batch()
    assert float(segmentation_loss(logits, torch.full_like(target, UNKNOWN), SPEC)) == 0


def test_half_resolution_logits_are_enlarged():
    logits, _ = batch()
    target = (F.interpolate(logits, (16, 16), mode="bilinear") > 0).float()
    right = segmentation_loss(logits * 50, target, SPEC)
    wrong = segmentation_loss(-logits * 50, target, SPEC)
    assert float(right) < 0.2 < 5 < float(wrong)


def test_a_teacher_draws_labels_towards_itself_and_speaks_alone_where_there_is_none():
    labels, teacher = torch.tensor([1.0, 0.0, UNKNOWN]), torch.tensor([0.5, 0.2, 0.9])
    torch.testing.assert_close(taught(labels, teacher, 0.25), torch.tensor([0.875, 0.05, 0.9]))
