"""Each page and each form of the operator's pages, for people and for machines."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from web_fake import Take, answer_of
from web_scenes import BLURRED, GLAUCOMA, HEALTHY, change, client_of, visit

from device import memory
from device.errors import BusyError, CameraError, MemoryLowError, StoreFullError
from device.language import Translator
from device.record import Pacs, Settings
from device.verdict import Outcome
from device.web.app import PAGES
from device.web.call import ENVIRONMENT, TEMPLATES
from device.web.pages.settings import digest

JSON = {"accept": "application/json"}
UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"


def test_a_visit_from_start_to_record(client, instrument):
    assert "New participant" in client.get("/").text
    begun = client.post("/visits", data={"participant": "KAN-0001", "operator": "op-07"})
    assert begun.status_code == 303
    here = begun.headers["location"]
    uid = here.split("/")[-1]
    assert client.get(here).text.count("Touch to photograph") == 2
    assert "data-live" in client.get(f"{here}/OD").text
    instrument.takes = [GLAUCOMA, HEALTHY]
    taken = client.post(f"{here}/OD/captures")
    assert (taken.status_code, taken.headers["location"]) == (303, f"{here}/OD")
    shown = client.get(f"{here}/OD").text
    assert "REFER" in shown and 'class="outcome refer"' in shown and "<path d=" in shown
    assert "0.78 to 0.84 in 3 photographs" in shown
    assert "Next: left eye" in shown
    client.post(f"{here}/OS/captures")
    both = client.get(here).text
    assert both.index("REFER") < both.index("NO REFERRAL")
    assert client.post(f"{here}/finish").headers["location"] == here
    assert instrument.store.visit(uid).finished
    record = client.get(here).text
    assert (
        "Report in Japanese" in record and "report.pdf?language=ja" in record and "Photograph again" not in record
    )


def test_machines_get_json_from_every_form(client, instrument):
    visit = client.post("/visits", data={"participant": "A1"}, headers=JSON)
    assert visit.status_code == 201
    here = f"/visits/{visit.json()['uid']}"
    capture = client.post(f"{here}/OD/captures", headers=JSON)
    assert (capture.status_code, capture.json()["laterality"], capture.json()["hidden"]) == (201, "OD", False)
    assert capture.json()["result"]["outcome"] == "no_referral"
    assert client.post(f"{here}/OS/not-imaged", data={"reason": "pupil"}, headers=JSON).status_code == 201
    done = client.post(f"{here}/finish", headers=JSON).json()
    assert done["finished"] and done["eyes"]["OD"]["outcome"] == "no_referral"
    assert done["eyes"]["OS"]["reasons"] == ["this eye could not be imaged: small pupil"]
    assert client.get(here, headers=JSON).json() == done
    assert client.post("/participants", headers=JSON).json() == {"participant": "P-0001"}
    assert client.post("/scan", headers=JSON).json() == {"code": None}
    assert client.post("/selftest", headers=JSON).json()["checks"][0]["name"] == "camera"
    assert client.get("/history", headers=JSON).json()[0]["participant"] == "A1"
    assert client.get("/api/status").json()["camera"] == "simulated"
    refused = client.post("/visits", data={"participant": ""}, headers=JSON)
    assert refused.status_code == 400 and "no participant code" in refused.json()["error"]


def test_every_form_can_be_asked_for_json():
    """A POST that is added gets a line in one of these tests."""
    known = {"/visits", "/participants", "/scan", "/language", "/settings", "/references", "/selftest", "/enter"}
    posts = {path for method, path, _ in PAGES if method == "POST"}
    inside = {re.sub(r"\{[^}]*\}", "*", p).rsplit("/", 1)[1] for p in posts - known}
    assert inside == {"finish", "captures", "other-eye", "keep", "not-imaged", "reading"}


def test_a_double_tap_begins_one_visit(client, instrument):
    uid = re.search(r'name="uid" value="([^"]+)"', client.get("/").text)[1]
    for _ in range(2):
        client.post("/visits", data={"participant": "A1", "uid": uid})
    assert [v.uid for v in instrument.store.visits()] == [uid]


def test_an_answer_that_got_lost_is_given_again(client, instrument):
    here = f"/visits/{visit(instrument).uid}/OD"
    uid = re.search(r'name="uid" value="([^"]+)"', client.get(here).text)[1]
    taken = [client.post(f"{here}/captures", data={"uid": uid}, headers=JSON).json() for _ in range(2)]
    assert taken[0] == taken[1] and taken[0]["uid"] == uid
    assert client.post(f"{here}/captures", data={"uid": "../../x"}, headers=JSON).json()["uid"] != uid


@pytest.mark.parametrize("code", ["Anna Muster", "山田", "-1", "x" * 33, "<b>", "a\nb"])
def test_a_name_is_no_code(client, instrument, code):
    answer = client.post("/visits", data={"participant": code})
    assert answer.status_code == 400 and "never a name" in answer.text and 'href="/"' in answer.text
    assert instrument.store.visits() == []


def test_the_operator_is_remembered_on_this_screen(client):
    client.post("/visits", data={"participant": "A1", "operator": "看護師 7"})
    assert 'value="看護師 7"' in client.get("/").text


def test_a_new_code_is_filled_in_and_never_given_twice(client, instrument):
    change(instrument, site="S01")
    first, second = (client.post("/participants").text for _ in range(2))
    assert 'value="S01-0001"' in first and 'value="S01-0002"' in second


@pytest.mark.parametrize("code", ["KAN-0042", "HOSP/7.3_b"])
def test_a_code_is_kept_where_the_language_is_switched(client, instrument, code):
    instrument.code = code
    back = re.search(r'name="back" value="([^"]+)"', client.post("/scan").text)[1]
    switched = client.post("/language", data={"language": "ja", "back": back})
    assert f'value="{code}"' in client.get(switched.headers["location"]).text
    assert 'name="participant" value=""' in client.get("/", params={"participant": "Anna Muster"}).text


def test_a_scanned_code_leads_to_the_start_page(client, instrument):
    assert "No code is seen yet" in client.post("/scan").text
    part = client.post("/scan", headers={"hx-request": "true"})
    assert "No code is seen yet" in part.text and "<html" not in part.text
    instrument.code = "KAN-0042"
    found = client.post("/scan", headers={"hx-request": "true"})
    assert 'value="KAN-0042"' in found.text and found.headers["hx-retarget"] == "body"
    instrument.code = "https://example.org/?q=1"
    assert client.post("/scan").status_code == 400


def test_a_study_needs_site_and_consent(client, instrument):
    change(instrument, study="KAN")
    assert "code of its site" in client.post("/visits", data={"participant": "A1", "consent": "yes"}).text
    change(instrument, study="KAN", site="S01")
    assert 'name="consent"' in client.get("/").text
    assert "without consent" in client.post("/visits", data={"participant": "A1"}).text
    assert client.post("/visits", data={"participant": "A1", "consent": "yes"}).status_code == 303
    kept = instrument.store.visits()[0]
    assert (kept.study, kept.site, kept.consent) == ("KAN", "S01", True)


def test_unfinished_visits_are_offered(client, instrument):
    open_visit = visit(instrument, "A1")
    visit(instrument, "A2", finish=True)
    page = client.get("/").text
    assert f"/visits/{open_visit.uid}" in page and "A2" not in page


def test_a_rejected_photograph_says_cause_and_tip(client, instrument):
    here = f"/visits/{visit(instrument, od=[BLURRED]).uid}/OD"
    page = client.get(here).text
    assert "UNGRADABLE" in page and "Quality rejected: defocus" in page and "Focus again on the vessels" in page
    assert not re.search(r"Glaucoma probability|0\.\d\d", page.split("<main")[1].split("</main")[0])


def test_three_rejected_in_a_row_offer_to_give_up(client, instrument):
    uid = visit(instrument, od=[BLURRED] * 2).uid
    assert "Cannot image this eye" not in client.get(f"/visits/{uid}/OD").text
    instrument.takes = [BLURRED]
    client.post(f"/visits/{uid}/OD/captures")
    assert "Cannot image this eye" in client.get(f"/visits/{uid}/OD").text
    reasons = client.get(f"/visits/{uid}/OD/cannot").text
    assert all(r in reasons for r in ("cataract", "small pupil", "cooperate", "refuses", "other"))
    assert client.post(f"/visits/{uid}/OD/not-imaged", data={"reason": "media"}).status_code == 303
    assert answer_of(instrument.store, uid, "OD") is Outcome.UNGRADABLE
    assert "could not be imaged: cataract or other media opacity" in client.get(f"/visits/{uid}").text


def test_an_eye_that_could_not_be_imaged_is_recorded_once_though_the_answer_got_lost(client, instrument):
    uid = visit(instrument).uid

    def said(reason: str) -> int:
        assert client.post(f"/visits/{uid}/OD/not-imaged", data={"reason": reason}).status_code == 303
        return len(instrument.store.visit(uid).not_imaged)

    assert [said("media"), said("media"), said("pupil"), said("pupil"), said("media")] == [1, 1, 2, 2, 3]
    instrument.takes = [BLURRED]
    client.post(f"/visits/{uid}/OD/captures")
    assert said("media") == 4  # after another attempt, it is news


def test_another_reason_needs_words(client, instrument):
    here = f"/visits/{visit(instrument).uid}/OD/not-imaged"
    assert client.post(here, data={"reason": "other"}).status_code == 400
    assert client.post(here, data={"reason": "made up"}).status_code == 400
    assert client.post(here, data={"reason": "other", "text": "eye patch"}).status_code == 303
    assert "could not be imaged: eye patch" in client.get(here.rsplit("/", 2)[0]).text


def test_a_good_answer_stays_when_the_last_photograph_failed(client, instrument):
    page = client.get(f"/visits/{visit(instrument, od=[HEALTHY, BLURRED]).uid}/OD").text
    assert "NO REFERRAL" in page and "The last photograph could not be used: Quality rejected: defocus." in page


def test_a_photograph_of_the_other_eye_counts_for_none(client, instrument):
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True)]).uid
    page = client.get(f"/visits/{uid}/OD").text
    assert "You chose the right eye, but the disc lies where a left eye has it." in page and "REFER" not in page
    assert "Looks like the other eye" in client.get(f"/visits/{uid}").text
    action = re.search(r'action="([^"]+/other-eye)"', page)[1]
    answer = client.post(action)
    assert answer.headers["location"] == f"/visits/{uid}/OS?again=1"
    assert [answer_of(instrument.store, uid, eye) for eye in ("OD", "OS")] == [None, None]
    assert len(instrument.store.visit(uid).captures) == 1  # kept all the same


def test_the_chosen_eye_can_be_kept(client, instrument):
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True)]).uid
    action = re.search(r'action="([^"]+/keep)"', client.get(f"/visits/{uid}/OD").text)[1]
    assert client.post(action).headers["location"] == f"/visits/{uid}/OD"
    assert "REFER" in client.get(f"/visits/{uid}/OD").text
    assert client.post(action.replace("/OD/", "/OS/")).status_code == 404  # a capture of OD is none of OS
    again = client_of(instrument)  # after a restart
    assert "Right or left?" not in again.get(f"/visits/{uid}/OD").text
    assert "looks like the other eye" not in again.get(f"/visits/{uid}").text.lower()
    again.post(f"/visits/{uid}/finish")
    assert "looks like the other eye" not in again.get(f"/visits/{uid}").text.lower()


def test_it_is_asked_about_every_photograph_that_looks_like_the_other_eye(client, instrument):
    uid = visit(instrument, od=[Take(0.75, 0.81, other_eye=True), HEALTHY]).uid
    wrong, right = instrument.store.visit(uid).captures
    page = client.get(f"/visits/{uid}/OD").text
    assert "Right or left?" in page and wrong.image in page and right.image not in page
    assert "Looks like the other eye" in client.get(f"/visits/{uid}").text
    client.post(re.search(r'action="([^"]+/other-eye)"', page)[1])
    page = client.get(f"/visits/{uid}/OD").text
    assert "Right or left?" not in page and "NO REFERRAL" in page and "0.21" in page


def test_a_record_tells_that_the_eyes_may_have_been_mixed_up(client, instrument):
    uid = visit(instrument, od=[Take(other_eye=True), HEALTHY], os=[HEALTHY], finish=True).uid
    assert client.get(f"/visits/{uid}").text.count("looks like the other eye") == 1


def test_htmx_gets_the_inside_of_the_eye_page(client, instrument):
    here = f"/visits/{visit(instrument).uid}/OD"
    part = client.post(f"{here}/captures", headers={"hx-request": "true"})
    assert part.headers["hx-push-url"] == here and "<html" not in part.text
    assert 'id="said"' in part.text and 'hx-swap-oob="true"' in part.text


def test_the_photograph_and_its_parts(client, instrument):
    seen = visit(instrument, od=[GLAUCOMA])
    capture = seen.captures[0]
    here = f"/visits/{seen.uid}/pictures/{capture.image}"
    whole, reduced, disc = (client.get(here + q) for q in ("", "?side=240", "?close-up"))
    sizes = [Image.open(io.BytesIO(r.content)).size for r in (whole, reduced, disc)]
    assert sizes[0] == (512, 512) and sizes[1] == (240, 240) and 150 < sizes[2][0] < 260
    assert whole.content == instrument.store.picture(capture.image).read_bytes()
    assert client.get(f"/visits/{seen.uid}/pictures/{capture.masks['cup']}").headers["content-type"] == "image/png"
    other = visit(instrument, "A2")
    assert client.get(f"/visits/{other.uid}/pictures/{capture.image}").status_code == 404  # of another visit
    assert client.get(here + "?side=99999").content == whole.content


@pytest.mark.parametrize("damage", ["gone", "damaged"])
def test_a_photograph_that_is_lost_hides_nothing_else(client, instrument, damage):
    here = f"/visits/{visit(instrument, od=[GLAUCOMA], os=[HEALTHY]).uid}"
    path = instrument.store.picture(instrument.store.visits()[0].captures[0].image)
    path.chmod(0o600)
    path.unlink() if damage == "gone" else path.write_bytes(b"\xff\xd8no picture")
    page = client.get(f"{here}/OD").text
    assert "cannot be read from the disk" in page and "REFER" in page
    assert "NO REFERRAL" in client.get(here).text
    client.post(f"{here}/finish")
    assert "NO REFERRAL" in client.get(here).text


def test_dicom_files_come_as_one_zip(client, instrument):
    seen = visit(instrument, od=[GLAUCOMA], finish=True)
    answer = client.get(f"/visits/{seen.uid}/dicom.zip")
    assert "tenohira-00001-KAN-0012-dicom.zip" in answer.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert [n.rsplit("-", 1)[1] for n in names] == ["OP.dcm", "SEG.dcm", "SR.dcm"]


def test_files_that_cannot_be_made_are_no_fault_of_who_asks(client, instrument):
    seen = visit(instrument, od=[GLAUCOMA], finish=True)
    instrument.store.picture(seen.captures[0].image).unlink()
    answer = client.get(f"/visits/{seen.uid}/dicom.zip", headers={"accept": "application/json"})
    assert answer.status_code == 500 and "its file is lost" in answer.json()["error"]


def test_a_lost_picture_is_told_from_one_that_never_was(client, instrument):
    seen = visit(instrument, od=[GLAUCOMA])
    lost = seen.captures[0].image
    instrument.store.picture(lost).unlink()
    answer = client.get(f"/visits/{seen.uid}/pictures/{lost}", headers={"accept": "application/json"})
    assert answer.status_code == 404 and "'tenohira audit verify'" in answer.json()["error"]
    assert Translator("ja").knows(answer.json()["error"])


def test_the_report_in_both_languages(client, instrument):
    pytest.importorskip("device.report.pdf")
    seen = visit(instrument, od=[GLAUCOMA], finish=True)
    for language in ("en", "ja"):
        answer = client.get(f"/visits/{seen.uid}/report.pdf?language={language}")
        assert answer.content.startswith(b"%PDF") and f"-{language}.pdf" in answer.headers["content-disposition"]
    assert client.get(f"/visits/{seen.uid}/report.pdf?language=xx").status_code == 404


def test_history_is_searched_and_paged(client, instrument):
    for n in range(23):
        visit(instrument, f"KAN-{n:04d}", finish=True)
    first = client.get("/history").text
    assert first.index("KAN-0022") < first.index("KAN-0003") and "KAN-0002" not in first and "page=2" in first
    second = client.get("/history?page=2").text
    assert "KAN-0002" in second and "page=1" in second
    assert "KAN-0007" in client.get("/history?search=0007").text
    assert "Nothing was found for &lt;b&gt;." in client.get("/history?search=<b>").text
    part = client.get("/history?search=0007", headers={"hx-request": "true", "hx-target": "found"}).text
    assert "<html" not in part and "KAN-0007" in part
    for odd in ("0", "-1", "x", "9" * 20, "²"):
        assert client.get("/history", params={"page": odd}).status_code == 200


def settings_form(**changes: str) -> dict[str, str]:
    known = {
        "device": "van 2", "site": "S01", "language": "en", "operating_point": "", "burst": "5", "keep_days": "90",
        "keep_free_mb": "800", "study": "KAN", "masked": "yes", "pacs_kind": "dimse", "pacs_host": "pacs.example",
        "port": "11112", "pacs_called": "ORTHANC", "pacs_calling": "TENOHIRA", "pacs_url": "", "pacs_user": "",
        "pacs_password": "", "exposure_us": "12500", "gain": "2.5", "focus": "", "keep_raw": "yes",
    }  # fmt: skip
    return known | changes


def test_settings_are_changed_and_logged(client, instrument):
    client.post("/visits", data={"participant": "A1", "operator": "op-07"})
    assert client.post("/settings", data=settings_form()).headers["location"] == "/settings?saved=1"
    known = instrument.store.settings
    assert (known.device, known.burst, known.masked, known.pacs.host, known.pacs.port) == (
        "van 2", 5, True, "pacs.example", 11112,
    )  # fmt: skip
    assert (known.exposure_us, known.gain, known.focus, known.keep_raw) == (12500, 2.5, None, True)
    assert "Saved." in client.get("/settings?saved=1").text


@pytest.mark.parametrize(
    ("change_", "words"),
    [
        ({"burst": "0"}, "Photographs at each press of the shutter: enter a whole number from 1 to 9"),
        ({"gain": "0.5"}, "Gain: enter a number from 1 to 64, or nothing for automatic"),
        ({"exposure_us": "1e4"}, "Exposure in µs: enter a number from 20 to 1000000"),
        ({"burst": "²"}, "enter a whole number from 1 to 9"),
        ({"port": "70000"}, "Port: enter a whole number from 1 to 65535"),
        ({"study": "a b"}, "a code of a site or a study"),
        ({"study": "_KAN"}, "begins with a letter or a digit"),  # no participant's code does not
        ({"site": "-1"}, "begins with a letter or a digit"),
        ({"pacs_called": "way too long a title"}, "application entity title"),
        ({"pacs_host": ""}, "a host is a name or an address"),
        ({"pacs_kind": "dicomweb", "pacs_url": "ftp://x"}, "the service&#39;s address"),
        ({"pacs_kind": "dicomweb", "pacs_url": "https://me:word@x/"}, "without a password"),
        ({"pacs_kind": "carrier pigeon"}, "this way to an archive is not known"),
        ({"language": "fr"}, "this language is not known"),
        ({"operating_point": "greedy"}, "no operating point"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_words(client, instrument, change_, words):
    answer = client.post("/settings", data=settings_form(**change_))
    assert answer.status_code == 400
    assert words.lower() in answer.text.lower()
    assert instrument.store.settings.device == "tenohira"
    assert 'value="van 2"' in answer.text  # what was typed is not lost


def test_a_stale_page_undoes_nothing(client, instrument):
    seen = re.search(r'name="seen" value="([^"]+)"', client.get("/settings").text)[1]
    assert client.post("/settings", data=settings_form(seen=seen)).headers["location"] == "/settings?saved=1"
    stale = {k: v for k, v in settings_form(burst="2", study="", seen=seen).items() if k != "masked"}
    answer = client.post("/settings", data=stale)
    assert answer.headers["location"] == "/settings?changed=1"
    part = client.post("/settings", data=stale, headers={"hx-request": "true"})
    assert part.headers["hx-redirect"] == "/settings?changed=1"
    assert client.post("/settings", data=stale, headers=JSON).status_code == 409
    wrong = client.post("/settings", data=stale | {"burst": "0"})
    assert f'name="seen" value="{seen}"' in wrong.text  # corrected, it is as stale as before
    known = instrument.store.settings
    assert (known.burst, known.study, known.masked) == (5, "KAN", True)
    page = client.get("/settings?changed=1").text
    assert "changed on another screen meanwhile, so nothing was saved" in page and 'value="KAN"' in page
    fresh = re.search(r'name="seen" value="([^"]+)"', page)[1]
    client.post("/settings", data=settings_form(burst="2", seen=fresh))
    assert instrument.store.settings.burst == 2


def test_settings_that_are_sent_twice_were_not_changed_by_another_screen(client):
    seen = re.search(r'name="seen" value="([^"]+)"', client.get("/settings").text)[1]
    for _ in range(2):
        answer = client.post("/settings", data=settings_form(seen=seen))
        assert answer.headers["location"] == "/settings?saved=1"


def test_the_page_does_not_tell_of_the_password_by_its_digest():
    one, two = (Settings(pacs=Pacs(password=word)) for word in ("hush-hush", "other-one"))
    assert digest(one) == digest(two) != digest(Settings(pacs=Pacs()))


def test_the_password_is_never_shown(client, instrument):
    change(instrument, pacs=Pacs(kind="dimse", host="a", password="hush-hush"))
    assert "hush-hush" not in client.get("/settings").text
    assert client.get("/settings", headers=JSON).json()["pacs"]["password"] is True
    refused = client.post("/settings", data=settings_form(pacs_password="other-one", burst="0"))
    assert "other-one" not in refused.text
    client.post("/settings", data=settings_form())
    assert instrument.store.settings.pacs.password == "hush-hush"
    client.post("/settings", data=settings_form(pacs_password="new-one"))
    assert instrument.store.settings.pacs.password == "new-one"
    client.post("/settings", data=settings_form(pacs_forget="yes"))
    assert instrument.store.settings.pacs.password == ""


def test_references_are_imported_whole_or_not_at_all(client, instrument):
    good = b"participant,laterality,refer,vcdr\nKAN-0001,OD,yes,0.7\nKAN-0001,OS,no,\n"
    assert client.post("/references", files={"file": ("r.csv", good)}).status_code == 303
    assert [r.refer for r in instrument.store.references()] == [True, False]
    page = client.get("/references").text
    assert "2 eyes of 1 participants" in page and "KAN-0001" not in page
    bad = client.post("/references", files={"file": ("r.csv", good + b"KAN-0002,XX,yes,\n")})
    assert bad.status_code == 400 and "row 4" in bad.text and "/tmp" not in bad.text
    assert len(instrument.store.references()) == 2
    assert client.post("/references").status_code == 400


def test_the_self_test_says_each_check_in_words_and_shape(client):
    assert "Test now" in client.get("/selftest").text
    page = client.post("/selftest").text
    assert [page.count(f'<li class="{kind}">') for kind in ("passed", "failed", "unknown")] == [2, 1, 1]


def test_languages_switch_on_the_same_page(client):
    answer = client.post("/language", data={"language": "ja", "back": "/history?search=a"})
    assert answer.headers["location"] == "/history?search=a"
    assert '<html lang="ja">' in client.get("/history").text
    assert client.post("/language", data={"language": "xx"}).status_code == 400


@pytest.mark.parametrize(
    "back", ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "javascript:x"]
)
def test_the_way_back_is_always_one_of_ours(client, back):
    assert client.post("/language", data={"language": "en", "back": back}).headers["location"] == "/"


def test_a_doubted_clock_is_confirmed_by_whoever_has_compared_it(client, instrument):
    tick = 'name="clock_right"'
    assert tick not in client.get("/settings").text
    instrument.store.doubt_clock("2026-11-24T08:15:00.000+00:00")
    assert tick in client.get("/settings").text
    client.post("/settings", data=settings_form())
    assert instrument.store.clock_doubted
    client.post("/settings", data=settings_form(clock_right="yes"))
    assert instrument.store.clock_doubted == "" and tick not in client.get("/settings").text


def test_the_language_of_the_settings_is_the_default(client, instrument):
    change(instrument, language="ja")
    assert '<html lang="ja">' in client.get("/").text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        (f"/visits/{UNKNOWN}", 404),
        (f"/visits/{UNKNOWN}/OD", 404),
        (f"/visits/{UNKNOWN}/OX", 404),
        ("/visits/1", 404),
        ("/visits/../../etc/passwd", 404),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        (f"/visits/{UNKNOWN}/pictures/" + "a" * 64, 404),
        (f"/visits/{UNKNOWN}/finish", 405),
    ],
)
def test_errors_are_pages_in_words_with_a_way_back(client, path, status):
    answer = client.get(path)
    assert answer.status_code == status
    assert 'class="button primary' in answer.text and "Traceback" not in answer.text


def test_a_camera_that_fails_is_told_where_the_operator_looks(client, instrument):
    uid = visit(instrument).uid
    instrument.fault = CameraError("the camera stopped sending pictures; check its cable and photograph again")
    answer = client.post(f"/visits/{uid}/OD/captures", headers={"hx-request": "true"})
    assert answer.status_code == 503 and "<html" not in answer.text and "check its cable" in answer.text
    instrument.fault = CameraError("the camera stopped sending pictures; check its cable and photograph again")
    page = client.post(f"/visits/{uid}/OD/captures")
    assert f'href="/visits/{uid}"' in page.text
    assert client.post(f"/visits/{uid}/OD/captures").status_code == 303  # and it goes on


def test_want_of_memory_is_told(client, instrument, monkeypatch):
    seen = visit(instrument, od=[HEALTHY])
    instrument.fault = MemoryLowError("only 5 MB of memory are free")
    assert client.post(f"/visits/{seen.uid}/OD/captures").status_code == 503
    client.post(f"/visits/{seen.uid}/finish")
    monkeypatch.setattr(memory, "free", lambda: 60 * memory.MB)
    for file, what in (("report.pdf", "a report"), ("dicom.zip", "a set of DICOM objects")):
        answer = client.get(f"/visits/{seen.uid}/{file}", headers={"accept": "application/json"})
        assert answer.status_code == 503 and f"only 60 MB of memory are free, and {what}" in answer.json()["error"]


def test_the_threads_that_answer_stay(client, instrument, monkeypatch):
    """OpenCV keeps memory for each thread that used it, also when that has ended."""
    threads, take = set(), instrument.capture

    def noting(*arguments):
        threads.add(threading.current_thread())
        return take(*arguments)

    monkeypatch.setattr(instrument, "capture", noting)
    uid = visit(instrument).uid
    for _ in range(2):
        assert client.post(f"/visits/{uid}/OD/captures").status_code == 303
    assert threads and all(thread.is_alive() for thread in threads)


def test_a_full_disk_is_told(client, instrument):
    uid = visit(instrument).uid
    instrument.fault = StoreFullError("only 5 MB are free")
    assert client.post(f"/visits/{uid}/OD/captures").status_code == 507


def test_a_finished_visit_takes_no_more_photographs(client, instrument):
    uid = visit(instrument, od=[HEALTHY], finish=True).uid
    assert client.get(f"/visits/{uid}/OD").headers["location"] == f"/visits/{uid}"
    assert client.post(f"/visits/{uid}/OD/captures").status_code == 409
    assert client.post(f"/visits/{uid}/finish").status_code == 303  # finishing twice is no error


def test_a_visit_is_not_finished_while_a_photograph_of_it_is_taken(client, instrument):
    uid = visit(instrument).uid
    words = "a photograph of this visit is still being taken; wait some seconds, then finish again"
    assert Translator("ja").knows(words)
    instrument.fault = BusyError(words)
    refused = client.post(f"/visits/{uid}/finish", headers={"hx-request": "true"})
    assert refused.status_code == 409 and "then finish again" in refused.text
    assert instrument.store.visit(uid).finished is None
    assert client.post(f"/visits/{uid}/finish").status_code == 303


def test_a_fault_of_ours_shows_no_trace_back(client, instrument):
    uid = visit(instrument).uid
    instrument.fault = ZeroDivisionError("secret detail")
    answer = client.post(f"/visits/{uid}/OD/captures")
    assert answer.status_code == 500
    assert "secret detail" not in answer.text and "Traceback" not in answer.text and "report it" in answer.text


def test_every_form_stays_on_its_page_where_the_instrument_does_not_answer():
    """Sent by the browser itself, it would leave for a page that the instrument's screen cannot leave."""
    forms = [
        (path.name, form)
        for path in TEMPLATES.glob("*.html")
        for form in re.findall(r"<form[^>]*>", path.read_text(encoding="utf-8"))
    ]
    assert len(forms) > 12
    assert [f for f in forms if "{{ sends(" not in f[1] and 'method="get"' not in f[1]] == []


