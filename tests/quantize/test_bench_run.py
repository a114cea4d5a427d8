"""Rounds, workers and the whole verb on a tiny network. No test says how long anything takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from device import bundle
from device.cli import main
from device.pipeline import GLAUCOMA
from device.runtime import Network
from device.signing import DEVELOPMENT_KEY, read_private_key
from device.store import Store
from quantize.bench import candidates, machine, models
from quantize.bench import report as reports
from quantize.bench.candidates import Candidate
from quantize.bench.rounds import measure, schedule
from quantize.commands import bench
from quantize.errors import BenchError
from tests.device.eye import manifest
from train.recipe import DataSpec, NetworkSpec, Recipe, as_dict

TINY = Path(__file__).parents[1] / "golden" / "tiny.tflite"
SMALLEST = NetworkSpec(width=16, depth=1, narrowing_steps=1, stem=True)


def candidate(name, kind="int8", every=1, python=None, **options):
    return Candidate(name, kind, name, 1, options or {"model": str(TINY), "threads": 1}, 10**6, every, python)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tenohira" / "bench"


def test_everyone_has_a_turn_in_each_round_in_changing_order():
    chosen = [candidate(n) for n in "abcdef"]
    orders = [schedule(chosen, number, seed=3) for number in range(20)]
    assert all(sorted(o) == [c.key for c in chosen] for o in orders)
    assert len({tuple(o) for o in orders}) > 10
    assert orders == [schedule(chosen, number, seed=3) for number in range(20)]
    assert orders != [schedule(chosen, number, seed=4) for number in range(20)]


def test_slow_candidates_sit_rounds_out():
    orders = [schedule([candidate("a"), candidate("b", every=3)], number, 0) for number in range(7)]
    assert [len(o) for o in orders] == [2, 1, 1, 2, 1, 1, 2]


def test_workers_answer_with_samples_and_their_own_memory():
    chosen = [candidate("a"), candidate("b", kind="roof", every=2)]
    samples, orders = measure(chosen, rounds=3, seed=0, starts=2)
    a, b = samples["a x1"], samples["b x1"]
    assert [len(o) for o in orders] == [2, 1, 2]
    assert len(a.turns) == len(b.turns) == 3 and all(a.turns) and [bool(t) for t in b.turns] == [True, False, True]
    assert all(ms > 0 for turn in a.turns for ms in turn)
    assert len(a.starts) == len(b.starts) == 2
    assert min(a.starts) > 10 * median(a.turns[0]), "a start holds Python's, the imports, and a run"
    if machine.CPUINFO.exists():
        assert 10 < a.told["steady_mb"] <= a.told["peak_mb"] < 500  # a process without torch or TensorFlow


# Stands in for tflite-runtime, which needs a Python of its own: it has the same calls.
STAND_IN = """
import numpy as np
class Interpreter:
    def __init__(self, path, num_threads):
        assert open(path, "rb").read()
    def allocate_tensors(self): pass
    def get_input_details(self): return [{"index": 0, "shape": np.array([1, 4, 4, 3])}]
    def get_output_details(self): return [{"index": 1}]
    def set_tensor(self, index, x): assert x.dtype == np.int8 and x.shape == (1, 4, 4, 3)
    def invoke(self): pass
    def get_tensor(self, index): return np.zeros(1, np.int8)
