"""U-Net (Ronneberger et al., MICCAI 2015), the reference that the narrowed network is compared with.

64 to 1024 channels, "same" convolutions with BatchNorm, transposed convolutions on the way up, concatenated skips:
31.0 million parameters. Shapes are in trailing comments: s = spatial size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pair(nn.Sequential):
    """Twice: 3 x 3 convolution -> BatchNorm -> ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(*(
            layer
            for a in (inputs, outputs)
            for layer in (nn.Conv2d(a, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        ))  # fmt: skip


class UNet(nn.Module):
    """Input B x inputs x S x S in [0, 1]; logits B x outputs x S x S. S is a multiple of 16."""

    def __init__(self, outputs: int = 1, inputs: int = 3, width: int = 64, depth: int = 4) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(depth + 1)]  # 64, 128, 256, 512, 1024
        self.multiple = 2**depth
        self.down = nn.ModuleList(Pair(a, b) for a, b in zip([inputs, *widths], widths))
        pairs = list(zip(widths[::-1], widths[-2::-1]))  # (1024, 512), (512, 256) ...
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.merge = nn.ModuleList(Pair(a, b) for a, b in pairs)
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise ValueError(f"input {tuple(x.shape[2:])} is not a multiple of {self.multiple}")
        skips = []
        for level in self.down:
            x = level(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)  # B 64 s, B 128 s/2 ... B 1024 s/16
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return self.head(x)
