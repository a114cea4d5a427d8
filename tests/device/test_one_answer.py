"""One answer: whatever was photographed, withdrawn, given up and read, every way out says the same of an eye."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import uuid
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from device.dicom import common, write
from device.eyes import eye_result, unread
from device.overlay import WORDS
from device.record import EYES, Settings, Visit, Withdrawal
from device.report.pdf import render
from device.store.tables import VISIT_COLUMNS
from device.trial.cohort import gather
from device.verdict import Outcome
from device.web.app import build
from tests.device.dicom.test_objects import values
from tests.device.report.visits import POINT, UID, Pictures, capture, not_imaged, reading, visit

HIDDEN = "hidden"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # without shrinking: an example takes a third of a second
STRICT = {"glaucoma_probability": POINT | {"name": "strict", "threshold": 0.7}}
Said = tuple[object, float | None, float | None]  # outcome (or HIDDEN, or None), probability, ratio

chances = st.lists(st.none() | st.floats(0.1, 0.99).map(lambda p: round(p, 4)), min_size=1, max_size=3)
presses = st.tuples(
    st.sampled_from(EYES), chances, st.booleans(), st.booleans(), st.sampled_from([*EYES, "unknown"])
)
eyes_read = st.lists(st.tuples(st.sampled_from(EYES), st.booleans()), max_size=3)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    return Pictures(tmp_path_factory.mktemp("pictures"))


def examined(pictures: Pictures, taken, given_up, read, masked: bool) -> Visit:
    captures, gone = [], []
    for k, (eye, burst, strict, withdrawn, seen) in enumerate(taken):
        one = capture(pictures, eye, *burst, seen=seen, uid=str(uuid.UUID(int=k + 1, version=4)))
        if strict:  # the operating point was changed
            shots = tuple(_again(s) for s in one.shots)
            kept = shots[one.kept]
            row = msgspec.structs.replace(one.result, outcome=kept.outcome, operating_points=STRICT)
            one = msgspec.structs.replace(one, shots=shots, result=row)
        captures.append(one)
        if withdrawn:
            gone.append(Withdrawal(visit=UID, capture=one.uid, reason="it shows the other eye", time=one.taken))
    return visit(
        *captures,
        withdrawn=tuple(gone),
        not_imaged=tuple(not_imaged(eye, "cataract") for eye in given_up),
        readings=tuple(reading(eye, Outcome.UNGRADABLE, masked=first) for eye, first in read),
        masked=masked,
        consent=True,
        study="KAN",
    )


def _again(shot):
    if shot.glaucoma_probability is None:
        return shot
    refer = shot.glaucoma_probability >= STRICT["glaucoma_probability"]["threshold"]
    return msgspec.structs.replace(shot, outcome=Outcome.REFER if refer else Outcome.NO_REFERRAL)


def expected(exam: Visit, eye: str) -> Said:
    """Worked out anew from the record: the median of what counts, against the last operating point."""
    gone = {w.capture for w in exam.withdrawn}
    counted = [c for c in exam.captures if c.uid not in gone and c.laterality == eye]
    graded = [(c, s) for c in counted for s in c.shots if s.outcome is not Outcome.UNGRADABLE]
    if not graded:
        given_up = any(n.laterality == eye for n in exam.not_imaged)
        return (Outcome.UNGRADABLE if counted or given_up else None), None, None
    chance = statistics.median(s.glaucoma_probability for _, s in graded)
    limit = graded[-1][0].result.operating_points["glaucoma_probability"]["threshold"]
    outcome = Outcome.REFER if chance >= limit else Outcome.NO_REFERRAL
    return outcome, chance, statistics.median(s.vcdr for _, s in graded)


def concealed(exam: Visit, eye: str) -> bool:
    gone = {w.capture for w in exam.withdrawn}
    photographed = any(c.laterality == eye and c.uid not in gone for c in exam.captures)
    return exam.masked and photographed and not any(r.laterality == eye and r.masked for r in exam.readings)


def value(interval) -> float | None:
    return interval["value"] if interval else None


def of_json(said: dict) -> Said:
    if said["hidden"]:
        assert said.keys() == {"laterality", "hidden"}
        return HIDDEN, None, None
    return said["outcome"], value(said["glaucoma_probability"]), value(said["vcdr"])


def of_page(html: str) -> dict[str, Said]:
    sides = re.findall(r'<article class="side">(.*?)</article>', html, re.S)
    return {eye: _of_side(side) for eye, side in zip(EYES, sides, strict=True)}


def _of_side(side: str) -> Said:
    outcome = re.search(r'class="outcome (\w+)"', side)
    numbers = dict(re.findall(r"<dt>([^<]+)</dt><dd><b>([\d.]+)</b>", side))
    found = {"waiting": HIDDEN}.get(outcome[1], outcome[1]) if outcome else None
    return found, *(_float(numbers.get(n)) for n in ("Glaucoma probability", "Vertical cup-to-disc ratio"))


def _float(text: str | None) -> float | None:
    return None if text is None else float(text)


def of_pdf(text: str) -> dict[str, Said]:
    right, left = text.split("Left eye (OS)", 1)
    return {
        "OD": _of_column(right.split("Right eye (OD)", 1)[1]),
        "OS": _of_column(left.split("How this was made")[0]),
    }


def _of_column(text: str) -> Said:
    words = {**{w: o.value for o, w in WORDS.items()}, "NOT EXAMINED": None, "HIDDEN UNTIL": HIDDEN}
    outcome = words[re.search("NO REFERRAL|REFER|UNGRADABLE|NOT EXAMINED|HIDDEN UNTIL", text)[0]]
    found = [
        re.search(rf"{n} (\d\.\d\d)(?! reach| is)", text)
        for n in ("Glaucoma probability", "Vertical cup-to-disc ratio")
    ]
    return outcome, *(float(m[1]) if m else None for m in found)


def of_reports(found) -> dict[str, Said]:
    said: dict[str, Said] = {}
    for data in found:
        if data.Modality == "SR":
            eye = next(e for e in EYES if data.SOPInstanceUID == common.uid(UID, "report", e))
            (code,) = values(data, "CODE", "Screening outcome")
            names = ("Calibrated probability of glaucoma", "Vertical cup-to-disc ratio")
            numbers = [(values(data, "NUM", n) or [None])[0] for n in names]  # the median comes first
            said[eye] = ({"no-referral": "no_referral"}.get(code, code), *numbers)
    return said


def rounded(said: Said, digits: int) -> Said:
    return said[0], *(None if v is None else pytest.approx(v, abs=0.51 * 10**-digits) for v in said[1:])


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed (Debian: poppler-utils)")
@settings(max_examples=40, phases=PHASES)
@given(st.lists(presses, max_size=5), st.lists(st.sampled_from(EYES), max_size=2), eyes_read, st.booleans())
def test_every_way_out_says_the_same(pictures, taken, given_up, read, masked):
    exam = examined(pictures, taken, given_up, read, masked)
    answer = {eye: expected(exam, eye) for eye in EYES}
    hides = {eye: concealed(exam, eye) for eye in EYES}
    shown = {eye: (HIDDEN, None, None) if hides[eye] else answer[eye] for eye in EYES}
    event(f"{[str(s[0]) for s in shown.values()]}")

    results = {eye: eye_result(exam, eye) for eye in EYES}
    for eye, r in results.items():
        chance, ratio = (None if i is None else i.value for i in (r.glaucoma_probability, r.vcdr))
        assert (r.outcome, chance, ratio) == answer[eye]
        assert (r.outcome in (None, Outcome.UNGRADABLE)) == (chance is None) == (ratio is None)

    store = SimpleNamespace(
        visit=lambda uid: exam,
        visits=lambda **_: [exam],
        picture=pictures,
        settings=Settings(),
        parcel=lambda uid: None,
    )
    client = TestClient(build(SimpleNamespace(store=store)), base_url="http://localhost", client=("127.0.0.1", 5))
    for path in (f"/visits/{UID}", "/history"):
        told = client.get(path, headers={"accept": "application/json"}).json()
        told = told[0] if isinstance(told, list) else told
        assert {eye: of_json(told["eyes"][eye]) for eye in EYES} == shown
        counted = {c.uid for eye in EYES for c in exam.of(eye)}
        for c in told["captures"]:
            if c["uid"] in counted:
                assert c["hidden"] == hides[c["laterality"]] == ("result" not in c)
            elif masked and len({r.laterality for r in exam.readings if r.masked}) < 2:
                assert c["hidden"] and "result" not in c
    page = of_page(client.get(f"/visits/{UID}").text)
    assert page == {eye: rounded(shown[eye], 2) for eye in EYES}
    history = client.get("/history").text
    assert re.findall(r'class="mini (\w+)"', history) == [str(shown[eye][0] or "none").lower() for eye in EYES]

    pdf = render(exam, pictures, Settings(), "en")
    text = " ".join(
        subprocess.run(["pdftotext", "-raw", "-", "-"], input=pdf, capture_output=True, check=True)
        .stdout.decode()
        .split()
    )
    waits = any(hides.values())
    printed = {eye: (HIDDEN, None, None) if waits and exam.of(eye) else answer[eye] for eye in EYES}
    assert of_pdf(text) == {eye: rounded(printed[eye], 2) for eye in EYES}
    if waits:
        assert client.get(f"/visits/{UID}/report.pdf").status_code == 403

    sent = of_reports(list(write.each(exam, pictures)))
    assert sent == {eye: rounded(shown[eye], 4) for eye in EYES if shown[eye][0] not in (None, HIDDEN)}
    assert bool(unread(exam)) == waits

    row = {c.name: c.of(exam, results) for c in VISIT_COLUMNS}
    cells = {eye: (row[f"{eye}_outcome"], row[f"{eye}_glaucoma_probability"], row[f"{eye}_vcdr"]) for eye in EYES}
    assert cells == answer
    trial = {e.laterality: e for e in gather([exam], [], "KAN").eyes}
    words = {"not_imaged": "ungradable", "not_examined": None}
    attempted = exam.not_imaged or any(exam.of(eye) for eye in EYES)  # without, no trial counts the examination
    counted = {eye: (words.get(e.answer, e.answer), e.probability, e.vcdr) for eye, e in trial.items()}
    assert counted == (answer if attempted else {})
