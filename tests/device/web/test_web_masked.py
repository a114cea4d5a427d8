"""Masked mode: the instrument's answer is in no page, no JSON and no picture before the reader's grade."""

from __future__ import annotations

import json
import re

import pytest
from web_fake import Take
from web_scenes import BLURRED, GLAUCOMA, HEALTHY, change, visit

JSON = {"accept": "application/json"}
GRADE = {"grade": "refer", "reader": "reader-2", "vcdr": "0,7"}

# What gives the answer away: of GLAUCOMA and HEALTHY, as Takes.
TELLING = (
    "0.81", "0.84", "0.78", "0.75", "0.21", "reaches", "is below", "threshold", 'class="casing"', "/disc",
    "overlay", "close-up", 'class="outcome refer"', 'class="outcome no_referral"', '"outcome"', '"vcdr":0',
    "masks",
)  # fmt: skip


def timeless(answer: str) -> str:
    """What was answered without its times: those of 10.813 seconds hold 0.81."""
    return re.sub(r"\d\d:\d\d:\d\d\.\d+", "", answer)


@pytest.fixture
def masked(instrument):
    change(instrument, study="KAN", site="S01", masked=True)
    return visit(instrument, od=[GLAUCOMA], os=[HEALTHY])


def test_nothing_tells_before_the_reader(client, instrument, masked):
    here = f"/visits/{masked.uid}"
    answers = [
        client.get(path, headers=headers).text
        for path in (
            here,
            f"{here}/OD",
            f"{here}/OD?again=1",
            f"{here}/OD/reading",
            f"{here}/OD/cannot",
            "/history",
        )
        for headers in ({}, JSON, {"hx-request": "true"})
    ]
    answers.append(client.post(f"{here}/OD/captures", headers=JSON).text)
    answers.append(client.post(f"{here}/OD/captures", headers={"hx-request": "true"}).text)
    answers.append(client.post(f"{here}/finish", headers=JSON).text)
    answers += [client.get(path, headers=h).text for path in (here, "/history") for h in ({}, JSON)]
    for answer in answers:
        assert not [word for word in TELLING if word in timeless(answer)]


def test_pictures_that_tell_are_not_there(client, instrument, masked):
    here = f"/visits/{masked.uid}/pictures"
    capture = masked.captures[0]
    assert client.get(f"{here}/{capture.image}").status_code == 200
    for sha in (capture.overlay, *capture.masks.values()):
        assert client.get(f"{here}/{sha}").status_code == 404
    assert client.get(f"{here}/{capture.image}?close-up").status_code == 404


def test_report_and_files_stay_closed(client, instrument, masked):
    client.post(f"/visits/{masked.uid}/finish")
    for name in ("report.pdf", "dicom.zip"):
        answer = client.get(f"/visits/{masked.uid}/{name}")
        assert answer.status_code == 403 and "hidden until a reader has graded it" in answer.text


def test_a_grade_is_recorded_once_though_the_answer_got_lost(client, instrument, masked):
    here = f"/visits/{masked.uid}/OD"
    (uid,) = re.findall(r'name="uid" value="([0-9a-f-]{36})"', client.get(f"{here}/reading").text)
    answers = [client.post(f"{here}/reading", data={**GRADE, "uid": uid}) for _ in range(2)]
    assert [a.headers["location"] for a in answers] == [here, here]
    assert [r.uid for r in instrument.store.visit(masked.uid).readings] == [uid]


def test_each_eye_is_shown_after_its_own_grade(client, instrument, masked):
    here = f"/visits/{masked.uid}"
    answer = client.post(f"{here}/OD/reading", data=GRADE)
    assert answer.headers["location"] == f"{here}/OD"
    shown = client.get(f"{here}/OD").text
    assert "REFER" in shown and "0.81" in shown
    reading = instrument.store.visit(masked.uid).readings[0]
    assert (reading.masked, reading.vcdr, reading.reader) == (True, 0.7, "reader-2")
    other = client.get(f"{here}/OS").text
    assert "0.21" not in other and "NO REFERRAL" not in other
    eyes = json.loads(client.get(here, headers=JSON).text)["eyes"]
    assert (eyes["OD"]["hidden"], eyes["OS"]) == (False, {"laterality": "OS", "hidden": True})
    assert client.get(f"{here}/pictures/{masked.captures[0].overlay}").status_code == 200