def test_scripts_get_what_is_wrong_as_a_part_of_their_page(client, instrument):
    part = {"hx-request": "true"}
    for path, form in (("/settings", settings_form(burst="0")), ("/references", {}), ("/visits", {})):
        answer = client.post(path, data=form, headers=part)
        assert answer.status_code == 400 and "<html" not in answer.text and 'class="warning' in answer.text
    saved = client.post("/settings", data=settings_form(), headers=part)
    assert (saved.status_code, saved.headers["hx-redirect"]) == (204, "/settings?saved=1")


def test_every_template_is_used_and_compiles():
    for name in ENVIRONMENT.list_templates():
        ENVIRONMENT.get_template(name)


def test_outlines_are_drawn_where_the_record_lies_in_a_folder_that_is_no_utf8(tmp_path):
    """In a process of its own: OpenCV would crash this one."""
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from web_fake import Take, photographed\n"
        "from device.store.pictures import Pictures\n"
        "from device.web.outlines import drawing\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1]); folder.mkdir()\n"
        "capture, pictures = photographed('v', 'OD', Take())\n"
        "kept = Pictures(folder); kept.keep(pictures)\n"
        "print(sorted(drawing(capture, kept.path, True).paths))\n"
    )
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", script, folder, here, here.parents[2]], capture_output=True, text=True
    )
    assert done.stdout.strip() == "['cup', 'disc']", (done.returncode, done.stderr)
