"""The outbox against a real Orthanc, one that is killed in the middle, and archives that lie."""

from __future__ import annotations

import io
import random
import socket
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

from device import outbox
from device.dicom import dicomweb, dimse, write
from device.dicom.archive import Receipt
from device.errors import DicomError, PacsUnreachableError
from device.outbox import Outbox, later
from device.record import Pacs, Parcel, Settings, Visit, now
from device.store import Store, audit

START = "2026-11-24T09:00:00.000+00:00"
BOTH = pytest.mark.parametrize("kind", ["dimse", "dicomweb"])


class Parcels:
    """A store's side of the outbox, in memory."""

    def __init__(self, pictures, visits: list[Visit], pacs: Pacs) -> None:
        self.picture, self.settings = pictures, Settings(pacs=pacs)
        self.visits = {v.uid: v for v in visits}
        self.parcels = {v.uid: Parcel(visit=v.uid, queued=START) for v in visits}

    def visit(self, uid: str) -> Visit:
        return self.visits[uid]

    def due(self, now: str, early: bool = False) -> list[Parcel]:
        return [p for p in self.parcels.values() if p.sent is None and (early or p.next_try <= now)]

    def tried(self, visit_uid: str, error: str, next_try: str) -> None:
        old = self.parcels[visit_uid]
        self.parcels[visit_uid] = msgspec.structs.replace(
            old, attempts=old.attempts + 1, error=error, next_try=next_try
        )

    def put_off(self, visit_uid: str, error: str, next_try: str) -> None:
        for uid in [p.visit for p in self.parcels.values() if p.sent is None]:
            self.tried(uid, error, next_try)

    def sent(self, visit_uid: str) -> None:
        self.parcels[visit_uid] = msgspec.structs.replace(self.parcels[visit_uid], sent=START, error="")

    def errors(self) -> list[str]:
        return [p.error for p in self.parcels.values() if p.error]

    def all_sent(self) -> bool:
        return all(p.sent for p in self.parcels.values())


def hours(n: float) -> str:
    return (datetime.fromisoformat(START) + timedelta(hours=n)).isoformat(timespec="milliseconds")


def assert_holds_exactly(server, clinic, visits) -> None:
    """Each object once, each as it was made, and nothing else."""
    held = server.objects()
    expected = {d.SOPInstanceUID: d for v in visits for d in write.each(v, clinic.pictures)}
    assert Counter(d.SOPInstanceUID for d in held) == Counter(list(expected))
    for data in held:
        own = expected[data.SOPInstanceUID]
        assert Receipt.of(data) == Receipt.of(own)  # the digest of pixels or content among it
        assert data.to_json_dict() == dcmread(io.BytesIO(write.encode(own))).to_json_dict()


@BOTH
def test_what_is_sent_is_held_and_sending_again_changes_nothing(clinic, orthanc, kind, monkeypatch):
    visits = [clinic.visit(shots=2), clinic.visit(("OD",), lost=("OS",)), clinic.visit((), lost=("OD",))]
    store = Parcels(clinic.pictures, visits, orthanc.pacs(kind))
    Outbox(store).run_once(START)
    assert store.all_sent(), store.errors()
    assert_holds_exactly(orthanc, clinic, visits)
    stored = []
    for archive in (dimse.Dimse, dicomweb.Web):
        monkeypatch.setattr(archive, "store", lambda self, data: stored.append(data))
    again = Parcels(clinic.pictures, visits, orthanc.pacs(kind))
    Outbox(again).run_once(START)
    assert again.all_sent() and not stored
    assert_holds_exactly(orthanc, clinic, visits)


@BOTH
def test_only_what_is_missing_is_sent_again(clinic, orthanc, kind, monkeypatch):
    visit = clinic.visit()
    Outbox(Parcels(clinic.pictures, [visit], orthanc.pacs(kind))).run_once(START)
    lost = list(write.each(visit, clinic.pictures))[3]
    orthanc.delete(lost.SOPInstanceUID)
    assert len(orthanc.objects()) == 5
    archive, stored = {"dimse": dimse.Dimse, "dicomweb": dicomweb.Web}[kind], []
    true = archive.store
    monkeypatch.setattr(
        archive, "store", lambda self, data: (stored.append(data.SOPInstanceUID), true(self, data))[1]
    )
    store = Parcels(clinic.pictures, [visit], orthanc.pacs(kind))
    Outbox(store).run_once(START)
    assert stored == [lost.SOPInstanceUID] and store.all_sent()
    assert_holds_exactly(orthanc, clinic, [visit])


