"""What can go wrong between trained weights and a bundle, said once. No bundle is written then."""

from device.errors import TenohiraError


class UnsupportedOperatorError(TenohiraError):
    """The network has an operator, or a variant of one, that the builder does not translate.

    Do: express the network with the operators that the message lists, or add one to ``onnx_to_tf.py``.
    """


class CalibrationError(TenohiraError):
    """The calibration set is missing or empty, or a range that it gives cannot be quantized (NaN, infinite).

    Do: give the data that the recipe names, or train again where the weights are broken.
    """


class NotInt8Error(TenohiraError):
    """The converted model holds a float tensor or a tensor of another type, or its input is not uint8 - 128.

    Do: look at the operator that the message names; it has no int8 form in the converter.
    """


class ParityError(TenohiraError):
    """A stage of the chain differs from the one before by more than its tolerance.

    Do: look at the stage that the message names; more calibration inputs, or quantization-aware training.
    """


class GateError(TenohiraError):
    """Int8 costs more against float than the recipe's ``[gate]`` allows.

    Do: look at the operators that the message names; more calibration inputs, or quantization-aware training.
    """


class BenchError(TenohiraError):
    """A candidate of the benchmark stopped or cannot be made, or a file of an earlier benchmark cannot be used.

    Do: what the message says.
    """


class McuError(TenohiraError):
    """A bundle does not pass the checks for microcontrollers, or its C sources cannot be written.

    Do: what the message says. No source is written where a check fails.
    """
