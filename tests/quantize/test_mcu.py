"""``tenohira quantize BUNDLE --target mcu``: the checks, and the C that comes of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from importlib.util import find_spec

import msgspec
import numpy as np
import pytest
import tensorflow as tf

from device import bundle
from device.cli import main
from device.errors import UsageError
from quantize import convert, tflite
from quantize.errors import McuError
from quantize.mcu import command, maps, micro, source, vela

needs_micro = pytest.mark.skipif(
    find_spec("tflite_micro") is None,
    reason="tflite-micro is not installed: it has wheels for Linux on x86-64 alone",
)
needs_vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
SHIPPED = sorted(bundle.SHIPPED.glob("*.tnh"))
(SMALLEST,) = bundle.SHIPPED.glob("glaucoma-*.tnh")  # the least arena of those that answer to the bit


@pytest.fixture(scope="module")
def smallest() -> bundle.Bundle:
    return bundle.load(SMALLEST)


@pytest.fixture(scope="module")
def with_atan2() -> bytes:
    """A model with an operator that neither TensorFlow Lite Micro nor an accelerator has."""
    spec = tf.TensorSpec((1, 8), tf.float32)
    module = tf.Module()
    module.function = tf.function(lambda x: tf.math.atan2(x, x + 1), input_signature=[spec])
    concrete = module.function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()


@needs_micro
def test_the_smallest_bundle_runs_in_less_than_a_megabyte(smallest):
    found = micro.check(smallest)
    assert found.arena < 1_000_000
    assert found.arena > maps.widest(smallest.model).bytes
    assert found.inputs == 14


@needs_micro
def test_no_smaller_arena_would_do(classifier):
    from quantize.mcu import trial

    model = classifier.converted.int8_tflite
    least = trial.least_arena(model)
    trial.Interpreter.from_bytes(model, arena_size=least).invoke()
    with pytest.raises(RuntimeError):
        trial.Interpreter.from_bytes(model, arena_size=least - trial.ALIGNMENT)


@needs_micro
def test_an_answer_of_another_model_is_refused(smallest, monkeypatch):
    answer = micro._try

    def one_step_off(name, model, x):
        arena, outputs = answer(name, model, x)
        outputs[-1] += 1
        return arena, outputs

    monkeypatch.setattr(micro, "_try", one_step_off)
    with pytest.raises(McuError, match="on 1 of 14 inputs, by up to 1 steps"):
        micro.check(smallest)


@needs_micro
def test_an_operator_that_the_runtime_lacks_is_named(with_atan2):
    with pytest.raises(McuError, match="ATAN2"):
        micro._try("toy", with_atan2, np.zeros((1, 1, 8), np.float32))


def test_inputs_make_a_difference(smallest):
    x = micro.inputs(smallest.golden_input)
    assert x.shape == (14, *smallest.manifest.input.shape)
    assert len({each.tobytes() for each in x}) == 14
    np.testing.assert_array_equal(x[0], smallest.golden_input)


@needs_vela
@pytest.mark.parametrize("accelerator", vela.SYSTEMS)
def test_accelerators_take_the_whole_network(classifier, accelerator):
    found = vela.estimate("toy", classifier.converted.int8_tflite, accelerator)
    assert found.cycles > 0
    assert found.milliseconds == pytest.approx(1e3 * found.cycles / found.clock_hz)
    assert found.sram >= 64 * 64 * 3  # at least the input
    assert found.flash > 0


@needs_vela
def test_an_operator_that_stays_with_the_cpu_is_named(with_atan2):
    with pytest.raises(McuError, match="the CPU would have to run ADD, ATAN2"):
        vela.estimate("toy", with_atan2, "ethos-u55-128")


@needs_vela
def test_the_compiler_says_why_it_fails():
    with pytest.raises(McuError, match="ethos-u-vela cannot compile it"):
        vela.estimate("toy", b"no model", "ethos-u55-128")


def test_the_widest_moment_counts_what_later_operators_read():
    """x (8 x 8 x 4) -> a (8 x 8 x 4) -> b -> a + b: at the sum a, b and it are alive, 256 bytes each."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)

    def network(x):
        x = tf.quantization.fake_quant_with_min_max_vars(x, 0.0, 1.0)
        a = tf.quantization.fake_quant_with_min_max_vars(tf.nn.conv2d(x, kernel, 1, "SAME"), -4.0, 4.0)
        b = tf.quantization.fake_quant_with_min_max_vars(tf.nn.conv2d(a, kernel, 1, "SAME"), -9.0, 9.0)
        return tf.quantization.fake_quant_with_min_max_vars(a + b, -9.0, 9.0)

    model = convert._int8(network, (1, 8, 8, 4))
    assert tflite.operators(tflite.parse(model)) == ["CONV_2D", "CONV_2D", "ADD"]
    assert maps.widest(model) == maps.Widest(3 * 256, "ADD", 2)