def test_a_second_reader_was_not_masked(client, instrument, masked):
    for _ in range(2):
        client.post(f"/visits/{masked.uid}/OD/reading", data=GRADE)
    assert [r.masked for r in instrument.store.visit(masked.uid).readings] == [True, False]


def test_a_finished_visit_is_read_later(client, instrument, masked):
    here = f"/visits/{masked.uid}"
    client.post(f"{here}/finish")
    assert "Enter the reader's grade".replace("'", "&#39;") in client.get(here).text
    for eye in ("OD", "OS"):
        assert client.post(f"{here}/{eye}/reading", data=GRADE).headers["location"] == here
    assert client.get(f"{here}/dicom.zip").status_code == 200


def test_the_quality_is_told_so_that_the_photograph_is_repeated(client, instrument):
    change(instrument, masked=True)
    uid = visit(instrument, od=[BLURRED] * 3).uid
    page = client.get(f"/visits/{uid}/OD").text
    assert "Quality: rejected (defocus)" in page and "Focus again" in page and "Cannot image this eye" in page


@pytest.mark.parametrize(
    ("change_", "words"),
    [
        ({"grade": ""}, "no grade"),
        ({"reader": " "}, "reader is missing"),
        ({"vcdr": "1.2"}, "between 0 and 1"),
        ({"vcdr": "nan"}, "between 0 and 1"),
        ({"vcdr": "much"}, "between 0 and 1"),
    ],
)
def test_a_grade_is_whole_or_refused(client, instrument, masked, change_, words):
    answer = client.post(f"/visits/{masked.uid}/OD/reading", data=GRADE | change_)
    assert answer.status_code == 400 and words in answer.text
    assert instrument.store.visit(masked.uid).readings == ()


def test_an_eye_without_a_photograph_is_not_graded(client, instrument):
    assert client.post(f"/visits/{visit(instrument).uid}/OD/reading", data=GRADE).status_code == 400


def test_what_was_withdrawn_tells_of_neither_eye(client, instrument):
    change(instrument, masked=True)
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True)]).uid
    here = f"/visits/{uid}"
    wrong = instrument.store.visit(uid).captures[0]
    client.post(f"{here}/OD/captures/{wrong.uid}/other-eye")
    instrument.takes = [HEALTHY, GLAUCOMA]
    client.post(f"{here}/OD/captures")
    client.post(f"{here}/OS/captures")
    client.post(f"{here}/OD/reading", data=GRADE)  # the withdrawn photograph shows the left eye, which waits still
    answers = [timeless(client.get(path, headers=JSON).text) for path in (here, "/history")]
    assert all("0.21" in answer and "0.81" not in answer for answer in answers)
    for name in (wrong.overlay, f"{wrong.image}?close-up"):
        assert client.get(f"{here}/pictures/{name}").status_code == 404
    client.post(f"{here}/OS/reading", data=GRADE)
    assert client.get(f"{here}/pictures/{wrong.overlay}").status_code == 200


def test_a_graded_eye_keeps_its_photographs(client, instrument):
    """Else the grade would stand for an eye that the reader has not seen, and show the next photograph at once."""
    change(instrument, masked=True)
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True)]).uid
    here = f"/visits/{uid}/OD"
    action = f"{here}/captures/{instrument.store.visit(uid).captures[0].uid}/other-eye"
    client.post(f"{here}/reading", data=GRADE)
    answer = client.post(action)
    assert answer.status_code == 409 and "begin a new examination" in answer.text
    assert instrument.store.visit(uid).withdrawn == ()


def test_nobody_waits_for_the_grade_of_an_eye_without_a_photograph_that_counts(client, instrument):
    change(instrument, masked=True)
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True)], os=[HEALTHY]).uid
    here = f"/visits/{uid}"
    client.post(f"{here}/OD/captures/{instrument.store.visit(uid).captures[0].uid}/other-eye")
    client.post(f"{here}/OD/not-imaged", data={"reason": "media"})
    page = client.get(f"{here}/OD").text
    assert "UNGRADABLE" in page and "cataract" in page and "Photographed" not in page
    client.post(f"{here}/OS/reading", data=GRADE)
    client.post(f"{here}/finish")
    answer = client.get(here, headers=JSON).json()["eyes"]["OD"]
    assert (answer["hidden"], answer["outcome"], answer["vcdr"]) == (False, "ungradable", None)
    assert "stay closed" not in client.get(here).text
    assert client.get(f"{here}/report.pdf").status_code == 200