"""


def test_another_python_measures_without_anything_of_ours(tmp_path):
    """Its environment has numpy and the runtime alone: a wrapper of this one hides what is ours."""
    package = tmp_path / "site" / "tflite_runtime"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "interpreter.py").write_text(STAND_IN)
    start = f"import runpy, sys; sys.path.append('{package.parent}'); sys.argv = sys.argv[1:]; "
    start += "sys.modules.update(dict.fromkeys(('quantize', 'device', 'train', 'msgspec'))); "
    start += "runpy.run_path(sys.argv[0], run_name='__main__')"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nshift\nexec {sys.executable} -I -c "{start}" "$@"\n')
    python.chmod(0o755)
    chosen = [candidate("old", kind="tflite_runtime", python=str(python))]
    samples, _ = measure(chosen, rounds=1, seed=0)
    assert samples["old x1"].turns[0] and samples["old x1"].starts


def test_onnx_runtime_computes_the_convolutions_in_int8(cache, tmp_path):
    recipe = Recipe("tiny", "disc_cup", 32, DataSpec({}), SMALLEST)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    onnxruntime.InferenceSession(str(models.onnx_int8(recipe)), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    assert "QLinearConv" in operators and not {"Conv", "FusedConv", "NhwcFusedConv"} & set(operators)


def test_the_pipeline_and_the_command_reach_a_verdict(tmp_path):
    photograph = candidates.simulated_photograph(tmp_path)
    chosen = candidates._pipeline(photograph, 1, ["--bundles", str(bundle.SHIPPED)])
    samples, _ = measure(chosen, rounds=1, seed=0)
    told = samples["pipeline x1"].told
    assert set(told["network_runs"]) == set(GLAUCOMA) and all(told["network_runs"].values())
    assert 0 < told["network_share"] < 1
    assert len(samples["tenohira screen x1"].turns[0]) == 1


def test_a_capture_is_recorded_and_a_preview_coached(tmp_path):
    photograph = candidates.simulated_photograph(tmp_path)
    chosen = candidates._instrument(photograph, 1, ["--bundles", str(bundle.SHIPPED)], tmp_path)
    samples, _ = measure(chosen, rounds=1, seed=0)
    assert samples["capture to verdict x1"].turns[0] and samples["live preview x1"].turns[0]
    with Store(tmp_path / "record-1") as store:
        captures = [capture for visit in store.visits() for capture in visit.captures]
    assert len(captures) > 1 and all(c.result.glaucoma_probability is not None for c in captures)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (candidate("gone", model="/nowhere.tflite", threads=1), r"gone x1 stopped .*No such file"),
        (candidate("command", kind="screen", arguments=["/nowhere.jpg"]), "command x1 stopped .*ended with 4"),
    ],
)
def test_a_candidate_that_stops_is_named(broken, said):
    with pytest.raises(BenchError, match=said):
        measure([broken], rounds=1, seed=0)


def test_models_are_made_once_for_each_content(cache, monkeypatch):
    made = []

    def make(data=b"model"):
        made.append(data)
        return data

    first = models._cached("a", ".bin", {"width": 16}, make)
    assert first.parent == cache and first.read_bytes() == b"model"
    assert models._cached("a", ".bin", {"width": 16}, make) == first and len(made) == 1
    assert models._cached("a", ".bin", {"width": 32}, make) != first and len(made) == 2
    assert {p.suffix for p in cache.iterdir()} == {".bin"}
    monkeypatch.setattr(models, "SOURCES", models.SOURCES[:1])
    assert models._cached("a", ".bin", {"width": 16}, make) != first


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(BenchError, match="XDG_CACHE_HOME"):
        models._cached("a", ".bin", {}, lambda: b"")


def test_the_roof_is_one_int8_convolution_on_xnnpack(cache):
    network = Network(models.convolution(16, 8).read_bytes())
    assert network.input.shape == network.output.shape == (1, 8, 8, 16)
    assert network.delegated()
    assert len(np.unique(network.run(np.full(network.input.shape, 100, np.int8)))) > 10


@pytest.fixture
def tiny_bundle(tmp_path):
    """A folder with one bundle of a task that the pipeline does not need."""
    network = Network(TINY.read_bytes(), reference=True)
    recipe = Recipe("tiny", "disc_cup", 32, DataSpec({}), SMALLEST)  # of its frameworks: quick to export
    described = msgspec.structs.replace(manifest("disc_cup", network), name="tiny", recipe=as_dict(recipe))
    golden = np.zeros(network.input.shape, np.int8)
    key = read_private_key(DEVELOPMENT_KEY)
    path = tmp_path / "bundles" / "tiny-0.0.1.tnh"
    bundle.write(path, described, TINY.read_bytes(), "", golden, network.run(golden), key)
    return path.parent


def test_the_whole_verb_on_a_tiny_network(tiny_bundle, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(candidates, "PEERS", {"lwbna": SMALLEST})
    monkeypatch.setattr(candidates, "PEER_SIZE", 32)
    monkeypatch.setattr(candidates, "CONVOLUTIONS", ((16, 8),))
    out = tmp_path / "out.json"
    arguments = ["bench", "--quick", "--threads", "1", "--rounds", "2", "--bundles", str(tiny_bundle)]
    more = ["--reference", "lwbna 32 int8", "--json", str(out), "--plot", str(tmp_path / "out.png")]
    assert main([*arguments, *more]) == 0
    said = capsys.readouterr().out
    report = reports.read(out)
    assert {m.key for m in report.candidates} == {
        "tiny int8 x1", "tiny torch x1", "tiny onnx x1", "tiny onnx int8 x1", "lwbna 32 int8 x1",
        "convolution 16 on 8 x1",
    }  # fmt: skip
    assert all(f"| {m.name} | 1 |" in said for m in report.candidates)
    assert [sorted(o) for o in report.order] == [
        sorted(m.key for m in report.candidates if m.turns[i]) for i in (0, 1)
    ]
    for m in report.candidates:
        assert m.summary.low_ms <= m.summary.median_ms <= m.summary.high_ms and m.macs > 0 and m.summary.ratio > 0
        assert m.summary.p50_ms <= m.summary.p95_ms <= m.summary.p99_ms
        assert m.summary.p50_ms < m.summary.cold_ms
        assert m.peak_mb >= m.steady_mb > 10 and len(m.starts) == bench.QUICK_STARTS
    assert any("pipeline" in reason for reason in report.left_out)
    assert (tmp_path / "out.png").is_file()
    assert len(list(cache.iterdir())) == 4  # ONNX, its int8, the peer, the convolution


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threads", "1,x"], "whole numbers"),
        (["--threads", "0"], "give 1 to"),
        (["--threads", "4096"], "give 1 to"),
        (["--rounds", "1"], "2 or more"),
        (["--tolerance", "-1"], "share"),
        (["--tolerance", "nan"], "share"),
        (["--tflite-runtime", "/nowhere/python"], "No such file"),
        (["--tflite-runtime", sys.executable], "No module named 'tflite_runtime'"),
        (["--json", "nowhere/a.json"], "nowhere"),
        (["--plot", "nowhere/a.png"], "nowhere"),
        (["--compare", "nowhere.json"], "nowhere.json"),
        (["--bundles", "nowhere"], "there is no bundle"),
    ],
)
def test_wrong_arguments_are_explained(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_two_versions_of_a_bundle_are_told_apart(tiny_bundle, tmp_path, monkeypatch):
    loaded = bundle.load(next(tiny_bundle.iterdir()))
    other = msgspec.structs.replace(loaded.manifest, version="0.0.2")
    key = read_private_key(DEVELOPMENT_KEY)
    bundle.write(
        tiny_bundle / "tiny-0.0.2.tnh", other, loaded.model, "", loaded.golden_input, loaded.golden_output, key
    )
    monkeypatch.setattr(candidates, "PEERS", {})
    monkeypatch.setattr(candidates, "CONVOLUTIONS", ())
    monkeypatch.setattr(models, "onnx", lambda recipe: Path("unused"))
    monkeypatch.setattr(models, "onnx_int8", lambda recipe: Path("unused"))
    names = [c.name for c in candidates.choose([1], False, tmp_path, tiny_bundle).candidates]
    assert len(names) == len(set(names)) == 8 and "tiny-0.0.2 int8" in names


def test_an_unknown_reference_is_answered_with_the_names(tiny_bundle, monkeypatch, capsys):
    monkeypatch.setattr(candidates, "PEERS", {})
    monkeypatch.setattr(candidates, "CONVOLUTIONS", ())
    monkeypatch.setattr(models, "onnx", lambda recipe: Path("unused"))
    monkeypatch.setattr(models, "onnx_int8", lambda recipe: Path("unused"))
    assert main(["bench", "--quick", "--threads", "1", "--bundles", str(tiny_bundle), "--reference", "x"]) == 2
    assert "choose from tiny int8, tiny onnx, tiny onnx int8, tiny torch" in capsys.readouterr().err


def test_this_machine_is_described():
    here = machine.describe()
    assert here.cores == machine.cores() <= (os.cpu_count() or 1)
    assert here.processor and here.architecture and here.runtime != "unknown"
    assert here.others is None or 0 <= here.others <= 1


@pytest.mark.parametrize(("load", "others", "busy"), [(3.9, 0.01, False), (0, 0.5, True), (3.9, None, True)])
def test_busy_is_what_others_do_now(load, others, busy):
    described = msgspec.structs.replace(machine.describe(), cores=4, load=load, others=others)
    assert described.busy == busy


def test_a_machine_without_proc_is_unknown(monkeypatch, tmp_path):
    for name in ("STAT", "CPUINFO", "GOVERNOR"):
        monkeypatch.setattr(machine, name, tmp_path / name)
    here = machine.describe()
    assert (here.processor, here.governor, here.others) == ("unknown", None, None)
