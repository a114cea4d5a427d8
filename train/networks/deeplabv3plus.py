"""DeepLabV3+ (Chen et al., ECCV 2018) on a ResNet-50 (He et al., CVPR 2016), the second reference.

Output stride 16: the last stage keeps its resolution and dilates instead. No pretrained weights: every network of
a comparison starts from nothing. Shapes are in trailing comments: s = spatial size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RATES = (6, 12, 18)  # of the atrous pyramid at output stride 16
STAGES = ((64, 3, 1, 1), (128, 4, 2, 1), (256, 6, 2, 1), (512, 3, 1, 2))  # width, blocks, stride, dilation


def conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, dilation: int = 1, relu: bool = True):
    """Convolution ("same") -> BatchNorm -> ReLU."""
    layers = [
        nn.Conv2d(inputs, outputs, size, stride, dilation * (size // 2), dilation, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU()] if relu else []))


class Bottleneck(nn.Module):
    """1 x 1 down, 3 x 3, 1 x 1 up to four times the width, added to its input."""

    def __init__(self, inputs: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, width),
            conv(width, width, 3, stride, dilation),
            conv(width, 4 * width, relu=False),
        )
        same = inputs == 4 * width and stride == 1
        self.shortcut = nn.Identity() if same else conv(inputs, 4 * width, 1, stride, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class AtrousPyramid(nn.Module):
    """1 x 1, three dilated 3 x 3 and an image-wide branch, concatenated and projected to 256 channels."""

    def __init__(self, inputs: int, outputs: int = 256) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv(inputs, outputs), *(conv(inputs, outputs, 3, dilation=rate) for rate in RATES)]
        )
        # No BatchNorm on the pooled branch: its 1 x 1 map has no spread within one image.
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1), nn.ReLU())
        self.project = nn.Sequential(conv(5 * outputs, outputs), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        maps = [branch(x) for branch in self.branches]
        maps.append(self.image(x).expand_as(maps[0]))
        return self.project(torch.cat(maps, dim=1))


class DeepLabV3Plus(nn.Module):
    """Input B x inputs x S x S in [0, 1]; logits B x outputs x S x S. S is a multiple of 16."""

    def __init__(self, outputs: int = 1, inputs: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(inputs, 64, 7, stride=2), nn.MaxPool2d(3, 2, 1))
        stages, channels = [], 64
        for width, blocks, stride, dilation in STAGES:
            stage = []
            for i in range(blocks):
                stage.append(Bottleneck(channels, width, stride if i == 0 else 1, dilation))
                channels = 4 * width
            stages.append(nn.Sequential(*stage))
        self.low, self.high = stages[0], nn.Sequential(*stages[1:])
        self.pyramid = AtrousPyramid(channels)
        self.reduce = conv(4 * STAGES[0][0], 48)
        self.refine = nn.Sequential(conv(256 + 48, 256, 3), conv(256, 256, 3))
        self.head = nn.Conv2d(256, outputs, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % 16 or x.shape[3] % 16:
            raise ValueError(f"input {tuple(x.shape[2:])} is not a multiple of 16")
        low = self.low(self.stem(x))  # B 256 s/4
        high = self.pyramid(self.high(low))  # B 256 s/16
        high = F.interpolate(high, low.shape[2:], mode="bilinear", align_corners=False)
        fine = self.refine(torch.cat([high, self.reduce(low)], dim=1))  # B 256 s/4
        return F.interpolate(self.head(fine), x.shape[2:], mode="bilinear", align_corners=False)
