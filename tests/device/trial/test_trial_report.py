"""``tenohira trial``: from a study's folder or a store to the page; a simulated trial whose truth is known."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from scipy.stats import norm
from trial_records import press, reading, reference, visit

from device.cli import NOTICE, main
from device.errors import TrialError
from device.record import NotImaged, Settings, now
from device.store import Store
from device.trial import accuracy, analysis, cohort, page, source
from tests.device.test_overlay import contrast, of_hex
from tests.device.test_page import Page
from tests.device.trial import simulate

PEOPLE = 200


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    visits, references = simulate.simulate(PEOPLE, seed=3)
    simulate.write(folder, visits, simulate.with_ratios(visits, references))
    return folder


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    code = main(["trial", "report", str(study), "--references", str(study / "references.csv"), "--out", str(out)])
    assert code == 0
    return out


def rows(path: Path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def report_of(visits, references=()):
    return analysis.analyse(cohort.gather(visits, references, "T"), ["x"])


def text_of(report):
    return " ".join(" ".join(Page(page.render(report)).text).split())


# A trial whose truth is known


def test_intervals_cover_what_the_trial_was_made_from():
    """40 trials of 200 people. At 95 %, fewer than 34 of 40 covering would happen once in 300 times."""
    truth = simulate.TRUTH
    covered = dict.fromkeys(("sensitivity", "specificity", "no outcome"), 0)
    for seed in range(40):
        found = cohort.gather(*simulate.simulate(PEOPLE, seed), "KAN26")
        shares = accuracy.measures(accuracy.by_eye(found.eyes), "excluded")
        shares["no outcome"] = accuracy.share_of(found.eyes, lambda e: e.answer in cohort.UNGRADED)
        failing = truth.not_imaged + (1 - truth.not_imaged) * truth.ungradable
        # a photograph in twelve fails by chance: an eye of which all three do has no outcome either, once in 2000
        for name, value in (
            ("sensitivity", truth.sensitivity),
            ("specificity", truth.specificity),
            ("no outcome", failing),
        ):
            low, high = shares[name].interval
            covered[name] += low <= value <= high
    assert all(34 <= n <= 40 for n in covered.values()), covered


def test_area_bias_and_repeatability_are_found_again(study):
    read = source.read([study])
    known = simulate.with_ratios(*simulate.simulate(PEOPLE, seed=3))
    report = analysis.analyse(cohort.gather(read.visits, known, "KAN26"), ["x"], read.simulated)
    (part,) = report.parts
    truth = simulate.TRUTH
    area = norm.cdf((norm.ppf(truth.sensitivity) + norm.ppf(truth.specificity)) / 2**0.5)
    assert part.roc.auc.low <= area <= part.roc.auc.high
    limits = next(r.limits for r in part.ratios if r.against == "reference standard")
    assert limits.bias.low <= truth.vcdr_bias <= limits.bias.high
    burst = part.repeats[0].found
    assert burst.sd.low <= truth.burst_sd <= burst.sd.high
    assert part.at_point[1] == next(a.share.value for a in part.accuracy if a.measure == "sensitivity")


# The files


def test_the_eyes_and_the_tables_say_what_the_report_says(written):
    report = msgspec.json.decode((written / "report.json").read_bytes())
    eyes = rows(written / "eyes.csv")
    flow = {row["what"]: int(row["n"]) for row in rows(written / "flow.csv")}
    assert len(eyes) == flow["eyes"] == report["flow"]["eyes"] == 2 * report["flow"]["counted"]
    ill = [e for e in eyes if e["reference"] == "refer" and e["answer"] in ("refer", "no_referral")]
    (sensitivity,) = (
        r for r in rows(written / "accuracy.csv")
        if (r["unit"], r["handling"], r["measure"]) == ("eye", "excluded", "sensitivity")
    )  # fmt: skip
    assert int(sensitivity["share_n"]) == len(ill)
    assert int(sensitivity["share_k"]) == sum(e["answer"] == "refer" for e in ill)
    assert len(rows(written / "left_out.csv")) == flow["visits"] - flow["counted"]
    names = {p.name for p in written.iterdir()}
    for name in ("agreement", "vcdr", "repeatability", "groups", "causes", "roc", "missing", "versions", "cross"):
        assert f"{name}.csv" in names
    # a spreadsheet computes nothing of what operators wrote
    gone = NotImaged(visit="v1", laterality="OD", reason="=1+1", time="")
    found = cohort.gather([visit(1, "P-1", not_imaged=(gone,))], [], "T")
    from device.trial import tables

    tables.write(written / "formula", found, analysis.analyse(found, ["x"]))
    assert rows(written / "formula" / "eyes.csv")[0]["cause"] == "'=1+1"


def test_the_same_study_gives_the_same_figures(study, written, tmp_path):
    main(["trial", "report", str(study), "--references", str(study / "references.csv"), "--out", str(tmp_path)])
    first, second = (json.loads((d / "report.json").read_text()) for d in (written, tmp_path))
    assert first.pop("created") and second.pop("created")
    assert first == second


# The page


def test_the_page_is_whole_escaped_and_states_its_numbers(written):
    html = (written / "report.html").read_text()
    seen = Page(re.sub(r"<(path|use|rect|circle|g|defs)\b", r"<\1", html))
    text = " ".join(seen.text)
    assert NOTICE in text and "SIMULATED" in text
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for target in re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', html):
        assert "".join(target) in ids
    for element in re.findall(r'aria-labelledby="([^"]+)"', html):
        assert set(element.split()) <= set(ids)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)  # nothing is fetched
    report = json.loads((written / "report.json").read_text())
    for words in ("not independent", "seed 0", "intention to diagnose", "not chosen from"):
        assert words in text
    assert f"n = {report['parts'][0]['roc']['n']} eyes" in text


def test_what_operators_typed_cannot_become_part_of_the_page():
    report = report_of([visit(1, "<script>", press(0.9), site="<b>", operator="<i>", device="<u>")])
    html = page.render(report)
    assert "<script>" not in html and "<i>" not in html and "&lt;script&gt;" in html


def test_without_a_reference_the_page_says_so_and_shows_no_accuracy():
    text = text_of(report_of([visit(1, "P-1", press(0.9), press(0.1, eye="OS"))]))
    assert "There is no reference standard for these eyes" in text
    assert "Wilson 95" not in text and "No reference: n" not in text and "ROC curve of" not in text


def test_a_split_trial_shows_each_index_test_and_no_sum():
    visits = [visit(i, f"P-{i}", press(0.55, threshold=0.5 if i < 6 else 0.6)) for i in range(1, 12)]
    known = [reference(v.participant, "OD", v.number % 2 == 0, 0.5) for v in visits]
    report = report_of(visits, known)
    text = text_of(report)
    assert "Index test A: balanced (0.5)" in text and "Index test B: balanced (0.6)" in text
    assert "Mixed: index tests" in text and "are not added up" in text
    flow = page.render(report).partition('class="flow"')[2].partition("</svg>")[0]
    assert "Reference standard: n = 5" in flow and "refer: n = 2" not in flow


def test_small_cells_are_counted_and_not_stated():
    known = [reference("P-1", e, True) for e in ("OD", "OS")]
    text = text_of(report_of([visit(1, "P-1", press(0.9), press(0.2, eye="OS"))], known))
    assert "too few (1/2)" in text and "No ROC curve" in text


def test_a_trial_without_anybody_is_still_a_page():
    text = text_of(report_of([visit(1, "P-1", press(0.9), consent=False)]))
    assert "No visit counts" in text and "Participants: n = 0" in text


def test_colours_are_told_apart_by_everybody():
    css = page.STYLE.read_text()
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", css))
    full = {name: of_hex(c if len(c) == 7 else "#" + "".join(2 * x for x in c[1:])) for name, c in colour.items()}
    for text in ("ink", "soft", "refer", "no_referral", "ungradable"):
        for ground in ("paper", "ground"):
            assert contrast(full[text], full[ground]) >= 4.5, (text, ground)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1100, 400])
def test_the_page_opens_in_a_browser_and_fits(browser, written, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    faults, fetched = [], []
    tab.on("console", lambda m: faults.append(m.text))
    tab.on("pageerror", lambda e: faults.append(str(e)))
    tab.on("request", lambda r: fetched.append(r.url))
    tab.goto((written / "report.html").as_uri())
    assert faults == [] and len(fetched) == 1
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.get_by_role("img", name="Flow of participants and eyes").is_visible()
    assert tab.get_by_role("img", name=re.compile("ROC curve of")).is_visible()
    # no text of the diagram leaves its box
    outside = tab.evaluate(
        """() => [...document.querySelectorAll('.box')].flatMap(box => {
            const r = box.querySelector('rect').getBoundingClientRect();
            return [...box.querySelectorAll('text')].filter(t => t.getBoundingClientRect().right > r.right)
              .map(t => t.textContent) })"""
    )
    assert outside == []
    tab.close()


# The command


def test_a_store_takes_references_over_and_is_reported_on(tmp_path, capsys):
    sheet = tmp_path / "r.csv"
    sheet.write_text("participant,laterality,refer,note\nKAN-0001,OD,yes,x\nKAN-0001,OS,no,x\nKAN-0007,OD,no,x\n")
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.change_settings(Settings(study="KAN26", site="KAN", keep_free_mb=0), "test")
        began = store.begin("KAN-0001", operator="N1", consent=True)
        for eye in ("OD", "OS"):
            store.add_not_imaged(NotImaged(visit=began.uid, laterality=eye, reason="cataract", time=now()))
        store.add_reading(msgspec.structs.replace(reading("OD", "refer"), visit=began.uid))
        store.finish(began.uid)
    assert main(["trial", "references", str(folder), str(sheet)]) == 0
    said = capsys.readouterr().out
    assert "3 references taken over" in said and "KAN-0007 OD" in said and "mean nothing here: note" in said
    assert main(["trial", "report", str(folder), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["study"] == "KAN26" and report["sources"] == ["store"] and not report["simulated"]
    assert report["flow"]["verified"]["no_outcome"] == {"refer": 1, "no_referral": 1, "none": 0}
    # a wrong file changes nothing
    sheet.write_text("participant,laterality,refer\nKAN-0001,OD,perhaps\n")
    assert main(["trial", "references", str(folder), str(sheet)]) == 2
    assert "row 2: refer is 'perhaps'" in capsys.readouterr().err
    with Store(folder) as store:
        assert len(store.references()) == 3


def test_folders_that_are_no_study_are_refused_with_a_way_out_and_not_made(tmp_path, capsys):
    sheet = tmp_path / "r.csv"
    sheet.write_text("participant,laterality,refer\nP-1,OD,yes\n")
    absent = tmp_path / "absent"
    assert main(["trial", "report", str(absent), "--out", str(tmp_path / "out")]) == 2
    assert "neither a store nor an exported study" in capsys.readouterr().err
    assert main(["trial", "references", str(absent), str(sheet)]) == 2
    assert "there is no store in" in capsys.readouterr().err
    assert not absent.exists()
    (tmp_path / source.VISITS).write_text("{}\n")
    assert main(["trial", "report", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "line 1 of" in capsys.readouterr().err


def test_the_study_is_named_where_there_are_several():
    visits = [visit(1, "P-1"), visit(2, "P-2", study="U"), visit(3, "P-3", study="")]
    with pytest.raises(TrialError, match="T, U; choose one with --study"):
        source.of_study(visits, None)
    with pytest.raises(TrialError, match="the studies here are: T, U"):
        source.of_study(visits, "V")
    assert source.of_study(visits, "U") == ("U", [visits[1]], 2)
    assert source.of_study(visits[2:], None) == ("", [visits[2]], 0)
    with pytest.raises(TrialError, match="no visit here yet"):
        source.of_study([], None)


def test_several_folders_are_one_trial_and_a_visit_in_two_counts_once(tmp_path):
    begun = visit(1, "P-1", finished=None)
    ended = visit(1, "P-1", press(0.9))
    for name, visits in (("a", [ended, visit(2, "P-2")]), ("b", [begun, visit(3, "P-3")])):
        simulate.write(tmp_path / name, visits, [])
    for order in ("ab", "ba"):
        read = source.read([tmp_path / name for name in order])
        assert {v.uid: v for v in read.visits}["v1"] == ended
        assert len(read.visits) == 3 and read.doubled == 1


def test_a_device_without_the_extra_takes_references_and_names_the_extra_for_the_report(study, tmp_path):
    with Store(tmp_path / "store"):
        pass
    child = "import sys; sys.modules['scipy'] = None; from device.cli import main; sys.exit(main(sys.argv[1:]))"

    def run(*args):
        return subprocess.run([sys.executable, "-c", child, "trial", *args], capture_output=True, text=True)

    done = run("references", str(tmp_path / "store"), str(study / "references.csv"))
    assert done.returncode == 0, done.stderr
    done = run("report", str(study), "--out", str(tmp_path / "out"))
    assert done.returncode == 3 and "pip install 'tenohira[trial]'" in done.stderr
