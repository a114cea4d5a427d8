"""The fall-back runtime, in its own environment (.ci/tflite-runtime-check.sh)."""

from __future__ import annotations

import io
import subprocess
import zipfile

import numpy as np
import pytest

from device.geometry import to_int8
from device.runtime import Network
from tests.conftest import CHECKOUT

NOT_CHECKED = 77


@pytest.mark.slow
@pytest.mark.registry
@pytest.mark.parametrize("name", ["segmenter", "classifier"])
def test_tflite_runtime_agrees_to_the_bit(name, request, tmp_path):
    tiny = request.getfixturevalue(name)
    model = tiny.converted.int8_tflite
    x = to_int8(tiny.images[:1])
    golden = Network(model, reference=True).run(x)
    assert check(tmp_path, model, x, golden) == 0
    assert check(tmp_path, model, x, golden + np.int8(1)) == 1


def check(folder, model: bytes, x: np.ndarray, golden: np.ndarray) -> int:
    path = folder / "toy.tnh"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("model.tflite", model)
        for side, array in (("input", x), ("output", golden)):
            file = io.BytesIO()
            np.save(file, array)
            bundle.writestr(f"golden_{side}.npy", file.getvalue())
    done = subprocess.run([CHECKOUT / ".ci" / "tflite-runtime-check.sh", path], capture_output=True, text=True)
    if done.returncode == NOT_CHECKED:
        pytest.skip(done.stderr.strip())
    assert path.name in done.stdout, done.stderr
    return done.returncode