@pytest.mark.slow
@BOTH
def test_an_orthanc_that_is_killed_in_the_middle_holds_exactly_what_was_sent(clinic, orthanc, kind):
    """Killed after a random number of bytes, a moment later or at once, then started again on its storage."""
    moments = random.Random(20)
    visits = [clinic.visit(shots=1 + n % 3) for n in range(8)]
    store = Parcels(clinic.pictures, visits, orthanc.pacs(kind))
    sender, kills = Outbox(store), 0
    for hour in range(200):
        if kills < 10:
            orthanc.kill_after(moments.randrange(1, 150_000), moments.choice((0, 0, 5, 20, 60)))
        sender.run_once(hours(2 * hour))
        if not orthanc.spare():
            kills += 1
            orthanc.start()
        if store.all_sent():
            break
    assert store.all_sent(), store.errors()
    assert kills >= 5
    assert_holds_exactly(orthanc, clinic, visits)


@BOTH
def test_an_archive_that_is_not_there_is_said_and_tried_again_later(clinic, kind):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    pacs = Pacs(kind=kind, host="127.0.0.1", port=port, url=f"http://127.0.0.1:{port}/dicom-web")
    visits = [clinic.visit(("OD",)), clinic.visit(("OS",))]
    store = Parcels(clinic.pictures, visits, pacs)
    Outbox(store).run_once(START)
    first, second = store.parcels.values()
    assert f"127.0.0.1:{port}" in first.error and "does not answer; check network" in first.error
    assert first.next_try == "2026-11-24T09:00:30.000+00:00"
    assert second == msgspec.structs.replace(first, visit=second.visit)  # the others would fail as well
    assert not store.all_sent()


