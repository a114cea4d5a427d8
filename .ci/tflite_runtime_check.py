"""Run bundles' models under tflite-runtime 2.14 and compare with their golden output. No package of ours is
imported: this environment has tflite-runtime and numpy < 2 alone. Signatures are not this check's business."""

import io
import sys
import time
import zipfile

import numpy as np
from tflite_runtime.interpreter import Interpreter, OpResolverType

MAX_LSB = 4  # 99.9 % of the logits, optimized kernels against golden output (quantize/parity.py)


def logits(model, x, resolver):
    """The int8 output for an int8 input, and the milliseconds of a second run, on one thread."""
    interpreter = Interpreter(model_content=model, num_threads=1, experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    start = time.perf_counter()
    interpreter.invoke()
    elapsed = 1e3 * (time.perf_counter() - start)
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(int), elapsed


def check(path):
    """Print one line; true where the reference kernels agree to the bit and the optimized ones nearly."""
    with zipfile.ZipFile(path) as bundle:
        model = bundle.read("model.tflite")
        x, golden = (np.load(io.BytesIO(bundle.read(f"golden_{side}.npy"))) for side in ("input", "output"))
    reference, _ = logits(model, x, OpResolverType.BUILTIN_REF)
    optimized, elapsed = logits(model, x, OpResolverType.AUTO)
    steps = np.abs(optimized - golden)
    same = bool((reference == golden).all())
    near = bool(np.quantile(steps, 0.999) <= MAX_LSB)
    print(
        f"{'ok' if same and near else 'FAILED'}  {path}: reference kernels "
        f"{'agree to the bit' if same else 'differ'}, optimized at most {steps.max()} LSB apart, {elapsed:.1f} ms"
    )
    return same and near


if __name__ == "__main__":
    failed = [path for path in sys.argv[1:] if not check(path)]
    sys.exit(1 if failed else 0)
