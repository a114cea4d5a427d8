"""torch -> ONNX: fixed batch of one, fixed size, fixed opset, one file without external data."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings

import onnx
import torch

from quantize.errors import CalibrationError

OPSET = 18


def to_onnx(network: torch.nn.Module, size: int) -> onnx.ModelProto:
    """Export a network in eval mode with input ``image`` (1 x 3 x size x size, in [0, 1]) and output ``logits``.

    The exporter folds BatchNorm and padding into the convolutions. Raises CalibrationError where a weight is
    not finite: no range could be given to what follows.
    """
    for name, value in network.state_dict().items():
        if not torch.isfinite(value).all():
            raise CalibrationError(f"the weights {name!r} hold NaN or infinity: this run diverged; train it again")
    network = network.eval().cpu()
    with _quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            optimize=True,
        )
    assert program is not None  # dynamo=True always returns a program
    return program.model_proto


@contextlib.contextmanager  # type: ignore[arg-type]
def _quiet():  # type: ignore[no-untyped-def]
    """The exporter prints its progress and warns about torchvision; a user can act on neither."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
