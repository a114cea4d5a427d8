"""Any order of calls, repeats, reopenings and removals, held against a dictionary (hypothesis)."""

import shutil
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from store_records import capture, not_imaged, reading, withdrawal

from device.errors import NoSuchVisitError, VisitClosedError
from device.record import Pacs, Settings, Visit
from device.store import Store, audit
from device.store.export import export_study, import_study, opened

LATER = "2126-11-24T08:15:00.000+00:00"
CODES = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="\\"), min_size=1, max_size=9
)


class Model(RuleBasedStateMachine):
    """``known``: visits as they must be; ``exported``: those whose present state was exported."""

    visits = Bundle("visits")

    @initialize()
    def make(self):
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "record")
        self.store.change_settings(Settings(keep_free_mb=0, keep_days=1), "test")
        self.known: dict[str, Visit] = {}
        self.sent: dict[str, bool] = {}  # parcels
        self.exported: set[str] = set()
        self.removed: set[str] = set()
        self.given: set[str] = set()
        self.number = self.seed = self.exports = 0

    def open(self, uid: str) -> bool:
        return uid in self.known and self.known[uid].finished is None

    def change(self, uid: str, **changes) -> None:
        self.known[uid] = msgspec.structs.replace(self.known[uid], **changes)
        self.exported.discard(uid)

    def expect(self, uid: str, call) -> bool:
        """Make a call that only an open visit takes; returns whether it was taken."""
        error = None if self.open(uid) else VisitClosedError if uid in self.known else NoSuchVisitError
        if error is None:
            call()
        else:
            with pytest.raises(error):
                call()
        return error is None

    @rule(target=visits, code=CODES, operator=CODES)
    def begin(self, code, operator):
        visit = self.store.begin(code, operator=operator)
        self.number += 1
        assert (visit.number, visit.participant, visit.operator) == (self.number, code, operator)
        self.known[visit.uid] = visit
        return visit.uid

    @rule(target=visits, uid=visits)
    def begin_again(self, uid):
        if uid in self.known:
            assert self.store.begin(self.known[uid].participant, uid=uid) == self.known[uid]
        return multiple()

    @rule(uid=visits, eye=st.sampled_from(["OD", "OS"]), twice=st.booleans())
    def add_capture(self, uid, eye, twice):
        self.seed += 1
        shown, pictures = capture(uid, self.seed, eye)
        if self.expect(uid, lambda: self.store.add_capture(shown, pictures)):
            self.change(uid, captures=(*self.known[uid].captures, shown))
            if twice:
                self.store.add_capture(shown, pictures)

    @rule(uid=visits, reason=st.text(st.characters(codec="utf-8"), max_size=5))
    def give_up(self, uid, reason):
        said = not_imaged(uid, reason=reason)
        if uid in self.known and said in self.known[uid].not_imaged:
            self.store.add_not_imaged(said)
        elif self.expect(uid, lambda: self.store.add_not_imaged(said)):
            self.change(uid, not_imaged=(*self.known[uid].not_imaged, said))

    @rule(uid=visits)
    def withdraw(self, uid):
        if self.open(uid) and len(self.known[uid].captures) > len(self.known[uid].withdrawn):
            said = withdrawal(self.known[uid].captures[len(self.known[uid].withdrawn)])
            self.store.withdraw(said)
            self.change(uid, withdrawn=(*self.known[uid].withdrawn, said))

    @rule(uid=visits)
    def read(self, uid):
        self.seed += 1
        said = reading(uid, f"r{self.seed}")
        if uid in self.known:
            self.store.add_reading(said)
            self.change(uid, readings=(*self.known[uid].readings, said))
        else:
            with pytest.raises(NoSuchVisitError):
                self.store.add_reading(said)

    @rule(uid=visits)
    def finish(self, uid):
        if uid not in self.known:
            with pytest.raises(NoSuchVisitError):
                self.store.finish(uid)
            return
        was_open = self.open(uid)
        finished = self.store.finish(uid).finished
        if was_open:
            self.change(uid, finished=finished)
        if self.store.settings.pacs.kind:
            self.sent.setdefault(uid, False)

    @rule(kind=st.sampled_from(["", "dimse"]), study=st.sampled_from(["", "T1"]))
    def change_settings(self, kind, study):
        settings = msgspec.structs.replace(self.store.settings, pacs=Pacs(kind=kind), study=study)
        self.store.change_settings(settings, "test")
        assert self.store.settings == settings

    @rule()
    def give_code(self):
        code = self.store.next_participant()
        assert code not in self.given and code not in {v.participant for v in self.known.values()}
        self.given.add(code)

    @rule()
    def send(self):
        due = {p.visit for p in self.store.due(LATER)}
        assert due == {uid for uid, sent in self.sent.items() if not sent}
        for uid in sorted(due)[:1]:
            self.store.tried(uid, "no network", LATER)
            self.store.sent(uid)
            self.sent[uid] = True

    @rule()
    def export(self):
        if self.known:
            self.exports += 1
            assert export_study(self.store, self.folder / f"export{self.exports}", None).visits == len(self.known)
            self.exported = set(self.known)

    @rule()
    def import_back(self):
        """The last export once more: what was removed comes back, what has grown since stays."""
        if self.exports:
            out = self.folder / f"export{self.exports}"
            lines = [msgspec.json.decode(x, type=Visit) for x in (out / "visits.jsonl").read_bytes().splitlines()]
            back = [v for v in lines if v.uid not in self.known]
            assert import_study(self.store, opened(out)) == (len(back), 0, len(lines) - len(back))
            self.known |= {v.uid: v for v in back}

    @rule()
    def expire(self):
        sends = bool(self.store.settings.pacs.kind)
        gone = {
            uid
            for uid, v in self.known.items()
            if v.finished
            and not (sends and self.sent.get(uid) is False)
            and (uid in self.exported or (self.sent.get(uid) and not v.study and not v.readings))
        }  # fmt: skip
        assert set(self.store.expire(LATER)) == gone
        for uid in gone:
            del self.known[uid]
            self.sent.pop(uid, None)
            self.exported.discard(uid)

    @rule()
    def reopen(self):
        self.store.close()
        self.store = Store(self.folder / "record")

    @invariant()
    def the_record_is_the_model(self):
        visits = self.store.visits(limit=1000)
        assert {v.uid: v for v in visits} == self.known and len(visits) == len(self.known)

    def teardown(self):
        result = audit.verify(self.folder / "record", self.store.head())
        assert result.problems == () and result.visits == len(self.known)
        needed = {
            n for v in self.known.values() for c in v.captures for n in (c.image, c.overlay, c.masks["disc"])
        }
        assert {f.stem for f in self.store.pictures.files()} == needed and result.orphans == 0
        self.store.close()
        shutil.rmtree(self.folder)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=30, stateful_step_count=25, suppress_health_check=list(HealthCheck))
