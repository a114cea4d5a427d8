"""Verdicts of a comparison, and the report's way to a file and back, on reports that were made up."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from device.errors import MissingExtraError
from quantize.bench import report as reports
from quantize.bench import table
from quantize.bench.candidates import Candidate
from quantize.bench.compare import compare, differences
from quantize.bench.report import Machine, Report, Settings
from quantize.bench.rounds import Samples
from quantize.bench.summary import summarize
from quantize.bench.targets import targets
from quantize.commands import bench
from quantize.errors import BenchError

ROUNDS = 20


def report(seed=0, machine=1.0, spread=0.01, load=0.0, **times):
    """A run on a machine that takes ``machine`` times as long; ``times`` of a run of each candidate in ms."""
    rng = np.random.default_rng(seed)
    candidates = [
        Candidate("convolution", "roof", "roof", 1, {}, 10**9),
        Candidate("slow", "roof", "", 1, {}, 10**8),
    ]
    candidates += [Candidate(name, "int8", name, 1, {}, 2 * 10**8) for name in times]
    of_all = {"convolution": 5.0, "slow": 5.0, **times}
    samples = {
        c.key: Samples([(machine * of_all[c.name] * rng.normal(1, spread, 3)).tolist() for _ in range(ROUNDS)], {})
        for c in candidates
    }
    return Report(
        reports.SCHEMA, "2030-01-01T00:00:00+00:00", "0.1.0",
        Machine("cpu", "riscv", 4, None, load, None, "3.12", "litert 1"),
        Settings(ROUNDS, seed, (1,), False, "unet"), "simulated", ("much",),
        summarize(candidates, samples, {}, "unet"), [[c.key for c in candidates]] * ROUNDS,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("now", "verdict", "exceeds"),
    [(4.0, "no difference", False), (4.3, "regression", False), (4.8, "regression", True), (3.0, "faster", False)],
)
def test_verdicts(now, verdict, exceeds):
    (change,), alone = compare(report(net=4.0), report(1, net=now))
    assert (change.key, change.verdict, change.exceeds(0.1), alone) == ("net x1", verdict, exceeds, [])
    assert change.ratio.value == pytest.approx(now / 4, rel=0.02)


def test_a_slower_machine_is_no_regression():
    (change,), _ = compare(report(net=4.0), report(1, machine=7.0, net=4.0))
    assert change.ratio.value == pytest.approx(1, rel=0.02) and not change.exceeds(0.1)


def test_what_is_uncertain_is_no_regression():
    (change,), _ = compare(report(net=4.0, spread=0.6), report(5, net=4.6, spread=0.6))
    assert change.ratio.low < 1 < change.ratio.high
    assert not change.exceeds(0.0)


@pytest.mark.parametrize(
    ("factor", "spread", "least", "most"),
    [
        (1.0, 0.01, 0.0, 0.02),  # nothing changed
        (1.0, 0.15, 0.0, 0.05),  # nothing changed, and the machine is restless
        (1.2, 0.01, 0.98, 1.0),  # a fifth slower
    ],
)
def test_false_alarms_and_power(factor, spread, least, most):
    """Of 100 comparisons of independent runs of quick length, how many end with exit code 1: each process has its
    own lasting speed (within 1 %), each round its own moment."""
    alarms, base = 0, report()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        rounds = [
            ms * rng.normal(1, 0.01) * rng.normal(1, spread, 12) / rng.normal(1, spread, 12)
            for ms in (4.0, 4.0 * factor)
        ]
        old, new = (single(base, values) for values in rounds)
        (change,), _ = compare(old, new)
        alarms += change.exceeds(0.1)
    assert least <= alarms / 100 <= most, alarms


def single(base, ms):
    """A run of one candidate with these milliseconds by round, beside a roof that takes one."""
    candidates = [Candidate("roof", "roof", "", 1, {}, 10**9), Candidate("net", "int8", "", 1, {}, 10**9)]
    samples = {"roof x1": Samples([[1.0]] * len(ms)), "net x1": Samples([[float(value)] for value in ms])}
    return msgspec.structs.replace(base, candidates=summarize(candidates, samples, {}, "none"))


def test_a_few_rounds_are_no_evidence():
    base = report()
    (change,), _ = compare(single(base, [1.0] * 9), single(base, [3.0] * 4))
    assert change.verdict == "too few rounds" and not change.exceeds(0.1)
    (change,), _ = compare(single(base, [1.0] * 9), single(base, [3.0] * 5))
    assert change.exceeds(0.1)


def test_what_makes_runs_hard_to_compare_is_said():
    old = report(net=4.0)
    other = msgspec.structs.replace(old.machine, processor="another", runtime="litert 2")
    new = msgspec.structs.replace(report(1, machine=2.0, net=4.0), machine=other)
    said = "\n".join(differences(old, new))
    assert "cpu, then another" in said and "litert 1, then litert 2" in said
    assert "roof x1: 200 GMAC/s, then 100" in said


def test_the_worst_comes_first_and_what_one_run_lacks_is_named():
    old, new = report(a=1.0, b=1.0, c=1.0), report(1, load=9.0, a=1.0, b=2.0, d=1.0)
    changes, alone = compare(old, new)
    assert [c.key for c in changes] == ["b x1", "a x1"]
    assert alone == ["c x1", "d x1"]
    said = table.comparison(old, new, changes, alone, 0.1)
    assert "| b x1 |" in said and "**regression**" in said and "c x1, d x1" in said and "busy" in said


def test_figures_are_shares_of_the_best_convolution_and_ratios_to_the_reference():
    m = report(unet=8.0, net=4.0).by_key()
    net = m["net x1"].summary
    assert net.ratio == pytest.approx(0.5, rel=0.02) and net.ratio_low <= net.ratio <= net.ratio_high
    assert net.gmacs == pytest.approx(0.2 / 4e-3, rel=0.02)
    assert net.roof_share == pytest.approx((0.2 / 4) / (1 / 5), rel=0.03)
    assert m["convolution x1"].summary.roof_share == 1
    assert report(net=4.0).by_key()["net x1"].summary.ratio is None


def test_macs_of_the_pipeline_are_those_of_the_networks_that_ran():
    pipeline = Candidate("pipeline", "pipeline", "", 1, {})
    told = {"network_runs": {"disc_finder": 1, "disc_cup": 3}, "network_share": 0.5, "peak_mb": 9, "steady_mb": 8}
    (m,) = summarize(
        [pipeline], {"pipeline x1": Samples([[1.0]], told)}, {"disc_finder": 10, "disc_cup": 7}, "none"
    )
    assert (m.macs, m.network_share, m.peak_mb, m.steady_mb) == (31, 0.5, 9, 8)


@pytest.mark.parametrize(
    ("faster", "share", "peak", "roof", "held"), [(16, 0.7, 100, 0.95, True), (14, 0.5, 130, 0.5, False)]
)
def test_targets_are_held_or_missed(faster, share, peak, roof, held):
    """Times are made up so that each candidate has what the case says; the roof takes 1 ms for 1 GMAC."""
    ms = {"unet 320 int8": 160.0, "pipeline": 160 / faster, "tenohira screen": 500.0}
    ms |= {"conv": 1.0, "paper 320 int8": 1 / roof, "net int8": 1 / roof, "net torch": 9.0}
    kinds = {"pipeline": "pipeline", "tenohira screen": "screen", "conv": "roof", "net torch": "torch"}
    whats = {"net int8": "bundle net-1.0.0", "net torch": "the network of net-1.0.0"}
    chosen = [Candidate(n, kinds.get(n, "int8"), whats.get(n, n), 1, {}, 10**9) for n in ms]
    told = {"pipeline": {"network_share": share}, "tenohira screen": {"peak_mb": peak}}
    samples = {c.key: Samples([[ms[c.name]]] * 3, told.get(c.name, {})) for c in chosen}
    measured = msgspec.structs.replace(
        report(),
        candidates=summarize(chosen, samples, {}, "unet 320 int8"),
        settings=Settings(3, 0, (1,), False, "unet 320 int8"),
    )
    found = targets(measured)
    assert [t.words.partition(" x1: ")[0] for t in found] == [
        "pipeline", "pipeline", "tenohira screen", "paper 320 int8", "net int8"
    ]  # fmt: skip
    assert {t.held for t in found} == {held}
    assert ("**missed**" in table.markdown(measured)) != held


def test_a_report_comes_back_from_its_file(tmp_path):
    one = report(unet=8.0, net=4.0)
    reports.write(tmp_path / "a.json", one)
    assert reports.read(tmp_path / "a.json") == one
    plain = json.loads((tmp_path / "a.json").read_text())
    assert plain["schema"] == 2 and len(plain["candidates"][0]["turns"]) == ROUNDS
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "no benchmark"), ('{"schema": 9}', "schema 9.*measure it again"), ('{"schema": 2}', "no benchmark")],
)
def test_other_files_are_refused(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BenchError, match=said):
        reports.read(tmp_path / "a.json")


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    with pytest.raises(BenchError, match=r"none\.json"):
        reports.read(tmp_path / "none.json")
    with pytest.raises(BenchError, match=r"folder.a\.json"):
        reports.write(tmp_path / "folder" / "a.json", report(net=1.0))


def test_the_table_says_what_a_reader_needs():
    said = table.markdown(report(unet=8.0, net=4.0))
    for words in ("ratio to `unet`", "cpu (riscv), 4 cores", "| net | 1 | 0.", "roof x1", "left out: much"):
        assert words in said, words
    assert "busy" not in said
    assert "busy" in table.markdown(report(load=3.0, net=4.0))


def test_the_plot_is_written_or_says_why_not(tmp_path):
    from quantize.bench.plot import frontier

    frontier(tmp_path / "a.png", report(unet=8.0, net=4.0, twin=4.0))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    frontier(tmp_path / "a.png", report(load=9.0, unet=8.0, net=4.0))
    with pytest.raises(BenchError, match="--reference"):
        frontier(tmp_path / "b.png", report(net=4.0))


def test_names_of_what_lies_together_are_joined():
    from quantize.bench.plot import _labels, _near, _near_shares

    near = [("b", (1.0, 10.0)), ("far", (1.0, 20.0)), ("a", (0.9, 11.0)), ("wide", (3.0, 10.0))]
    assert _labels(near, _near) == [("a, b", (0.9, 11.0)), ("far", (1.0, 20.0)), ("wide", (3.0, 10.0))]
    shares = [("b", (1.0, 0.05)), ("far", (1.0, 0.6)), ("a", (1.1, 0.1))]
    assert _labels(shares, _near_shares) == [("b, a", (1.0, 0.05)), ("far", (1.0, 0.6))]


@pytest.mark.parametrize(("now", "code"), [(4.0, 0), (8.0, 1)])
def test_exit_code_of_a_regression(now, code, tmp_path, monkeypatch, capsys):
    from device.cli import main

    reports.write(tmp_path / "old.json", report(net=4.0))
    monkeypatch.setattr(bench, "_measure", lambda *_: report(1, net=now))
    assert main(["bench", "--threads", "1", "--compare", str(tmp_path / "old.json")]) == code
    assert ("**regression**" in capsys.readouterr().out) == bool(code)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name == "tensorflow" else object())
    with pytest.raises(MissingExtraError, match=r"tensorflow .*tenohira\[quantize\]"):
        bench._require_extra()
