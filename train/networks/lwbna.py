"""LWBNA-Unet: the lightweight bottleneck-narrowing network with attention.

Sharma et al., Sci Rep 12:8508 (2022), doi 10.1038/s41598-022-12486-w. The design is the subject of patent
application WO2023062764A1. At width 128 with 3 outputs: 2,958,819 parameters with the BatchNorm
statistics, 2,954,211 of them trainable. Shapes are in trailing comments: C = width, s = spatial size.

Two things differ from the published graph, neither of them in the arithmetic of the paper's recipe:
the head ends in logits (the sigmoid belongs to the loss), and a stride-2 stem is on offer for small
processors; with it the logits come at half of the input's resolution.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MIN_MID_WIDTH = 8  # narrower mid blocks die under int8 (a gate whose ReLU never fires)


class ConvBlock(nn.Sequential):
    """3 x 3 "same" convolution with bias, He-normal -> BatchNorm -> ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        # Keras' BatchNorm: epsilon 1e-3, momentum 0.99 (0.01 in torch's terms); 0.1 suits short schedules.
        super().__init__(Conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs, eps=1e-3), nn.ReLU())


class Conv3x3(nn.Module):
    """3 x 3 convolution padded as TensorFlow's SAME: with stride 2 on the right and bottom only."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1 if stride == 1 else 0)
        self.stride = stride
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.stride == 2 else x)


class Attention(nn.Module):
    """Channel gates in [0.5, 1): global average pool -> dense -> ReLU -> sigmoid -> multiply."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(torch.relu(self.dense(x.mean((2, 3)))))  # B x C
        return x * gate[:, :, None, None]


class Pair(nn.Sequential):
    """Two conv blocks and an attention block."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, attention: bool = True) -> None:
        # in this order: a seed draws the weights that it always drew
        super().__init__(
            ConvBlock(inputs, outputs, stride),
            ConvBlock(outputs, outputs),
            Attention(outputs) if attention else nn.Identity(),
        )


class Narrowing(nn.Module):
    """The channel narrowing: 3 x 3 conv + ReLU without BatchNorm, ``width`` down by ``factor`` each step,
    each followed by attention. Returns the last narrowed map and the first conv's (before its attention)."""

    def __init__(self, width: int, factor: int = 2, steps: int = 4, attention: bool = True) -> None:
        super().__init__()
        widths = [max(MIN_MID_WIDTH, width // factor**i) for i in range(steps)]  # 128, 64, 32, 16
        self.convs = nn.ModuleList(Conv3x3(a, b) for a, b in zip([width, *widths], widths))
        self.gates = nn.ModuleList(Attention(w) if attention else nn.Identity() for w in widths)
        self.outputs = widths[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first = None
        for conv, gate in zip(self.convs, self.gates):
            x = torch.relu(conv(x))
            first = x if first is None else first
            x = gate(x)
        assert first is not None  # steps >= 1
        return x, first


class MidBlock(nn.Module):
    """Narrow, widen back, and add the first narrowing conv's output."""

    def __init__(self, width: int, factor: int = 2, steps: int = 4, attention: bool = True) -> None:
        super().__init__()
        self.narrowing = Narrowing(width, factor, steps, attention)
        self.widen = Conv3x3(self.narrowing.outputs, width)

    def forward(self, x: Tensor) -> Tensor:
        narrow, first = self.narrowing(x)
        return torch.relu(self.widen(narrow)) + first


class Encoder(nn.Module):
    """``depth`` levels of pair (= skip) -> max-pool 2 -> dropout. ``growth`` multiplies the width per level
    (1 in the segmentation network; the classifier may double). With ``stem`` the first conv has stride 2."""

    def __init__(
        self,
        inputs: int,
        width: int,
        depth: int,
        dropout: float,
        stem: bool,
        growth: int = 1,
        attention: bool = True,
    ) -> None:
        super().__init__()
        widths = [width * growth**i for i in range(depth)]
        strides = [2 if stem and i == 0 else 1 for i in range(depth)]
        self.levels = nn.ModuleList(
            Pair(a, b, s, attention) for a, b, s in zip([inputs, *widths], widths, strides)
        )
        self.dropout = nn.Dropout(dropout)
        self.outputs = widths[-1]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        skips = []
        for level in self.levels:
            x = level(x)
            skips.append(x)
            x = self.dropout(F.max_pool2d(x, 2))
        return x, skips


class LWBNAUnet(nn.Module):
    """Input B x inputs x S x S in [0, 1]; logits B x outputs x S x S (S / 2 with ``stem``).

    S is a multiple of 2**depth (of 2**(depth + 1) with ``stem``), and ``width`` a multiple of 16.
    Raises ValueError otherwise. Without ``attention``, and with ``skips`` that "concatenate" (as a U-Net's) or
    "none", it is an ablation, not the paper's network.
    """

    def __init__(
        self,
        width: int = 128,
        outputs: int = 3,
        inputs: int = 3,
        depth: int = 4,
        narrowing_factor: int = 2,
        narrowing_steps: int = 4,
        stem: bool = False,
        dropout: float = 0.3,
        attention: bool = True,
        skips: str = "add",
    ) -> None:
        super().__init__()
        if width % 16:
            raise ValueError(f"width {width} is not a multiple of 16 (the int8 kernels' step)")
        self.multiple = 2 ** (depth + int(stem))
        self.skips = skips
        self.encoder = Encoder(inputs, width, depth, dropout, stem, attention=attention)
        self.mid = MidBlock(width, narrowing_factor, narrowing_steps, attention)
        self.after_mid = Pair(width, width, attention=attention)
        joined = 2 * width if skips == "concatenate" else width
        self.decoder = nn.ModuleList(Pair(joined, width, attention=attention) for _ in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.head = Conv3x3(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise ValueError(f"input {tuple(x.shape[2:])} is not a multiple of {self.multiple}")
        x, skips = self.encoder(x)  # B C s/16 s/16
        x = self.after_mid(self.mid(x))  # B C s/16 s/16
        for pair, skip in zip(self.decoder, reversed(skips)):
            x = self._join(F.interpolate(x, scale_factor=2.0, mode="nearest"), skip)
            x = pair(self.dropout(x))
        return self.head(x)

    def _join(self, x: Tensor, skip: Tensor) -> Tensor:
        if self.skips == "concatenate":
            return torch.cat([x, skip], dim=1)
        return x if self.skips == "none" else x + skip  # additive skips: no concatenation
