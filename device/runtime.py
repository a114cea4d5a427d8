"""The TFLite interpreter behind one class: LiteRT, or tflite-runtime where that is what is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from device.bundle import Bundle, TensorSpec
from device.errors import BundleError, RuntimeUnavailableError
from device.geometry import Int8Image


def open_bundle(found: Bundle, threads: int = 1, reference: bool = False) -> Network:
    """The network of a bundle. Raises BundleError where its model is not the one that its manifest describes (its
    answers would be numbers all the same), RuntimeUnavailableError as ``Network`` does."""
    network = Network(found.model, threads=threads, reference=reference)
    described = (found.manifest.input, found.manifest.output)
    if (network.input, network.output) != described:
        raise BundleError(
            f"the bundle {found.path.name} is refused: its model is not the one that its manifest describes; "
            "copy it again from its source"
        )
    return network


class Network:
    """An int8 TFLite model that is ready to run.

    ``reference`` takes the reference kernels, which agree to the bit on every architecture (golden vectors);
    ``delegate=False`` the built-in optimized kernels without XNNPACK. Raises RuntimeUnavailableError without a
    runtime, and for a model that it refuses or that is not int8 with one input and one output.
    """

    def __init__(self, model: bytes, threads: int = 1, reference: bool = False, delegate: bool = True) -> None:
        module = _interpreter_module()
        resolver = module.OpResolverType
        kind = (
            resolver.BUILTIN_REF
            if reference
            else (resolver.AUTO if delegate else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        )
        try:
            self._interpreter = module.Interpreter(
                model_content=model, num_threads=threads, experimental_op_resolver_type=kind
            )
            self._interpreter.allocate_tensors()
            (given,), (result,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
            self._given, self._result = given["index"], result["index"]
            self.input, self.output = _spec(given), _spec(result)
        except (RuntimeError, ValueError) as error:
            raise RuntimeUnavailableError(
                f"the TFLite runtime refuses this model ({str(error).splitlines()[0]}); "
                "update ai-edge-litert, or make the bundle again with 'tenohira quantize'"
            ) from error

    def run(self, x: Int8Image) -> Int8Image:
        """Logits (a fresh ``int8`` array of the output's shape) for an ``int8`` array of the input's shape."""
        self._interpreter.set_tensor(self._given, x)
        self._interpreter.invoke()
        logits: Int8Image = self._interpreter.get_tensor(self._result)
        return logits

    def delegated(self) -> bool:
        """Whether XNNPACK has taken nodes: without it the answer is the same, but several times slower."""
        return any(operator["op_name"] == "DELEGATE" for operator in self._interpreter._get_ops_details())


def _interpreter_module() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        try:
            from tflite_runtime import interpreter
        except ImportError as error:
            raise RuntimeUnavailableError(
                "no TFLite runtime can be imported; install one with: pip install ai-edge-litert "
                "(or tflite-runtime with Python 3.11 and 'numpy<2')"
            ) from error
    return interpreter


def _spec(details: dict[str, Any]) -> TensorSpec:
    if details["dtype"] != np.int8:
        raise ValueError(f"its tensor {details['name']!r} is {np.dtype(details['dtype']).name}, not int8")
    scale, zero_point = details["quantization"]
    return TensorSpec(tuple(int(n) for n in details["shape"]), "int8", float(scale), int(zero_point))
