"""Estimates of boards: their arithmetic, their evidence, and that a real figure replaces them."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import msgspec
import pytest

from device import bundle
from device.cli import main
from device.pipeline import GLAUCOMA
from quantize.bench import candidates, table
from quantize.bench.candidates import Candidate
from quantize.bench.estimate import THREADS, Range, by_instructions, by_throughput, estimate, throughput
from quantize.bench.evidence import (
    COUNTS,
    PIPELINE,
    SCREENING,
    Board,
    Counts,
    Knowledge,
    KnownNetwork,
    Published,
    Real,
    Subject,
    read_counts,
    read_knowledge,
    read_measured,
)
from quantize.bench.report import Machine, Report, Settings
from quantize.bench.rounds import Samples
from quantize.bench.summary import summarize
from quantize.errors import BenchError

RUNS = dict.fromkeys(GLAUCOMA, 1)
FILES = {task: next(bundle.SHIPPED.glob(f"{task}-*.tnh")).name for task in GLAUCOMA}
# A core that issues 2 instructions a cycle at 1 GHz: a million take 0.5 to 2 ms.
ONE = Board("Toy", "Toy Pi", "toy", "a1", 1.0, 2, [], [
    Published("s", "toy", 1.0, 1, {"n": 100.0, "m": 50.0}),  # 10 and 20 GMAC/s
    Published("s", "toy at half the clock", 0.5, 4, {"n": 50.0}),  # 20, so 40 at this clock
])  # fmt: skip
KNOWN = Knowledge(0.25, {"s": "https://example.org"}, {n: KnownNetwork(1.0, "s") for n in "nm"}, [ONE])


def subjects():
    """The shipped bundles, each of one GMAC, and a peer."""
    loaded = candidates.load(None, None)
    return [*(Subject(b.manifest.name, 10**9, b) for b in loaded), Subject("peer", 2 * 10**9)]


def hashes():
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle.SHIPPED.glob("*.tnh")}


def counts(**bundles):
    """100 for each network, 40 for decoding, 60 for the rest."""
    stages = {**dict.fromkeys(GLAUCOMA, 100.0), "decode": 40.0, "field": 60.0, "total": 400.0}
    return Counts("counted", {"a1": stages}, bundles or hashes())


def rows(counted, measured=None, runs=RUNS):
    (board,) = estimate(subjects(), runs, counted, measured or {}, KNOWN).boards
    return {(row.what, row.threads): row for row in board.rows}


def test_arithmetic():
    assert throughput(ONE, KNOWN, 1) == (10.0, 20.0)
    assert throughput(ONE, KNOWN, 4) == (40.0, 40.0)
    assert throughput(ONE, KNOWN, 2) is None
    assert by_throughput(10**9, (10.0, 20.0)) == Range(50.0, 100.0)
    assert by_instructions(100, ONE, KNOWN) == Range(50.0, 200.0)


def test_one_thread_does_its_share_of_four():
    faster = msgspec.structs.replace(ONE, published=[*ONE.published, Published("s", "", 1.0, 4, {"n": 10.0})])
    assert throughput(faster, KNOWN, 1) == (10.0, 25.0)
    assert throughput(faster, KNOWN, 4) == (40.0, 100.0)


def test_a_range_spans_both_kinds_of_evidence():
    found = rows(counts())
    network = found["disc_cup", 1]
    assert (network.published_ms, network.counted_ms) == (Range(50, 100), Range(50, 200))
    assert network.estimate_ms == Range(50, 200)
    assert found["peer", 1].estimate_ms == Range(100, 200) and found["peer", 1].counted_ms is None
    assert found["faz", 1].counted_ms is None, "no stage of it was counted"
    assert found["disc_cup", 4].estimate_ms == Range(25, 25), "counts are of one thread"


def test_the_pipeline_is_its_networks_and_what_is_around_them():
    found = rows(counts())
    assert found[SCREENING, 1].published_ms == Range(3 * 50 + 50, 3 * 100 + 200)
    assert found[SCREENING, 1].counted_ms == Range(400 / 2, 400 * 2)
    assert found[PIPELINE, 1].counted_ms == Range(360 / 2, 360 * 2)
    assert found[SCREENING, 4].estimate_ms == Range(3 * 25 + 50, 3 * 25 + 200)
    twice = rows(counts(), runs=RUNS | {"disc_cup": 2})
    assert twice["disc_cup", 1].counted_ms == Range(25, 100), "two runs were counted together"
    assert twice[SCREENING, 1].counted_ms == found[SCREENING, 1].counted_ms


def test_counts_of_another_file_are_not_used_for_its_network():
    stale = counts(**(hashes() | {FILES["disc_cup"]: "0" * 64}))
    assert rows(stale)["disc_cup", 1].counted_ms is None
    assert rows(stale)["glaucoma", 1].counted_ms is not None
    assert rows(stale)[SCREENING, 1].counted_ms is None and rows(stale)[SCREENING, 1].published_ms is not None
    (reason,) = estimate(subjects(), RUNS, stale, {}, KNOWN).left_out
    assert "disc_cup" in reason and "--instructions" in reason


def test_without_counts_or_a_task_there_is_no_pipeline_and_it_is_said():
    assert SCREENING not in {what for what, _ in rows(None)}
    assert "--instructions" in estimate(subjects(), RUNS, None, {}, KNOWN).left_out[0]
    assert SCREENING not in {what for what, _ in rows(counts(), runs={})}
    assert "pipeline" in estimate(subjects(), {}, counts(), {}, KNOWN).left_out[0]


def test_a_real_figure_replaces_the_estimate():
    real = {("Toy", "disc_cup", 1): Real(77.0, 76.0, 78.0, "a.json, Toy Pi Rev 1")}
    row = rows(counts(), real)["disc_cup", 1]
    assert row.estimate_ms is None and row.measured.ms == 77
    assert rows(counts(), real)["disc_cup", 4].estimate_ms is not None
    said = table.estimated(estimate(subjects(), RUNS, counts(), real, KNOWN)).splitlines()
    (line,) = (s for s in said if s.startswith("| disc_cup | 1 |"))
    assert "**77 [76, 78]** measured: a.json, Toy Pi Rev 1" in line and "estimate" not in line
    others = [s for s in said if s.startswith("| ") and s != line and "---" not in s and "what" not in s]
    assert others and all("(estimate)" in s for s in others)


def written(path, **content):
    path.write_text(json.dumps(content))
    return path


MODEL = "Raspberry Pi 4 Model B Rev 1.5"


def hil_run(path, **changes):
    """results.json of a rig: 20 screenings of 400 ms, 40 of them decoding, 100 in disc_cup."""
    stages = {"screen.warm": 400.0, "screen.stage.decode.warm": 40.0, "screen.stage.disc_cup.warm": 100.0}
    content = {
        "schema": 1, "void": "", "machine": {"model": MODEL}, "bundles": hashes(),
        "measurements": {name: {"unit": "ms", "samples": [ms] * 20} for name, ms in stages.items()},
    }  # fmt: skip
    return written(path, **(content | changes))


def test_a_run_of_hil_on_a_board(tmp_path):
    found = read_measured(hil_run(tmp_path / "results.json"), read_knowledge(), subjects(), {"disc_cup": 2})
    ms = {key: real.ms for key, real in found.items()}
    assert ms == {("Pi 4", SCREENING, 1): 400, ("Pi 4", PIPELINE, 1): 360, ("Pi 4", "disc_cup", 1): 50}
    assert found["Pi 4", "disc_cup", 1].source == f"results.json, {MODEL}"


def test_other_bundles_on_the_board_are_passed_over(tmp_path):
    other = hashes() | {FILES["glaucoma"]: "0" * 64}
    found = read_measured(hil_run(tmp_path / "a.json", bundles=other), read_knowledge(), subjects(), RUNS)
    assert set(found) == {("Pi 4", "disc_cup", 1)}


def bench_run(path, processor=MODEL, others=0.0, name=None):
    name = name or FILES["disc_cup"].removesuffix(".tnh")
    chosen = [Candidate("x int8", "int8", f"bundle {name}", 4, {}), Candidate("pipeline", "pipeline", "", 4, {})]
    report = Report(
        2, "2030-01-01T00:00:00+00:00", "1", Machine(processor, "aarch64", 4, None, 0.0, others, "3.13", "litert"),
        Settings(2, 0, (4,), False, "x"), "p", (),
        summarize(chosen, {c.key: Samples([[9.0], [9.0]]) for c in chosen}, {}, "x"), [],
    )  # fmt: skip
    path.write_bytes(msgspec.json.encode(report))
    return path


def test_a_run_of_bench_on_a_board(tmp_path):
    """Its pipeline is passed over: not all of these bundles were among what it measured."""
    found = read_measured(bench_run(tmp_path / "b.json"), read_knowledge(), subjects(), RUNS)
    assert {key: real.ms for key, real in found.items()} == {("Pi 4", "disc_cup", 4): 9}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: hil_run(p, machine={"model": ""}), "nameless machine.*made on the board"),
        (lambda p: hil_run(p, void="throttled"), "void .throttled.*run the rig again"),
        (lambda p: hil_run(p, bundles={}), "no time of these bundles"),
        (lambda p: hil_run(p, measurements={"screen.warm.value": 3.0}), "no time of these bundles"),
        (lambda p: bench_run(p, processor="AMD EPYC"), "AMD EPYC.*none of Raspberry Pi Zero 2"),
        (lambda p: bench_run(p, others=0.9), "busy board"),
        (lambda p: bench_run(p, name="other-1.0.0"), "no time of these bundles"),
        (lambda p: written(p, candidates=[]), "another tenohira's bench"),
        (lambda p: written(p, schema=1), "no run"),
        (lambda p: p, "cannot read"),
    ],
)
def test_what_is_no_real_run_is_refused(make, said, tmp_path):
    with pytest.raises(BenchError, match=said):
        read_measured(make(tmp_path / "a.json"), read_knowledge(), subjects(), RUNS)


def test_the_committed_counts_are_of_the_shipped_bundles():
    """Else the estimates of ``tenohira bench --estimate`` do without them: count again with hil --rig aarch64."""
    assert read_counts(COUNTS).bundles == hashes()


def test_counts_are_read_from_a_baseline_and_from_a_run(tmp_path):
    baseline = written(tmp_path / "b.json", commit="abcdefgh", measurements={
        "screen.instructions.a53.decode.value": 5.5, "screen.memory.a72.peak.value": 9,
    })  # fmt: skip
    run = written(tmp_path / "r.json", measurements={
        "screen.instructions.a53.decode": {"unit": "Minstr", "value": 5.5}, "screen.warm": {"samples": [1]},
    })  # fmt: skip
    assert read_counts(baseline).stages == read_counts(run).stages == {"a53": {"decode": 5.5}}
    assert "abcdefg" in read_counts(baseline).origin
    with pytest.raises(BenchError, match="no counted instructions"):
        read_counts(written(tmp_path / "n.json", measurements={}))


def test_the_committed_counts_have_every_core_and_stage():
    counted, known = read_counts(COUNTS), read_knowledge()
    for board in known.boards:
        assert {*GLAUCOMA, "decode", "total"} <= counted.stages[board.counted].keys()


def test_every_shipped_figure_has_an_address():
    known = read_knowledge()
    assert all(address.startswith("https://") for address in known.sources.values())
    assert [b.name for b in known.boards] == ["Zero 2 W", "Pi 4", "Pi 5"]
    for board in known.boards:
        assert all(low < high for low, high in (throughput(board, known, n) for n in THREADS))


def test_of_two_versions_the_pipeline_takes_the_newer(tmp_path):
    two = subjects()
    (one,) = (s for s in two if s.what == "disc_cup")
    older = msgspec.structs.replace(one.bundle.manifest, version="0.0.1")
    two.append(Subject("older", 5 * 10**9, dataclasses.replace(one.bundle, manifest=older)))
    (board,) = estimate(two, RUNS, counts(), {}, KNOWN).boards
    found = {(row.what, row.threads): row for row in board.rows}
    assert found[SCREENING, 1] == rows(counts())[SCREENING, 1]
    assert found["older", 1].published_ms == Range(250, 500) and found["older", 1].counted_ms is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [('source = "ncnn"', 'source = "gone"', "no address for gone"), ("{ mobilenet =", "{ lenet =", "for lenet")],
)
def test_a_figure_without_an_origin_is_refused(old, new, said, tmp_path):
    from quantize.bench.evidence import DATA

    (tmp_path / "b.toml").write_text(DATA.read_text().replace(old, new))
    with pytest.raises(BenchError, match=said):
        read_knowledge(tmp_path / "b.toml")


def test_the_whole_verb(tmp_path, capsys):
    out = tmp_path / "e.json"
    real = hil_run(tmp_path / "results.json")
    assert main(["bench", "--estimate", "--measured", str(real), "--json", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Estimates, not measurements" in said and "**400 [400, 400]** measured" in said
    assert "https://github.com/Tencent/ncnn" in said
    content = json.loads(out.read_text())
    assert content["kind"] == "estimate" and len(content["boards"]) == 3
    (screening,) = (r for r in content["boards"][1]["rows"] if r["what"] == SCREENING and r["threads"] == 1)
    assert screening["estimate_ms"] is None and screening["measured"]["ms"] == 400
    for board in content["boards"]:
        for row in board["rows"]:
            assert row["measured"] or 0 < row["estimate_ms"][0] < row["estimate_ms"][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--estimate", "--quick", "--threads", "1"], "--quick, --threads"),
        (["--measured", "a.json"], "belong to --estimate"),
        (["--instructions", "a.json"], "belong to --estimate"),
        (["--estimate", "--instructions", "nowhere.json"], "nowhere.json"),
        (["--estimate", "--measured", "nowhere.json"], "nowhere.json"),
        (["--estimate", "--bundles", "nowhere"], "there is no bundle"),
    ],
)
def test_wrong_arguments_are_explained(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *arguments]) == 2
    assert said in capsys.readouterr().err
