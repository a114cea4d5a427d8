"""The networks by kind, one readable file each."""

from __future__ import annotations

from torch import nn

from train.errors import RecipeError
from train.recipe import NetworkSpec

PRETRAINED = ("efficientnet_lite0", "efficientnet_lite0_unet", "narrowed_lite0", "narrowed_lite0_classifier")


def origin(spec: NetworkSpec) -> str:
    """What a network of this kind starts from, in words for a model card; empty where that is random weights."""
    if spec.kind not in PRETRAINED:
        return ""
    from train.networks.pretrained import ORIGIN

    return ORIGIN


def build(spec: NetworkSpec, outputs: int) -> nn.Module:
    """A freshly initialized network with ``outputs`` logit channels. Raises RecipeError for an unknown kind."""
    narrowing = {
        "width": spec.width,
        "depth": spec.depth,
        "narrowing_factor": spec.narrowing_factor,
        "narrowing_steps": spec.narrowing_steps,
        "stem": spec.stem,
        "dropout": spec.dropout,
    }
    try:
        if spec.kind == "lwbna":
            from train.networks.lwbna import LWBNAUnet

            return LWBNAUnet(outputs=outputs, attention=spec.attention, skips=spec.skips, **narrowing)
        if spec.kind == "narrow_classifier":
            from train.networks.narrow_classifier import NarrowClassifier

            return NarrowClassifier(outputs=outputs, growth=spec.growth, **narrowing)
        if spec.kind == "unet":
            from train.networks.unet import UNet

            return UNet(outputs=outputs)
        if spec.kind == "deeplabv3plus":
            from train.networks.deeplabv3plus import DeepLabV3Plus

            return DeepLabV3Plus(outputs=outputs)
        if spec.kind == "efficientnet_b0":
            from monai.networks.nets import EfficientNetBN

            return EfficientNetBN("efficientnet-b0", pretrained=False, num_classes=outputs)
        if spec.kind == "efficientnet_lite0":
            from train.networks.pretrained import EfficientNetLite0

            return EfficientNetLite0(outputs=outputs)
        if spec.kind == "efficientnet_lite0_unet":
            from train.networks.pretrained import EfficientNetLite0Unet

            return EfficientNetLite0Unet(outputs=outputs)
        if spec.kind in ("narrowed_lite0", "narrowed_lite0_classifier"):
            from train.networks.pretrained import NarrowedLite0, NarrowedLite0Classifier

            kind = NarrowedLite0 if spec.kind == "narrowed_lite0" else NarrowedLite0Classifier
            shape = (spec.depth, spec.narrowing_factor, spec.narrowing_steps)
            return kind(spec.width, outputs, *shape, dropout=spec.dropout)
    except ValueError as error:
        raise RecipeError(f"network: {error}; change it in the recipe") from error
    known = "lwbna, narrow_classifier, unet, deeplabv3plus, efficientnet_b0, efficientnet_lite0, "
    known += "efficientnet_lite0_unet, narrowed_lite0, narrowed_lite0_classifier"
    raise RecipeError(f"unknown network kind {spec.kind!r}; known: {known}")