@needs_gcc
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_array_is_the_model_and_the_header_describes_it(path, tmp_path):
    loaded = bundle.load(path)
    m, upper = loaded.manifest, loaded.manifest.name.upper()
    methods = sorted({source.method(name) for name in m.operators})
    printed = run_c(
        tmp_path,
        loaded,
        f"""
        #include <assert.h>
        #include <stdint.h>
        #include <stdio.h>
        enum {{ kTfLiteOk }};
        static int added;
        static int add(void) {{ added++; return kTfLiteOk; }}
        int main(void) {{
            struct {{ int {", ".join(f"(*{method})(void)" for method in methods)}; }} resolver =
                {{ {", ".join("add" for _ in methods)} }};
            assert({upper}_ADD_OPERATORS(resolver) && added == {upper}_OPERATORS && added == {len(methods)});
            assert((uintptr_t){m.name}_model % 16 == 0);
            assert({upper}_ARENA_BYTES == 123456);
            assert({upper}_INPUT_BYTES == {loaded.golden_input.size});
            assert({upper}_OUTPUT_BYTES == {loaded.golden_output.size});
            assert({upper}_INPUT_HEIGHT == {m.input.shape[1]} && {upper}_INPUT_WIDTH == {m.input.shape[2]});
            assert({upper}_INPUT_ZERO_POINT == -128 && {upper}_OUTPUT_ZERO_POINT == {m.output.zero_point});
            assert({upper}_OUTPUT_SCALE == (float){m.output.scale!r});
            fputs({upper}_VERSION " " {upper}_MODEL_SHA256 "\\n", stdout);
            fwrite({m.name}_model, 1, sizeof {m.name}_model, stdout);
            return 0;
        }}
        """,
    )
    first, _, rest = printed.partition(b"\n")
    assert first.decode() == f"{m.version} {m.members[bundle.MODEL]}"
    assert rest == loaded.model


@needs_gcc
def test_no_text_of_a_manifest_ends_a_comment(smallest, tmp_path):
    hostile = 'x */ "\n#error broken out\n\\'
    manifest = msgspec.structs.replace(
        smallest.manifest,
        name="2 of-Them",
        version='1"',
        licence=hostile,
        intended_use=hostile,
        classes=("a\n#b",),
    )
    changed = dataclasses.replace(smallest, manifest=manifest, model=bytes(range(40)))
    run_c(tmp_path, changed, "int main(void) { return model_2_of_them_model[39] != 39; }")
    assert "not a diagnosis" in (tmp_path / "model_2_of_them.h").read_text()