@BOTH
def test_an_archive_that_never_answers_is_given_up_in_time(clinic, kind, monkeypatch):
    for module in (dimse, dicomweb):
        monkeypatch.setattr(module, "CONNECT", 0.3)
        monkeypatch.setattr(module, "ANSWER", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        pacs = Pacs(kind=kind, host="127.0.0.1", port=port, url=f"http://127.0.0.1:{port}/dicom-web")
        store = Parcels(clinic.pictures, [clinic.visit(("OD",))], pacs)
        worker = threading.Thread(target=Outbox(store).run_once, args=(START,), daemon=True)
        worker.start()
        worker.join(30)
        assert not worker.is_alive()
    assert "does not answer" in store.errors()[0]


def test_names_that_orthanc_does_not_know_are_said(clinic, orthanc):
    pacs = msgspec.structs.replace(orthanc.pacs("dimse"), called="ANOTHER")
    store = Parcels(clinic.pictures, [clinic.visit(("OD",))], pacs)
    Outbox(store).run_once(START)
    assert "check both names in the settings" in store.errors()[0]


class Liar:
    """A C-STORE archive of our own making. ``keeps`` decides what it keeps of what it always confirms."""

    def __init__(self, keeps, finds=True) -> None:
        self.keeps, self.kept, self.confirmed = keeps, {}, 0
        entity = AE(ae_title="ORTHANC")
        for kind, offers in dimse.SENT.items():
            entity.add_supported_context(kind, [s for syntaxes in offers for s in syntaxes])
        if finds:
            entity.add_supported_context(Find)
        handlers = [(evt.EVT_C_STORE, self._store), (evt.EVT_C_FIND, self._find)]
        self.server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.pacs = Pacs(kind="dimse", host="127.0.0.1", port=self.server.server_address[1])

    def _store(self, event):
        self.confirmed += 1
        if self.keeps(self.confirmed):
            self.kept[event.dataset.SOPInstanceUID] = event.dataset
        return 0x0000

    def _find(self, event):
        if found := self.kept.get(event.identifier.SOPInstanceUID):
            answer = Dataset()
            answer.QueryRetrieveLevel, answer.SOPInstanceUID = "IMAGE", found.SOPInstanceUID
            yield 0xFF00, answer


@pytest.fixture
def liar():
    made = []

    def make(*args, **kwargs) -> Liar:
        made.append(Liar(*args, **kwargs))
        return made[-1]

    yield make
    for archive in made:
        archive.server.shutdown()


def test_an_archive_that_confirms_and_keeps_nothing_is_found_out(clinic, liar):
    archive = liar(keeps=lambda n: False)
    store = Parcels(clinic.pictures, [clinic.visit()], archive.pacs)
    Outbox(store).run_once(START)
    assert archive.confirmed == 6 and not store.all_sent()
    (error,) = store.errors()
    assert "took 6 objects without complaint but does not show 6 of them (OP, SEG, SR)" in error


def test_what_an_archive_loses_on_the_way_is_sent_until_it_is_there(clinic, liar):
    archive = liar(keeps=lambda n: n % 2 == 0)
    visit = clinic.visit()
    store = Parcels(clinic.pictures, [visit], archive.pacs)
    Outbox(store).run_once(START)
    assert "does not show 3 of them" in store.errors()[0]
    Outbox(store).run_once(hours(1))
    Outbox(store).run_once(hours(3))
    Outbox(store).run_once(hours(6))
    assert store.all_sent() and len(archive.kept) == 6
    assert archive.confirmed == 6 + 3 + 2 + 1 or archive.confirmed < 6 * 4


def test_an_answer_is_left_to_the_request_that_waits_for_it(liar):
    with dimse.Dimse(liar(keeps=lambda n: True).pacs) as archive:
        answer = (1, None)
        archive.link.dimse.msg_queue.put(answer)
        time.sleep(0.1)  # the association's own thread looks every millisecond
        assert archive.link.dimse.get_msg(block=True) == answer


def test_an_archive_that_cannot_be_asked_confirms_nothing(clinic, liar):
    store = Parcels(clinic.pictures, [clinic.visit(("OD",))], liar(keeps=lambda n: True, finds=False).pacs)
    Outbox(store).run_once(START)
    assert "nothing can be confirmed" in store.errors()[0] and not store.all_sent()


def test_a_web_archive_that_says_200_and_keeps_nothing_is_found_out(clinic):
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self, body: bytes) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self._answer(b"{}")

        def do_GET(self) -> None:
            self._answer(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pacs = Pacs(kind="dicomweb", url=f"http://127.0.0.1:{server.server_address[1]}/dicom-web")
        store = Parcels(clinic.pictures, [clinic.visit(("OD",))], pacs)
        Outbox(store).run_once(START)
        server.shutdown()
    assert "does not show 3 of them" in store.errors()[0] and not store.all_sent()


@BOTH
def test_another_object_under_our_identifier_is_no_confirmation(clinic, orthanc, kind):
    visit = clinic.visit(("OD",))
    other = clinic.visit(("OD",))
    capture = msgspec.structs.replace(other.captures[0], uid=visit.captures[0].uid)
    forged = msgspec.structs.replace(visit, captures=(capture,))
    Outbox(Parcels(clinic.pictures, [forged], orthanc.pacs(kind))).run_once(START)
    store = Parcels(clinic.pictures, [visit], orthanc.pacs(kind))
    Outbox(store).run_once(START)
    assert "holds another OP object under the identifier" in store.errors()[0] and not store.all_sent()


def test_a_damaged_visit_does_not_hold_the_others_up(clinic, orthanc):
    visits = [clinic.visit(("OD",)), clinic.visit(("OS",))]
    store = Parcels(clinic.pictures, visits, orthanc.pacs("dicomweb"))
    gone, true = visits[0].captures[0].image, store.picture

    def picture(name: str) -> Path:
        if name == gone:
            raise DicomError("there is no such picture")
        return true(name)

    store.picture = picture
    Outbox(store).run_once(START)
    first, second = store.parcels.values()
    assert first.error == "there is no such picture" and first.sent is None
    assert second.sent


def test_a_masked_visit_waits_for_its_reader_and_then_the_rest_follows(clinic, orthanc):
    visit = clinic.visit(("OD",), masked=True)
    store = Parcels(clinic.pictures, [visit], orthanc.pacs("dimse"))
    Outbox(store).run_once(START)
    assert "waits for a reader's grade (OD)" in store.errors()[0]
    assert [d.Modality for d in orthanc.objects()] == ["OP"]
    reading = clinic.visit(("OD",), masked=True, read=("OD",)).readings
    store.visits[visit.uid] = msgspec.structs.replace(visit, readings=reading)
    Outbox(store).run_once(hours(1))
    assert store.all_sent()
    assert sorted(d.Modality for d in orthanc.objects()) == ["OP", "SEG", "SR"]


def test_waits_double_up_to_an_hour():
    start = datetime.fromisoformat(START)
    waits = [(datetime.fromisoformat(later(START, n)) - start).total_seconds() for n in (0, 1, 2, 6, 7, 400)]
    assert waits == [30, 60, 120, 1920, 3600, 3600]


def test_without_a_network_the_archive_is_asked_ever_more_seldom_for_all_that_wait(tmp_path, monkeypatch):
    """What is due starts a process with DICOM's libraries: every 20 seconds is too often for a day without one."""
    asked = []

    def connect(pacs: Pacs) -> None:
        asked.append(pacs)
        raise PacsUnreachableError("the archive does not answer; check network")

    monkeypatch.setattr("device.dicom.archive.connect", connect)
    with Store(tmp_path / "record") as store:
        store.change_settings(Settings(keep_free_mb=0, pacs=Pacs(kind="dimse", host="pacs")), "test")
        visits = [store.finish(store.begin(f"P-{n}").uid) for n in range(9)]
        looks, tries = [hours(look / 180) for look in range(4 * 180)], []
        for look in looks:
            if store.due(look):
                tries.append(look)
                Outbox(store).run_once(look)
        assert len(asked) == len(tries) < 7 + 4  # 30 seconds, one minute, two... and an hour
        assert list(store.waiting().values()) == [9]
        new = store.finish(store.begin("P-9").uid)  # it may have found a network
        Outbox(store).run_once(looks[-1])
        soon = later(looks[-1], 0)
        assert {store.parcel(v.uid).next_try for v in [*visits, new]} == {soon}
        failed = [e.subject for e, _ in audit.entries(store.folder) if e.action == "send failed"]
        assert failed == [visits[0].uid, new.uid]  # those that were tried


def test_without_an_archive_nothing_is_tried(clinic):
    store = Parcels(clinic.pictures, [clinic.visit(("OD",))], Pacs())
    Outbox(store).run_once(START)
    assert not store.errors() and not store.all_sent()


def test_a_sender_that_is_stopped_in_the_middle_marks_nothing_as_sent(clinic, liar):
    archive = liar(keeps=lambda n: True)
    store = Parcels(clinic.pictures, [clinic.visit()], archive.pacs)
    Outbox(store, stop=lambda: archive.confirmed >= 2).run_once(START)
    assert archive.confirmed == 2 and not store.all_sent() and not store.errors()
    Outbox(store).run_once(START)
    assert store.all_sent() and archive.confirmed == 6


def test_every_error_that_an_operator_can_meet_is_translated():
    """The sentences are collected from the sources, so that a new one cannot be forgotten."""
    import ast

    from device import language

    sources = [
        Path(m.__file__)
        for m in (outbox, dimse, dicomweb, write, __import__("device.dicom.archive", fromlist=["x"]))
    ]
    said = set()
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error") and node.args:
                said.add(_sentence(node.args[0]))
    japanese = language.Translator("ja")
    assert len(said) > 15
    assert [s for s in said if not japanese.knows(s)] == []
    assert [s for s in said if japanese(s) == s] == []


def _sentence(node) -> str:
    """A literal or an f-string with an example for each value; a constant of the outbox says what it says."""
    import ast

    def text(part) -> str:
        if isinstance(part, ast.Constant):
            return part.value
        name = getattr(part.value, "id", "")
        return getattr(outbox, name) if name.isupper() else "7"

    return "".join(map(text, node.values if isinstance(node, ast.JoinedStr) else [node]))


@BOTH
def test_the_instruments_own_store_hands_over_what_was_finished(clinic, orthanc, tmp_path, kind):
    with Store(tmp_path / "record") as store:
        store.change_settings(Settings(pacs=orthanc.pacs(kind), site="KAN", keep_free_mb=1), "test")
        visit = store.begin(store.next_participant(), operator="N07")
        for eye in ("OD", "OS"):
            capture = clinic.capture(visit.uid, eye)
            names = {capture.image, *capture.masks.values()}
            store.add_capture(capture, [clinic.pictures(name).read_bytes() for name in names])
        visit = store.finish(visit.uid)
        orthanc.kill_after(20_000)
        Outbox(store).run_once(now())
        parcel = store.parcel(visit.uid)
        assert parcel.sent is None and parcel.attempts == 1 and parcel.error
        orthanc.start()
        Outbox(store).run_once(parcel.next_try)
        assert store.parcel(visit.uid).sent and store.due(hours(10**5)) == []
        assert Counter(d.Modality for d in orthanc.objects()) == {"OP": 2, "SEG": 2, "SR": 2}
        expected = {d.SOPInstanceUID for d in write.each(visit, store.picture)}
        assert {d.SOPInstanceUID for d in orthanc.objects()} == expected
