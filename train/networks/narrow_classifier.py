"""The narrowed classifier: LWBNA's encoder and its narrowing mid block (without the last conv), then a head.

Sharma et al., Sci Rep 12:8508 (2022): "narrowing" pays in classification too; channels may double per level.
"""

from __future__ import annotations

from torch import Tensor, nn

from train.networks.lwbna import Encoder, Narrowing


class NarrowClassifier(nn.Module):
    """Input B x inputs x S x S in [0, 1]; logits B x outputs. S is a multiple of 2**depth (x 2 with stem)."""

    def __init__(
        self,
        width: int = 32,
        outputs: int = 1,
        inputs: int = 3,
        depth: int = 4,
        growth: int = 1,
        narrowing_factor: int = 2,
        narrowing_steps: int = 3,
        stem: bool = True,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if width % 16:
            raise ValueError(f"width {width} is not a multiple of 16 (the int8 kernels' step)")
        self.multiple = 2 ** (depth + int(stem))
        self.encoder = Encoder(inputs, width, depth, dropout, stem, growth)
        self.narrowing = Narrowing(self.encoder.outputs, narrowing_factor, narrowing_steps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.narrowing.outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise ValueError(f"input {tuple(x.shape[2:])} is not a multiple of {self.multiple}")
        x, _ = self.encoder(x)  # B C s/16 s/16
        x, _ = self.narrowing(x)  # B C/4 s/16 s/16
        return self.head(self.dropout(x.mean((2, 3))))


def load_encoder(classifier: nn.Module, segmentation_state: dict[str, Tensor]) -> None:
    """Start a classifier from the encoder of a segmentation network of its kind (same width, depth and stem).

    Raises ValueError where the two do not fit.
    """
    weights = {k.removeprefix("encoder."): v for k, v in segmentation_state.items() if k.startswith("encoder.")}
    try:
        classifier.encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the segmentation network's encoder does not fit this classifier: {error}") from error