def run_c(folder, loaded: bundle.Bundle, program: str) -> bytes:
    """What a C program prints that is built with a bundle's sources, warnings being errors."""
    name = source.identifier(loaded.manifest.name)
    (folder / f"{name}_model.c").write_text(source.array(loaded))
    (folder / f"{name}.h").write_text(source.header(loaded, 123456, list(loaded.manifest.operators)))
    (folder / "main.c").write_text(f'#include "{name}.h"\n{program}')
    strict = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Werror"]
    subprocess.run(["gcc", *strict, "main.c", f"{name}_model.c", "-o", "main"], cwd=folder, check=True)
    return subprocess.run([folder / "main"], capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("RESIZE_NEAREST_NEIGHBOR", "AddResizeNearestNeighbor"),
        ("MEAN", "AddMean"),
        ("TRANSPOSE_CONV", "AddTransposeConv"),
        ("RELU6", "AddRelu6"),
    ],
)
def test_operators_are_called_as_the_resolver_calls_them(operator, method):
    assert source.method(operator) == method


@needs_micro
@needs_vela
def test_the_command_writes_sources_and_a_report(smallest, tmp_path, capsys):
    out = tmp_path / "firmware"
    assert main(["quantize", str(SMALLEST), "--target", "mcu", "--out", str(out)]) == 0
    name = smallest.manifest.name
    assert {path.name for path in out.iterdir()} == {f"{name}.h", f"{name}_model.c", f"{name}_mcu.json"}
    report = json.loads((out / f"{name}_mcu.json").read_text())
    assert report["sha256"] == smallest.manifest.members[bundle.MODEL]
    assert report["operators"] == smallest.manifest.operators
    assert f"#define {name.upper()}_ARENA_BYTES {report['micro']['arena']}\n" in (out / f"{name}.h").read_text()
    assert [each["accelerator"] for each in report["accelerators"]] == command.ACCELERATORS.split(",")
    printed = capsys.readouterr().out
    assert f"({report['micro']['arena']} bytes), equal to the reference kernels" in printed
    assert "| ethos-u65-256 |" in printed


@needs_micro
@needs_vela
def test_nothing_is_written_where_a_check_fails(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise McuError("refused for a test; nothing to do")

    monkeypatch.setattr(vela, "estimate", refuse)
    assert main(["quantize", str(SMALLEST), "--target", "mcu", "--out", str(tmp_path / "out")]) == 2
    assert "refused for a test" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@needs_micro
@needs_vela
def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    arguments = ["--target", "mcu", "--accelerators", "none", "--out", str(tmp_path / "out")]
    assert main(["quantize", str(SMALLEST), *arguments]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_bundle_is_found_by_file_run_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    shutil.copy(SMALLEST, run / "any-0.1.0.tnh")
    for name in (str(SMALLEST), "mine", str(run), SMALLEST.stem.rpartition("-")[0]):
        assert command.find_bundle(name).model == bundle.load(SMALLEST).model
    with pytest.raises(UsageError, match="tenohira quantize RUN"):
        command.find_bundle("none")


def test_of_several_versions_the_highest_is_taken(smallest, tmp_path):
    from device.signing import DEVELOPMENT_KEY, read_private_key

    for version in ("0.9.0", "0.10.0", "0.2.0"):
        manifest = msgspec.structs.replace(smallest.manifest, version=version)
        parts = (smallest.model, smallest.card, smallest.golden_input, smallest.golden_output)
        bundle.write(tmp_path / f"x-{version}.tnh", manifest, *parts, read_private_key(DEVELOPMENT_KEY))
    assert command.find_bundle(str(tmp_path)).manifest.version == "0.10.0"


def test_an_unknown_accelerator_is_an_error(capsys):
    assert main(["quantize", str(SMALLEST), "--target", "mcu", "--accelerators", "ethos-u55-128,u99"]) == 2
    assert "u99: choose from ethos-u55-64" in capsys.readouterr().err


def test_missing_packages_are_named_with_the_way_to_get_them(monkeypatch, capsys):
    monkeypatch.setattr(command, "find_spec", lambda module: None)
    assert main(["quantize", str(SMALLEST), "--target", "mcu"]) == 3
    said = capsys.readouterr().err
    assert "tflite-micro, ethos-u-vela" in said
    assert "pip install 'tenohira[mcu]'" in said
